//! Walking formats whose parts say how long they are: read a few bytes, pass over many, and again.

use super::{Facts, FaultKind, Inspector, Report};

/// What comes next.
pub(super) enum Next {
    /// So many bytes (at least one), and then another step.
    Read(usize),
    /// The same, behind bytes that are passed over.
    Skip(u64, usize),
    /// Nothing belongs to the file any more, including the bytes that were just read.
    Over,
    /// The rest cannot be walked.
    Lost,
}

/// A format's own part.
pub(super) trait Walk: Send {
    /// The format's stable code.
    const CODE: &'static str;
    /// How many bytes the first step needs.
    const FIRST: usize;
    /// Takes the bytes that were asked for, which end at `position`.
    fn step(&mut self, bytes: &[u8], position: u64, report: &mut Report) -> Next;
    /// Whether the file may end here, before the bytes that are asked for.
    fn may_end(&self) -> bool;
    /// States what there is to state.
    fn state(&self, report: &mut Report);
}

pub(super) struct Walker<W> {
    walk: W,
    report: Report,
    buffer: Vec<u8>,
    need: usize,
    skip: u64,
    position: u64,
    lost: bool,
    behind: u64,
    over: bool,
}

impl<W: Walk> Walker<W> {
    pub fn new(walk: W) -> Self {
        Self {
            walk,
            report: Report { facts: Facts::of(W::CODE), ..Report::default() },
            buffer: Vec::new(),
            need: W::FIRST,
            skip: 0,
            position: 0,
            lost: false,
            behind: 0,
            over: false,
        }
    }
}

impl<W: Walk> Inspector for Walker<W> {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.lost {
            if self.over {
                self.behind += bytes.len() as u64;
                return;
            }
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() as u64);
                self.skip -= skipped;
                self.position += skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            let taken = bytes.len().min(self.need - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..taken]);
            self.position += taken as u64;
            bytes = &bytes[taken..];
            if self.buffer.len() < self.need {
                return;
            }
            match self.walk.step(&self.buffer, self.position, &mut self.report) {
                Next::Read(need) => self.need = need,
                Next::Skip(skip, need) => (self.skip, self.need) = (skip, need),
                Next::Over => {
                    self.over = true;
                    self.behind = self.buffer.len() as u64;
                }
                Next::Lost => self.lost = true,
            }
            self.buffer.clear();
        }
    }

    fn finish(self: Box<Self>) -> Report {
        let Self { walk, mut report, buffer, skip, position, lost, behind, over, .. } = *self;
        let at_end = walk.may_end() && skip == 0;
        if over || at_end && !buffer.is_empty() {
            let behind = if over { behind } else { buffer.len() as u64 };
            report.fault(
                FaultKind::Padded,
                format!("{behind} bytes stand behind the end of the {} file", W::CODE),
            );
        } else if !lost && !at_end {
            report.fault(
                FaultKind::Truncated,
                format!(
                    "the {} file ends at byte {position}, before the end of what it begins there",
                    W::CODE
                ),
            );
        }
        walk.state(&mut report);
        report
    }
}

/// A little-endian number of up to 8 bytes.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
