//! The data of a cabinet's folder: its blocks, what they become, and which file that belongs to.
//!
//! Source: MS-CAB 2.4 (`CFDATA`), 3.1 (checksum). Blocks of 32 KiB at most become one run of bytes, in
//! which each file has a place.

use super::{
    super::{FaultKind, Report},
    cabinet::{File, Numbers, Visitor},
    mszip::MsZip,
};

/// The most unpacked bytes of a block.
const LARGEST_BLOCK: usize = 32 * 1024;

/// An entry of the folders' table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Where its data begins.
    pub start: u32,
    pub blocks: u16,
    pub compression: u16,
}

impl Entry {
    /// As a person calls it.
    pub fn compression_name(self) -> String {
        match self.compression & 0x0f {
            0 => "none".to_owned(),
            1 => "MSZIP".to_owned(),
            2 => "Quantum".to_owned(),
            3 => "LZX".to_owned(),
            kind => format!("unknown ({kind})"),
        }
    }

    /// Whether its data can be unpacked here.
    pub fn is_readable(self) -> bool {
        self.compression & 0x0f <= 1
    }
}

/// A folder whose data is passing.
#[derive(Default)]
pub(super) struct Folder {
    blocks_left: u16,
    blocks: u16,
    /// `None` = its blocks are stored as they are.
    zip: Option<MsZip>,
    /// Whether its files can be read (still).
    readable: bool,
    /// How many of its unpacked bytes have passed.
    unpacked: u64,
    /// Its files, the next one last.
    files: Vec<usize>,
    block: Block,
}

/// The header of a block.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    checksum: u32,
    size: u16,
    unpacked: u16,
}

impl Folder {
    /// A folder of that number.
    pub fn new(index: usize, entry: Entry, files: &[File]) -> Self {
        let mut own: Vec<usize> =
            (0..files.len()).filter(|file| usize::from(files[*file].folder) == index).collect();
        own.sort_by_key(|file| std::cmp::Reverse((files[*file].start, files[*file].size)));
        Self {
            blocks_left: entry.blocks,
            blocks: entry.blocks,
            zip: (entry.compression & 0x0f == 1).then(MsZip::default),
            readable: entry.is_readable(),
            files: own,
            ..Self::default()
        }
    }

    /// Takes the header of a block, which ends at that position.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn block_header(&mut self, number: Numbers, position: u64) -> Result<(), String> {
        self.block = Block { checksum: number.u32(0), size: number.u16(4), unpacked: number.u16(6) };
        let unpacked = self.block.unpacked;
        if usize::from(unpacked) > LARGEST_BLOCK || unpacked == 0 {
            return Err(format!(
                "the data block before byte {position} states {unpacked} unpacked bytes; 1 to \
                 {LARGEST_BLOCK} are allowed"
            ));
        }
        Ok(())
    }

    /// The size of the block whose header came last, packed.
    pub fn block_size(&self) -> usize {
        usize::from(self.block.size)
    }

    /// The size of the block whose header came last, unpacked.
    pub fn block_unpacked(&self) -> u64 {
        u64::from(self.block.unpacked)
    }

    /// Whether all of its blocks have come.
    pub fn is_complete(&self) -> bool {
        self.blocks_left == 0
    }

    /// Takes a block, which ends at that position.
    pub fn block(
        &mut self,
        reserved: &[u8],
        data: &[u8],
        position: u64,
        files: &[File],
        visitor: &mut dyn Visitor,
        report: &mut Report,
    ) {
        let Block { checksum: stated, size, unpacked } = self.block;
        let number = self.blocks - self.blocks_left;
        self.blocks_left = self.blocks_left.saturating_sub(1);
        let sizes = u32::from(size) | u32::from(unpacked) << 16;
        let computed = checksum(reserved) ^ checksum(data) ^ sizes;
        // Zero: its writer computed none.
        let right = stated == 0 || stated == computed;
        if !right {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "data block {number} before byte {position} of the cabinet has checksum {computed:08x}, \
                     and {stated:08x} is stated: the cabinet was damaged after it was written"
                ),
            );
        }
        if !self.readable {
            return;
        }
        let mut zip = self.zip.take();
        let bytes = match &mut zip {
            Some(zip) => zip.unpack(data, usize::from(unpacked)),
            None if size == unpacked => Ok(data),
            None => Err(format!("it states {size} bytes, and {unpacked} unpacked, without compression")),
        };
        match bytes {
            Ok(bytes) => self.deliver(bytes, files, visitor, report),
            Err(why) => {
                self.readable = false;
                // A wrong checksum has said enough.
                if right {
                    let message = format!("data block {number} before byte {position} is wrong: {why}");
                    report.fault(FaultKind::Malformed, message);
                }
            }
        }
        self.zip = zip;
        if let Some(file) = self.files.last().and_then(|index| files.get(*index))
            && self.readable
            && self.is_complete()
        {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "{:?} would end at byte {} of its folder, which has {} bytes unpacked",
                    file.name,
                    file.start + file.size,
                    self.unpacked
                ),
            );
        }
    }

    /// Hands unpacked bytes to the files that they belong to; at the beginning none, for files that are
    /// empty.
    pub fn deliver(
        &mut self,
        mut bytes: &[u8],
        files: &[File],
        visitor: &mut dyn Visitor,
        report: &mut Report,
    ) {
        while let Some((index, file)) = self.files.last().and_then(|index| Some((*index, files.get(*index)?)))
        {
            // What belongs to no file.
            let skipped = take(&mut bytes, file.start.saturating_sub(self.unpacked));
            self.unpacked += skipped.len() as u64;
            if self.unpacked < file.start {
                return;
            }
            let left = file.start + file.size - self.unpacked;
            let taken = take(&mut bytes, left);
            self.unpacked += taken.len() as u64;
            visitor.data(index, taken);
            if (taken.len() as u64) < left {
                return;
            }
            self.files.pop();
            visitor.end_of_file(index, report);
        }
        self.unpacked += bytes.len() as u64;
    }
}

/// Takes so many bytes from the front, or what is there.
fn take<'a>(bytes: &mut &'a [u8], count: u64) -> &'a [u8] {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

/// All groups of four bytes exclusive-or; what is left at the end counts in big-endian order.
fn checksum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let whole = words.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
    rest.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)) ^ whole
}
