//! fwupd cabinets: firmware with its AppStream metadata in a Microsoft cabinet; other cabinets are `cabinet`.
//!
//! Source: `cabinet.rs`, `folder.rs` and `mszip.rs` for the archive, `metainfo.rs` for the metadata,
//! `jcat.rs` for the signatures' container; `libfwupdplugin/fu-cabinet.c` of fwupd for how they belong
//! together. A cabinet with a file `*.metainfo.xml` is one of fwupd. The file that a release is about is
//! named by its checksum's `filename`, without folders, `firmware.bin` unless stated.
//!
//! # Version
//! That of the newest release of the component, see `metainfo.rs`, `1.2.3` or a number that LVFS reads as a
//! triplet; `1.2.3.4` is kept as text. If the cabinet has several components, their version if all have the
//! same; else none, and the details tell each.
//!
//! # What it verifies
//! Checksums of data blocks; checksums and installed sizes that the metadata states of the files; SHA-1 and
//! SHA-256 in `*.jcat`; that each release's file is there; sizes and offsets of the archive. Digests of other
//! kinds are stated in a detail only.
//!
//! # Limits
//! Of each part, beside it; [`MOST_COMPONENTS`].
//!
//! # What it does not do
//! Unpack LZX and Quantum (fwupd takes neither); verify signatures in `*.jcat`, or `*.asc` and `*.p7b` (GPG
//! and PKCS#7 of files): they are stated. Judge the firmware inside.

mod cabinet;
mod folder;
mod jcat;
mod metainfo;
mod mszip;
#[cfg(test)]
mod tests;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Facts, FaultKind, Inspector, NameKind, Payload, Report, facts::text_of};
use cabinet::{File, Visitor};
use metainfo::Component;

/// The most components of a cabinet; composite devices have a few.
const MOST_COMPONENTS: usize = 32;

/// Knows cabinets.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    // The magic and the first reserved field.
    head.starts_with(b"MSCF\0\0\0\0").then(|| {
        let report = Report { facts: Facts::of("cabinet"), ..Report::default() };
        Box::new(Cabinet { reader: cabinet::Reader::default(), contents: Contents::default(), report })
            as Box<dyn Inspector>
    })
}

struct Cabinet {
    reader: cabinet::Reader,
    contents: Contents,
    report: Report,
}

/// What is in the cabinet.
#[derive(Default)]
struct Contents {
    files: Vec<Content>,
    components: Vec<Component>,
    items: Vec<jcat::Item>,
    /// How many metadata files are still to come.
    metadata_left: usize,
    has_metadata: bool,
    /// Whether all that states versions and names has passed.
    states_all: bool,
}

/// A file of the cabinet.
struct Content {
    name: String,
    kind: Kind,
    sha1: Sha1,
    sha256: Sha256,
    /// What is read as a whole, up to its limit.
    kept: Vec<u8>,
    /// In lower-case hex, once all bytes have come.
    digests: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Metadata,
    Jcat,
    /// GPG or PKCS#7 of the file whose name stands before the suffix.
    DetachedSignature,
    Other,
}

impl Kind {
    fn of(name: &str) -> Self {
        if name.ends_with(".metainfo.xml") {
            Self::Metadata
        } else if name.ends_with(".jcat") {
            Self::Jcat
        } else if [".asc", ".p7b", ".p7c"].iter().any(|suffix| name.ends_with(suffix)) {
            Self::DetachedSignature
        } else {
            Self::Other
        }
    }

    /// How many bytes are kept to be read as a whole; one more tells that a file is longer.
    fn longest(self) -> usize {
        match self {
            Self::Metadata => metainfo::LONGEST,
            Self::Jcat => jcat::LONGEST,
            Self::DetachedSignature | Self::Other => 0,
        }
    }
}

impl Visitor for Contents {
    fn files(&mut self, files: &[File], report: &mut Report) {
        self.files = files.iter().map(|file| Content::of(&file.name)).collect();
        self.metadata_left = self.files.iter().filter(|file| file.kind == Kind::Metadata).count();
        self.has_metadata = self.metadata_left > 0;
        if self.has_metadata {
            report.facts.format = "fwupd".to_owned();
        }
        for file in &self.files {
            if matches!(file.kind, Kind::Jcat | Kind::DetachedSignature) {
                report.facts.signed |= file.kind == Kind::DetachedSignature;
                report.facts.detail("signature file", &file.name);
            }
        }
    }

    fn data(&mut self, file: usize, bytes: &[u8]) {
        if let Some(file) = self.files.get_mut(file) {
            file.sha1.update(bytes);
            file.sha256.update(bytes);
            let longest = file.kind.longest();
            if longest > 0 {
                let room = (longest + 1).saturating_sub(file.kept.len()).min(bytes.len());
                file.kept.extend_from_slice(&bytes[..room]);
            }
        }
    }

    fn end_of_file(&mut self, file: usize, report: &mut Report) {
        let Some(file) = self.files.get_mut(file) else { return };
        let sha1 = hex::encode(std::mem::take(&mut file.sha1).finalize());
        let sha256 = hex::encode(std::mem::take(&mut file.sha256).finalize());
        file.digests = Some((sha1, sha256));
        let kept = std::mem::take(&mut file.kept);
        let name = file.name.clone();
        let longest = file.kind.longest();
        let wrong = match file.kind {
            Kind::Metadata | Kind::Jcat if kept.len() > longest => {
                Err(format!("it has more than {longest} bytes, and no more are read"))
            }
            Kind::Metadata if self.components.len() >= MOST_COMPONENTS => {
                Err(format!("there are {MOST_COMPONENTS} components already, and no more are read"))
            }
            Kind::Metadata => metainfo::read(&kept).map(|components| self.components.extend(components)),
            Kind::Jcat if self.items.len() >= jcat::MOST_ITEMS => {
                Err(format!("there are {} signed files already, and no more are read", jcat::MOST_ITEMS))
            }
            Kind::Jcat => jcat::read(&kept).map(|items| self.items.extend(items)),
            Kind::DetachedSignature | Kind::Other => Ok(()),
        };
        if let Err(why) = wrong {
            report.fault(FaultKind::Malformed, format!("{name} of the cabinet cannot be read: {why}"));
        }
        if Kind::of(&name) == Kind::Metadata {
            self.metadata_left -= 1;
            if self.metadata_left == 0 {
                self.states_all = true;
                self.state(report);
            }
        }
    }
}

impl Contents {
    /// States what the metadata says.
    fn state(&self, report: &mut Report) {
        let facts = &mut report.facts;
        let several = self.components.len() > 1;
        for component in &self.components {
            facts.name(NameKind::Product, &component.id);
            facts.name(NameKind::Vendor, &component.developer);
            for guid in &component.guids {
                facts.name(NameKind::Compatible, guid);
            }
            facts.detail("component", &component.id);
            facts.detail("name", &component.name);
            facts.detail("summary", &component.summary);
            for need in &component.requires {
                facts.detail("requires", need);
            }
            for (key, value) in &component.settings {
                facts.detail(key, value);
            }
            let newest = component.newest();
            for release in &component.releases {
                if several || newest.is_some_and(|newest| !std::ptr::eq(newest, release)) {
                    facts.detail("release", &release.version);
                }
            }
            if let Some(newest) = newest {
                facts.detail("release date", &newest.date);
                facts.detail("urgency", &newest.urgency);
            }
        }
        let mut newest =
            self.components.iter().filter_map(|component| Some((component, component.newest()?)));
        if let Some((component, release)) = newest.next()
            && !release.version.is_empty()
            && newest.all(|(_, other)| other.version == release.version)
        {
            facts.set_version(&release.version);
            facts.semver = component.semver(release);
        }
        if self.components.is_empty() {
            report.fault(
                FaultKind::Malformed,
                "the metadata of the cabinet has no <component type=\"firmware\">: fwupd finds nothing \
                 to install",
            );
        }
        for component in &self.components {
            let id = &component.id;
            if id.is_empty() {
                report.fault(FaultKind::Malformed, "a component of the metadata has no <id>");
            }
            if component.releases.iter().all(|release| release.version.is_empty()) {
                report
                    .fault(FaultKind::Malformed, format!("component {id:?} states no version of a release"));
            }
        }
    }

    /// Compares what metadata and Jcat files say of the files with what they are.
    fn compare(&self, files: &[File], report: &mut Report) -> Vec<Option<String>> {
        let mut right = vec![None; files.len()];
        let mut check = |stated: &str, index: usize, by: &str, report: &mut Report| {
            let name = &self.files[index].name;
            let Some((sha1, sha256)) = &self.files[index].digests else {
                return;
            };
            let (kind, digest) = match stated.len() {
                _ if !stated.bytes().all(|byte| byte.is_ascii_hexdigit()) => ("", sha1),
                40 => ("sha1", sha1),
                64 => ("sha256", sha256),
                32 | 96 | 128 => {
                    let text = format!("{stated} of {name}: only SHA-1 and SHA-256 are computed");
                    return report.facts.detail("not verified", text);
                }
                _ => ("", sha1),
            };
            if kind.is_empty() {
                let stated = text_of(stated.as_bytes());
                let message = format!("{by} states {stated:?} for {name:?}, which is no digest in hex");
                report.fault(FaultKind::Malformed, message);
            } else if stated == digest {
                // SHA-256 says more.
                if kind == "sha256" || right[index].is_none() {
                    right[index] = Some(format!("{kind}:{digest}"));
                }
            } else {
                report.fault(
                    FaultKind::DigestWrong,
                    format!("{name:?} of the cabinet has {kind} {digest}, and {by} states {stated}"),
                );
            }
        };
        let find = |name: &str| self.files.iter().position(|file| file.name == name);
        for component in &self.components {
            for release in &component.releases {
                let by = format!("release {} of {}", release.version, component.id);
                let Some(index) = find(&release.file) else {
                    let message = format!("{by} is about {:?}, which is not in the cabinet", release.file);
                    report.fault(FaultKind::Malformed, message);
                    continue;
                };
                for checksum in &release.checksums {
                    check(checksum, index, &by, report);
                }
                let size = files.get(index).map_or(0, |file| file.size);
                if component.newest().is_some_and(|newest| std::ptr::eq(newest, release)) {
                    let installed = report.facts.installed_size.unwrap_or(0);
                    report.facts.installed_size = Some(installed.max(size));
                }
                if let Some(stated) = release.size.as_ref().filter(|stated| number(stated) != Some(size)) {
                    let message =
                        format!("{by} states {stated} bytes installed; {:?} has {size}", release.file);
                    report.fault(FaultKind::Malformed, message);
                }
            }
        }
        for item in &self.items {
            let Some(index) = find(&item.file) else { continue };
            for kind in &item.signatures {
                report.facts.signed = true;
                report.facts.detail("signature", format!("{kind} of {}", item.file));
            }
            for checksum in &item.checksums {
                check(checksum, index, "the Jcat file", report);
            }
        }
        right
    }
}

/// A number as fwupd takes it: decimal, or with `0x` in hexadecimal.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Content {
    fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: Kind::of(name),
            sha1: Sha1::new(),
            sha256: Sha256::new(),
            kept: Vec::new(),
            digests: None,
        }
    }
}

impl Inspector for Cabinet {
    fn update(&mut self, bytes: &[u8]) {
        self.reader.push(bytes, &mut self.contents, &mut self.report);
    }

    fn so_far(&self) -> Option<&Facts> {
        self.contents.states_all.then_some(&self.report.facts)
    }

    fn finish(self: Box<Self>) -> Report {
        let Self { reader, contents, mut report } = *self;
        let files = reader.files().to_vec();
        reader.finish(&mut report);
        let digests = contents.compare(&files, &mut report);
        // The tables may have ended before the contents knew of them.
        for (index, file) in files.into_iter().enumerate().take(contents.files.len()) {
            let digest = digests.get(index).cloned().flatten();
            report.facts.payload(Payload { name: file.name, size: file.size, digest });
        }
        if contents.has_metadata && !contents.states_all && report.faults.is_empty() {
            report.fault(
                FaultKind::Malformed,
                "the metadata of the cabinet is compressed in a way that fwupd does not read: use MSZIP or \
                 none",
            );
        }
        report
    }
}
