use proptest::prelude::*;

use crate::version_check::inspect::{
    FaultKind, NameKind, Report,
    trial::{self, detail, inspect, inspect_cut, inspect_in, kinds, mutated, names},
};

const NAMES: [&str; 7] = ["raw", "any-device", "spec-1.1a", "esp", "mcuboot", "dfuse", "dfuse-targets"];

fn sample(name: &str) -> Vec<u8> {
    trial::sample(&format!("dfu/{name}.dfu"))
}

fn whole(name: &str) -> Report {
    trial::whole(&format!("dfu/{name}.dfu"))
}

/// A suffix as dfu-suffix adds it.
fn with_suffix(file: &[u8], bcd_dfu: u16) -> Vec<u8> {
    let mut file = [file, &[0x30, 1, 0xcd, 0xab, 0x34, 0x12], &bcd_dfu.to_le_bytes(), b"UFD\x10"].concat();
    let crc = !crc32fast::hash(&file);
    file.extend(crc.to_le_bytes());
    file
}

#[test]
fn what_dfu_suffix_prints_is_stated() {
    let report = whole("raw");
    assert_eq!(report.facts.format, "raw");
    assert_eq!(report.facts.version.as_deref(), Some("1.3.0"));
    assert_eq!(report.facts.semver.as_ref().unwrap().to_string(), "1.3.0");
    assert_eq!(names(&report), [(NameKind::Product, "0xabcd"), (NameKind::Vendor, "0x1234")]);
    let text = "DFU 1.00, vendor 0x1234, product 0xabcd, release 0x0130";
    assert_eq!(detail(&report, "DFU suffix"), Some(text));
    let bytes = sample("raw");
    assert_eq!(with_suffix(&bytes[..1024], 0x100), bytes);

    let report = whole("any-device");
    assert_eq!((report.facts.version.clone(), names(&report)), (None, vec![]));
    assert_eq!(detail(&report, "DFU suffix"), Some("DFU 1.00, vendor any, product any, release any"));

    let report = whole("spec-1.1a");
    assert_eq!(report.facts.version.as_deref(), Some("0x2a00"), "no BCD");
    assert_eq!(report.facts.semver, None);
}

#[test]
fn the_format_inside_never_sees_the_suffix() {
    let report = whole("esp");
    assert_eq!(report.facts.format, "esp-app");
    assert_eq!(report.facts.version.as_deref(), Some("v1.3.0"), "the image's, not the suffix's");
    assert_eq!(
        names(&report),
        [
            (NameKind::Product, "0x1001"),
            (NameKind::Product, "demo-a"),
            (NameKind::Chip, "esp32c3"),
            (NameKind::Vendor, "0x303a"),
        ]
    );
    let report = whole("mcuboot");
    assert_eq!(report.facts.format, "mcuboot");
    assert_eq!(report.signatures.len(), 1);
}

#[test]
fn a_damaged_file_is_told_by_the_crc() {
    let bytes = sample("raw");
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        let report = inspect(&damaged);
        match at {
            // Not a suffix any more: UFD, or its length.
            1032..1036 => assert_eq!(detail(&report, "DFU suffix"), None, "{at}"),
            // Neither a version of DFU that exists nor a right CRC32.
            1030..1032 => assert_eq!(detail(&report, "DFU suffix"), None, "{at}"),
            _ => assert_eq!(kinds(&report), [FaultKind::DigestWrong], "{at}"),
        }
    }
}

#[test]
fn what_ends_in_ufd_by_chance_is_no_suffix() {
    for end in [&b"UFD"[..], b"UFD\x10", b"UFD\x10abcd", &[b"\x00\x02UFD\x10abcd"[..].to_vec()].concat()] {
        let report = inspect(&[&[7; 100], end].concat());
        assert_eq!((report.facts.details.len(), report.faults.len()), (0, 0), "{end:?}");
    }
    let report = inspect(&with_suffix(&[7; 100], 0x0200));
    assert!(detail(&report, "DFU suffix").is_some(), "an unknown version, but a right CRC32");
    let mut other = with_suffix(&[7; 100], 0x100);
    other[111] = 17;
    assert_eq!(inspect(&other).facts.details, []);
}

#[test]
fn short_files_and_suffixes_alone() {
    for length in 0..16 {
        let report = inspect(&with_suffix(&[], 0x100)[16 - length..]);
        assert_eq!((report.facts.format.as_str(), report.faults.len()), ("raw", 0));
        assert_eq!(report.facts.details, []);
    }
    let report = inspect(&with_suffix(&[], 0x100));
    assert_eq!(report.facts.version.as_deref(), Some("1.3.0"));
    for start in 0..6 {
        assert_eq!(inspect(&b"DfuSe\x01"[..start]).facts.format, "raw");
    }
}

#[test]
fn what_dfuse_pack_prints_is_stated() {
    let report = whole("dfuse-targets");
    let facts = &report.facts;
    assert_eq!(facts.format, "dfuse");
    assert_eq!(facts.version, None);
    assert_eq!(facts.installed_size, Some(1024 + 768 + 768));
    let payloads: Vec<_> =
        facts.payloads.iter().map(|payload| (payload.name.as_str(), payload.size)).collect();
    assert_eq!(
        payloads,
        [("target 0 at 0x08000000", 1024), ("target 0 at 0x08010000", 768), ("target 1 at 0x90000000", 768)]
    );
    let details: Vec<_> =
        facts.details.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
    assert_eq!(
        details,
        [
            ("targets", "2"),
            ("target", "alternate setting 0 \"ST...\", 2 elements, 1808 bytes"),
            ("target", "alternate setting 1 \"ST...\", 1 elements, 776 bytes"),
            ("DFU suffix", "DFU 1.1a, vendor 0x1234, product 0xabcd, release 0x0000"),
        ]
    );
    assert_eq!(names(&report), [(NameKind::Product, "0xabcd"), (NameKind::Vendor, "0x1234")]);
    assert_eq!(whole("dfuse").facts.payloads.len(), 1);
}

#[test]
fn dfuse_by_the_specification_counts_no_suffix() {
    let mut bytes = sample("dfuse");
    bytes.truncate(bytes.len() - 16);
    let size = u32::try_from(bytes.len()).unwrap();
    bytes[6..10].copy_from_slice(&size.to_le_bytes());
    assert_eq!(inspect(&with_suffix(&bytes, 0x11a)).faults, []);
    bytes[6..10].copy_from_slice(&(size + 1).to_le_bytes());
    assert_eq!(kinds(&inspect(&with_suffix(&bytes, 0x11a))), [FaultKind::Malformed]);
}

#[test]
fn every_cut_of_dfuse_is_told() {
    let bytes = sample("dfuse-targets");
    for cut in 22..bytes.len() {
        let expected = if cut > bytes.len() - 16 { FaultKind::Padded } else { FaultKind::Truncated };
        assert_eq!(kinds(&inspect(&bytes[..cut])), [expected], "{cut}");
        let report = inspect(&with_suffix(&bytes[..cut], 0x11a));
        let whole = cut == bytes.len() - 16;
        assert_eq!(report.faults.is_empty(), whole, "{cut} and a suffix: {:?}", report.faults);
    }
}

/// A DfuSe file of these elements, with its suffix, and a right size.
fn dfuse(targets: u8, elements: &[(u32, u32)], stated: u32, stated_target: u32) -> Vec<u8> {
    let mut file = [b"DfuSe\x01\0\0\0\0", &[targets][..], b"Target\x07\0\0\0\0"].concat();
    file.extend([0; 255]);
    file.extend(stated_target.to_le_bytes());
    file.extend(stated.to_le_bytes());
    for (address, size) in elements {
        file.extend(address.to_le_bytes());
        file.extend(size.to_le_bytes());
        file.resize(file.len() + usize::try_from(*size).unwrap(), 0x5a);
    }
    let size = u32::try_from(file.len()).unwrap();
    file[6..10].copy_from_slice(&size.to_le_bytes());
    with_suffix(&file, 0x11a)
}

#[test]
fn contradictions_in_dfuse_are_malformed() {
    assert_eq!(inspect(&dfuse(1, &[(0, 5)], 1, 13)).faults, []);
    for (what, file, expected) in [
        ("target's size", dfuse(1, &[(0, 5)], 1, 14), FaultKind::Malformed),
        ("no elements, but a size", dfuse(1, &[], 0, 1), FaultKind::Malformed),
        ("over the end", dfuse(1, &[(u32::MAX, 5)], 1, 13), FaultKind::Malformed),
        ("more elements than there are", dfuse(1, &[(0, 5)], u32::MAX, 13), FaultKind::Truncated),
        ("more targets than there are", dfuse(2, &[(0, 5)], 1, 13), FaultKind::Truncated),
    ] {
        assert_eq!(kinds(&inspect(&file)), [expected], "{what}");
    }
    let report = inspect(&dfuse(0, &[(0, 5)], 1, 13));
    assert_eq!(kinds(&report), [FaultKind::Malformed, FaultKind::Padded], "no target");
    let mut file = dfuse(1, &[(0, 5)], 1, 13);
    file[11] = b'X';
    let report = inspect(&file);
    assert_eq!(kinds(&report), [FaultKind::Malformed, FaultKind::DigestWrong]);
    assert!(report.faults[0].message.contains("byte 11"), "{}", report.faults[0].message);
}

#[test]
fn a_million_elements_stay_bounded() {
    let elements = vec![(0x0800_0000, 0); 1_000_000];
    let report = inspect_in(4096, &dfuse(1, &elements, 1_000_000, 8_000_000));
    assert_eq!(report.faults, []);
    assert!(report.facts.payloads.len() <= 100 && report.facts.details.len() <= 100);
}

#[test]
fn how_the_stream_is_cut_changes_nothing() {
    for name in NAMES {
        let bytes = sample(name);
        let report = inspect_cut(name, &bytes);
        // Around the length of a suffix.
        for piece in [15, 16, 17] {
            assert_eq!(inspect_in(piece, &bytes), report, "{name} in pieces of {piece}");
        }
    }
}

proptest! {
    #[test]
    fn every_byte_is_handed_on_once(bytes: Vec<u8>, piece in 1..40_usize, dfu: bool) {
        let file = if dfu { with_suffix(&bytes, 0x100) } else { bytes.clone() };
        let mut suffix = super::Suffix::default();
        let mut inner = Vec::new();
        for piece in file.chunks(piece) {
            suffix.update(piece, &mut |bytes| inner.extend_from_slice(bytes));
        }
        let found = suffix.finish(&mut |bytes| inner.extend_from_slice(bytes));
        prop_assert_eq!(found.is_some(), dfu);
        prop_assert_eq!(inner, bytes);
    }

    #[test]
    fn no_bytes_behind_the_prefix_panic(bytes: Vec<u8>, piece in 1..64_usize) {
        let report = inspect_in(piece, &[b"DfuSe\x01", &bytes[..]].concat());
        prop_assert!(!report.faults.is_empty() || bytes.len() < 16);
    }

    #[test]
    fn no_mutation_panics(bytes in mutated(
        "dfu",
        &["raw.dfu", "spec-1.1a.dfu", "esp.dfu", "mcuboot.dfu", "dfuse.dfu", "dfuse-targets.dfu"],
    )) {
        trial::survives(&bytes);
    }
}
