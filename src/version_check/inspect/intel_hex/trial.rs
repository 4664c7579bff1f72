//! What the tests of several formats do with their samples.

use proptest::prelude::*;

use crate::version_check::inspect::{FaultKind, Inspection, Report};

/// A sample that is checked in, by its path below `tests/samples`.
pub(crate) fn sample(path: &str) -> Vec<u8> {
    let path = format!("{}/tests/samples/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Inspects bytes that come in pieces of this size.
pub(crate) fn inspect_in(piece: usize, bytes: &[u8]) -> Report {
    let mut inspection = Inspection::default();
    for piece in bytes.chunks(piece) {
        inspection.update(piece);
        inspection.so_far();
    }
    inspection.finish()
}

/// Inspects bytes that come at once.
pub(crate) fn inspect(bytes: &[u8]) -> Report {
    inspect_in(usize::MAX, bytes)
}

/// Inspects a sample that has no fault, however it is cut.
pub(crate) fn whole(path: &str) -> Report {
    let bytes = sample(path);
    let report = inspect(&bytes);
    assert_eq!(report.faults, [], "{path}");
    for piece in [1, 7, 4096] {
        assert_eq!(inspect_in(piece, &bytes), report, "{path} in pieces of {piece}");
    }
    report
}

/// The kinds of a report's faults, each once, in the order in which they were found.
pub(crate) fn kinds(report: &Report) -> Vec<FaultKind> {
    let mut kinds = Vec::new();
    for fault in &report.faults {
        if !kinds.contains(&fault.kind) {
            kinds.push(fault.kind);
        }
    }
    kinds
}

/// A detail's value.
pub(crate) fn detail<'a>(report: &'a Report, label: &str) -> Option<&'a str> {
    report.facts.details.iter().find(|detail| detail.0 == label).map(|detail| detail.1.as_str())
}

/// Cuts a sample at about a thousand places, the last ones all; each must show, also in other pieces.
pub(crate) fn cuts_show(path: &str, shows: impl Fn(usize, &Report) -> bool) {
    let bytes = sample(path);
    let step = (bytes.len() / 1000).max(1);
    for end in (0..bytes.len()).filter(|end| end % step == 0 || *end < 600 || *end + 600 > bytes.len()) {
        let report = inspect(&bytes[..end]);
        assert!(shows(end, &report), "{path} cut at {end} of {}: {report:?}", bytes.len());
    }
}

/// Flips a bit at about a thousand places, the first and the last all; each must be shown.
pub(crate) fn flips_show(path: &str, shows: impl Fn(usize, &Report) -> bool) {
    let mut bytes = sample(path);
    let length = bytes.len();
    let step = (length / 1000).max(1);
    for at in (0..length).filter(|at| at % step == 0 || *at < 600 || *at + 600 > length) {
        let bit = 1 << (at % 8);
        bytes[at] ^= bit;
        let report = inspect(&bytes);
        assert!(shows(at, &report), "{path} with byte {at} changed: {report:?}");
        bytes[at] ^= bit;
    }
}

/// A sample with some bytes changed, taken out or put in.
pub(crate) fn mutated(path: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let bytes = sample(path);
    let edit = (
        any::<prop::sample::Index>(),
        prop_oneof![Just(0u8), Just(1), Just(0x7f), Just(0xff), any::<u8>()],
        0..8,
    );
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut bytes = bytes.clone();
        for (at, value, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes.insert(at, value),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 if at > 0 => bytes.truncate(at),
                3 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = value),
                _ => bytes[at] = value,
            }
        }
        bytes
    })
}

/// The report is the same in small pieces; in debug builds, arithmetic that overflows panics.
pub(crate) fn survives(bytes: &[u8]) {
    assert_eq!(inspect(bytes), inspect_in(3, bytes));
}
