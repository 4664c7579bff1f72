//! Where EdgeGrid credentials are: a section of an `.edgerc` file, or the environment.
//!
//! The file is that of Akamai's own tools: sections in brackets, `name = value`, `;` and `#` begin a comment line; names
//! with dashes and with underscores are the same. The environment has `AKAMAI_HOST`, `AKAMAI_CLIENT_TOKEN`,
//! `AKAMAI_CLIENT_SECRET`, `AKAMAI_ACCESS_TOKEN` and, if need be, `AKAMAI_MAX_BODY` and `AKAMAI_HEADERS_TO_SIGN`.
//!
//! A host may carry a scheme, which Akamai's does not: `http://127.0.0.1:9000` is a stand-in of a test.

use std::{collections::BTreeMap, path::Path};

use super::{Credentials, MAX_BODY};

/// The credentials of a section of a file.
///
/// # Errors
/// In words: the file cannot be read, or has no such section, or the section lacks something.
pub fn from_file(path: &Path, section: &str) -> Result<Credentials, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    from_text(&text, section).map_err(|why| format!("{}: {why}", path.display()))
}

/// The credentials of the environment, as `variable` reads it.
///
/// # Errors
/// In words: which variable is missing or wrong.
pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Credentials, String> {
    assemble(|name| variable(&variable_of(name)), variable_of)
}

fn variable_of(name: &str) -> String {
    format!("AKAMAI_{}", name.to_ascii_uppercase())
}

fn from_text(text: &str, section: &str) -> Result<Credentials, String> {
    let mut current = None;
    let mut sections: BTreeMap<&str, BTreeMap<String, &str>> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = Some(name.trim());
            sections.entry(name.trim()).or_default();
            continue;
        }
        let (name, value) = line
            .split_once(['=', ':'])
            .ok_or_else(|| format!("line {} is neither [section] nor name = value", number + 1))?;
        let section = current.ok_or_else(|| format!("line {} stands before any [section]", number + 1))?;
        let name = name.trim().to_ascii_lowercase().replace('-', "_");
        sections.entry(section).or_default().insert(name, unquoted(value.trim()));
    }
    let Some(values) = sections.get(section) else {
        let known: Vec<&str> = sections.keys().copied().collect();
        return Err(format!("there is no section [{section}], only: {}", known.join(", ")));
    };
    assemble(|name| values.get(name).map(|value| (*value).to_owned()), |name| format!("[{section}] {name}"))
}

fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

fn assemble(
    find: impl Fn(&str) -> Option<String>,
    called: impl Fn(&str) -> String,
) -> Result<Credentials, String> {
    let needed = |name: &str| {
        find(name).filter(|value| !value.is_empty()).ok_or_else(|| format!("{} is missing", called(name)))
    };
    let max_body = match find("max_body").filter(|value| !value.is_empty()) {
        Some(text) => text.parse().map_err(|_| format!("{} is no number: {text:?}", called("max_body")))?,
        None => MAX_BODY,
    };
    // `None` is what Akamai's own library takes for "no headers".
    let headers = find("headers_to_sign").filter(|value| value != "None").unwrap_or_default();
    Ok(Credentials {
        base_url: base_url(&needed("host")?),
        client_token: needed("client_token")?,
        client_secret: needed("client_secret")?.into(),
        access_token: needed("access_token")?,
        headers_to_sign: headers
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
        max_body,
    })
}

/// A host as people write it down, as a base URL.
pub fn base_url(host: &str) -> String {
    let host = host.trim().trim_end_matches('/');
    if host.contains("://") { host.to_owned() } else { format!("https://{host}") }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const FILE: &str = "; of an operator\n[default]\nhost = \"akab-h.luna.akamaiapis.net/\"\nclient_token=akab-c\n\
                        client-secret = s3cr=t=\naccess_token : akab-a\n\n[ccu]\n# tests\nhost = http://127.0.0.1:9000\n\
                        client_token = c\nclient_secret = s\naccess_token = a\nmax-body = 2048\nheaders_to_sign = X-A, x-b\n";

    #[test]
    fn a_section_is_read_as_akamais_tools_read_it() {
        let credentials = from_text(FILE, "default").expect("whole");
        assert_eq!(credentials.base_url, "https://akab-h.luna.akamaiapis.net");
        assert_eq!(credentials.client_secret.expose_secret(), "s3cr=t=");
        assert_eq!((credentials.access_token.as_str(), credentials.max_body), ("akab-a", MAX_BODY));
        let other = from_text(FILE, "ccu").expect("whole");
        assert_eq!((other.base_url.as_str(), other.max_body), ("http://127.0.0.1:9000", 2048));
        assert_eq!(other.headers_to_sign, ["X-A", "x-b"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let why = |text: &str, section: &str| from_text(text, section).expect_err("not whole");
        assert_eq!(why(FILE, "prod"), "there is no section [prod], only: ccu, default");
        assert_eq!(why("[a]\nhost = h\n", "a"), "[a] client_token is missing");
        assert!(why("host = h\n", "a").contains("line 1"));
        assert!(why("[a]\nnothing\n", "a").contains("line 2"));
        let environment = |name: &str| (name != "AKAMAI_ACCESS_TOKEN").then(|| "x".to_owned());
        assert!(from_environment(environment).is_err());
        assert!(from_environment(|name| name.contains("_MAX_").then(|| "x".into())).is_err());
    }

    #[test]
    fn the_environment_is_read() {
        let environment = |name: &str| match name {
            "AKAMAI_MAX_BODY" | "AKAMAI_HEADERS_TO_SIGN" => None,
            name => Some(name.to_owned()),
        };
        let credentials = from_environment(environment).expect("whole");
        assert_eq!(credentials.base_url, "https://AKAMAI_HOST");
        assert_eq!(credentials.client_token, "AKAMAI_CLIENT_TOKEN");
    }
}
