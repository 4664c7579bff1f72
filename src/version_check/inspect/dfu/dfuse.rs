//! ST's DfuSe (UM0391, "DfuSe File Format Specification"): parts of a flash with their addresses.
//!
//! Little-endian: a prefix of `DfuSe`, the format's version, the file's size and a count of targets
//! (alternate settings of the device); each of them `Target`, its number, name, size and count of elements;
//! each element its address, size and bytes. The size is that of the file without the suffix, but
//! `dfuse-pack` counts the suffix as well.

use super::{Facts, FaultKind, Report};
use crate::version_check::inspect::{Payload, facts::text_of};

/// The signature with the only version there is.
pub(super) const SIGNATURE: &[u8] = b"DfuSe\x01";
const PREFIX: usize = 11;
const TARGET: usize = 274;
const ELEMENT: usize = 8;

/// Reads a DfuSe file without its suffix.
pub(super) struct Dfuse {
    report: Report,
    stage: Stage,
    /// What has passed of the head that the stage waits for.
    head: Vec<u8>,
    seen: u64,
    stated_size: u32,
    targets_left: u8,
    target: Target,
    installed: u64,
}

enum Stage {
    Prefix,
    Target,
    Element,
    /// How many bytes of an element are left.
    Data(u64),
    /// How many bytes followed the last target.
    End(u64),
    /// Unknown, because of a fault that was told.
    Lost,
}

#[derive(Default)]
struct Target {
    label: String,
    stated_size: u64,
    found_size: u64,
    elements_left: u32,
}

impl Default for Dfuse {
    fn default() -> Self {
        Self {
            report: Report { facts: Facts::of("dfuse"), ..Report::default() },
            stage: Stage::Prefix,
            head: Vec::new(),
            seen: 0,
            stated_size: 0,
            targets_left: 0,
            target: Target::default(),
            installed: 0,
        }
    }
}

impl Dfuse {
    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let wanted = match self.stage {
                Stage::Prefix => PREFIX - self.head.len(),
                Stage::Target => TARGET - self.head.len(),
                Stage::Element => ELEMENT - self.head.len(),
                Stage::Data(left) => usize::try_from(left).unwrap_or(usize::MAX),
                Stage::End(_) | Stage::Lost => usize::MAX,
            };
            let (these, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            self.seen += these.len() as u64;
            match &mut self.stage {
                Stage::Data(left) => *left -= these.len() as u64,
                Stage::End(more) => *more += these.len() as u64,
                Stage::Lost => {}
                Stage::Prefix | Stage::Target | Stage::Element => {
                    self.head.extend_from_slice(these);
                    if these.len() == wanted {
                        let head = std::mem::take(&mut self.head);
                        self.head_complete(&head);
                    }
                }
            }
            self.go_on();
        }
    }

    /// What the file states; a suffix must have followed.
    pub fn finish(self, has_suffix: bool) -> Report {
        let Self { mut report, seen, stated_size, .. } = self;
        report.facts.installed_size = Some(self.installed);
        let fault = match self.stage {
            Stage::Prefix | Stage::Target | Stage::Element | Stage::Data(_) => Some((
                FaultKind::Truncated,
                format!(
                    "it ends after {seen} bytes, inside what its prefix announces: the file was cut; \
                         fetch it again"
                ),
            )),
            Stage::End(0) if !has_suffix => Some((
                FaultKind::Truncated,
                "it ends without the DFU suffix that every DfuSe file has: the file was cut; fetch it \
                 again"
                    .to_owned(),
            )),
            Stage::End(0) => {
                (![seen, seen + super::SUFFIX as u64].contains(&stated_size.into())).then(|| {
                    (
                        FaultKind::Malformed,
                        format!(
                            "its prefix states {stated_size} bytes, but its targets end \
                                                after {seen}"
                        ),
                    )
                })
            }
            Stage::End(more) => Some((
                FaultKind::Padded,
                format!(
                    "{more} bytes follow its last target: publish the file as \
                                                  it was made"
                ),
            )),
            Stage::Lost => None,
        };
        if let Some((kind, message)) = fault {
            report.fault(kind, message);
        }
        report
    }

    fn head_complete(&mut self, head: &[u8]) {
        match self.stage {
            Stage::Prefix => {
                self.stated_size = u32_at(head, 6);
                self.targets_left = head.get(10).copied().unwrap_or_default();
                if self.targets_left == 0 {
                    self.report.fault(
                        FaultKind::Malformed,
                        "its prefix announces no target, so that it \
                                                             updates nothing",
                    );
                }
                self.report.facts.detail("targets", self.targets_left.to_string());
                self.stage = if self.targets_left == 0 { Stage::End(0) } else { Stage::Target };
            }
            Stage::Target => self.target(head),
            Stage::Element => {
                let (address, size) = (u32_at(head, 0), u32_at(head, 4));
                let name = format!("{} at {address:#010x}", self.target.label);
                if address.checked_add(size).is_none() {
                    self.report.fault(
                        FaultKind::Malformed,
                        format!(
                            "the element of {name} has {size} bytes and reaches over the end of the \
                                 address space"
                        ),
                    );
                }
                self.report.facts.payload(Payload { name, size: size.into(), digest: None });
                self.installed += u64::from(size);
                self.target.elements_left -= 1;
                self.target.found_size += ELEMENT as u64 + u64::from(size);
                self.stage = Stage::Data(size.into());
            }
            Stage::Data(_) | Stage::End(_) | Stage::Lost => {}
        }
    }

    fn target(&mut self, head: &[u8]) {
        let ([b'T', b'a', b'r', b'g', b'e', b't', alternate, ..], Some(name)) = (head, head.get(11..266))
        else {
            self.report.fault(
                FaultKind::Malformed,
                format!(
                    "no target begins at byte {}, where its prefix announces \
                         one",
                    self.seen - head.len() as u64
                ),
            );
            self.stage = Stage::Lost;
            return;
        };
        let name = if u32_at(head, 7) == 0 { String::new() } else { text_of(name) };
        self.targets_left -= 1;
        self.target = Target {
            label: format!("target {alternate}"),
            stated_size: u32_at(head, 266).into(),
            found_size: 0,
            elements_left: u32_at(head, 270),
        };
        let Target { stated_size, elements_left, .. } = self.target;
        self.report.facts.detail(
            "target",
            format!("alternate setting {alternate} {name:?}, {elements_left} elements, {stated_size} bytes"),
        );
        self.stage = Stage::Element;
    }

    /// Goes to what follows an element or a target that is complete.
    fn go_on(&mut self) {
        if let Stage::Data(0) = self.stage {
            self.stage = Stage::Element;
        }
        if let Stage::Element = self.stage
            && self.target.elements_left == 0
        {
            let Target { label, stated_size, found_size, .. } = &self.target;
            if stated_size != found_size {
                self.report.fault(
                    FaultKind::Malformed,
                    format!("{label} states {stated_size} bytes, but its elements have {found_size}"),
                );
            }
            self.stage = if self.targets_left == 0 { Stage::End(0) } else { Stage::Target };
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
