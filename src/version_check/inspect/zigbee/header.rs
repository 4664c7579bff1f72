//! The header of a Zigbee OTA file.

use crate::{
    domain::Version,
    version_check::inspect::{
        FaultKind, NameKind, Report,
        facts::{text_of, version_in},
    },
};

/// The header without its optional fields.
pub(super) const SHORTEST_HEADER: u16 = 56;
pub(super) const HEADER_VERSION: u16 = 0x0100;

/// What the rest of the inspection needs of a header.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub length: u16,
    pub manufacturer: u16,
    pub size: u32,
}

/// Two bytes as a number.
pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

/// Four bytes as a number.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// States the header; `None` if the bytes do not hold all of it.
pub(super) fn read_header(bytes: &[u8], report: &mut Report) -> Option<Header> {
    let control = half(bytes, 8)?;
    let header = Header { length: half(bytes, 6)?, manufacturer: half(bytes, 10)?, size: word(bytes, 52)? };
    let header_version = half(bytes, 4)?;
    let (image_type, file_version, stack) = (half(bytes, 12)?, word(bytes, 14)?, half(bytes, 18)?);
    let text = text_of(bytes.get(20..52)?);

    let mut at = usize::from(SHORTEST_HEADER);
    let mut optional = |bit: u16, length: usize| {
        (control & bit != 0).then(|| {
            at += length;
            bytes.get(at - length..at)
        })
    };
    let (credential, destination, hardware) = (optional(1, 1), optional(2, 8), optional(4, 4));
    if [credential, destination, hardware].contains(&Some(None)) {
        return None;
    }

    let facts = &mut report.facts;
    facts.version = Some(format!("0x{file_version:08x}"));
    let [major, minor, high, low] = file_version.to_be_bytes();
    let patch = u16::from_be_bytes([high, low]);
    facts.semver = Version::parse(&format!("{major}.{minor}.{patch}")).ok();
    // The specification's own custom: release and build of the application, then those of the stack; and the
    // three bytes of those who leave the first at 0.
    let release = format!("{}.{}.{minor}", major >> 4, major & 0xf);
    let bytes = (major == 0).then(|| format!("{minor}.{high}.{low}"));
    facts.semver_readings =
        [release].iter().chain(&bytes).filter_map(|text| Version::parse(text).ok()).collect();
    facts.name(NameKind::Vendor, &format!("0x{:04x}", header.manufacturer));
    facts.name(NameKind::Compatible, &format!("0x{:04x}:0x{image_type:04x}", header.manufacturer));
    let product = version_in(&text).map_or_else(|| text.trim().to_owned(), |(_, rest)| rest);
    facts.name(NameKind::Product, &product);
    if !product.contains(char::is_whitespace) {
        facts.name(NameKind::Compatible, &product);
    }
    facts.detail("header string", text.trim());
    facts.detail("manufacturer", format!("0x{:04x}", header.manufacturer));
    facts.detail("image type", image_type_text(image_type));
    facts.detail("file version", format!("{file_version} (0x{file_version:08x})"));
    facts.detail("Zigbee stack", stack_text(stack));
    if let Some(&[version]) = credential.flatten() {
        facts.detail("security credential", credential_text(version));
    }
    if let Some(Some(address)) = destination {
        facts.detail("destination", address_text(address));
    }
    if let Some(Some(range)) = hardware {
        let (lowest, highest) = (half(range, 0)?, half(range, 2)?);
        for version in [lowest, highest] {
            facts.name(NameKind::Hardware, &hardware_text(version));
        }
        let range = format!("{} to {}", hardware_text(lowest), hardware_text(highest));
        if lowest > highest {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "the OTA header states the hardware versions {range}, which no device has: swap them"
                ),
            );
        }
        report.facts.detail("hardware versions", range);
    }
    header_faults(header_version, control, header, at, report);
    Some(header)
}

fn header_faults(version: u16, control: u16, header: Header, needed: usize, report: &mut Report) {
    let mut malformed = |message: String| report.fault(FaultKind::Malformed, message);
    if version != HEADER_VERSION {
        malformed(format!(
            "the OTA header has version 0x{version:04x}, and only 0x{HEADER_VERSION:04x} is known: devices \
             may read its fields in another way"
        ));
    }
    if control > 7 {
        malformed(format!(
            "the OTA header's field control 0x{control:04x} announces fields that are not known"
        ));
    }
    if usize::from(header.length) < needed {
        malformed(format!(
            "the OTA header states a length of {} bytes, and its fields take {needed}: make the file again",
            header.length
        ));
    }
    if header.size <= u32::from(header.length) {
        malformed(format!(
            "the OTA header states {} bytes for the whole file and {} for itself: no room for an image",
            header.size, header.length
        ));
    }
}

fn image_type_text(image_type: u16) -> String {
    let known = match image_type {
        0xffc0 => " (client security credentials)",
        0xffc1 => " (client configuration)",
        0xffc2 => " (server log)",
        0xffc3 => " (picture)",
        0xffff => " (any)",
        _ => "",
    };
    format!("0x{image_type:04x}{known}")
}

fn stack_text(stack: u16) -> String {
    let known = match stack {
        0 => " (ZigBee 2006)",
        1 => " (ZigBee 2007)",
        2 => " (ZigBee Pro)",
        3 => " (ZigBee IP)",
        _ => "",
    };
    format!("0x{stack:04x}{known}")
}

fn credential_text(version: u8) -> String {
    let known = match version {
        0 => " (SE 1.0)",
        1 => " (SE 1.1)",
        2 => " (SE 2.0)",
        3 => " (SE 1.2)",
        _ => "",
    };
    format!("{version}{known}")
}

fn hardware_text(version: u16) -> String {
    let [major, minor] = version.to_be_bytes();
    format!("{major}.{minor}")
}

/// An EUI-64 as it is printed: highest byte first.
pub(super) fn address_text(address: &[u8]) -> String {
    address.iter().rev().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}
