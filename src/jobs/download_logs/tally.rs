//! From a log file to counts: the pure part.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    bucket::ObjectKey,
    catalogue::{CountedLog, CountedRequest, DownloadCount},
    cdn::datastream::{Delivery, Line, read_file},
    domain::{FileName, ProductName, Version},
};

/// No response delivers more: what says so is nonsense, and would spoil the sums.
const MOST_BYTES: u64 = 1 << 40;

/// How many requests are counted in one transaction, which must end within seconds. Akamai's files have at most 32,000 lines.
pub(super) const MOST_REQUESTS: usize = 50_000;

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
    pub(super) lines: Lines,
    /// A count for each key and day. The keys read like an image's.
    places: BTreeMap<(String, NaiveDate), usize>,
    /// The lines that say which request they are of, each request once; they name the place.
    requests: Vec<CountedRequest>,
    numbers: HashSet<i64>,
    /// The other lines, with the place: they cannot be told apart, and all count.
    others: Vec<CountedRequest>,
}

impl Tally {
    /// Counts a file. Paths begin with `base`, or are unknown.
    pub(super) fn of(file: &[u8], base: &str) -> Self {
        let mut tally = Self::default();
        read_file(file, |line| tally.line(line, base));
        tally
    }

    fn line(&mut self, line: Line, base: &str) {
        let delivery = match line {
            Line::Delivery(delivery) => delivery,
            Line::Ignored => return self.lines.ignored += 1,
            Line::Broken => return self.lines.broken += 1,
        };
        let Delivery { request, day, path, bytes, complete, from_edge } = delivery;
        let number = request.map(|request| request.number());
        if number.is_some_and(|number| !self.numbers.insert(number)) {
            return self.lines.duplicate += 1;
        }
        let key = path.strip_prefix(base).filter(|key| ObjectKey::parse(key).is_some());
        let Some(key) = key else { return self.lines.unknown += 1 };
        self.lines.counted += 1;
        let next = self.places.len();
        let counted = CountedRequest {
            number: number.unwrap_or_default(),
            count: *self.places.entry((key.to_owned(), day)).or_insert(next),
            completed: complete,
            bytes: if bytes <= MOST_BYTES { bytes } else { 0 },
            from_edge,
        };
        if number.is_some() { &mut self.requests } else { &mut self.others }.push(counted);
    }

    /// The keys that it has.
    pub(super) fn keys(&self) -> Vec<String> {
        let keys: BTreeSet<&String> = self.places.keys().map(|(key, _)| key).collect();
        keys.into_iter().cloned().collect()
    }

    /// Keeps only what is known; the rest becomes lines of unknown paths.
    pub(super) fn keep(&mut self, is_known: impl Fn(&str) -> bool) {
        self.places.retain(|(key, _), _| is_known(key));
        let known: HashSet<usize> = self.places.values().copied().collect();
        for requests in [&mut self.requests, &mut self.others] {
            let before = requests.len();
            requests.retain(|request| known.contains(&request.count));
            let unknown = (before - requests.len()) as u64;
            self.lines.counted -= unknown;
            self.lines.unknown += unknown;
        }
    }

    /// What the log object adds, in parts of at most so many requests; the last one, which may be the only one, ends it.
    pub(super) fn parts(&self, key: &str, modified_at: DateTime<Utc>, most: usize) -> Vec<CountedLog> {
        let mut places = vec![None; self.places.values().max().map_or(0, |place| place + 1)];
        for ((key, day), place) in &self.places {
            places[*place] = nothing(key, *day);
        }
        let mut pieces: Vec<&[CountedRequest]> = self.requests.chunks(most).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        let last = pieces.len() - 1;
        let part = |(index, piece): (usize, &&[CountedRequest])| {
            let ends = index == last;
            let mut part = CountedLog {
                key: key.to_owned(),
                modified_at,
                counts: Vec::new(),
                requests: Vec::with_capacity(piece.len()),
                ends,
            };
            let mut counts = BTreeMap::new();
            let others = if ends { self.others.as_slice() } else { &[] };
            for (request, has_number) in
                piece.iter().map(|request| (request, true)).chain(others.iter().map(|other| (other, false)))
            {
                let Some(nothing) = &places[request.count] else { continue };
                let count = *counts.entry(request.count).or_insert_with(|| {
                    part.counts.push(nothing.clone());
                    part.counts.len() - 1
                });
                part.counts[count].add(*request);
                if has_number {
                    part.requests.push(CountedRequest { count, ..*request });
                }
            }
            part
        };
        pieces.iter().enumerate().map(part).collect()
    }
}

/// A count of nothing; `None` = the key names no image.
fn nothing(key: &str, day: NaiveDate) -> Option<DownloadCount> {
    let mut parts = key.split('/');
    let product = ProductName::parse(parts.next()?).ok()?;
    let version = Version::parse(parts.next()?).ok()?;
    let filename = FileName::parse(parts.next()?).ok()?;
    Some(DownloadCount { product, version, filename, day, completed: 0, partial: 0, bytes: 0, edge_bytes: 0 })
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

    fn count(key: &str, [completed, partial, bytes, edge_bytes]: [u64; 4]) -> DownloadCount {
        let day = NaiveDate::from_ymd_opt(2023, 3, 15).expect("a day");
        DownloadCount { completed, partial, bytes, edge_bytes, ..nothing(key, day).expect("an image's") }
    }

    #[test]
    fn lines_become_sums_and_duplicates_count_once() {
        let complete = ",\"lastByte\":\"1\",\"cacheStatus\":\"1\"";
        let file = [
            line("a", "/p/1.0.0/f", complete),
            line("a", "/p/1.0.0/f", complete),
            line("b", "/p/1.0.0/f", ""),
            line("c", "/q/1.0.0/f", complete),
            // Lines without an id cannot be told apart.
            line("-", "/p/1.0.0/f", ""),
            line("-", "/p/1.0.0/f", ""),
            "nonsense\n".to_owned(),
            line("d", "/p/1.0.0/f", ",\"reqMethod\":\"HEAD\""),
        ]
        .concat();
        let mut tally = Tally::of(file.as_bytes(), "");
        assert_eq!(tally.lines, Lines { counted: 5, unknown: 0, ignored: 1, duplicate: 1, broken: 1 });
        assert_eq!(tally.keys(), ["p/1.0.0/f", "q/1.0.0/f"]);
        tally.keep(|key| key.starts_with("p/"));
        assert_eq!(tally.lines, Lines { counted: 4, unknown: 1, ignored: 1, duplicate: 1, broken: 1 });
        let whole = tally.parts("log", DateTime::UNIX_EPOCH, 10);
        let [CountedLog { counts, requests, ends: true, .. }] = whole.as_slice() else { panic!("{whole:?}") };
        assert_eq!(*counts, [count("p/1.0.0/f", [1, 3, 40, 10])]);
        assert_eq!(requests.len(), 2);
        // What was counted before is taken off.
        let added = whole[0].added([requests[1].number]);
        assert_eq!((added.counts, added.duplicates), (vec![count("p/1.0.0/f", [0, 3, 30, 0])], 1));
    }

    #[test]
    fn parts_add_up_and_only_the_last_has_what_cannot_be_told_apart() {
        let key = |index: u64| format!("p/1.0.{}/f", index % 3);
        let mut file: String =
            (0..10).map(|index| line(&index.to_string(), &format!("/{}", key(index)), "")).collect();
        file += &line("-", "/q/1.0.0/f", "");
        let mut tally = Tally::of(file.as_bytes(), "");
        tally.keep(|key| key != "p/1.0.1/f");
        let parts = tally.parts("log", DateTime::UNIX_EPOCH, 3);
        let shape: Vec<_> = parts.iter().map(|part| (part.requests.len(), part.ends)).collect();
        assert_eq!(shape, [(3, false), (3, false), (1, true)]);
        let mut sums = BTreeMap::new();
        for part in &parts {
            assert_eq!(part.added([]).counts.len(), usize::from(part.ends), "{part:?}");
            for count in part.added(part.requests.iter().map(|request| request.number)).counts {
                *sums.entry((count.product.to_string(), count.version.to_string())).or_insert(0) +=
                    count.partial;
            }
        }
        let sum = |product: &str, version: &str| sums.get(&(product.to_owned(), version.to_owned())).copied();
        assert_eq!((sum("p", "1.0.0"), sum("p", "1.0.1"), sum("p", "1.0.2")), (Some(4), None, Some(3)));
        assert_eq!(sum("q", "1.0.0"), Some(1));
        let nothing = Tally::of(b"", "").parts("log", DateTime::UNIX_EPOCH, 3);
        assert!(matches!(nothing.as_slice(), [CountedLog { ends: true, .. }]));
    }

    #[test]
    fn a_base_path_is_taken_off_and_nonsense_does_not_spoil_the_sums() {
        let huge = line("b", "/fw/p/1.0.0/f", "").replace("\"10\"", "\"18446744073709551615\"");
        let file = [line("a", "/fw/p/1.0.0/f", ""), huge, line("c", "/p/1.0.0/f", "")].concat();
        let tally = Tally::of(file.as_bytes(), "fw/");
        assert_eq!((tally.lines.counted, tally.lines.unknown), (2, 1));
        let parts = tally.parts("log", DateTime::UNIX_EPOCH, MOST_REQUESTS);
        assert_eq!(parts[0].counts, [count("p/1.0.0/f", [0, 2, 10, 0])]);
    }
}
