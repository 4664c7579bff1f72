//! What is inside the nested archives of a Mender artifact: the files of its header, and those of a payload.

use sha2::{Digest, Sha256};

use super::{
    super::{FaultKind, Payload, Report, facts::text_of},
    header::{Header, LONGEST_JSON},
    manifest::Manifest,
    tar::{Entry, Kind, Visitor},
};

/// What a nested archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Header,
    HeaderAugment,
    Payload(usize),
}

/// An entry of a nested archive.
pub(super) enum File {
    None,
    HeaderInfo(Vec<u8>),
    TypeInfo(usize, Vec<u8>),
    Payload { name: String, size: u64, hash: Sha256 },
}

impl Content {
    /// How the manifest's names of what is inside begin; nothing inside a header is named there.
    pub fn folder(self) -> String {
        match self {
            Self::Payload(index) => format!("data/{index:04}/"),
            Self::Header | Self::HeaderAugment => "headers/".to_owned(),
        }
    }
}

/// A number of four digits.
pub(super) fn four_digits(text: &str) -> Option<usize> {
    (text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Looks into a nested archive.
pub(super) struct Inside<'a> {
    pub content: Content,
    pub file: &'a mut File,
    pub header: &'a mut Header,
    pub manifest: &'a mut Manifest,
    pub report: &'a mut Report,
}

impl Visitor for Inside<'_> {
    fn entry(&mut self, entry: Entry) {
        *self.file = File::None;
        if entry.kind == Kind::Directory {
            return;
        }
        let shown = text_of(entry.name.as_bytes());
        match self.content {
            Content::Header => *self.file = self.header_file(&entry),
            // Says what is only known on the device; its digest is all that is verified.
            Content::HeaderAugment => {}
            Content::Payload(index) => {
                // What devices allow (areader/reader.go).
                let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ',');
                if entry.kind != Kind::File || entry.name.is_empty() || !entry.name.chars().all(allowed) {
                    self.report.fault(
                        FaultKind::Malformed,
                        format!(
                            "payload {index:04} has a file {shown:?}: devices take plain files whose names \
                             are made of letters, digits and .,_- only"
                        ),
                    );
                }
                *self.file = File::Payload {
                    name: format!("data/{index:04}/{}", entry.name),
                    size: entry.size,
                    hash: Sha256::new(),
                };
            }
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        match self.file {
            File::None => {}
            // One more than is read, to tell a longer one.
            File::HeaderInfo(kept) | File::TypeInfo(_, kept) => {
                let room = (LONGEST_JSON + 1).saturating_sub(kept.len()).min(bytes.len());
                kept.extend_from_slice(&bytes[..room]);
            }
            File::Payload { hash, .. } => hash.update(bytes),
        }
    }

    fn end_of_entry(&mut self) {
        match std::mem::replace(self.file, File::None) {
            File::None => {}
            File::HeaderInfo(bytes) | File::TypeInfo(_, bytes) if bytes.len() > LONGEST_JSON => {
                self.report.fault(
                    FaultKind::Malformed,
                    format!(
                        "a JSON file of the header has more than {LONGEST_JSON} bytes, and no more are read"
                    ),
                );
            }
            File::HeaderInfo(bytes) => self.header.header_info(&bytes, self.report),
            File::TypeInfo(index, bytes) => self.header.type_info(index, &bytes, self.report),
            File::Payload { name, size, hash } => self.payload(name, size, hash.finalize().into()),
        }
    }
}

impl Inside<'_> {
    fn header_file(&mut self, entry: &Entry) -> File {
        let name = entry.name.as_str();
        let shown = text_of(name.as_bytes());
        let first = !std::mem::replace(&mut self.header.begun, true);
        if first != (name == "header-info") {
            self.report.fault(
                FaultKind::Malformed,
                format!("{shown:?} stands in the header where it may not: header-info is first, and once"),
            );
        }
        if name == "header-info" {
            return if first { File::HeaderInfo(Vec::new()) } else { File::None };
        }
        if let Some(script) = name.strip_prefix("scripts/") {
            self.report.facts.detail("state script", script);
            if self.header.in_headers {
                self.report.fault(
                    FaultKind::Malformed,
                    format!("{shown:?} stands behind headers/ in the header: scripts come before"),
                );
            }
            return File::None;
        }
        self.header.in_headers = true;
        let bucket = name.strip_prefix("headers/").and_then(|rest| rest.split_once('/'));
        match bucket.and_then(|(index, file)| Some((four_digits(index)?, file))) {
            Some((index, "type-info")) => File::TypeInfo(index, Vec::new()),
            Some(_) => File::None,
            None => {
                self.report.fault(
                    FaultKind::Malformed,
                    format!("{shown:?} is nothing that the header of an artifact has"),
                );
                File::None
            }
        }
    }

    fn payload(&mut self, name: String, size: u64, sha256: [u8; 32]) {
        let right = self.manifest.check(&name, sha256, self.report);
        let digest = hex::encode(sha256);
        if let Content::Payload(index) = self.content
            && let Some(payload) = self.header.payloads.get(index)
        {
            if payload.is_rootfs_image() {
                let installed = &mut self.report.facts.installed_size;
                *installed = Some(installed.map_or(size, |other| other.max(size)));
            }
            if let Some(stated) = payload.checksum.as_ref().filter(|stated| **stated != digest) {
                self.report.fault(
                    FaultKind::DigestWrong,
                    format!(
                        "{:?} has SHA-256 {digest}, and headers/{index:04}/type-info provides \
                         rootfs-image.checksum {}",
                        text_of(name.as_bytes()),
                        text_of(stated.as_bytes())
                    ),
                );
            }
        }
        self.report.facts.payload(Payload { name, size, digest: right.then(|| format!("sha256:{digest}")) });
    }
}
