use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::super::{
    Algorithm, FaultKind, Inspection, NameKind, Report, Signed,
    trial::{self, detail, inspect, inspect_cut, inspect_in, kinds, mutated, survives},
};

fn sample(name: &str) -> Vec<u8> {
    trial::sample(&format!("mender/{name}"))
}

fn names(report: &Report) -> Vec<&str> {
    trial::names(report).into_iter().map(|(_, name)| name).collect()
}

fn payloads(report: &Report) -> Vec<(&str, u64, bool)> {
    let payloads = report.facts.payloads.iter();
    payloads.map(|payload| (payload.name.as_str(), payload.size, payload.digest.is_some())).collect()
}

/// A tar archive of these files, as tar writes it.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        archive.extend_from_slice(&tar_header(name, bytes.len() as u64, b'0'));
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn tar_header(name: &str, size: u64, kind: u8) -> [u8; 512] {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[148..156].fill(b' ');
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}

const VERSION: &[u8] = br#"{"format":"mender","version":3}"#;
const HEADER_INFO: &[u8] = br#"{
    "payloads": [{"type": "app"}],
    "artifact_provides": {"artifact_name": "r-1.3.0"},
    "artifact_depends": {"device_type": ["demo-a"]}
}"#;
const TYPE_INFO: &[u8] = br#"{"type":"app"}"#;

/// An artifact of these header files and payload files, with the right manifest, and more entries behind.
fn artifact(header: &[(&str, &[u8])], files: &[(&str, &[u8])], more: &[(&str, &[u8])]) -> Vec<u8> {
    let header = gzip(&tar(header));
    let mut manifest = String::new();
    let mut line = |name: &str, bytes: &[u8]| {
        manifest.push_str(&format!("{}  {name}\n", hex::encode(Sha256::digest(bytes))));
    };
    for (name, bytes) in files {
        line(&format!("data/0000/{name}"), bytes);
    }
    line("header.tar.gz", &header);
    line("version", VERSION);
    let data = gzip(&tar(files));
    let mut entries = vec![
        ("version", VERSION),
        ("manifest", manifest.as_bytes()),
        ("header.tar.gz", header.as_slice()),
        ("data/0000.tar.gz", data.as_slice()),
    ];
    entries.extend_from_slice(more);
    tar(&entries)
}

const HEADER: [(&str, &[u8]); 2] = [("header-info", HEADER_INFO), ("headers/0000/type-info", TYPE_INFO)];

#[test]
fn a_module_image_states_what_its_tool_prints() {
    let report = inspect(&sample("module.mender"));
    assert_eq!(report.faults, []);
    let facts = &report.facts;
    assert_eq!(facts.format, "mender");
    assert_eq!(facts.version.as_deref(), Some("1.3.0"));
    assert_eq!(facts.semver.as_ref().map(ToString::to_string).as_deref(), Some("1.3.0"));
    assert!(facts.names.contains(&(NameKind::Compatible, "demo-a".into())));
    assert_eq!(names(&report), ["demo-a", "demo-b"]);
    assert_eq!(payloads(&report), [("data/0000/app.bin", 1191, true), ("data/0000/app.conf", 591, true)]);
    assert!(!facts.signed);
    for (label, value) in [
        ("format version", "3"),
        ("artifact name", "release-1.3.0"),
        ("artifact group", "fix"),
        ("depends on artifact_name", "release-1.2.0"),
        ("depends on artifact_group", "base"),
        ("payload 0000 type", "single-file"),
        ("payload 0000 provides custom.thing", "7"),
        ("payload 0000 provides rootfs-image.app.version", "1.3.0"),
        ("payload 0000 depends on rootfs-image.version", "1.0.0"),
        ("payload 0000 clears provides", "rootfs-image.app.*"),
        ("state script", "ArtifactInstall_Enter_00"),
        ("header.tar.gz compression", "gzip"),
    ] {
        assert_eq!(detail(&report, label), Some(value), "{label}");
    }
}

#[test]
fn the_version_is_that_of_the_software_or_the_name() {
    for (name, text, semver) in [
        ("data-partition.mender", "1.3.0-rc.1", Some("1.3.0-rc.1")),
        ("name-only.mender", "release-1.3.0", Some("1.3.0")),
        ("rsa.mender", "1.3.0", Some("1.3.0")),
        ("ecdsa.mender", "release-1.3.0", Some("1.3.0")),
        ("plain.mender", "1.3.0.4", None),
        ("version-2.mender", "release-1.3.0", Some("1.3.0")),
        ("bootstrap.mender", "release-1.3.0", Some("1.3.0")),
        ("augmented.mender", "release-1.3.0", Some("1.3.0")),
    ] {
        let report = inspect(&sample(name));
        assert_eq!(report.faults, [], "{name}");
        assert_eq!(report.facts.version.as_deref(), Some(text), "{name}");
        assert_eq!(report.facts.semver.map(|semver| semver.to_string()).as_deref(), semver, "{name}");
    }
}

#[test]
fn every_compression_is_looked_into() {
    for (name, compression) in [
        ("plain.mender", "none"),
        ("version-2.mender", "gzip"),
        ("version-2-signed.mender", "gzip"),
        ("xz.mender", "xz"),
        ("zstd.mender", "zstd"),
    ] {
        let report = inspect(&sample(name));
        assert_eq!(report.faults, [], "{name}");
        assert_eq!(names(&report), ["demo-a"], "{name}");
        assert_eq!(payloads(&report), [("data/0000/rootfs.img", 4542, true)], "{name}");
        assert_eq!(report.facts.installed_size, Some(4542), "{name}");
        let stated = report.facts.details.iter().filter(|(label, _)| label.ends_with(" compression"));
        assert_eq!(stated.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), [compression; 2]);
    }
    assert_eq!(
        inspect(&sample("rsa.mender")).facts.payloads[0].digest.as_deref(),
        Some("sha256:c97305dc464c2cfe4055df8ec3c5bfb8ba3e1817ca173cadaa54be017c409780")
    );
}

#[test]
fn signatures_come_with_what_they_sign() {
    for (name, algorithm) in [
        ("rsa.mender", Algorithm::RsaPkcs1Sha256),
        ("ecdsa.mender", Algorithm::EcdsaP256Sha256),
        ("version-2-signed.mender", Algorithm::EcdsaP256Sha256),
    ] {
        let image = sample(name);
        let report = inspect(&image);
        assert!(report.facts.signed);
        let [signature] = report.signatures.as_slice() else { panic!("one signature: {name}") };
        assert_eq!(signature.algorithm, algorithm);
        // The manifest is the second entry: its header is in the third block.
        let size = std::str::from_utf8(&image[1024 + 124..][..11]).expect("octal");
        let size = usize::from_str_radix(size, 8).expect("octal");
        let digest = Sha256::digest(&image[1536..1536 + size]);
        assert_eq!(signature.signed, Signed::Sha256(digest.into()));
        match algorithm {
            Algorithm::RsaPkcs1Sha256 => assert_eq!(signature.bytes.len(), 256),
            _ => {
                assert_eq!(signature.bytes[0], 0x30);
                assert_eq!(usize::from(signature.bytes[1]), signature.bytes.len() - 2);
            }
        }
    }
}

#[test]
fn short_and_long_numbers_become_right_der() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let der =
        |raw: &[u8]| super::manifest::signature(STANDARD.encode(raw).as_bytes(), [0; 32]).map(|s| s.bytes);
    let mut raw = [0; 64];
    assert_eq!(der(&raw), Some(vec![0x30, 6, 2, 1, 0, 2, 1, 0]));
    raw[31] = 0x80;
    raw[63] = 0x7f;
    let expected = vec![0x30, 7, 2, 2, 0, 0x80, 2, 1, 0x7f];
    assert_eq!(der(&raw), Some(expected.clone()));
    assert_eq!(der(&expected).as_deref(), Some(expected.as_slice()), "already DER, as key services give it");
    assert_eq!(der(&[0xff; 64]).map(|der| der.len()), Some(72));
    for wrong in [&[][..], &[1; 63], &[0x30; 72], &[1; 127]] {
        assert_eq!(der(wrong), None, "{}", wrong.len());
    }
}

#[test]
fn facts_are_told_when_the_header_has_passed() {
    let image = sample("rsa.mender");
    let mut inspection = Inspection::default();
    let mut told = None;
    for (index, byte) in image.chunks(1).enumerate() {
        inspection.update(byte);
        if told.is_none() && inspection.so_far().is_some_and(|facts| facts.version.is_some()) {
            told = Some(index);
        }
    }
    let data = image.windows(9).position(|bytes| bytes == b"data/0000").expect("an entry");
    let data = data.max(image.windows(16).position(|bytes| bytes == b"data/0000.tar.gz").expect("an entry"));
    assert!(told.expect("told") < data, "before the payload");
}

#[test]
fn tar_archives_of_other_things_are_tar() {
    for (name, entries) in [("gnu.tar", 2), ("pax.tar", 2), ("v7.tar", 1)] {
        let report = inspect(&sample(name));
        assert_eq!(report.faults, [], "{name}");
        assert_eq!(report.facts.format, "tar");
        assert_eq!(report.facts.version, None);
        let files = payloads(&report);
        assert_eq!(files[0], ("version", 591, false), "{name}");
        if entries == 2 {
            let long = format!("{}app.bin", "a-long-folder-name/".repeat(8));
            assert_eq!(files[1], (long.as_str(), 1191, false), "{name}");
        }
    }
}

#[test]
fn how_the_stream_is_cut_changes_nothing() {
    for name in ["module.mender", "xz.mender", "zstd.mender", "plain.mender", "augmented.mender", "pax.tar"] {
        inspect_cut(name, &sample(name));
    }
}

#[test]
fn how_a_damaged_stream_is_cut_changes_nothing_either() {
    for name in ["module.mender", "xz.mender", "zstd.mender"] {
        let image = sample(name);
        for at in (1024..image.len()).step_by(41) {
            let mut damaged = image.clone();
            damaged[at] = !damaged[at];
            let whole = inspect_in(damaged.len(), &damaged);
            for pieces in [1, 13, 700] {
                assert_eq!(inspect_in(pieces, &damaged), whole, "{name}, byte {at}, in pieces of {pieces}");
            }
        }
    }
}

#[test]
fn what_is_cut_is_truncated() {
    for name in ["module.mender", "rsa.mender", "xz.mender", "zstd.mender"] {
        let image = sample(name);
        // Short of its header it is no tar.
        for end in (512..image.len()).step_by(7).chain([image.len() - 1, 512, 1024, 1536]) {
            let report = inspect(&image[..end]);
            assert_eq!(kinds(&report), [FaultKind::Truncated], "{name} cut at {end}: {:?}", report.faults);
        }
    }
}

#[test]
fn what_is_appended_is_padding() {
    let image = sample("module.mender");
    for tail in [&b"x"[..], &[0; 20_000], &image] {
        let report = inspect(&[&image, tail].concat());
        assert_eq!(kinds(&report), [FaultKind::Padded]);
    }
    // Tar fills up its last record.
    let record = image.len().next_multiple_of(10_240);
    let mut filled = image.clone();
    filled.resize(record, 0);
    assert_eq!(inspect(&filled).faults, []);
}

#[test]
fn every_flipped_bit_that_matters_is_found() {
    for name in ["module.mender", "zstd.mender", "xz.mender", "plain.mender"] {
        let image = sample(name);
        let right = inspect(&image);
        // With its first header damaged it is no tar.
        for at in (512..image.len()).step_by(11) {
            let mut damaged = image.clone();
            damaged[at] ^= 0x10;
            let report = inspect(&damaged);
            // What fills blocks up is nobody's.
            assert!(image[at] == 0 || !report.faults.is_empty() || report == right, "{name}, byte {at}");
        }
    }
}

#[test]
fn damage_is_named_where_it_is() {
    let image = sample("plain.mender");
    let find = |text: &[u8]| image.windows(text.len()).position(|bytes| bytes == text).expect("there");
    let damaged = |at: usize| {
        let mut image = image.clone();
        image[at] ^= 1;
        inspect(&image)
    };
    let payload = damaged(find(b"line 9 of the sample payload"));
    assert_eq!(kinds(&payload), [FaultKind::DigestWrong, FaultKind::DigestWrong]);
    assert!(payload.faults[0].message.contains("data/0000/rootfs.img"), "{:?}", payload.faults);
    assert!(payload.faults[1].message.contains("rootfs-image.checksum"), "{:?}", payload.faults);
    assert_eq!(payload.facts.payloads[0].digest, None);
    let header = damaged(find(b"demo-a"));
    assert_eq!(kinds(&header), [FaultKind::DigestWrong]);
    assert!(header.faults[0].message.contains("header.tar"), "{:?}", header.faults);
    let manifest = damaged(1536 + 3);
    assert_eq!(manifest.faults.len(), 1, "{:?}", manifest.faults);
    let tar_header = damaged(1024 + 10);
    assert_eq!(kinds(&tar_header), [FaultKind::DigestWrong]);
}

#[test]
fn files_and_manifest_name_each_other() {
    let right = artifact(&HEADER, &[("a.bin", b"a")], &[]);
    assert_eq!(inspect(&right).faults, []);
    assert_eq!(inspect(&right).facts.semver.map(|semver| semver.to_string()).as_deref(), Some("1.3.0"));

    let data = gzip(&tar(&[("a.bin", b"a"), ("b.bin", b"b")]));
    let header = gzip(&tar(&HEADER));
    let line = |name: &str, bytes: &[u8]| format!("{}  {name}\n", hex::encode(Sha256::digest(bytes)));
    let manifest = |more: &str| {
        line("data/0000/a.bin", b"a") + &line("header.tar.gz", &header) + &line("version", VERSION) + more
    };
    let build = |manifest: &str| {
        inspect(&tar(&[
            ("version", VERSION),
            ("manifest", manifest.as_bytes()),
            ("header.tar.gz", &header),
            ("data/0000.tar.gz", &data),
        ]))
    };
    let message = |report: Report| {
        assert_eq!(kinds(&report), [FaultKind::Malformed], "{:?}", report.faults);
        report.faults[0].message.clone()
    };
    assert!(message(build(&manifest(""))).contains("\"data/0000/b.bin\" is in the artifact, but"));
    let with_b = line("data/0000/b.bin", b"b");
    assert!(message(build(&manifest(&(with_b.clone() + &line("data/0000/c.bin", b"c"))))).contains("c.bin"));
    assert!(
        message(build(&manifest(&(with_b.clone() + &line("version", VERSION))))).contains("named before")
    );
    assert!(message(build(&manifest(&(with_b + "no digest\n")))).contains("line 5"));
}

#[test]
fn parts_out_of_order_are_refused() {
    let manifest = [0; 0];
    let header = gzip(&tar(&HEADER));
    for entries in [
        &[("version", VERSION), ("header.tar.gz", &header), ("manifest", &manifest)][..],
        &[("version", VERSION), ("manifest", &manifest), ("data/0000.tar.gz", &header)],
        &[("version", VERSION), ("manifest", &manifest), ("manifest", &manifest)],
        &[("version", VERSION), ("manifest.sig", b"AA=="), ("manifest", &manifest)],
        &[("version", VERSION), ("manifest", &manifest), ("header-augment.tar", &header)],
        &[("version", VERSION), ("manifest", &manifest), ("version", VERSION)],
    ] {
        let report = inspect(&tar(entries));
        assert!(
            report.faults.iter().any(|fault| fault.message.contains("stands behind")),
            "{:?}",
            report.faults
        );
    }
    let report = inspect(&artifact(&HEADER, &[("a", b"a")], &[("evil", b"x")]));
    assert!(report.faults[0].message.contains("\"evil\" is nothing"), "{:?}", report.faults);
    let report = inspect(&artifact(&HEADER, &[("a", b"a")], &[("data/0001.tar", b"x")]));
    assert!(report.faults[0].message.contains("does not list"), "{:?}", report.faults);
    let report = inspect(&artifact(&HEADER, &[("../a", b"a")], &[]));
    assert!(report.faults[0].message.contains("devices take plain files"), "{:?}", report.faults);
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    for (header, word) in [
        (&[("headers/0000/type-info", TYPE_INFO), ("header-info", HEADER_INFO)][..], "header-info is first"),
        (&[("header-info", HEADER_INFO)], "type-info is missing"),
        (
            &[("header-info", HEADER_INFO), ("headers/0000/type-info", br#"{"type":"x"}"#)],
            "for the same payload",
        ),
        (&[("header-info", HEADER_INFO), ("headers/0001/type-info", TYPE_INFO)], "does not list"),
        (&[("header-info", b"{}"), ("headers/0000/type-info", TYPE_INFO)], "no artifact name"),
        (&[("header-info", b"[")], "no JSON object"),
        (&[("header-info", &[b'['; 200_000])], "no JSON object"),
        (&[("header-info", &[b' '; 300_000])], "no more are read"),
        (&[HEADER[0], HEADER[1], HEADER[1]], "more than once"),
        (&[HEADER[0], HEADER[1], ("scripts/ArtifactInstall_Enter_00", b"")], "scripts come before"),
        (&[HEADER[0], ("other", b""), HEADER[1]], "nothing that the header"),
    ] {
        let report = inspect(&artifact(header, &[("a", b"a")], &[]));
        assert!(
            report.faults.iter().any(|fault| fault.message.contains(word)),
            "{word}: {:?}",
            report.faults
        );
        assert!(report.faults.iter().all(|fault| fault.kind == FaultKind::Malformed));
    }
}

#[test]
fn other_versions_are_refused_with_what_to_do() {
    for version in ["1", "4", "18446744073709551615"] {
        let text = format!(r#"{{"format":"mender","version":{version}}}"#);
        let report = inspect(&tar(&[("version", text.as_bytes())]));
        assert_eq!(report.facts.format, "mender");
        assert!(report.faults[0].message.contains("--version 3"), "{:?}", report.faults);
    }
}

#[test]
fn an_unknown_compression_is_said_and_the_rest_verified() {
    let header = gzip(&tar(&HEADER));
    let line = |name: &str, bytes: &[u8]| format!("{}  {name}\n", hex::encode(Sha256::digest(bytes)));
    let manifest = line("data/0000/a", b"a") + &line("header.tar.gz", &header) + &line("version", VERSION);
    let report = inspect(&tar(&[
        ("version", VERSION),
        ("manifest", manifest.as_bytes()),
        ("header.tar.gz", &header),
        ("data/0000.tar.lz4", b"??"),
    ]));
    assert_eq!(report.faults, []);
    assert_eq!(payloads(&report), [("data/0000.tar.lz4", 2, false)]);
    assert!(detail(&report, "not looked into").is_some());
}

#[test]
fn a_damaged_gzip_is_one_fault() {
    let data = gzip(&tar(&[("a", &[7; 5000])]));
    let header = gzip(&tar(&HEADER));
    let line = |name: &str, bytes: &[u8]| format!("{}  {name}\n", hex::encode(Sha256::digest(bytes)));
    let manifest =
        line("data/0000/a", &[7; 5000]) + &line("header.tar.gz", &header) + &line("version", VERSION);
    let build = |data: &[u8]| {
        inspect(&tar(&[
            ("version", VERSION),
            ("manifest", manifest.as_bytes()),
            ("header.tar.gz", &header),
            ("data/0000.tar.gz", data),
        ]))
    };
    assert_eq!(build(&data).faults, []);
    for end in 0..data.len() {
        let report = build(&data[..end]);
        assert!(kinds(&report).contains(&FaultKind::Malformed), "cut at {end}: {:?}", report.faults);
        assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
    }
    assert_eq!(build(&[&data[..], b"tail"].concat()).faults.len(), 1);
    // Several members are one gzip.
    let archive = tar(&[("a", &[7; 5000])]);
    assert_eq!(build(&[gzip(&archive[..700]), gzip(&archive[700..])].concat()).faults, []);
}

#[test]
fn decompression_bombs_are_stopped() {
    // A file of zstd blocks that repeat one byte 128 KiB long, four bytes each: 32768 to 1.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
    for _ in 0..4000 {
        bomb.extend_from_slice(&[0x02 | (0x20000_u32 << 3) as u8, ((0x20000_u32 << 3) >> 8) as u8, 0x10, 0]);
    }
    let header = gzip(&tar(&HEADER));
    let line = |name: &str, bytes: &[u8]| format!("{}  {name}\n", hex::encode(Sha256::digest(bytes)));
    let manifest = line("header.tar.gz", &header) + &line("version", VERSION);
    let report = inspect(&tar(&[
        ("version", VERSION),
        ("manifest", manifest.as_bytes()),
        ("header.tar.gz", &header),
        ("data/0000.tar.zst", &bomb),
    ]));
    assert!(
        report.faults.iter().any(|fault| fault.message.contains("decompression bomb")),
        "{:?}",
        report.faults
    );
}

#[test]
fn a_window_of_gigabytes_is_refused() {
    let header = gzip(&tar(&HEADER));
    let line = |name: &str, bytes: &[u8]| format!("{}  {name}\n", hex::encode(Sha256::digest(bytes)));
    let manifest = line("header.tar.gz", &header) + &line("version", VERSION);
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 0xf8, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let report = inspect(&tar(&[
        ("version", VERSION),
        ("manifest", manifest.as_bytes()),
        ("header.tar.gz", &header),
        ("data/0000.tar.zst", &frame),
    ]));
    assert_eq!(kinds(&report), [FaultKind::Malformed], "{:?}", report.faults);
}

#[test]
fn a_million_entries_take_no_memory() {
    let mut inspection = Inspection::default();
    let header = tar_header("x", 0, b'0');
    let many = header.repeat(1000);
    for _ in 0..1000 {
        inspection.update(&many);
    }
    inspection.update(&[0; 1024]);
    let report = inspection.finish();
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.payloads.len(), 100);
    assert_eq!(detail(&report, "entries"), Some("1000000"));

    let mut inspection = Inspection::default();
    inspection.update(&tar(&[("version", VERSION)])[..1024]);
    for _ in 0..100 {
        inspection.update(&many);
    }
    assert_eq!(inspection.finish().faults.len(), 11, "ten of a kind, and the missing end");
}

#[test]
fn stated_lengths_allocate_nothing() {
    let largest = 0o77_777_777_777;
    for kind in [b'x', b'L', b'K', b'g', b'0', b'S'] {
        let image = [&tar_header("a", largest, kind)[..], &[b'a'; 100_000]].concat();
        assert_eq!(inspect(&image).faults.len(), 1);
    }
    for field in [[0xff; 12], *b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", *b"99999999999\0", [b' '; 12]] {
        let mut header = tar_header("a", 0, b'0');
        header[124..136].copy_from_slice(&field);
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(inspect(&[&header[..], &[0; 4096]].concat()).faults.len(), 1, "{field:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn mutations_never_panic(bytes in mutated(
        "mender",
        &["module.mender", "augmented.mender", "xz.mender", "zstd.mender", "ecdsa.mender", "plain.mender"],
    )) {
        survives(&bytes);
    }

    #[test]
    fn any_payload_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..3000), suffix in 0..4_usize) {
        let (name, start) = [
            ("data/0000.tar", &b""[..]),
            ("data/0000.tar.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0"),
            ("data/0000.tar.xz", b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46"),
            ("data/0000.tar.zst", b"\x28\xb5\x2f\xfd"),
        ][suffix];
        let bytes = [start, &bytes].concat();
        let header = tar(&HEADER);
        inspect(&tar(&[("version", VERSION), ("manifest", b""), ("header.tar", &header), (name, &bytes)]));
    }

    #[test]
    fn any_text_of_a_part_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        which in 0..4_usize,
    ) {
        let mut parts = vec![("version", VERSION), ("manifest", &b"x"[..]), ("manifest.sig", &b""[..])];
        match which {
            0 => parts[1].1 = &bytes,
            1 => parts[2].1 = &bytes,
            2 => parts[0].1 = &bytes,
            _ => {}
        }
        let header = tar(&[("header-info", &bytes), ("headers/0000/type-info", &bytes)]);
        parts.push(("header.tar", &header));
        inspect(&tar(&parts));
    }
}
