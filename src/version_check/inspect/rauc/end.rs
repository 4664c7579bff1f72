//! The end of a bundle: the last bytes of a stream, and the signature in them.

use super::{
    super::{FaultKind, cms},
    squashfs::Kept,
};

/// How many of the last bytes are kept. `mksquashfs` writes the tables, and before them the fragment in which
/// a small file such as the manifest lies, at the end; the hash tree of 512 MiB has 4 MiB.
pub(super) const KEPT: usize = 4 << 20;
/// How much more is kept before it is given up, so that the kept bytes are moved rarely.
pub(super) const SLACK: usize = 1 << 20;
/// The largest CMS. RAUC's own default for a device is 64 KiB (`max-bundle-signature-size`).
const LARGEST_CMS: usize = 256 * 1024;
/// Bytes of the size at the end.
const SIZE: usize = 8;

/// The last bytes of a stream.
#[derive(Default)]
pub(super) struct Tail {
    pub bytes: Vec<u8>,
    /// How many passed before them.
    pub start: u64,
}

impl Tail {
    /// Keeps the next bytes, and hands on those that are no longer kept.
    pub fn update(&mut self, mut bytes: &[u8], passed: &mut dyn FnMut(&[u8])) {
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

    /// What is kept.
    pub fn kept(&self) -> Kept<'_> {
        Kept { start: self.start, bytes: &self.bytes }
    }

    /// How many bytes have passed in all.
    pub fn total(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// Where the CMS is in the kept bytes.
pub(super) struct Trailer {
    /// From there.
    pub at: usize,
    /// So many bytes.
    pub size: usize,
    /// What is wrong with the end.
    pub fault: Option<(FaultKind, String)>,
}

impl Trailer {
    /// One that is as it should be.
    pub fn whole(bytes: &[u8]) -> Option<Self> {
        let (before, size) = bytes.split_last_chunk::<SIZE>()?;
        let size = usize::try_from(u64::from_be_bytes(*size)).ok().filter(|size| *size <= LARGEST_CMS)?;
        let at = before.len().checked_sub(size)?;
        cms::begins(&before[at..]).then_some(Self { at, size, fault: None })
    }

    /// One that is damaged, behind the end of a squashfs.
    pub fn damaged(kept: Kept<'_>, squashfs_end: u64) -> Option<Self> {
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
