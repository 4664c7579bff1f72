use proptest::prelude::*;

use super::super::trial::{
    cuts_show, detail, flips_show, inspect, inspect_in, kinds, mutated, names, sample, survives, whole,
};
use super::super::{Algorithm, FaultKind, Inspection, NameKind, Signed};
use super::MOST_FILES;

/// What `sha256sum` says of the firmware in the samples.
const FIRMWARE: &str = "sha256:c8740be5f82ce735876c360377d427a9e8548c2fdc899d1d184205fed41cf97a";

/// A stored file in a zip archive; with its entry for the directory.
fn stored(name: &str, content: &[u8], at: usize) -> (Vec<u8>, Vec<u8>) {
    let crc = crc32fast::hash(content).to_le_bytes();
    let size = u32::try_from(content.len()).expect("small").to_le_bytes();
    let length = u16::try_from(name.len()).expect("short").to_le_bytes();
    let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &crc, &size, &size, &length, &[0; 2]].concat();
    let at = u32::try_from(at).expect("small").to_le_bytes();
    (
        [b"PK\x03\x04", &common[..], name.as_bytes(), content].concat(),
        [b"PK\x01\x02\x14\x03", &common[..], &[0; 10], &at, name.as_bytes()].concat(),
    )
}

/// An archive of these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut all, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let (file, entry) = stored(name, content, all.len());
        all.extend(file);
        directory.extend(entry);
    }
    let count = u16::try_from(files.len()).unwrap_or(u16::MAX).to_le_bytes();
    let [size, at] = [directory.len(), all.len()].map(|n| u32::try_from(n).expect("small").to_le_bytes());
    [&all[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &size, &at, &[0; 2]].concat()
}

const PACKET: &[u8] = &[0x52, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0xff, 0xff];
const MANIFEST: &[u8] = br#"{"manifest": {"application": {"bin_file": "a.bin", "dat_file": "a.dat"}}}"#;

#[test]
fn legacy_packages_state_device_version_and_digest() {
    let report = whole("nordic-dfu/legacy.zip");
    assert_eq!(report.facts.format, "nordic-dfu");
    assert_eq!(report.facts.version.as_deref(), Some("66304"));
    assert_eq!(report.facts.semver, None);
    assert_eq!(
        detail(&report, "application version"),
        Some("66304; read as decimals 6.63.4, read as bytes 1.3.0")
    );
    assert_eq!(detail(&report, "application device revision"), Some("1"));
    assert_eq!(detail(&report, "application needs SoftDevice"), None, "0xfffe is any");
    assert_eq!(names(&report), [(NameKind::Hardware, "0x0052")]);
    assert_eq!((report.facts.signed, report.facts.security_counter), (false, None));
    assert_eq!(report.facts.payloads[0].name, "app.bin");
    assert_eq!(report.facts.payloads[0].size, 2900);
    assert_eq!(report.facts.payloads[0].digest.as_deref(), Some("crc16:7e98"));
    assert_eq!(report.facts.installed_size, Some(2900));

    let report = whole("nordic-dfu/legacy-two-images.zip");
    assert_eq!(report.facts.version.as_deref(), Some("7"));
    assert_eq!(detail(&report, "bootloader needs SoftDevice"), Some("0x100 or 0x123"));
    let sizes: Vec<_> = report.facts.payloads.iter().map(|payload| payload.size).collect();
    assert_eq!(sizes, [2900, 1200]);

    for (path, signed) in [("nordic-dfu/legacy-hash.zip", false), ("nordic-dfu/legacy-signed.zip", true)] {
        let report = whole(path);
        assert_eq!(report.facts.own_digest.as_deref(), Some(FIRMWARE));
        assert_eq!((report.facts.signed, report.signatures.len()), (signed, usize::from(signed)));
    }
}

#[test]
fn secure_packages_state_what_nrfutil_displays() {
    let report = whole("nordic-dfu/secure.zip");
    assert_eq!(report.facts.version.as_deref(), Some("10300"));
    assert_eq!(report.facts.security_counter, Some(10300));
    assert_eq!(
        detail(&report, "application version"),
        Some("10300; read as decimals 1.3.0, read as bytes 0.40.60")
    );
    assert_eq!(names(&report), [(NameKind::Hardware, "52")]);
    assert_eq!(detail(&report, "application needs SoftDevice"), Some("0x100 or 0x123"));
    assert_eq!(detail(&report, "application validation at boot"), Some("generated CRC"));
    assert_eq!(report.facts.own_digest.as_deref(), Some(FIRMWARE));
    assert!(report.facts.signed);
    let [signature] = &report.signatures[..] else { panic!("{report:?}") };
    assert_eq!(signature.algorithm, Algorithm::EcdsaP256Sha256);
    let Signed::Message(message) = &signature.signed else { panic!("{signature:?}") };
    assert_eq!(message[..3], [0x08, 0xbc, 0x50], "the init command begins with version 10300");

    let report = whole("nordic-dfu/secure-unsigned.zip");
    assert_eq!((report.facts.signed, report.facts.security_counter), (false, None));
    assert!(detail(&report, "application debug").is_some());
    assert!(detail(&report, "application target").is_some());

    let report = whole("nordic-dfu/secure-all.zip");
    assert_eq!(report.facts.version.as_deref(), Some("5"), "the application's");
    assert_eq!(report.signatures.len(), 2);
    let payloads: Vec<_> = report.facts.payloads.iter().map(|payload| payload.name.as_str()).collect();
    assert_eq!(payloads, ["app.bin", "sd_bl.bin"]);
}

#[test]
fn however_it_is_packed_it_says_the_same() {
    let report = whole("nordic-dfu/secure.zip");
    for path in ["secure-deflated", "secure-streamed", "secure-zip64"] {
        let other = whole(&format!("nordic-dfu/{path}.zip"));
        assert_eq!(other, report, "{path}");
    }
}

#[test]
fn other_archives_are_stated_as_zip() {
    let report = whole("nordic-dfu/plain.zip");
    assert_eq!(report.facts.format, "zip");
    assert_eq!(report.facts.payloads.len(), 2);
    assert!(report.facts.payloads[1].digest.as_ref().is_some_and(|digest| digest.starts_with("crc32:")));
    assert_eq!(whole("nordic-dfu/bzip2.zip").facts.payloads[0].digest, None);
    assert_eq!(whole("nordic-dfu/encrypted.zip").facts.format, "zip");
}

#[test]
fn facts_are_known_before_the_firmware() {
    let bytes = sample("nordic-dfu/secure-deflated.zip");
    let mut inspection = Inspection::default();
    inspection.update(&bytes[..1024 + 16]);
    let facts = inspection.so_far().expect("manifest and init packet come first");
    assert_eq!(facts.version.as_deref(), Some("10300"));
    assert!(facts.signed);
}

#[test]
fn cuts_and_bytes_behind_are_told() {
    for path in ["nordic-dfu/secure.zip", "nordic-dfu/secure-streamed.zip", "nordic-dfu/secure-zip64.zip"] {
        cuts_show(path, |end, report| end < 4 || kinds(report).contains(&FaultKind::Truncated));
    }
    for behind in [1, 22, 4096] {
        let mut bytes = sample("nordic-dfu/secure.zip");
        bytes.resize(bytes.len() + behind, 0);
        assert_eq!(kinds(&inspect(&bytes)), [FaultKind::Padded]);
    }
}

#[test]
fn flipped_bits_in_the_files_are_told() {
    for path in ["nordic-dfu/legacy.zip", "nordic-dfu/secure-deflated.zip", "nordic-dfu/secure-streamed.zip"]
    {
        let bytes = sample(path);
        let directory = bytes.windows(4).position(|four| four == b"PK\x01\x02").expect("a directory");
        let local: Vec<usize> = (0..directory).filter(|at| bytes[*at..].starts_with(b"PK\x03\x04")).collect();
        // A streamed archive's local headers have no CRC and sizes.
        let unjudged = if path.contains("streamed") { 26 } else { 14 };
        // Versions, flags and times of local headers, which the directory repeats, are not compared.
        let judged = |at: usize| {
            let header = local.iter().rfind(|header| **header <= at).expect("begins with one");
            at < directory && !(4..unjudged).contains(&(at - header))
        };
        // DEFLATE has bits that mean nothing.
        let right = inspect(&bytes);
        flips_show(path, |at, report| at < 4 || !judged(at) || !report.faults.is_empty() || *report == right);
    }
}

#[test]
fn firmware_and_init_packet_must_fit() {
    let right = archive(&[("manifest.json", MANIFEST), ("a.dat", PACKET), ("a.bin", b"")]);
    assert_eq!(inspect(&right).faults, [], "the CRC16 of nothing is 0xffff");
    let wrong = archive(&[("a.bin", b"firmware"), ("a.dat", PACKET), ("manifest.json", MANIFEST)]);
    assert_eq!(kinds(&inspect(&wrong)), [FaultKind::DigestWrong]);
    let missing = archive(&[("manifest.json", MANIFEST), ("a.dat", PACKET)]);
    assert_eq!(kinds(&inspect(&missing)), [FaultKind::Malformed]);
    let bad_packet = archive(&[("manifest.json", MANIFEST), ("a.dat", b"?"), ("a.bin", b"")]);
    assert_eq!(kinds(&inspect(&bad_packet)), [FaultKind::Malformed]);
    let twice = archive(&[("manifest.json", MANIFEST), ("a.dat", PACKET), ("a.bin", b""), ("a.bin", b"")]);
    assert_eq!(kinds(&inspect(&twice)), [FaultKind::Malformed]);
    let manifest = br#"{"manifest": {"application": {"bin_file": 7}}}"#;
    let report = inspect(&archive(&[("manifest.json", manifest)]));
    assert_eq!((kinds(&report), report.facts.format.as_str()), (vec![FaultKind::Malformed], "nordic-dfu"));
    let manifest = br#"{"manifest": {"application": {"bin_file": "a.bin", "dat_file": "a.dat",
        "init_packet_data": {"application_version": 8, "device_type": 82, "device_revision": 2}}}}"#;
    let report = inspect(&archive(&[("manifest.json", manifest), ("a.dat", PACKET), ("a.bin", b"")]));
    assert_eq!(report.faults.len(), 2, "version and revision: {report:?}");
}

#[test]
fn the_directory_must_say_what_the_files_say() {
    let right = archive(&[("a", b"1"), ("b", b"2")]);
    assert_eq!(inspect(&right).faults, []);
    let at = right.windows(4).position(|four| four == b"PK\x01\x02").expect("a directory");
    for offset in [at + 10, at + 16, at + 20, at + 24, at + 42, at + 46, right.len() - 12, right.len() - 6] {
        let mut wrong = right.clone();
        wrong[offset] ^= 1;
        assert_eq!(kinds(&inspect(&wrong))[0], FaultKind::Malformed, "{offset}");
    }
}

#[test]
fn hostile_archives_are_bounded() {
    let files: Vec<String> = (0..60_000).map(|number| format!("{number}")).collect();
    let mut files: Vec<(&str, &[u8])> = files.iter().map(|name| (name.as_str(), &[][..])).collect();
    let report = inspect(&archive(&files));
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.payloads.len(), MOST_FILES);
    assert_eq!(detail(&report, "files"), Some("60000"));
    files.truncate(100);
    files.insert(0, ("manifest.json", MANIFEST));
    assert!(kinds(&inspect(&archive(&files))).contains(&FaultKind::Malformed));

    // Says that it has 10 bytes, and unpacks to 50 MB.
    let packed = miniz_oxide::deflate::compress_to_vec(&vec![0; 50 << 20], 6);
    let mut bomb = archive(&[("a", &packed)]);
    bomb[8] = 8;
    bomb[22..26].copy_from_slice(&10u32.to_le_bytes());
    let report = inspect(&bomb);
    assert_eq!(kinds(&report), [FaultKind::Malformed]);
    assert_eq!(report.facts.payloads, []);

    for length in [0, 1, u32::MAX - 1, u32::MAX] {
        for at in [18, 22] {
            let mut bytes = sample("nordic-dfu/secure.zip");
            bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
            assert!(!inspect(&bytes).faults.is_empty(), "{at} = {length}");
        }
    }
}

proptest! {
    #[test]
    fn mutations_never_panic(bytes in mutated(
        "nordic-dfu",
        &["secure-all.zip", "secure-streamed.zip", "secure-zip64.zip", "legacy-signed.zip"],
    )) {
        survives(&bytes);
    }

    #[test]
    fn packets_and_manifests_never_panic(
        packet in prop::collection::vec(any::<u8>(), 0..60),
        bytes in "[{}\":,a-z0-9]{0,80}",
    ) {
        let image = format!(r#"{{"manifest": {{"application": {bytes}}}}}"#);
        for manifest in [MANIFEST, image.as_bytes()] {
            let package = archive(&[("manifest.json", manifest), ("a.dat", &packet), ("a.bin", &packet)]);
            assert_eq!(inspect(&package), inspect_in(5, &package));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&[b"PK\x03\x04", &bytes[..]].concat());
    }
}
