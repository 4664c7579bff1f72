use std::io::Write;

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder},
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::super::{
    FaultKind, Inspection, NameKind, Report,
    trial::{self, inspect, inspect_cut, kinds, mutated, survives},
};

fn sample(name: &str) -> Vec<u8> {
    trial::sample(&format!("fwupd/{name}"))
}

fn message(report: &Report) -> &str {
    assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
    &report.faults[0].message
}

fn digest<'a>(report: &'a Report, name: &str) -> Option<&'a str> {
    let payload = report.facts.payloads.iter().find(|payload| payload.name == name).expect(name);
    payload.digest.as_deref()
}

fn details<'a>(report: &'a Report, label: &str) -> Vec<&'a str> {
    let details = report.facts.details.iter().filter(|(name, _)| name == label);
    details.map(|(_, value)| value.as_str()).collect()
}

fn semver(report: &Report) -> Option<String> {
    report.facts.semver.as_ref().map(ToString::to_string)
}

/// The data blocks of a folder, and what each becomes.
type Blocks = Vec<(Vec<u8>, u16)>;

/// A cabinet of one folder: its compression, blocks as `(bytes, unpacked size)`, files as `(name, size,
/// start)`.
fn cabinet(compression: u16, blocks: &[(Vec<u8>, u16)], files: &[(&str, u32, u32)]) -> Vec<u8> {
    let mut tables = Vec::new();
    for (name, size, start) in files {
        tables.extend_from_slice(&size.to_le_bytes());
        tables.extend_from_slice(&start.to_le_bytes());
        tables.extend_from_slice(&[0; 8]);
        tables.extend_from_slice(name.as_bytes());
        tables.push(0);
    }
    let data_start = 36 + 8 + tables.len();
    let size = data_start + blocks.iter().map(|(bytes, _)| 8 + bytes.len()).sum::<usize>();
    let mut image = b"MSCF\0\0\0\0".to_vec();
    image.extend_from_slice(&(size as u32).to_le_bytes());
    image.extend_from_slice(&[0; 4]);
    image.extend_from_slice(&44_u32.to_le_bytes());
    image.extend_from_slice(&[0, 0, 0, 0, 3, 1, 1, 0]);
    image.extend_from_slice(&(files.len() as u16).to_le_bytes());
    image.extend_from_slice(&[0; 6]);
    image.extend_from_slice(&(data_start as u32).to_le_bytes());
    image.extend_from_slice(&(blocks.len() as u16).to_le_bytes());
    image.extend_from_slice(&compression.to_le_bytes());
    image.extend_from_slice(&tables);
    for (bytes, unpacked) in blocks {
        image.extend_from_slice(&[0; 4]);
        image.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
        image.extend_from_slice(&unpacked.to_le_bytes());
        image.extend_from_slice(bytes);
    }
    image
}

fn stored(bytes: &[u8]) -> Blocks {
    bytes.chunks(32768).map(|block| (block.to_vec(), block.len() as u16)).collect()
}

fn zipped(bytes: &[u8]) -> Blocks {
    let block = |block: &[u8]| {
        let mut encoder = DeflateEncoder::new(b"CK".to_vec(), Compression::fast());
        encoder.write_all(block).expect("into memory");
        (encoder.finish().expect("into memory"), block.len() as u16)
    };
    bytes.chunks(32768).map(block).collect()
}

fn metainfo(release: &str) -> String {
    format!(
        "<component type=\"firmware\"><id>org.example.x</id><releases>\
         <release version=\"1.0.0\">{release}</release>\
         </releases></component>"
    )
}

/// A cabinet of a metadata file and a firmware.
fn update(metadata: &str, firmware: &[u8]) -> Vec<u8> {
    let both = [metadata.as_bytes(), firmware].concat();
    let files = [
        ("x.metainfo.xml", metadata.len() as u32, 0),
        ("firmware.bin", firmware.len() as u32, metadata.len() as u32),
    ];
    cabinet(0, &stored(&both), &files)
}

#[test]
fn a_signed_cabinet_states_what_its_tool_prints() {
    let report = inspect(&sample("signed.cab"));
    assert_eq!(report.faults, []);
    let facts = &report.facts;
    assert_eq!(facts.format, "fwupd");
    assert_eq!(facts.version.as_deref(), Some("1.3.0"));
    assert_eq!(semver(&report).as_deref(), Some("1.3.0"));
    for name in [
        (NameKind::Product, "org.example.demo-a.firmware"),
        (NameKind::Vendor, "Demo developer"),
        (NameKind::Compatible, "2082b5e0-7a64-478a-b1b2-e3404fab6dad"),
    ] {
        assert!(facts.names.contains(&(name.0, name.1.into())), "{name:?}");
    }
    assert!(facts.signed);
    assert_eq!(facts.installed_size, Some(1851));
    assert_eq!(
        digest(&report, "app.bin"),
        Some("sha256:9b51f48998d2e4be635599558149216fd63f90759d0527f5570c139b3f357169")
    );
    assert!(digest(&report, "app.metainfo.xml").is_some_and(|digest| digest.starts_with("sha1:")));
    assert_eq!(digest(&report, "firmware.jcat"), None);
    assert_eq!(
        details(&report, "requires"),
        ["id org.freedesktop.fwupd ge 1.9.1", "firmware bootloader ge 0.1.0"]
    );
    assert_eq!(details(&report, "signature"), ["PKCS7 of app.metainfo.xml"]);
    assert_eq!(details(&report, "urgency"), ["high"]);
    assert_eq!(details(&report, "name"), ["Demo A"]);
}

#[test]
fn samples_of_every_tool_are_whole() {
    for (name, version, mapped, signed, compression) in [
        ("plain.cab", Some("1.3.0"), Some("1.3.0"), true, "none"),
        ("two.cab", Some("1.3.0"), Some("1.3.0"), false, "none"),
        ("zip.cab", Some("1.3.0"), Some("1.3.0"), false, "MSZIP"),
        ("cabarchive.cab", Some("1.3.0"), Some("1.3.0"), false, "MSZIP"),
        ("artifact.cab", Some("1.3.0"), Some("1.3.0"), false, "MSZIP"),
        ("quad.cab", Some("1.3.0.4"), None, false, "MSZIP"),
        ("hex.cab", Some("0x01030000"), Some("1.3.0"), false, "MSZIP"),
        ("composite.cab", None, None, false, "MSZIP"),
    ] {
        let report = inspect(&sample(name));
        assert_eq!(report.faults, [], "{name}");
        assert_eq!(report.facts.format, "fwupd", "{name}");
        assert_eq!(report.facts.version.as_deref(), version, "{name}");
        assert_eq!(semver(&report).as_deref(), mapped, "{name}");
        assert_eq!(report.facts.signed, signed, "{name}");
        assert_eq!(details(&report, "compression"), [compression], "{name}");
        let firmware = report.facts.payloads.iter().filter(|payload| payload.name.ends_with(".bin"));
        assert!(
            firmware.clone().count() > 0 && firmware.clone().all(|payload| payload.digest.is_some()),
            "{name}"
        );
    }
    assert_eq!(details(&inspect(&sample("composite.cab")), "release"), ["1.3.0", "2.0.0"]);
    assert_eq!(details(&inspect(&sample("plain.cab")), "signature file"), ["app.bin.asc"]);
    let other = inspect(&sample("no-metadata.cab"));
    assert_eq!(
        (other.facts.format.as_str(), other.faults.len(), other.facts.payloads.len()),
        ("cabinet", 0, 2)
    );
    assert_eq!(other.facts.version, None);
}

#[test]
fn blocks_look_back_into_the_blocks_before() {
    let report = inspect(&sample("zip.cab"));
    let payload = &report.facts.payloads[1];
    assert!(payload.size > 3 * 32768 - 32768, "{}", payload.size);
    assert!(payload.digest.as_ref().is_some_and(|digest| digest.starts_with("sha1:")));
    // The sample's second block cannot be read alone.
    let image = sample("zip.cab");
    assert!(image.windows(2).filter(|bytes| bytes == b"CK").count() >= 3);
}

#[test]
fn facts_are_told_when_the_metadata_has_passed() {
    let image = sample("zip.cab");
    let mut inspection = Inspection::default();
    inspection.update(&image[..1100]);
    assert!(inspection.so_far().is_none(), "the first block ends later");
    let mut told = 0;
    for byte in image[1100..].chunks(1) {
        told += 1;
        inspection.update(byte);
        if inspection.so_far().is_some() {
            break;
        }
    }
    assert!(told + 1100 < image.len() / 2, "after {told} more bytes");
    assert_eq!(inspection.so_far().and_then(|facts| facts.version.as_deref()), Some("1.3.0"));
}

#[test]
fn how_the_stream_is_cut_changes_nothing() {
    for name in ["signed.cab", "zip.cab", "plain.cab", "composite.cab"] {
        inspect_cut(name, &sample(name));
    }
}

#[test]
fn what_is_cut_is_truncated() {
    for name in ["signed.cab", "zip.cab", "cabarchive.cab"] {
        let image = sample(name);
        let step = if image.len() > 5000 { 97 } else { 1 };
        for end in (8..image.len()).step_by(step) {
            let report = inspect(&image[..end]);
            assert_eq!(kinds(&report), [FaultKind::Truncated], "{name} cut at {end}: {:?}", report.faults);
        }
    }
}

#[test]
fn what_is_appended_is_padding() {
    let image = sample("signed.cab");
    for tail in [&b"x"[..], &[0; 20_000], &image] {
        let report = inspect(&[&image, tail].concat());
        assert_eq!(kinds(&report), [FaultKind::Padded]);
        assert!(message(&report).contains(&format!("{} bytes stand behind", tail.len())));
    }
}

#[test]
fn an_authenticode_signature_is_no_padding() {
    // The header's flag, the sizes of what is reserved, and the 20 bytes that say where the signature is.
    let plain = cabinet(0, &stored(b"abc"), &[("a", 3, 0)]);
    let mut image = plain[..36].to_vec();
    image[30] = 4;
    let size = plain.len() as u32 + 24;
    image[8..12].copy_from_slice(&size.to_le_bytes());
    image[16] += 24;
    image.extend_from_slice(&[20, 0, 0, 0]);
    for number in [0x0010_0000, size, 5, 0, 0] {
        image.extend_from_slice(&u32::to_le_bytes(number));
    }
    image.extend_from_slice(&plain[36..]);
    image[60] += 24;
    image.extend_from_slice(b"cms!!");
    let report = inspect(&image);
    assert_eq!(report.faults, []);
    assert!(report.facts.signed);
    image.push(0);
    assert_eq!(kinds(&inspect(&image)), [FaultKind::Padded]);
}

#[test]
fn every_flipped_bit_of_data_is_found() {
    for name in ["signed.cab", "plain.cab", "artifact.cab"] {
        let image = sample(name);
        let data = u32::from_le_bytes(image[36..40].try_into().expect("four")) as usize;
        for at in data..image.len() {
            let mut damaged = image.clone();
            damaged[at] ^= 0x10;
            let report = inspect(&damaged);
            assert!(!report.faults.is_empty(), "{name}, byte {at}");
        }
        // In the bytes of the block it is its checksum that is wrong, whatever follows from it.
        for at in data + 8..image.len() {
            let mut damaged = image.clone();
            damaged[at] ^= 1;
            assert!(kinds(&inspect(&damaged)).contains(&FaultKind::DigestWrong), "{name}, byte {at}");
        }
    }
}

#[test]
fn checksums_of_the_metadata_are_computed_again() {
    let checksum = |digest: &str| format!("<checksum target=\"content\">{digest}</checksum>");
    let right = hex::encode(Sha256::digest(b"firmware"));
    let report = inspect(&update(&metainfo(&checksum(&right.to_uppercase())), b"firmware"));
    assert_eq!(report.faults, []);
    assert_eq!(digest(&report, "firmware.bin"), Some(format!("sha256:{right}").as_str()));

    let report = inspect(&update(&metainfo(&checksum(&right)), b"firmwarf"));
    assert_eq!(kinds(&report), [FaultKind::DigestWrong]);
    assert!(message(&report).contains("\"firmware.bin\""));
    assert_eq!(digest(&report, "firmware.bin"), None);

    let report = inspect(&update(&metainfo(&checksum("da39a3ee5e6b4b0d3255bfef95601890afd80709")), b"x"));
    assert_eq!(kinds(&report), [FaultKind::DigestWrong], "SHA-1 of nothing");
    let report = inspect(&update(&metainfo(&checksum("nonsense")), b"x"));
    assert!(message(&report).contains("no digest in hex"));
    let report = inspect(&update(&metainfo(&checksum(&"0".repeat(128))), b"x"));
    assert_eq!((report.faults.len(), details(&report, "not verified").len()), (0, 1));
    let report = inspect(&update(&metainfo("<size type=\"installed\">5</size>"), b"x"));
    assert!(message(&report).contains("states 5 bytes installed"));
    assert_eq!(inspect(&update(&metainfo("<size type=\"installed\">0x1</size>"), b"x")).faults, []);
    let missing = "<checksum target=\"content\" filename=\"other.bin\"/>";
    assert!(message(&inspect(&update(&metainfo(missing), b"x"))).contains("which is not in the cabinet"));
}

#[test]
fn metadata_that_says_nothing_is_refused() {
    for (metadata, word) in [
        ("", "no right XML"),
        ("<component", "no right XML"),
        ("<html/>", "not with <component>"),
        ("<component type=\"desktop\"/>", "finds nothing to install"),
        ("<!DOCTYPE x [<!ENTITY a \"b\">]><component/>", "no right XML"),
        ("\u{1}", "no right XML"),
    ] {
        let report = inspect(&update(metadata, b"x"));
        assert!(
            report.faults.iter().any(|fault| fault.message.contains(word)),
            "{metadata}: {:?}",
            report.faults
        );
        assert!(kinds(&report).iter().all(|kind| *kind == FaultKind::Malformed));
    }
    let report = inspect(&update("<component type=\"firmware\"/>", b"x"));
    assert_eq!(report.faults.len(), 2, "no id, no release: {:?}", report.faults);
    let many = format!("<component {}/>", (0..5000).map(|n| format!("a{n}='' ")).collect::<String>());
    assert!(inspect(&update(&many, b"x")).faults[0].message.contains("attributes"));
    let deep = "<a>".repeat(80_000);
    assert!(!inspect(&update(&deep, b"x")).faults.is_empty());
    let long = metainfo(&" ".repeat(300_000));
    assert!(inspect(&update(&long, b"x")).faults[0].message.contains("no more are read"));
}

#[test]
fn the_newest_release_counts() {
    let metadata = |versions: &[&str]| {
        let releases: String =
            versions.iter().map(|version| format!("<release version=\"{version}\"/>")).collect();
        format!("<component type=\"firmware\"><id>x</id><releases>{releases}</releases></component>")
    };
    for (versions, newest) in [
        (&["1.2.0", "1.10.0", "1.9.0"][..], "1.10.0"),
        (&["1.0.0.2", "1.0.0.1"], "1.0.0.2"),
        (&["1.0.0.1", "2.0.0"], "1.0.0.1"),
        (&["1.0.0"], "1.0.0"),
    ] {
        let report = inspect(&update(&metadata(versions), b"x"));
        assert_eq!(report.facts.version.as_deref(), Some(newest), "{versions:?}: {:?}", report.faults);
    }
}

#[test]
fn tables_that_contradict_themselves_are_refused() {
    let good = cabinet(0, &stored(b"abcdef"), &[("a", 3, 0), ("b", 3, 3)]);
    assert_eq!(inspect(&good).faults, []);
    let with = |at: usize, bytes: &[u8]| {
        let mut image = good.clone();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        inspect(&image)
    };
    for (at, bytes, word) in [
        (26, &[0, 0][..], "0 folders"),
        (26, &[0xff, 0xff], "65535 folders"),
        (28, &[0, 0], "0 files"),
        (28, &[0xff, 0xff], "65535 files"),
        (25, &[2], "there is only 1.3"),
        (30, &[1], "one of a set"),
        (34, &[1], "one of a set"),
        (16, &[0, 0, 0, 0], "inside of what stands before"),
        (36, &[0, 0, 0, 0], "inside of what stands before"),
        (40, &[0, 0], "has no data"),
        (8, &[9, 0, 0, 0], "its data goes on"),
        (44, &[0xff, 0xff, 0xff, 0xff], "overlap"),
        (44 + 8, &[1, 0], "is in folder 1"),
        (44 + 18 + 4, &[2, 0, 0, 0], "overlap"),
        (44 + 18 + 4, &[0xff, 0xff, 0xff, 0xff], "which has 6 bytes"),
        (44 + 18, &[4, 0, 0, 0], "which has 6 bytes"),
        (44 + 16, b"b", "more than one file"),
        (44 + 16, b"\0", "printable"),
        (44 + 16, b"\xc3", "printable"),
        (44 + 36 + 6, &[0, 0], "0 unpacked bytes"),
        (44 + 36 + 6, &[1, 0x80], "32769 unpacked bytes"),
        (44 + 36 + 6, &[5, 0], "without compression"),
        (42, &[1, 0], "begin with CK"),
    ] {
        let report = with(at, bytes);
        assert!(
            report.faults.iter().any(|fault| fault.message.contains(word)),
            "{at}, {word}: {:?}",
            report.faults
        );
    }
    for (at, bytes) in [
        (8, &[0xff, 0xff, 0xff, 0xff][..]),
        (16, &[0xff, 0xff, 0xff, 0xff]),
        (36, &[0xff, 0xff, 0xff, 0xff]),
        (40, &[0xff, 0xff]),
    ] {
        assert_eq!(kinds(&with(at, bytes)), [FaultKind::Truncated], "{at}");
    }
    let long = "n".repeat(300);
    assert!(message(&inspect(&cabinet(0, &stored(b"a"), &[(&long, 1, 0)]))).contains("a name of more than"));
}

#[test]
fn zip_blocks_that_lie_are_refused() {
    let good = zipped(&[7; 70_000]);
    let files = [("a", 70_000, 0)];
    assert_eq!(inspect(&cabinet(1, &good, &files)).faults, []);
    let with = |change: &dyn Fn(&mut Blocks)| {
        let mut blocks = good.clone();
        change(&mut blocks);
        inspect(&cabinet(1, &blocks, &files))
    };
    assert!(message(&with(&|blocks| blocks[1].1 = 5)).contains("becomes 32768 bytes, and 5"));
    assert!(message(&with(&|blocks| blocks[2].1 = 32768)).contains("and 32768 are stated"));
    assert!(message(&with(&|blocks| blocks[0].0.truncate(5))).contains("does not end"));
    assert!(message(&with(&|blocks| blocks[0].0[2] = 0xff)).contains("no right deflate"));
    assert!(message(&with(&|blocks| blocks[0].0.clear())).contains("begin with CK"));
    // More than a block may become.
    let mut encoder = DeflateEncoder::new(b"CK".to_vec(), Compression::fast());
    encoder.write_all(&[0; 1_000_000]).expect("into memory");
    let bomb = (encoder.finish().expect("into memory"), 32768);
    assert!(message(&inspect(&cabinet(1, &[bomb], &[("a", 32768, 0)]))).contains("does not end"));
}

#[test]
fn what_is_not_unpacked_is_said() {
    let report = inspect(&cabinet(0x1503, &[(b"lzx".to_vec(), 900)], &[("a.bin", 900, 0)]));
    assert_eq!(report.faults, []);
    assert_eq!(details(&report, "compression"), ["LZX"]);
    assert_eq!(details(&report, "not looked into").len(), 1);
    assert_eq!(report.facts.payloads[0].size, 900);
    let report = inspect(&cabinet(0x1503, &[(b"lzx".to_vec(), 900)], &[("a.metainfo.xml", 900, 0)]));
    assert!(message(&report).contains("fwupd does not read"));
}

#[test]
fn content_stays_bounded() {
    // Blocks of one byte that state to become 32 KiB, of a compression that is not unpacked: 1 GiB and one
    // block.
    let blocks = vec![(vec![0], 32768); 32769];
    let image = cabinet(3, &blocks, &[("zeros.bin", 1, 0)]);
    assert!(message(&inspect(&image)).contains("no more are read"));
    assert_eq!(inspect(&cabinet(3, &blocks[1..], &[("zeros.bin", 1, 0)])).faults, []);
}

#[test]
fn what_is_reserved_in_blocks_is_passed_over_and_summed() {
    // One block with three reserved bytes; the checksum is that of MS-CAB 3.1.
    let plain = cabinet(0, &stored(b"abcdef"), &[("a", 6, 0)]);
    let mut image = plain[..36].to_vec();
    image[8] += 7;
    image[16] += 4;
    image[30] = 4;
    image.extend_from_slice(&[0, 0, 0, 3]);
    image.extend_from_slice(&plain[36..]);
    image[40] += 4;
    let data = image.len() - 14;
    image.splice(data + 8..data + 8, [1, 2, 3]);
    let word = u32::from_le_bytes;
    let sum = word(*b"abcd") ^ word(*b"fe\0\0") ^ word([3, 2, 1, 0]) ^ word([6, 0, 6, 0]);
    image[data..data + 4].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(inspect(&image).faults, []);
    image[data] ^= 1;
    assert_eq!(kinds(&inspect(&image)), [FaultKind::DigestWrong]);
}

#[test]
fn checksums_of_a_jcat_are_computed_again() {
    let with = |kind: u32, digest: &str| {
        let json =
            format!(r#"{{"Items":[{{"Id":"b","Blobs":[{{"Kind":{kind},"Flags":1,"Data":"{digest}"}}]}}]}}"#);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(json.as_bytes()).expect("into memory");
        let jcat = encoder.finish().expect("into memory");
        let size = jcat.len() as u32;
        inspect(&cabinet(0, &stored(&[&jcat[..], b"x"].concat()), &[("f.jcat", size, 0), ("b", 1, size)]))
    };
    let right = hex::encode(Sha256::digest(b"x"));
    assert_eq!(with(1, &right).faults, []);
    assert!(digest(&with(1, &right), "b").is_some());
    assert!(!with(1, &right).facts.signed, "a checksum is no signature");
    assert_eq!(kinds(&with(1, &hex::encode(Sha256::digest(b"y")))), [FaultKind::DigestWrong]);
    for (kind, name) in [(2, "GPG of b"), (3, "PKCS7 of b"), (9, "ED25519 of b")] {
        let report = with(kind, "c2lnbmF0dXJl");
        assert!(report.facts.signed);
        assert_eq!(details(&report, "signature"), [name]);
    }
}

#[test]
fn a_jcat_that_is_none_is_refused() {
    for jcat in [&b""[..], b"\x1f\x8b", b"{}", &[0xff; 3000]] {
        let image = cabinet(
            0,
            &stored(&[jcat, b"x"].concat()),
            &[("f.jcat", jcat.len() as u32, 0), ("b", 1, jcat.len() as u32)],
        );
        let report = inspect(&image);
        assert_eq!(kinds(&report), [FaultKind::Malformed], "{:?}", report.faults);
        assert!(!report.facts.signed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn mutations_never_panic(mut bytes in mutated(
        "fwupd",
        &["signed.cab", "plain.cab", "artifact.cab", "cabarchive.cab", "composite.cab"],
    )) {
        // Checksums that say nothing let the damage through to what is inside.
        let data = bytes.get(36..40).map(|four| u32::from_le_bytes(four.try_into().expect("four")) as usize);
        let end = data.and_then(|data| data.checked_add(4));
        if let Some(checksum) = data.zip(end).and_then(|(data, end)| bytes.get_mut(data..end)) {
            checksum.fill(0);
        }
        survives(&bytes);
    }

    #[test]
    fn any_bytes_behind_the_magic_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        inspect(&[b"MSCF\0\0\0\0", &bytes[..]].concat());
    }

    #[test]
    fn any_metadata_never_panics(text in "(<[a-z/!?]{1,9}[ a-z=\"]{0,9}>?|[a-z&;]{0,5}){0,40}") {
        inspect(&update(&text, b"x"));
        inspect(&update(&metainfo(&text), b"x"));
    }

    #[test]
    fn any_zip_block_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..500),
        unpacked in 1..32768_u16,
    ) {
        let block = [&b"CK"[..], &bytes].concat();
        inspect(&cabinet(1, &[(block.clone(), unpacked), (block, unpacked)], &[("a", 100, 0)]));
    }
}
