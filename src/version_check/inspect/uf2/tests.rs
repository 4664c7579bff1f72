use proptest::prelude::*;

use super::super::trial::{
    cuts_show, detail, flips_show, inspect, kinds, mutated, names, sample, survives, whole,
};
use super::super::{FaultKind, Inspection, NameKind, Payload, Report};
use super::{BLOCK, LAST_MAGIC, MAGIC, MOST_FAMILIES};

/// A block of 256 bytes for this family.
fn block(family: u32, number: u32, total: u32) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..8].copy_from_slice(&MAGIC);
    for (at, word) in [(8, 0x2000), (12, number << 8), (16, 256), (20, number), (24, total), (28, family)] {
        block[at..at + 4].copy_from_slice(&u32::to_le_bytes(word));
    }
    block[BLOCK - 4..].copy_from_slice(&LAST_MAGIC);
    block
}

fn edited(path: &str, at: usize, bytes: &[u8]) -> Report {
    let mut sample = sample(path);
    sample[at..at + bytes.len()].copy_from_slice(bytes);
    inspect(&sample)
}

#[test]
fn plain_files_state_family_addresses_and_size() {
    let report = whole("uf2/rp2040.uf2");
    assert_eq!(report.facts.format, "uf2");
    assert_eq!(names(&report), [(NameKind::Chip, "RP2040")]);
    assert_eq!(report.facts.installed_size, Some(12 * 256));
    assert_eq!(report.facts.payloads, [Payload { name: "RP2040".into(), size: 12 * 256, digest: None }]);
    assert_eq!(detail(&report, "RP2040 addresses"), Some("0x10000000-0x10000bff"));
    assert_eq!(detail(&report, "blocks"), Some("12"));
    assert_eq!(report.facts.version, None);

    let report = whole("uf2/no-family.uf2");
    assert_eq!(names(&report), []);
    assert_eq!(detail(&report, "flash addresses"), Some("0x00002000-0x00002bff"));
}

#[test]
fn tags_state_version_device_and_digest() {
    let report = whole("uf2/tags.uf2");
    assert_eq!(report.facts.version.as_deref(), Some("1.3.0-rc.1+42"));
    assert_eq!(report.facts.semver.as_ref().map(ToString::to_string).as_deref(), Some("1.3.0-rc.1"));
    assert_eq!(
        names(&report),
        [
            (NameKind::Product, "ACME Toaster mk3"),
            (NameKind::Hardware, "0x1122334455667788"),
            (NameKind::Chip, "SAMD21")
        ]
    );
    assert_eq!(detail(&report, "page size"), Some("256"));
    assert_eq!(report.facts.installed_size, Some(2900));
    let digest = report.facts.own_digest.as_deref().unwrap_or_default();
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    assert_eq!(report.facts.payloads[0].digest.as_deref(), Some(digest));

    let report = whole("uf2/tags-reversed.uf2");
    assert_eq!(report.facts.version.as_deref(), Some("1.3.0"));
    assert_eq!(names(&report), [(NameKind::Product, "demo-a"), (NameKind::Chip, "RP2040")]);
}

#[test]
fn a_version_is_known_early() {
    let mut inspection = Inspection::default();
    inspection.update(&sample("uf2/tags.uf2")[..1024 + 16]);
    let facts = inspection.so_far().expect("the first block states it");
    assert_eq!(facts.version.as_deref(), Some("1.3.0-rc.1+42"));
}

#[test]
fn families_containers_comments_and_the_erratum_block_are_told_apart() {
    let report = whole("uf2/two-families.uf2");
    assert_eq!(names(&report), [(NameKind::Chip, "NRF52840"), (NameKind::Chip, "RP2040")]);
    assert_eq!(report.facts.payloads.len(), 2);
    assert_eq!(report.facts.installed_size, Some(12 * 256), "a device takes its own family only");

    let report = whole("uf2/rp2350-e10.uf2");
    assert_eq!(names(&report), [(NameKind::Chip, "RP2350_ARM_S")]);
    assert!(detail(&report, "RP2350-E10 block at").is_some_and(|value| value.starts_with("0x10ffff00")));

    let report = whole("uf2/comments.uf2");
    assert_eq!(detail(&report, "blocks not for the main flash"), Some("2"));
    assert_eq!(report.facts.installed_size, Some(2900));

    let report = whole("uf2/container.uf2");
    let files: Vec<_> = report.facts.payloads.iter().map(|file| (file.name.as_str(), file.size)).collect();
    assert_eq!(files, [("main.bin", 1000), ("config/settings.txt", 8)]);
    assert_eq!(report.facts.installed_size, None);
}

#[test]
fn digests_are_computed_again() {
    whole("uf2/md5.uf2");
    assert_eq!(kinds(&edited("uf2/md5.uf2", 512 + 32, b"?")), [FaultKind::DigestWrong]);
    assert_eq!(kinds(&edited("uf2/tags.uf2", 512 + 32, b"?")), [FaultKind::DigestWrong]);
    assert_eq!(kinds(&edited("uf2/tags.uf2", 32 + 256 + 20 + 20 + 8 + 6, b"!")), [FaultKind::DigestWrong]);
    assert_eq!(edited("uf2/tags.uf2", 512 + 32, b"?").facts.own_digest, None);
}

#[test]
fn contradictions_are_malformed() {
    let malformed = |at, bytes: &[u8], about: &str| {
        let report = edited("uf2/tags-reversed.uf2", at, bytes);
        assert_eq!(kinds(&report)[0], FaultKind::Malformed, "{about}: {report:?}");
        assert!(report.faults[0].message.contains(about), "{about}: {report:?}");
    };
    malformed(508, &[0], "last magic");
    malformed(512 + 16, &u32::MAX.to_le_bytes(), "payload size");
    malformed(512 + 16, &477u32.to_le_bytes(), "payload size");
    malformed(512 + 12, &0x1000_0b01_u32.to_le_bytes(), "written twice");
    malformed(512 + 12, &u32::MAX.to_le_bytes(), "past 2^32");
    malformed(512 + 20, &11u32.to_le_bytes(), "has come before");
    malformed(512 + 20, &12u32.to_le_bytes(), "counted from 0");
    malformed(512 + 24, &13u32.to_le_bytes(), "others say");
    malformed(512 + 24, &[0; 4], "others say");
    malformed(512 + 32 + 256, &[200], "says");
    malformed(512 + 32 + 256, &[3], "impossible size");
    malformed(512 + 32 + 256 + 4, b"2", "a block before said");
    malformed(512, &[0], "no UF2 block");
    malformed(512 + 9, &[0x30], "part of a file and of a family");
    let half = edited("uf2/container.uf2", 1024 + 28, &999u32.to_le_bytes());
    assert_eq!(kinds(&half), [FaultKind::Malformed, FaultKind::Truncated], "{half:?}");
}

#[test]
fn missing_blocks_and_bytes_behind_are_told() {
    cuts_show("uf2/tags.uf2", |end, report| {
        if end < 8 { report.facts.format == "raw" } else { kinds(report).contains(&FaultKind::Truncated) }
    });
    let mut bytes = sample("uf2/rp2040.uf2");
    bytes.drain(512..1024);
    assert_eq!(kinds(&inspect(&bytes)), [FaultKind::Malformed]);
    for behind in [1, 7, 511, 512, 700, 4096] {
        let mut bytes = sample("uf2/rp2040.uf2");
        bytes.resize(bytes.len() + behind, 0);
        assert_eq!(kinds(&inspect(&bytes)), [FaultKind::Padded], "{behind}");
    }
}

#[test]
fn flipped_bits_never_panic_and_headers_show() {
    flips_show("uf2/tags-reversed.uf2", |at, report| match (at, at % 512) {
        (0..8, _) => report.facts.format == "raw",
        (_, 0..8 | 20..28 | 508..) => !report.faults.is_empty(),
        _ => true,
    });
}

#[test]
fn a_million_blocks_stay_small() {
    let mut inspection = Inspection::default();
    for number in 0..1_000_000u32 {
        inspection.update(&block(0xe48b_ff56, number, 1_000_000));
    }
    let report = inspection.finish();
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.installed_size, Some(256_000_000));
}

#[test]
fn hostile_counts_are_bounded() {
    let report = inspect(&block(1, u32::MAX - 1, u32::MAX));
    assert_eq!(kinds(&report), [FaultKind::Malformed]);
    let many: Vec<u8> = (0..1000).flat_map(|family| block(family, 0, 1)).collect();
    let report = inspect(&many);
    assert_eq!(kinds(&report), [FaultKind::Malformed; 10]);
    assert_eq!(report.facts.payloads.len(), MOST_FAMILIES);
    let scattered: Vec<u8> = (0..10_000).flat_map(|number| block(1, number * 2, 20_000)).collect();
    assert!(inspect(&scattered).faults.iter().any(|fault| fault.message.contains("out of order")));
}

proptest! {
    #[test]
    fn mutations_never_panic(
        bytes in mutated("uf2", &["tags.uf2", "container.uf2", "md5.uf2"]),
    ) {
        survives(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<[u8; 500]>(), 0..4)) {
        let block = |rest: &[u8; 500]| [&MAGIC[..], rest, &LAST_MAGIC].concat();
        let blocks: Vec<u8> = bytes.iter().flat_map(block).collect();
        survives(&blocks);
    }
}
