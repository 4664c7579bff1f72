//! What the `sw-description` of an archive says (SWUpdate, `doc/source/sw-description.rst`,
//! `parser/parser.c`), in the syntax of libconfig or in JSON.
//!
//! Layout: a group `software` with `version`, `description`, `hardware-compatibility` (revisions), and the
//! lists `images`, `files`, `scripts`, `partitions`, `bootenv`. All of them may also stand, for one board or
//! one mode alone, in `software.BOARD`, `software.SET.MODE` and `software.BOARD.SET.MODE`; `ref` borrows from
//! another group.
//!
//! A group right below `software` is a board if it has lists or `hardware-compatibility` itself, or two
//! levels further down, and if no `ref` names it; otherwise it is a set of modes.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::{Facts, FaultKind, NameKind, Report, facts::text_of};

/// The most entries that are read of all lists.
pub(super) const MOST_NAMED: usize = 1000;

const LISTS: [&str; 4] = ["images", "files", "scripts", "partitions"];
const VARIABLES: [&str; 3] = ["bootenv", "uboot", "vars"];

/// A file that the description names.
#[derive(Debug)]
pub(super) struct Named {
    /// Its name in the archive.
    pub filename: String,
    /// In which list.
    pub list: &'static str,
    /// As stated.
    pub sha256: Option<String>,
}

/// Reads a description.
///
/// # Errors
/// What is wrong, as the rest of a sentence that starts with the file's name.
pub(super) fn read(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let text = str::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    let root = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| format!("is not valid JSON: {error}"))?
    } else {
        super::libconfig::read(text)?
    };
    let Some(Value::Object(software)) = find(root, "software") else {
        return Err("has no group `software`".into());
    };
    Ok(software)
}

fn find(mut root: Map<String, Value>, name: &str) -> Option<Value> {
    root.remove(name)
}

/// States what it says; gives the files that it names.
pub(super) fn state(software: &Map<String, Value>, report: &mut Report) -> Vec<Named> {
    match software.get("version").and_then(Value::as_str) {
        Some(version) if !version.is_empty() => report.facts.set_version(version),
        _ => report.fault(
            FaultKind::Malformed,
            "sw-description has no text `version` in its group `software`, without which SWUpdate refuses it",
        ),
    }
    report.facts.detail("description", text(software, "description"));
    let mut walk = Walk::default();
    walk.group(software, "software", report);
    for (name, group) in groups(software) {
        if is_board(group) && !walk.borrowed.contains(name) {
            report.facts.name(NameKind::Compatible, name);
        } else {
            report.facts.detail("software set", name);
        }
    }
    if walk.variables > 0 {
        report.facts.detail("bootloader variables", walk.variables.to_string());
    }
    if walk.dropped {
        report.fault(
            FaultKind::Malformed,
            format!(
                "sw-description has more than {MOST_NAMED} entries in its lists, more than are read here"
            ),
        );
    }
    walk.named
}

fn text<'a>(group: &'a Map<String, Value>, key: &str) -> &'a str {
    group.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn groups(group: &Map<String, Value>) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    let groups = group.iter().filter_map(|(name, value)| Some((name, value.as_object()?)));
    groups.filter(|(name, _)| !VARIABLES.contains(&name.as_str()) && !LISTS.contains(&name.as_str()))
}

fn is_board(group: &Map<String, Value>) -> bool {
    let own = |group: &Map<String, Value>| {
        let keys = LISTS.iter().chain(&VARIABLES).chain(&["hardware-compatibility", "ref"]);
        keys.into_iter().any(|key| group.contains_key(*key))
    };
    own(group) || groups(group).any(|(_, set)| groups(set).any(|(_, mode)| own(mode)))
}

#[derive(Default)]
struct Walk {
    named: Vec<Named>,
    /// Names that a `ref` ends in.
    borrowed: BTreeSet<String>,
    variables: usize,
    dropped: bool,
}

impl Walk {
    fn group(&mut self, group: &Map<String, Value>, place: &str, report: &mut Report) {
        for (key, value) in group {
            match (key.as_str(), value) {
                ("hardware-compatibility", Value::Array(revisions)) => {
                    for revision in revisions.iter().filter_map(Value::as_str) {
                        report.facts.name(NameKind::Hardware, revision);
                    }
                }
                ("embedded-script", _) => {
                    report
                        .facts
                        .detail(&format!("{place} embedded-script"), "yes: it may change what is installed");
                }
                ("ref", Value::String(target)) => {
                    report.facts.detail(&format!("{place} ref"), target);
                    if self.borrowed.len() < MOST_NAMED {
                        self.borrowed.extend(target.rsplit(['.', '/', '#']).next().map(str::to_owned));
                    }
                }
                (list, Value::Array(entries)) if VARIABLES.contains(&list) => self.variables += entries.len(),
                (list, Value::Array(entries)) => {
                    if let Some(list) = LISTS.iter().find(|known| **known == list) {
                        for entry in entries.iter().filter_map(Value::as_object) {
                            self.entry(list, entry, place, report);
                        }
                    }
                }
                // The depth is that of the parser.
                (name, Value::Object(inner)) => {
                    // A place that is too long to be shown need not grow.
                    let longer = format!("{place}.{}", text_of(name.as_bytes()));
                    let longer = if longer.len() > Facts::LONGEST_TEXT { place } else { &longer };
                    self.group(inner, longer, report);
                }
                _ => {}
            }
        }
    }

    fn entry(&mut self, list: &'static str, entry: &Map<String, Value>, place: &str, report: &mut Report) {
        if self.named.len() == MOST_NAMED {
            self.dropped = true;
            return;
        }
        if report.facts.details.len() < Facts::MOST_DETAILS {
            let keys = entry.iter().filter(|(_, value)| !value.is_object() && !value.is_array());
            let parts = keys.map(|(key, value)| match value {
                Value::String(text) => format!("{key} {text}"),
                other => format!("{key} {other}"),
            });
            report.facts.detail(&format!("{place} {list}"), parts.collect::<Vec<_>>().join(", "));
        }
        let filename = text(entry, "filename");
        if !filename.is_empty() {
            let sha256 = entry.get("sha256").and_then(Value::as_str).map(str::to_owned);
            self.named.push(Named { filename: filename.to_owned(), list, sha256 });
        }
    }
}
