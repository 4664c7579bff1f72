use proptest::prelude::*;

use super::{
    super::{Inspection, NameKind, Signature},
    tokens::{BEGIN_NODE, DEEPEST, END, END_NODE, MOST_HASHED, MOST_NODES, NOTHING, PROPERTY},
    *,
};
use crate::version_check::inspect::trial::{
    self, inspect, inspect_cut, kinds, mutated, names_of as names, survives,
};
use crate::version_check::inspect::verified;

const IMAGES: [&str; 11] = [
    "embedded.itb",
    "external.itb",
    "position.itb",
    "aligned.itb",
    "version.itb",
    "configuration-rsa-pkcs-1.5.itb",
    "configuration-rsa-pss.itb",
    "configuration-external.itb",
    "configuration-ecdsa.itb",
    "configuration-weak.itb",
    "image-signed.itb",
];

fn sample(name: &str) -> Vec<u8> {
    trial::sample(&format!("fit/{name}"))
}

fn detail<'a>(report: &'a Report, label: &str) -> &'a str {
    trial::detail(report, label).unwrap_or_default()
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).expect("it is in the sample")
}

/// A device tree made of tokens.
#[derive(Default)]
struct Maker {
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl Maker {
    fn word(mut self, word: u32) -> Self {
        self.structure.extend(word.to_be_bytes());
        self
    }

    fn pad(mut self) -> Self {
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        self
    }

    fn begin(mut self, name: &str) -> Self {
        self = self.word(BEGIN_NODE);
        self.structure.extend(name.bytes().chain([0]));
        self.pad()
    }

    fn end(self) -> Self {
        self.word(END_NODE)
    }

    fn property(mut self, name: &str, value: &[u8]) -> Self {
        let offset = self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        self = self.word(PROPERTY).word(value.len() as u32).word(offset);
        self.structure.extend(value);
        self.pad()
    }

    fn number(self, name: &str, number: u32) -> Self {
        self.property(name, &number.to_be_bytes())
    }

    /// What every FIT has, up to the first image.
    fn fit() -> Self {
        Self::default().begin("").property("description", b"x\0").begin("images")
    }

    fn image(self, name: &str, data: &[u8]) -> Self {
        self.begin(name).property("data", data).end()
    }

    fn external(self, name: &str, place: &str, offset: u32, size: u32) -> Self {
        self.begin(name).number(place, offset).number("data-size", size).end()
    }

    fn finish(self) -> Vec<u8> {
        let Self { structure, strings } = self.word(END);
        let (start, size) = (56, structure.len() as u32);
        let total = start + size + strings.len() as u32;
        let fields = [0xd00d_feed, total, start, start + size, 40, 17, 16, 0, strings.len() as u32, size];
        let header: Vec<u8> = fields.into_iter().flat_map(u32::to_be_bytes).collect();
        [&header[..], &[0; 16], &structure, &strings].concat()
    }

    fn inspect(self) -> Report {
        inspect(&self.finish())
    }

    fn finish_fit(self) -> Vec<u8> {
        self.end().end().finish()
    }
}

#[test]
fn a_fit_states_what_dumpimage_lists() {
    let report = inspect(&sample("embedded.itb"));
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.format, "fit");
    assert_eq!(report.facts.version.as_deref(), Some("1.3.0"));
    assert_eq!(report.facts.semver.as_ref().unwrap().to_string(), "1.3.0");
    assert_eq!(report.facts.built_at.as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(names(&report, NameKind::Compatible), ["vendor,demo", "vendor,demo-a"]);
    assert_eq!(names(&report, NameKind::Chip), ["arm"]);
    assert_eq!(detail(&report, "description"), "demo-a firmware 1.3.0");
    assert_eq!(detail(&report, "default configuration"), "conf-1");
    assert_eq!(
        detail(&report, "image fw-1"),
        "\"fw\", type firmware, arch arm, os linux, compression none, load 0x80000000, entry 0x80000040"
    );
    assert_eq!(
        detail(&report, "configuration conf-1"),
        "\"demo-a rev 1\", firmware fw-1, fdt fdt-1, compatible vendor,demo-a, compatible vendor,demo"
    );
    let [firmware, tree] = &report.facts.payloads[..] else { panic!("two images") };
    assert_eq!((firmware.name.as_str(), firmware.size), ("fw-1", 6393));
    assert!(firmware.digest.as_ref().unwrap().starts_with("sha512:485ce33513f9bece46fe59dbb663c9f8"));
    assert_eq!((tree.name.as_str(), tree.size), ("fdt-1", 505));
    assert!(tree.digest.as_ref().unwrap().starts_with("sha256:6e999a90ccdb1d5781c6472d1839a4a8"));
    assert!(!report.facts.signed);
}

#[test]
fn it_makes_no_difference_where_the_data_is() {
    let embedded = inspect(&sample("embedded.itb"));
    for name in ["external.itb", "position.itb", "aligned.itb"] {
        assert_eq!(inspect(&sample(name)), embedded, "{name}");
    }
}

#[test]
fn a_version_of_its_own_goes_before_the_description() {
    let report = inspect(&sample("version.itb"));
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.version.as_deref(), Some("v2.1.0-rc.2"));
    assert_eq!(report.facts.semver.as_ref().unwrap().to_string(), "2.1.0-rc.2");
    assert_eq!(names(&report, NameKind::Compatible), ["vendor,demo", "vendor,demo-a", "vendor,root"]);
    assert_eq!(report.facts.security_counter, Some(7));
}

#[test]
fn a_number_named_version_is_a_counter() {
    let configuration = |version: &[u8]| {
        let maker = Maker::fit().image("a", b"1").end().begin("configurations").begin("c");
        maker.property("version", version).end().end().end().inspect()
    };
    let report = configuration(&[0, 0, 0, 3]);
    assert_eq!((report.facts.version.as_deref(), report.facts.security_counter), (None, Some(3)));
    let report = configuration(b"1.3.0\0");
    assert_eq!((report.facts.version.as_deref(), report.facts.security_counter), (Some("1.3.0"), None));
    let report = configuration(b"1.3\0");
    assert_eq!((report.facts.version.as_deref(), report.facts.security_counter), (Some("1.3"), None));
    assert_eq!(report.facts.semver, None);
}

#[test]
fn a_plain_device_tree_is_stated_in_both_versions() {
    for name in ["board.dtb", "board-16.dtb"] {
        let report = inspect(&sample(name));
        assert_eq!(report.faults, [], "{name}");
        assert_eq!(report.facts.format, "dtb");
        assert_eq!(names(&report, NameKind::Compatible), ["vendor,demo-a", "vendor,soc"]);
        assert_eq!(names(&report, NameKind::Hardware), ["Demo A rev 1"]);
        assert_eq!(report.facts.payloads, []);
    }
}

#[test]
fn facts_are_known_early_if_the_data_is_behind_the_tree() {
    let bytes = sample("external.itb");
    let total = u32::from_be_bytes(*bytes[4..].first_chunk().unwrap()) as usize;
    let mut inspection = Inspection::default();
    // The last 16 bytes are held back: they may be a DFU suffix.
    inspection.update(&bytes[..total + 15]);
    assert_eq!(inspection.so_far(), None);
    inspection.update(&bytes[total + 15..total + 16]);
    assert_eq!(inspection.so_far().unwrap().version.as_deref(), Some("1.3.0"));
}

fn verifies(signature: &Signature) -> bool {
    let name = signature.key_id.as_deref().expect("mkimage names it");
    verified::verifies(signature, &verified::key(&format!("fit/{name}.pub.pem")))
}

#[test]
fn signatures_of_configurations_and_images_verify() {
    for (name, count) in [
        ("configuration-rsa-pkcs-1.5.itb", 1),
        ("configuration-external.itb", 1),
        ("configuration-ecdsa.itb", 1),
        ("image-signed.itb", 2),
    ] {
        let report = inspect(&sample(name));
        assert_eq!(report.faults, [], "{name}");
        assert!(report.facts.signed, "{name}");
        assert_eq!(report.signatures.len(), count, "{name}");
        assert!(report.signatures.iter().all(verifies), "{name}");
    }
    assert_eq!(inspect(&sample("image-signed.itb")).facts.key_ids, ["dev", "curve"]);
}

#[test]
fn a_signature_with_the_longest_salt_is_only_stated() {
    let report = inspect(&sample("configuration-rsa-pss.itb"));
    assert_eq!(report.faults, []);
    assert!(report.facts.signed && report.signatures.is_empty());
    let label = "signature /configurations/conf-1/signature-1";
    assert_eq!(detail(&report, label), "sha256,rsa2048 (pss) by key dev");
    let label = format!("{label} cannot be verified");
    assert_eq!(detail(&report, &label), "its algorithm is none that is verified here");
}

#[test]
fn a_signature_does_not_verify_once_the_tree_is_edited() {
    let whole = sample("configuration-rsa-pkcs-1.5.itb");
    // An address in an image, a hash, the description, the compatible name, the name of a property.
    for (before, after) in [
        (&b"\x80\x00\x00\x40"[..], &b"\x80\x00\x00\x44"[..]),
        (&b"\x12\x3a\x62\x49"[..], &b"\x12\x3a\x62\x48"[..]),
        (&b"demo-a firmware 1.3.0"[..], &b"demo-a firmware 1.3.1"[..]),
        (&b"vendor,demo-a"[..], &b"vendor,demo-b"[..]),
        (&b"\0compression\0"[..], &b"\0compressiom\0"[..]),
    ] {
        let mut edited = whole.clone();
        let at = find(&edited, before);
        edited[at..at + after.len()].copy_from_slice(after);
        let report = inspect(&edited);
        assert_eq!(report.signatures.len(), 1);
        assert!(!verifies(&report.signatures[0]), "{before:?}");
    }
}

#[test]
fn a_signature_that_does_not_cover_its_configuration_is_not_yielded() {
    let report = inspect(&sample("configuration-weak.itb"));
    assert_eq!(report.faults, []);
    assert!(report.facts.signed && report.signatures.is_empty());
    let label = "signature /configurations/conf-1/signature-1 cannot be verified";
    assert_eq!(detail(&report, label), "it does not cover /images/fw-1");
    // As if it had been moved from another configuration.
    let mut moved = sample("configuration-rsa-pkcs-1.5.itb");
    let at = find(&moved, b"/configurations/conf-1\0");
    moved[at + 21] = b'2';
    let report = inspect(&moved);
    assert!(report.signatures.is_empty());
    assert_eq!(detail(&report, label), "it does not cover /configurations/conf-1");
}

#[test]
fn signed_in_part_is_not_signed() {
    let report = inspect(&sample("part-signed.itb"));
    assert_eq!(report.faults, []);
    assert!(!report.facts.signed && report.signatures.is_empty());
    assert_eq!(detail(&report, "signed"), "only in part: neither every configuration nor every image");
    assert_eq!(report.facts.key_ids, ["dev"]);
}

#[test]
fn damaged_data_is_told_with_each_hash_that_is_wrong() {
    for name in ["embedded.itb", "external.itb", "position.itb", "aligned.itb"] {
        let mut damaged = sample(name);
        let at = find(&damaged, b"\n700\n701\n");
        damaged[at + 1] ^= 1;
        let report = inspect(&damaged);
        assert_eq!(kinds(&report), [FaultKind::DigestWrong; 6], "{name}");
        for (number, fault) in report.faults.iter().enumerate() {
            assert!(fault.message.starts_with(&format!("/images/fw-1/hash-{} states", number + 1)));
        }
        assert_eq!(report.facts.payloads[0].digest, None);
    }
}

#[test]
fn a_damaged_hash_is_told() {
    let whole = sample("embedded.itb");
    let report = inspect(&whole);
    let digest = report.facts.payloads[1].digest.clone().unwrap();
    let at = find(&whole, &hex::decode(digest.strip_prefix("sha256:").unwrap()).unwrap());
    for byte in at..at + 32 {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0x80;
        assert_eq!(kinds(&inspect(&damaged)), [FaultKind::DigestWrong]);
    }
}

#[test]
fn cuts_are_told() {
    for name in ["embedded.itb", "version.itb", "board.dtb", "board-16.dtb"] {
        let whole = sample(name);
        for at in (4..200).chain((200..whole.len()).step_by(13)).chain(whole.len() - 300..whole.len()) {
            if at < whole.len() {
                assert_eq!(kinds(&inspect(&whole[..at])), [FaultKind::Truncated], "{name} cut at {at}");
            }
        }
    }
    for name in ["external.itb", "position.itb", "aligned.itb"] {
        let whole = sample(name);
        let last = b"\n5099\n5100\n";
        let end = whole.windows(last.len()).rposition(|window| window == last).unwrap() + last.len();
        for at in (4..end).step_by(13).chain([end - 1]) {
            assert_eq!(kinds(&inspect(&whole[..at])), [FaultKind::Truncated], "{name} cut at {at}");
        }
        assert_eq!(inspect(&whole[..end]).faults, [], "{name}: the zeros behind the last image say nothing");
    }
}

#[test]
fn what_is_appended_is_told() {
    for name in IMAGES {
        let whole = sample(name);
        for tail in [&b"?"[..], b"\0\0\0\0\0", &[0; 5000]] {
            let report = inspect(&[&whole[..], tail].concat());
            assert_eq!(kinds(&report), [FaultKind::Padded], "{name}");
        }
    }
}

#[test]
fn headers_that_lie_are_told() {
    let whole = sample("embedded.itb");
    for field in 1..10 {
        let real = u32::from_be_bytes(*whole[4 * field..].first_chunk().unwrap());
        for value in [0, 1, 3, real + 1, real.wrapping_sub(1), real + 4, u32::MAX - 1, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[4 * field..4 * field + 4].copy_from_slice(&value.to_be_bytes());
            let faults = kinds(&inspect(&bytes));
            // The reserved memory and the processor that boots say nothing of the rest, free space may count
            // as strings, and a newer version may say that it can be read as an older one.
            let harmless = match field {
                4 | 7 => true,
                5 => value >= 16,
                6 => value <= 17,
                8 => (real..=real + 4).contains(&value),
                _ => false,
            };
            assert!(harmless || !faults.is_empty(), "field {field} = {value}");
        }
    }
}

#[test]
fn structures_that_lie_are_told() {
    let ok = || Maker::fit().image("a", b"1");
    assert_eq!(inspect(&ok().finish_fit()).faults, []);
    let deep = |depth: usize| {
        let maker = (1..depth).fold(Maker::fit().image("a", b"1").end(), |maker, _| maker.begin("n"));
        (1..depth).fold(maker, |maker, _| maker.end()).end().inspect()
    };
    assert_eq!(deep(DEEPEST).faults, []);
    assert_eq!(kinds(&deep(DEEPEST + 1)), [FaultKind::Malformed]);
    for (name, maker) in [
        ("no end of nodes", ok()),
        ("an end too many", ok().end().end().end()),
        ("two roots", ok().end().end().begin("").end()),
        ("an unknown token", ok().word(5).end().end()),
        ("a property of no node", ok().end().end().property("x", b"")),
        ("a property behind a node", ok().property("x", b"").end().end()),
        ("a root with a name", Maker::default().begin("root").end()),
        ("a node without a name", ok().begin("").end().end().end()),
        ("a node with a path", ok().begin("a/b").end().end().end()),
        ("a node with a space", ok().begin("a b").end().end().end()),
        ("a long name", ok().begin(&"a".repeat(256)).end().end().end()),
        ("two nodes of a name", ok().image("a", b"2").end().end()),
        ("two properties of a name", ok().begin("b").property("x", b"").property("x", b"").end().end().end()),
        ("no name of a property", ok().begin("b").word(PROPERTY).word(0).word(1000).end().end().end()),
        ("a long property", ok().begin("b").word(PROPERTY).word(u32::MAX).word(0).end().end().end()),
        ("a long property", ok().begin("b").word(PROPERTY).word(u32::MAX - 1).word(0).end().end().end()),
        ("an empty tree", Maker::default()),
    ] {
        assert_eq!(kinds(&maker.inspect()), [FaultKind::Malformed], "{name}");
    }
}

#[test]
fn fits_that_contradict_themselves_are_told() {
    let with_configuration = |maker: Maker, property: &str, value: &str| {
        let maker = maker.image("a", b"1").end().begin("configurations").property("default", b"c\0");
        maker.begin("c").property(property, value.as_bytes()).end().end().end().inspect()
    };
    assert_eq!(with_configuration(Maker::fit(), "kernel", "a\0").faults, []);
    assert_eq!(kinds(&with_configuration(Maker::fit(), "kernel", "b\0")), [FaultKind::Malformed]);
    assert_eq!(kinds(&with_configuration(Maker::fit(), "fdt", "a\0b\0")), [FaultKind::Malformed]);
    for (name, maker) in [
        ("no images", Maker::fit()),
        ("no data", Maker::fit().begin("a").end()),
        ("a hash without a value", Maker::fit().begin("a").property("data", b"1").begin("hash").end().end()),
        ("no description", Maker::default().begin("").begin("images").image("a", b"1")),
    ] {
        assert_eq!(kinds(&inspect(&maker.finish_fit())), [FaultKind::Malformed], "{name}");
    }
    let lost =
        Maker::fit().image("a", b"1").end().begin("configurations").property("default", b"c\0").end().end();
    assert_eq!(kinds(&lost.inspect()), [FaultKind::Malformed], "no default configuration");
}

#[test]
fn a_hash_of_another_algorithm_is_stated() {
    let maker = Maker::fit().begin("a").property("data", b"1").begin("hash-1");
    let report =
        inspect(&maker.property("algo", b"crc16-ccitt\0").property("value", b"12").end().end().finish_fit());
    assert_eq!(report.faults, []);
    assert_eq!(detail(&report, "image a"), "crc16-ccitt not checked");
}

#[test]
fn data_that_is_nowhere_is_told() {
    let tree =
        |place: &str, offset: u32, size: u32| Maker::fit().external("a", place, offset, size).finish_fit();
    let total = tree("data-position", 0, 0).len() as u32;
    let with = |bytes: Vec<u8>| kinds(&inspect(&[&bytes[..], &[7; 100]].concat()));
    assert_eq!(with(tree("data-position", total, 100)), []);
    assert_eq!(with(tree("data-position", total - 1, 100)), [FaultKind::Malformed, FaultKind::Padded]);
    assert_eq!(with(tree("data-position", total, 99)), [FaultKind::Padded]);
    assert_eq!(with(tree("data-position", total, 101)), [FaultKind::Truncated]);
    assert_eq!(with(tree("data-offset", u32::MAX, u32::MAX)), [FaultKind::Truncated]);
    let endless =
        Maker::fit().begin("a").property("data-position", &[0xff; 8]).property("data-size", &[0xff; 8]);
    assert_eq!(with(endless.end().finish_fit()), [FaultKind::Malformed, FaultKind::Padded]);
    let last = Maker::fit().begin("a").property("data-position", &[0xff; 8]).number("data-size", 0);
    assert_eq!(with(last.end().finish_fit()), [FaultKind::Truncated]);
    let two = |first: (u32, u32), second: (u32, u32)| {
        let maker = Maker::fit().external("a", "data-offset", first.0, first.1);
        let bytes = maker.external("b", "data-offset", second.0, second.1).finish_fit();
        let filled = bytes.len().next_multiple_of(4) - bytes.len();
        with([&bytes[..], &vec![0; filled]].concat())
    };
    assert_eq!(two((0, 50), (50, 50)), []);
    assert_eq!(two((50, 50), (0, 50)), [], "in any order");
    assert_eq!(two((0, 100), (0, 100)), [], "the same for both");
    assert_eq!(two((0, 51), (50, 50)), [FaultKind::Malformed]);
}

#[test]
fn what_an_attacker_chooses_is_bounded() {
    let tokens = |word: u32, count: usize| {
        let maker = (0..count).fold(Maker::fit().image("a", b"1").end(), |maker, _| maker.word(word));
        maker.end().inspect()
    };
    assert_eq!(tokens(NOTHING, 1000).faults, []);
    assert_eq!(kinds(&tokens(NOTHING, 1_000_000)), [FaultKind::Malformed]);
    let nodes = (0..=MOST_NODES).fold(Maker::fit(), |maker, number| maker.image(&number.to_string(), b""));
    assert_eq!(kinds(&inspect(&nodes.finish_fit())), [FaultKind::Malformed]);
    let values = (0..=MOST_HASHED).fold(Maker::fit().begin("a"), |mut maker, number| {
        maker.strings.clear();
        maker.property(&"x".repeat(number + 1), &[0; 4097])
    });
    assert_eq!(kinds(&inspect(&values.end().finish_fit())), [FaultKind::Malformed]);
    // Many images that all lie in the same place, and say so with many hash nodes.
    let images = (0..1000).fold(Maker::fit(), |maker, number| {
        let maker =
            maker.begin(&format!("image-{number}")).number("data-offset", 0).number("data-size", 1000);
        maker.begin("hash").property("algo", b"sha256\0").property("value", &[0; 32]).end().end()
    });
    let bytes = images.finish_fit();
    let bytes = [&bytes[..], &vec![1; 1003]].concat();
    assert!(kinds(&inspect(&bytes)).starts_with(&[FaultKind::DigestWrong; 10]));
    // Many signatures over many nodes.
    let listed = "/images/n\0".repeat(400);
    let nodes = (0..MOST_NODES - 500)
        .fold(Maker::fit().image("n", b""), |maker, number| maker.begin(&number.to_string()).end());
    let configuration = nodes.end().begin("configurations").begin("c");
    let signed = (0..200).fold(configuration, |mut maker, number| {
        maker.strings.clear();
        let maker = maker.begin(&format!("signature-{number}")).property("algo", b"sha256,rsa2048\0");
        maker.property("value", &[1; 256]).property("hashed-nodes", listed.as_bytes()).end()
    });
    signed.end().end().end().inspect();
}

#[test]
fn pieces_change_nothing() {
    for name in IMAGES.into_iter().chain(["board.dtb", "board-16.dtb", "part-signed.itb"]) {
        inspect_cut(name, &sample(name));
    }
}

proptest! {
    #[test]
    fn no_mutation_panics(bytes in mutated("fit", &IMAGES)) {
        survives(&bytes);
    }

    #[test]
    fn noise_behind_the_magic_does_not_panic(noise in prop::collection::vec(any::<u8>(), 0..2000)) {
        let report = inspect(&[&MAGIC[..], &noise].concat());
        prop_assert_eq!(report.facts.format.as_str(), "fit");
        prop_assert!(!report.faults.is_empty());
    }
}
