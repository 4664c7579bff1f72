//! From a log file to counts: the pure part.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use chrono::NaiveDate;

use crate::{
    bucket::ObjectKey,
    cdn::datastream::{Line, RequestId, read_file},
};

/// How many requests are remembered at least, and half of how many at most.
const REMEMBERED: usize = 500_000;

/// No response delivers more: what says so is nonsense, and would spoil the sums.
const MOST_BYTES: u64 = 1 << 40;

/// The requests that were counted last, so that a line that is delivered twice counts once. Bounded: when so many are
/// remembered, the older half is forgotten. A request is kept as its hash: among a million, one in 10^13 is taken for another.
#[derive(Debug, Default)]
pub(super) struct Recent {
    newer: HashSet<u64>,
    older: HashSet<u64>,
}

impl Recent {
    pub(super) fn contains(&self, request: u64) -> bool {
        self.newer.contains(&request) || self.older.contains(&request)
    }

    /// Remembers it; `false` = it was there.
    pub(super) fn insert(&mut self, request: u64) -> bool {
        if self.contains(request) {
            return false;
        }
        if self.newer.len() == REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(request)
    }

    pub(super) fn extend(&mut self, other: &Self) {
        for request in other.older.iter().chain(&other.newer) {
            self.insert(*request);
        }
    }
}

fn hashed(request: &RequestId) -> u64 {
    let mut hasher = DefaultHasher::new();
    request.hash(&mut hasher);
    hasher.finish()
}

/// What was delivered of one key on one day.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) completed: u64,
    pub(super) partial: u64,
    pub(super) bytes: u64,
    pub(super) edge_bytes: u64,
}

/// How many lines of a file, or of several, were what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lines {
    /// They delivered bytes of an image.
    pub(super) counted: u64,
    /// They delivered bytes of something else.
    pub(super) unknown: u64,
    /// They delivered nothing.
    pub(super) ignored: u64,
    /// They were there before.
    pub(super) duplicate: u64,
    /// They could not be read.
    pub(super) broken: u64,
}

impl Lines {
    pub(super) fn add(&mut self, other: Self) {
        self.counted += other.counted;
        self.unknown += other.unknown;
        self.ignored += other.ignored;
        self.duplicate += other.duplicate;
        self.broken += other.broken;
    }
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By key and day. The keys read like an image's.
    pub(super) sums: BTreeMap<(String, NaiveDate), Sums>,
    pub(super) lines: Lines,
    /// The requests that it counts.
    pub(super) requests: Recent,
}

impl Tally {
    /// Counts a file. What `before` has counted is a duplicate. Paths begin with `base`, or are unknown.
    pub(super) fn of(file: &[u8], base: &str, before: &Recent) -> Self {
        let mut tally = Self::default();
        read_file(file, |line| tally.line(line, base, before));
        tally
    }

    fn line(&mut self, line: Line, base: &str, before: &Recent) {
        let delivery = match line {
            Line::Delivery(delivery) => delivery,
            Line::Ignored => return self.lines.ignored += 1,
            Line::Broken => return self.lines.broken += 1,
        };
        if let Some(request) = delivery.request.as_ref().map(hashed)
            && (before.contains(request) || !self.requests.insert(request))
        {
            return self.lines.duplicate += 1;
        }
        let key = delivery.path.strip_prefix(base).filter(|key| ObjectKey::parse(key).is_some());
        let Some(key) = key else { return self.lines.unknown += 1 };
        self.lines.counted += 1;
        let sums = self.sums.entry((key.to_owned(), delivery.day)).or_default();
        let bytes = if delivery.bytes <= MOST_BYTES { delivery.bytes } else { 0 };
        sums.bytes += bytes;
        sums.edge_bytes += if delivery.from_edge { bytes } else { 0 };
        if delivery.complete {
            sums.completed += 1;
        } else {
            sums.partial += 1;
        }
    }

    /// Keeps only what is known; the rest becomes lines of unknown paths.
    pub(super) fn keep(&mut self, is_known: impl Fn(&str) -> bool) {
        let lines = &mut self.lines;
        self.sums.retain(|(key, _), sums| {
            let known = is_known(key);
            if !known {
                let unknown = sums.completed + sums.partial;
                lines.counted -= unknown;
                lines.unknown += unknown;
            }
            known
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: &str, path: &str, more: &str) -> String {
        format!(
            "{{\"reqId\":\"{request}\",\"reqTimeSec\":\"1678859500.171\",\"reqPath\":\"{path}\",\"statusCode\":\"200\",\
             \"bytes\":\"10\"{more}}}\n"
        )
    }

    fn day() -> NaiveDate {
        NaiveDate::from_ymd_opt(2023, 3, 15).expect("a day")
    }

    #[test]
    fn lines_become_sums_and_duplicates_count_once() {
        let complete = ",\"lastByte\":\"1\",\"cacheStatus\":\"1\"";
        let file = [
            line("a", "/p/1.0.0/f", complete),
            line("a", "/p/1.0.0/f", complete),
            line("b", "/p/1.0.0/f", ""),
            line("c", "/q/1.0.0/f", complete),
            line("-", "/p/1.0.0/f", ""),
            line("-", "/p/1.0.0/f", ""),
            "nonsense\n".to_owned(),
            line("d", "/p/1.0.0/f", ",\"reqMethod\":\"HEAD\""),
        ]
        .concat();
        let mut recent = Recent::default();
        let mut tally = Tally::of(file.as_bytes(), "", &recent);
        assert_eq!(tally.lines, Lines { counted: 5, unknown: 0, ignored: 1, duplicate: 1, broken: 1 });
        tally.keep(|key| key.starts_with("p/"));
        assert_eq!(tally.lines, Lines { counted: 4, unknown: 1, ignored: 1, duplicate: 1, broken: 1 });
        let sums = Sums { completed: 1, partial: 3, bytes: 40, edge_bytes: 10 };
        assert_eq!(tally.sums, BTreeMap::from([(("p/1.0.0/f".to_owned(), day()), sums)]));
        // The next file repeats what this one had; lines without an id cannot be told apart.
        recent.extend(&tally.requests);
        let next = Tally::of(file.as_bytes(), "", &recent);
        assert_eq!(next.lines, Lines { counted: 2, unknown: 0, ignored: 1, duplicate: 4, broken: 1 });
    }

    #[test]
    fn a_base_path_is_taken_off_and_nonsense_does_not_spoil_the_sums() {
        let huge = line("b", "/fw/p/1.0.0/f", "").replace("\"10\"", "\"18446744073709551615\"");
        let file = [line("a", "/fw/p/1.0.0/f", ""), huge, line("c", "/p/1.0.0/f", "")].concat();
        let tally = Tally::of(file.as_bytes(), "fw/", &Recent::default());
        assert_eq!((tally.lines.counted, tally.lines.unknown), (2, 1));
        assert_eq!(tally.sums[&("p/1.0.0/f".to_owned(), day())].bytes, 10);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_are_kept() {
        let mut recent = Recent::default();
        for request in 0..1_700_000 {
            assert!(recent.insert(request));
        }
        assert!(recent.newer.len() + recent.older.len() <= 2 * REMEMBERED);
        assert!(!recent.insert(1_699_999) && !recent.insert(1_200_000));
        assert!(!recent.contains(0));
    }
}
