use proptest::prelude::*;

use super::{
    super::{
        Algorithm, NameKind, Payload, Signed,
        trial::{detail, inspect, inspect_cut, inspect_in, kinds, mutated, sample, survives},
    },
    end::SLACK,
    verity::Wrong,
    *,
};

const PLAIN: [&str; 6] =
    ["plain", "plain-implicit", "plain-xz", "plain-zstd", "plain-stored", "plain-blocks"];
const INLINE: [&str; 4] = ["verity", "verity-p256", "verity-p384", "crypt"];

fn file(name: &str) -> Vec<u8> {
    sample(&format!("rauc/{name}"))
}

fn bundle(name: &str) -> Vec<u8> {
    file(&format!("{name}.raucb"))
}

/// The values of a label in what `rauc info` printed, without quotes.
fn printed(info: &str, label: &str) -> Vec<String> {
    let lines = info.lines().filter_map(|line| line.trim().strip_prefix(label)?.strip_prefix(':'));
    lines.map(|value| value.trim().trim_matches('\'').to_owned()).collect()
}

#[test]
fn what_is_stated_is_what_rauc_prints() {
    for name in PLAIN.iter().chain(&INLINE) {
        let report = inspect(&bundle(name));
        assert_eq!(report.faults, [], "{name}");
        let info = String::from_utf8(file(&format!("{name}.info"))).expect("text");
        let facts = &report.facts;
        assert_eq!(facts.format, "rauc");
        assert_eq!(facts.version.as_slice(), printed(&info, "Version"), "{name}");
        assert_eq!(facts.semver.as_ref().map(ToString::to_string).as_deref(), Some("1.3.0"));
        let compatible = printed(&info, "Compatible").remove(0);
        assert_eq!(facts.names, [(NameKind::Compatible, compatible)].into());
        assert_eq!(detail(&report, "build"), Some(printed(&info, "Build")[0].as_str()));
        assert_eq!(detail(&report, "description"), Some(printed(&info, "Description")[0].as_str()));
        let format = printed(&info, "Bundle Format").remove(0);
        assert_eq!(detail(&report, "bundle format"), format.split(' ').next());
        for (label, line) in
            [("verity-hash", "Verity Hash"), ("verity-salt", "Verity Salt"), ("verity-size", "Verity Size")]
        {
            assert_eq!(
                detail(&report, label),
                printed(&info, line).first().map(String::as_str),
                "{name} {label}"
            );
        }
        let images = printed(&info, "Filename").into_iter().zip(printed(&info, "Size"));
        let images =
            images.map(|(name, size)| Payload { name, size: size.parse().expect("digits"), digest: None });
        assert_eq!(facts.payloads, images.collect::<Vec<_>>());
        for (slot, digest) in ["image rootfs", "image appfs"].into_iter().zip(printed(&info, "Checksum")) {
            let image = detail(&report, slot).expect(slot);
            assert!(image.contains(&digest), "{image}");
            assert_eq!(image.ends_with("hooks post-install"), slot == "image rootfs");
        }
        assert_eq!(detail(&report, "hooks filename"), Some("hook.sh"));
        assert!(facts.signed);
        let key = printed(&info, "SPKI sha256").remove(0).replace(':', "").to_lowercase();
        if !key.is_empty() {
            assert_eq!(detail(&report, "signer key sha256"), Some(key.as_str()));
        }
        if *name != "crypt" {
            assert_eq!(facts.built_at.as_deref(), Some("2026-01-01T00:00:00Z"));
        }
    }
}

#[test]
fn the_signer_is_named_as_openssl_names_it() {
    for (name, key) in [("plain", "rsa"), ("plain-xz", "p256"), ("verity-p384", "p384"), ("crypt", "rsa")] {
        let certificate = String::from_utf8(file(&format!("{key}.certificate"))).expect("text");
        let serial =
            certificate.lines().next().and_then(|line| line.strip_prefix("serial=")).expect("serial");
        let identifier = certificate.lines().last().expect("identifier").trim().replace(':', "");
        assert_eq!(
            inspect(&bundle(name)).facts.key_ids,
            [
                format!("CN={key},O=Demo"),
                format!("serial:{}", serial.to_lowercase()),
                identifier.to_lowercase()
            ],
            "{name}"
        );
    }
}

#[test]
fn signatures_come_with_what_they_sign() {
    let schemes = |name: &str| {
        let report = inspect(&bundle(name));
        for signature in &report.signatures {
            let Signed::Message(message) = &signature.signed else { panic!("{name}: no message") };
            // A SET OF: the form that is signed, and not the `[0]` that stands in the file.
            assert_eq!(message[0], 0x31, "{name}");
            assert_eq!(signature.certificates.len(), 1);
            assert_eq!(signature.key_id.as_ref(), report.facts.key_ids.first());
        }
        report.signatures.iter().map(|signature| signature.algorithm).collect::<Vec<_>>()
    };
    assert_eq!(schemes("plain"), [Algorithm::RsaPkcs1Sha256]);
    assert_eq!(schemes("plain-zstd"), [Algorithm::EcdsaP256Sha256]);
    assert_eq!(schemes("verity"), [Algorithm::RsaPkcs1Sha256]);
    assert_eq!(schemes("crypt"), [Algorithm::RsaPkcs1Sha256]);
    // OpenSSL takes SHA-256 for every curve.
    assert_eq!(schemes("verity-p384"), [Algorithm::EcdsaP384Sha256]);
}

#[test]
fn the_digest_that_was_compared_is_stated() {
    let digest = inspect(&bundle("plain")).facts.own_digest.expect("one");
    let bytes = bundle("plain");
    let payload = &bytes[..4096];
    assert_eq!(digest, format!("sha256:{}", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(payload))));
    for name in INLINE {
        let report = inspect(&bundle(name));
        let root = detail(&report, "verity-hash").expect("one");
        assert_eq!(report.facts.own_digest, Some(format!("verity:{root}")));
        assert_eq!(
            detail(&report, "verity compared"),
            Some("1 of 1 blocks of the hash tree, 2 of 2 of the payload")
        );
    }
}

#[test]
fn what_is_not_readable_is_said() {
    let report = inspect(&bundle("plain-lzo"));
    assert_eq!(report.faults, []);
    assert!(report.facts.signed && report.facts.own_digest.is_some());
    assert_eq!(report.facts.version, None);
    assert!(detail(&report, "manifest").is_some_and(|why| why.contains("lzo")));

    let report = inspect(&bundle("crypt-for-recipients"));
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.format, "rauc");
    assert_eq!(detail(&report, "bundle format"), Some("crypt"));
    assert!(detail(&report, "encrypted for").is_some_and(|whom| whom.ends_with(" of CN=rsa,O=Demo")));
    assert!(!report.facts.signed && report.signatures.is_empty());
    // The key that decrypts it is not for everyone's eyes.
    let report = inspect(&bundle("crypt"));
    assert!(detail(&report, "crypt-key").is_some_and(|text| text.starts_with("readable by everyone")));
}

#[test]
fn a_squashfs_is_no_bundle() {
    for (name, compression) in [("rootfs.squashfs", "gzip"), ("nopad.squashfs", "xz")] {
        let bytes = file(name);
        let report = inspect(&bytes);
        assert_eq!(report.faults, [], "{name}");
        assert_eq!(report.facts.format, "squashfs");
        assert_eq!(report.facts.built_at.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert!(detail(&report, "squashfs").is_some_and(|text| text.contains(compression)));
        let used = Superblock::read(&bytes).expect("whole").bytes_used as usize;
        for cut in [4, 95, 96, 1024, 3000, used - 1] {
            assert_eq!(kinds(&inspect(&bytes[..cut])), [FaultKind::Truncated], "{name} {cut}");
        }
        assert_eq!(kinds(&inspect(&bytes[..used])), []);
        let longer = [bytes.as_slice(), &[0xff; 4096]].concat();
        assert_eq!(kinds(&inspect(&longer)), [FaultKind::Padded]);
    }
    let mut old = file("rootfs.squashfs");
    old[28] = 3;
    assert_eq!(kinds(&inspect(&old)), [FaultKind::Malformed]);
    let mut short = file("rootfs.squashfs");
    short[40..48].copy_from_slice(&95_u64.to_le_bytes());
    assert_eq!(kinds(&inspect(&short)), [FaultKind::Malformed]);
    short[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(kinds(&inspect(&short)), [FaultKind::Truncated]);
    // What is neither stays what it was.
    let noise = vec![0x5a; 5000];
    assert_eq!(inspect(&noise), {
        let mut raw = raw::inspector();
        raw.update(&noise);
        raw.finish()
    });
}

#[test]
fn a_flipped_bit_is_found() {
    for name in ["plain", "plain-xz", "plain-zstd", "verity", "crypt"] {
        let good = bundle(name);
        let (before, size) = good.split_last_chunk::<8>().expect("long enough");
        let payload = before.len() - u64::from_be_bytes(*size) as usize;
        let whole = inspect(&good);
        let mut untold = 0;
        for at in (0..good.len()).filter(|at| at % 29 == 0 || (*at > payload && at % 5 == 0)) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            if bad.len() < 1024 || (at < 4 && name != "crypt") {
                continue;
            }
            let report = inspect(&bad);
            if at < payload {
                assert!(kinds(&report).contains(&FaultKind::DigestWrong), "{name} {at}: {:?}", report.faults);
                assert_eq!(report.facts.own_digest, None);
            } else if report == whole {
                untold += 1;
            }
        }
        // Version numbers and the list of digest algorithms are there for readers alone. Other changes in the
        // signature change what is to be verified, and that is told by who verifies it.
        assert!(untold <= 10, "{name}: {untold}");
    }
    // A plain bundle's signature is not handed on if it is not over this squashfs.
    let mut bad = bundle("plain");
    bad[2000] ^= 1;
    assert_eq!(inspect(&bad).signatures, []);
}

#[test]
fn a_damaged_end_is_told_apart() {
    for name in ["plain", "verity"] {
        let good = bundle(name);
        let payload = good.len() - 8 - u64::from_be_bytes(*good.last_chunk().expect("long")) as usize;
        for cut in (payload + 20..good.len()).rev().step_by(3) {
            let report = inspect(&good[..cut]);
            assert!(kinds(&report).contains(&FaultKind::Truncated), "{name} {cut}: {:?}", report.faults);
            assert_eq!(report.facts.format, "rauc");
        }
        // Without an end it is only its squashfs, which is no bundle.
        for cut in (100..payload + 10).step_by(61) {
            assert_eq!(inspect(&good[..cut]).facts.format, "squashfs", "{name} {cut}");
        }
        for more in [1, 7, 8, 9, 512, 5000] {
            let report = inspect(&[good.as_slice(), &vec![0; more]].concat());
            assert_eq!(kinds(&report), [FaultKind::Padded], "{name} {more}");
            assert_eq!(report.facts.version.as_deref(), Some("1.3.0"));
        }
        for size in [0, 1, u64::MAX, u64::MAX - 1, good.len() as u64, 1 << 32, payload as u64] {
            let mut bad = good.clone();
            *bad.last_chunk_mut().expect("long") = size.to_be_bytes();
            let report = inspect(&bad);
            assert_eq!(kinds(&report), [FaultKind::Malformed], "{name} {size}");
            assert_eq!(report.facts.version.as_deref(), Some("1.3.0"));
        }
    }
}

/// A bundle with another payload, or manifest, under the end of a good one.
#[test]
fn parts_of_two_bundles_do_not_fit() {
    let (plain, other) = (bundle("plain"), bundle("plain-implicit"));
    let mixed = [&plain[..4096], &other[4096..]].concat();
    let report = inspect(&mixed);
    assert_eq!(kinds(&report), [FaultKind::DigestWrong]);
    assert_eq!(detail(&report, "description"), Some("Demo of the plain format"));

    let (verity, other) = (bundle("verity"), bundle("verity-p256"));
    let payload = 3 * 4096;
    let report = inspect(&[&verity[..payload], &other[payload..]].concat());
    assert_eq!(kinds(&report), [FaultKind::DigestWrong]);
    let longer = [&verity[..payload], &[0; 4096], &verity[payload..]].concat();
    assert!(kinds(&inspect(&longer)).contains(&FaultKind::Padded));
    let shorter = [&verity[..4096], &verity[2 * 4096..]].concat();
    assert!(kinds(&inspect(&shorter)).contains(&FaultKind::Truncated));
    // The signature of a format over the payload of another.
    let report = inspect(&[&plain[..4096], &verity[payload..]].concat());
    assert!(kinds(&report).contains(&FaultKind::Malformed), "{:?}", report.faults);
    let report = inspect(&[&bundle("crypt")[..payload], &verity[payload..]].concat());
    assert!(kinds(&report).contains(&FaultKind::Malformed), "{:?}", report.faults);
    let report = inspect(&[&bundle("crypt")[..payload], &plain[4096..]].concat());
    assert_eq!(kinds(&report), [FaultKind::Malformed], "{:?}", report.faults);
}

#[test]
fn pieces_change_nothing() {
    for name in PLAIN.iter().chain(&INLINE).chain(&["plain-lzo", "crypt-for-recipients"]) {
        inspect_cut(name, &bundle(name));
    }
    // Longer than what is kept.
    let mut bytes = bundle("verity");
    bytes.splice(4096..4096, std::iter::repeat_n(0x37, 2 * (KEPT + SLACK)));
    let whole = inspect(&bytes);
    for piece in [4096, 999_983] {
        assert_eq!(inspect_in(piece, &bytes), whole, "{piece}");
    }
}

#[test]
fn a_long_plain_bundle_is_hashed_beyond_what_is_kept() {
    // The squashfs is as long as it says, with a hole before its tables; the signature is over other bytes.
    let good = bundle("plain");
    let hole = 3 * KEPT + 17;
    let mut long = good.clone();
    long.splice(4096..4096, std::iter::repeat_n(0, hole));
    let report = inspect_in(65_536, &long);
    let hashed = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&long[..4096 + hole]));
    let fault = report.faults.iter().find(|fault| fault.kind == FaultKind::DigestWrong).expect("one");
    assert!(fault.message.contains(&hashed), "{}", fault.message);
    assert!(detail(&report, "manifest").is_some_and(|why| why.starts_with("not read")));
}

#[test]
fn memory_is_bounded() {
    let mut tail = Tail::default();
    let mut passed = 0;
    let block = vec![0; 1 << 20];
    for _ in 0..64 {
        tail.update(&block, &mut |bytes| passed += bytes.len());
        assert!(tail.bytes.capacity() <= 2 * (KEPT + SLACK));
    }
    assert_eq!(passed as u64, tail.start);
    assert_eq!(tail.total(), 64 << 20);
    assert!(tail.bytes.len() >= KEPT);
}

mod tree {
    use sha2::{Digest, Sha256};

    use super::{
        super::verity::{Compared, compare},
        *,
    };

    const SALT: [u8; 32] = [7; 32];

    /// Payload and tree, as in RAUC's reference; and the root hash.
    fn build(blocks: usize) -> (Vec<u8>, usize, Vec<u8>) {
        let data: Vec<u8> = (0..blocks * 4096).map(|at| (at / 4096 + at) as u8).collect();
        let hash = |block: &[u8]| Sha256::digest([SALT.as_slice(), block].concat()).to_vec();
        let mut level = data.clone();
        let mut tree = Vec::new();
        while level.len() > 4096 {
            level = level.chunks(4096).flat_map(hash).collect();
            level.resize(level.len().next_multiple_of(4096), 0);
            tree = [level.clone(), tree].concat();
        }
        let root = hash(&level);
        ([data, tree.clone()].concat(), tree.len(), root)
    }

    fn kept(all: &[u8], start: usize) -> Kept<'_> {
        Kept { start: start as u64, bytes: &all[start..] }
    }

    #[test]
    fn of_every_shape_is_compared() {
        for blocks in [2, 127, 128, 129, 300] {
            let (all, tree, root) = build(blocks);
            let data = (blocks * 4096) as u64;
            let whole = Compared { tree: tree as u64 / 4096, data: blocks as u64 };
            assert_eq!(compare(kept(&all, 0), data, tree as u64, &SALT, &root), Ok(whole));
            // Only a part is kept, and not from a block on.
            let last = compare(kept(&all, data as usize - 4096 - 5), data, tree as u64, &SALT, &root);
            assert_eq!(last, Ok(Compared { data: 1, ..whole }));
            assert_eq!(compare(kept(&all, 0), data, tree as u64, &SALT, &[0; 32]), Err(Wrong::Root));
            assert_eq!(
                compare(kept(&all, 0), data, tree as u64 + 4096, &SALT, &root),
                Err(Wrong::Size(tree as u64))
            );
            for at in (0..all.len()).step_by(4001) {
                let mut bad = all.clone();
                bad[at] ^= 1;
                assert!(compare(kept(&bad, 0), data, tree as u64, &SALT, &root).is_err(), "{blocks} {at}");
            }
        }
        // A leaf's digests may be put right, but not what stands behind them.
        let (mut all, tree, _) = build(2);
        let end = all.len() - 1;
        all[end] = 1;
        let root = Sha256::digest([SALT.as_slice(), &all[2 * 4096..]].concat());
        assert_eq!(
            compare(kept(&all, 0), 2 * 4096, tree as u64, &SALT, &root),
            Err(Wrong::NotZero(2 * 4096))
        );
    }
}

mod manifests {
    use super::*;

    #[test]
    fn are_read_as_glib_does() {
        let update = "# x\n[update]\ncompatible = a\\sb \nversion=\\\\1\\n\n\n";
        let text = format!("{update}  [meta.x]\r\nkey=value\r\n[update]\nversion=2\n");
        let manifest = Manifest::read(text.as_bytes()).expect("valid");
        assert_eq!(manifest.get("update", "compatible"), Some("a b "));
        assert_eq!(manifest.get("update", "version"), Some("2"));
        assert_eq!(manifest.get("meta.x", "key"), Some("value"));
        assert_eq!(manifest.get("meta.x", "none"), None);
        assert_eq!(manifest.format(), "plain");
        for (bad, why) in [
            (&b"a=b"[..], "line 1"),
            (b"[a]\n[b\n", "line 2"),
            (b"[a]\nb\n", "line 2"),
            (b"[a]\nb=\\y\n", "line 2"),
            (b"[a]\nb=\\", "line 2"),
            (b"\xff", "UTF-8"),
        ] {
            assert!(Manifest::read(bad).expect_err("invalid").contains(why));
        }
    }

    #[test]
    fn without_compatible_are_refused() {
        let mut report = Report::default();
        Manifest::read(b"[update]\nversion=1.0.0\n").expect("valid").state(&mut report);
        assert_eq!(kinds(&report), [FaultKind::Malformed]);
        assert_eq!(report.facts.version.as_deref(), Some("1.0.0"));
    }
}

mod file_systems {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u8>, Missing> {
        Superblock::read(bytes).expect("whole").file(Kept { start: 0, bytes }, MANIFEST)
    }

    #[test]
    fn give_the_file_or_say_why_not() {
        let good = bundle("plain");
        assert!(read(&good[..4096]).expect("there").starts_with(b"[update]"));
        let superblock = Superblock::read(&good).expect("whole");
        assert_eq!(
            superblock.file(Kept { start: 0, bytes: &good }, "manifest.rauc"),
            Err(Missing::NoSuchFile)
        );
        let late = Kept { start: 4000, bytes: &good[4000..] };
        assert_eq!(superblock.file(late, MANIFEST), Err(Missing::NotKept));
    }

    #[test]
    fn that_are_hostile_are_broken() {
        let good = bundle("plain-stored");
        // Every field of the superblock that leads somewhere, led astray.
        for field in [12..16, 16..20, 20..22, 22..24, 32..40, 64..72, 72..80, 80..88] {
            for value in [0, 1, 4095, u64::MAX, u64::MAX - 1, u64::MAX / 2, 1 << 16, 1 << 32] {
                let mut bad = good.clone();
                bad[field.clone()].copy_from_slice(&value.to_le_bytes()[..field.len()]);
                let _ = read(&bad);
            }
        }
        // Every two bytes of the tables.
        let superblock = Superblock::read(&good).expect("whole");
        let used = superblock.bytes_used as usize;
        for at in used.saturating_sub(700)..used {
            for value in [0_u16, 1, 0x7fff, 0x8000, u16::MAX] {
                let mut bad = good.clone();
                bad[at..at + 2].copy_from_slice(&value.to_le_bytes());
                let _ = read(&bad);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn that_are_random_do_not_panic(
            name in prop::sample::select(&["plain", "plain-xz", "plain-zstd", "plain-stored"][..]),
            changes in prop::collection::vec((0..3500_usize, any::<u8>()), 1..6),
        ) {
            let mut bytes = bundle(name);
            for (at, value) in changes {
                bytes[at] = value;
            }
            if bytes.starts_with(squashfs::MAGIC) {
                let _ = read(&bytes);
            }
        }
    }
}

#[test]
fn bombs_are_not_unpacked() {
    // Ten million zeros in a metadata block.
    let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; 10_000_000], 9);
    assert!(bomb.len() < 0x7fff);
    let mut bytes = bundle("plain");
    let at = 3000;
    bytes[64..72].copy_from_slice(&(at as u64).to_le_bytes());
    bytes[32..40].fill(0);
    bytes.splice(at..at, [&(bomb.len() as u16).to_le_bytes(), bomb.as_slice()].concat());
    let superblock = Superblock::read(&bytes).expect("whole");
    let kept = Kept { start: 0, bytes: &bytes };
    assert_eq!(superblock.file(kept, MANIFEST), Err(Missing::Broken("a block cannot be decompressed")));
    // A frame that asks for a window of 3.75 TiB, one that says to have 2^64 - 1 bytes.
    for frame in [
        &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff][..],
        &[0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        bytes[20] = 6;
        bytes[at..at + 2].copy_from_slice(&(frame.len() as u16).to_le_bytes());
        bytes[at + 2..at + 2 + frame.len()].copy_from_slice(frame);
        let kept = Kept { start: 0, bytes: &bytes };
        let superblock = Superblock::read(&bytes).expect("whole");
        assert_eq!(superblock.file(kept, MANIFEST), Err(Missing::Broken("a block cannot be decompressed")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn random_bytes_do_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..3000), magic: bool) {
        if magic {
            bytes.splice(0..0, squashfs::MAGIC.iter().copied());
        }
        inspect(&bytes);
    }

    #[test]
    fn random_changes_do_not_panic(bytes in mutated(
        "rauc",
        &[
            "plain.raucb",
            "plain-xz.raucb",
            "plain-zstd.raucb",
            "verity.raucb",
            "crypt.raucb",
            "crypt-for-recipients.raucb",
        ],
    )) {
        survives(&bytes);
    }
}
