use md5::Md5;
use proptest::prelude::*;
use sha2::{Digest, Sha256, Sha384};

use crate::version_check::inspect::{
    Algorithm, FaultKind, Inspection, NameKind, Report, Signed,
    trial::{self, detail, inspect, inspect_cut, kinds, mutated, names, samples, survives},
};

fn sample(name: &str) -> Vec<u8> {
    trial::sample(&format!("esp/{name}.bin"))
}

fn whole(name: &str) -> Report {
    trial::whole(&format!("esp/{name}.bin"))
}

/// What `esptool merge-bin 0 bootloader.bin 0x8000 partitions.bin 0x10000 esp32c3.bin` gives; it is not kept
/// because of its size.
fn merged() -> Vec<u8> {
    let mut flash = sample("bootloader");
    flash.resize(0x8000, 0xff);
    flash.extend(sample("partitions"));
    flash.resize(0x10000, 0xff);
    flash.extend(sample("esp32c3"));
    flash
}

#[test]
fn what_esptool_prints_is_stated_for_every_chip() {
    for (target, chip, frequency) in [
        ("esp32", "ESP32 (id 0)", "40m"),
        ("esp32s2", "ESP32-S2 (id 2)", "40m"),
        ("esp32c3", "ESP32-C3 (id 5)", "40m"),
        ("esp32s3", "ESP32-S3 (id 9)", "40m"),
        ("esp32c2", "ESP32-C2 (id 12)", "30m"),
        ("esp32c6", "ESP32-C6 (id 13)", "80m"),
        ("esp32h2", "ESP32-H2 (id 16)", "24m"),
        ("esp32p4", "ESP32-P4 (id 18)", "40m"),
        ("esp32c61", "ESP32-C61 (id 20)", "40m"),
        ("esp32c5", "ESP32-C5 (id 23)", "40m"),
    ] {
        let bytes = sample(target);
        let report = whole(target);
        let facts = &report.facts;
        assert_eq!(facts.format, "esp-app", "{target}");
        assert_eq!(facts.version.as_deref(), Some("v1.3.0"), "{target}");
        assert_eq!(facts.semver.as_ref().unwrap().to_string(), "1.3.0", "{target}");
        assert_eq!(names(&report), [(NameKind::Product, "demo-a"), (NameKind::Chip, target)]);
        assert_eq!(facts.security_counter, Some(3), "{target}");
        assert_eq!(facts.built_at.as_deref(), Some("Jan  1 2026 12:00:00"), "{target}");
        let digest = Sha256::digest(&bytes[..bytes.len() - 32]);
        assert_eq!(facts.own_digest, Some(format!("sha256:{}", hex::encode(digest))), "{target}");
        assert_eq!(facts.payloads.iter().map(|payload| payload.size).collect::<Vec<_>>(), [0x300, 0x200]);
        assert!(!facts.signed);
        for (label, value) in [
            ("chip", chip),
            ("minimal chip revision", "v0.3"),
            ("maximal chip revision", "v1.99"),
            ("segments", "2"),
            ("flash mode", "dio"),
            ("flash size", "4MB"),
            ("flash frequency", frequency),
            ("ESP-IDF", "v5.3.1"),
            ("minimal eFuse block revision", "0.1"),
            ("maximal eFuse block revision", "0.99"),
            ("MMU page size", "64 KB"),
        ] {
            assert_eq!(detail(&report, label), Some(value), "{target}: {label}");
        }
        assert_eq!(detail(&report, "ELF SHA-256"), Some(hex::encode(&bytes[32 + 144..][..32]).as_str()));
    }
}

#[test]
fn versions_are_free_text() {
    let report = whole("free-version");
    assert_eq!(report.facts.version.as_deref(), Some("1.3.0-5-g1234567-dirty"));
    assert_eq!(report.facts.semver.unwrap().to_string(), "1.3.0-5-g1234567-dirty");
    let report = whole("odd-version");
    assert_eq!(report.facts.version.as_deref(), Some("build_42"));
    assert_eq!(report.facts.semver, None);
}

#[test]
fn the_description_is_known_early() {
    let bytes = sample("signed-rsa3072");
    let mut inspection = Inspection::default();
    inspection.update(&bytes[..1100]);
    assert_eq!(inspection.so_far().unwrap().version.as_deref(), Some("v1.3.0"));
    let mut inspection = Inspection::default();
    inspection.update(&merged()[..0x9000]);
    assert_eq!(inspection.so_far(), None, "a whole flash is no bootloader");
}

#[test]
fn an_image_without_a_digest_has_its_checksum() {
    assert_eq!(whole("no-digest").facts.own_digest, None);
    let report = whole("esp8266");
    assert_eq!(names(&report), [(NameKind::Chip, "esp8266")]);
    assert_eq!(detail(&report, "flash size"), Some("1MB"));
    assert!(detail(&report, "description").unwrap().starts_with("none"));
    for name in ["no-digest", "esp8266"] {
        let mut bytes = sample(name);
        bytes[600] ^= 1;
        assert_eq!(kinds(&inspect(&bytes)), [FaultKind::DigestWrong], "{name}");
    }
}

#[test]
fn a_bootloader_is_told_from_an_application() {
    let report = whole("bootloader");
    assert_eq!(report.facts.format, "esp-bootloader");
    assert_eq!(report.facts.version.as_deref(), Some("2"));
    assert_eq!(report.facts.built_at.as_deref(), Some("Jan  1 2026 12:00:00"));
    assert_eq!(detail(&report, "ESP-IDF"), Some("v5.3.1"));
    assert_eq!(detail(&report, "description"), None);
    assert!(whole("signed-bootloader").facts.signed);
}

#[test]
fn signatures_are_stated_with_what_they_sign() {
    for (name, algorithm) in [
        ("rsa3072", Algorithm::RsaPssSha256),
        ("ecdsa256", Algorithm::EcdsaP256Sha256),
        ("ecdsa384", Algorithm::EcdsaP384Sha384),
    ] {
        let bytes = sample(&format!("signed-{name}"));
        let report = whole(&format!("signed-{name}"));
        let [signature] = &report.signatures[..] else { panic!("{name}: {:?}", report.signatures) };
        assert_eq!(signature.algorithm, algorithm, "{name}");
        let expected = match name {
            "ecdsa384" => Signed::Sha384(Sha384::digest(&bytes[..4096]).into()),
            _ => Signed::Sha256(Sha256::digest(&bytes[..4096]).into()),
        };
        assert_eq!(signature.signed, expected, "{name}");
        assert_eq!(signature.key_id.as_ref(), report.facts.key_ids.first(), "{name}");
        assert!(report.facts.signed && report.facts.own_digest.is_some(), "{name}");
        assert_eq!(report.facts.installed_size, None, "{name}");
    }
    let twice = whole("signed-twice");
    assert_eq!((twice.signatures.len(), twice.facts.key_ids.len()), (2, 2));
    assert_eq!(twice.facts.key_ids[0], whole("signed-rsa3072").facts.key_ids[0]);
    let small = whole("signed-ecdsa192");
    assert_eq!((small.facts.signed, small.signatures.len(), small.facts.key_ids.len()), (true, 0, 1));
    let bytes = sample("signed-v1");
    let report = whole("signed-v1");
    assert_eq!(
        report.signatures[0].signed,
        Signed::Sha256(Sha256::digest(&bytes[..bytes.len() - 68]).into())
    );
}

#[test]
fn a_damaged_signature_block_is_told() {
    let bytes = sample("signed-rsa3072");
    for (at, kinds_expected) in [
        (4096, vec![FaultKind::Padded]),
        (4096 + 10, vec![FaultKind::DigestWrong]),
        (4096 + 900, vec![FaultKind::DigestWrong]),
        (4096 + 1196, vec![FaultKind::DigestWrong]),
        (4096 + 1300, vec![FaultKind::Malformed]),
        (4000, vec![FaultKind::Padded]),
        (600, vec![FaultKind::DigestWrong, FaultKind::DigestWrong, FaultKind::DigestWrong]),
    ] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert_eq!(kinds(&inspect(&damaged)), kinds_expected, "{at}");
    }
    assert_eq!(kinds(&inspect(&bytes[..8000])), [FaultKind::Truncated]);
    assert_eq!(kinds(&inspect(&[&bytes[..], b"x"].concat())), [FaultKind::Padded]);
}

#[test]
fn a_curve_that_does_not_exist_is_malformed() {
    let mut bytes = sample("signed-ecdsa256");
    bytes[4096 + 36] = 9;
    let crc = crc32fast::hash(&bytes[4096..4096 + 1196]).to_le_bytes();
    bytes[4096 + 1196..4096 + 1200].copy_from_slice(&crc);
    assert_eq!(kinds(&inspect(&bytes)), [FaultKind::Malformed]);
}

#[test]
fn what_follows_an_image_is_padding() {
    let report = inspect(&sample("padded"));
    assert_eq!(kinds(&report), [FaultKind::Padded]);
    assert!(report.faults[0].message.contains("--pad-to-size"), "{}", report.faults[0].message);
    assert_eq!(report.facts.installed_size, Some(1360));
    for extra in [&b"x"[..], &[0; 68 + 1], &[7; 68], &[0x42; 100_000]] {
        let report = inspect(&[&sample("esp32"), extra].concat());
        assert_eq!(kinds(&report), [FaultKind::Padded], "{}", extra.len());
    }
}

#[test]
fn a_merged_flash_is_stated_with_its_application() {
    let report = inspect(&merged());
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.format, "esp-flash");
    assert_eq!(report.facts.version.as_deref(), Some("v1.3.0"));
    assert_eq!(report.facts.security_counter, Some(3));
    assert_eq!(names(&report), [(NameKind::Product, "demo-a"), (NameKind::Chip, "esp32c3")]);
    assert_eq!(detail(&report, "application"), Some("1360 bytes in partition ota_0"));
    assert_eq!(detail(&report, "partition"), Some("nvs at 0x9000, 0x6000 bytes"));
    let partitions: Vec<_> = report.facts.payloads.iter().map(|payload| payload.name.as_str()).collect();
    assert_eq!(partitions, ["nvs", "otadata", "ota_0", "ota_1"]);

    let damaged = |at: usize| {
        let mut flash = merged();
        flash[at] ^= 1;
        kinds(&inspect(&flash))
    };
    assert_eq!(damaged(0x100), [FaultKind::DigestWrong, FaultKind::DigestWrong], "bootloader");
    assert_eq!(damaged(0x8008), [FaultKind::DigestWrong], "table");
    assert_eq!(damaged(0x10300), [FaultKind::DigestWrong, FaultKind::DigestWrong], "application");
    assert_eq!(kinds(&inspect(&merged()[..0x8100])), [FaultKind::Truncated]);
    assert_eq!(kinds(&inspect(&merged()[..0x10100])), [FaultKind::Truncated]);
    let empty = inspect(&merged()[..0xf000]);
    assert_eq!(empty.faults, []);
    assert_eq!(detail(&empty, "application"), Some("none that can be read in partition ota_0"));
}

#[test]
fn every_partition_table_is_read_in_bounds() {
    let entry = |offset: u32, size: u32| {
        let name = b"0123456789abcdef";
        [&[0xaa, 0x50, 0, 0][..], &offset.to_le_bytes(), &size.to_le_bytes(), name, &[0; 4]].concat()
    };
    for (offset, size) in [(0, 0), (u32::MAX, u32::MAX), (0x8c00, u32::MAX), (0x10000, 1), (0x10000, 0)] {
        let table = entry(offset, size).repeat(96);
        let mut flash = merged();
        flash[0x8000..0x8c00].copy_from_slice(&table);
        let report = inspect(&flash);
        assert_eq!(report.facts.format, "esp-flash");
        assert!(report.facts.payloads.len() <= 100);
    }
    let table = entry(0x10000, 0x1000);
    let sum = [&[0xeb; 2][..], &[0xff; 14], &Md5::digest(&table)].concat();
    let mut flash = merged();
    flash[0x8000..0x8040].copy_from_slice(&[table, sum].concat());
    assert_eq!(inspect(&flash).faults, []);
}

#[test]
fn every_cut_is_told() {
    let bytes = sample("esp32c3");
    for cut in 24..bytes.len() {
        let report = inspect(&bytes[..cut]);
        assert_eq!(kinds(&report), [FaultKind::Truncated], "{cut}");
        assert_eq!(report.facts.version.is_some(), cut >= 32 + 256, "{cut}");
    }
    for cut in 0..24 {
        assert_eq!(inspect(&bytes[..cut]).facts.format, "raw", "{cut}");
    }
}

#[test]
fn every_damaged_byte_is_told() {
    let bytes = sample("esp32c3");
    for at in 1..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x80;
        assert!(!inspect(&damaged).faults.is_empty(), "{at}");
    }
}

#[test]
fn one_byte_of_magic_is_not_enough() {
    let code = [0xe9, 0x03, 0x02, 0x20, 0, 0, 0, 0x40];
    for rest in [[0x90; 64], [0x5a; 64], [0xff; 64]] {
        assert_eq!(inspect(&[&code[..], &rest].concat()).facts.format, "raw");
    }
    let mut bytes = sample("esp32");
    bytes[32] ^= 1; // no description any more
    for (at, value) in
        [(1, 0), (1, 17), (2, 6), (3, 0x23), (3, 0x90), (7, 0), (13, 1), (20, 1), (23, 2), (28, 1), (31, 2)]
    {
        let mut other = bytes.clone();
        other[at] = value;
        assert_eq!(inspect(&other).facts.format, "raw", "byte {at}");
        other[32] ^= 1;
        assert_eq!(inspect(&other).facts.format, "esp-app", "byte {at}");
        assert!(!inspect(&other).faults.is_empty(), "byte {at}");
    }
}

#[test]
fn contradictions_are_malformed() {
    let with = |at: usize, value: &[u8]| {
        let mut bytes = sample("esp32");
        bytes[at..at + value.len()].copy_from_slice(value);
        kinds(&inspect(&bytes))
    };
    for count in [0, 17, 0xff] {
        assert_eq!(with(1, &[count]), [FaultKind::Malformed], "{count} segments");
    }
    assert_eq!(with(12, &[0xff; 2]), [FaultKind::Malformed, FaultKind::DigestWrong], "chip id");
    assert_eq!(with(15, &[200, 0]), [FaultKind::Malformed, FaultKind::DigestWrong], "revisions");
    for length in [u32::MAX, u32::MAX - 1, (16 << 20) + 4] {
        assert_eq!(with(28, &length.to_le_bytes()), [FaultKind::Malformed, FaultKind::Truncated], "{length}");
    }
    assert_ne!(with(28, &[0; 4]), [], "an empty segment before the description");
}

#[test]
fn a_long_stream_is_not_kept() {
    let mut head = sample("esp32");
    head[28..32].copy_from_slice(&(16_u32 << 20).to_le_bytes());
    let mut inspection = Inspection::default();
    inspection.update(&head);
    for _ in 0..256 {
        inspection.update(&[0x5a; 1 << 16]);
    }
    assert_eq!(
        kinds(&inspection.finish())[0],
        FaultKind::Malformed,
        "what comes where a segment should \
                                                                      begin"
    );
}

#[test]
fn how_the_stream_is_cut_changes_nothing() {
    let names = samples("esp", ".bin");
    assert!(names.len() >= 20, "{names:?}");
    for name in names {
        inspect_cut(&name, &sample(&name));
    }
    inspect_cut("merged", &merged());
}

proptest! {
    #[test]
    fn no_bytes_behind_a_header_panic(bytes: Vec<u8>, keep in 1..64_usize) {
        survives(&[&sample("esp32")[..keep], &bytes].concat());
    }

    #[test]
    fn no_mutation_panics(bytes in mutated(
        "esp",
        &["esp32.bin", "bootloader.bin", "padded.bin", "signed-rsa3072.bin", "signed-v1.bin"],
    )) {
        survives(&bytes);
    }

    #[test]
    fn no_mutation_of_a_flash_panics(at in 0x8000..0x10100_usize, value: u8) {
        let mut flash = merged();
        flash[at] = value;
        inspect(&flash);
    }
}
