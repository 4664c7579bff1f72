use proptest::prelude::*;

use super::super::trial::{cuts_show, detail, flips_show, inspect, kinds, mutated, sample, survives, whole};
use super::super::{FaultKind, Inspection, Report};

fn pieces(report: &Report) -> Vec<(&str, u64)> {
    report.facts.payloads.iter().map(|piece| (piece.name.as_str(), piece.size)).collect()
}

/// A record with its checksum.
fn record(text: &str) -> String {
    let bytes = hex::decode(text).expect("hexadecimal");
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    format!(":{text}{:02X}\n", sum.wrapping_neg())
}

fn file(records: &[&str]) -> Report {
    let text: String = records.iter().map(|text| record(text)).collect();
    inspect(text.as_bytes())
}

#[test]
fn addresses_sizes_and_start_are_stated() {
    for path in ["intel-hex/linear.hex", "intel-hex/lower-case.hex"] {
        let report = whole(path);
        assert_eq!(report.facts.format, "intel-hex");
        assert_eq!(report.facts.installed_size, Some(1500));
        assert_eq!(detail(&report, "addresses"), Some("0x08000000-0x080005db"));
        assert_eq!(detail(&report, "start"), Some("0x08000101"));
        assert_eq!(pieces(&report), [("0x08000000", 1500)]);
    }
    let report = whole("intel-hex/segments.hex");
    assert_eq!(pieces(&report), [("0x00001000", 300), ("0x000022bc", 2), ("0x000f012c", 400)]);
    assert_eq!(detail(&report, "start"), Some("0001:2345"));
    assert_eq!(detail(&report, "pieces"), Some("3"));
}

#[test]
fn cuts_damage_and_more_are_told() {
    for path in ["intel-hex/linear.hex", "intel-hex/lower-case.hex"] {
        let all = sample(path).trim_ascii_end().len();
        cuts_show(path, |end, report| {
            end >= all || report.facts.format == "raw" && end < 50 || kinds(report) == [FaultKind::Truncated]
        });
        let right = inspect(&sample(path));
        flips_show(path, |at, report| {
            // Lower and upper case are the same digit, and other blanks are blanks.
            at == 0 || !report.faults.is_empty() || report.facts.payloads == right.facts.payloads
        });
    }
    let mut bytes = sample("intel-hex/linear.hex");
    bytes.extend(b"\r\n :00000001FF\r\n");
    assert_eq!(kinds(&inspect(&bytes)), [FaultKind::Padded]);
}

#[test]
fn every_rule_has_its_kind() {
    let end = "00000001";
    assert_eq!(file(&["0100000007", end]).faults, []);
    for (records, about) in [
        (&["0100000007", "0100000008", end][..], "has written"),
        (&["02000004FFFF", "04FFFD0000000000", end], "past 2^32"),
        (&["02000002F000", "02FFFF000000", end], "segment"),
        (&["0400000500000001", "0400000500000002", end], "another start"),
        (&["0100000007", "0100000A07", end], "type 0a"),
        (&["0100000007", "020000040000", "0100000407", end], "bytes of data"),
        (&["0100000007", "0200000007", end], "bytes of data"),
    ] {
        let report = file(records);
        assert_eq!(kinds(&report), [FaultKind::Malformed], "{about}: {report:?}");
        assert!(report.faults[0].message.contains(about), "{about}: {report:?}");
    }
    let report = inspect(b":0100000007F8\n:0100010007F8\n:00000001FF\n");
    assert_eq!(kinds(&report), [FaultKind::DigestWrong]);
    assert!(report.faults[0].message.starts_with("line 2:"));
    assert_eq!(kinds(&inspect(b":0100000007F8\n")), [FaultKind::Truncated]);
}

#[test]
fn other_texts_are_not_claimed() {
    for text in [
        ":root { color: #000000 }\n",
        ":\n:\n:\n",
        ":00\n",
        "::::::::::::::::::::\n",
        ":020000040800F2 and what follows\nis a letter\n",
        "# comment\n:00000001FF\n",
        "S0\nS1\n",
    ] {
        assert_eq!(inspect(text.as_bytes()).facts.format, "raw", "{text:?}");
    }
}

#[test]
fn long_lines_and_scattered_data_are_bounded() {
    let mut inspection = Inspection::default();
    inspection.update(record("0100000007").repeat(100).as_bytes());
    inspection.update(b":");
    for _ in 0..1000 {
        inspection.update(&[b'0'; 10_000]);
    }
    let report = inspection.finish();
    assert!(kinds(&report).contains(&FaultKind::Truncated));

    let mut text = String::new();
    for upper in 0..16 {
        text += &record(&format!("02000004{upper:04X}"));
        for at in 0..1000 {
            text += &record(&format!("01{:04X}0000", at * 2));
        }
    }
    let report = inspect((text + ":00000001FF\n").as_bytes());
    assert_eq!(kinds(&report), [FaultKind::Malformed; 10]);
    assert_eq!(report.facts.payloads.len(), 100);
}

proptest! {
    #[test]
    fn mutations_never_panic(
        bytes in mutated("intel-hex", &["linear.hex", "segments.hex"]),
    ) {
        survives(&bytes);
    }

    #[test]
    fn random_records_never_panic(
        records in prop::collection::vec(
            (any::<u16>(), 0u8..7, prop::collection::vec(any::<u8>(), 0..6)),
            1..20,
        ),
    ) {
        let text: String = records.iter().map(|(address, kind, data)| {
            record(&format!("{:02X}{address:04X}{kind:02X}{}", data.len(), hex::encode(data)))
        }).collect();
        survives(text.as_bytes());
    }

    #[test]
    fn random_text_never_panics(text in ":[0-9A-F:\r\n]{0,200}") {
        survives(text.as_bytes());
    }
}
