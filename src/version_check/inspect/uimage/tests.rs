use proptest::prelude::*;

use super::{
    super::{
        Inspection,
        trial::{self, inspect, inspect_cut, kinds, mutated, survives},
    },
    *,
};

const SAMPLES: [&str; 4] = ["firmware.uimg", "kernel.uimg", "multi.uimg", "script.uimg"];

fn sample(name: &str) -> Vec<u8> {
    trial::sample(&format!("uimage/{name}"))
}

fn detail<'a>(report: &'a Report, label: &str) -> &'a str {
    trial::detail(report, label).unwrap_or_default()
}

/// With the header's own CRC made right again.
fn edited(mut bytes: Vec<u8>, at: usize, with: &[u8]) -> Vec<u8> {
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes[4..8].fill(0);
    let crc = crc32fast::hash(&bytes[..HEADER]);
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn a_firmware_image_states_what_mkimage_lists() {
    let report = inspect(&sample("firmware.uimg"));
    assert_eq!(report.faults, []);
    let facts = &report.facts;
    assert_eq!(facts.format, "uimage");
    assert_eq!(facts.version.as_deref(), Some("1.3.0"));
    assert_eq!(facts.semver.as_ref().unwrap().to_string(), "1.3.0");
    assert_eq!(
        facts.names.iter().cloned().collect::<Vec<_>>(),
        [(NameKind::Product, "demo-a".to_owned()), (NameKind::Chip, "arm".to_owned())]
    );
    assert_eq!(facts.built_at.as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(detail(&report, "name"), "demo-a 1.3.0");
    assert_eq!(detail(&report, "type"), "firmware");
    assert_eq!(detail(&report, "operating system"), "linux");
    assert_eq!(detail(&report, "compression"), "none");
    assert_eq!(detail(&report, "load address"), "0x80000000");
    assert_eq!(detail(&report, "entry point"), "0x80000040");
    let digest = facts.own_digest.clone();
    assert!(digest.is_some());
    assert_eq!(facts.payloads, [Payload { name: "firmware".into(), size: 3893, digest }]);
    assert!(!facts.signed);
}

#[test]
fn the_version_of_a_kernel_is_not_that_of_the_image() {
    let report = inspect(&sample("kernel.uimg"));
    assert_eq!(report.faults, []);
    assert_eq!((report.facts.version.as_ref(), report.facts.semver.as_ref()), (None, None));
    assert!(report.facts.names.contains(&(NameKind::Product, "Linux-6.6.52".into())));
    assert!(report.facts.names.contains(&(NameKind::Chip, "arm64".into())));
    assert_eq!(detail(&report, "compression"), "gzip");
}

#[test]
fn a_multi_file_image_and_a_script_list_their_files() {
    let report = inspect(&sample("multi.uimg"));
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.semver.as_ref().unwrap().to_string(), "2.0.0-rc.1");
    assert_eq!(report.facts.version.as_deref(), Some("v2.0.0-rc.1"));
    assert!(report.facts.names.contains(&(NameKind::Product, "gateway".into())));
    let sizes: Vec<u64> = report.facts.payloads.iter().map(|payload| payload.size).collect();
    assert_eq!((sizes.len(), sizes[0], sizes[2]), (3, 14, 14));

    let report = inspect(&sample("script.uimg"));
    assert_eq!(report.faults, []);
    assert_eq!(detail(&report, "type"), "script");
    assert_eq!(report.facts.payloads[0].size, 11);
}

#[test]
fn facts_are_known_early() {
    let mut inspection = Inspection::default();
    inspection.update(&sample("firmware.uimg")[..1200]);
    assert_eq!(inspection.so_far().unwrap().version.as_deref(), Some("1.3.0"));
}

#[test]
fn damage_is_told_by_its_kind() {
    let whole = sample("firmware.uimg");
    for at in 4..HEADER {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert!(kinds(&inspect(&damaged)).contains(&FaultKind::DigestWrong), "header byte {at}");
    }
    for at in [HEADER, HEADER + 1000, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        assert_eq!(kinds(&inspect(&damaged)), [FaultKind::DigestWrong]);
    }
    for at in 4..whole.len() {
        assert_eq!(kinds(&inspect(&whole[..at])), [FaultKind::Truncated], "cut at {at}");
    }
    let mut padded = whole.clone();
    padded.push(0);
    let report = inspect(&padded);
    assert_eq!(kinds(&report), [FaultKind::Padded]);
    assert!(report.facts.own_digest.is_some(), "what is stated is still whole");
}

#[test]
fn lengths_that_lie_are_told() {
    let whole = sample("firmware.uimg");
    assert_eq!(
        kinds(&inspect(&edited(whole.clone(), 12, &[0; 4]))),
        [FaultKind::DigestWrong, FaultKind::Padded]
    );
    for length in [u32::MAX, u32::MAX - 1] {
        let report = inspect(&edited(whole.clone(), 12, &length.to_be_bytes()));
        assert_eq!(kinds(&report), [FaultKind::Truncated]);
    }
}

#[test]
fn tables_that_lie_are_told() {
    let multi = sample("multi.uimg");
    let with_table = |table: &[u32]| {
        let data: Vec<u8> = table.iter().flat_map(|word| word.to_be_bytes()).collect();
        let crc = crc32fast::hash(&data);
        let mut bytes = multi[..HEADER].to_vec();
        bytes.extend_from_slice(&data);
        let bytes = edited(bytes, 12, &(data.len() as u32).to_be_bytes());
        inspect(&edited(bytes, 24, &crc.to_be_bytes()))
    };
    assert_eq!(kinds(&with_table(&[4, 0, 7])), []);
    assert_eq!(kinds(&with_table(&[8, 0, 7])), [FaultKind::Malformed]);
    assert_eq!(kinds(&with_table(&[0])), [FaultKind::Malformed]);
    assert_eq!(kinds(&with_table(&[1, 2, 3])), [FaultKind::Malformed]);
    assert_eq!(kinds(&with_table(&[u32::MAX, u32::MAX, 0])), [FaultKind::Malformed]);
    let report = with_table(&vec![1; 1_000_000]);
    assert_eq!(kinds(&report), [FaultKind::Malformed]);
    assert!(report.facts.payloads.is_empty(), "nothing is kept of a table that is too long");
}

#[test]
fn pieces_change_nothing() {
    for name in SAMPLES {
        inspect_cut(name, &sample(name));
    }
}

proptest! {
    #[test]
    fn no_mutation_panics(bytes in mutated("uimage", &SAMPLES)) {
        survives(&bytes);
    }

    #[test]
    fn noise_behind_the_magic_does_not_panic(noise in prop::collection::vec(any::<u8>(), 0..2000)) {
        let bytes = [&MAGIC.to_be_bytes()[..], &noise].concat();
        let report = inspect(&bytes);
        prop_assert_eq!(report.facts.format.as_str(), "uimage");
        prop_assert!(!report.faults.is_empty());
    }
}
