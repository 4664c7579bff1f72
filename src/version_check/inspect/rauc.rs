//! RAUC bundles (plain, verity, crypt), and a squashfs that is none.
//!
//! Layout (RAUC, `src/bundle.c`, `src/manifest.c`; its reference, section "Bundle Formats"): a squashfs; in a
//! verity or crypt bundle a dm-verity hash tree over it; a CMS structure; its size in 8 bytes, big-endian.
//! The CMS of a plain bundle is a detached signature over the squashfs, and the manifest is the file
//! `manifest.raucm` in the squashfs. That of the others holds the manifest, which states the root hash of the
//! tree. The squashfs of a crypt bundle is encrypted, so such a bundle has no magic and is known by its end
//! alone ([`encrypted_probe`]); once it is encrypted for its recipients, the CMS is too, and nobody else can
//! tell what it is for.
//!
//! What it verifies: the CMS's structure; that the size trailer fits; that the squashfs is as long as it
//! says; that the signer's digest is that of the squashfs (plain) or manifest; and of a verity or crypt
//! bundle the tree up to the root hash and the blocks under it, as far as they are kept: the salt stands
//! behind all blocks, so they cannot be hashed while they pass. The detail `verity compared` says how many
//! were. A device compares all of them.
//!
//! Limits: [`KEPT`] bytes of the end are kept; the CMS has at most 256 KiB. The manifest of a plain
//! bundle that lies before what is kept is not read, and that is said in a detail.
//!
//! What it does not do: unpack the squashfs and compare the digests of the images in it; decrypt.

mod end;
mod inline;
mod manifest;
mod squashfs;
#[cfg(test)]
mod tests;
mod verity;

use chrono::{DateTime, SecondsFormat};

use self::{
    end::{KEPT, Tail, Trailer},
    manifest::Manifest,
    squashfs::{Kept, Missing, Superblock},
};
use super::{
    Facts, FaultKind, Inspector, Report,
    cms::{self, Cms, Digests, Hashing, SignedData},
    raw,
};

const MANIFEST: &str = "manifest.raucm";

/// Knows what begins with a squashfs.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    head.starts_with(squashfs::MAGIC).then(|| {
        Box::new(Rauc { head: Vec::new(), hashing: Some(Hashing::default()), tail: Tail::default() }) as _
    })
}

/// Knows a crypt bundle by its end, and takes everything for one until then: it must be asked last before
/// [`raw::probe`], whose report it gives for everything else.
pub(super) fn encrypted_probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    // Every bundle has more than a block of payload.
    (head.len() >= super::HEAD).then(|| {
        let rauc = Rauc { head: Vec::new(), hashing: None, tail: Tail::default() };
        Box::new(Encrypted { rauc, otherwise: raw::inspector() }) as _
    })
}

struct Rauc {
    head: Vec<u8>,
    /// Of the bytes that are no longer in `tail`; none if what passes cannot be a plain bundle.
    hashing: Option<Hashing>,
    tail: Tail,
}

impl Inspector for Rauc {
    fn update(&mut self, bytes: &[u8]) {
        let missing = squashfs::SUPERBLOCK - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        let Self { hashing, tail, .. } = self;
        tail.update(bytes, &mut |passed| {
            if let Some(hashing) = hashing {
                hashing.update(passed);
            }
        });
    }

    fn finish(self: Box<Self>) -> Report {
        self.report()
    }
}

struct Encrypted {
    rauc: Rauc,
    otherwise: Box<dyn Inspector>,
}

impl Inspector for Encrypted {
    fn update(&mut self, bytes: &[u8]) {
        self.rauc.update(bytes);
        self.otherwise.update(bytes);
    }

    fn finish(self: Box<Self>) -> Report {
        match Trailer::whole(&self.rauc.tail.bytes) {
            Some(_) => self.rauc.report(),
            None => self.otherwise.finish(),
        }
    }
}

impl Rauc {
    fn report(self) -> Report {
        let superblock = Superblock::read(&self.head).filter(|_| self.head.starts_with(squashfs::MAGIC));
        let squashfs_end = superblock.as_ref().map_or(u64::MAX, |superblock| superblock.bytes_used);
        let trailer =
            Trailer::whole(&self.tail.bytes).or_else(|| Trailer::damaged(self.tail.kept(), squashfs_end));
        match trailer {
            Some(trailer) => self.bundle(superblock.as_ref(), trailer),
            None => self.bare(superblock.as_ref()),
        }
    }

    /// A squashfs without a bundle's end.
    fn bare(&self, superblock: Option<&Superblock>) -> Report {
        let mut report = Report { facts: Facts::of("squashfs"), ..Report::default() };
        let Some(superblock) = superblock else {
            report.fault(
                FaultKind::Truncated,
                format!(
                    "it ends after {} bytes, within the superblock of a squashfs: upload it again",
                    self.tail.total()
                ),
            );
            return report;
        };
        superblock.state(&mut report);
        superblock.fits(&mut report, self.tail.total(), "the file");
        report
    }

    fn bundle(mut self, superblock: Option<&Superblock>, trailer: Trailer) -> Report {
        let mut report = Report { facts: Facts::of("rauc"), ..Report::default() };
        if let Some((kind, message)) = trailer.fault {
            report.fault(kind, message);
        }
        let Trailer { at, size, .. } = trailer;
        let payload = Kept { start: self.tail.start, bytes: &self.tail.bytes[..at] };
        let payload_size = payload.start + at as u64;
        let signature = &self.tail.bytes[at..at + size];
        match cms::read(signature) {
            Ok(Cms::Signed(SignedData { content: Some(manifest), .. })) if manifest.is_empty() => {
                report.fault(FaultKind::Malformed, "its signature holds an empty manifest");
            }
            Ok(Cms::Signed(signed)) => match &signed.content {
                Some(content) => {
                    signed.state(&mut report, &Digests::of(content), "the manifest");
                    let manifest = read_manifest(&mut report, content);
                    inline::compare(&mut report, manifest.as_ref(), superblock, payload, payload_size);
                }
                None => {
                    if let Some(mut hashing) = self.hashing.take() {
                        hashing.update(payload.bytes);
                        report.facts.own_digest =
                            signed.state(&mut report, &hashing.finish(), "the squashfs");
                    }
                    plain(&mut report, superblock, payload, payload_size);
                }
            },
            Ok(Cms::Enveloped(recipients)) => {
                report.facts.detail("bundle format", "crypt");
                for recipient in recipients {
                    report.facts.detail("encrypted for", recipient);
                }
                report.facts.detail(
                    "manifest",
                    "encrypted for the recipients: version, names and signer cannot be read by anyone else",
                );
            }
            Err(why) => {
                report.fault(
                    FaultKind::Malformed,
                    format!(
                        "its signature, the {size} bytes at byte {payload_size}, {why}: upload it again, or \
                         sign it again"
                    ),
                );
                // It may still be told what it was meant to be.
                if let Some(superblock) = superblock {
                    superblock.state(&mut report);
                    state_manifest_of(&mut report, superblock, payload);
                }
            }
        }
        report
    }
}

fn read_manifest(report: &mut Report, bytes: &[u8]) -> Option<Manifest> {
    match Manifest::read(bytes) {
        Ok(manifest) => {
            manifest.state(report);
            Some(manifest)
        }
        Err(why) => {
            report.fault(FaultKind::Malformed, format!("{why}: see RAUC's reference for its syntax"));
            None
        }
    }
}

/// A bundle whose manifest is in its squashfs.
fn plain(report: &mut Report, superblock: Option<&Superblock>, payload: Kept<'_>, payload_size: u64) {
    let Some(superblock) = superblock else {
        report.fault(
            FaultKind::Malformed,
            "it ends as a RAUC bundle does but begins with no squashfs: upload it again",
        );
        return;
    };
    superblock.state(report);
    superblock.fits(report, payload_size, "the bundle before its signature");
    let Some(manifest) = state_manifest_of(report, superblock, payload) else { return };
    if manifest.format() != "plain" {
        report.fault(
            FaultKind::Malformed,
            format!(
                "its manifest says that the bundle's format is {}, but its signature is that of a plain \
                 bundle: make it with `rauc bundle`, which signs each format in its way",
                manifest.format(),
            ),
        );
    }
}

/// States the manifest in a squashfs, or why it cannot be read.
fn state_manifest_of(report: &mut Report, superblock: &Superblock, payload: Kept<'_>) -> Option<Manifest> {
    match superblock.file(payload, MANIFEST) {
        Ok(bytes) => return read_manifest(report, &bytes),
        Err(Missing::NotKept) => report.facts.detail(
            "manifest",
            format!(
                "not read: it lies more than {KEPT} bytes before the end, so there is no version and no name"
            ),
        ),
        Err(Missing::Compression(name)) => report.facts.detail(
            "manifest",
            format!("not read: the squashfs is compressed with {name} (gzip, xz and zstd are read)"),
        ),
        Err(Missing::NoSuchFile) => {
            report.fault(
                FaultKind::Malformed,
                format!("there is no {MANIFEST} in its squashfs, without which it is no bundle"),
            );
        }
        Err(Missing::Broken(why)) => report.fault(
            FaultKind::Malformed,
            format!(
                "the {MANIFEST} in its squashfs cannot be read: {why}; upload it again, or make it again"
            ),
        ),
    }
    None
}

impl Superblock {
    fn state(&self, report: &mut Report) {
        let made_at = DateTime::from_timestamp(self.made_at.into(), 0).filter(|_| self.made_at > 0);
        report.facts.built_at = made_at.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
        report.facts.detail(
            "squashfs",
            format!(
                "{} bytes, {}, blocks of {} bytes, {} inodes",
                self.bytes_used,
                self.compression(),
                self.block_size,
                self.inodes,
            ),
        );
    }

    /// Whether it is as long as what it is in.
    fn fits(&self, report: &mut Report, length: u64, what: &str) {
        let used = self.bytes_used;
        let (major, minor) = self.version;
        if self.version != (4, 0) {
            report.fault(
                FaultKind::Malformed,
                format!("its squashfs has the format version {major}.{minor}; Linux mounts 4.0 alone"),
            );
        } else if used < squashfs::SUPERBLOCK as u64 {
            report.fault(
                FaultKind::Malformed,
                format!("its squashfs says that it has {used} bytes, which is less than its superblock"),
            );
        } else if used > length {
            report.fault(
                FaultKind::Truncated,
                format!(
                    "{what} has {length} bytes, but the squashfs in it {used}: it was cut off; upload it \
                     again"
                ),
            );
        } else if length > used.div_ceil(4096).saturating_mul(4096) {
            report.fault(
                FaultKind::Padded,
                format!(
                    "{what} goes on for {} bytes behind its squashfs of {used} bytes (padded to 4096): if \
                     it should be a RAUC bundle, its end with the signature is missing or damaged",
                    length - used,
                ),
            );
        }
    }
}
