//! The files of a zip archive, from their local header to their end.

use crc32fast::Hasher;

use super::fields::{Sizes, u16_at, u32_at, u64_at, widen};
use super::{Event, Read, State, Zip};
use crate::version_check::inspect::facts::text_of;
use crate::version_check::inspect::inflate::{Inflate, MOST_UNPACKED, Step};
use crate::version_check::inspect::{FaultKind, Report};

/// The file that is being read.
#[derive(Default)]
pub(super) struct File {
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

impl Zip {
    /// A local header is there.
    pub(super) fn begin(&mut self, report: &mut Report, on: &mut dyn FnMut(Event<'_>)) {
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

    pub(super) fn stored(
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

    pub(super) fn passed_over(
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

    pub(super) fn deflated(
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
    pub(super) fn descriptor(&mut self, report: &mut Report, on: &mut dyn FnMut(Event<'_>)) {
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
                    "{:?} in the zip archive does not have the CRC32 and size that the archive states: it \
                     is damaged",
                    text_of(&file.name)
                ),
            );
            Read::Wrong
        };
        on(Event::End(read, file.sizes.unpacked));
        self.next_record();
    }
}
