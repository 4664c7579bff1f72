//! A zip archive read forward (PKWARE's APPNOTE.TXT 6.3.10, section 4.3): local headers and files as they come, then
//! the central directory, which must say the same of them.
//!
//! Crates that read zip archives start with the directory, at the end, and need to seek; hence this one, on
//! `miniz_oxide`. Files that are stored or deflated are unpacked and their CRC32 is computed again. Others (encrypted,
//! rarer methods) are passed over. A stored file whose size stands behind it cannot be passed over: reading ends
//! there, and [`Zip::unread`] says so.
//!
//! That local headers and directory agree is checked with a sum of hashes, so that a million files take no memory.

use crc32fast::Hasher;
use sha2::{Digest, Sha256};

use crate::version_check::inspect::compressed::inflate::{Inflate, MOST_UNPACKED, Step};
use crate::version_check::inspect::facts::text_of;
use crate::version_check::inspect::{FaultKind, Report};

/// The largest zip64 end record that is read; it has 56 bytes and what future versions add.
const LONGEST_END: u64 = 4096;

/// What is met on the way.
pub(super) enum Event<'a> {
    /// A file begins; it has this name.
    Begin(&'a str),
    /// Its next bytes, unpacked.
    Bytes(&'a [u8]),
    /// It is at its end; whether it was read, and was right; and its size as the archive states it.
    End(Read, u64),
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// All bytes have come and have the CRC32 that the archive states.
    Right(u32),
    /// They are damaged.
    Wrong,
    /// It is encrypted or packed by a method that is not read.
    PassedOver,
}

pub(super) struct Zip {
    state: State,
    buffer: Vec<u8>,
    /// How many bytes `buffer` must have for the next step.
    need: usize,
    position: u64,
    inflate: Option<Inflate>,
    file: File,
    /// Of the local headers, and of the directory.
    local: Tally,
    directory: Tally,
    directory_at: u64,
    /// Why reading ended before the end.
    unread: Option<String>,
    behind: u64,
}

enum State {
    /// Before a record's signature.
    Record,
    Local,
    Stored(u64),
    /// With the packed bytes that are left, where they are known.
    Deflated(Option<u64>),
    PassedOver(u64),
    Descriptor,
    Directory,
    EndOfDirectory64,
    Locator64,
    EndOfDirectory,
    Done,
    /// The rest is not read.
    Lost,
}

/// The file that is being read.
#[derive(Default)]
struct File {
    name: Vec<u8>,
    at: u64,
    method: u16,
    sizes: Sizes,
    crc: u32,
    /// Its CRC and sizes stand behind it.
    described_behind: bool,
    computed: Hasher,
    unpacked: u64,
    packed: u64,
    /// Whether its bytes are looked at.
    read: bool,
    bad: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    packed: u64,
    unpacked: u64,
    is_64: bool,
}

#[derive(Default, PartialEq, Eq)]
struct Tally {
    files: u64,
    sum: u128,
}

impl Tally {
    fn add(&mut self, name: &[u8], at: u64, method: u16, crc: u32, sizes: Sizes) {
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

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_le_bytes([two[0], two[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// The values of a zip64 extra field (4.5.3) in place of those that are all ones.
fn widen(extra: &[u8], values: &mut [u64]) -> bool {
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

impl Zip {
    pub fn new() -> Self {
        Self {
            state: State::Record,
            buffer: Vec::new(),
            need: 4,
            position: 0,
            inflate: None,
            file: File::default(),
            local: Tally::default(),
            directory: Tally::default(),
            directory_at: 0,
            unread: None,
            behind: 0,
        }
    }

    /// How many files have been met.
    pub fn files(&self) -> u64 {
        self.local.files
    }

    /// Why reading ended before the end.
    pub fn unread(&self) -> Option<&str> {
        self.unread.as_deref()
    }

    pub fn update(&mut self, mut bytes: &[u8], report: &mut Report, on: &mut dyn FnMut(Event<'_>)) {
        while !bytes.is_empty() {
            let taken = match self.state {
                State::Lost => return,
                State::Done => {
                    self.behind += bytes.len() as u64;
                    return;
                }
                State::Stored(left) => self.stored(left, bytes, report, on),
                State::PassedOver(left) => self.passed_over(left, bytes, report, on),
                State::Deflated(left) => self.deflated(left, bytes, report, on),
                _ => {
                    let taken = bytes.len().min(self.need - self.buffer.len());
                    self.buffer.extend_from_slice(&bytes[..taken]);
                    self.position += taken as u64;
                    if self.buffer.len() == self.need {
                        self.step(report, on);
                    }
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
    }

    /// The archive is at its end.
    pub fn finish(&self, report: &mut Report) {
        let kind_and_message = match self.state {
            State::Lost => return,
            State::Done if self.behind == 0 => return,
            State::Done => (
                FaultKind::Padded,
                format!("{} bytes stand behind the end of the zip archive: cut them off", self.behind),
            ),
            _ => (
                FaultKind::Truncated,
                format!(
                    "the zip archive ends at byte {}, before the end of its central directory: it was not copied or \
                     uploaded to its end",
                    self.position
                ),
            ),
        };
        report.fault(kind_and_message.0, kind_and_message.1);
    }

    fn lose(&mut self, why: String) {
        self.state = State::Lost;
        self.buffer = Vec::new();
        self.unread.get_or_insert(why);
    }

    /// Gives up; `at` is where what is wrong begins.
    fn malformed(&mut self, report: &mut Report, at: u64, why: &str) {
        let message = format!("zip archive, at byte {at}: {why}");
        report.fault(FaultKind::Malformed, message.clone());
        self.lose(message);
    }

    fn next(&mut self, state: State, need: usize) {
        self.state = state;
        self.need = need;
    }

    fn next_record(&mut self) {
        self.buffer.clear();
        self.next(State::Record, 4);
    }

    /// `buffer` has what was needed.
    fn step(&mut self, report: &mut Report, on: &mut dyn FnMut(Event<'_>)) {
        match self.state {
            State::Record => self.record(report),
            State::Local => {
                let whole =
                    30 + usize::from(u16_at(&self.buffer, 26)) + usize::from(u16_at(&self.buffer, 28));
                if self.buffer.len() < whole { self.need = whole } else { self.begin(report, on) }
            }
            State::Descriptor => self.descriptor(report, on),
            State::Directory => {
                let lengths = [28, 30, 32].map(|at| usize::from(u16_at(&self.buffer, at)));
                let whole = 46 + lengths.iter().sum::<usize>();
                if self.buffer.len() < whole { self.need = whole } else { self.listed() }
            }
            State::EndOfDirectory64 => {
                let whole = u64_at(&self.buffer, 4).saturating_add(12);
                if whole > LONGEST_END {
                    self.malformed(report, self.position - 12, "the end record has an impossible size");
                } else if (self.buffer.len() as u64) < whole {
                    self.need = whole as usize;
                } else {
                    self.next_record();
                }
            }
            State::Locator64 => self.next_record(),
            State::EndOfDirectory => {
                let whole = 22 + usize::from(u16_at(&self.buffer, 20));
                if self.buffer.len() < whole { self.need = whole } else { self.end(report) }
            }
            State::Stored(_) | State::Deflated(_) | State::PassedOver(_) | State::Done | State::Lost => {}
        }
    }

    fn record(&mut self, report: &mut Report) {
        let in_directory = self.directory_at > 0;
        let signature = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
        if !in_directory && &signature != b"PK\x03\x04" {
            self.directory_at = self.position - 4;
        }
        match &signature {
            b"PK\x03\x04" if !in_directory => self.next(State::Local, 30),
            b"PK\x01\x02" => self.next(State::Directory, 46),
            b"PK\x06\x06" => self.next(State::EndOfDirectory64, 12),
            b"PK\x06\x07" => self.next(State::Locator64, 20),
            b"PK\x05\x06" => self.next(State::EndOfDirectory, 22),
            _ => self.malformed(
                report,
                self.position - 4,
                "no record of a zip archive begins here: the file is damaged",
            ),
        }
    }

    /// A local header is there.
    fn begin(&mut self, report: &mut Report, on: &mut dyn FnMut(Event<'_>)) {
        let header = std::mem::take(&mut self.buffer);
        let name_length = usize::from(u16_at(&header, 26));
        let (flags, method) = (u16_at(&header, 6), u16_at(&header, 8));
        let mut sizes = [u64::from(u32_at(&header, 22)), u64::from(u32_at(&header, 18))];
        let is_64 = widen(&header[30 + name_length..], &mut sizes);
        self.file = File {
            name: header[30..30 + name_length].to_vec(),
            at: self.position - header.len() as u64,
            method,
            sizes: Sizes { packed: sizes[1], unpacked: sizes[0], is_64 },
            crc: u32_at(&header, 14),
            described_behind: flags & 8 != 0,
            ..File::default()
        };
        let sizes = self.file.sizes;
        let name = text_of(&self.file.name);
        on(Event::Begin(&name));
        match (flags & 1 != 0, method, self.file.described_behind) {
            (false, 0, true) if sizes.packed == 0 => {
                self.lose(format!("{name:?} is stored, and its size stands behind it"));
            }
            (false, 0, _) if sizes.packed != sizes.unpacked => {
                self.malformed(
                    report,
                    self.file.at,
                    &format!("{name:?} is stored, but says that it has two sizes"),
                );
            }
            (false, 0, _) => {
                self.file.read = true;
                self.state = State::Stored(sizes.packed);
            }
            (false, 8, described_behind) => {
                self.file.read = true;
                match &mut self.inflate {
                    Some(inflate) => inflate.restart(),
                    None => self.inflate = Some(Inflate::new(MOST_UNPACKED)),
                }
                self.state = State::Deflated((!described_behind).then_some(sizes.packed));
            }
            (_, _, true) if sizes.packed == 0 => {
                self.lose(format!("{name:?} is encrypted or packed by method {method}, of unknown size"));
            }
            _ => self.state = State::PassedOver(sizes.packed),
        }
        match self.state {
            State::Stored(0) | State::PassedOver(0) => self.end_of_bytes(report, on),
            State::Deflated(Some(0)) => {
                self.file.bad = true;
                self.end_of_bytes(report, on);
            }
            _ => {}
        }
    }

    fn stored(
        &mut self,
        left: u64,
        bytes: &[u8],
        report: &mut Report,
        on: &mut dyn FnMut(Event<'_>),
    ) -> usize {
        let taken = (bytes.len() as u64).min(left) as usize;
        self.file.computed.update(&bytes[..taken]);
        self.file.unpacked += taken as u64;
        on(Event::Bytes(&bytes[..taken]));
        self.pass(taken);
        self.state = State::Stored(left - taken as u64);
        if left == taken as u64 {
            self.end_of_bytes(report, on);
        }
        taken
    }

    fn passed_over(
        &mut self,
        left: u64,
        bytes: &[u8],
        report: &mut Report,
        on: &mut dyn FnMut(Event<'_>),
    ) -> usize {
        let taken = (bytes.len() as u64).min(left) as usize;
        self.pass(taken);
        self.state = State::PassedOver(left - taken as u64);
        if left == taken as u64 {
            self.end_of_bytes(report, on);
        }
        taken
    }

    fn pass(&mut self, taken: usize) {
        self.position += taken as u64;
        self.file.packed += taken as u64;
    }

    fn deflated(
        &mut self,
        left: Option<u64>,
        bytes: &[u8],
        report: &mut Report,
        on: &mut dyn FnMut(Event<'_>),
    ) -> usize {
        let most = left.map_or(bytes.len(), |left| (bytes.len() as u64).min(left) as usize);
        let Self { inflate: Some(inflate), file, .. } = self else { return bytes.len() };
        let limit = if file.described_behind { u64::MAX } else { file.sizes.unpacked };
        let (mut taken, step) = inflate.update(&bytes[..most], &mut |unpacked| {
            let wanted = usize::try_from(limit - file.unpacked.min(limit)).unwrap_or(usize::MAX);
            file.unpacked += unpacked.len() as u64;
            let unpacked = &unpacked[..unpacked.len().min(wanted)];
            file.computed.update(unpacked);
            on(Event::Bytes(unpacked));
        });
        let name = text_of(&file.name);
        if file.unpacked > limit {
            self.malformed(
                report,
                self.file.at,
                &format!("{name:?} unpacks to more than the {limit} bytes that it states"),
            );
            return bytes.len();
        }
        match (step, left) {
            (Step::TooMuch, _) => {
                self.malformed(
                    report,
                    self.file.at,
                    &format!(
                        "{name:?} takes the archive past the {MOST_UNPACKED} bytes that are unpacked of one"
                    ),
                );
                return bytes.len();
            }
            (Step::Bad, None) => {
                self.malformed(
                    report,
                    self.file.at,
                    &format!("{name:?} is damaged, and where it ends cannot be told"),
                );
                return bytes.len();
            }
            (Step::Bad, Some(_)) => {
                self.file.bad = true;
                taken = most;
            }
            (Step::End, _) => {}
            // A file whose packed bytes are over without an end is judged by its CRC32 and size.
            (Step::More, _) => taken = most,
        }
        self.pass(taken);
        let left = left.map(|left| left - taken as u64);
        match (step, left) {
            (Step::End, Some(left)) if left > 0 => {
                self.file.bad = true;
                self.state = State::PassedOver(left);
            }
            (Step::Bad, Some(left)) if left > 0 => self.state = State::PassedOver(left),
            (Step::End, _) | (_, Some(0)) => {
                self.file.bad |= step != Step::End;
                self.end_of_bytes(report, on);
            }
            _ => self.state = State::Deflated(left),
        }
        taken
    }

    fn end_of_bytes(&mut self, report: &mut Report, on: &mut dyn FnMut(Event<'_>)) {
        if self.file.described_behind {
            self.buffer.clear();
            self.next(State::Descriptor, 4);
        } else {
            self.close(report, on);
        }
    }

    /// The CRC and sizes behind a file (4.3.9), with or without a signature of their own.
    fn descriptor(&mut self, report: &mut Report, on: &mut dyn FnMut(Event<'_>)) {
        let signed = self.buffer.starts_with(b"PK\x07\x08");
        let start = if signed { 4 } else { 0 };
        let whole = start + if self.file.sizes.is_64 { 20 } else { 12 };
        if self.buffer.len() < whole {
            self.need = whole;
            return;
        }
        self.file.crc = u32_at(&self.buffer, start);
        let (packed, unpacked) = if self.file.sizes.is_64 {
            (u64_at(&self.buffer, start + 4), u64_at(&self.buffer, start + 12))
        } else {
            (u32_at(&self.buffer, start + 4).into(), u32_at(&self.buffer, start + 8).into())
        };
        self.file.bad |= packed != self.file.packed;
        self.file.sizes = Sizes { packed, unpacked, is_64: self.file.sizes.is_64 };
        self.close(report, on);
    }

    /// A file is over: judges it.
    fn close(&mut self, report: &mut Report, on: &mut dyn FnMut(Event<'_>)) {
        let file = std::mem::take(&mut self.file);
        self.local.add(&file.name, file.at, file.method, file.crc, file.sizes);
        let read = if !file.read {
            Read::PassedOver
        } else if !file.bad && file.unpacked == file.sizes.unpacked && file.computed.finalize() == file.crc {
            Read::Right(file.crc)
        } else {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "{:?} in the zip archive does not have the CRC32 and size that the archive states: it is damaged",
                    text_of(&file.name)
                ),
            );
            Read::Wrong
        };
        on(Event::End(read, file.sizes.unpacked));
        self.next_record();
    }

    /// An entry of the central directory is there.
    fn listed(&mut self) {
        let entry = &self.buffer;
        let name_length = usize::from(u16_at(entry, 28));
        let extra_length = usize::from(u16_at(entry, 30));
        let mut values = [24, 20, 42].map(|at| u64::from(u32_at(entry, at)));
        widen(&entry[46 + name_length..46 + name_length + extra_length], &mut values);
        let sizes = Sizes { packed: values[1], unpacked: values[0], is_64: false };
        self.directory.add(
            &entry[46..46 + name_length],
            values[2],
            u16_at(entry, 10),
            u32_at(entry, 16),
            sizes,
        );
        self.next_record();
    }

    /// The end record and its comment are there.
    fn end(&mut self, report: &mut Report) {
        let end = std::mem::take(&mut self.buffer);
        let [on_disk, files] = [8, 10].map(|at| u64::from(u16_at(&end, at)));
        let [size, at] = [12, 16].map(|at| u64::from(u32_at(&end, at)));
        let start_of_end = self.position - end.len() as u64;
        let is_64 = files == u64::from(u16::MAX) || size == u64::from(u32::MAX) || at == u64::from(u32::MAX);
        self.state = State::Done;
        let right = is_64
            || (files == self.directory.files
                && on_disk == files
                && at == self.directory_at
                && size == start_of_end - self.directory_at);
        if !right || self.local != self.directory {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "the zip archive has {} files, and its central directory lists {files} or describes them otherwise: \
                     tools would not see what is in it; pack it again",
                    self.local.files
                ),
            );
        }
    }
}
