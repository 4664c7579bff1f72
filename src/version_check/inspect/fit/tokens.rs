//! The structure block of a device tree, read as it passes: checked for what can be checked without the names
//! of properties, and kept without its large values.
//!
//! A token is a number of 4 bytes: a node begins (its name, ended by a zero, follows), a node ends, a
//! property (length, offset of its name in the strings block, value), nothing, the end. All are padded to 4
//! bytes (Devicetree Specification, 5.4).

use std::collections::BTreeSet;

use super::digest::{Hash, Hashed, Hashing};

/// A longer value of a property is hashed and not kept, in bytes. Texts, digests and signatures are shorter;
/// U-Boot's own limit of the longest of them, a signature's list of nodes, is the same.
pub(super) const LARGEST_KEPT: u64 = 4096;
/// How much of the structure block is kept, in bytes: that of a FIT with 500 signed configurations fits, and
/// every device tree of the Linux kernel.
pub(super) const MOST_KEPT: usize = 1024 * 1024;
/// The most values that are hashed: a FIT for many boards holds some hundred device trees.
pub(super) const MOST_HASHED: usize = 4096;
/// The most nodes.
pub(super) const MOST_NODES: usize = 16_384;
/// The deepest nesting of nodes: that of U-Boot (`FDT_MAX_DEPTH`).
pub(super) const DEEPEST: usize = 32;
/// The longest name of a node. The specification allows 31 characters; FITs use file names.
const LONGEST_NAME: usize = 255;

pub(super) const BEGIN_NODE: u32 = 1;
pub(super) const END_NODE: u32 = 2;
pub(super) const PROPERTY: u32 = 3;
pub(super) const NOTHING: u32 = 4;
pub(super) const END: u32 = 9;

/// The structure block on its way.
pub(super) struct Tokens {
    kept: Kept,
    state: State,
    /// The size of the block, as far as it is known, and how much of it has passed.
    size: u64,
    at: u64,
    /// The nodes that are open, from the root on: whether a child of theirs has ended.
    open: Vec<bool>,
    nodes: usize,
    fault: Option<String>,
}

/// What is kept of a structure block.
#[derive(Default)]
pub(super) struct Kept {
    /// The block without large values and the padding behind them.
    pub bytes: Vec<u8>,
    /// The large values, in their order.
    pub large: Vec<Large>,
}

/// A value that was too large to be kept.
pub(super) struct Large {
    /// Where in [`Kept::bytes`] it would begin.
    pub at: usize,
    /// In bytes.
    pub length: u64,
    /// Of all of it.
    pub hashed: Hashed,
}

enum State {
    /// So many bytes are to be kept before they mean something.
    Keep {
        left: u64,
        then: Then,
    },
    /// The name of a node; where it begins.
    Name {
        start: usize,
    },
    Hash {
        left: u64,
        length: u64,
        hashing: Hashing,
    },
    /// Padding behind a large value.
    Skip {
        left: u64,
    },
    /// The end has passed; so many bytes followed.
    Ended {
        more: u64,
    },
    Broken,
}

/// What the bytes are that are being kept.
#[derive(Clone, Copy)]
enum Then {
    Token,
    PropertyHeader,
    Nothing,
}

const TOKEN: State = State::Keep { left: 4, then: Then::Token };

/// How many bytes fill up to 4.
fn padding(length: u64) -> u64 {
    length.next_multiple_of(4) - length
}

impl Tokens {
    /// A structure block that is at most that large, in bytes.
    pub fn new(size: u64) -> Self {
        let (kept, open) = (Kept::default(), Vec::new());
        Self { kept, state: TOKEN, size, at: 0, open, nodes: 0, fault: None }
    }

    /// What is wrong with what has passed.
    pub fn fault(&self) -> Option<String> {
        self.fault.clone()
    }

    /// What is wrong if nothing follows. `exact`: the block's size is stated, so that nothing may stand
    /// behind its end.
    pub fn unfinished(&self, exact: bool) -> Option<String> {
        match self.state {
            State::Broken => None,
            State::Ended { more: 0 } => None,
            State::Ended { .. } if !exact => None,
            State::Ended { more } => Some(format!(
                "the structure block of the device tree goes on for {more} bytes behind its end"
            )),
            _ => Some("the structure block of the device tree has no end: the file was damaged".to_owned()),
        }
    }

    /// What was kept.
    pub fn take(&mut self) -> Kept {
        std::mem::take(&mut self.kept)
    }

    /// Takes the next bytes of the block.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let available =
                |left: u64| usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let taken = match &mut self.state {
                State::Broken => return,
                State::Ended { more } => {
                    *more += bytes.len() as u64;
                    return;
                }
                State::Keep { left, .. } => {
                    let taken = available(*left);
                    self.kept.bytes.extend_from_slice(&bytes[..taken]);
                    *left -= taken as u64;
                    taken
                }
                State::Name { start } => {
                    let room = (LONGEST_NAME + 1).saturating_sub(self.kept.bytes.len() - *start);
                    let part = &bytes[..room.min(bytes.len())];
                    let taken = part.iter().position(|byte| *byte == 0).map_or(part.len(), |end| end + 1);
                    self.kept.bytes.extend_from_slice(&part[..taken]);
                    taken
                }
                State::Hash { left, hashing, .. } => {
                    let taken = available(*left);
                    hashing.update(&bytes[..taken]);
                    *left -= taken as u64;
                    taken
                }
                State::Skip { left } => {
                    let taken = available(*left);
                    *left -= taken as u64;
                    taken
                }
            };
            self.at += taken as u64;
            bytes = &bytes[taken..];
            if let Err(fault) = self.advance() {
                self.state = State::Broken;
                self.fault = Some(fault);
            }
        }
    }

    /// Goes on to what comes next, if what was read is complete.
    fn advance(&mut self) -> Result<(), String> {
        if self.kept.bytes.len() > MOST_KEPT {
            return Err(format!(
                "the structure block of the device tree has more than {MOST_KEPT} bytes beside the data of \
                 images: that is over the limit of the inspection"
            ));
        }
        match &mut self.state {
            State::Keep { left: 0, then: Then::Token } => return self.token(),
            State::Keep { left: 0, then: Then::PropertyHeader } => return self.property(),
            State::Keep { left: 0, then: Then::Nothing } | State::Skip { left: 0 } => self.state = TOKEN,
            State::Name { start } => {
                let start = *start;
                return self.name(start);
            }
            State::Hash { left: 0, length, hashing } => {
                let hashing = std::mem::replace(hashing, Hashing::of(&BTreeSet::new()));
                let large = Large { at: self.kept.bytes.len(), length: *length, hashed: hashing.finish() };
                self.state = match padding(*length) {
                    0 => TOKEN,
                    left => State::Skip { left },
                };
                self.kept.large.push(large);
            }
            _ => {}
        }
        Ok(())
    }

    /// The last number that was kept.
    fn number(&self, back: usize) -> u32 {
        let bytes = self.kept.bytes.rchunks_exact(4).nth(back).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    fn token(&mut self) -> Result<(), String> {
        let place = self.at - 4;
        match self.number(0) {
            BEGIN_NODE => {
                self.nodes += 1;
                if self.open.is_empty() && self.nodes > 1 {
                    return Err("the device tree has two roots".to_owned());
                }
                if self.open.len() == DEEPEST {
                    return Err(format!("the nodes of the device tree are nested more than {DEEPEST} deep"));
                }
                if self.nodes > MOST_NODES {
                    return Err(format!("the device tree has more than {MOST_NODES} nodes"));
                }
                self.open.push(false);
                self.state = State::Name { start: self.kept.bytes.len() };
            }
            END_NODE => {
                if self.open.pop().is_none() {
                    return Err(format!(
                        "a node of the device tree ends at {place} of its structure and none is open"
                    ));
                }
                if let Some(parent) = self.open.last_mut() {
                    *parent = true;
                }
                self.state = TOKEN;
            }
            PROPERTY => match self.open.last() {
                None => return Err("a property of the device tree is in no node".to_owned()),
                // Readers stop looking for properties at the first child, so this one would be seen by some
                // only.
                Some(true) => {
                    return Err("a property of the device tree stands behind a child node".to_owned());
                }
                Some(false) => self.state = State::Keep { left: 8, then: Then::PropertyHeader },
            },
            NOTHING => self.state = TOKEN,
            END if self.open.is_empty() && self.nodes > 0 => self.state = State::Ended { more: 0 },
            END => return Err(format!("the device tree ends at {place} of its structure within a node")),
            other => {
                return Err(format!(
                    "the device tree has an unknown token {other:#x} at {place} of its structure"
                ));
            }
        }
        Ok(())
    }

    fn name(&mut self, start: usize) -> Result<(), String> {
        let Some(([.., 0], length)) = self.kept.bytes.get(start..).map(|name| (name, name.len())) else {
            if self.kept.bytes.len() - start > LONGEST_NAME {
                return Err(format!(
                    "a node of the device tree has a name of more than {LONGEST_NAME} characters"
                ));
            }
            return Ok(());
        };
        let name = &self.kept.bytes[start..start + length - 1];
        if (self.open.len() == 1) != name.is_empty()
            || !name.iter().all(u8::is_ascii_graphic)
            || name.contains(&b'/')
        {
            return Err(format!(
                "{:?} is no name for a node of a device tree at depth {}",
                String::from_utf8_lossy(name),
                self.open.len() - 1
            ));
        }
        self.state = match padding(length as u64) {
            0 => TOKEN,
            left => State::Keep { left, then: Then::Nothing },
        };
        Ok(())
    }

    fn property(&mut self) -> Result<(), String> {
        let length = u64::from(self.number(1));
        if length > self.size.saturating_sub(self.at) {
            return Err(format!(
                "a property at {} of the structure of the device tree states {length} bytes, and {} are left",
                self.at - 12,
                self.size.saturating_sub(self.at)
            ));
        }
        self.state = match length {
            0 => TOKEN,
            1..=LARGEST_KEPT => State::Keep { left: length + padding(length), then: Then::Nothing },
            _ if self.kept.large.len() == MOST_HASHED => {
                return Err(format!(
                    "the device tree has more than {MOST_HASHED} values of more than {LARGEST_KEPT} bytes"
                ));
            }
            _ => State::Hash { left: length, length, hashing: Hashing::of(&Hash::ALL.into()) },
        };
        Ok(())
    }
}
