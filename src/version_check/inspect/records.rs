//! What Intel HEX and S-record share: a text of records, one a line, that say which bytes go to which
//! addresses.
//!
//! Lines end with LF, CR LF or CR; blank lines and blanks at a line's end are passed over.

use super::ranges::{MOST_RANGES, Ranges, Refused};
use crate::version_check::inspect::{Facts, FaultKind, Inspector, Payload, Report};

/// The longest record of either format has 521 characters.
const LONGEST_LINE: usize = 600;
/// As many faults as a report keeps of one kind; what comes after is damage that has been told.
const MOST_COMPLAINTS: u32 = 10;

/// What is wrong with a record.
pub(super) type Wrong = (FaultKind, String);

/// What a record was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Ordinary,
    /// The one behind which none may come.
    End,
}

/// A format's own part.
pub(super) trait Format: Send {
    /// The format's stable code.
    const CODE: &'static str;
    /// Reads one record, without its line's end.
    fn take(&mut self, record: &[u8], memory: &mut Memory) -> Result<Record, Wrong>;
    /// States what there is to state.
    fn state(&self, facts: &mut Facts);
}

/// Reads a text of records.
pub(super) struct Text<F> {
    format: F,
    report: Report,
    memory: Memory,
    line: Vec<u8>,
    number: u64,
    after_return: bool,
    records: u64,
    complaints: u32,
    ended: bool,
    behind: Option<u64>,
}

/// The addresses that were filled.
#[derive(Default)]
pub(super) struct Memory {
    ranges: Ranges,
    /// A record was damaged, so addresses are no longer certain.
    uncertain: bool,
}

impl Memory {
    /// Fills `length` bytes from `address` on.
    pub fn fill(&mut self, address: u64, length: usize) -> Result<(), Wrong> {
        if address + length as u64 > 1 << 32 {
            return Err((
                FaultKind::Malformed,
                format!("its data, from 0x{address:08x} on, reaches past 2^32"),
            ));
        }
        match self.ranges.insert(address, length as u64) {
            Err(Refused::Overlap(at)) if !self.uncertain => Err((
                FaultKind::Malformed,
                format!(
                    "it writes address 0x{at:08x}, which a record before has written: which of both counts \
                     is chance"
                ),
            )),
            Err(Refused::TooMany) => {
                Err((FaultKind::Malformed, format!("the data lies in more than {MOST_RANGES} pieces")))
            }
            Ok(()) | Err(Refused::Overlap(_)) => Ok(()),
        }
    }
}

/// Whether most of the first lines are records, by a format's own view of what one looks like. Stricter than
/// a look at the first character, and so lenient that a damaged record is not taken for a file of another
/// kind.
pub(super) fn probe(head: &[u8], looks_right: fn(&[u8]) -> bool) -> bool {
    let lines = head.split(|byte| matches!(byte, b'\n' | b'\r'));
    let mut lines: Vec<&[u8]> = lines.map(<[u8]>::trim_ascii_end).collect();
    // The last line is cut, by the head's end or the file's.
    lines.pop_if(|line| !looks_right(line));
    let lines = lines.into_iter().filter(|line| !line.is_empty());
    let (right, wrong): (Vec<&[u8]>, Vec<&[u8]>) = lines.partition(|line| looks_right(line));
    right.len() > wrong.len()
}

impl<F: Format> Text<F> {
    pub fn new(format: F) -> Self {
        Self {
            format,
            report: Report { facts: Facts::of(F::CODE), ..Report::default() },
            memory: Memory::default(),
            line: Vec::new(),
            number: 1,
            after_return: false,
            records: 0,
            complaints: 0,
            ended: false,
            behind: None,
        }
    }

    fn end_line(&mut self, is_last: bool) {
        let mut line = std::mem::take(&mut self.line);
        let record = line.trim_ascii_end();
        if record.is_empty() {
            // Blank.
        } else if self.ended {
            self.behind.get_or_insert(self.number);
        } else {
            let taken = if record.len() > LONGEST_LINE {
                Err((FaultKind::Malformed, format!("it is longer than {LONGEST_LINE} characters")))
            } else {
                self.format.take(record, &mut self.memory)
            };
            self.records += 1;
            match taken {
                Ok(record) => self.ended = record == Record::End,
                Err((kind, why)) => {
                    self.memory.uncertain = true;
                    // The last line, without its end, is one that was cut.
                    let kind = if is_last { FaultKind::Truncated } else { kind };
                    self.complain(kind, &why);
                }
            }
        }
        line.clear();
        self.line = line;
    }

    fn complain(&mut self, kind: FaultKind, why: &str) {
        self.complaints += 1;
        if self.complaints <= MOST_COMPLAINTS || kind == FaultKind::Truncated {
            self.report.fault(kind, format!("line {}: {why}", self.number));
        }
    }
}

impl<F: Format> Inspector for Text<F> {
    fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let second_half = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            match byte {
                _ if second_half => {}
                b'\n' | b'\r' => {
                    self.end_line(false);
                    self.number += 1;
                }
                // One character more than allowed is enough to know.
                _ if self.line.len() > LONGEST_LINE => {}
                _ => self.line.push(byte),
            }
        }
    }

    fn finish(mut self: Box<Self>) -> Report {
        self.end_line(true);
        let Self { format, mut report, memory, records, ended, behind, number, .. } = *self;
        if let Some(line) = behind {
            report.fault(
                FaultKind::Padded,
                format!(
                    "line {line}: there is more behind the record that ends the file; loaders would not \
                     see it"
                ),
            );
        }
        if !ended && !report.faults.iter().any(|fault| fault.kind == FaultKind::Truncated) {
            report.fault(
                FaultKind::Truncated,
                format!(
                    "line {number}: the record that ends the file is missing: it was not copied to its end"
                ),
            );
        }
        let facts = &mut report.facts;
        facts.installed_size = Some(memory.ranges.total());
        format.state(facts);
        facts.detail("records", records.to_string());
        let ranges = memory.ranges.as_slice();
        if let (Some((first, _)), Some((_, end))) = (ranges.first(), ranges.last()) {
            facts.detail("addresses", format!("0x{first:08x}-0x{:08x}", end - 1));
            facts.detail("pieces", ranges.len().to_string());
        }
        for (start, end) in ranges.iter().take(Facts::MOST_PAYLOADS) {
            facts.payload(Payload { name: format!("0x{start:08x}"), size: end - start, digest: None });
        }
        report
    }
}
