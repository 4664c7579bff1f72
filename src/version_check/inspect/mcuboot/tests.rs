use proptest::prelude::*;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::HEADER;
use crate::version_check::inspect::{
    Algorithm, FaultKind, Inspection, NameKind, Report, Signed,
    trial::{self, detail, inspect, inspect_cut, inspect_in, kinds, mutated, names, samples},
};

fn sample(name: &str) -> Vec<u8> {
    trial::sample(&format!("mcuboot/{name}.bin"))
}

fn whole(name: &str) -> Report {
    let report = trial::whole(&format!("mcuboot/{name}.bin"));
    assert_eq!(report.facts.format, "mcuboot", "{name}");
    report
}

/// The payload that the script gives to imgtool.
const PAYLOAD: usize = 0x500;
/// Its `--header-size`.
const PADDED_HEADER: usize = 0x80;

#[test]
fn what_imgtool_prints_is_stated() {
    let bytes = sample("ecdsa-p256");
    let report = whole("ecdsa-p256");
    let facts = &report.facts;
    assert_eq!(facts.version.as_deref(), Some("1.3.0+7"));
    assert_eq!(facts.semver.as_ref().unwrap().to_string(), "1.3.0");
    assert_eq!(facts.security_counter, Some(5));
    assert_eq!(facts.installed_size, Some(bytes.len() as u64));
    assert_eq!((facts.payloads[0].name.as_str(), facts.payloads[0].size), ("image", PAYLOAD as u64));
    assert_eq!(
        names(&report),
        [
            (NameKind::Compatible, "c0d09f44-e24a-5b97-98cb-9ba4e04387a1"),
            (NameKind::Hardware, "demo-a"),
            (NameKind::Vendor, "cfbff0d1-9375-5685-968c-48ce8b15ae17"),
        ]
    );
    let details: Vec<_> =
        facts.details.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
    assert_eq!(
        details,
        [
            ("header size", "128"),
            ("image size", "1280"),
            ("protected TLV size", "198"),
            ("boot record", "NSPE"),
            ("depends on", "image 1 at 1.2.3+4 or newer"),
            ("depends on", "image 2 at 0.9.0+0 or newer"),
            ("vendor TLV 0x00a0", "demo-a"),
            ("vendor TLV 0x01a1", "deadbeef"),
            ("signature", "ECDSA P-256"),
        ]
    );
    let hashed = PADDED_HEADER + PAYLOAD + 198;
    let digest: [u8; 32] = Sha256::digest(&bytes[..hashed]).into();
    assert_eq!(facts.own_digest, Some(format!("sha256:{}", hex::encode(digest))));
    assert!(facts.signed);
    let [signature] = &report.signatures[..] else { panic!("{:?}", report.signatures) };
    assert_eq!(signature.algorithm, Algorithm::EcdsaP256Sha256);
    assert_eq!(signature.signed, Signed::Sha256(digest));
    assert!(bytes.ends_with(&signature.bytes));
    assert_eq!(facts.key_ids, [hex::encode(&bytes[hashed + 4 + 36 + 4..][..32])]);
    assert_eq!(signature.key_id.as_ref(), facts.key_ids.first());
}

#[test]
fn the_version_is_known_after_the_header() {
    let bytes = sample("ecdsa-p256");
    let mut inspection = Inspection::default();
    inspection.update(&bytes[..1100]);
    let facts = inspection.so_far().expect("the header has passed");
    assert_eq!(facts.version.as_deref(), Some("1.3.0+7"));
    assert!(facts.names.is_empty());
}

#[test]
fn every_signature_is_stated_with_what_it_signs() {
    for (name, algorithm, length) in [
        ("rsa-2048", Algorithm::RsaPssSha256, 256),
        ("rsa-3072", Algorithm::RsaPssSha256, 384),
        ("ecdsa-p384", Algorithm::EcdsaP384Sha384, 0),
        ("ed25519", Algorithm::Ed25519, 64),
        ("ed25519-sha512", Algorithm::Ed25519, 64),
        ("compressed", Algorithm::EcdsaP256Sha256, 0),
    ] {
        let bytes = sample(name);
        let report = whole(name);
        let [signature] = &report.signatures[..] else { panic!("{name}: {:?}", report.signatures) };
        assert_eq!(signature.algorithm, algorithm, "{name}");
        assert!(length == 0 || signature.bytes.len() == length, "{name}");
        let hashed = &bytes[..PADDED_HEADER + usize::try_from(report.facts.payloads[0].size).unwrap()];
        let protected =
            if name == "compressed" { 4 + 8 + 36 + 4 + decompressed_signature(&report) } else { 0 };
        let hashed = &bytes[..hashed.len() + protected];
        let expected = match name {
            "ecdsa-p384" => Signed::Sha384(Sha384::digest(hashed).into()),
            "ed25519" => Signed::Message(Sha256::digest(hashed).to_vec()),
            "ed25519-sha512" => Signed::Message(Sha512::digest(hashed).to_vec()),
            _ => Signed::Sha256(Sha256::digest(hashed).into()),
        };
        assert_eq!(signature.signed, expected, "{name}");
        assert_eq!(report.facts.key_ids.len(), 1, "{name}");
    }
}

fn decompressed_signature(report: &Report) -> usize {
    detail(report, "decompressed signature").unwrap().strip_suffix(" bytes").unwrap().parse().unwrap()
}

#[test]
fn a_key_has_one_id_whether_its_hash_or_all_of_it_is_carried() {
    let hashed = whole("ecdsa-p256").facts.key_ids;
    let full = whole("ecdsa-p256-full-key");
    assert_eq!(full.facts.key_ids, hashed);
    assert_eq!(detail(&full, "public key"), Some("91 bytes, carried in full"));
}

#[test]
fn the_padding_of_an_old_ecdsa_signature_is_no_part_of_it() {
    let report = whole("ecdsa-p256-padded-signature");
    let signature = &report.signatures[0].bytes;
    assert_eq!(signature.len(), 2 + usize::from(signature[1]));
    assert!(signature.len() <= 72);
}

#[test]
fn a_pure_signature_counts_as_signed_but_cannot_be_verified() {
    let report = whole("ed25519-pure");
    assert!(report.facts.signed);
    assert_eq!(report.signatures, []);
    assert_eq!(report.facts.key_ids.len(), 1);
    assert!(detail(&report, "signature").unwrap().contains("pure"));
}

#[test]
fn unsigned_images_carry_a_digest_only() {
    for (name, digest) in [("unsigned", "sha256:"), ("unsigned-sha512", "sha512:")] {
        let report = whole(name);
        assert!(!report.facts.signed, "{name}");
        assert_eq!((report.signatures.len(), report.facts.key_ids.len()), (0, 0), "{name}");
        assert!(report.facts.own_digest.unwrap().starts_with(digest), "{name}");
        assert_eq!(report.facts.security_counter, None, "{name}");
    }
    assert_eq!(whole("security-counter-auto").facts.security_counter, Some((2 << 24) + (1 << 16) + 9));
}

#[test]
fn encrypted_images_are_not_accused_of_a_wrong_digest() {
    for (name, key, flag) in [
        ("encrypted-ec256", "ECIES-P256", "ENCRYPTED_AES128"),
        ("encrypted-x25519-aes256", "ECIES-X25519", "ENCRYPTED_AES256"),
        ("encrypted-rsa2048", "RSA-OAEP-2048", "ENCRYPTED_AES128"),
    ] {
        let report = whole(name);
        assert_eq!(detail(&report, "flags"), Some(flag), "{name}");
        assert_eq!(detail(&report, "encryption key"), Some(key), "{name}");
        assert!(detail(&report, "encryption").unwrap().contains("only a device"), "{name}");
        assert_eq!(report.facts.own_digest, None, "{name}");
        let stated = detail(&report, "digest of the plain image").unwrap().strip_prefix("sha256:").unwrap();
        let stated = hex::decode(stated).unwrap();
        let expected = if name == "encrypted-x25519-aes256" {
            Signed::Message(stated)
        } else {
            Signed::Sha256(stated.try_into().unwrap())
        };
        assert_eq!(report.signatures[0].signed, expected, "{name}");
    }
    let plain = whole("encrypted-clear");
    assert!(plain.facts.own_digest.is_some());
    assert!(detail(&plain, "encryption").unwrap().contains("--clear"));
}

#[test]
fn a_padded_slot_is_no_fault() {
    for (name, slot, trailer) in [
        ("padded", 0x1000, "to be tried"),
        ("padded-confirmed", 0x1000, "confirmed"),
        ("padded-align-32", 0x1800, "confirmed"),
        ("padded-erased-zero", 0x1000, "to be tried"),
    ] {
        let report = whole(name);
        assert_eq!(detail(&report, "slot size"), Some(slot.to_string().as_str()), "{name}");
        assert_eq!(detail(&report, "slot trailer"), Some(trailer), "{name}");
        assert_eq!(report.facts.installed_size, Some((PADDED_HEADER + PAYLOAD + 40) as u64), "{name}");
    }
}

#[test]
fn anything_else_behind_the_image_is_padding() {
    let bytes = sample("unsigned");
    for extra in [&b"\xff"[..], &[0xff; 5000], b"x", &[0; 100]] {
        assert_eq!(kinds(&inspect(&[&bytes, extra].concat())), [FaultKind::Padded], "{}", extra.len());
    }
    let padded = sample("padded");
    for at in [1500, 3000, 4096 - 60, 4096 - 24, 4096 - 17] {
        let mut dirty = padded.clone();
        dirty[at] = 0x42;
        let report = inspect(&dirty);
        assert_eq!(kinds(&report), [FaultKind::Padded], "{at}");
        assert!(report.faults[0].message.contains("read back"), "{}", report.faults[0].message);
    }
    for cut in [1449, 2000, 4095] {
        assert_eq!(kinds(&inspect(&padded[..cut])), [FaultKind::Padded], "{cut}");
    }
}

#[test]
fn flags_and_addresses_are_stated() {
    let report = whole("rom-fixed");
    assert_eq!(detail(&report, "load address"), Some("0x08000000"));
    assert_eq!(detail(&report, "flags"), Some("ROM_FIXED"));
    let report = whole("ram-load");
    assert_eq!(detail(&report, "load address"), Some("0x20000000"));
    assert_eq!(detail(&report, "flags"), Some("NON_BOOTABLE RAM_LOAD"));
    let report = whole("compressed");
    assert_eq!(detail(&report, "flags"), Some("COMPRESSED_LZMA2"));
    assert_eq!(detail(&report, "decompressed size"), Some("2488"));
    assert_eq!(detail(&report, "decompressed digest").unwrap().len(), 64);
    assert_eq!(
        detail(&whole("compressed-arm-thumb"), "flags"),
        Some("COMPRESSED_LZMA2 COMPRESSED_ARM_THUMB")
    );
    let report = whole("big-endian");
    assert_eq!(detail(&report, "byte order"), Some("big-endian"));
    assert_eq!(report.facts.version.as_deref(), Some("1.3.0+7"));
    assert_eq!(report.facts.security_counter, Some(5));
}

#[test]
fn every_cut_is_told() {
    let bytes = sample("ecdsa-p256");
    for cut in 4..bytes.len() {
        let report = inspect(&bytes[..cut]);
        assert_eq!(kinds(&report), [FaultKind::Truncated], "{cut}");
        assert_eq!(report.facts.version.is_some(), cut >= HEADER, "{cut}");
    }
    for cut in 0..4 {
        assert_eq!(inspect(&bytes[..cut]).facts.format, "raw", "{cut}");
    }
}

#[test]
fn every_damaged_byte_of_what_is_hashed_is_told() {
    let bytes = sample("ecdsa-p256");
    for at in 4..PADDED_HEADER + PAYLOAD + 198 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(!inspect(&damaged).faults.is_empty(), "{at}");
    }
    let mut damaged = bytes.clone();
    damaged[PADDED_HEADER + 100] ^= 1;
    let report = inspect(&damaged);
    assert_eq!(kinds(&report), [FaultKind::DigestWrong]);
    assert_eq!(report.facts.own_digest, None);
    let found: [u8; 32] = Sha256::digest(&damaged[..PADDED_HEADER + PAYLOAD + 198]).into();
    assert_eq!(report.signatures[0].signed, Signed::Sha256(found), "so that the signature does not verify");
}

/// A header, no payload, and these TLV areas.
fn image(flags: u32, protected: &[(u16, &[u8])], tlvs: &[(u16, &[u8])]) -> Vec<u8> {
    let area = |magic: u16, tlvs: &[(u16, &[u8])]| {
        let mut area = vec![];
        for (kind, value) in tlvs {
            area.extend(kind.to_le_bytes());
            area.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
            area.extend(*value);
        }
        let total = u16::try_from(area.len() + 4).unwrap();
        [&magic.to_le_bytes()[..], &total.to_le_bytes(), &area].concat()
    };
    let protected = if protected.is_empty() { vec![] } else { area(0x6908, protected) };
    let mut image = 0x96f3_b83d_u32.to_le_bytes().to_vec();
    image.extend([0, 0, 0, 0, 32, 0]);
    image.extend(u16::try_from(protected.len()).unwrap().to_le_bytes());
    image.extend([0; 4]);
    image.extend(flags.to_le_bytes());
    image.extend([1, 2, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    image.extend(protected);
    let digest = Sha256::digest(&image);
    let tlvs: Vec<_> =
        tlvs.iter().map(|(kind, value)| (*kind, if *kind == 0x10 { &digest[..] } else { *value })).collect();
    image.extend(area(0x6907, &tlvs));
    image
}

const DIGEST: (u16, &[u8]) = (0x10, &[]);

#[test]
fn contradictions_are_malformed() {
    assert_eq!(inspect(&image(0, &[], &[DIGEST])).faults, []);
    let malformed = |what: &str, bytes: &[u8]| {
        let report = inspect(bytes);
        assert_eq!(kinds(&report), [FaultKind::Malformed], "{what}: {:?}", report.faults);
        report
    };
    malformed("no digest", &image(0, &[], &[]));
    malformed("short digest", &image(0, &[], &[DIGEST, (0x11, b"short")]));
    malformed("AES-128 and AES-256", &image(0xc, &[], &[DIGEST, (0x32, b"key")]));
    malformed("no key", &image(0x4, &[], &[DIGEST]));
    malformed("LZMA1 and LZMA2", &image(0x600, &[], &[DIGEST]));
    malformed("RAM and ROM", &image(0x120, &[], &[DIGEST]));
    malformed("counter not protected", &image(0, &[], &[DIGEST, (0x50, &[9, 0, 0, 0])]));
    let report =
        malformed("two counters", &image(0, &[(0x50, &[9, 0, 0, 0]), (0x50, &[8, 0, 0, 0])], &[DIGEST]));
    assert_eq!(report.facts.security_counter, Some(9));
    malformed("long counter", &image(0, &[(0x50, &[9; 8])], &[DIGEST]));
    malformed("short dependency", &image(0, &[(0x40, &[9; 8])], &[DIGEST]));
    malformed("short UUID", &image(0, &[(0x74, &[9; 15])], &[DIGEST]));
    let signatures = vec![(0x24, &[7; 64][..]); 17];
    let report = malformed("signatures", &image(0, &[], &[&[DIGEST], &signatures[..]].concat()));
    assert_eq!(report.signatures.len(), 16);

    let with = |at: usize, value: &[u8]| {
        let mut bytes = image(0, &[(0x50, &[9, 0, 0, 0])], &[DIGEST]);
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    let contains_malformed = |what: &str, bytes: &[u8]| {
        let report = inspect(bytes);
        assert!(kinds(&report).contains(&FaultKind::Malformed), "{what}: {:?}", report.faults);
    };
    contains_malformed("header size 0", &with(8, &[0, 0]));
    contains_malformed("header size 31", &with(8, &[31, 0]));
    contains_malformed("protected size 0", &with(10, &[0, 0]));
    contains_malformed("protected magic", &with(32, &[7]));
    contains_malformed("protected total", &with(34, &[13]));
    contains_malformed("TLV magic", &with(32 + 12, &[9]));
    for total in 0..4 {
        contains_malformed("TLV total", &with(32 + 12 + 2, &[total, 0]));
    }
    contains_malformed("digest's length", &with(32 + 12 + 4 + 2, &[33]));
    for payload in [u32::MAX, u32::MAX - 1, u32::MAX - 31] {
        let report = inspect(&with(12, &payload.to_le_bytes()));
        assert_eq!(kinds(&report), [FaultKind::Malformed, FaultKind::Truncated], "{payload}");
    }
    contains_malformed("payload one byte longer", &with(12, &[1]));
}

#[test]
fn what_an_attacker_counts_up_stays_bounded() {
    let entries = vec![(0xa0, &b""[..]); 16000];
    let report = inspect(&image(0, &entries, &[DIGEST]));
    assert_eq!(report.faults, []);
    assert!(report.facts.details.len() <= 100);
    let boards: Vec<Vec<u8>> = (0..5000).map(|n| format!("board{n}").into_bytes()).collect();
    let entries: Vec<_> = boards.iter().map(|board| (0xa0, board.as_slice())).collect();
    assert!(inspect(&image(0, &entries, &[DIGEST])).facts.names.len() <= 100);
    let entries = vec![(0x50, &[1, 0, 0, 0][..]); 8000];
    assert!(inspect(&image(0, &entries, &[DIGEST])).faults.len() <= 10);
    let mut inspection = Inspection::default();
    let mut head = image(0, &[], &[DIGEST]);
    head[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    inspection.update(&head);
    for _ in 0..64 {
        inspection.update(&[0x5a; 1 << 16]);
    }
    assert!(inspection.finish().faults.iter().any(|fault| fault.kind == FaultKind::Truncated));
}

#[test]
fn how_the_stream_is_cut_changes_nothing() {
    let names = samples("mcuboot", ".bin");
    assert!(names.len() >= 25, "{names:?}");
    for name in names {
        inspect_cut(&name, &sample(&name));
    }
}

proptest! {
    #[test]
    fn no_bytes_behind_the_magic_panic(bytes: Vec<u8>, big: bool, piece in 1..64_usize) {
        let magic = if big { 0x96f3_b83d_u32.to_be_bytes() } else { 0x96f3_b83d_u32.to_le_bytes() };
        let report = inspect_in(piece, &[&magic[..], &bytes].concat());
        prop_assert!(!report.faults.is_empty());
    }

    #[test]
    fn no_mutation_panics(bytes in mutated(
        "mcuboot",
        &["ecdsa-p256.bin", "big-endian.bin", "compressed.bin", "encrypted-ec256.bin", "padded-confirmed.bin"],
    )) {
        trial::survives(&bytes);
    }
}
