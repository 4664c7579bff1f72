//! Whether the files in the archive are those that the description names.

use std::collections::BTreeMap;

use super::{
    super::{FaultKind, Payload, Report},
    DESCRIPTION, File, SIGNATURE, Stage, Swupdate,
    description::Named,
    shown,
};

impl Swupdate {
    /// Compares the files that are there with those that are named; whether each is named with its right
    /// digest.
    pub(super) fn compare(&mut self) -> bool {
        let named = self.named.take();
        let mut by_name: BTreeMap<&str, Vec<&Named>> = BTreeMap::new();
        for entry in named.iter().flatten() {
            by_name.entry(&entry.filename).or_default().push(entry);
        }
        let mut files: Vec<_> = self
            .files
            .iter()
            .filter(|(name, _)| ![DESCRIPTION, SIGNATURE].contains(&name.as_str()))
            .collect();
        files.sort_by_key(|(_, file)| file.number);
        let mut all_right = true;
        for (name, file) in files {
            let entries = by_name.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
            if entries.is_empty() && named.is_some() {
                self.report.fault(
                    FaultKind::Malformed,
                    format!(
                        "{name} is in the archive, but {DESCRIPTION} does not name it: name it, or leave it \
                         out"
                    ),
                );
            }
            let right = digests_fit(&mut self.report, name, file, entries);
            all_right &= right;
            let digest = right.then(|| format!("sha256:{}", hex::encode(file.sha256)));
            self.report.facts.payload(Payload { name: name.clone(), size: file.size, digest });
        }
        // An archive that was cut off, or had too many, says nothing of what is missing.
        if matches!(self.stage, Stage::End { .. }) && !self.too_many {
            for (name, entries) in &by_name {
                if !self.files.contains_key(*name) {
                    self.report.fault(
                        FaultKind::Malformed,
                        format!(
                            "{DESCRIPTION} names {} in its {}, but it is not in the archive: add it",
                            shown(name),
                            entries[0].list
                        ),
                    );
                }
            }
        }
        all_right
    }
}

/// Whether there is a digest, and all that are stated are that of the file.
fn digests_fit(report: &mut Report, name: &str, file: &File, entries: &[&Named]) -> bool {
    let mut right = !entries.is_empty();
    let mut missing = false;
    for entry in entries {
        let Some(stated) = &entry.sha256 else {
            right = false;
            missing = true;
            continue;
        };
        let digest = hex::decode(stated).unwrap_or_default();
        if digest == file.sha256 {
            continue;
        }
        right = false;
        if digest.len() == file.sha256.len() {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "{name} has SHA-256 {}, but {DESCRIPTION} states {stated}: the file was changed after \
                     the description was written, or damaged; make the archive again, or upload it again",
                    hex::encode(file.sha256),
                ),
            );
        } else {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "the sha256 {:?} that {DESCRIPTION} states of {name} is none: it has 64 hexadecimal \
                     digits",
                    shown(stated)
                ),
            );
        }
    }
    if missing && report.facts.signed {
        report.fault(
            FaultKind::Malformed,
            format!(
                "{DESCRIPTION} is signed but states no sha256 of {name}: SWUpdate refuses a signed archive \
                 in which a file has none"
            ),
        );
    }
    right
}
