//! zstd: frames of blocks with their sizes before them.

use super::walk::{Next, Walk, number};
use super::{FaultKind, Report};

/// The largest block (RFC 8878, 3.1.1.2.4).
const LARGEST_BLOCK: u64 = 128 << 10;

#[derive(Default)]
pub(super) struct Zstd {
    at: At,
    descriptor: u8,
    frames: u64,
    blocks: u64,
    /// Of all frames, as long as each states it.
    unpacked: Option<u64>,
    window: u64,
    dictionary: u64,
}

#[derive(Default, Clone, Copy)]
enum At {
    #[default]
    Magic,
    Skippable,
    Descriptor,
    Header,
    Block,
    Checksum,
}

impl Zstd {
    fn single_segment(&self) -> bool {
        self.descriptor & 0x20 != 0
    }

    fn has_checksum(&self) -> bool {
        self.descriptor & 0x04 != 0
    }

    /// How many bytes the dictionary's id and the content's size take.
    fn widths(&self) -> (usize, usize) {
        let dictionary = [0, 1, 2, 4][usize::from(self.descriptor & 3)];
        let content = match self.descriptor >> 6 {
            0 => usize::from(self.single_segment()),
            1 => 2,
            2 => 4,
            _ => 8,
        };
        (dictionary, content)
    }

    fn header(&mut self, bytes: &[u8]) {
        let (dictionary, content) = self.widths();
        let (window, rest) = bytes.split_at(usize::from(!self.single_segment()));
        let (dictionary, content) = (&rest[..dictionary], &rest[dictionary..dictionary + content]);
        self.dictionary = number(dictionary);
        let size = match content.len() {
            0 => None,
            2 => Some(number(content) + 256),
            _ => Some(number(content)),
        };
        self.unpacked = self.unpacked.zip(size).and_then(|(all, size)| all.checked_add(size));
        let window = match window {
            [byte] => {
                let base = 1u64 << (10 + (byte >> 3));
                base + base / 8 * u64::from(byte & 7)
            }
            _ => size.unwrap_or_default(),
        };
        self.window = self.window.max(window);
    }
}

impl Walk for Zstd {
    const CODE: &'static str = "zstd";
    const FIRST: usize = 4;

    fn step(&mut self, bytes: &[u8], position: u64, report: &mut Report) -> Next {
        let mut lost = |why: &str| {
            report.fault(FaultKind::Malformed, format!("zstd file, before byte {position}: {why}"));
            Next::Lost
        };
        match self.at {
            At::Magic => match number(bytes) {
                0xfd2f_b528 => {
                    self.unpacked = if self.frames == 0 { Some(0) } else { self.unpacked };
                    self.frames += 1;
                    self.at = At::Descriptor;
                    Next::Read(1)
                }
                0x184d_2a50..=0x184d_2a5f => {
                    self.at = At::Skippable;
                    Next::Read(4)
                }
                _ => Next::Over,
            },
            At::Skippable => {
                self.at = At::Magic;
                Next::Skip(number(bytes), 4)
            }
            At::Descriptor => {
                self.descriptor = bytes[0];
                if self.descriptor & 0x08 != 0 {
                    return lost("the frame's header has a bit set that is reserved");
                }
                self.at = At::Header;
                let (dictionary, content) = self.widths();
                Next::Read(usize::from(!self.single_segment()) + dictionary + content)
            }
            At::Header => {
                self.header(bytes);
                self.at = At::Block;
                Next::Read(3)
            }
            At::Checksum => {
                self.at = At::Magic;
                Next::Read(4)
            }
            At::Block => {
                let header = number(bytes);
                let (kind, size) = (header >> 1 & 3, header >> 3);
                if kind == 3 || size > LARGEST_BLOCK {
                    return lost("a block has a type or size that zstd does not know");
                }
                self.blocks += 1;
                let packed = if kind == 1 { 1 } else { size };
                let need = match (header & 1 == 1, self.has_checksum()) {
                    (false, _) => 3,
                    (true, true) => {
                        self.at = At::Checksum;
                        4
                    }
                    (true, false) => {
                        self.at = At::Magic;
                        4
                    }
                };
                Next::Skip(packed, need)
            }
        }
    }

    fn may_end(&self) -> bool {
        matches!(self.at, At::Magic) && self.frames > 0
    }

    fn state(&self, report: &mut Report) {
        report.facts.detail("frames", self.frames.to_string());
        report.facts.detail("blocks", self.blocks.to_string());
        report.facts.detail("window", self.window.to_string());
        report.facts.detail("checksum", if self.has_checksum() { "yes, not computed again" } else { "none" });
        if self.dictionary > 0 {
            report.facts.detail("needs dictionary", self.dictionary.to_string());
        }
        report.facts.installed_size = self.unpacked.filter(|_| report.faults.is_empty());
    }
}
