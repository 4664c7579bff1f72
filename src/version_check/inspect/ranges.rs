//! Which numbers of a row (addresses, block numbers) a file fills, as a bounded list of ranges without
//! overlap.
//!
//! Shared by the formats that say for each piece where it goes: Intel HEX, S-record, UF2. A file that is
//! written in order needs one range per gap; one that is scattered over more than [`MOST_RANGES`] is given
//! up.

/// The most ranges that are kept apart: 64 kB of memory, and far more gaps than linkers leave.
pub(super) const MOST_RANGES: usize = 4096;

/// Half-open ranges, sorted, neither overlapping nor touching.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<(u64, u64)>);

/// Why a range was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Some of it is filled already, first at this number.
    Overlap(u64),
    /// It would be one range too many.
    TooMany,
}

impl Ranges {
    /// Adds `[start, start + length)`; joins it with what touches it.
    pub fn insert(&mut self, start: u64, length: u64) -> Result<(), Refused> {
        let end = start.saturating_add(length);
        if start == end {
            return Ok(());
        }
        let ranges = &mut self.0;
        let next = ranges.partition_point(|range| range.1 <= start);
        if let Some(range) = ranges.get(next)
            && range.0 < end
        {
            return Err(Refused::Overlap(start.max(range.0)));
        }
        let joins_next = ranges.get(next).is_some_and(|range| range.0 == end);
        let joins_last = next > 0 && ranges[next - 1].1 == start;
        match (joins_last, joins_next) {
            (true, true) => ranges[next - 1].1 = ranges.remove(next).1,
            (true, false) => ranges[next - 1].1 = end,
            (false, true) => ranges[next].0 = start,
            (false, false) if ranges.len() == MOST_RANGES => return Err(Refused::TooMany),
            (false, false) => ranges.insert(next, (start, end)),
        }
        Ok(())
    }

    /// The ranges, in order, each with its end excluded.
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// How many numbers are filled.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// The first number from 0 on that is not filled.
    pub fn first_gap(&self) -> u64 {
        self.0.first().filter(|range| range.0 == 0).map_or(0, |range| range.1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_join_and_overlaps_are_told() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.insert(10, 5), Ok(()));
        assert_eq!(ranges.insert(20, 5), Ok(()));
        assert_eq!(ranges.insert(12, 20), Err(Refused::Overlap(12)));
        assert_eq!(ranges.insert(0, 11), Err(Refused::Overlap(10)));
        assert_eq!(ranges.insert(15, 5), Ok(()));
        assert_eq!(ranges.as_slice(), [(10, 25)]);
        assert_eq!((ranges.total(), ranges.first_gap()), (15, 0));
        assert_eq!(ranges.insert(0, 10), Ok(()));
        assert_eq!(ranges.first_gap(), 25);
        assert_eq!(ranges.insert(u64::MAX - 1, 9), Ok(()), "an end past the last number is cut");
    }

    #[test]
    fn scattered_pieces_have_a_limit() {
        let mut ranges = Ranges::default();
        let refused = (0..1_000_000).find_map(|n| ranges.insert(n * 2, 1).err());
        assert_eq!(refused, Some(Refused::TooMany));
        assert_eq!(ranges.as_slice().len(), MOST_RANGES);
    }

    proptest! {
        #[test]
        fn it_is_a_set(pieces in prop::collection::vec((0u64..60, 0u64..9), 0..40)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (start, length) in pieces {
                let new: BTreeSet<u64> = (start..start + length).collect();
                let overlap = new.iter().find(|n| set.contains(*n)).copied();
                prop_assert_eq!(ranges.insert(start, length).err(), overlap.map(Refused::Overlap));
                if overlap.is_none() {
                    set.extend(new);
                }
            }
            prop_assert_eq!(ranges.total(), set.len() as u64);
            prop_assert!(ranges.as_slice().windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
