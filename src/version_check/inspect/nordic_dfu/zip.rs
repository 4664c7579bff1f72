//! A zip archive read forward (PKWARE's APPNOTE.TXT 6.3.10, section 4.3): local headers and files as they
//! come, then the central directory, which must say the same of them.
//!
//! Crates that read zip archives start with the directory, at the end, and need to seek; hence this one, on
//! `miniz_oxide`. Files that are stored or deflated are unpacked and their CRC32 is computed again. Others
//! (encrypted, rarer methods) are passed over. A stored file whose size stands behind it cannot be passed
//! over: reading ends there, and [`Zip::unread`] says so.
//!
//! That local headers and directory agree is checked with a sum of hashes, so that a million files take no
//! memory.

mod fields;
mod file;

use fields::{Sizes, Tally, u16_at, u32_at, u64_at, widen};
use file::File;

use crate::version_check::inspect::inflate::Inflate;
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
                    "the zip archive ends at byte {}, before the end of its central directory: it was not \
                     copied or uploaded to its end",
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
                    "the zip archive has {} files, and its central directory lists {files} or describes \
                     them otherwise: tools would not see what is in it; pack it again",
                    self.local.files
                ),
            );
        }
    }
}
