use proptest::prelude::*;

use super::super::trial::{cuts_show, detail, flips_show, inspect, kinds, mutated, sample, survives, whole};
use super::super::{FaultKind, Report};

/// A record with its length and checksum.
fn record(kind: char, rest: &str) -> String {
    let bytes = hex::decode(rest).expect("hexadecimal");
    let length = u8::try_from(bytes.len() + 1).expect("short");
    let sum = bytes.iter().fold(length, |sum, byte| sum.wrapping_add(*byte));
    format!("S{kind}{length:02X}{rest}{:02X}\n", !sum)
}

fn file(records: &[(char, &str)]) -> Report {
    let text: String = records.iter().map(|(kind, rest)| record(*kind, rest)).collect();
    inspect(text.as_bytes())
}

#[test]
fn addresses_sizes_header_and_start_are_stated() {
    let report = whole("s-record/s3.srec");
    assert_eq!(report.facts.format, "s-record");
    assert_eq!(report.facts.installed_size, Some(1500));
    assert_eq!(detail(&report, "addresses"), Some("0x08000000-0x080005db"));
    assert_eq!(detail(&report, "start"), Some("0x08000101"));
    assert_eq!(detail(&report, "header"), Some("s3.srec"));

    let report = whole("s-record/s1.srec");
    assert_eq!(detail(&report, "addresses"), Some("0x00000000-0x000005db"));

    let report = whole("s-record/s2-counted.srec");
    assert_eq!(detail(&report, "header"), Some("thermo 1.3.0"));
    assert_eq!(detail(&report, "start"), Some("0x00010000"));
    let pieces: Vec<_> =
        report.facts.payloads.iter().map(|piece| (piece.name.as_str(), piece.size)).collect();
    assert_eq!(pieces, [("0x00000000", 64), ("0x00010000", 512)]);
}

#[test]
fn cuts_damage_and_more_are_told() {
    let path = "s-record/s2-counted.srec";
    let all = sample(path).trim_ascii_end().len();
    cuts_show(path, |end, report| {
        end >= all || report.facts.format == "raw" && end < 100 || kinds(report) == [FaultKind::Truncated]
    });
    let right = inspect(&sample(path));
    let bytes = sample(path);
    flips_show(path, |at, report| {
        // The checksum does not cover the type, and the types of data may be mixed.
        at == 0
            || bytes[at - 1] == b'S'
            || !report.faults.is_empty()
            || report.facts.payloads == right.facts.payloads
    });
    let mut bytes = bytes;
    bytes.push(b'!');
    assert_eq!(kinds(&inspect(&bytes)), [FaultKind::Padded]);
}

#[test]
fn every_rule_has_its_kind() {
    let end = ('9', "0000");
    assert_eq!(file(&[('1', "000007"), ('5', "0001"), end]).faults, []);
    for (records, about) in [
        (&[('1', "000007"), ('5', "0002"), end][..], "counts 2"),
        (&[('1', "000007"), ('6', "000000"), end], "counts 0"),
        (&[('1', "000007"), ('2', "00000008"), end], "has written"),
        (&[('3', "FFFFFFFF0102"), end], "past 2^32"),
        (&[('1', "000007"), ('4', "000007"), end], "type"),
        (&[('1', "000007"), ('3', "0000"), end], "its type needs"),
    ] {
        let report = file(records);
        assert_eq!(kinds(&report), [FaultKind::Malformed], "{about}: {report:?}");
        assert!(report.faults[0].message.contains(about), "{about}: {report:?}");
    }
    let damaged = record('1', "000007") + "S104000107F4\nS9030000FC\n";
    assert_eq!(kinds(&inspect(damaged.as_bytes())), [FaultKind::DigestWrong]);
    assert_eq!(kinds(&file(&[('1', "000007")])), [FaultKind::Truncated]);
}

#[test]
fn other_texts_are_not_claimed() {
    for text in ["S3 is a bucket\n", "S1\n", "S0030000FC is no record\n", "SSSSSSSS\n", "S90300\n"] {
        assert_eq!(inspect(text.as_bytes()).facts.format, "raw", "{text:?}");
    }
}

proptest! {
    #[test]
    fn mutations_never_panic(bytes in mutated("s-record", &["s2-counted.srec"])) {
        survives(&bytes);
    }

    #[test]
    fn random_records_never_panic(
        records in prop::collection::vec((0..10u32, prop::collection::vec(any::<u8>(), 0..12)), 1..20),
    ) {
        let text: String = records
            .iter()
            .map(|(kind, rest)| record(char::from_digit(*kind, 10).expect("a digit"), &hex::encode(rest)))
            .collect();
        survives(text.as_bytes());
    }
}
