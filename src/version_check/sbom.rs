//! Judges a bill of materials: recognised by its content, and whole in what its specification requires.
//!
//! CycloneDX 1.2 to 1.7 in JSON, SPDX 2.2 and 2.3 in JSON, SPDX 3.0 in JSON-LD. What the published schemas require of the
//! document, of its components or packages, and of its creation info is asked for; so is that there is something in
//! it. All that is missing is reported together, the first of each kind of mistake by its place.
//!
//! What it does not do: judge what the document says, or every optional member.

use serde_json::{Map, Value};

use super::Reason;
use crate::domain::AttachmentKind;

mod cyclonedx;
mod spdx;

/// The document is in no format that is known here.
pub const UNKNOWN: &str = "sbom-unknown";
/// The document is of a version of its format that is not known here.
pub const VERSION: &str = "sbom-version";
/// The document lacks what its format requires, or has it in another form.
pub const INCOMPLETE: &str = "sbom-incomplete";
/// The document names nothing that is in the firmware.
pub const EMPTY: &str = "sbom-empty";

/// More reasons than anybody reads at once.
const MOST_REASONS: usize = 20;

/// What a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sbom {
    /// The format.
    pub kind: AttachmentKind,
    /// The format's version, as the document states it.
    pub specification: String,
}

/// Recognises and judges a document.
///
/// # Errors
/// All reasons why it is refused.
pub fn judge(content: &[u8]) -> Result<Sbom, Vec<Reason>> {
    let unknown = |why: &str| vec![Reason::new(UNKNOWN, why)];
    let document: Value = match serde_json::from_slice(content) {
        Ok(document) => document,
        Err(_) if content.starts_with(b"SPDXVersion:") || content.starts_with(b"<") => {
            return Err(unknown(
                "this is tag-value or XML: convert it to JSON, with the SPDX or CycloneDX tools, and attach that",
            ));
        }
        Err(error) => {
            return Err(unknown(&format!("this is no JSON ({error}): attach CycloneDX or SPDX in JSON")));
        }
    };
    let Value::Object(document) = document else {
        return Err(unknown("this is JSON, but no object: attach CycloneDX or SPDX in JSON"));
    };
    let mut findings = Findings::default();
    let sbom = if document.contains_key("bomFormat") {
        cyclonedx::judge(&document, &mut findings)
    } else if document.contains_key("spdxVersion") {
        spdx::judge(&document, &mut findings)
    } else if document.get("@context").is_some_and(spdx::is_context) {
        spdx::judge_graph(&document, &mut findings)
    } else {
        return Err(unknown(
            "this is neither CycloneDX (\"bomFormat\") nor SPDX (\"spdxVersion\" or \"@context\"): attach one of them in JSON",
        ));
    };
    if findings.0.is_empty() { Ok(sbom) } else { Err(findings.0) }
}

/// What speaks against a document.
#[derive(Default)]
struct Findings(Vec<Reason>);

impl Findings {
    fn add(&mut self, code: &'static str, message: String) {
        // The same mistake in 10 000 components is one mistake.
        if self.0.len() < MOST_REASONS {
            self.0.push(Reason::new(code, message));
        }
    }

    /// Asks for a member that is a text with something in it.
    fn text<'a>(&mut self, place: &str, members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
        let found = members.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        if found.is_none() {
            self.add(INCOMPLETE, format!("{place} lacks {name:?}, a text"));
        }
        found
    }

    /// Asks for these texts in every object of a list.
    fn each(&mut self, place: &str, list: &[Value], names: &[&str]) {
        for (at, item) in list.iter().enumerate() {
            let place = format!("{place}[{at}]");
            match item.as_object() {
                Some(members) => names.iter().for_each(|name| {
                    self.text(&place, members, name);
                }),
                None => self.add(INCOMPLETE, format!("{place} is no object")),
            }
            if self.0.len() >= MOST_REASONS {
                return;
            }
        }
    }
}

/// The version, if it is one of the known.
fn version(findings: &mut Findings, stated: Option<&str>, known: &[&str]) -> String {
    let stated = stated.unwrap_or_default();
    if !stated.is_empty() && !known.contains(&stated) {
        let stated: String = stated.chars().take(60).collect();
        findings
            .add(VERSION, format!("version {stated:?} is not known here; there are {}", known.join(", ")));
    }
    stated.to_owned()
}

#[cfg(test)]
mod tests;
