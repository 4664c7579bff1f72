//! What a path says of a file: `{product}/{version}/{filename}`.
//!
//! A placeholder that is a whole part of the path takes the whole part; one beside other text takes only what reads like
//! what it names, so `{product}-{version}.bin` finds its way through `thermo-x-1.4.0-rc.1.bin`.

use regex::Regex;

use crate::domain::{
    name::{ChannelName, FileName, Hardware, ProductName},
    version::Version,
};

/// The placeholders, and what each reads like beside other text.
const PLACEHOLDERS: [(&str, &str); 5] = [
    ("product", "[a-z0-9][a-z0-9._-]*?"),
    ("version", r"v?[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+?)?"),
    ("filename", "[A-Za-z0-9][A-Za-z0-9._-]*?"),
    ("hardware", "[A-Za-z0-9][A-Za-z0-9._-]*?"),
    ("channel", "[a-z0-9][a-z0-9._-]*?"),
];

/// A template.
pub(super) struct Template {
    text: String,
    reads: Regex,
}

/// What a path says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) product: ProductName,
    pub(super) version: Version,
    pub(super) filename: FileName,
    pub(super) hardware: Option<Hardware>,
    pub(super) channel: Option<ChannelName>,
}

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pattern = String::from("^");
        let mut named: Vec<&str> = Vec::new();
        for (index, part) in text.trim_matches('/').split('/').enumerate() {
            if index > 0 {
                pattern.push('/');
            }
            let alone = part.starts_with('{') && part.find('}') == Some(part.len() - 1);
            let mut rest = part;
            while let Some((before, after)) = rest.split_once('{') {
                let (name, after) = after.split_once('}').ok_or("a { has no }")?;
                let (name, like) = PLACEHOLDERS.into_iter().find(|(known, _)| *known == name).ok_or_else(|| {
                    format!("{{{name}}} is not known; there are product, version, filename, hardware and channel")
                })?;
                if named.contains(&name) {
                    return Err(format!("{{{name}}} is there twice"));
                }
                named.push(name);
                let like = if alone { "[^/]+" } else { like };
                pattern.push_str(&format!("{}(?P<{name}>{like})", regex::escape(before)));
                rest = after;
            }
            if rest.contains('}') {
                return Err("a } has no {".into());
            }
            pattern.push_str(&regex::escape(rest));
        }
        pattern.push('$');
        let reads = Regex::new(&pattern).map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), reads })
    }

    /// Whether it has this placeholder.
    pub(super) fn has(&self, name: &str) -> bool {
        self.reads.capture_names().flatten().any(|known| known == name)
    }

    /// What a path says, or why it says nothing.
    pub(super) fn read(&self, path: &str, product: Option<&ProductName>) -> Result<Found, String> {
        let found = self.reads.captures(path).ok_or_else(|| format!("it is not as {} says", self.text))?;
        let part = |name: &str| found.name(name).map(|part| part.as_str());
        let own = path.rsplit('/').next().unwrap_or(path);
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let product = match (part("product"), product) {
            (Some(text), _) => ProductName::parse(text).map_err(|error| words(&error))?,
            (None, Some(product)) => product.clone(),
            (None, None) => return Err("nothing says its product".into()),
        };
        Ok(Found {
            product,
            version: Version::parse(part("version").unwrap_or_default()).map_err(|error| words(&error))?,
            filename: FileName::parse(part("filename").unwrap_or(own)).map_err(|error| words(&error))?,
            hardware: part("hardware").map(Hardware::parse).transpose().map_err(|error| words(&error))?,
            channel: part("channel").map(ChannelName::parse).transpose().map_err(|error| words(&error))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(template: &str, path: &str) -> Result<String, String> {
        let found = Template::parse(template).expect("a template").read(path, None)?;
        let Found { product, version, filename, hardware, channel } = found;
        let hardware = hardware.map(|name| format!(" {name}")).unwrap_or_default();
        let channel = channel.map(|name| format!(" {name}")).unwrap_or_default();
        Ok(format!("{product} {version} {filename}{hardware}{channel}"))
    }

    #[test]
    fn paths_say_what_the_template_names() {
        let usual = "{product}/{version}/{filename}";
        for (template, path, says) in [
            (usual, "thermo-x/v1.4.0/app.bin", "thermo-x 1.4.0 app.bin"),
            (
                "{channel}/{product}/{hardware}/{version}.bin",
                "beta/t/rev-a/1.0.0-rc.1.bin",
                "t 1.0.0-rc.1 1.0.0-rc.1.bin rev-a beta",
            ),
            (
                "fw/{product}-{version}.bin",
                "fw/thermo-x-1.4.0-rc.1.bin",
                "thermo-x 1.4.0-rc.1 thermo-x-1.4.0-rc.1.bin",
            ),
            ("{product}_{hardware}_{version}/{filename}", "t_rev-a_2.0.0/x", "t 2.0.0 x rev-a"),
        ] {
            assert_eq!(read(template, path).as_deref(), Ok(says), "{template} {path}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let usual = "{product}/{version}/{filename}";
        for (path, why) in [
            ("a/1.0.0", "is not as"),
            ("a/1.0.0/x/y", "is not as"),
            ("A/1.0.0/x", "A"),
            ("a/2024-01/x", "2024-01"),
            ("a/1.0.0+7/x", "build"),
            ("a/1.0.0/my file", "my file"),
        ] {
            let told = read(usual, path).expect_err(path);
            assert!(told.contains(why), "{path}: {told}");
        }
        for bad in ["{product", "{prodcut}/{version}", "{version}/{version}", "a}/{version}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
