//! ELF: programs as linkers write them (System V gABI 4.1, chapters 4 and 5; machine numbers from its
//! registry).
//!
//! # Layout
//! A header with class, byte order, machine, entry and where two tables lie: program headers, which say what
//! a loader takes, and section headers, mostly at the file's end. The build id is a note (`NT_GNU_BUILD_ID`)
//! in a `PT_NOTE` segment.
//!
//! # What it verifies
//! That the header's sizes are those of its class; that tables, segments and sections lie inside the file,
//! and the file ends with the last of them; that no loaded segment has more bytes in the file than in memory.
//!
//! # Limits
//! Entries of tables are read as they pass and not kept. A build id is found if its segment comes behind the
//! program headers, as linkers lay it out, and has at most [`LONGEST_NOTES`].
//!
//! # What it does not do
//! ELF has no checksum and states no version. Judge sections by name or content.

mod machines;
#[cfg(test)]
mod tests;

use super::{Facts, FaultKind, Inspector, NameKind, Payload, Report};

/// The largest note segment that is kept; a build id has some thirty bytes.
const LONGEST_NOTES: u64 = 4096;
/// The most note segments that are kept.
const MOST_NOTES: usize = 8;

const PT_LOAD: u64 = 1;
const PT_NOTE: u64 = 4;
const SHT_NOBITS: u64 = 8;
const NT_GNU_BUILD_ID: u64 = 3;

/// Takes what begins with the magic number.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    head.starts_with(b"\x7fELF").then(|| Box::new(Elf::default()) as _)
}

#[derive(Default)]
struct Elf {
    report: Report,
    position: u64,
    header: Vec<u8>,
    /// Whether the header is understood.
    known: bool,
    shape: Shape,
    segments: Table,
    sections: Table,
    contents: Contents,
}

/// What the tables say.
#[derive(Default)]
struct Contents {
    notes: Vec<Notes>,
    loads: u64,
    flash: u64,
    memory: u64,
    /// The last byte that something states, and what.
    end: u64,
    last: &'static str,
}

/// A class and byte order.
#[derive(Clone, Copy, Default)]
struct Shape {
    wide: bool,
    big: bool,
}

impl Shape {
    /// The number in so many bytes at an offset; 0 beyond the end, which callers have excluded by the entry's
    /// size.
    fn number(self, bytes: &[u8], at: usize, width: usize) -> u64 {
        let bytes = bytes.get(at..at + width).unwrap_or_default();
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
    }

    /// Picks by class, `(offset, width)` each.
    fn field(self, bytes: &[u8], narrow: (usize, usize), wide: (usize, usize)) -> u64 {
        let (at, width) = if self.wide { wide } else { narrow };
        self.number(bytes, at, width)
    }

    fn pick(self, narrow: usize, wide: usize) -> usize {
        if self.wide { wide } else { narrow }
    }
}

/// A table whose entries are taken as they pass.
#[derive(Default)]
struct Table {
    offset: u64,
    entry: usize,
    count: u64,
    taken: u64,
    partial: Vec<u8>,
}

impl Table {
    /// Where the next entry ends.
    fn next_end(&self) -> u64 {
        if self.taken == self.count { u64::MAX } else { self.offset + (self.taken + 1) * self.entry as u64 }
    }

    /// Takes what belongs to the table out of bytes that stand at `at`, up to one entry; `None` = nothing
    /// more there.
    fn next(&mut self, at: u64, bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
        if self.taken == self.count {
            return None;
        }
        let wanted = self.offset + self.taken * self.entry as u64 + self.partial.len() as u64;
        let skip = usize::try_from(wanted.checked_sub(at)?).ok()?;
        let there = bytes.get(skip..).filter(|there| !there.is_empty())?;
        let part = &there[..there.len().min(self.entry - self.partial.len())];
        self.partial.extend_from_slice(part);
        if self.partial.len() < self.entry {
            return None;
        }
        self.taken += 1;
        Some((wanted + part.len() as u64, std::mem::take(&mut self.partial)))
    }
}

/// A segment of notes.
struct Notes {
    offset: u64,
    size: usize,
    bytes: Vec<u8>,
}

impl Notes {
    fn take(&mut self, at: u64, bytes: &[u8]) {
        let wanted = self.offset + self.bytes.len() as u64;
        let skip = wanted.checked_sub(at).and_then(|skip| usize::try_from(skip).ok());
        if let Some(there) = skip.and_then(|skip| bytes.get(skip..)) {
            self.bytes.extend_from_slice(&there[..there.len().min(self.size - self.bytes.len())]);
        }
    }

    fn build_id(&self, shape: Shape) -> Option<&[u8]> {
        let mut rest = &self.bytes[..];
        while rest.len() >= 12 {
            let [name, value, kind] = [0, 4, 8].map(|at| shape.number(rest, at, 4) as usize);
            let value_at = 12 + name.checked_next_multiple_of(4)?;
            let value = rest.get(value_at..value_at.checked_add(value)?)?;
            if kind as u64 == NT_GNU_BUILD_ID && rest[12..].starts_with(b"GNU\0") {
                return Some(value);
            }
            rest = rest.get(value_at + value.len().next_multiple_of(4)..)?;
        }
        None
    }
}

impl Inspector for Elf {
    fn update(&mut self, mut bytes: &[u8]) {
        if !self.known {
            let wanted = match self.header.get(4) {
                Some(2) => 64,
                Some(_) => 52,
                None => 5,
            };
            let taken = bytes.len().min(wanted - self.header.len());
            self.header.extend_from_slice(&bytes[..taken]);
            self.position += taken as u64;
            bytes = &bytes[taken..];
            if self.header.len() == wanted && wanted > 5 {
                self.known = true;
                self.begin();
            }
            if !bytes.is_empty() {
                self.update(bytes);
            }
            return;
        }
        let Self { report, position, shape, segments, sections, contents, .. } = self;
        // In the order in which entries end, however many come at once: hostile tables overlap.
        loop {
            let by_sections = sections.next_end() < segments.next_end();
            let (first, second) =
                if by_sections { (&mut *sections, &mut *segments) } else { (&mut *segments, &mut *sections) };
            let Some((end, entry)) = first.next(*position, bytes) else {
                // It ends later, and only keeps its part.
                second.next(*position, bytes);
                break;
            };
            if !by_sections {
                contents.segment(*shape, end, &entry, report);
                continue;
            }
            if (sections.taken, sections.count) == (1, 1) {
                contents.more_sections(*shape, sections, &entry, report);
            }
            contents.section(*shape, &entry, report);
        }
        for notes in &mut contents.notes {
            notes.take(*position, bytes);
        }
        *position += bytes.len() as u64;
    }

    fn so_far(&self) -> Option<&Facts> {
        self.known.then_some(&self.report.facts)
    }

    fn finish(self: Box<Self>) -> Report {
        let Self { mut report, position, header, known, shape, sections, contents, .. } = *self;
        if !known {
            report.facts.format = "elf".into();
            let message = format!("the ELF header ends after {} bytes", header.len());
            report.fault(FaultKind::Truncated, message);
            return report;
        }
        let Contents { notes, loads, flash, memory, end, last } = contents;
        if position < end {
            report.fault(
                FaultKind::Truncated,
                format!(
                    "the ELF file has {position} bytes, and its {last} reaches to byte {end}: it was cut"
                ),
            );
        } else if position > end && report.faults.is_empty() {
            report.fault(
                FaultKind::Padded,
                format!(
                    "{} bytes stand behind the end of the ELF file's last part, its {last}",
                    position - end
                ),
            );
        }
        if loads > 0 {
            report.facts.installed_size = Some(flash);
            report.facts.detail("size in memory", memory.to_string());
        }
        report.facts.detail("sections", sections.count.to_string());
        if let Some(id) = notes.iter().find_map(|notes| notes.build_id(shape)) {
            report.facts.detail("build id", hex::encode(id));
        }
        report
    }
}

impl Elf {
    /// The header is there.
    fn begin(&mut self) {
        let Self { report, header, .. } = self;
        report.facts.format = "elf".into();
        let shape = Shape { wide: header[4] == 2, big: header[5] == 2 };
        self.shape = shape;
        let number = |at, width| shape.number(header, at, width);
        if !matches!((header[4], header[5], header[6]), (1 | 2, 1 | 2, 1)) || number(20, 4) != 1 {
            let message = "the ELF header has a class, byte order or version that ELF does not know";
            report.fault(FaultKind::Malformed, message);
            return;
        }
        let facts = &mut report.facts;
        facts.name(NameKind::Chip, &machines::name(number(18, 2)));
        facts.detail("class", if shape.wide { "64 bits" } else { "32 bits" });
        facts.detail("byte order", if shape.big { "big-endian" } else { "little-endian" });
        facts.detail(
            "type",
            match number(16, 2) {
                1 => "relocatable object",
                2 => "program",
                3 => "shared object or position-independent program",
                4 => "core dump",
                _ => "unknown",
            },
        );
        let entry = shape.field(header, (24, 4), (24, 8));
        facts.detail("entry", format!("0x{entry:08x}"));
        facts.detail("flags", format!("0x{:08x}", number(shape.pick(36, 48), 4)));
        let rest = shape.pick(40, 52);
        let [own, segment, segments, section, sections] = [0, 2, 4, 6, 8].map(|at| number(rest + at, 2));
        let segments_at = shape.field(header, (28, 4), (32, 8));
        let sections_at = shape.field(header, (32, 4), (40, 8));
        // No number of sections, but a table: the number is in the table's first entry (gABI, e_shnum).
        let sections = if sections == 0 && sections_at > 0 { 1 } else { sections };
        facts.detail("segments", segments.to_string());
        self.contents.end = header.len() as u64;
        self.contents.last = "header";
        if own != header.len() as u64 {
            report.fault(FaultKind::Malformed, format!("the ELF header says that it has {own} bytes"));
        }
        if segments == 0xffff {
            report.fault(FaultKind::Malformed, "the ELF file has too many segments to be a firmware");
            return;
        }
        self.segments = self.table("table of segments", segments_at, segments, segment, shape.pick(32, 56));
        self.sections = self.table("table of sections", sections_at, sections, section, shape.pick(40, 64));
    }

    fn table(&mut self, name: &'static str, offset: u64, count: u64, size: u64, wanted: usize) -> Table {
        if count == 0 {
            return Table::default();
        }
        if size != wanted as u64 || offset < self.header.len() as u64 {
            let message =
                format!("the ELF file's {name} has entries of {size} bytes, at {offset}: neither can be");
            self.report.fault(FaultKind::Malformed, message);
            return Table::default();
        }
        if !self.contents.reaches(name, offset, count * size, &mut self.report) {
            return Table::default();
        }
        Table { offset, entry: wanted, count, ..Table::default() }
    }
}

impl Contents {
    /// Notes that something of the file reaches so far; false if no file can be that long.
    fn reaches(&mut self, what: &'static str, offset: u64, size: u64, report: &mut Report) -> bool {
        let Some(end) = offset.checked_add(size) else {
            report.fault(
                FaultKind::Malformed,
                format!("the ELF file's {what} reaches past the last possible byte"),
            );
            return false;
        };
        if end > self.end {
            (self.end, self.last) = (end, what);
        }
        true
    }

    fn segment(&mut self, shape: Shape, entry_end: u64, entry: &[u8], report: &mut Report) {
        let kind = shape.number(entry, 0, 4);
        let offset = shape.field(entry, (4, 4), (8, 8));
        let address = shape.field(entry, (12, 4), (24, 8));
        let in_file = shape.field(entry, (16, 4), (32, 8));
        let in_memory = shape.field(entry, (20, 4), (40, 8));
        if kind == 0 || in_file == 0 && kind != PT_LOAD || !self.reaches("segment", offset, in_file, report) {
            return;
        }
        match kind {
            PT_LOAD => {
                if in_file > in_memory {
                    let message = format!(
                        "the ELF segment at 0x{address:08x} has more bytes in the file than in memory"
                    );
                    report.fault(FaultKind::Malformed, message);
                }
                self.loads += 1;
                self.flash = self.flash.saturating_add(in_file);
                self.memory = self.memory.saturating_add(in_memory);
                if in_file > 0 {
                    let name = format!("0x{address:08x}");
                    report.facts.payload(Payload { name, size: in_file, digest: None });
                }
            }
            // What came before its entry has passed.
            PT_NOTE if in_file <= LONGEST_NOTES && offset >= entry_end && self.notes.len() < MOST_NOTES => {
                self.notes.push(Notes { offset, size: in_file as usize, bytes: Vec::new() });
            }
            _ => {}
        }
    }

    fn section(&mut self, shape: Shape, entry: &[u8], report: &mut Report) {
        let kind = shape.number(entry, 4, 4);
        let offset = shape.field(entry, (16, 4), (24, 8));
        let size = shape.field(entry, (20, 4), (32, 8));
        if kind != 0 && kind != SHT_NOBITS {
            self.reaches("section", offset, size, report);
        }
    }

    /// The first section's entry, where it states how many sections there are.
    fn more_sections(&mut self, shape: Shape, table: &mut Table, entry: &[u8], report: &mut Report) {
        let count = shape.field(entry, (20, 4), (32, 8));
        if count <= 1 {
            return;
        }
        let size = count.saturating_mul(table.entry as u64);
        if self.reaches("table of sections", table.offset, size, report) {
            table.count = count;
        }
    }
}
