//! UF2: blocks of 512 bytes, each of which says where its payload goes (<https://github.com/microsoft/uf2>,
//! README.md).
//!
//! # Layout
//! A block: two magics, flags, target address, payload size, block number, number of blocks, family id (or
//! file size), 476 bytes of data, a last magic; all little-endian. Behind the payload, inside the data, stand
//! extension tags (flag 0x8000) and, in its last 24 bytes, the MD5 of a region (flag 0x4000). Files for
//! several families are joined one behind the other, and each family numbers its own blocks. A file container
//! (flag 0x1000) carries files by name.
//!
//! # What it verifies
//! Magics of every block; payload and tags inside the data; per family: the same number of blocks in all,
//! every number present once, no address written twice; versions that do not contradict each other; the
//! SHA-256 tag, over the family's payloads in the file's order (the specification leaves open whether the
//! filling of the last block belongs to it: either is right); the MD5 of a region whose bytes stand in the
//! file in one piece; files of a container complete.
//!
//! # Limits
//! [`MOST_FAMILIES`], [`MOST_FILES`], [`MOST_TAGS`]; blocks in more than [`ranges::MOST_RANGES`] pieces out
//! of order.
//!
//! # What it does not do
//! Verify SHA-2 tags of other lengths than 32 bytes, or where blocks are out of order. The block that
//! picotool puts first against erratum RP2350-E10 is stated and otherwise left out, as the boot ROM does.

mod families;
mod group;
#[cfg(test)]
mod tests;

use super::ranges;
use super::{Facts, Fault, FaultKind, Inspector, NameKind, Payload, Report};
use group::{Group, Key};

/// More families in one file than any board vendor ships, few enough to keep.
const MOST_FAMILIES: usize = 16;
/// The most files of a container that are followed.
const MOST_FILES: usize = Facts::MOST_PAYLOADS;
/// The most kinds of tags of a family that are kept; the specification has five.
const MOST_TAGS: usize = 16;

const BLOCK: usize = 512;
const DATA: usize = 476;
const MAGIC: [u8; 8] = *b"UF2\n\x57\x51\x5d\x9e";
const LAST_MAGIC: [u8; 4] = [0x30, 0x6f, 0xb1, 0x0a];

const NOT_MAIN_FLASH: u32 = 0x1;
const FILE_CONTAINER: u32 = 0x1000;
const FAMILY_ID: u32 = 0x2000;
const MD5_CHECKSUM: u32 = 0x4000;
const EXTENSION_TAGS: u32 = 0x8000;

/// Takes what begins with the magics of a block.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    head.starts_with(&MAGIC).then(|| {
        let report = Report { facts: Facts::of("uf2"), ..Report::default() };
        Box::new(Uf2 {
            report,
            block: [0; BLOCK],
            filled: 0,
            blocks: 0,
            stranger: None,
            groups: Vec::new(),
            comments: 0,
        }) as _
    })
}

struct Uf2 {
    report: Report,
    block: [u8; BLOCK],
    /// How many bytes of `block` have come.
    filled: usize,
    /// How many whole blocks have come.
    blocks: u64,
    /// The first of the last pieces that are no blocks.
    stranger: Option<u64>,
    groups: Vec<Group>,
    /// Blocks that are not for the main flash.
    comments: u64,
}

/// A block's header, and its data.
struct Block<'a> {
    /// Which one in the file, from 0.
    index: u64,
    flags: u32,
    address: u32,
    payload: &'a [u8],
    number: u32,
    total: u32,
    /// Family id, file size or 0, as the flags say.
    field: u32,
    /// What is between the payload and the last magic, or the MD5.
    rest: &'a [u8],
    md5: Option<&'a [u8]>,
}

impl Inspector for Uf2 {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = bytes.len().min(BLOCK - self.filled);
            self.block[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == BLOCK {
                self.filled = 0;
                let block = self.block;
                self.take(&block);
                self.blocks += 1;
            }
        }
    }

    fn so_far(&self) -> Option<&Facts> {
        // Tags need not be in the first block, so nothing is certain before one states a version.
        self.report.facts.version.is_some().then_some(&self.report.facts)
    }

    fn finish(mut self: Box<Self>) -> Report {
        self.end();
        let Self { mut report, groups, comments, blocks, .. } = *self;
        let mut installed = None;
        for group in groups {
            installed = installed.max(group.finish(&mut report));
        }
        // A device takes the blocks of its own family only, so the largest counts.
        report.facts.installed_size = installed;
        report.facts.detail("blocks", blocks.to_string());
        if comments > 0 {
            report.facts.detail("blocks not for the main flash", comments.to_string());
        }
        report
    }
}

impl Uf2 {
    fn take(&mut self, bytes: &[u8; BLOCK]) {
        let index = self.blocks;
        if !bytes.starts_with(&MAGIC) {
            self.stranger.get_or_insert(index);
            return;
        }
        if let Some(first) = self.stranger.take() {
            self.report.fault(
                FaultKind::Malformed,
                format!(
                    "the 512 bytes at offset {} are no UF2 block (magic missing), but blocks follow: a \
                     device would skip them; make the file again",
                    first * BLOCK as u64
                ),
            );
        }
        match parse(index, bytes) {
            Ok(block) => self.state(&block),
            Err(why) => self.report.fault(FaultKind::Malformed, format!("block {index}: {why}")),
        }
    }

    fn state(&mut self, block: &Block<'_>) {
        if block.is_erratum_block() {
            let address = format!("0x{:08x}, which the boot ROM ignores", block.address);
            if self.report.facts.details.len() < MOST_FAMILIES {
                self.report.facts.detail("RP2350-E10 block at", address);
            }
            return;
        }
        if block.flags & NOT_MAIN_FLASH != 0 && block.flags & FILE_CONTAINER == 0 {
            self.comments += 1;
        }
        let key = match (block.flags & FILE_CONTAINER != 0, block.flags & FAMILY_ID != 0) {
            (true, true) => {
                self.report.fault(
                    FaultKind::Malformed,
                    format!("block {}: it says both that it is part of a file and of a family", block.index),
                );
                return;
            }
            (false, true) => Key::Family(block.field),
            (_, false) => Key::NoFamily,
        };
        let at = match self.groups.iter().position(|group| group.key == key) {
            Some(at) => at,
            None if self.groups.len() == MOST_FAMILIES => {
                let message =
                    format!("block {}: the file has more than {MOST_FAMILIES} families", block.index);
                self.report.fault(FaultKind::Malformed, message);
                return;
            }
            None => {
                self.groups.push(Group::new(key, block.total));
                if let Key::Family(id) = key {
                    self.report.facts.name(NameKind::Chip, &families::name(id));
                }
                self.groups.len() - 1
            }
        };
        self.groups[at].take(block, &mut self.report);
    }

    /// What is left when no more bytes come.
    fn end(&mut self) {
        let rest = &self.block[..self.filled];
        let begins_a_block = rest.starts_with(&MAGIC) || (!rest.is_empty() && MAGIC.starts_with(rest));
        if let Some(first) = self.stranger {
            self.report.fault(
                FaultKind::Padded,
                format!(
                    "from offset {} on there are bytes that are no UF2 blocks: cut them off, or make the \
                     file again",
                    first * BLOCK as u64
                ),
            );
        } else if begins_a_block {
            self.report.fault(
                FaultKind::Truncated,
                format!("the last block, {}, has {} of its 512 bytes", self.blocks, rest.len()),
            );
        } else if !rest.is_empty() {
            self.report.fault(
                FaultKind::Padded,
                format!("{} bytes that are no UF2 block stand behind the last block", rest.len()),
            );
        }
    }
}

fn parse(index: u64, bytes: &[u8; BLOCK]) -> Result<Block<'_>, String> {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if bytes[BLOCK - 4..] != LAST_MAGIC {
        return Err(
            "its last magic number is wrong: the block is damaged or was not written to its end".into()
        );
    }
    let flags = word(8);
    let mut data = &bytes[32..32 + DATA];
    let mut md5 = None;
    if flags & MD5_CHECKSUM != 0 {
        let (before, last) = data.split_at(DATA - 24);
        (data, md5) = (before, Some(last));
    }
    let size = word(16);
    let payload = usize::try_from(size).ok().and_then(|size| data.split_at_checked(size));
    let (payload, rest) = payload
        .ok_or_else(|| format!("its payload size {size} is more than the {} it can have", data.len()))?;
    Ok(Block {
        index,
        flags,
        address: word(12),
        payload,
        number: word(20),
        total: word(24),
        field: word(28),
        rest,
        md5,
    })
}

impl Block<'_> {
    /// The block that picotool writes first against erratum RP2350-E10: it goes nowhere, and says "0 of 2".
    fn is_erratum_block(&self) -> bool {
        const IGNORE_BLOCK: [u8; 4] = [0x04, 0xe3, 0x57, 0x99];
        self.flags & !EXTENSION_TAGS == FAMILY_ID
            && self.field == families::ABSOLUTE
            && (self.number, self.total) == (0, 2)
            && self.payload.len() == 256
            && self.payload.iter().all(|byte| *byte == 0xef)
            && (self.flags & EXTENSION_TAGS == 0 || self.rest.starts_with(&IGNORE_BLOCK))
    }
}
