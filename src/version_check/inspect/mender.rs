//! Mender artifacts of versions 2 and 3, and tar archives that are none.
//!
//! Source: `Documentation/artifact-format-v2.md`, `Documentation/artifact-format-v3.md`, `areader/reader.go`
//! and `artifact/signer.go` of mender-artifact. A tar archive of, in this order:
//!
//! | entry | |
//! |---|---|
//! | `version` | JSON: `{"format":"mender","version":3}` |
//! | `manifest` | the SHA-256 of `version`, of `header.tar*` as it is, of payload files unpacked |
//! | `manifest.sig` | if it is signed: a signature over `manifest` |
//! | `manifest-augment` | version 3, rare: the same for files that the signature does not cover |
//! | `header.tar[.gz\|.xz\|.zst]` | a tar: `header-info`, `scripts/*`, `headers/NNNN/type-info`, … |
//! | `header-augment.tar*` | if there is a `manifest-augment` |
//! | `data/NNNN.tar*` | for each payload a tar of its files |
//!
//! # Version
//! The text: `rootfs-image.version` of what the payloads provide; else, if all keys `*.version` that they
//! provide (`data-partition.app.version`) have one value, that; else the artifact's name. The SemVer: the one
//! at the end of the text, see `version.rs`.
//!
//! # What it verifies
//! All digests of the manifest, payload files included (unpacked on the fly); that files and manifest name
//! each other; the order of the entries; types of payloads in `header-info` against `type-info`; the image's
//! checksum in `type-info`; each tar's header checksums and end.
//!
//! # Limits
//! Of each part, beside it; [`unpack::Budget`] against decompression bombs; `unpack.rs` for what is not
//! unpacked: such payloads are listed, and a detail says so.
//!
//! # What it does not do
//! Run or judge state scripts; read version 1 (it has no manifest); expand
//! sparse files.

mod artifact;
mod header;
mod inside;
mod manifest;
mod tar;
#[cfg(test)]
mod tests;
mod unpack;
mod version;

use serde::Deserialize;

use super::{Facts, FaultKind, Inspector, Payload, Report};
use artifact::Artifact;
use tar::{Ending, Entry, Kind, Visitor};

/// The longest `version` file; the real ones have 31 bytes.
const LONGEST_VERSION: u64 = 4096;

/// Takes every tar archive.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    tar::is_header(head).then(|| {
        let report = Report { facts: Facts::of("tar"), ..Report::default() };
        let contents = Contents { report, stage: Stage::First, entries: 0, size: 0 };
        Box::new(Archive { tar: tar::Reader::default(), contents }) as Box<dyn Inspector>
    })
}

struct Archive {
    tar: tar::Reader,
    contents: Contents,
}

/// What is in the archive.
struct Contents {
    report: Report,
    stage: Stage,
    entries: u64,
    size: u64,
}

enum Stage {
    /// Before the first entry.
    First,
    /// In the first entry, which may be that of an artifact.
    Version(Vec<u8>),
    /// Behind a first entry `version` that is not that of an artifact. If a manifest follows, it should be.
    Doubt(Vec<u8>),
    /// In an archive that is no artifact.
    Tar,
    Artifact(Box<Artifact>),
}

/// What `version` states.
#[derive(Deserialize)]
struct Version {
    format: String,
    version: u64,
}

impl Visitor for Contents {
    fn entry(&mut self, entry: Entry) {
        self.entries += 1;
        self.size = self.size.saturating_add(entry.size);
        if let Stage::Doubt(text) = &self.stage {
            self.stage = if entry.name == "manifest" {
                self.report.fault(
                    FaultKind::Malformed,
                    "the file version of the artifact is not {\"format\":\"mender\",\"version\":3}: it was \
                     damaged, or written by something else than mender-artifact",
                );
                self.report.facts = Facts::of("mender");
                Stage::Artifact(Box::new(Artifact::new(text)))
            } else {
                Stage::Tar
            };
        }
        match &mut self.stage {
            Stage::First
                if entry.name == "version" && entry.kind == Kind::File && entry.size <= LONGEST_VERSION =>
            {
                self.stage = Stage::Version(Vec::new());
            }
            Stage::First | Stage::Tar => {
                self.stage = Stage::Tar;
                if entry.kind == Kind::File {
                    self.report.facts.payload(Payload { name: entry.name, size: entry.size, digest: None });
                }
            }
            Stage::Artifact(artifact) => artifact.entry(entry, &mut self.report),
            // An entry begins only where the one before has ended.
            Stage::Version(_) | Stage::Doubt(_) => {}
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        match &mut self.stage {
            Stage::Version(text) => text.extend_from_slice(bytes),
            Stage::Artifact(artifact) => artifact.data(bytes, &mut self.report),
            Stage::First | Stage::Doubt(_) | Stage::Tar => {}
        }
    }

    fn end_of_entry(&mut self) {
        match &mut self.stage {
            Stage::Version(text) => {
                let text = std::mem::take(text);
                self.stage = match serde_json::from_slice::<Version>(&text) {
                    Ok(Version { format, version }) if format == "mender" => {
                        self.report.facts.format = "mender".to_owned();
                        artifact::state_format(version, &mut self.report);
                        Stage::Artifact(Box::new(Artifact::new(&text)))
                    }
                    _ => {
                        let size = text.len() as u64;
                        self.report.facts.payload(Payload { name: "version".to_owned(), size, digest: None });
                        Stage::Doubt(text)
                    }
                };
            }
            Stage::Artifact(artifact) => artifact.end_of_entry(&mut self.report),
            Stage::First | Stage::Doubt(_) | Stage::Tar => {}
        }
    }
}

impl Inspector for Archive {
    fn update(&mut self, bytes: &[u8]) {
        self.tar.push(bytes, &mut self.contents);
    }

    fn so_far(&self) -> Option<&Facts> {
        match &self.contents.stage {
            Stage::Artifact(artifact) if artifact.states_all() => Some(&self.contents.report.facts),
            _ => None,
        }
    }

    fn finish(self: Box<Self>) -> Report {
        let Contents { mut report, stage, entries, size } = self.contents;
        let what = if let Stage::Artifact(_) = stage { "the artifact" } else { "the tar archive" };
        let ending = self.tar.finish();
        let whole = matches!(ending, Ending::Whole | Ending::Padded(_));
        match ending {
            Ending::Whole => {}
            Ending::Truncated(how) => report.fault(
                FaultKind::Truncated,
                format!("{what} is cut short: {how}; it was not copied or built to its end"),
            ),
            Ending::Padded(bytes) => report.fault(
                FaultKind::Padded,
                format!("{bytes} bytes stand behind the end of {what}: something was appended to it"),
            ),
            Ending::ChecksumWrong(how) => {
                report
                    .fault(FaultKind::DigestWrong, format!("{how}: {what} was damaged after it was written"));
            }
            Ending::Malformed(how) => report.fault(FaultKind::Malformed, how),
        }
        match stage {
            Stage::Artifact(artifact) => artifact.finish(whole, &mut report),
            Stage::First | Stage::Version(_) | Stage::Doubt(_) | Stage::Tar => {
                report.facts.detail("entries", entries.to_string());
                report.facts.detail("bytes in entries", size.to_string());
            }
        }
        report
    }
}
