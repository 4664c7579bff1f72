use proptest::prelude::*;

use super::{
    super::{
        Inspection, NameKind, Payload,
        trial::{self, inspect, inspect_cut, inspect_in, kinds, mutated, names, survives},
    },
    *,
};

const SAMPLES: [&str; 8] = [
    "plain.ota",
    "hardware.ota",
    "everything.ota",
    "legrand.ota",
    "ikea.ota",
    "third-reality.ota",
    "hue.ota",
    "telink.ota",
];

fn sample(name: &str) -> Vec<u8> {
    trial::sample(&format!("zigbee/{name}"))
}

fn detail<'a>(report: &'a Report, label: &str) -> &'a str {
    trial::detail(report, label).unwrap_or_default()
}

#[test]
fn a_plain_file_states_what_zigpy_prints() {
    let report = inspect(&sample("plain.ota"));
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.format, "zigbee-ota");
    assert_eq!(report.facts.version.as_deref(), Some("0x01030000"));
    assert_eq!(report.facts.semver.as_ref().unwrap().to_string(), "1.3.0");
    assert_eq!(
        names(&report),
        [
            (NameKind::Product, "demo-a"),
            (NameKind::Compatible, "0x1234:0x0001"),
            (NameKind::Compatible, "demo-a"),
            (NameKind::Vendor, "0x1234"),
        ]
    );
    assert_eq!(detail(&report, "header string"), "demo-a 1.3.0");
    assert_eq!(detail(&report, "image type"), "0x0001");
    assert_eq!(detail(&report, "file version"), "16973824 (0x01030000)");
    assert_eq!(detail(&report, "Zigbee stack"), "0x0002 (ZigBee Pro)");
    let image = Payload { name: "upgrade image (0x0000)".into(), size: 2292, digest: None };
    assert_eq!(report.facts.payloads, [image]);
    assert!(!report.facts.signed);
}

#[test]
fn the_hardware_range_is_stated() {
    let report = inspect(&sample("hardware.ota"));
    assert_eq!(report.faults, []);
    assert_eq!(detail(&report, "hardware versions"), "1.0 to 2.0");
    for end in ["1.0", "2.0"] {
        assert!(names(&report).contains(&(NameKind::Hardware, end)));
    }
}

#[test]
fn all_optional_fields_and_a_signature_are_stated() {
    let report = inspect(&sample("everything.ota"));
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.version.as_deref(), Some("0x0205010a"));
    assert_eq!(report.facts.semver.as_ref().unwrap().to_string(), "2.5.266");
    assert_eq!(detail(&report, "security credential"), "1 (SE 1.1)");
    assert_eq!(detail(&report, "destination"), "00:0d:6f:ff:fe:01:02:03");
    assert_eq!(detail(&report, "hardware versions"), "1.3 to 1.3");
    assert!(names(&report).contains(&(NameKind::Product, "Gateway of the first floor")));
    assert!(!names(&report).contains(&(NameKind::Compatible, "Gateway of the first floor")));
    assert!(report.facts.signed);
    assert_eq!(report.facts.key_ids, ["0807060504030201"]);
    let payloads: Vec<_> =
        report.facts.payloads.iter().map(|payload| (payload.name.as_str(), payload.size)).collect();
    assert_eq!(
        payloads,
        [
            ("upgrade image (0x0000)", 2292),
            ("vendor's sub-element (0xf100)", 0),
            ("ECDSA certificate, suite 1 (0x0002)", 48),
            ("ECDSA signature, suite 1 (0x0001)", 50),
        ]
    );
}

#[test]
fn wrappers_are_known() {
    for (name, wrapper) in [
        ("legrand.ota", "Legrand, 4 bytes before the OTA header"),
        ("ikea.ota", "IKEA container (NGIS), 32 bytes before the OTA header"),
        ("third-reality.ota", "Third Reality, 152 bytes before the OTA header"),
    ] {
        let report = inspect(&sample(name));
        assert_eq!(report.faults, [], "{name}");
        assert_eq!(detail(&report, "wrapper"), wrapper);
        assert_eq!(report.facts.semver.as_ref().unwrap().to_string(), "1.3.0");
    }
    assert!(inspect(&sample("third-reality.ota")).facts.own_digest.unwrap().starts_with("sha512:"));

    let unknown = [&b"a prefix of a maker"[..], &sample("plain.ota")].concat();
    let report = inspect(&unknown);
    assert_eq!(report.faults, []);
    assert_eq!(detail(&report, "wrapper"), "unknown, 19 bytes before the OTA header");
    assert_eq!(kinds(&inspect(&[&unknown[..], b"?"].concat())), [FaultKind::Padded]);
    assert_ne!(inspect(&[b"PK\x03\x04", &unknown[..]].concat()).facts.format, "zigbee-ota");
}

#[test]
fn wrappers_that_lie_are_told() {
    let ikea = sample("ikea.ota");
    assert_eq!(kinds(&inspect(&ikea[..1500])), [FaultKind::Truncated]);
    let mut short = ikea.clone();
    short[20] -= 1;
    assert_eq!(kinds(&inspect(&short)), [FaultKind::Malformed]);
    let legrand = sample("legrand.ota");
    assert_eq!(kinds(&inspect(&legrand[..legrand.len() - 1])), [FaultKind::Truncated]);
    assert_eq!(kinds(&inspect(&[&legrand[..], b"?"].concat())), [FaultKind::Padded]);
    let mut damaged = sample("third-reality.ota");
    damaged[2000] ^= 1;
    assert_eq!(kinds(&inspect(&damaged)), [FaultKind::DigestWrong]);
}

#[test]
fn files_without_readable_sub_elements_are_known() {
    let report = inspect(&sample("hue.ota"));
    assert_eq!(report.faults, []);
    let hue = Payload { name: "Hue container".into(), size: 2298, digest: None };
    assert_eq!(report.facts.payloads, [hue]);

    let report = inspect(&sample("telink.ota"));
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.payloads[0].name, "Telink encrypted image (0xf000)");
}

#[test]
fn facts_are_known_early() {
    let mut inspection = Inspection::default();
    inspection.update(&sample("plain.ota")[..1100]);
    assert_eq!(inspection.so_far().unwrap().semver.as_ref().unwrap().to_string(), "1.3.0");
}

#[test]
fn cuts_and_additions_are_told() {
    for name in ["plain.ota", "hardware.ota", "everything.ota", "hue.ota", "telink.ota"] {
        let whole = sample(name);
        for at in 4..whole.len() {
            assert_eq!(kinds(&inspect(&whole[..at])), [FaultKind::Truncated], "{name} cut at {at}");
        }
        assert_eq!(kinds(&inspect(&[&whole[..], &[0]].concat())), [FaultKind::Padded], "{name}");
    }
}

#[test]
fn headers_that_lie_are_told() {
    let whole = sample("hardware.ota");
    let edited = |at: usize, with: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        kinds(&inspect(&bytes))
    };
    assert!(edited(4, &[0, 2]).contains(&FaultKind::Malformed), "version");
    assert!(edited(6, &[59, 0]).contains(&FaultKind::Malformed), "length without the optional fields");
    assert!(edited(6, &[0, 0]).contains(&FaultKind::Malformed));
    assert!(edited(6, &[255, 255]).contains(&FaultKind::Malformed));
    assert!(edited(8, &[8, 0]).contains(&FaultKind::Malformed), "field control");
    assert!(edited(56, &[1, 9]).contains(&FaultKind::Malformed), "hardware range");
    assert_eq!(edited(52, &[0; 4]), [FaultKind::Malformed, FaultKind::Malformed, FaultKind::Padded]);
    assert_eq!(edited(52, &[60, 0, 0, 0]), [FaultKind::Malformed, FaultKind::Malformed, FaultKind::Padded]);
    assert_eq!(edited(52, &[255; 4]), [FaultKind::Truncated]);
    assert_eq!(edited(52, &[254, 255, 255, 255]), [FaultKind::Truncated]);
}

#[test]
fn sub_elements_that_lie_are_told() {
    let whole = sample("plain.ota");
    let edited = |length: u32| {
        let mut bytes = whole.clone();
        bytes[58..62].copy_from_slice(&length.to_le_bytes());
        kinds(&inspect(&bytes))
    };
    for length in [2293, u32::MAX, u32::MAX - 1] {
        assert_eq!(edited(length), [FaultKind::Malformed], "{length}");
    }
    assert_eq!(edited(2291), [FaultKind::Malformed], "one byte left over");
    assert_eq!(edited(2287), [FaultKind::Malformed], "five bytes left over");
    assert_eq!(edited(2292), []);
}

#[test]
fn a_million_sub_elements_take_no_memory() {
    let mut bytes = sample("plain.ota")[..56].to_vec();
    bytes[52..56].copy_from_slice(&(56 + 6_000_000_u32).to_le_bytes());
    bytes.resize(56 + 6_000_000, 0);
    let report = inspect_in(4096, &bytes);
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.payloads.len(), Facts::MOST_PAYLOADS);
    // Many signatures, each with an address of its own.
    let signatures =
        (0..10_000_u64).flat_map(|number| [&[1, 0, 8, 0, 0, 0][..], &number.to_le_bytes()].concat());
    bytes.truncate(56);
    bytes.extend(signatures);
    bytes[52..56].copy_from_slice(&(56 + 140_000_u32).to_le_bytes());
    let report = inspect_in(4096, &bytes);
    assert_eq!(report.faults, []);
    assert_eq!(report.facts.key_ids.len(), 8);
}

#[test]
fn pieces_change_nothing() {
    for name in SAMPLES {
        inspect_cut(name, &sample(name));
    }
}

proptest! {
    #[test]
    fn no_mutation_panics(bytes in mutated("zigbee", &SAMPLES)) {
        survives(&bytes);
    }

    #[test]
    fn noise_behind_the_magic_does_not_panic(
        noise in prop::collection::vec(any::<u8>(), 0..2000),
        size in 0u32..2500,
    ) {
        let mut bytes = [&MAGIC[..], &noise].concat();
        if bytes.len() > 56 {
            bytes[52..56].copy_from_slice(&size.to_le_bytes());
        }
        let report = inspect(&bytes);
        prop_assert_eq!(report.facts.format.as_str(), "zigbee-ota");
    }
}
