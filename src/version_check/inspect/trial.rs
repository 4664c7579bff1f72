//! What the tests of all formats do with their samples: inspect them, however they are cut; cut, flip and mutate
//! them. All goes through [`Inspection`], so that recognition and the DFU suffix are tested as well.

use proptest::prelude::*;

use super::{FaultKind, Inspection, NameKind, Report};

/// A sample that is checked in, by its path below `tests/samples`.
pub(super) fn sample(path: &str) -> Vec<u8> {
    let path = format!("{}/tests/samples/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of all samples of a folder that end so, without that end.
pub(super) fn samples(folder: &str, end: &str) -> Vec<String> {
    let path = format!("{}/tests/samples/{folder}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let names = files.map(|file| file.expect("readable").file_name().into_string().expect("ASCII"));
    let mut names: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(end)?.to_owned())).collect();
    names.sort();
    names
}

/// Inspects bytes that come in pieces of this size.
pub(super) fn inspect_in(piece: usize, bytes: &[u8]) -> Report {
    let mut inspection = Inspection::default();
    for piece in bytes.chunks(piece) {
        inspection.update(piece);
        inspection.so_far();
    }
    inspection.finish()
}

/// Inspects bytes that come at once.
pub(super) fn inspect(bytes: &[u8]) -> Report {
    inspect_in(usize::MAX, bytes)
}

/// Inspects bytes, and makes sure that the report is the same however they are cut.
pub(super) fn inspect_cut(what: &str, bytes: &[u8]) -> Report {
    let report = inspect(bytes);
    for piece in [1, 7, 4096] {
        assert_eq!(inspect_in(piece, bytes), report, "{what} in pieces of {piece}");
    }
    report
}

/// Inspects a sample that has no fault, however it is cut.
pub(super) fn whole(path: &str) -> Report {
    let report = inspect_cut(path, &sample(path));
    assert_eq!(report.faults, [], "{path}");
    report
}

/// The kinds of a report's faults, in the order in which they were found.
pub(super) fn kinds(report: &Report) -> Vec<FaultKind> {
    report.faults.iter().map(|fault| fault.kind).collect()
}

/// A detail's value.
pub(super) fn detail<'a>(report: &'a Report, label: &str) -> Option<&'a str> {
    report.facts.details.iter().find(|detail| detail.0 == label).map(|detail| detail.1.as_str())
}

/// All names, in the order of their kinds.
pub(super) fn names(report: &Report) -> Vec<(NameKind, &str)> {
    report.facts.names.iter().map(|(kind, name)| (*kind, name.as_str())).collect()
}

/// The names of one kind.
pub(super) fn names_of(report: &Report, wanted: NameKind) -> Vec<&str> {
    names(report).into_iter().filter(|(kind, _)| *kind == wanted).map(|(_, name)| name).collect()
}

/// Cuts a sample at about a thousand places, the first and the last all; each must show.
pub(super) fn cuts_show(path: &str, shows: impl Fn(usize, &Report) -> bool) {
    let bytes = sample(path);
    for end in places(bytes.len()) {
        let report = inspect(&bytes[..end]);
        assert!(shows(end, &report), "{path} cut at {end} of {}: {report:?}", bytes.len());
    }
}

/// Flips a bit at about a thousand places, the first and the last all; each must be shown.
pub(super) fn flips_show(path: &str, shows: impl Fn(usize, &Report) -> bool) {
    let mut bytes = sample(path);
    for at in places(bytes.len()) {
        let bit = 1 << (at % 8);
        bytes[at] ^= bit;
        let report = inspect(&bytes);
        assert!(shows(at, &report), "{path} with byte {at} changed: {report:?}");
        bytes[at] ^= bit;
    }
}

fn places(length: usize) -> impl Iterator<Item = usize> {
    let step = (length / 1000).max(1);
    (0..length).filter(move |at| at % step == 0 || *at < 600 || *at + 600 > length)
}

/// One of these samples with some bytes changed, taken out or put in: a third of them where most formats have
/// their headers, a third where they have their ends.
pub(super) fn mutated(folder: &str, names: &[&str]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let samples: Vec<_> = names.iter().map(|name| sample(&format!("{folder}/{name}"))).collect();
    let edit = (
        (0..3, any::<prop::sample::Index>()),
        prop_oneof![Just(0u8), Just(1), Just(0x7f), Just(0xff), any::<u8>()],
        0..8,
    );
    let edits = prop::collection::vec(edit, 1..8);
    (any::<prop::sample::Index>(), edits).prop_map(move |(which, edits)| {
        let mut bytes = which.get(&samples).clone();
        for ((part, at), value, how) in edits {
            let length = bytes.len();
            let at = match part {
                0 => at.index(length.min(1500)),
                1 => length - 1 - at.index(length.min(1500)),
                _ => at.index(length),
            };
            match how {
                0 => bytes.insert(at, value),
                1 if length > 1 => drop(bytes.remove(at)),
                2 if at > 0 => bytes.truncate(at),
                3 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = value),
                _ => bytes[at] = value,
            }
        }
        bytes
    })
}

/// The report is the same in small pieces; in debug builds, arithmetic that overflows panics.
pub(super) fn survives(bytes: &[u8]) {
    assert_eq!(inspect(bytes), inspect_in(3, bytes));
}

#[test]
fn what_fuzzing_found_is_mended() {
    for name in samples("regressions", "") {
        inspect_cut(&name, &sample(&format!("regressions/{name}")));
    }
}
