//! The blocks of one family: their numbers, addresses, tags, digests; and the files of a container.

use md5::Md5;
use sha2::{Digest, Sha256};

use super::ranges::{MOST_RANGES, Ranges, Refused};
use super::{
    Block, EXTENSION_TAGS, FILE_CONTAINER, Fault, FaultKind, MOST_FILES, MOST_TAGS, NOT_MAIN_FLASH, NameKind,
    Payload, Report, families,
};
use crate::version_check::inspect::facts::text_of;

const VERSION: u32 = 0x9f_c7bc;
const DEVICE: u32 = 0x65_0d9d;
const PAGE_SIZE: u32 = 0x0b_e9f7;
const SHA2: u32 = 0xb4_6db0;
const DEVICE_TYPE: u32 = 0xc8_a729;

/// What makes blocks belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Family(u32),
    NoFamily,
}

pub(super) struct Group {
    pub key: Key,
    total: u32,
    numbers: Ranges,
    addresses: Ranges,
    tags: Vec<(u32, Vec<u8>)>,
    /// Of all payloads before the last one, which may be filled up; `None` once blocks come out of order.
    firmware: Option<Sha256>,
    last_payload: Vec<u8>,
    region: Option<Region>,
    files: Vec<File>,
}

/// A region of flash whose MD5 its blocks state.
struct Region {
    stated: [u8; 24],
    digest: Md5,
    /// Where the next block has to go for the region to be in one piece; `None` = it is not.
    next: Option<u32>,
}

/// A file of a container.
struct File {
    name: String,
    size: u32,
    bytes: Ranges,
}

impl Group {
    pub fn new(key: Key, total: u32) -> Self {
        Self {
            key,
            total,
            numbers: Ranges::default(),
            addresses: Ranges::default(),
            tags: Vec::new(),
            firmware: Some(Sha256::new()),
            last_payload: Vec::new(),
            region: None,
            files: Vec::new(),
        }
    }

    fn name(&self) -> String {
        match self.key {
            Key::Family(id) => format!("family {}", families::name(id)),
            Key::NoFamily => "the file".into(),
        }
    }

    pub fn take(&mut self, block: &Block<'_>, report: &mut Report) {
        let malformed = |report: &mut Report, why: String| {
            report.fault(FaultKind::Malformed, format!("block {}: {why}", block.index))
        };
        if block.total != self.total {
            let (total, before) = (block.total, self.total);
            malformed(
                report,
                format!("it says that {} has {total} blocks, others say {before}", self.name()),
            );
        }
        if block.number >= block.total {
            malformed(report, format!("it has number {} of {}, counted from 0", block.number, block.total));
        } else {
            let in_order = self.numbers.first_gap() == u64::from(block.number);
            match self.numbers.insert(block.number.into(), 1) {
                Ok(()) => {}
                Err(Refused::Overlap(_)) => {
                    malformed(report, format!("number {} of {} has come before", block.number, self.name()));
                }
                Err(Refused::TooMany) => {
                    malformed(
                        report,
                        format!("the blocks are out of order in more than {MOST_RANGES} pieces"),
                    );
                }
            }
            if !in_order {
                self.firmware = None;
            }
        }
        if block.flags & EXTENSION_TAGS != 0 {
            self.take_tags(block, report);
        }
        if block.flags & FILE_CONTAINER != 0 {
            self.take_file(block, report);
        } else if block.flags & NOT_MAIN_FLASH == 0 {
            self.take_payload(block, report);
        }
    }

    fn take_payload(&mut self, block: &Block<'_>, report: &mut Report) {
        let length = block.payload.len();
        let why = match self.addresses.insert(block.address.into(), length as u64) {
            Ok(()) if u64::from(block.address) + length as u64 > 1 << 32 => {
                "its payload reaches past 2^32".into()
            }
            Ok(()) => String::new(),
            Err(Refused::Overlap(at)) => format!("address 0x{at:08x} of {} is written twice", self.name()),
            Err(Refused::TooMany) => format!("the addresses lie in more than {MOST_RANGES} pieces"),
        };
        if !why.is_empty() {
            report.fault(FaultKind::Malformed, format!("block {}: {why}", block.index));
        }
        if let Some(firmware) = &mut self.firmware {
            firmware.update(&self.last_payload);
        }
        self.last_payload.clear();
        self.last_payload.extend_from_slice(block.payload);
        let Some(stated) = block.md5.and_then(|md5| <[u8; 24]>::try_from(md5).ok()) else { return };
        let word =
            |at: usize| u32::from_le_bytes([stated[at], stated[at + 1], stated[at + 2], stated[at + 3]]);
        let (start, size) = (word(0), word(4));
        if self.region.as_ref().is_none_or(|region| region.stated != stated) {
            self.region = Some(Region { stated, digest: Md5::new(), next: Some(start) });
        }
        let Some(region) = &mut self.region else { return };
        if region.next != Some(block.address) {
            region.next = None;
            return;
        }
        region.digest.update(block.payload);
        region.next = block.address.checked_add(length as u32);
        if region.next == start.checked_add(size) && region.digest.clone().finalize()[..] != stated[8..] {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "the {size} bytes at 0x{start:08x} do not have the MD5 that their blocks state: the \
                     file was changed after it was made"
                ),
            );
        }
    }

    fn take_tags(&mut self, block: &Block<'_>, report: &mut Report) {
        // Tags begin at multiples of four, and the data does too.
        let mut rest = block.rest.get(block.payload.len().wrapping_neg() % 4..).unwrap_or_default();
        loop {
            let &[size, low, middle, high, ..] = rest else { return };
            let kind = u32::from_le_bytes([low, middle, high, 0]);
            if matches!((size, kind), (0, 0) | (0xff, 0xff_ffff)) {
                return;
            }
            let Some(value) = rest.get(4..size.into()) else {
                let message = format!(
                    "block {}: extension tag 0x{kind:06x} has an impossible size {size}",
                    block.index
                );
                report.fault(FaultKind::Malformed, message);
                return;
            };
            match self.tags.iter().find(|tag| tag.0 == kind) {
                Some(tag) if tag.1 != value => report.fault(
                    FaultKind::Malformed,
                    format!(
                        "block {}: extension tag 0x{kind:06x} says {:?}, a block before said {:?}",
                        block.index,
                        text_of(value),
                        text_of(&tag.1)
                    ),
                ),
                Some(_) => {}
                None if self.tags.len() == MOST_TAGS => {
                    report.fault(
                        FaultKind::Malformed,
                        format!("more than {MOST_TAGS} kinds of extension tags"),
                    );
                    return;
                }
                None => {
                    self.tags.push((kind, value.to_vec()));
                    self.state_tag(kind, value, report);
                }
            }
            rest = rest.get(usize::from(size).next_multiple_of(4)..).unwrap_or_default();
        }
    }

    fn state_tag(&self, kind: u32, value: &[u8], report: &mut Report) {
        let facts = &mut report.facts;
        let number = |value: &[u8]| {
            let mut digits = value.to_vec();
            digits.reverse();
            format!("0x{}", hex::encode(digits))
        };
        match kind {
            VERSION => {
                let text = text_of(value);
                match &facts.version {
                    None => facts.set_version(&text),
                    Some(version) if *version == text => {}
                    Some(version) => {
                        let message =
                            format!("{} has version {text:?}, another family {version:?}", self.name());
                        report.fault(FaultKind::Malformed, message);
                    }
                }
            }
            DEVICE => facts.name(NameKind::Product, &text_of(value)),
            DEVICE_TYPE => facts.name(NameKind::Hardware, &number(value)),
            PAGE_SIZE => match <[u8; 4]>::try_from(value) {
                Ok(size) => facts.detail("page size", u32::from_le_bytes(size).to_string()),
                Err(_) => report.fault(FaultKind::Malformed, "the page size tag does not have 4 bytes"),
            },
            SHA2 => facts.detail("firmware SHA-2 as stated", hex::encode(value)),
            _ => facts.detail(&format!("extension tag 0x{kind:06x}"), hex::encode(value)),
        }
    }

    fn take_file(&mut self, block: &Block<'_>, report: &mut Report) {
        let name = text_of(block.rest);
        let size = block.field;
        let at = match self.files.iter().position(|file| file.name == name) {
            Some(at) => at,
            None if self.files.len() == MOST_FILES => {
                let message =
                    format!("block {}: the container has more than {MOST_FILES} files", block.index);
                report.fault(FaultKind::Malformed, message);
                return;
            }
            None => {
                self.files.push(File { name, size, bytes: Ranges::default() });
                self.files.len() - 1
            }
        };
        let file = &mut self.files[at];
        let ends = u64::from(block.address) + block.payload.len() as u64;
        let why = if file.size != size {
            format!("it says that file {:?} has {size} bytes, others say {}", file.name, file.size)
        } else if ends > size.into() {
            format!("it reaches to byte {ends} of file {:?}, which has {size}", file.name)
        } else {
            match file.bytes.insert(block.address.into(), block.payload.len() as u64) {
                Ok(()) => return,
                Err(Refused::Overlap(at)) => format!("byte {at} of file {:?} is written twice", file.name),
                Err(Refused::TooMany) => {
                    format!("file {:?} comes in more than {MOST_RANGES} pieces", file.name)
                }
            }
        };
        report.fault(FaultKind::Malformed, format!("block {}: {why}", block.index));
    }

    /// Judges what only the end can tell; gives how many bytes go into the flash.
    pub fn finish(self, report: &mut Report) -> Option<u64> {
        if let Some(fault) = self.missing() {
            report.fault(fault.kind, fault.message);
        }
        let digest = self.firmware_digest(report);
        let size = self.addresses.total();
        if size > 0 {
            if let Some(digest) = &digest {
                report.facts.own_digest.get_or_insert_with(|| digest.clone());
            }
            let name = match self.key {
                Key::Family(id) => families::name(id),
                Key::NoFamily => "flash".into(),
            };
            for (start, end) in self.addresses.as_slice().iter().take(8) {
                report.facts.detail(&format!("{name} addresses"), format!("0x{start:08x}-0x{:08x}", end - 1));
            }
            report.facts.payload(Payload { name, size, digest });
        }
        for file in &self.files {
            if file.bytes.total() < file.size.into() {
                let message =
                    format!("file {:?} has {} bytes, {} came", file.name, file.size, file.bytes.total());
                report.fault(FaultKind::Truncated, message);
            }
            report.facts.payload(Payload { name: file.name.clone(), size: file.size.into(), digest: None });
        }
        (size > 0).then_some(size)
    }

    fn missing(&self) -> Option<Fault> {
        let (came, total) = (self.numbers.total(), u64::from(self.total));
        if came >= total {
            return None;
        }
        let first = self.numbers.first_gap();
        let kind = if came == first { FaultKind::Truncated } else { FaultKind::Malformed };
        let message = format!(
            "{} has {total} blocks, and {} are missing, the first is number {first}",
            self.name(),
            total - came
        );
        Some(Fault { kind, message })
    }

    fn firmware_digest(&self, report: &mut Report) -> Option<String> {
        let stated = &self.tags.iter().find(|tag| tag.0 == SHA2)?.1;
        let firmware = self.firmware.as_ref().filter(|_| stated.len() == 32)?;
        let right = (0..=self.last_payload.len()).any(|length| {
            let digest = firmware.clone().chain_update(&self.last_payload[..length]);
            digest.finalize()[..] == stated[..]
        });
        if !right {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "the payloads of {} do not have the SHA-256 that its tag states: the file is damaged, \
                     or was changed after it was made",
                    self.name()
                ),
            );
        }
        right.then(|| format!("sha256:{}", hex::encode(stated)))
    }
}
