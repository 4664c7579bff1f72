//! The entries of a Mender artifact: their order, and what each is read for.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::{
    super::{FaultKind, Payload, Report, facts::text_of},
    header::Header,
    inside::{Content, File, Inside, four_digits},
    manifest::{Manifest, signature},
    tar::{self, Ending, Entry, Kind},
    unpack::{Budget, Compression, Unpacker},
};

/// The longest manifest: about ten thousand files, a hundred times as many as artifacts have.
const LONGEST_MANIFEST: usize = 1024 * 1024;
/// The longest `manifest.sig`: an RSA signature of 8192 bits has 1368 characters.
const LONGEST_SIGNATURE: usize = 4096;

/// An artifact on its way through.
pub(super) struct Artifact {
    /// The last part that has come.
    last: Part,
    augmented: bool,
    version_sha256: [u8; 32],
    manifest: Manifest,
    manifest_sha256: Option<[u8; 32]>,
    header: Header,
    header_is_complete: bool,
    /// The payloads whose data has come.
    data: BTreeSet<usize>,
    /// The folders of the manifest whose files could not be looked into.
    closed: Vec<String>,
    budget: Budget,
    reading: Reading,
}

/// The parts, in the order in which they must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Version,
    Manifest,
    Signature,
    ManifestAugment,
    Header,
    HeaderAugment,
    Data,
}

/// What the entry at hand is read as.
enum Reading {
    /// Nothing: it is passed over.
    Skipped,
    /// A text, up to a length.
    Text { part: Part, bytes: Vec<u8>, longest: usize, size: u64 },
    /// A tar in the tar.
    Nested(Box<Nested>),
}

/// A tar archive inside, which may be compressed.
struct Nested {
    name: String,
    size: u64,
    content: Content,
    hash: Sha256,
    /// `None` = it cannot be looked into, or not any more.
    unpacker: Option<Unpacker>,
    tar: tar::Reader,
    /// The entry at hand inside.
    file: File,
}

/// States the version of the format.
pub(super) fn state_format(version: u64, report: &mut Report) {
    report.facts.detail("format version", version.to_string());
    if !(2..=3).contains(&version) {
        report.fault(
            FaultKind::Malformed,
            format!(
                "this is a Mender artifact of version {version}, and versions 2 and 3 are read here: write \
                 it again with `mender-artifact write … --version 3`"
            ),
        );
    }
}

impl Artifact {
    /// An artifact whose `version` file is this.
    pub fn new(version: &[u8]) -> Self {
        Self {
            last: Part::Version,
            augmented: false,
            version_sha256: Sha256::digest(version).into(),
            manifest: Manifest::default(),
            manifest_sha256: None,
            header: Header::default(),
            header_is_complete: false,
            data: BTreeSet::new(),
            closed: Vec::new(),
            budget: Budget::default(),
            reading: Reading::Skipped,
        }
    }

    /// Whether all that states versions and names has passed.
    pub fn states_all(&self) -> bool {
        self.header_is_complete
    }

    pub fn entry(&mut self, entry: Entry, report: &mut Report) {
        self.reading = Reading::Skipped;
        if entry.kind == Kind::Directory {
            return;
        }
        let shown = text_of(entry.name.as_bytes());
        let Some((part, content, suffix)) = part_of(&entry.name) else {
            return report.fault(
                FaultKind::Malformed,
                format!("{shown:?} is nothing that a Mender artifact has: devices refuse it"),
            );
        };
        self.order(part, &shown, report);
        if let Some(content) = content {
            self.reading = self.nested(&entry, content, suffix, report);
        } else {
            let longest = if part == Part::Signature { LONGEST_SIGNATURE } else { LONGEST_MANIFEST };
            self.reading = Reading::Text { part, bytes: Vec::new(), longest, size: entry.size };
        }
    }

    pub fn data(&mut self, bytes: &[u8], report: &mut Report) {
        match &mut self.reading {
            Reading::Skipped => {}
            Reading::Text { bytes: kept, longest, .. } => {
                let room = longest.saturating_sub(kept.len()).min(bytes.len());
                kept.extend_from_slice(&bytes[..room]);
            }
            Reading::Nested(nested) => {
                nested.hash.update(bytes);
                let Some(unpacker) = &mut nested.unpacker else {
                    return;
                };
                let mut inside = Inside {
                    content: nested.content,
                    file: &mut nested.file,
                    header: &mut self.header,
                    manifest: &mut self.manifest,
                    report,
                };
                let unpacked =
                    unpacker.push(bytes, &mut self.budget, &mut |bytes| nested.tar.push(bytes, &mut inside));
                if let Err(why) = unpacked {
                    nested.unpacker = None;
                    self.closed.push(nested.content.folder());
                    report.fault(FaultKind::Malformed, format!("{} cannot be unpacked: {why}", nested.name));
                }
            }
        }
    }

    pub fn end_of_entry(&mut self, report: &mut Report) {
        match std::mem::replace(&mut self.reading, Reading::Skipped) {
            Reading::Skipped => {}
            Reading::Text { part, bytes, longest, size } => {
                if size > longest as u64 {
                    return report.fault(
                        FaultKind::Malformed,
                        format!("{} has {size} bytes; at most {longest} are read", part.name()),
                    );
                }
                self.text(part, &bytes, report);
            }
            Reading::Nested(nested) => self.nested_ends(*nested, report),
        }
    }

    /// The archive has ended; `whole` = at its end mark.
    pub fn finish(self, whole: bool, report: &mut Report) {
        // What is missing because the end is missing needs no words of its own.
        if !whole {
            return;
        }
        if self.manifest_sha256.is_none() {
            report.fault(FaultKind::Malformed, "the artifact has no manifest: nothing says that it is whole");
        }
        if !self.header_is_complete {
            report.fault(FaultKind::Malformed, "the artifact has no header.tar: nothing says what it is for");
        }
        for name in self.manifest.missing(&self.closed) {
            report.fault(
                FaultKind::Malformed,
                format!("the manifest names {:?}, which is not in the artifact", text_of(name.as_bytes())),
            );
        }
    }

    /// Holds the order of the parts.
    fn order(&mut self, part: Part, shown: &str, report: &mut Report) {
        let repeated = part == self.last && part != Part::Data;
        let too_early = match part {
            Part::Version | Part::Manifest => false,
            Part::Signature | Part::ManifestAugment | Part::Header => self.last < Part::Manifest,
            Part::HeaderAugment => !self.augmented || self.last < Part::Header,
            Part::Data => self.last < if self.augmented { Part::HeaderAugment } else { Part::Header },
        };
        if repeated || part < self.last || too_early {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "{shown:?} stands behind {}: devices read an artifact in the order version, manifest, \
                     manifest.sig, manifest-augment, header.tar, header-augment.tar, data/NNNN.tar, each \
                     once, and augmented parts only together; write it with mender-artifact, not with tar",
                    self.last.name()
                ),
            );
        }
        self.augmented |= part == Part::ManifestAugment;
        self.last = self.last.max(part);
    }

    fn nested(&mut self, entry: &Entry, content: Content, suffix: &str, report: &mut Report) -> Reading {
        let shown = text_of(entry.name.as_bytes());
        if let Content::Payload(index) = content {
            if index >= self.header.payloads.len() && self.header_is_complete {
                report.fault(
                    FaultKind::Malformed,
                    format!("{shown:?} belongs to a payload that header-info does not list"),
                );
                return Reading::Skipped;
            }
            if !self.data.insert(index) {
                report.fault(FaultKind::Malformed, format!("{shown:?} is the second data of its payload"));
                return Reading::Skipped;
            }
        } else if content == Content::Header && self.header_is_complete {
            return Reading::Skipped;
        }
        let compression = Compression::of(suffix);
        report
            .facts
            .detail(&format!("{shown} compression"), compression.map_or("unknown", Compression::name));
        if compression.is_none() {
            self.closed.push(content.folder());
            if content == Content::Header {
                report.fault(
                    FaultKind::Malformed,
                    format!(
                        "{shown:?} is compressed in a way that is not read here: use gzip, xz, zstd or none"
                    ),
                );
            } else {
                report.facts.detail("not looked into", format!("{shown}: its compression is not known"));
                report.facts.payload(Payload { name: entry.name.clone(), size: entry.size, digest: None });
            }
        }
        Reading::Nested(Box::new(Nested {
            name: shown,
            size: entry.size,
            content,
            hash: Sha256::new(),
            unpacker: compression.map(Unpacker::new),
            tar: tar::Reader::default(),
            file: File::None,
        }))
    }

    fn text(&mut self, part: Part, bytes: &[u8], report: &mut Report) {
        match part {
            Part::Manifest => {
                self.manifest_sha256 = Some(Sha256::digest(bytes).into());
                self.manifest.read("manifest", bytes, report);
                self.manifest.check("version", self.version_sha256, report);
            }
            Part::ManifestAugment => {
                self.manifest.read("manifest-augment", bytes, report);
                report
                    .facts
                    .detail("augmented", "files of manifest-augment are not covered by the signature");
            }
            Part::Signature => {
                report.facts.signed = true;
                let Some(manifest_sha256) = self.manifest_sha256 else { return };
                match signature(bytes, manifest_sha256) {
                    Some(signature) => report.signatures.push(signature),
                    None => report.fault(
                        FaultKind::Malformed,
                        "manifest.sig is no RSA or ECDSA P-256 signature in base64: sign the artifact again",
                    ),
                }
            }
            Part::Version | Part::Header | Part::HeaderAugment | Part::Data => {}
        }
    }

    fn nested_ends(&mut self, nested: Nested, report: &mut Report) {
        let Nested { name, size, content, hash, unpacker, mut tar, mut file } = nested;
        if let Some(unpacker) = unpacker {
            let mut inside = Inside {
                content,
                file: &mut file,
                header: &mut self.header,
                manifest: &mut self.manifest,
                report,
            };
            let end = unpacker.finish(&mut self.budget, &mut |bytes| tar.push(bytes, &mut inside));
            let ending = tar.finish();
            if end.is_err() || !matches!(ending, Ending::Whole) {
                self.closed.push(content.folder());
            }
            let why = match (end, ending) {
                (Err(why), _) => format!("{name} cannot be unpacked: {why}"),
                (_, Ending::Whole) => String::new(),
                (_, Ending::Truncated(how)) => format!("{name} is cut short inside: {how}"),
                (_, Ending::Padded(bytes)) => format!("{name} has {bytes} bytes behind its end inside"),
                (_, Ending::ChecksumWrong(how) | Ending::Malformed(how)) => format!("inside {name}, {how}"),
            };
            if !why.is_empty() {
                report.fault(FaultKind::Malformed, why);
            }
        }
        match content {
            Content::Header | Content::HeaderAugment => {
                self.manifest.check(&name, hash.finalize().into(), report);
                if content == Content::Header {
                    self.header.finish(report);
                    self.header_is_complete = true;
                }
            }
            Content::Payload(_) => report.facts.detail(&format!("{name} size"), size.to_string()),
        }
    }
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Manifest => "manifest",
            Self::Signature => "manifest.sig",
            Self::ManifestAugment => "manifest-augment",
            Self::Header => "header.tar",
            Self::HeaderAugment => "header-augment.tar",
            Self::Data => "data",
        }
    }
}

/// Which part an entry of that name is, what the archive in it is, and what follows `.tar`.
fn part_of(name: &str) -> Option<(Part, Option<Content>, &str)> {
    Some(match name {
        "version" => (Part::Version, None, ""),
        "manifest" => (Part::Manifest, None, ""),
        "manifest.sig" => (Part::Signature, None, ""),
        "manifest-augment" => (Part::ManifestAugment, None, ""),
        _ => {
            if let Some(suffix) = name.strip_prefix("header.tar") {
                (Part::Header, Some(Content::Header), suffix)
            } else if let Some(suffix) = name.strip_prefix("header-augment.tar") {
                (Part::HeaderAugment, Some(Content::HeaderAugment), suffix)
            } else {
                let (index, suffix) = name.strip_prefix("data/")?.split_once(".tar")?;
                (Part::Data, Some(Content::Payload(four_digits(index)?)), suffix)
            }
        }
    })
}
