use proptest::prelude::*;

use super::super::trial::{cuts_show, detail, flips_show, inspect, kinds, mutated, sample, survives, whole};
use super::super::{FaultKind, Inspection};

const ALL: [&str; 14] = [
    "named.gz",
    "nameless.gz",
    "two-members.gz",
    "all-fields.gz",
    "default.xz",
    "blocks.xz",
    "arm.xz",
    "two-streams.xz",
    "sized.zst",
    "streamed.zst",
    "frames.zst",
    "default.bz2",
    "default.lz4",
    "checked.lz4",
];

#[test]
fn gzip_states_name_time_and_size() {
    let report = whole("compressed/named.gz");
    assert_eq!(report.facts.format, "gzip");
    assert_eq!(detail(&report, "name"), Some("firmware.bin"));
    assert_eq!(report.facts.built_at.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!(report.facts.installed_size, Some(9000));
    assert!(report.facts.payloads[0].digest.as_ref().is_some_and(|digest| digest.starts_with("crc32:")));

    let report = whole("compressed/nameless.gz");
    assert_eq!((detail(&report, "name"), &report.facts.built_at), (None, &None));
    let report = whole("compressed/two-members.gz");
    assert_eq!((detail(&report, "members"), report.facts.installed_size), (Some("2"), Some(18000)));
    let report = whole("compressed/all-fields.gz");
    assert_eq!((detail(&report, "name"), detail(&report, "comment")), (Some("firmware.bin"), Some("v1.3.0")));
}

#[test]
fn xz_states_what_xz_lists() {
    let report = whole("compressed/default.xz");
    assert_eq!(report.facts.format, "xz");
    assert_eq!(detail(&report, "check"), Some("CRC64, not computed again"));
    assert_eq!((detail(&report, "blocks"), detail(&report, "dictionary")), (Some("1"), Some("8388608")));
    assert_eq!(report.facts.installed_size, Some(9000));
    assert_eq!(detail(&whole("compressed/blocks.xz"), "blocks"), Some("3"));
    assert_eq!(detail(&whole("compressed/arm.xz"), "dictionary"), Some("4096"));
    let report = whole("compressed/two-streams.xz");
    assert_eq!((detail(&report, "streams"), report.facts.installed_size), (Some("2"), Some(18000)));
}

#[test]
fn zstd_lz4_and_bzip2_state_what_their_headers_say() {
    let report = whole("compressed/sized.zst");
    assert_eq!((report.facts.format.as_str(), report.facts.installed_size), ("zstd", Some(9000)));
    assert_eq!(detail(&report, "window"), Some("9000"));
    let report = whole("compressed/streamed.zst");
    assert_eq!((detail(&report, "checksum"), report.facts.installed_size), (Some("none"), None));
    let report = whole("compressed/frames.zst");
    assert_eq!((detail(&report, "frames"), report.facts.installed_size), (Some("2"), Some(18000)));
    assert!(detail(&whole("compressed/zeros.zst"), "blocks").is_some_and(|blocks| blocks != "1"));

    let report = whole("compressed/checked.lz4");
    assert_eq!((report.facts.format.as_str(), report.facts.installed_size), ("lz4", Some(9000)));
    assert_eq!(whole("compressed/default.lz4").facts.installed_size, None);
    assert!(detail(&whole("compressed/legacy.lz4"), "frame").is_some());
    assert_eq!(whole("compressed/default.bz2").facts.format, "bzip2");
}

#[test]
fn cuts_and_bytes_behind_are_told() {
    for name in ALL {
        let path = format!("compressed/{name}");
        let all = sample(&path);
        // Where a file of several parts may end.
        let ends: Vec<usize> = match name {
            "two-members.gz" => vec![all.len() - sample("compressed/nameless.gz").len()],
            "two-streams.xz" => {
                let first = sample("compressed/default.xz").len();
                vec![first, first + 4, first + 8]
            }
            "frames.zst" => vec![13 + sample("compressed/sized.zst").len()],
            _ => Vec::new(),
        };
        cuts_show(&path, |end, report| {
            let kinds = kinds(report);
            end < 14 && report.facts.format == "raw"
                || if ends.contains(&end) { kinds.is_empty() } else { kinds.len() == 1 }
        });
        // A mark of bzip2's end that is not at the end looks like a cut.
        let kind = if name == "default.bz2" { FaultKind::Truncated } else { FaultKind::Padded };
        for behind in [1, 5, 5000] {
            let longer = [&all[..], &vec![b'?'; behind]].concat();
            assert_eq!(kinds(&inspect(&longer)), [kind], "{name} and {behind} bytes");
        }
    }
}

#[test]
fn damage_is_told() {
    for path in ["compressed/named.gz", "compressed/all-fields.gz"] {
        let right = inspect(&sample(path));
        flips_show(path, |at, report| {
            // Time, level, system and name are not covered, nor bits that mean nothing.
            at < 40 || !report.faults.is_empty() || *report == right
        });
    }
    // Here the header has a CRC, which covers all of it.
    flips_show("compressed/all-fields.gz", |at, report| !(3..40).contains(&at) || !report.faults.is_empty());
    let bytes = sample("compressed/blocks.xz");
    let index = bytes.len() - 12 - 20;
    flips_show("compressed/blocks.xz", |at, report| match at {
        0..6 => report.facts.format == "raw",
        6..24 => !report.faults.is_empty(),
        _ => at < index || !report.faults.is_empty(),
    });
    for name in ALL {
        flips_show(&format!("compressed/{name}"), |_, _| true);
    }
}

#[test]
fn contradictions_in_xz_are_malformed() {
    // The second of two blocks is taken out; index and footer stay.
    let bytes = sample("compressed/blocks.xz");
    let starts: Vec<usize> = (12..bytes.len()).filter(|at| bytes[*at..].starts_with(&[3, 0xc0])).collect();
    assert_eq!(starts.len(), 3);
    let less = [&bytes[..starts[1]], &bytes[starts[2]..]].concat();
    assert_eq!(kinds(&inspect(&less)), [FaultKind::Malformed]);
    let more = [&bytes[..starts[2]], &bytes[starts[1]..]].concat();
    assert_eq!(kinds(&inspect(&more)), [FaultKind::Malformed]);
}

#[test]
fn a_million_members_and_a_bomb_are_bounded() {
    let empty = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut inspection = Inspection::default();
    for _ in 0..10_000 {
        inspection.update(&empty.repeat(100));
    }
    let report = inspection.finish();
    assert_eq!((kinds(&report), detail(&report, "members")), (vec![], Some("1000000")));

    let endless_name = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], &[b'a'; 1 << 20]].concat();
    assert_eq!(kinds(&inspect(&endless_name)), [FaultKind::Malformed]);
}

proptest! {
    #[test]
    fn mutations_never_panic(
        bytes in mutated("compressed", &ALL),
    ) {
        survives(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(
        magic in prop::sample::select(vec![
            &b"\x1f\x8b\x08"[..],
            b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46",
            b"\x28\xb5\x2f\xfd",
            b"\x50\x2a\x4d\x18",
            b"BZh9\x31\x41\x59\x26\x53\x59",
            b"\x04\x22\x4d\x18\x64\x40\xa7",
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        survives(&[magic, &bytes[..]].concat());
    }
}
