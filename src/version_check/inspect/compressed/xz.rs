//! xz: streams of a header, blocks, an index of them, and a footer.
//!
//! Blocks need not say how long they are, but what they end with, LZMA2, is made of chunks that do.

use crc32fast::Hasher;
use sha2::{Digest, Sha256};

use super::walk::{Next, Walk, number};
use super::{FaultKind, Report};

const LZMA2: u64 = 0x21;

#[derive(Default)]
pub(super) struct Xz {
    at: At,
    flags: [u8; 2],
    block: Block,
    blocks: Tally,
    index: Index,
    streams: u64,
    all_blocks: u64,
    unpacked: u64,
    dictionary: u64,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Header,
    /// The first byte of a block's header, or of the index.
    BlockOrIndex,
    BlockHeader,
    Chunk,
    ChunkHeader(u8),
    BlockEnd(usize),
    Index,
    IndexEnd(usize),
    Footer,
    /// Where the file may end, or another stream or padding comes.
    Between,
    HeaderRest,
}

#[derive(Default)]
struct Block {
    header: u64,
    /// Where its chunks begin.
    begins: u64,
    unpacked: u64,
    stated: [Option<u64>; 2],
}

/// Blocks in order: how many, and a digest of their sizes.
#[derive(Default)]
struct Tally {
    count: u64,
    sizes: Sha256,
}

impl Tally {
    fn add(&mut self, packed: u64, unpacked: u64) {
        self.count += 1;
        self.sizes.update(packed.to_le_bytes());
        self.sizes.update(unpacked.to_le_bytes());
    }
}

/// The index, while it is read.
#[derive(Default)]
struct Index {
    crc: Hasher,
    length: u64,
    number: u64,
    shift: u32,
    /// How many numbers of records are still to come; `None` before their count.
    left: Option<u64>,
    packed: Option<u64>,
    records: Tally,
}

/// A number of variable length (section 1.2); takes its bytes off.
fn variable(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn crc(bytes: &[u8]) -> u64 {
    u64::from(crc32fast::hash(bytes))
}

impl Xz {
    fn check_size(&self) -> usize {
        [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64][usize::from(self.flags[1] & 15)]
    }

    fn next(&mut self, at: At, need: usize) -> Next {
        self.at = at;
        Next::Read(need)
    }

    /// A stream's header, without the four bytes that told that it is one.
    fn header(&mut self, rest: &[u8], report: &mut Report) -> Result<Next, String> {
        if rest[..2] != *b"Z\0" || rest[2] != 0 || rest[3] > 15 {
            return Err("the stream's header has flags that xz does not know".into());
        }
        if crc(&rest[2..4]) != number(&rest[4..8]) {
            report.fault(FaultKind::DigestWrong, "xz file: the CRC32 of a stream's header is wrong");
        }
        self.flags = [rest[2], rest[3]];
        self.streams += 1;
        self.blocks = Tally::default();
        Ok(self.next(At::BlockOrIndex, 1))
    }

    fn block_header(&mut self, rest: &[u8], position: u64, report: &mut Report) -> Result<Next, String> {
        let (fields, stated) = rest.split_at(rest.len() - 4);
        let size_byte = [(self.block.header / 4 - 1) as u8];
        if crc(&[&size_byte, fields].concat()) != number(stated) {
            report.fault(
                FaultKind::DigestWrong,
                "xz file: the CRC32 of a block's header is wrong: it is damaged",
            );
            return Ok(Next::Lost);
        }
        let bad = || "a block's header is malformed".to_owned();
        let (flags, mut fields) = fields.split_first().ok_or_else(bad)?;
        if flags & 0x3c != 0 {
            return Err("a block's header has flags that xz does not know".into());
        }
        for (flag, place) in [(0x40, 0), (0x80, 1)] {
            self.block.stated[place] =
                if flags & flag == 0 { None } else { Some(variable(&mut fields).ok_or_else(bad)?) };
        }
        let mut last = None;
        for _ in 0..=flags & 3 {
            let id = variable(&mut fields).ok_or_else(bad)?;
            let length =
                variable(&mut fields).and_then(|length| usize::try_from(length).ok()).ok_or_else(bad)?;
            let (properties, rest) = fields.split_at_checked(length).ok_or_else(bad)?;
            fields = rest;
            last = Some((id, properties));
        }
        match last {
            Some((LZMA2, &[size @ 0..=40])) => {
                let size = u64::from(size);
                let bytes = if size == 40 { u64::from(u32::MAX) } else { (2 | size & 1) << (size / 2 + 11) };
                self.dictionary = self.dictionary.max(bytes);
            }
            _ => return Err("a block does not end with the filter LZMA2".into()),
        }
        if fields.iter().any(|byte| *byte != 0) {
            return Err(bad());
        }
        (self.block.begins, self.block.unpacked) = (position, 0);
        Ok(self.next(At::Chunk, 1))
    }

    fn chunk(&mut self, control: u8, position: u64) -> Result<Next, String> {
        match control {
            0 => {
                let packed = position - self.block.begins;
                let padding = (packed.wrapping_neg() % 4) as usize;
                let [stated_packed, stated_unpacked] = self.block.stated;
                if stated_packed.is_some_and(|size| size != packed)
                    || stated_unpacked.is_some_and(|size| size != self.block.unpacked)
                {
                    return Err("a block has other sizes than its header states".into());
                }
                let check = self.check_size();
                self.blocks.add(self.block.header + packed + check as u64, self.block.unpacked);
                self.all_blocks += 1;
                self.unpacked = self.unpacked.saturating_add(self.block.unpacked);
                Ok(match padding + check {
                    0 => self.next(At::BlockOrIndex, 1),
                    length => self.next(At::BlockEnd(padding), length),
                })
            }
            1 | 2 => Ok(self.next(At::ChunkHeader(control), 2)),
            0x80..0xc0 => Ok(self.next(At::ChunkHeader(control), 4)),
            0xc0.. => Ok(self.next(At::ChunkHeader(control), 5)),
            _ => Err("a block is damaged: no LZMA2 chunk begins where one should".into()),
        }
    }

    fn chunk_header(&mut self, control: u8, bytes: &[u8]) -> Next {
        let big = |at: usize| u64::from(bytes[at]) << 8 | u64::from(bytes[at + 1]);
        let (packed, unpacked) = match control {
            1 | 2 => (big(0) + 1, big(0) + 1),
            _ => (big(2) + 1, (u64::from(control & 0x1f) << 16 | big(0)) + 1),
        };
        self.block.unpacked = self.block.unpacked.saturating_add(unpacked);
        self.at = At::Chunk;
        Next::Skip(packed, 1)
    }

    /// Takes a byte of the index.
    fn index(&mut self, byte: u8) -> Result<Next, String> {
        let index = &mut self.index;
        index.crc.update(&[byte]);
        index.length += 1;
        if index.shift > 56 {
            return Err("a number in the index does not end".into());
        }
        index.number |= u64::from(byte & 0x7f) << index.shift;
        index.shift += 7;
        if byte & 0x80 == 0 {
            let number = std::mem::take(&mut index.number);
            index.shift = 0;
            match (index.left, index.packed.take()) {
                (None, _) => index.left = Some(number),
                (Some(_), None) => index.packed = Some(number),
                (Some(left), Some(packed)) => {
                    index.records.add(packed, number);
                    index.left = Some(left.saturating_sub(1));
                }
            }
            // Told at once, so that a count of 2^63 is not followed for long.
            if index.left.is_some_and(|left| left.saturating_add(index.records.count) != self.blocks.count) {
                return Err("the index lists another number of blocks than there are".into());
            }
        }
        if index.left == Some(0) && index.packed.is_none() && index.shift == 0 {
            let padding = (index.length.wrapping_neg() % 4) as usize;
            return Ok(self.next(At::IndexEnd(padding), padding + 4));
        }
        Ok(Next::Read(1))
    }

    fn index_end(&mut self, padding: usize, bytes: &[u8], report: &mut Report) -> Result<Next, String> {
        let (zeros, stated) = bytes.split_at(padding);
        let mut crc = self.index.crc.clone();
        crc.update(zeros);
        self.index.length += bytes.len() as u64;
        if u64::from(crc.finalize()) != number(stated) {
            report.fault(FaultKind::DigestWrong, "xz file: the CRC32 of the index is wrong: it is damaged");
        }
        if zeros.iter().any(|byte| *byte != 0) {
            return Err("the index is not filled up with zeros".into());
        }
        let index = std::mem::take(&mut self.index.records.sizes).finalize();
        if index != std::mem::take(&mut self.blocks.sizes).finalize() {
            return Err("the index lists blocks of other sizes than there are".into());
        }
        Ok(self.next(At::Footer, 12))
    }

    fn footer(&mut self, bytes: &[u8], report: &mut Report) -> Result<Next, String> {
        if bytes[10..] != *b"YZ" {
            return Err("the stream does not end with a footer".into());
        }
        if crc(&bytes[4..10]) != number(&bytes[..4]) {
            report.fault(FaultKind::DigestWrong, "xz file: the CRC32 of a stream's footer is wrong");
        } else if bytes[8..10] != self.flags || (number(&bytes[4..8]) + 1) * 4 != self.index.length {
            return Err("the stream's footer contradicts its header or the index".into());
        }
        Ok(self.next(At::Between, 4))
    }
}

impl Walk for Xz {
    const CODE: &'static str = "xz";
    const FIRST: usize = 12;

    fn step(&mut self, bytes: &[u8], position: u64, report: &mut Report) -> Next {
        let next = match self.at {
            At::Header => self.header(&bytes[4..], report),
            At::HeaderRest => self.header(bytes, report),
            At::BlockOrIndex if bytes[0] == 0 => {
                self.index = Index { length: 1, ..Index::default() };
                self.index.crc.update(&[0]);
                Ok(self.next(At::Index, 1))
            }
            At::BlockOrIndex => {
                self.block.header = (u64::from(bytes[0]) + 1) * 4;
                Ok(self.next(At::BlockHeader, self.block.header as usize - 1))
            }
            At::BlockHeader => self.block_header(bytes, position, report),
            At::Chunk => self.chunk(bytes[0], position),
            At::ChunkHeader(control) => Ok(self.chunk_header(control, bytes)),
            At::BlockEnd(padding) if bytes[..padding].iter().any(|byte| *byte != 0) => {
                Err("a block is not filled up with zeros".into())
            }
            At::BlockEnd(_) => Ok(self.next(At::BlockOrIndex, 1)),
            At::Index => self.index(bytes[0]),
            At::IndexEnd(padding) => self.index_end(padding, bytes, report),
            At::Footer => self.footer(bytes, report),
            At::Between => match bytes {
                [0, 0, 0, 0] => Ok(Next::Read(4)),
                [0xfd, b'7', b'z', b'X'] => Ok(self.next(At::HeaderRest, 8)),
                _ => Ok(Next::Over),
            },
        };
        next.unwrap_or_else(|why| {
            report.fault(FaultKind::Malformed, format!("xz file, before byte {position}: {why}"));
            Next::Lost
        })
    }

    fn may_end(&self) -> bool {
        self.at == At::Between
    }

    fn state(&self, report: &mut Report) {
        let check = match self.flags[1] {
            0 => "none",
            1 => "CRC32, not computed again",
            4 => "CRC64, not computed again",
            10 => "SHA-256, not computed again",
            _ => "unknown",
        };
        report.facts.detail("check", check);
        report.facts.detail("streams", self.streams.to_string());
        report.facts.detail("blocks", self.all_blocks.to_string());
        report.facts.detail("dictionary", self.dictionary.to_string());
        report.facts.installed_size = Some(self.unpacked).filter(|_| report.faults.is_empty());
    }
}
