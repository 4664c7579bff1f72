use proptest::prelude::*;

use super::super::trial::{cuts_show, detail, flips_show, inspect, kinds, mutated, sample, survives, whole};
use super::super::{FaultKind, NameKind, Report};

fn chip(report: &Report) -> &str {
    let chips: Vec<_> = report.facts.names.iter().filter(|name| name.0 == NameKind::Chip).collect();
    assert_eq!(chips.len(), 1);
    &chips[0].1
}

fn edited(path: &str, at: usize, bytes: &[u8]) -> Report {
    let mut sample = sample(path);
    sample[at..at + bytes.len()].copy_from_slice(bytes);
    inspect(&sample)
}

#[test]
fn what_readelf_says_is_stated() {
    for (path, machine, class, order, entry, id, code) in [
        ("arm", "ARM", "32 bits", "little-endian", "0x08000024", 40, 0x359),
        ("riscv32", "RISC-V", "32 bits", "little-endian", "0x08000020", 32, 0x355),
        ("riscv64", "RISC-V", "64 bits", "little-endian", "0x08000018", 16, 0x34d),
        ("powerpc", "PowerPC", "32 bits", "big-endian", "0x08000024", 40, 0x359),
    ] {
        let report = whole(&format!("elf/{path}.elf"));
        assert_eq!(report.facts.format, "elf");
        assert_eq!(chip(&report), machine);
        assert_eq!(detail(&report, "class"), Some(class));
        assert_eq!(detail(&report, "byte order"), Some(order));
        assert_eq!(detail(&report, "entry"), Some(entry));
        assert_eq!(detail(&report, "type"), Some("program"));
        assert_eq!(detail(&report, "build id").map(str::len), Some(id), "{path}");
        let data = format!("0x{:08x}", 0x0800_0000 + code);
        let payloads: Vec<_> =
            report.facts.payloads.iter().map(|payload| (payload.name.as_str(), payload.size)).collect();
        assert_eq!(payloads, [("0x08000000", code), (data.as_str(), 40)]);
        assert_eq!(report.facts.installed_size, Some(code + 40));
    }
    assert_eq!(detail(&whole("elf/riscv64.elf"), "build id"), Some("0123456789abcdef"));
    assert_eq!(detail(&whole("elf/arm.elf"), "sections"), Some("9"));
    let report = whole("elf/arm-stripped.elf");
    assert_eq!(detail(&report, "build id"), None);
    let report = whole("elf/arm-object.o");
    assert_eq!((detail(&report, "type"), report.facts.installed_size), (Some("relocatable object"), None));
}

#[test]
fn cuts_and_bytes_behind_are_told() {
    for path in ["elf/arm.elf", "elf/riscv64.elf", "elf/powerpc.elf", "elf/arm-object.o"] {
        cuts_show(path, |end, report| end < 4 || kinds(report) == [FaultKind::Truncated]);
        let mut bytes = sample(path);
        bytes.extend([0; 5]);
        assert_eq!(kinds(&inspect(&bytes)), [FaultKind::Padded]);
    }
}

#[test]
fn contradictions_are_malformed() {
    for (at, bytes, kind) in [
        (4, &[3][..], FaultKind::Malformed),
        (5, &[0], FaultKind::Malformed),
        (6, &[9], FaultKind::Malformed),
        (20, &[2], FaultKind::Malformed),
        (40, &[53], FaultKind::Malformed),
        (42, &[31], FaultKind::Malformed),
        (44, &[0xff, 0xff], FaultKind::Malformed),
        (46, &[0, 0], FaultKind::Malformed),
        (28, &[51], FaultKind::Malformed),
        (28, &[0xff, 0xff, 0xff, 0xff], FaultKind::Truncated),
        (32, &[0, 0, 0, 0x7f], FaultKind::Truncated),
        (48, &[0xff, 0xff], FaultKind::Truncated),
        (52 + 32 + 4, &[0xff, 0xff, 0xff, 0xff], FaultKind::Truncated),
        (52 + 32 + 16, &[0xff, 0xff, 0xff, 0xff], FaultKind::Malformed),
    ] {
        let report = edited("elf/arm.elf", at, bytes);
        assert!(kinds(&report).contains(&kind), "{at}: {report:?}");
    }
    let report = edited("elf/riscv64.elf", 64 + 56 * 2 + 8, &[0xff; 8]);
    assert!(kinds(&report).contains(&FaultKind::Malformed), "{report:?}");
    let report = edited("elf/riscv64.elf", 40, &[0xff; 8]);
    assert!(kinds(&report).contains(&FaultKind::Malformed), "{report:?}");
}

#[test]
fn the_first_section_may_state_how_many_there_are() {
    let mut bytes = sample("elf/arm.elf");
    let table = 1388;
    bytes[48..50].copy_from_slice(&[0, 0]);
    bytes[table + 20] = 9;
    let report = inspect(&bytes);
    assert_eq!((kinds(&report), detail(&report, "sections")), (vec![], Some("9")));
    bytes[table + 20..table + 24].copy_from_slice(&[0xff; 4]);
    assert_eq!(kinds(&inspect(&bytes)), [FaultKind::Truncated]);
    survives(&bytes);
}

#[test]
fn flipped_bits_never_panic() {
    flips_show("elf/riscv64.elf", |_, _| true);
    flips_show("elf/powerpc.elf", |_, _| true);
}

proptest! {
    #[test]
    fn mutations_never_panic(
        bytes in mutated("elf", &["arm.elf", "riscv64.elf", "powerpc.elf"]),
    ) {
        survives(&bytes);
    }

    #[test]
    fn random_headers_never_panic(
        class in 0u8..4,
        order in 0u8..4,
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        survives(&[b"\x7fELF", &[class, order, 1][..], &rest].concat());
    }
}
