//! The sub-elements of a Zigbee OTA file, as they pass.

use super::header::address_text;
use crate::version_check::inspect::{FaultKind, Payload, Report};

const ELEMENT_HEADER: u8 = 6;
const UPGRADE_IMAGE: u16 = 0x0000;
const TELINK_ENCRYPTED: u16 = 0xf000;
/// Of Signify (Philips Hue), and how what follows the header in its files begins.
const HUE: (u16, [u8; 3]) = (0x100b, [0x2a, 0x00, 0x01]);

/// Where in the sub-elements the stream is.
pub(super) struct Elements {
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

impl Elements {
    /// Sub-elements that take that many bytes.
    pub fn new(left: u64) -> Self {
        Self { state: State::Header { bytes: [0; 6], filled: 0 }, left, count: 0 }
    }

    /// Takes the next bytes of the sub-elements.
    pub fn update(&mut self, mut data: &[u8], manufacturer: u16, report: &mut Report) {
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
    pub fn finish(self, report: &mut Report) {
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
