//! U-Boot FIT (flattened image tree), and the plain flattened device tree that it is built on.
//!
//! # Layout
//! A FIT is a device tree blob (Devicetree Specification, chapter 5; all numbers big-endian) whose nodes
//! `/images` and `/configurations` describe its content (U-Boot, `doc/usage/fit/source_file_format.rst`): a
//! header, the structure block (nodes and properties as tokens), and the strings block with the properties'
//! names. The data of an image is a property `data`, or (`mkimage -E`, `-p`) lies behind the tree, where
//! `data-offset` (counted from the end of the tree, rounded up to 4 bytes) or `data-position` (from the
//! beginning) and `data-size` say. Nodes `hash*` in an image hold `algo` and `value`; nodes `signature*` in
//! an image or a configuration a signature.
//!
//! # How it is read in one pass
//! The names of properties and the hash nodes come only after the data. So the structure block is read as
//! tokens ([`tokens`]): all of it is kept but values above [`tokens::LARGEST_KEPT`] bytes, of which every
//! digest that a hash node could name is computed while they pass. At the end of the tree what was kept is
//! read with its names ([`tree`]), and stated ([`content`]). Data behind the tree is then hashed as its hash
//! nodes ask ([`external`]). A tree without `/images` is stated as `dtb`.
//!
//! # What is stated
//! - The version: a text in the property `version`, `firmware-version` or `image-version` of the root or the
//!   default configuration; without one, the only word of the root's `description` that is a SemVer. It is
//!   read as SemVer as it stands.
//! - The security counter: the number in `rollback-index` or `version` of the configurations, the lowest of
//!   them.
//! - Compatible names: those of the root and of the configurations. The architectures of the images are
//!   chips, the root's `model` is hardware.
//! - Signed: when each configuration is, or each image. Only then, and if each has a signature that can be
//!   verified, are signatures yielded, since one that is signed proves nothing of the others: those of each are a
//!   group.
//!
//! # What is verified
//! Every hash node whose algorithm is crc32, md5, sha1, sha256, sha384 or sha512 (another is stated); that
//! blocks, data and file fit together; that configurations refer to what there is. Of a signature over a
//! configuration, the digest of what it signs is computed as U-Boot does ([`signature`]).
//!
//! # Limits
//! Those of [`tokens`], and [`MOST_STRINGS`]. Not done: the images are not unpacked, a configuration's
//! compatible names are not taken from its device tree image, encrypted images are not decrypted, signatures
//! with SHA-1 or RSASSA-PSS are only stated. No crate reads a device tree from a stream; those that there are
//! want all of it in memory, data of images included.

mod content;
mod digest;
mod external;
mod signature;
mod tokens;
mod tree;

use std::ops::Range;

use self::{content::Content, external::External, tokens::Tokens, tree::Blob};
use super::{Facts, FaultKind, Inspector, Report};

const MAGIC: [u8; 4] = 0xd00d_feed_u32.to_be_bytes();
/// The versions of the device tree format that are read: 16 has no size of the structure block. Anything
/// older has not been made for twenty years.
const VERSIONS: Range<u32> = 16..18;
/// The largest strings block, in bytes. Each name of a property is there once; the Linux kernel has some
/// thousands.
const MOST_STRINGS: u64 = 256 * 1024;

struct Fit {
    /// How many bytes have passed.
    at: u64,
    layout: Result<Layout, (FaultKind, String)>,
    tokens: Tokens,
    strings: Vec<u8>,
    /// What the tree says, once it has passed.
    content: Option<(Content, External)>,
}

/// Where the blocks are in the file.
struct Layout {
    total: u64,
    structure: Range<u64>,
    /// Whether the header states where the structure block ends.
    exact: bool,
    strings: Range<u64>,
}

/// Knows a device tree by its magic.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    if !head.starts_with(&MAGIC) {
        return None;
    }
    let layout = Layout::read(head);
    let size = layout.as_ref().map_or(0, |layout| layout.structure.end - layout.structure.start);
    Some(Box::new(Fit { at: 0, layout, tokens: Tokens::new(size), strings: Vec::new(), content: None }))
}

impl Layout {
    fn read(head: &[u8]) -> Result<Self, (FaultKind, String)> {
        let field = |number: usize| {
            let bytes = head.get(4 * number..).and_then(|rest| rest.first_chunk());
            bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(|| {
                let message =
                    format!("the file has {} bytes and ends within the header of a device tree", head.len());
                (FaultKind::Truncated, message)
            })
        };
        let malformed = |message: String| Err((FaultKind::Malformed, message));
        let (version, compatible) = (field(5)?, field(6)?);
        if version < VERSIONS.start || compatible >= VERSIONS.end || compatible > version {
            return malformed(format!(
                "the device tree has format version {version} (compatible with {compatible}), and only 16 \
                 and 17 are read: make it with a current dtc or mkimage"
            ));
        }
        let exact = version > VERSIONS.start;
        let header: u64 = if exact { 40 } else { 36 };
        let total = u64::from(field(1)?);
        let (start, strings, reserved) = (u64::from(field(2)?), u64::from(field(3)?), u64::from(field(4)?));
        let strings = strings..strings + u64::from(field(8)?);
        let end = match exact {
            true => start + u64::from(field(9)?),
            // It ends before what comes next.
            false if strings.start > start => strings.start,
            false => total,
        };
        let structure = start..end;
        let inside = |block: &Range<u64>| (header..=total).contains(&block.start) && block.end <= total;
        let apart = structure.end <= strings.start || strings.end <= structure.start;
        if !inside(&structure) || !inside(&strings) || !apart || reserved > total || start % 4 != 0 {
            return malformed(format!(
                "the header of the device tree contradicts itself: of {total} bytes, the structure block is \
                 said to be at {} to {}, the strings at {} to {}, the reserved memory at {reserved}",
                structure.start, structure.end, strings.start, strings.end
            ));
        }
        if strings.end - strings.start > MOST_STRINGS {
            return malformed(format!(
                "the strings block of the device tree has {} bytes, and at most {MOST_STRINGS} are read",
                strings.end - strings.start
            ));
        }
        Ok(Self { total, structure, exact, strings })
    }
}

impl Inspector for Fit {
    fn update(&mut self, bytes: &[u8]) {
        let from = self.at;
        self.at = self.at.saturating_add(bytes.len() as u64);
        let Ok(layout) = &self.layout else { return };
        let position = |offset: u64| {
            usize::try_from(offset.saturating_sub(from)).map_or(bytes.len(), |at| at.min(bytes.len()))
        };
        let part = |block: &Range<u64>| &bytes[position(block.start)..position(block.end)];
        self.tokens.update(part(&layout.structure));
        self.strings.extend_from_slice(part(&layout.strings));
        let behind = &bytes[position(layout.total)..];
        if self.at >= layout.total {
            let (_, external) =
                self.content.get_or_insert_with(|| read_tree(layout, &mut self.tokens, &mut self.strings));
            external.update(behind);
        }
    }

    fn so_far(&self) -> Option<&Facts> {
        self.content.as_ref().map(|(content, _)| &content.report.facts)
    }

    fn finish(self: Box<Self>) -> Report {
        let Self { at, layout, mut tokens, mut strings, content } = *self;
        let layout = match layout {
            Ok(layout) => layout,
            Err((kind, message)) => {
                let mut report = Report { facts: Facts::of("fit"), ..Report::default() };
                report.fault(kind, message);
                return report;
            }
        };
        let (content, external) = match content {
            Some(read) => read,
            // Only free space behind the blocks is missing.
            None if at >= layout.structure.end.max(layout.strings.end) => {
                read_tree(&layout, &mut tokens, &mut strings)
            }
            None => {
                let mut report = Report { facts: Facts::of("fit"), ..Report::default() };
                report.fault(FaultKind::Truncated, truncated(layout.total, at));
                if let Some(fault) = tokens.fault() {
                    report.fault(FaultKind::Malformed, fault);
                }
                return report;
            }
        };
        let end = external.end();
        let slack = external.slack();
        let mut report = content.finish(&external.finish());
        if at < end {
            report.fault(FaultKind::Truncated, truncated(end, at));
        } else if at > end && slack.is_none_or(|last| at > last) {
            report.fault(
                FaultKind::Padded,
                format!(
                    "the tree and its data end at byte {end}, and {} bytes follow that no hash covers: cut \
                     them off, or expect another format for this product",
                    at - end
                ),
            );
        }
        report
    }
}

fn truncated(end: u64, at: u64) -> String {
    format!(
        "the device tree states {end} bytes with its data, the file has {at}: it was cut off; send all of it"
    )
}

fn read_tree(layout: &Layout, tokens: &mut Tokens, strings: &mut Vec<u8>) -> (Content, External) {
    let fault = tokens.fault().or_else(|| tokens.unfinished(layout.exact));
    let blob = Blob { tokens: tokens.take(), strings: std::mem::take(strings) };
    let mut content = Content::read(&blob, fault);
    let external = External::plan(layout.total, &content.images, &mut content.report);
    (content, external)
}

#[cfg(test)]
mod tests;
