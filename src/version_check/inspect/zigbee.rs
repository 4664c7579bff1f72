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
//! | 56 | optional: security credential (1), destination (EUI-64, 8), hardware versions from, to (4) |
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

mod elements;
mod header;
mod wrapper;

use sha2::Digest;

use self::{
    elements::Elements,
    header::{HEADER_VERSION, Header, SHORTEST_HEADER, half, read_header, word},
    wrapper::{LEGRAND_SUFFIX, Wrapper, read_wrapper},
};
use super::{Facts, FaultKind, Inspector, Report};

const MAGIC: [u8; 4] = 0x0bee_f11e_u32.to_le_bytes();
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
    Some(Box::new(Zigbee {
        report,
        at: 0,
        start: start as u64,
        header,
        wrapper,
        elements: Elements::new(left),
    }))
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

#[cfg(test)]
mod tests;
