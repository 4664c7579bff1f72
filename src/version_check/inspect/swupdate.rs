//! SWUpdate archives (`.swu`), and a cpio archive that is none.
//!
//! Layout (SWUpdate, `doc/source/swupdate.rst`, `signed_images.rst`; cpio: `cpio(5)`, "New ASCII Format"): a
//! cpio archive of the formats `newc` (070701) or `crc` (070702): per file a header of 110 hexadecimal
//! digits, the name with its NUL, the data, each padded to 4 bytes; then an entry `TRAILER!!!`, and NULs up
//! to 512 bytes. The first file is `sw-description` (see [`description`]); the second, if the archive is
//! signed, is `sw-description.sig`: a CMS, or an RSA signature.
//!
//! What it verifies: each file's checksum (`crc`), each file's SHA-256 where the description states one, that
//! it does for all files of a signed archive, that the files which it names are there and no others, the
//! order, the end; and that a CMS is over this description. An RSA signature does not say whether it is
//! RSASSA-PKCS1-v1_5 or RSASSA-PSS: it is stated as both, and verifies as one of them at most.
//!
//! Limits: 256 KiB of description, 64 KiB of signature, names of 1 KiB, [`MOST_FILES`] files,
//! [`description::MOST_NAMED`] entries in its lists. A description that is encrypted for the device is stated
//! to be so, and the files in the archive are then not compared with it.
//!
//! What it does not do: look into the files, which may be compressed or encrypted (the digests are those of
//! the files as they are in the archive), or run the Lua of an embedded script.

mod compare;
mod cpio;
mod description;
mod libconfig;
mod signature;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use self::{
    cpio::{CRC, Entry, HEADER, Header, NEWC, padding_of},
    description::Named,
};
use super::{Facts, FaultKind, Inspector, Report, facts::text_of};

const TRAILER: &str = "TRAILER!!!";
const DESCRIPTION: &str = "sw-description";
const SIGNATURE: &str = "sw-description.sig";
const LARGEST_DESCRIPTION: u32 = 256 * 1024;
const LARGEST_SIGNATURE: u32 = 64 * 1024;
const LONGEST_NAME: u32 = 1024;
/// The most files of an archive that are remembered.
const MOST_FILES: usize = 1000;
/// What archivers fill up to: a block of cpio, or ten (`cpio -B`).
const BLOCKS: [u64; 2] = [512, 5120];

/// Knows a cpio archive.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    (head.starts_with(NEWC) || head.starts_with(CRC)).then(|| Box::new(Swupdate::default()) as _)
}

struct Swupdate {
    report: Report,
    stage: Stage,
    /// What was collected of a header or name, and where it began.
    collected: Vec<u8>,
    collected_from: u64,
    /// How many bytes have passed.
    passed: u64,
    /// Which entry it is, from 0.
    number: u64,
    files: HashMap<String, File>,
    too_many: bool,
    description: Option<Vec<u8>>,
    /// What the description names; none if it could not be read.
    named: Option<Vec<Named>>,
    /// Whether all that may be refused early is known.
    ready: bool,
    own_digest: Option<String>,
}

struct File {
    number: u64,
    size: u64,
    sha256: [u8; 32],
}

enum Stage {
    Header,
    Name(Header),
    Data(Box<Entry>),
    /// This many bytes of padding.
    Padding(u64),
    /// Behind the trailer: how many bytes, and whether all are NUL.
    End {
        bytes: u64,
        blank: bool,
    },
    /// No header where one should be.
    Lost,
}

impl Default for Swupdate {
    fn default() -> Self {
        Self {
            report: Report { facts: Facts::of("swupdate"), ..Report::default() },
            stage: Stage::Header,
            collected: Vec::new(),
            collected_from: 0,
            passed: 0,
            number: 0,
            files: HashMap::new(),
            too_many: false,
            description: None,
            named: None,
            ready: false,
            own_digest: None,
        }
    }
}

impl Inspector for Swupdate {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            self.passed += taken as u64;
            bytes = &bytes[taken..];
        }
    }

    fn so_far(&self) -> Option<&Facts> {
        self.ready.then_some(&self.report.facts)
    }

    fn finish(mut self: Box<Self>) -> Report {
        self.end();
        self.report
    }
}

impl Swupdate {
    /// Takes the first of the bytes, as many as belong together; gives how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match &mut self.stage {
            Stage::Header => self.collect(bytes, HEADER, Self::header),
            Stage::Name(header) => {
                let length = header.name_length();
                self.collect(bytes, length, Self::name)
            }
            Stage::Data(entry) => {
                let (now, _) = bytes.split_at(bytes.len().min(entry.left as usize));
                entry.update(now);
                if entry.left == 0 {
                    self.file_ends();
                }
                now.len()
            }
            Stage::Padding(left) => {
                let taken = bytes.len().min(*left as usize);
                *left -= taken as u64;
                if *left == 0 {
                    self.stage = Stage::Header;
                }
                taken
            }
            Stage::End { bytes: behind, blank } => {
                *behind += bytes.len() as u64;
                *blank &= bytes.iter().all(|byte| *byte == 0);
                bytes.len()
            }
            Stage::Lost => bytes.len(),
        }
    }

    /// Collects up to `length` bytes and then goes on.
    fn collect(&mut self, bytes: &[u8], length: usize, then: fn(&mut Self)) -> usize {
        if self.collected.is_empty() {
            self.collected_from = self.passed;
        }
        let taken = bytes.len().min(length - self.collected.len());
        self.collected.extend_from_slice(&bytes[..taken]);
        if self.collected.len() == length {
            then(self);
            self.collected.clear();
        }
        taken
    }

    fn header(&mut self) {
        self.stage = match Header::read(&self.collected) {
            Some(header) if (1..=LONGEST_NAME).contains(&header.name_size) => Stage::Name(header),
            Some(header) => self.lost(&format!(
                "states a name of {} bytes (1 to {LONGEST_NAME} are possible)",
                header.name_size
            )),
            None => self.lost("is not the header of a cpio entry (newc or crc)"),
        };
    }

    fn lost(&mut self, why: &str) -> Stage {
        let at = self.collected_from;
        self.report.fault(
            FaultKind::Malformed,
            format!(
                "what stands at byte {at} {why}, so nothing behind it can be read: upload it again, or make \
                 it again"
            ),
        );
        Stage::Lost
    }

    fn name(&mut self) {
        let Stage::Name(header) = std::mem::replace(&mut self.stage, Stage::Header) else { return };
        let name = text_of(&self.collected[..header.name_size as usize]);
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        if name == TRAILER {
            self.stage = Stage::End { bytes: 0, blank: true };
            self.ready |= self.description.is_some();
            return;
        }
        self.order(&name);
        let limit = match name.as_str() {
            DESCRIPTION if self.description.is_none() => Some(LARGEST_DESCRIPTION),
            SIGNATURE => Some(LARGEST_SIGNATURE),
            _ => None,
        };
        if let Some(limit) = limit.filter(|limit| header.size > *limit) {
            self.report.fault(
                FaultKind::Malformed,
                format!("{name} has {} bytes, more than the {limit} that are read here", header.size),
            );
        }
        let kept = limit.filter(|limit| header.size <= *limit).map(|_| Vec::new());
        let entry = Entry { left: header.size, header, name, sum: 0, sha256: Sha256::new(), kept };
        self.stage = Stage::Data(Box::new(entry));
        if let Stage::Data(entry) = &self.stage
            && entry.left == 0
        {
            self.file_ends();
        }
    }

    /// Whether the file stands where one of its name must.
    fn order(&mut self, name: &str) {
        let number = self.number;
        if name == DESCRIPTION && number > 0 && self.description.is_none() {
            self.report.fault(
                FaultKind::Malformed,
                format!("{DESCRIPTION} is file {} of the archive, and must be the first", number + 1),
            );
        }
        if name == SIGNATURE && number != 1 {
            self.report.fault(
                FaultKind::Malformed,
                format!(
                    "{SIGNATURE} is file {} of the archive, and must be the second, behind {DESCRIPTION}",
                    number + 1
                ),
            );
        }
        self.ready |= number > 0 && self.description.is_some() && name != SIGNATURE;
    }

    fn file_ends(&mut self) {
        let Stage::Data(entry) = std::mem::replace(&mut self.stage, Stage::Header) else { return };
        let Entry { header, name, sum, sha256, kept, .. } = *entry;
        let padding = padding_of(header.size);
        if padding > 0 {
            self.stage = Stage::Padding(padding);
        }
        if header.crc && sum != header.check {
            self.report.fault(
                FaultKind::DigestWrong,
                format!(
                    "the bytes of {name} add up to {sum:08x}, but its checksum in the archive is {:08x}: \
                     upload it again",
                    header.check
                ),
            );
        }
        let number = self.number;
        self.number += 1;
        match (name.as_str(), kept) {
            (DESCRIPTION, Some(bytes)) => self.describe(bytes),
            (SIGNATURE, Some(bytes)) => {
                self.signature(&bytes);
                self.ready |= self.description.is_some();
            }
            _ => {}
        }
        if self.files.contains_key(&name) {
            self.report.fault(
                FaultKind::Malformed,
                format!(
                    "{name} is in the archive twice: leave one out, since which one is installed is not \
                     defined"
                ),
            );
        } else if self.files.len() < MOST_FILES {
            self.files
                .insert(name, File { number, size: header.size.into(), sha256: sha256.finalize().into() });
        } else {
            self.too_many = true;
        }
    }

    fn describe(&mut self, bytes: Vec<u8>) {
        match description::read(&bytes) {
            Ok(software) => self.named = Some(description::state(&software, &mut self.report)),
            Err(_) if looks_encrypted(&bytes) => {
                self.report.facts.detail(
                    DESCRIPTION,
                    "encrypted for the device: version, names and files are not readable",
                );
            }
            Err(why) => self.report.fault(FaultKind::Malformed, format!("{DESCRIPTION} {why}")),
        }
        self.description = Some(bytes);
    }

    fn end(&mut self) {
        match &self.stage {
            Stage::Lost => {}
            Stage::End { bytes, blank } => self.padded(*bytes, *blank),
            Stage::Data(entry) => {
                let message = format!(
                    "the archive ends {} bytes before the end of the {} bytes of {}: upload it again",
                    entry.left, entry.header.size, entry.name,
                );
                self.report.fault(FaultKind::Truncated, message);
            }
            _ => self.report.fault(
                FaultKind::Truncated,
                format!(
                    "the archive ends after {} files without the entry {TRAILER}: upload it again",
                    self.number
                ),
            ),
        }
        if !self.files.contains_key(DESCRIPTION) && self.description.is_none() && self.number > 0 {
            self.report.facts.format = "cpio".into();
            self.report.facts.detail("files", self.number.to_string());
        } else if self.too_many {
            self.report.fault(
                FaultKind::Malformed,
                format!("the archive has more than {MOST_FILES} files, more than are read here"),
            );
        }
        let digests_right = self.compare();
        self.report.facts.own_digest =
            self.own_digest.take().filter(|_| digests_right && self.report.faults.is_empty());
    }

    fn padded(&mut self, bytes: u64, blank: bool) {
        let normal = BLOCKS.iter().any(|block| bytes < *block && self.passed.is_multiple_of(*block));
        if blank && (normal || bytes < BLOCKS[0]) {
            return;
        }
        // What is no update may be several archives in a row, as an initial file system of Linux is.
        if self.description.is_none() {
            self.report.facts.detail("behind the end", format!("{bytes} bytes"));
            return;
        }
        let what = if blank { "NULs" } else { "bytes" };
        self.report.fault(
            FaultKind::Padded,
            format!(
                "{bytes} {what} stand behind the end of the archive: SWUpdate does not read them; leave \
                 them out"
            ),
        );
    }
}

fn shown(text: &str) -> String {
    text_of(text.as_bytes())
}

/// Whether it is what AES in CBC mode gives: whole blocks of bytes that are no text.
fn looks_encrypted(bytes: &[u8]) -> bool {
    let text = bytes.iter().filter(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()).count();
    !bytes.is_empty() && bytes.len().is_multiple_of(16) && text < bytes.len() / 2
}
