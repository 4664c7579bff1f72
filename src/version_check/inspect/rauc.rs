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
//! Limits: [`KEPT`] bytes of the end are kept; the CMS has at most [`LARGEST_CMS`]. The manifest of a plain
//! bundle that lies before what is kept is not read, and that is said in a detail.
//!
//! What it does not do: unpack the squashfs and compare the digests of the images in it; decrypt.

mod manifest;
mod squashfs;
#[cfg(test)]
mod tests;
mod verity;

use chrono::{DateTime, SecondsFormat};

use self::{
    manifest::Manifest,
    squashfs::{Kept, Missing, Superblock},
    verity::Wrong,
};
use super::{
    Facts, FaultKind, Inspector, Report,
    cms::{self, Cms, Digests, Hashing, SignedData},
    raw,
};

/// How many of the last bytes are kept. `mksquashfs` writes the tables, and before them the fragment in which
/// a small file such as the manifest lies, at the end; the hash tree of 512 MiB has 4 MiB.
const KEPT: usize = 4 << 20;
/// How much more is kept before it is given up, so that the kept bytes are moved rarely.
const SLACK: usize = 1 << 20;
/// The largest CMS. RAUC's own default for a device is 64 KiB (`max-bundle-signature-size`).
const LARGEST_CMS: usize = 256 * 1024;
/// Bytes of the size at the end.
const SIZE: usize = 8;

const MANIFEST: &str = "manifest.raucm";

/// Knows what begins with a squashfs.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    head.starts_with(squashfs::MAGIC).then(|| {
        Box::new(Rauc { head: Vec::new(), hashing: Some(Hashing::default()), tail: Tail::default() }) as _
    })
}

/// Knows a crypt bundle by its end, and takes everything for one until then: it must be asked last before
/// [`raw::probe`], whose report it gives for everything else.
#[cfg_attr(not(test), expect(dead_code, reason = "it waits for its line in the list of formats"))]
pub(super) fn encrypted_probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    // Every bundle has more than a block of payload.
    (head.len() >= super::HEAD).then(|| {
        let rauc = Rauc { head: Vec::new(), hashing: None, tail: Tail::default() };
        Box::new(Encrypted { rauc, otherwise: raw::inspector() }) as _
    })
}

/// The last bytes of a stream.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    /// How many passed before them.
    start: u64,
}

impl Tail {
    /// Keeps the next bytes, and hands on those that are no longer kept.
    fn update(&mut self, mut bytes: &[u8], passed: &mut dyn FnMut(&[u8])) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(SLACK));
            self.bytes.extend_from_slice(now);
            bytes = later;
            if self.bytes.len() >= KEPT + SLACK {
                let gone = self.bytes.len() - KEPT;
                passed(&self.bytes[..gone]);
                self.bytes.drain(..gone);
                self.start += gone as u64;
            }
        }
    }

    fn kept(&self) -> Kept<'_> {
        Kept { start: self.start, bytes: &self.bytes }
    }

    fn total(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
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

/// Where the CMS is in the kept bytes.
struct Trailer {
    at: usize,
    size: usize,
    fault: Option<(FaultKind, String)>,
}

impl Trailer {
    /// One that is as it should be.
    fn whole(bytes: &[u8]) -> Option<Self> {
        let (before, size) = bytes.split_last_chunk::<SIZE>()?;
        let size = usize::try_from(u64::from_be_bytes(*size)).ok().filter(|size| *size <= LARGEST_CMS)?;
        let at = before.len().checked_sub(size)?;
        cms::begins(&before[at..]).then_some(Self { at, size, fault: None })
    }

    /// One that is damaged, behind the end of a squashfs.
    fn damaged(kept: Kept<'_>, squashfs_end: u64) -> Option<Self> {
        let from = usize::try_from(squashfs_end.saturating_sub(kept.start)).ok()?;
        let at = from + cms::find_last(kept.bytes.get(from..)?)?;
        let bytes = &kept.bytes[at..];
        let size = cms::stated_length(bytes).filter(|size| *size <= LARGEST_CMS)?;
        let Some(behind) = bytes.get(size..) else {
            let fault = format!(
                "it ends after {} of the {size} bytes of its signature: upload it again",
                bytes.len()
            );
            return Some(Self { at, size: bytes.len(), fault: Some((FaultKind::Truncated, fault)) });
        };
        let stated = behind.first_chunk::<SIZE>().map(|stated| u64::from_be_bytes(*stated));
        let fault = match (stated, behind.len() - SIZE.min(behind.len())) {
            (None, _) => (
                FaultKind::Truncated,
                "it ends within the size of its signature, which is its last 8 bytes: upload it again".into(),
            ),
            (Some(stated), 0) => (
                FaultKind::Malformed,
                format!(
                    "its last 8 bytes say that the signature before them has {stated} bytes, but it has \
                     {size}"
                ),
            ),
            (Some(stated), more) if stated == size as u64 => (
                FaultKind::Padded,
                format!("it goes on for {more} bytes behind the size of its signature, where a bundle ends"),
            ),
            // Something that merely looks like a signature.
            _ => return None,
        };
        Some(Self { at, size, fault: Some(fault) })
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
                    inline(&mut report, manifest.as_ref(), superblock, payload, payload_size);
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

/// A bundle whose manifest is in its signature.
fn inline(
    report: &mut Report,
    manifest: Option<&Manifest>,
    superblock: Option<&Superblock>,
    payload: Kept<'_>,
    payload_size: u64,
) {
    if let Some(superblock) = superblock {
        superblock.state(report);
    }
    let Some(manifest) = manifest else { return };
    match (manifest.format(), superblock) {
        ("verity", Some(_)) | ("crypt", None) => {}
        ("verity", None) => report.fault(
            FaultKind::Malformed,
            "its manifest says that the bundle's format is verity, but it begins with no squashfs: upload \
             it again",
        ),
        ("crypt", Some(_)) => report.fault(
            FaultKind::Malformed,
            "its manifest says that the bundle's format is crypt, but its squashfs is not encrypted",
        ),
        (other, _) => report.fault(
            FaultKind::Malformed,
            format!(
                "its manifest says that the bundle's format is {other}, but its signature is that of a \
                 verity or crypt bundle: make it with `rauc bundle`, which signs each format in its way"
            ),
        ),
    }
    let hex_of = |key: &str| manifest.get("bundle", key).and_then(|text| hex::decode(text.trim()).ok());
    let tree_size: Option<u64> =
        manifest.get("bundle", "verity-size").and_then(|text| text.trim().parse().ok());
    let (Some(root), Some(salt), Some(tree_size)) = (hex_of("verity-hash"), hex_of("verity-salt"), tree_size)
    else {
        report.fault(
            FaultKind::Malformed,
            "its manifest lacks a readable verity-hash, verity-salt or verity-size in its group [bundle]",
        );
        return;
    };
    let data_size = payload_size.checked_sub(tree_size).filter(|size| *size > 0 && size % verity::BLOCK == 0);
    let Some(data_size) = data_size else {
        report.fault(
            FaultKind::Malformed,
            format!(
                "its manifest states a hash tree of {tree_size} bytes, which leaves no whole blocks of {} \
                 bytes of the {payload_size} bytes before the signature: a part of the bundle is missing, \
                 or there is too much",
                verity::BLOCK,
            ),
        );
        return;
    };
    if let Some(superblock) = superblock {
        superblock.fits(report, data_size, "the bundle before its hash tree");
    }
    match verity::compare(payload, data_size, tree_size, &salt, &root) {
        Ok(compared) => {
            let data_blocks = data_size / verity::BLOCK;
            report.facts.detail(
                "verity compared",
                format!(
                    "{} of {} blocks of the hash tree, {} of {data_blocks} of the payload",
                    compared.tree,
                    tree_size / verity::BLOCK,
                    compared.data,
                ),
            );
            if compared.data == data_blocks {
                report.facts.own_digest = Some(format!("verity:{}", hex::encode(root)));
            }
        }
        Err(Wrong::Size(needed)) => report.fault(
            FaultKind::Malformed,
            format!(
                "its manifest states a hash tree of {tree_size} bytes, but that of {data_size} bytes of \
                 payload has {needed}: a part of the bundle is missing, or there is too much"
            ),
        ),
        Err(Wrong::Root) => report.fault(
            FaultKind::DigestWrong,
            format!(
                "the root of its hash tree is not the verity-hash {} of its manifest: the bundle was \
                 damaged or put together from two; upload it again",
                hex::encode(root),
            ),
        ),
        Err(Wrong::Block(at)) => report.fault(
            FaultKind::DigestWrong,
            format!(
                "its block of {} bytes at byte {at} is not the one in its hash tree: upload it again",
                verity::BLOCK
            ),
        ),
        Err(Wrong::NotZero(at)) => report.fault(
            FaultKind::Malformed,
            format!("the block of its hash tree at byte {at} is not filled up with zeros"),
        ),
    }
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
