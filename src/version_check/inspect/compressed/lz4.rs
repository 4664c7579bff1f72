//! lz4: frames of blocks with their sizes before them.

use super::walk::{Next, Walk, number};
use super::{FaultKind, Report};

#[derive(Default)]
pub(super) struct Lz4 {
    at: At,
    flags: u8,
    largest: u64,
    frames: u64,
    blocks: u64,
    /// Of all frames, as long as each states it.
    unpacked: Option<u64>,
    legacy: bool,
}

#[derive(Default, Clone, Copy)]
enum At {
    #[default]
    Magic,
    Skippable,
    Flags,
    Header,
    Block,
    Checksum,
}

const BLOCK_CHECKSUM: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const DICTIONARY: u8 = 0x01;

impl Lz4 {
    fn next_frame(&mut self) -> Next {
        self.at = At::Magic;
        Next::Read(4)
    }
}

impl Walk for Lz4 {
    const CODE: &'static str = "lz4";
    const FIRST: usize = 4;

    fn step(&mut self, bytes: &[u8], position: u64, report: &mut Report) -> Next {
        let mut lost = |why: &str| {
            report.fault(FaultKind::Malformed, format!("lz4 file, before byte {position}: {why}"));
            Next::Lost
        };
        match self.at {
            At::Magic => match number(bytes) {
                0x184d_2204 => {
                    self.unpacked = if self.frames == 0 { Some(0) } else { self.unpacked };
                    self.frames += 1;
                    self.at = At::Flags;
                    Next::Read(2)
                }
                // The frames of old: blocks to the end of the file, with whatever a kernel's build puts
                // behind.
                0x184c_2102 => {
                    self.legacy = true;
                    Next::Lost
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
            At::Flags => {
                self.flags = bytes[0];
                let size = bytes[1] >> 4;
                if self.flags >> 6 != 1
                    || self.flags & 2 != 0
                    || bytes[1] & 0x8f != 0
                    || !(4..8).contains(&size)
                {
                    return lost("the frame's header has a version or flags that lz4 does not know");
                }
                self.largest = 1 << (8 + 2 * size);
                self.at = At::Header;
                let of = |flag: u8, length: usize| if self.flags & flag == 0 { 0 } else { length };
                Next::Read(of(CONTENT_SIZE, 8) + of(DICTIONARY, 4) + 1)
            }
            At::Header => {
                let size = (self.flags & CONTENT_SIZE != 0).then(|| number(&bytes[..8]));
                self.unpacked = self.unpacked.zip(size).and_then(|(all, size)| all.checked_add(size));
                self.at = At::Block;
                Next::Read(4)
            }
            At::Block => {
                let size = number(bytes) & 0x7fff_ffff;
                if number(bytes) == 0 {
                    if self.flags & CONTENT_CHECKSUM == 0 {
                        return self.next_frame();
                    }
                    self.at = At::Checksum;
                    return Next::Read(4);
                }
                if size > self.largest {
                    return lost("a block is larger than the frame's header allows");
                }
                self.blocks += 1;
                Next::Skip(size + if self.flags & BLOCK_CHECKSUM == 0 { 0 } else { 4 }, 4)
            }
            At::Checksum => self.next_frame(),
        }
    }

    fn may_end(&self) -> bool {
        matches!(self.at, At::Magic) && self.frames > 0
    }

    fn state(&self, report: &mut Report) {
        if self.legacy {
            report.facts.detail("frame", "legacy, not walked");
            return;
        }
        report.facts.detail("frames", self.frames.to_string());
        report.facts.detail("blocks", self.blocks.to_string());
        report.facts.installed_size = self.unpacked.filter(|_| report.faults.is_empty());
    }
}
