//! The numbers in a zip archive's records, and the comparison of local headers with the directory.

use sha2::{Digest, Sha256};

/// A file's sizes, in bytes.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub packed: u64,
    pub unpacked: u64,
    /// Whether the archive states them with 64 bits.
    pub is_64: bool,
}

/// How many files, and what is said of them, in any order.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub files: u64,
    sum: u128,
}

impl Tally {
    pub fn add(&mut self, name: &[u8], at: u64, method: u16, crc: u32, sizes: Sizes) {
        let mut digest = Sha256::new();
        digest.update(name);
        digest.update(at.to_le_bytes());
        digest.update(method.to_le_bytes());
        digest.update(crc.to_le_bytes());
        digest.update(sizes.packed.to_le_bytes());
        digest.update(sizes.unpacked.to_le_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&digest.finalize()[..16]);
        self.files += 1;
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(first));
    }
}

/// The number at an offset; 0 beyond the end.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_le_bytes([two[0], two[1]]))
}

/// As [`u16_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

/// As [`u16_at`].
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// The values of a zip64 extra field (4.5.3) in place of those that are all ones.
pub(super) fn widen(extra: &[u8], values: &mut [u64]) -> bool {
    let mut rest = extra;
    while rest.len() >= 4 {
        let (id, length) = (u16_at(rest, 0), usize::from(u16_at(rest, 2)));
        let Some(field) = rest.get(4..4 + length) else { return false };
        if id == 1 {
            let mut wide = field.chunks_exact(8).map(|eight| u64_at(eight, 0));
            let mut found = false;
            for value in values.iter_mut().filter(|value| **value == u64::from(u32::MAX)) {
                let Some(wide) = wide.next() else { return false };
                (*value, found) = (wide, true);
            }
            return found;
        }
        rest = &rest[4 + length..];
    }
    false
}
