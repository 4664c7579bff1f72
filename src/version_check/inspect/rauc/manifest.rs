//! A bundle's manifest (RAUC, `src/manifest.c`): a key file as GLib reads it: `[group]`, `key=value`,
//! comments behind `#`, the escapes `\s \n \t \r \\` in values.
//!
//! Limits: that of what it is read from (64 KiB in a squashfs, the CMS's in a CMS).

use super::super::{Facts, FaultKind, NameKind, Payload, Report, facts::text_of};

/// Groups with their keys, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    groups: Vec<(String, Vec<(String, String)>)>,
}

impl Manifest {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let Ok(text) = str::from_utf8(bytes) else {
            return Err("the manifest is not UTF-8 text".into());
        };
        let mut manifest = Self::default();
        for (number, line) in text.lines().enumerate() {
            let broken = |why: &str| format!("line {} of the manifest {why}", number + 1);
            let line = line.trim_start();
            if line.trim_end().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(group) = line.strip_prefix('[') {
                let Some(group) = group.trim_end().strip_suffix(']') else {
                    return Err(broken("opens a group and does not close it"));
                };
                manifest.groups.push((group.to_owned(), Vec::new()));
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(broken("is no group, no `key=value` and no comment"));
            };
            let Some((_, keys)) = manifest.groups.last_mut() else {
                return Err(broken("has a key that is in no group"));
            };
            let value =
                unescape(value.trim_start()).ok_or_else(|| broken("has an escape that is not valid"))?;
            keys.push((key.trim_end().to_owned(), value));
        }
        Ok(manifest)
    }

    /// The value of a key; the last one counts where it is repeated.
    pub fn get(&self, group: &str, key: &str) -> Option<&str> {
        let keys = self.groups.iter().rev().filter(|(name, _)| name == group);
        keys.flat_map(|(_, keys)| keys.iter().rev())
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// The bundle's format; a manifest that names none is one of a plain bundle.
    pub fn format(&self) -> String {
        text_of(self.get("bundle", "format").unwrap_or("plain").as_bytes())
    }

    /// States all of it, but for the key that decrypts a crypt bundle.
    pub fn state(&self, report: &mut Report) {
        match self.get("update", "compatible") {
            Some(compatible) if !compatible.is_empty() => report.facts.name(NameKind::Compatible, compatible),
            _ => report.fault(
                FaultKind::Malformed,
                "the manifest has no `compatible` in its group [update], without which RAUC refuses the \
                 bundle",
            ),
        }
        if let Some(version) = self.get("update", "version") {
            report.facts.set_version(version);
        }
        let facts = &mut report.facts;
        facts.detail("bundle format", self.format());
        for key in ["build", "description", "min-rauc-version"] {
            facts.detail(key, self.get("update", key).unwrap_or_default());
        }
        for key in ["verity-hash", "verity-salt", "verity-size"] {
            facts.detail(key, self.get("bundle", key).unwrap_or_default());
        }
        if self.get("bundle", "crypt-key").is_some() {
            facts.detail(
                "crypt-key",
                "readable by everyone: the bundle is not yet encrypted for its recipients",
            );
        }
        for (group, key) in [("handler", "filename"), ("hooks", "filename"), ("hooks", "hooks")] {
            facts.detail(&format!("{group} {key}"), self.get(group, key).unwrap_or_default());
        }
        for (group, keys) in &self.groups {
            let group = text_of(group.as_bytes());
            if let Some(slot) = group.strip_prefix("image.") {
                state_image(facts, slot, keys);
            } else if let Some(label) = group.strip_prefix("meta.") {
                for (key, value) in keys {
                    facts.detail(&format!("meta {label} {}", text_of(key.as_bytes())), value);
                }
            }
        }
    }
}

fn state_image(facts: &mut Facts, slot: &str, keys: &[(String, String)]) {
    let get = |key: &str| keys.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let name = get("filename").unwrap_or(slot).to_owned();
    let size = get("size").and_then(|size| size.trim().parse().ok()).unwrap_or_default();
    // The digest is that of the file inside the squashfs, which is not unpacked: stated, but not as found
    // right.
    let mut text = vec![name.clone()];
    for key in ["sha256", "type", "version", "hooks", "adaptive", "convert"] {
        // A list may end with its separator.
        text.extend(get(key).map(|value| format!("{key} {}", value.trim_end_matches(';'))));
    }
    facts.detail(&format!("image {slot}"), text.join(", "));
    facts.payload(Payload { name, size, digest: None });
}

fn unescape(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next()? {
                's' => ' ',
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '\\' => '\\',
                // Lists escape their separator.
                ';' => ';',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}
