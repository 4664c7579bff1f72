//! Feeds the image inspectors, and the reader of the CDN's log lines, with what libFuzzer makes of the samples.
//!
//! One program for all targets: `FUZZ_TARGET` names the format whose inspector is wanted; inputs that the recognition
//! gives to another are not kept, so that mutation stays within the format. `any` takes all of them.
//!
//! The target `log-lines` is another reader ([`cdn`]); what follows is of the inspectors.
//!
//! # What must hold for every input
//! - no panic (arithmetic that overflows is one), no endless loop (libFuzzer's `-timeout`);
//! - the report is the same however the stream is cut;
//! - what was known before the end is what is known at the end;
//! - what is allocated at any time, and how much a report holds, stays below a constant.

#![no_main]

mod cdn;
mod domain;
mod memory;
mod version_check;

use std::sync::OnceLock;

use libfuzzer_sys::{Corpus, fuzz_target};

use version_check::inspect::{Facts, Inspection, Report};

/// The targets, and the formats that each may find.
const TARGETS: &[(&str, &[&str])] = &[
    ("any", &[]),
    ("compressed", &["gzip", "xz", "zstd", "bzip2", "lz4"]),
    // And whatever has a DFU suffix.
    ("dfu", &["dfuse"]),
    ("elf", &["elf"]),
    ("esp", &["esp-app", "esp-bootloader", "esp-flash"]),
    ("fit", &["fit", "dtb"]),
    ("fwupd", &["fwupd", "cabinet"]),
    ("intel-hex", &["intel-hex"]),
    ("log-lines", &[]),
    ("mcuboot", &["mcuboot"]),
    ("mender", &["mender", "tar"]),
    ("nordic-dfu", &["nordic-dfu", "zip"]),
    ("rauc", &["rauc", "squashfs"]),
    ("s-record", &["s-record"]),
    ("swupdate", &["swupdate", "cpio"]),
    ("uf2", &["uf2"]),
    ("uimage", &["uimage"]),
    ("zigbee", &["zigbee-ota"]),
];

/// The most that an inspection may have allocated at any time: what `xz -9` looks back in a Mender artifact, and the rest.
const MOST_MEMORY: usize = 68 << 20;
/// The most of each kind that a report may hold.
const MOST_ENTRIES: usize = 100;

static TARGET: OnceLock<&(&str, &[&str])> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_else(|_| "any".to_owned());
        let target = TARGETS.iter().find(|target| target.0 == name);
        TARGET.get_or_init(|| target.unwrap_or_else(|| panic!("FUZZ_TARGET={name} is no target")));
    },
    |bytes: &[u8]| -> Corpus {
        let (name, formats) = TARGET.get().expect("set before the first input");
        if *name == "log-lines" {
            cdn::check(bytes);
            return Corpus::Keep;
        }
        let (peak, report) = memory::peak_of(|| inspect(bytes, usize::MAX));
        assert!(peak <= MOST_MEMORY, "{peak} bytes were allocated at a time");
        is_bounded(&report);
        let piece = [1, 2, 3, 5, 16, 17, 61, 509][bytes.len() % 8];
        assert_eq!(inspect(bytes, piece), report, "in pieces of {piece}");
        let suffixed = || report.facts.details.iter().any(|(label, _)| label == "DFU suffix");
        let wanted = formats.is_empty()
            || formats.contains(&report.facts.format.as_str())
            || *name == "dfu" && suffixed();
        if wanted { Corpus::Keep } else { Corpus::Reject }
    }
);

fn inspect(bytes: &[u8], piece: usize) -> Report {
    let mut inspection = Inspection::default();
    let mut early: Option<Facts> = None;
    for piece in bytes.chunks(piece) {
        inspection.update(piece);
        if early.is_none() {
            early = inspection.so_far().cloned();
        }
    }
    let report = inspection.finish();
    if let Some(early) = early {
        let Facts { format, version, semver, names, .. } = &report.facts;
        assert_eq!(early.format, *format, "told early");
        assert!(early.version.is_none() || early.version == *version, "{:?} was told early", early.version);
        assert!(early.semver.is_none() || early.semver == *semver, "{:?} was told early", early.semver);
        assert!(early.names.is_subset(names), "{:?} were told early, and now {names:?}", early.names);
    }
    report
}

fn is_bounded(Report { facts, faults, signatures }: &Report) {
    let Facts { names, key_ids, payloads, details, .. } = facts;
    for (most, what) in [
        (names.len(), "names"),
        (key_ids.len(), "key ids"),
        (payloads.len(), "payloads"),
        (details.len(), "details"),
        (faults.len(), "faults"),
        (signatures.len(), "signatures"),
    ] {
        assert!(most <= MOST_ENTRIES, "{most} {what}");
    }
    let texts =
        names.iter().map(|(_, name)| name).chain(key_ids).chain(payloads.iter().map(|payload| &payload.name));
    let texts = texts.chain(details.iter().flat_map(|(label, value)| [label, value])).chain(&facts.version);
    for text in texts {
        // Each byte that is no UTF-8 becomes three.
        assert!(text.len() <= 3 * Facts::LONGEST_TEXT, "{} bytes of text", text.len());
    }
}
