//! The entries of a cpio archive (`cpio(5)`, "New ASCII Format").

use sha2::{Digest, Sha256};

/// The size of a header, in bytes.
pub(super) const HEADER: usize = 110;
/// The magic of `newc`.
pub(super) const NEWC: &[u8] = b"070701";
/// The magic of `crc`, whose entries carry a checksum.
pub(super) const CRC: &[u8] = b"070702";

/// What a header says.
pub(super) struct Header {
    /// Whether it has a checksum.
    pub crc: bool,
    /// Of the data.
    pub size: u32,
    /// Of the name with its NUL.
    pub name_size: u32,
    /// The sum of the data's bytes.
    pub check: u32,
}

/// An entry whose data passes.
pub(super) struct Entry {
    /// Its header.
    pub header: Header,
    /// Its name.
    pub name: String,
    /// How many bytes are to come.
    pub left: u32,
    /// The sum of those that came.
    pub sum: u32,
    /// Their digest.
    pub sha256: Sha256,
    /// The content, if it is one that is read.
    pub kept: Option<Vec<u8>>,
}

impl Header {
    /// Reads one; `None` if it is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (magic, fields) = bytes.split_at_checked(NEWC.len())?;
        let crc = magic == CRC;
        if !crc && magic != NEWC {
            return None;
        }
        let mut numbers = [0; 13];
        for (number, digits) in numbers.iter_mut().zip(fields.chunks_exact(8)) {
            // `from_str_radix` takes a sign, which is no digit.
            let digits = str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            *number = u32::from_str_radix(digits, 16).ok()?;
        }
        Some(Self { crc, size: numbers[6], name_size: numbers[11], check: numbers[12] })
    }

    /// How many bytes the name takes with its padding.
    pub fn name_length(&self) -> usize {
        (HEADER + self.name_size as usize).next_multiple_of(4) - HEADER
    }
}

/// How many bytes fill up data of this size.
pub(super) fn padding_of(size: u32) -> u64 {
    u64::from(size.wrapping_neg() % 4)
}

impl Entry {
    /// Takes the next bytes, no more than are left.
    pub fn update(&mut self, bytes: &[u8]) {
        // What is taken is never more than is left, which is of this type.
        self.left -= bytes.len() as u32;
        self.sha256.update(bytes);
        if self.header.crc {
            self.sum = bytes.iter().fold(self.sum, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        }
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
    }
}
