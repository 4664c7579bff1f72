//! The squashfs 4.0 that a bundle is, as far as it takes to find one small file in its root.
//!
//! Layout (Linux, `fs/squashfs/squashfs_fs.h`): a superblock of 96 bytes; data blocks and fragments; then the
//! tables of inodes, directories and fragments in metadata blocks of at most 8 KiB, each behind a 16-bit
//! length. All numbers are little-endian. `bytes_used` of the superblock is the end; `mksquashfs` pads it to
//! 4096 bytes.
//!
//! Only the tail of the image is at hand: what lies before it is [`Missing::NotKept`], which is no fault.
//!
//! Limits: 64 KiB of the file, 256 KiB of the directory, 1 MiB of a block (the format's own limit), 64
//! metadata blocks a table. What is compressed with LZ4, LZO or LZMA is not read.

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use xz4rust::{XzDecoder, XzNextBlockResult};

/// The magic at the beginning.
pub(super) const MAGIC: &[u8] = b"hsqs";
/// The superblock's size.
pub(super) const SUPERBLOCK: usize = 96;

const METADATA_BLOCK: usize = 8192;
const LARGEST_BLOCK: usize = 1 << 20;
const LARGEST_FILE: u64 = 64 * 1024;
const LARGEST_DIRECTORY: usize = 256 * 1024;
const MOST_METADATA_BLOCKS: usize = 64;
const NO_FRAGMENT: u32 = u32::MAX;

/// What the superblock says.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    /// Seconds since 1970.
    pub made_at: u32,
    /// Bytes of a data block.
    pub block_size: u32,
    /// `major.minor`.
    pub version: (u16, u16),
    /// Its own length, without padding.
    pub bytes_used: u64,
    /// How many inodes it has.
    pub inodes: u32,
    compression: u16,
    root: u64,
    inodes_at: u64,
    directories_at: u64,
    fragments_at: u64,
    fragments: u32,
}

/// Why a file is not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// A part that leads to it has passed and was not kept.
    NotKept,
    /// It is compressed with something that is not read here.
    Compression(&'static str),
    /// There is no such file.
    NoSuchFile,
    /// The file system is broken.
    Broken(&'static str),
}

/// The bytes at hand: those from `start` on.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    /// Where in the image they begin.
    pub start: u64,
    /// Up to the end of the squashfs.
    pub bytes: &'a [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl Superblock {
    /// Reads it from the first bytes of an image; `None` if it is cut off.
    pub fn read(head: &[u8]) -> Option<Self> {
        let head = head.get(..SUPERBLOCK)?;
        Some(Self {
            inodes: u32_at(head, 4)?,
            made_at: u32_at(head, 8)?,
            block_size: u32_at(head, 12)?,
            fragments: u32_at(head, 16)?,
            compression: u16_at(head, 20)?,
            version: (u16_at(head, 28)?, u16_at(head, 30)?),
            root: u64_at(head, 32)?,
            bytes_used: u64_at(head, 40)?,
            inodes_at: u64_at(head, 64)?,
            directories_at: u64_at(head, 72)?,
            fragments_at: u64_at(head, 80)?,
        })
    }

    /// The compression's name.
    pub fn compression(&self) -> &'static str {
        match self.compression {
            1 => "gzip",
            2 => "lzma",
            3 => "lzo",
            4 => "xz",
            5 => "lz4",
            6 => "zstd",
            _ => "unknown",
        }
    }

    /// The content of a file in the root directory.
    pub fn file(&self, kept: Kept<'_>, name: &str) -> Result<Vec<u8>, Missing> {
        let block_size = self.block_size;
        if self.version != (4, 0) || !block_size.is_power_of_two() || block_size as usize > LARGEST_BLOCK {
            return Err(Missing::Broken("it is no squashfs 4.0, or has an impossible block size"));
        }
        let reader = Reader { superblock: self, kept };
        let root = reader.inode(self.root)?;
        let inode = reader.find(&root, name.as_bytes())?;
        reader.content(&reader.inode(inode)?)
    }
}

struct Reader<'a> {
    superblock: &'a Superblock,
    kept: Kept<'a>,
}

const CUT: Missing = Missing::Broken("a table ends too early");

impl Reader<'_> {
    fn bytes(&self, at: u64, length: usize) -> Result<&[u8], Missing> {
        let from = at.checked_sub(self.kept.start).ok_or(Missing::NotKept)?;
        let from = usize::try_from(from).map_err(|_| CUT)?;
        let end = from.checked_add(length).ok_or(CUT)?;
        self.kept.bytes.get(from..end).ok_or(Missing::Broken("a table or block lies behind its end"))
    }

    /// The bytes of metadata from a block on: at least `length`, if there are as many.
    fn metadata(&self, mut block: u64, offset: usize, length: usize) -> Result<Vec<u8>, Missing> {
        let mut found: Vec<u8> = Vec::new();
        let end = offset.checked_add(length).ok_or(CUT)?;
        for _ in 0..MOST_METADATA_BLOCKS {
            if found.len() >= end {
                break;
            }
            let header = u16_at(self.bytes(block, 2)?, 0).ok_or(CUT)?;
            let size = usize::from(header & 0x7fff);
            let stored = self.bytes(block.checked_add(2).ok_or(CUT)?, size)?;
            match header & 0x8000 {
                0 => found.extend(self.decompress(stored, METADATA_BLOCK)?),
                _ => found.extend_from_slice(stored),
            }
            block = block.checked_add(2 + size as u64).ok_or(CUT)?;
        }
        match found.len() >= end {
            true => Ok(found.drain(offset..end).collect()),
            false => Err(CUT),
        }
    }

    /// An inode's bytes, from its reference: as many as one without its list of blocks has.
    fn inode(&self, reference: u64) -> Result<Inode, Missing> {
        let block = self.superblock.inodes_at.checked_add(reference >> 16).ok_or(CUT)?;
        let offset = (reference & 0xffff) as usize;
        let kind = u16_at(&self.metadata(block, offset, 16)?, 0).ok_or(CUT)?;
        let fixed = match kind {
            1 | 2 => 32,
            8 => 40,
            9 => 56,
            _ => return Err(Missing::Broken("an inode that should be a file or directory is neither")),
        };
        let bytes = self.metadata(block, offset, fixed)?;
        Ok(Inode { kind, bytes, block, blocks_at: offset + fixed })
    }

    /// The reference of the inode of that name in a directory.
    fn find(&self, directory: &Inode, name: &[u8]) -> Result<u64, Missing> {
        let bytes = &directory.bytes;
        let (block, offset, size) = match directory.kind {
            1 => (u32_at(bytes, 16), u16_at(bytes, 26), u16_at(bytes, 24).map(u32::from)),
            8 => (u32_at(bytes, 24), u16_at(bytes, 34), u32_at(bytes, 20)),
            _ => return Err(Missing::Broken("its root is no directory")),
        };
        let (Some(block), Some(offset), Some(size)) = (block, offset, size) else { return Err(CUT) };
        // The size counts `.` and `..`, which are not stored, as three bytes.
        let size = size.saturating_sub(3) as usize;
        if size > LARGEST_DIRECTORY {
            return Err(Missing::Broken("its root directory has more entries than a bundle needs"));
        }
        let block = self.superblock.directories_at.checked_add(block.into()).ok_or(CUT)?;
        let listing = self.metadata(block, offset.into(), size)?;
        let mut at = 0;
        while at < listing.len() {
            let count = u32_at(&listing, at).ok_or(CUT)?;
            let inode_block = u32_at(&listing, at + 4).ok_or(CUT)?;
            if count >= 256 {
                return Err(Missing::Broken("a directory header counts more entries than it may"));
            }
            at += 12;
            for _ in 0..=count {
                let inode_offset = u16_at(&listing, at).ok_or(CUT)?;
                let length = usize::from(u16_at(&listing, at + 6).ok_or(CUT)?) + 1;
                let entry = listing.get(at + 8..at + 8 + length).ok_or(CUT)?;
                if entry == name {
                    return Ok(u64::from(inode_block) << 16 | u64::from(inode_offset));
                }
                at += 8 + length;
            }
        }
        Err(Missing::NoSuchFile)
    }

    fn content(&self, file: &Inode) -> Result<Vec<u8>, Missing> {
        let bytes = &file.bytes;
        let (start, size, fragment, offset) = match file.kind {
            2 => (
                u32_at(bytes, 16).map(u64::from),
                u32_at(bytes, 28).map(u64::from),
                u32_at(bytes, 20),
                u32_at(bytes, 24),
            ),
            9 => (u64_at(bytes, 16), u64_at(bytes, 24), u32_at(bytes, 44), u32_at(bytes, 48)),
            _ => return Err(Missing::Broken("a directory stands where a file should")),
        };
        let (Some(mut start), Some(size), Some(fragment), Some(offset)) = (start, size, fragment, offset)
        else {
            return Err(CUT);
        };
        if size > LARGEST_FILE {
            return Err(Missing::Broken("the file is larger than it may be"));
        }
        let size = size as usize;
        let block_size = self.superblock.block_size as usize;
        let in_fragment = if fragment == NO_FRAGMENT { 0 } else { size % block_size };
        let blocks = (size - in_fragment).div_ceil(block_size);
        let list = self.metadata(file.block, file.blocks_at, blocks * 4)?;
        let mut content = Vec::with_capacity(size);
        for word in list.chunks_exact(4) {
            let word = u32_at(word, 0).ok_or(CUT)?;
            let length = block_size.min(size - in_fragment - content.len());
            // A block of no bytes is one of zeros.
            let block = if word == 0 { vec![0; length] } else { self.block(start, word)? };
            content.extend_from_slice(block.get(..length).ok_or(CUT)?);
            start = start.checked_add((word & 0x00ff_ffff).into()).ok_or(CUT)?;
        }
        if in_fragment > 0 {
            let block = self.fragment(fragment)?;
            let tail = block.get(offset as usize..).and_then(|tail| tail.get(..in_fragment));
            content.extend_from_slice(tail.ok_or(CUT)?);
        }
        Ok(content)
    }

    fn fragment(&self, number: u32) -> Result<Vec<u8>, Missing> {
        if number >= self.superblock.fragments {
            return Err(Missing::Broken("a file names a fragment that is not there"));
        }
        let pointer = self.superblock.fragments_at.checked_add(u64::from(number / 512) * 8).ok_or(CUT)?;
        let block = u64_at(self.bytes(pointer, 8)?, 0).ok_or(CUT)?;
        let entry = self.metadata(block, (number % 512) as usize * 16, 16)?;
        self.block(u64_at(&entry, 0).ok_or(CUT)?, u32_at(&entry, 8).ok_or(CUT)?)
    }

    /// A data block: its length is in the low 24 bits, the next says that it is not compressed.
    fn block(&self, at: u64, word: u32) -> Result<Vec<u8>, Missing> {
        let stored = self.bytes(at, (word & 0x00ff_ffff) as usize)?;
        match word & 0x0100_0000 {
            0 => self.decompress(stored, self.superblock.block_size as usize),
            _ if stored.len() > LARGEST_BLOCK => Err(Missing::Broken("a block is too large")),
            _ => Ok(stored.to_vec()),
        }
    }

    fn decompress(&self, stored: &[u8], limit: usize) -> Result<Vec<u8>, Missing> {
        let content = match self.superblock.compression {
            1 => miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(stored, limit).ok(),
            4 => from_xz(stored, limit),
            6 => from_zstd(stored, limit),
            _ => return Err(Missing::Compression(self.superblock.compression())),
        };
        match content {
            Some(content) if !content.is_empty() => Ok(content),
            _ => Err(Missing::Broken("a block cannot be decompressed")),
        }
    }
}

struct Inode {
    kind: u16,
    bytes: Vec<u8>,
    block: u64,
    /// Where, from the beginning of that block, the list of a file's blocks starts.
    blocks_at: usize,
}

fn from_xz(stored: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut decoder = XzDecoder::in_heap_with_alloc_dict_size(METADATA_BLOCK, LARGEST_BLOCK);
    let mut content = vec![0; limit];
    let (mut taken, mut given) = (0, 0);
    loop {
        match decoder.decode(stored.get(taken..)?, content.get_mut(given..)?).ok()? {
            XzNextBlockResult::NeedMoreData(input, output) => {
                // No progress: it wants more than there is, or more room than it may have.
                if input == 0 && output == 0 {
                    return None;
                }
                taken += input;
                given += output;
            }
            XzNextBlockResult::EndOfStream(_, output) => {
                content.truncate(given + output);
                return Some(content);
            }
        }
    }
}

fn from_zstd(stored: &[u8], limit: usize) -> Option<Vec<u8>> {
    // The decoder reserves the window that the frame asks for (RFC 8878, 3.1.1.1): no more than a block is
    // needed.
    let (magic, rest) = stored.split_first_chunk()?;
    let (&descriptor, rest) = rest.split_first()?;
    if u32::from_le_bytes(*magic) != 0xfd2f_b528 {
        return None;
    }
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = *rest.first()?;
        let base = 1_u64.checked_shl(10 + u32::from(window >> 3))?;
        if base + base / 8 * u64::from(window & 7) > 2 * LARGEST_BLOCK as u64 {
            return None;
        }
    } else {
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size = rest.get(dictionary..)?;
        let content = match descriptor >> 6 {
            0 => u64::from(*size.first()?),
            1 => u64::from(u16_at(size, 0)?) + 256,
            2 => u64::from(u32_at(size, 0)?),
            _ => u64_at(size, 0)?,
        };
        if content > limit as u64 {
            return None;
        }
    }
    // One frame only: another one behind it could ask for more.
    let mut input = stored;
    let mut decoder = FrameDecoder::new();
    decoder.init(&mut input).ok()?;
    let mut content = Vec::new();
    loop {
        decoder.decode_blocks(&mut input, BlockDecodingStrategy::UptoBytes(limit)).ok()?;
        content.extend(decoder.collect().unwrap_or_default());
        if content.len() > limit {
            return None;
        }
        if decoder.is_finished() {
            return Some(content);
        }
    }
}
