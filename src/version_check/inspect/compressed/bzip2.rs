//! bzip2: a header, and the mark of the end with a CRC, which stand at any bit.

use super::{Facts, FaultKind, Inspector, Report};

const BLOCK: u64 = 0x3141_5926_5359;
const END: u64 = 0x1772_4538_5090;
/// The mark, the CRC and up to 7 bits of filling.
const LAST: usize = 11;

pub(super) struct Bzip2 {
    report: Report,
    last: Vec<u8>,
}

/// Whether a first block, or the end, stands behind the header.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let mark = bytes.iter().take(6).fold(0, |mark, byte| mark << 8 | u64::from(*byte));
    bytes.len() >= 6 && matches!(mark, BLOCK | END)
}

impl Bzip2 {
    pub fn new(level: u8) -> Self {
        let mut report = Report { facts: Facts::of("bzip2"), ..Report::default() };
        report.facts.detail("block size", format!("{}00000", char::from(level)));
        Self { report, last: Vec::new() }
    }
}

impl Inspector for Bzip2 {
    fn update(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(LAST)..];
        self.last.extend_from_slice(bytes);
        self.last.drain(..self.last.len().saturating_sub(LAST));
    }

    fn so_far(&self) -> Option<&Facts> {
        Some(&self.report.facts)
    }

    fn finish(self: Box<Self>) -> Report {
        let Self { mut report, last } = *self;
        let bits = last.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
        let ends = (0..8).any(|filling| {
            let mark = (bits >> (32 + filling)) as u64 & 0xffff_ffff_ffff;
            mark == END && bits & ((1 << filling) - 1) == 0
        });
        if !ends {
            report.fault(
                FaultKind::Truncated,
                "the bzip2 file does not end with the mark of its end: it was cut, or something stands \
                 behind it",
            );
        }
        report
    }
}
