//! What the channels of one product offer, chosen and laid out for checks: one block of memory.
//!
//! A check is answered from here. With thousands of products, what an answer costs is the memory that it touches:
//! every separate block is a cache miss, and often one of the address translation too. So names, tables, versions and
//! the rendered part of the answers of one product lie in one block, in the order in which a check reads them, and the
//! numbers of versions are compared without parsing.
//!
//! # Layout (little-endian; `at` = offset of 4 bytes from the block's start)
//! ```text
//! block    = channels at, replacements at, delivery (4), secrets at, images at, name
//! channels = table: channel -> rhythm, steps by hardware
//! rhythm   = poll interval (4; seconds, UNSET = the server's), cache lifetime (4; the same)
//! steps by hardware = at of the steps for hardware that no image names (0 = none), table: hardware -> steps
//! steps    = count (4), { floor (1), version, upgrade-from?, offer at }
//! version  = major (8), minor (8), patch (8), pre-release (text)
//! replacements = table: recalled version -> offer by hardware, as steps by hardware, of one step each
//! table    = count (4), { name at, value at } in the order of the names
//! delivery = bits: see `delivery.rs`
//! secrets  = length (4), bytes: what devices are known by, of private products
//! images   = count (4), { id (8 letters), key at, state (4) } in the order of the ids: those that short links may name
//! text     = length (4), bytes
//! offer    = size (8), microseconds since 1970 (8), sha256, sha1, md5, and the texts: tag, key, members, version,
//!            filename, hardware, notes, id in short links (empty = it has none)
//! ```
//! `packing.rs` writes it. It is also the form on disk (`jobs::keeper`), whose checksum vouches for it: whoever changes the
//! layout gives that format a new number. A further field of the product goes before its name, at an offset of its own
//! (`CHANNELS_AT` and so on), and makes the name begin later (`NAME_AT`).
//!
//! Invariants: only promoted images of releases that are not recalled are in it (replacements need no promotion), and
//! of each ladder the steps that a device can be offered ([`super::ladder`]).

use std::{fmt, sync::Arc};

use super::{
    CacheLifetime, PollInterval, Rhythm, Version,
    ladder::{self, Step},
};

mod delivery;
mod offer;
mod packing;

pub use delivery::ShortImage;

#[cfg(test)]
mod tests;

/// What the channels of one product offer.
#[derive(Clone, PartialEq, Eq)]
pub struct ProductOffers(Arc<[u8]>);

/// What one channel offers.
#[derive(Clone, Copy)]
pub struct ChannelOffers<'a> {
    block: Block<'a>,
    at: usize,
}

/// What one channel, or the replacement of one recalled version, has for each hardware.
#[derive(Clone, Copy)]
struct ByHardware<'a> {
    block: Block<'a>,
    at: usize,
}

/// One image of one release, as an answer to checks.
#[derive(Clone, Copy)]
pub struct Offer<'a> {
    block: Block<'a>,
    at: usize,
}

/// The block, read at offsets. What is read was written by `packing.rs`; an offset beyond the end is a defect.
#[derive(Clone, Copy)]
struct Block<'a>(&'a [u8]);

/// A step of a ladder.
#[derive(Clone, Copy)]
struct PackedStep<'a> {
    block: Block<'a>,
    floor: bool,
    version_at: usize,
    upgrade_from_at: Option<usize>,
    offer_at: usize,
}

const LONG: usize = 8;
const SHORT: usize = 4;
/// Where a block's fields are.
const CHANNELS_AT: usize = 0;
const REPLACEMENTS_AT: usize = CHANNELS_AT + SHORT;
const DELIVERY_AT: usize = REPLACEMENTS_AT + SHORT;
const SECRETS_AT: usize = DELIVERY_AT + SHORT;
const IMAGES_AT: usize = SECRETS_AT + SHORT;
const NAME_AT: usize = IMAGES_AT + SHORT;
/// A time of a rhythm that is not set.
const UNSET: u32 = u32::MAX;
/// How long a rhythm is.
const RHYTHM: usize = 2 * SHORT;

impl<'a> Block<'a> {
    fn bytes(self, at: usize, length: usize) -> &'a [u8] {
        &self.0[at..at + length]
    }

    fn seconds(self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at, SHORT).try_into().expect("the length that was asked for"))
    }

    fn short(self, at: usize) -> usize {
        self.seconds(at) as usize
    }

    fn long(self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at, LONG).try_into().expect("the length that was asked for"))
    }

    fn raw_text(self, at: usize) -> &'a [u8] {
        self.bytes(at + SHORT, self.short(at))
    }

    fn text(self, at: usize) -> &'a str {
        std::str::from_utf8(self.raw_text(at)).expect("texts are packed from texts")
    }

    fn after_text(self, at: usize) -> usize {
        at + SHORT + self.short(at)
    }

    fn version(self, at: usize) -> (u64, u64, u64, &'a str) {
        let number = |index| self.long(at + index * LONG);
        (number(0), number(1), number(2), self.text(at + 3 * LONG))
    }

    fn after_version(self, at: usize) -> usize {
        self.after_text(at + 3 * LONG)
    }

    /// A table's names with where their values are, in order.
    fn table(self, at: usize) -> impl ExactSizeIterator<Item = (&'a str, usize)> {
        (0..self.short(at)).map(move |index| {
            let entry = at + SHORT + index * 2 * SHORT;
            (self.text(self.short(entry)), self.short(entry + SHORT))
        })
    }

    /// Where the value of a name in a table is.
    fn find(self, table_at: usize, name: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.short(table_at));
        while low < high {
            let middle = low.midpoint(high);
            let entry = table_at + SHORT + middle * 2 * SHORT;
            match self.raw_text(self.short(entry)).cmp(name.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(self.short(entry + SHORT)),
            }
        }
        None
    }

    /// The step at an offset, and where the next one begins.
    fn step(self, at: usize) -> (PackedStep<'a>, usize) {
        let flags = self.0[at];
        let version_at = at + 1;
        let mut next = self.after_version(version_at);
        let upgrade_from_at = (flags & packing::HAS_UPGRADE_FROM != 0).then_some(next);
        if upgrade_from_at.is_some() {
            next = self.after_version(next);
        }
        let step = PackedStep {
            block: self,
            floor: flags & packing::IS_FLOOR != 0,
            version_at,
            upgrade_from_at,
            offer_at: self.short(next),
        };
        (step, next + SHORT)
    }

    fn steps(self, at: usize) -> impl Iterator<Item = PackedStep<'a>> {
        let mut next = at + SHORT;
        (0..self.short(at)).map(move |_| {
            let (step, after) = self.step(next);
            next = after;
            step
        })
    }
}

impl Step for PackedStep<'_> {
    fn is_above(&self, running: &Version) -> bool {
        running.precedence_of(self.block.version(self.version_at)).is_gt()
    }

    fn floor(&self) -> bool {
        self.floor
    }

    fn takes(&self, running: &Version) -> bool {
        self.upgrade_from_at.is_none_or(|at| running.precedence_of(self.block.version(at)).is_le())
    }
}

impl ProductOffers {
    fn block(&self) -> Block<'_> {
        Block(&self.0)
    }

    /// The product's name.
    pub fn name(&self) -> &str {
        self.block().text(NAME_AT)
    }

    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        self.block().raw_text(NAME_AT) == name
    }

    /// The channel's offers; `None` = no such channel.
    pub fn channel(&self, name: &str) -> Option<ChannelOffers<'_>> {
        let block = self.block();
        Some(ChannelOffers { block, at: block.find(block.short(CHANNELS_AT), name)? })
    }

    /// What a device is to go to instead of a recalled version that it runs; `None` = nothing was named.
    pub fn replacement(&self, running: &Version, hardware: Option<&str>) -> Option<Offer<'_>> {
        let block = self.block();
        let table_at = block.short(REPLACEMENTS_AT);
        // Nearly always.
        if block.short(table_at) == 0 {
            return None;
        }
        let offers = ByHardware { block, at: block.find(table_at, &running.to_string())? };
        offers.highest(offers.steps_at(hardware)?)
    }

    /// The block, to be kept elsewhere.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A block that [`Self::as_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl<'a> ByHardware<'a> {
    fn steps_at(&self, hardware: Option<&str>) -> Option<usize> {
        let named = hardware.and_then(|hardware| self.block.find(self.at + SHORT, hardware));
        named.or_else(|| Some(self.block.short(self.at)).filter(|at| *at != 0))
    }

    fn highest(&self, steps_at: usize) -> Option<Offer<'a>> {
        self.block.steps(steps_at).last().map(|step| Offer { block: self.block, at: step.offer_at })
    }
}

impl<'a> ChannelOffers<'a> {
    fn by_hardware(&self) -> ByHardware<'a> {
        ByHardware { block: self.block, at: self.at + RHYTHM }
    }

    /// When its devices should ask again, as product and channel set it.
    pub fn rhythm(&self) -> Rhythm {
        // What is not set is out of bounds.
        Rhythm {
            poll_interval: PollInterval::new(self.block.seconds(self.at)),
            cache_lifetime: CacheLifetime::new(self.block.seconds(self.at + SHORT)),
        }
    }

    /// What a device of that hardware which runs that version is offered; `Ok(None)` = nothing newer, `Err` = the
    /// channel has nothing for its hardware at all.
    pub(super) fn offer(
        &self,
        hardware: Option<&str>,
        running: &Version,
    ) -> Result<Option<Offer<'a>>, Nothing> {
        let at = self.by_hardware().steps_at(hardware).ok_or(Nothing)?;
        let chosen = if self.block.short(at) == 1 {
            let (step, _) = self.block.step(at + SHORT);
            ladder::choose(&[step], running).map(|_| step)
        } else {
            let steps: Vec<_> = self.block.steps(at).collect();
            ladder::choose(&steps, running).map(|index| steps[index])
        };
        Ok(chosen.map(|step| Offer { block: self.block, at: step.offer_at }))
    }

    /// The highest offer of each hardware that an image names, in order, after that for all others (`None`).
    pub fn all(&self) -> Vec<(Option<&'a str>, Offer<'a>)> {
        let offers = self.by_hardware();
        let any = Some(self.block.short(offers.at)).filter(|at| *at != 0).map(|at| (None, at));
        let named = self.block.table(offers.at + SHORT).map(|(hardware, at)| (Some(hardware), at));
        any.into_iter()
            .chain(named)
            .filter_map(|(hardware, at)| Some((hardware, offers.highest(at)?)))
            .collect()
    }
}

/// A channel has nothing for a hardware.
pub(super) struct Nothing;

impl fmt::Debug for ProductOffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProductOffers({}, {} bytes)", self.name(), self.0.len())
    }
}
