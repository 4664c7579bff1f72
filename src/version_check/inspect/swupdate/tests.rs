use std::fmt::Write as _;

use proptest::prelude::*;

use super::{
    super::{
        Algorithm, Inspection, NameKind, Signed,
        trial::{detail, inspect, inspect_cut, kinds, mutated, names_of as names, sample, survives},
    },
    *,
};

const SIGNED_AND_PLAIN: [&str; 9] =
    ["unsigned", "newc", "cms", "cms-stream", "cms-noattr", "cms-keyid-sha512", "cms-pss", "cms-p256", "rsa"];

fn archive(name: &str) -> Vec<u8> {
    sample(&format!("swupdate/{name}.swu"))
}

/// An archive of these files, as `cpio -H crc` makes it.
fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files.iter().chain(&[(TRAILER, &[][..])]) {
        let sum = content.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        let mut header = String::from("070702");
        let fields = [1, 0o100_644, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, sum];
        for field in fields {
            write!(header, "{field:08X}").expect("a string takes all");
        }
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// An archive of one file `a` with the given attributes in its description.
fn described(attributes: &str) -> Vec<u8> {
    let text =
        format!("software = {{ version = \"1.0.0\"; images: ( {{ filename = \"a\"; {attributes} }} ); }}");
    pack(&[(DESCRIPTION, text.as_bytes()), ("a", b"content")])
}

/// From the first header.
fn description_size(bytes: &[u8]) -> usize {
    usize::from_str_radix(str::from_utf8(&bytes[54..62]).expect("digits"), 16).expect("digits")
}

fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

#[test]
fn the_usual_description_is_stated() {
    for name in SIGNED_AND_PLAIN {
        let report = inspect(&archive(name));
        assert_eq!(report.faults, [], "{name}");
        let facts = &report.facts;
        assert_eq!(facts.format, "swupdate");
        assert_eq!(facts.version.as_deref(), Some("1.3.0"));
        assert_eq!(facts.semver.as_ref().map(ToString::to_string).as_deref(), Some("1.3.0"));
        assert_eq!(names(&report, NameKind::Hardware), ["#RE:^2\\.[0-9]+$", "1.0"]);
        assert_eq!(names(&report, NameKind::Compatible), [""; 0]);
        assert_eq!(detail(&report, "description"), Some("Demo of SWUpdate"));
        assert_eq!(detail(&report, "software partitions"), Some("device mtd4, name rootfs, size 104896512"));
        assert!(
            detail(&report, "software images").is_some_and(|text| text.contains("installed-directly true"))
        );
        assert!(detail(&report, "software scripts").is_some_and(|text| text.ends_with("type lua")));
        assert_eq!(detail(&report, "bootloader variables"), Some("2"));
        let sizes: Vec<_> =
            facts.payloads.iter().map(|payload| (payload.name.as_str(), payload.size)).collect();
        assert_eq!(sizes, [("rootfs.img", 1500), ("app.conf", 171), ("check.lua", 41)]);
        assert!(facts.payloads.iter().all(|payload| payload.digest.is_some()));
    }
}

#[test]
fn boards_modes_and_borrowed_groups_are_told_apart() {
    let report = inspect(&archive("boards"));
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.version.as_deref(), Some("v1.3.0-rc.2"));
    assert_eq!(report.facts.semver.as_ref().map(ToString::to_string).as_deref(), Some("1.3.0-rc.2"));
    assert_eq!(names(&report, NameKind::Compatible), ["demo-a", "demo-b"]);
    assert_eq!(names(&report, NameKind::Hardware), ["revA", "revB", "revC"]);
    assert_eq!(detail(&report, "software.demo-b ref"), Some("#./common"));
    assert_eq!(
        detail(&report, "software.common files"),
        Some("compressed zlib, encrypted true, filename app.conf, path /etc/app.conf")
    );
    assert!(report.facts.details.contains(&("software set".into(), "stable".into())));
}

#[test]
fn json_is_read_too() {
    let report = inspect(&archive("json"));
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.version.as_deref(), Some("2026.11"));
    assert_eq!(report.facts.semver, None);
    assert_eq!(names(&report, NameKind::Hardware), ["1.0"]);
    assert!(report.facts.payloads[0].digest.is_some() && report.facts.payloads[1].digest.is_none());
}

#[test]
fn signatures_come_with_what_they_sign() {
    let of = |name: &str| {
        let report = inspect(&archive(name));
        assert!(report.facts.signed, "{name}");
        report
    };
    let schemes = |name| of(name).signatures.iter().map(|signature| signature.algorithm).collect::<Vec<_>>();
    assert_eq!(schemes("cms"), [Algorithm::RsaPkcs1Sha256]);
    assert_eq!(schemes("cms-stream"), [Algorithm::RsaPkcs1Sha256]);
    assert_eq!(schemes("cms-noattr"), [Algorithm::RsaPkcs1Sha256]);
    assert_eq!(schemes("cms-keyid-sha512"), [Algorithm::RsaPkcs1Sha512]);
    assert_eq!(schemes("cms-pss"), [Algorithm::RsaPssSha256]);
    assert_eq!(schemes("cms-p256"), [Algorithm::EcdsaP256Sha256]);
    assert_eq!(schemes("cms-pss-long-salt"), []);
    assert!(detail(&of("cms-pss-long-salt"), "signature not usable").is_some_and(|why| why.contains("222")));
    for name in ["rsa", "rsa-pss"] {
        assert_eq!(schemes(name), [Algorithm::RsaPkcs1Sha256, Algorithm::RsaPssSha256]);
        let report = of(name);
        let Signed::Message(message) = &report.signatures[0].signed else { panic!("no message") };
        assert!(message.starts_with(b"/* The usual description. */"));
        assert_eq!(report.signatures[0].bytes.len(), 256);
    }
    let signed = |name: &str| of(name).signatures[0].signed.clone();
    assert!(matches!(signed("cms"), Signed::Message(attributes) if attributes[0] == 0x31));
    assert!(matches!(signed("cms-noattr"), Signed::Sha256(_)));
    let unsigned = inspect(&archive("unsigned"));
    assert!(!unsigned.facts.signed && unsigned.signatures.is_empty() && unsigned.facts.key_ids.is_empty());
}

#[test]
fn the_signer_is_named_as_openssl_names_it() {
    for (name, key) in [("cms", "swu"), ("cms-stream", "swu"), ("cms-p256", "swu-p256")] {
        let certificate = String::from_utf8(sample(&format!("swupdate/{key}.certificate"))).expect("text");
        let serial =
            certificate.lines().next().and_then(|line| line.strip_prefix("serial=")).expect("serial");
        let identifier =
            certificate.lines().last().expect("identifier").trim().replace(':', "").to_lowercase();
        let report = inspect(&archive(name));
        assert_eq!(
            report.facts.key_ids,
            [format!("CN={key},O=Demo"), format!("serial:{}", serial.to_lowercase()), identifier.clone()],
        );
        assert_eq!(report.signatures[0].certificates.len(), 1);
        if key == "swu" {
            let without = inspect(&archive("cms-keyid-sha512"));
            assert_eq!(without.facts.key_ids, [identifier]);
            assert_eq!(without.signatures[0].certificates, [[0_u8; 0]; 0]);
        }
    }
}

#[test]
fn its_own_digest_is_stated_when_all_of_it_fits() {
    let description = {
        let bytes = archive("cms");
        let size =
            usize::from_str_radix(str::from_utf8(&bytes[54..62]).expect("digits"), 16).expect("digits");
        sha256(&bytes[128..128 + size])
    };
    assert_eq!(inspect(&archive("cms")).facts.own_digest, Some(format!("sha256:{description}")));
    assert!(
        inspect(&archive("cms-keyid-sha512"))
            .facts
            .own_digest
            .is_some_and(|digest| digest.starts_with("sha512:"))
    );
    for name in ["unsigned", "rsa", "boards"] {
        assert_eq!(inspect(&archive(name)).facts.own_digest, None, "{name}");
    }
}

#[test]
fn what_is_known_early_is_told_early() {
    for (name, last) in [("unsigned", "rootfs.img"), ("cms", "rootfs.img")] {
        let bytes = archive(name);
        let mut inspection = Inspection::default();
        let mut told_at = None;
        for (at, byte) in bytes.iter().enumerate() {
            inspection.update(&[*byte]);
            if told_at.is_none() && inspection.so_far().is_some() {
                told_at = Some(at);
                let facts = inspection.so_far().expect("told");
                assert_eq!(facts.version.as_deref(), Some("1.3.0"));
                assert_eq!(facts.signed, name == "cms");
            }
        }
        // Before the content of the first file that is neither description nor signature.
        let needle = [last.as_bytes(), &[0]].concat();
        let content = bytes.windows(needle.len()).rposition(|window| window == needle).expect("there");
        assert!(told_at.is_some_and(|at| at < content + 1024), "{name} {told_at:?} {content}");
    }
}

#[test]
fn what_is_encrypted_or_no_update_is_no_fault() {
    let report = inspect(&archive("encrypted-description"));
    assert_eq!(report.faults, []);
    assert!(detail(&report, DESCRIPTION).is_some_and(|text| text.starts_with("encrypted")));
    assert_eq!(report.facts.payloads.len(), 3);

    let other = sample("swupdate/other.cpio");
    let report = inspect(&other);
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.format, "cpio");
    assert_eq!(detail(&report, "files"), Some("2"));
    // An initial file system may be several archives in a row.
    assert_eq!(inspect(&[other.as_slice(), &other].concat()).faults, []);
    assert_eq!(kinds(&inspect(&other[..300])), [FaultKind::Truncated]);
}

#[test]
fn a_flipped_bit_is_found() {
    for name in ["unsigned", "cms", "rsa", "boards"] {
        let good = archive(name);
        let whole = inspect(&good);
        let content = good.windows(10).rposition(|window| window == b"rootfs.img").expect("there") + 14;
        for at in (0..good.len()).step_by(13) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            let report = inspect(&bad);
            if (content..content + 1480).contains(&at) {
                let wrong = kinds(&report);
                assert_eq!(wrong, vec![FaultKind::DigestWrong; wrong.len()], "{name} {at}");
                // The checksum and the digest, the latter of both modes.
                assert!(wrong.len() >= 2);
                assert_eq!(report.facts.own_digest, None);
            }
            if (128..128 + description_size(&good)).contains(&at) {
                assert!(!report.faults.is_empty(), "{name} {at}: in the description");
            }
        }
        assert_eq!(whole.faults, []);
    }
    // The checksum is the format's own, and `newc` has none.
    let mut bad = archive("newc");
    let content = bad.windows(10).rposition(|window| window == b"rootfs.img").expect("there") + 20;
    bad[content] ^= 1;
    assert_eq!(kinds(&inspect(&bad)), [FaultKind::DigestWrong]);
    // A signature that is not over this description is not handed on.
    let mut bad = archive("cms");
    bad[130] ^= 1;
    let report = inspect(&bad);
    assert_eq!(kinds(&report), [FaultKind::DigestWrong, FaultKind::DigestWrong]);
    assert_eq!(report.signatures, []);
}

#[test]
fn a_cut_is_found() {
    for name in ["unsigned", "cms"] {
        let good = archive(name);
        let trailer = good.windows(10).rposition(|window| window == TRAILER.as_bytes()).expect("there") + 14;
        for cut in (6..good.len()).step_by(if name == "cms" { 17 } else { 3 }) {
            let report = inspect(&good[..cut]);
            let truncated = kinds(&report).contains(&FaultKind::Truncated);
            // The NULs that fill up the last block are missed by nobody.
            assert_eq!(truncated, cut < trailer, "{name} {cut}: {:?}", report.faults);
        }
    }
}

#[test]
fn bytes_behind_the_end_are_found() {
    let good = archive("unsigned");
    assert_eq!(good.len() % 512, 0);
    for (more, faults) in
        [(vec![0; 512], 1), (vec![0; 1], 0), (vec![0; 5120 - good.len()], 0), (vec![1], 1), (good.clone(), 1)]
    {
        let report = inspect(&[good.as_slice(), &more].concat());
        // A few NULs more than a block needs are as harmless as those that it needs.
        let trailer = good.windows(10).rposition(|window| window == TRAILER.as_bytes()).expect("there") + 14;
        if more == [0] && good.len() + 1 - trailer >= 512 {
            continue;
        }
        assert_eq!(kinds(&report), vec![FaultKind::Padded; faults], "{} {:?}", more.len(), report.faults);
        assert_eq!(report.facts.version.as_deref(), Some("1.3.0"));
    }
}

#[test]
fn files_and_their_names_are_compared() {
    let good = described(&format!("sha256 = \"{}\"", sha256(b"content")));
    assert_eq!(inspect(&good).faults, []);
    let messages = |bytes: &[u8]| {
        let faults = inspect(bytes).faults;
        faults.into_iter().map(|fault| (fault.kind, fault.message)).collect::<Vec<_>>()
    };
    let only = |bytes: &[u8], kind: FaultKind, part: &str| {
        let found = messages(bytes);
        assert!(found.len() == 1 && found[0].0 == kind && found[0].1.contains(part), "{found:?}");
    };
    let wrong = described(&format!("sha256 = \"{}\"", sha256(b"other")));
    only(&wrong, FaultKind::DigestWrong, "a has SHA-256");
    only(&described("sha256 = \"@a\""), FaultKind::Malformed, "is none");
    only(&described("}, { filename = \"b\""), FaultKind::Malformed, "names b in its images");
    let description = b"software = { version = \"1.0.0\"; }";
    only(&pack(&[(DESCRIPTION, description), ("a", b"")]), FaultKind::Malformed, "does not name it");
    only(&pack(&[(DESCRIPTION, b"software = { }")]), FaultKind::Malformed, "version");
    only(&pack(&[(DESCRIPTION, b"x = 1;")]), FaultKind::Malformed, "no group `software`");
    only(&pack(&[(DESCRIPTION, b"{ \"software\": }")]), FaultKind::Malformed, "JSON");
    only(&pack(&[(DESCRIPTION, b"software = \xff;")]), FaultKind::Malformed, "UTF-8");
    only(&pack(&[(DESCRIPTION, description), (DESCRIPTION, description)]), FaultKind::Malformed, "twice");
    let named = b"software = { version = \"1\"; files: ( { filename = \"a\"; } ); }";
    only(&pack(&[("a", b"x"), (DESCRIPTION, named)]), FaultKind::Malformed, "must be the first");
    let entry = format!("filename = \"a\"; sha256 = \"{}\";", sha256(b"x"));
    let text = format!("software = {{ version = \"1\"; files: ( {{ {entry} }} ); }}");
    let late = pack(&[(DESCRIPTION, text.as_bytes()), ("a", b"x"), (SIGNATURE, &[1; 256])]);
    only(&late, FaultKind::Malformed, "must be the second");
    only(
        &pack(&[(DESCRIPTION, named), (SIGNATURE, &[1; 256]), ("a", b"x")]),
        FaultKind::Malformed,
        "no sha256 of a",
    );
    only(&pack(&[(DESCRIPTION, description), (SIGNATURE, b"x")]), FaultKind::Malformed, "neither a CMS");
    only(&pack(&[(DESCRIPTION, description), (SIGNATURE, b"")]), FaultKind::Malformed, "neither a CMS");
    let openpgp = inspect(&pack(&[(DESCRIPTION, description), (SIGNATURE, b"\x89\x01\x33")]));
    assert!(openpgp.faults.is_empty() && openpgp.facts.signed && openpgp.signatures.is_empty());
}

#[test]
fn what_is_over_a_limit_is_a_fault() {
    let description = vec![b' '; LARGEST_DESCRIPTION as usize + 1];
    let report = inspect(&pack(&[(DESCRIPTION, &description)]));
    assert_eq!(kinds(&report), [FaultKind::Malformed]);
    assert_eq!(report.facts.format, "swupdate");
    let signature = vec![0; LARGEST_SIGNATURE as usize + 1];
    let small = b"software = { version = \"1.0.0\"; }";
    assert_eq!(
        kinds(&inspect(&pack(&[(DESCRIPTION, small), (SIGNATURE, &signature)]))),
        [FaultKind::Malformed]
    );
    let name = "x".repeat(LONGEST_NAME as usize);
    let report = inspect(&pack(&[(DESCRIPTION, small), (&name, b"")]));
    assert_eq!(kinds(&report), [FaultKind::Malformed]);
    assert!(report.faults[0].message.contains("a name of 1025 bytes"));
    let many = "{filename=\"a\"},".repeat(description::MOST_NAMED + 1);
    let many = format!("software = {{ version = \"1.0.0\"; images: ( {many} ); }}");
    let report = inspect(&pack(&[(DESCRIPTION, many.as_bytes()), ("a", b"")]));
    assert_eq!(kinds(&report), [FaultKind::Malformed]);
    assert!(report.facts.details.len() <= Facts::MOST_DETAILS);
    for (open, close) in [("a={", "}"), ("a=(", ")")] {
        let deep = format!("software = {{ {}{} }}", open.repeat(50_000), close.repeat(50_000));
        assert_eq!(kinds(&inspect(&pack(&[(DESCRIPTION, deep.as_bytes())]))), [FaultKind::Malformed]);
    }
    let deep = format!("{{\"software\":{}", "[".repeat(100_000));
    assert_eq!(kinds(&inspect(&pack(&[(DESCRIPTION, deep.as_bytes())]))), [FaultKind::Malformed]);
}

#[test]
fn header_fields_at_their_limits_are_survived() {
    let good = archive("unsigned");
    for field in 0..13 {
        for value in [
            "00000000",
            "00000001",
            "FFFFFFFF",
            "FFFFFFFE",
            "7fffffff",
            "+0000001",
            "0000000g",
            "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
        ] {
            let mut bad = good.clone();
            bad[6 + 8 * field..14 + 8 * field].copy_from_slice(value.as_bytes());
            let report = inspect(&bad);
            let matters = [6, 11, 12].contains(&field)
                || u32::from_str_radix(value, 16).is_err()
                || value.starts_with('+');
            assert_eq!(report.faults.is_empty(), !matters, "{field} {value}: {:?}", report.faults);
        }
    }
}

#[test]
fn a_million_files_take_no_memory() {
    let small = b"software = { version = \"1.0.0\"; }";
    let mut inspector = Swupdate::default();
    // Without the trailer, which takes 124 bytes.
    let names: Vec<_> = (0..2000).map(|number| format!("file{number:04}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let entries = pack(&files);
    let start = pack(&[(DESCRIPTION, small)]);
    inspector.update(&start[..start.len() - 124]);
    for _ in 0..500 {
        inspector.update(&entries[..entries.len() - 124]);
    }
    assert_eq!(inspector.number, 1_000_001);
    assert!(inspector.files.len() <= MOST_FILES && inspector.collected.capacity() <= 4096);
    let report = Box::new(inspector).finish();
    // Ten faults for files that are not named, none for each of a million.
    assert!(report.faults.len() <= 20);
    assert!(report.facts.payloads.len() <= Facts::MOST_PAYLOADS);
}

#[test]
fn pieces_change_nothing() {
    for name in SIGNED_AND_PLAIN.iter().chain(&["boards", "json", "encrypted-description"]) {
        inspect_cut(name, &archive(name));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), crc: bool) {
        let magic = if crc { CRC } else { NEWC };
        inspect(&[magic, &bytes].concat());
    }

    #[test]
    fn random_descriptions_do_not_panic(text in "[ -~\n]{0,200}", json: bool) {
        let start = if json { "{ \"software\": {" } else { "software = { {" };
        let text = format!("{start} {text} }} }}");
        inspect(&pack(&[(DESCRIPTION, text.as_bytes())]));
    }

    #[test]
    fn random_changes_do_not_panic(bytes in mutated(
        "swupdate",
        &["unsigned.swu", "cms.swu", "cms-stream.swu", "cms-pss.swu", "boards.swu", "json.swu"],
    )) {
        survives(&bytes);
    }
}
