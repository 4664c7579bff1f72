//! The data of images that lies behind the tree.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    content::{Data, Image},
    digest::{Hash, Hashed, Hashing},
};
use crate::version_check::inspect::{FaultKind, Report};

/// The most zeros behind the last image that only fill up: the largest block that `mkimage -B` is used with.
const LARGEST_BLOCK: u64 = 4096;

/// The digests of each image's data, by the image's name.
pub(super) type Externals = HashMap<String, Hashed>;

/// The data behind the tree on its way.
pub(super) struct External {
    /// Apart from each other, in their order.
    extents: Vec<Extent>,
    next: usize,
    at: u64,
    end: u64,
    /// To how many bytes images are filled up, if data lies behind the tree at all.
    block: Option<u64>,
    only_zeros: bool,
}

struct Extent {
    start: u64,
    length: u64,
    images: Vec<String>,
    hashing: Hashing,
}

impl External {
    /// What lies behind a tree of that many bytes.
    pub fn plan(total: u64, images: &[Image], report: &mut Report) -> Self {
        let base = total.next_multiple_of(4);
        let mut places: BTreeMap<(u64, u64), (Vec<String>, BTreeSet<Hash>)> = BTreeMap::new();
        // The lowest bit that is set in any of the places tells to which blocks all of them are aligned.
        let mut aligned = base;
        for image in images {
            let Data::External { absolute, offset, length } = image.data else { continue };
            let start = if absolute { Some(offset) } else { base.checked_add(offset) };
            let place =
                start.filter(|start| start.checked_add(length).is_some()).filter(|start| *start >= total);
            let Some(start) = place else {
                report.fault(
                    FaultKind::Malformed,
                    format!(
                        "the data of image {} is said to be at {} {offset} with {length} bytes, which is not \
                         behind the tree of {total} bytes",
                        image.name,
                        if absolute { "position" } else { "offset" },
                    ),
                );
                continue;
            };
            aligned |= start;
            let (names, wanted) = places.entry((start, length)).or_default();
            names.push(image.name.clone());
            wanted.extend(image.wanted());
        }
        let block =
            (!places.is_empty()).then(|| (1 << aligned.trailing_zeros().min(63)).clamp(4, LARGEST_BLOCK));
        let mut external =
            Self { extents: Vec::new(), next: 0, at: total, end: total, block, only_zeros: true };
        for ((start, length), (images, wanted)) in places {
            // Data that lies in two images would have to be hashed twice, and an attacker would say so of all
            // of it.
            if start < external.end {
                report.fault(
                    FaultKind::Malformed,
                    format!(
                        "the data of image {} overlaps that of the one before it",
                        images.first().map_or("", String::as_str)
                    ),
                );
                external.end = external.end.max(start + length);
                continue;
            }
            external.end = start + length;
            external.extents.push(Extent { start, length, images, hashing: Hashing::of(&wanted) });
        }
        external
    }

    /// Takes the next bytes behind the tree.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let until = match self.extents.get(self.next) {
                Some(extent) if self.at < extent.start => extent.start,
                Some(extent) if self.at < extent.start + extent.length => extent.start + extent.length,
                Some(_) => {
                    self.next += 1;
                    continue;
                }
                None => u64::MAX,
            };
            let taken = usize::try_from(until - self.at).map_or(bytes.len(), |left| left.min(bytes.len()));
            let part = &bytes[..taken];
            match self.extents.get_mut(self.next) {
                Some(extent) if self.at >= extent.start => extent.hashing.update(part),
                Some(_) => {}
                None => self.only_zeros &= part.iter().all(|byte| *byte == 0),
            }
            self.at = self.at.saturating_add(taken as u64);
            bytes = &bytes[taken..];
        }
    }

    /// Where the last data ends, or the tree.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Up to where zeros only fill up the last block.
    pub fn slack(&self) -> Option<u64> {
        self.block.filter(|_| self.only_zeros).and_then(|block| self.end.checked_next_multiple_of(block))
    }

    /// The digests of all data that has passed completely.
    pub fn finish(self) -> Externals {
        let at = self.at;
        let passed = self.extents.into_iter().filter(|extent| at >= extent.start + extent.length);
        let mut externals = Externals::new();
        for extent in passed {
            let hashed = extent.hashing.finish();
            externals.extend(extent.images.into_iter().map(|image| (image, hashed.clone())));
        }
        externals
    }
}
