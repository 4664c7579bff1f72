//! A list that says what each file is: CSV with a header line, or a JSON list of objects.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{Entry, Failure, Sorted};
use crate::domain::{
    name::{ChannelName, FileName, Hardware, ProductName},
    version::Version,
};

/// A line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: String,
    product: String,
    version: String,
    #[serde(default)]
    filename: Option<String>,
    #[serde(default)]
    hardware: Names,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    notes: Option<String>,
}

/// Names in a list, or in one text with spaces, commas or semicolons between.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    List(Vec<String>),
    Text(Option<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Text(None)
    }
}

/// What is listed. A line whose file is not there, or that does not read, is an error of the list, so that nothing is
/// forgotten; files that no line names are left out.
///
/// # Errors
/// With every line that cannot be used.
pub(super) fn entries(
    manifest: &Path,
    files: &[(String, u64)],
    channel: Option<&ChannelName>,
) -> Result<Sorted, Failure> {
    let shown = manifest.display();
    let unusable = |why: String| Failure::yours(format!("cannot use {shown}: {why}"));
    let bytes = std::fs::read(manifest).map_err(|error| unusable(error.to_string()))?;
    let lines: Vec<Line> = if manifest.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("json")) {
        serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?
    } else {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(&bytes[..]);
        reader
            .deserialize()
            .collect::<Result<_, _>>()
            .map_err(|error: csv::Error| unusable(error.to_string()))?
    };
    let mut sizes: BTreeMap<&str, u64> = files.iter().map(|(path, size)| (path.as_str(), *size)).collect();
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    for line in lines {
        let path = line.path.trim_start_matches("./").to_owned();
        match (sizes.remove(path.as_str()), read(line, channel)) {
            (Some(size), Ok(entry)) => entries.push(Entry { size, ..entry }),
            (None, Ok(_)) => wrong.push(format!("{path}: there is no such file, or it is listed twice")),
            (_, Err(why)) => wrong.push(format!("{path}: {why}")),
        }
    }
    if !wrong.is_empty() {
        return Err(unusable(format!("{} lines are wrong:\n{}", wrong.len(), wrong.join("\n"))));
    }
    let left = sizes.into_keys().map(|path| (path.to_owned(), "no line names it".to_owned())).collect();
    Ok((entries, left))
}

fn read(line: Line, channel: Option<&ChannelName>) -> Result<Entry, String> {
    fn some(text: Option<String>) -> Option<String> {
        text.filter(|text| !text.trim().is_empty())
    }
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let hardware = match line.hardware {
        Names::List(names) => names,
        Names::Text(text) => {
            let text = text.unwrap_or_default();
            text.split([' ', ',', ';']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }
    };
    let own = line.path.rsplit('/').next().unwrap_or_default().to_owned();
    let listed = some(line.channel).map(|name| ChannelName::parse(&name)).transpose();
    Ok(Entry {
        product: ProductName::parse(&line.product).map_err(|error| words(&error))?,
        version: Version::parse(&line.version).map_err(|error| words(&error))?,
        filename: FileName::parse(&some(line.filename).unwrap_or(own)).map_err(|error| words(&error))?,
        hardware: hardware
            .iter()
            .map(|name| Hardware::parse(name))
            .collect::<Result<_, _>>()
            .map_err(|error| words(&error))?,
        channel: listed.map_err(|error| words(&error))?.or_else(|| channel.cloned()),
        notes: some(line.notes),
        path: line.path.trim_start_matches("./").to_owned(),
        size: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Result<Sorted, Failure> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        entries(&path, &[("x/a.bin".into(), 5), ("b.bin".into(), 6), ("c".into(), 7)], None)
    }

    #[test]
    fn csv_and_json_say_the_same() {
        let csv = "path,product,version,hardware,channel,notes\n\
                   x/a.bin,t,v1.0.0,rev-a rev-b,stable,\"one, two\"\n\
                   b.bin , t , 1.1.0 ,,,\n";
        let json = r#"[{"path":"x/a.bin","product":"t","version":"1.0.0","hardware":["rev-a","rev-b"],"channel":"stable",
                        "notes":"one, two"}, {"path":"b.bin","product":"t","version":"1.1.0"}]"#;
        let (entries, left) = of("l.csv", csv).expect("fits");
        assert_eq!((entries.len(), entries[0].size, entries[1].size), (2, 5, 6));
        assert_eq!((entries[0].hardware.len(), entries[0].filename.as_str()), (2, "a.bin"));
        assert_eq!(entries[0].notes.as_deref(), Some("one, two"));
        assert_eq!((entries[1].channel.as_ref(), entries[1].notes.as_ref()), (None, None));
        assert_eq!(left, [("c".to_owned(), "no line names it".to_owned())]);
        assert_eq!(of("l.json", json).expect("fits").0, entries);
    }

    #[test]
    fn every_wrong_line_is_told_and_nothing_is_done() {
        let csv = "path,product,version\nnone,t,1.0.0\nc,T,1.0.0\nb.bin,t,1\n";
        let failure = of("l.csv", csv).expect_err("wrong");
        assert!(failure.message.contains("3 lines are wrong"), "{}", failure.message);
        assert!(of("l.csv", "path,product,verison\na,t,1.0.0\n").is_err());
        assert!(of("l.json", "{}").is_err());
    }
}
