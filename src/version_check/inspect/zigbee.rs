//! Zigbee OTA upgrade file.
//!
//! Layout (Zigbee Cluster Library, 11.4 "OTA file format"; all numbers little-endian): a header, then
//! sub-elements up to the total size that the header states.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `0x0beef11e` |
//! | 4, 6 | version of the header (`0x0100`), its length |
//! | 8 | field control: which of the optional fields follow (bits 0 to 2) |
//! | 10, 12 | manufacturer, image type |
//! | 14 | file version |
//! | 18 | version of the Zigbee stack |
//! | 20 | header string, 32 bytes, padded with zeros |
//! | 52 | total size, the header's included |
//! | 56 | optional: security credential version (1), destination (EUI-64, 8), hardware versions from and to (4) |
//!
//! A sub-element is a tag (2 bytes), a length (4) and that many bytes. Telink's encrypted images (tag
//! `0xf000`) have two more bytes behind the length; what follows the header in Hue's files is no sub-elements
//! at all. Some makers put the file into a wrapper of their own (IKEA `NGIS`, Legrand, Third Reality; layouts
//! as zigpy's `ota/image.py` knows them): the header is then found in the first [`HEAD`](super::HEAD) bytes,
//! and the wrapper stated.
//!
//! # Version
//! The version is the file version as eight hex digits: `0x01030000`. As SemVer, it is read byte by byte: the
//! highest byte is MAJOR, the next MINOR, the lower two PATCH, so `0x01030000` is 1.3.0 and `0x0103010a` is
//! 1.3.266. A product whose numbers are made in another way (the cluster library's own is application release
//! and build, stack release and build) says so in its settings. Devices compare the whole number, and its
//! order is that of the SemVer.
//!
//! # Names
//! The manufacturer's code is the vendor (`0x1234`). What a device compares, manufacturer and image type, is
//! a compatible name: `0x1234:0x0001`. The header string without a version word is the product, and a
//! compatible name too if it is one word. The ends of the hardware range are hardware names: `1.0` for
//! `0x0100`.
//!
//! Verified: that header, sub-elements and wrapper fill the file exactly; Third Reality's SHA-512. Not
//! verified: the integrity code (AES-MMO) and the signatures (ECDSA on the binary curves sect163k1 and
//! sect283k1), which only devices check; they are stated. Limits: none is needed, nothing is kept of a
//! sub-element but the signer's address.

use sha2::{Digest, Sha512};

use super::{
    Facts, FaultKind, Inspector, NameKind, Payload, Report,
    facts::{text_of, version_in},
};
use crate::domain::Version;

const MAGIC: [u8; 4] = 0x0bee_f11e_u32.to_le_bytes();
/// The header without its optional fields.
const SHORTEST_HEADER: u16 = 56;
const HEADER_VERSION: u16 = 0x0100;
const ELEMENT_HEADER: u8 = 6;
const UPGRADE_IMAGE: u16 = 0x0000;
const TELINK_ENCRYPTED: u16 = 0xf000;
/// Of Signify (Philips Hue), and how what follows the header in its files begins.
const HUE: (u16, [u8; 3]) = (0x100b, [0x2a, 0x00, 0x01]);
const THIRD_REALITY_PREFIX: usize = 152;
const LEGRAND_SUFFIX: u64 = 17;
/// Files that may hold an OTA file near their beginning and are not wrappers of it: cabinets, archives,
/// programs.
const OTHERS: [&[u8]; 3] = [b"MSCF", b"PK\x03\x04", b"\x7fELF"];

struct Zigbee {
    report: Report,
    /// How many bytes have passed.
    at: u64,
    /// Where the header begins.
    start: u64,
    /// `None` = the file ends within its header.
    header: Option<Header>,
    wrapper: Wrapper,
    elements: Elements,
}

#[derive(Clone, Copy)]
struct Header {
    length: u16,
    manufacturer: u16,
    size: u32,
}

/// What a maker puts around the file.
enum Wrapper {
    None,
    /// A container with its own signature behind the file; the end of the file in it.
    Ikea {
        end: u64,
    },
    /// The size before and 17 bytes behind the file.
    Legrand,
    /// A header with SHA-512 of all but its first 64 bytes, which are the digest.
    ThirdReality {
        stated: [u8; 64],
        hasher: Box<Sha512>,
    },
    Unknown,
}

/// Where in the sub-elements the stream is.
struct Elements {
    state: State,
    /// How many bytes of the sub-elements are still to come.
    left: u64,
    count: u64,
}

enum State {
    /// The tag and the length of the next one.
    Header { bytes: [u8; 6], filled: u8 },
    /// Its bytes; of a signature, the signer's address, which comes first.
    Body { left: u64, signer: Option<Vec<u8>> },
    /// What follows cannot be read as sub-elements.
    Opaque,
}

/// Knows an OTA file by its magic, at the beginning or, with a header that makes sense, in the first bytes.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    let start = if head.starts_with(&MAGIC) { 0 } else { wrapped(head)? };
    let mut report = Report { facts: Facts::of("zigbee-ota"), ..Report::default() };
    let header = read_header(&head[start..], &mut report);
    let wrapper = match &header {
        Some(header) if start > 0 => read_wrapper(&head[..start], header, &mut report.facts),
        _ => Wrapper::None,
    };
    let left = header.map_or(0, |header| u64::from(header.size).saturating_sub(u64::from(header.length)));
    let elements = Elements { state: State::Header { bytes: [0; 6], filled: 0 }, left, count: 0 };
    Some(Box::new(Zigbee { report, at: 0, start: start as u64, header, wrapper, elements }))
}

/// Where a header begins that is not at the beginning. Four bytes may be there by chance, so more of it has
/// to fit.
fn wrapped(head: &[u8]) -> Option<usize> {
    if OTHERS.iter().any(|magic| head.starts_with(magic)) {
        return None;
    }
    (1..head.len().saturating_sub(usize::from(SHORTEST_HEADER))).find(|start| {
        let header = &head[*start..];
        header.starts_with(&MAGIC)
            && half(header, 4) == Some(HEADER_VERSION)
            && half(header, 6).is_some_and(|length| (SHORTEST_HEADER..=256).contains(&length))
            && half(header, 8).is_some_and(|control| control < 8)
            && word(header, 52).is_some_and(|size| size > u32::from(SHORTEST_HEADER))
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// States the header; `None` if the bytes do not hold all of it.
fn read_header(bytes: &[u8], report: &mut Report) -> Option<Header> {
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
fn address_text(address: &[u8]) -> String {
    address.iter().rev().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn read_wrapper(prefix: &[u8], header: &Header, facts: &mut Facts) -> Wrapper {
    let before = prefix.len() as u64;
    let wrapper = if prefix.starts_with(b"NGIS") && word(prefix, 16).map(u64::from) == Some(before) {
        Wrapper::Ikea { end: before + u64::from(word(prefix, 20).unwrap_or(0)) }
    } else if prefix == header.size.to_le_bytes() {
        Wrapper::Legrand
    } else if prefix.len() == THIRD_REALITY_PREFIX
        && word(prefix, 68).map(u64::from) == Some(before - 64 + u64::from(header.size))
        && let Some(stated) = prefix.first_chunk()
    {
        Wrapper::ThirdReality { stated: *stated, hasher: Box::default() }
    } else {
        Wrapper::Unknown
    };
    let name = match wrapper {
        Wrapper::None => return wrapper,
        Wrapper::Ikea { .. } => "IKEA container (NGIS)",
        Wrapper::Legrand => "Legrand",
        Wrapper::ThirdReality { .. } => "Third Reality",
        Wrapper::Unknown => "unknown",
    };
    facts.detail("wrapper", format!("{name}, {before} bytes before the OTA header"));
    wrapper
}

impl Inspector for Zigbee {
    fn update(&mut self, bytes: &[u8]) {
        let from = self.at;
        self.at = self.at.saturating_add(bytes.len() as u64);
        let Some(header) = self.header else { return };
        let position = |offset: u64| {
            usize::try_from(offset.saturating_sub(from)).map_or(bytes.len(), |at| at.min(bytes.len()))
        };
        let first = self.start + u64::from(header.length);
        // A header that is longer than the file has no sub-elements, and no range backwards.
        let last = self.start + u64::from(header.size.max(header.length.into()));
        self.elements.update(&bytes[position(first)..position(last)], header.manufacturer, &mut self.report);
        if let Wrapper::ThirdReality { hasher, .. } = &mut self.wrapper {
            hasher.update(&bytes[position(64)..]);
        }
    }

    fn so_far(&self) -> Option<&Facts> {
        self.header.as_ref().map(|_| &self.report.facts)
    }

    fn finish(self: Box<Self>) -> Report {
        let Self { mut report, at, start, header, wrapper, elements } = *self;
        let Some(header) = header else {
            report.fault(
                FaultKind::Truncated,
                format!("the file has {at} bytes and ends within the OTA header: upload the whole file"),
            );
            return report;
        };
        let end = start + u64::from(header.size);
        if at >= end {
            elements.finish(&mut report);
        }
        let (shortest, longest) = match &wrapper {
            Wrapper::None | Wrapper::Unknown | Wrapper::ThirdReality { .. } => (end, end),
            Wrapper::Legrand => (end + LEGRAND_SUFFIX, end + LEGRAND_SUFFIX),
            // The container's signature has no stated length.
            Wrapper::Ikea { end: container } => (end.max(*container), u64::MAX),
        };
        if at < shortest {
            report.fault(
                FaultKind::Truncated,
                format!(
                    "the OTA header states {} bytes, so the file should have {shortest} and has {at}: it was \
                     cut off; upload the whole file",
                    header.size
                ),
            );
        } else if at > longest {
            report.fault(
                FaultKind::Padded,
                format!(
                    "the OTA file ends at byte {longest} as its header states, and {} bytes follow: no \
                     device asks for them; cut them off",
                    at - longest
                ),
            );
        }
        if let Wrapper::Ikea { end: container } = wrapper
            && container < end
        {
            report.fault(
                FaultKind::Malformed,
                format!("the IKEA container ends at byte {container} and the OTA file in it at {end}"),
            );
        }
        if let Wrapper::ThirdReality { stated, hasher } = wrapper
            && at >= end
        {
            let real: [u8; 64] = hasher.finalize().into();
            if stated == real {
                report.facts.own_digest = Some(format!("sha512:{}", hex::encode(real)));
            } else {
                report.fault(
                    FaultKind::DigestWrong,
                    "the SHA-512 at the beginning of the Third Reality wrapper is not that of what follows: \
                     the file was damaged; copy it again",
                );
            }
        }
        report
    }
}

impl Elements {
    fn update(&mut self, mut data: &[u8], manufacturer: u16, report: &mut Report) {
        while !data.is_empty() {
            let taken = match &mut self.state {
                State::Opaque => return,
                State::Header { bytes, filled } => {
                    let wanted = &mut bytes[usize::from(*filled)..];
                    let taken = wanted.len().min(data.len());
                    wanted[..taken].copy_from_slice(&data[..taken]);
                    // At most six.
                    *filled += taken as u8;
                    taken
                }
                State::Body { left, signer } => {
                    let taken = usize::try_from(*left).map_or(data.len(), |left| left.min(data.len()));
                    if let Some(signer) = signer {
                        let wanted = (8 - signer.len()).min(taken);
                        signer.extend_from_slice(&data[..wanted]);
                    }
                    *left -= taken as u64;
                    taken
                }
            };
            data = &data[taken..];
            self.left = self.left.saturating_sub(taken as u64);
            self.advance(manufacturer, report);
        }
    }

    /// Goes on to what comes next, if what was read is complete.
    fn advance(&mut self, manufacturer: u16, report: &mut Report) {
        match &mut self.state {
            State::Header { bytes, filled: ELEMENT_HEADER } => {
                let bytes = *bytes;
                self.begin(bytes, manufacturer, report);
            }
            State::Body { left: 0, signer } => {
                if let Some(signer) = signer.take() {
                    report.facts.signed = true;
                    let address = address_text(&signer).replace(':', "");
                    if !report.facts.key_ids.contains(&address) && report.facts.key_ids.len() < 8 {
                        report.facts.key_ids.push(address);
                    }
                }
                self.state = State::Header { bytes: [0; 6], filled: 0 };
            }
            _ => {}
        }
    }

    fn begin(&mut self, bytes: [u8; 6], manufacturer: u16, report: &mut Report) {
        if self.count == 0 && manufacturer == HUE.0 && bytes.starts_with(&HUE.1) {
            report.facts.detail("sub-elements", "none that can be read: the maker's own container");
            let size = self.left + u64::from(ELEMENT_HEADER);
            report.facts.payload(Payload { name: "Hue container".into(), size, digest: None });
            self.state = State::Opaque;
            return;
        }
        let [low, high, length @ ..] = bytes;
        let tag = u16::from_le_bytes([low, high]);
        let length = u64::from(u32::from_le_bytes(length));
        self.count += 1;
        let left = length + if tag == TELINK_ENCRYPTED { 2 } else { 0 };
        report.facts.payload(Payload { name: tag_text(tag), size: length, digest: None });
        if left > self.left {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "sub-element {} ({}) states {length} bytes, and only {} are left of the size that the \
                     OTA header states: make the file again",
                    self.count,
                    tag_text(tag),
                    self.left
                ),
            );
            self.state = State::Opaque;
            return;
        }
        let signer = matches!(tag, 1 | 5).then(Vec::new);
        self.state = State::Body { left, signer };
        if left == 0 {
            self.advance(manufacturer, report);
        }
    }

    /// All bytes have passed that the header states.
    fn finish(self, report: &mut Report) {
        match self.state {
            State::Header { filled: 0, .. } if self.count == 0 => {
                report.fault(
                    FaultKind::Malformed,
                    "the OTA file has no sub-element, so there is nothing to install",
                );
            }
            State::Header { filled, .. } if filled > 0 => report.fault(
                FaultKind::Malformed,
                format!(
                    "{filled} bytes stand behind the last sub-element, too few for another: the size that \
                     the OTA header states is wrong; make the file again"
                ),
            ),
            _ => {}
        }
    }
}

fn tag_text(tag: u16) -> String {
    let name = match tag {
        UPGRADE_IMAGE => "upgrade image",
        1 => "ECDSA signature, suite 1",
        2 => "ECDSA certificate, suite 1",
        3 => "image integrity code",
        4 => "picture data",
        5 => "ECDSA signature, suite 2",
        6 => "ECDSA certificate, suite 2",
        TELINK_ENCRYPTED => "Telink encrypted image",
        _ => "vendor's sub-element",
    };
    format!("{name} (0x{tag:04x})")
}

#[cfg(test)]
mod tests;
