//! One image, from its header to its digest.

use sha2::{Digest, Sha256, Sha384};

use super::{
    description,
    header::{HEADER, Header, LONGEST_SEGMENT, MOST_SEGMENTS},
    u32_at,
};
use crate::version_check::inspect::{FaultKind, Payload, Report};

/// `sizeof(esp_image_segment_header_t)`.
const SEGMENT_HEADER: usize = 8;
/// `ESP_ROM_CHECKSUM_INITIAL`.
const CHECKSUM: u8 = 0xef;
const DIGEST: usize = 32;

/// Reads one image.
pub(super) struct Image {
    stage: Stage,
    header: Header,
    /// How many segments have begun.
    segment: u8,
    checksum: u8,
    size: u64,
    sha256: Sha256,
    sha384: Sha384,
    described: Described,
}

/// What the next bytes are.
enum Stage {
    Header(Vec<u8>),
    SegmentHeader(Vec<u8>),
    Segment {
        left: u64,
        /// The first bytes of the segment.
        start: Vec<u8>,
    },
    /// Padding up to a block of 16, whose last byte it is.
    Checksum {
        left: usize,
    },
    /// The digest over all before it; what it should be, and what has passed of it.
    Digest([u8; DIGEST], Vec<u8>),
    End,
    /// Unknown, because of a fault that was told.
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Described {
    No,
    Application,
    Bootloader,
}

impl Image {
    /// How many of the first bytes decide whether it is one.
    pub const HEAD: usize = HEADER + SEGMENT_HEADER + 4;

    /// For an image that begins so.
    pub fn probe(head: &[u8]) -> Option<Self> {
        let header = Header::parse(head)?;
        let length = u32_at(head, header.length() + 4).unwrap_or_default();
        let described = u32_at(head, HEADER + SEGMENT_HEADER) == Some(description::APPLICATION_MAGIC);
        (described || header.is_plausible(length)).then(|| Self {
            stage: Stage::Header(Vec::with_capacity(HEADER)),
            header,
            segment: 0,
            checksum: CHECKSUM,
            size: 0,
            sha256: Sha256::new(),
            sha384: Sha384::new(),
            described: Described::No,
        })
    }

    /// Takes the next bytes that are the image's; gives how many.
    pub fn update(&mut self, bytes: &[u8], report: &mut Report) -> usize {
        let mut taken = 0;
        while let Some(wanted) = self.wanted()
            && taken < bytes.len()
        {
            let rest = &bytes[taken..];
            let these = &rest[..wanted.min(rest.len())];
            self.size += these.len() as u64;
            taken += these.len();
            self.hash(these);
            self.take(these, report);
        }
        taken
    }

    /// Hashes more bytes, which are the image's or follow it.
    pub fn hash(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sha384.update(bytes);
    }

    /// The SHA-256 and SHA-384 of all that was hashed.
    pub fn hashes(&self) -> ([u8; 32], [u8; 48]) {
        (self.sha256.clone().finalize().into(), self.sha384.clone().finalize().into())
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether a description of an application has passed.
    pub fn is_application(&self) -> bool {
        self.described == Described::Application
    }

    /// Judges where the bytes ended.
    pub fn finish(&mut self, report: &mut Report) {
        let segments = self.header.segments;
        let place = match &self.stage {
            Stage::Header(_) => "in the header".to_owned(),
            Stage::SegmentHeader(_) => format!("before segment {} of {segments}", self.segment + 1),
            Stage::Segment { left, .. } => {
                format!("{left} bytes before the end of segment {} of {segments}", self.segment)
            }
            Stage::Checksum { .. } => "before the checksum".to_owned(),
            Stage::Digest(..) => "before the end of the appended SHA-256".to_owned(),
            Stage::End => {
                // So that nobody searches for the version that is missing.
                if self.described == Described::No {
                    report.facts.detail("description", "none, neither of an application nor of a bootloader");
                }
                return;
            }
            Stage::Lost => return,
        };
        if let Stage::Segment { start, .. } = &mut self.stage {
            let start = std::mem::take(start);
            self.describe(&start, report);
        }
        report.fault(
            FaultKind::Truncated,
            format!("it ends after {} bytes, {place}: the file was cut; fetch or build it again", self.size),
        );
    }

    /// How many bytes the stage takes; `None` = it is the end.
    fn wanted(&self) -> Option<usize> {
        Some(match &self.stage {
            Stage::Header(head) => self.header.length() - head.len(),
            Stage::SegmentHeader(head) => SEGMENT_HEADER - head.len(),
            Stage::Segment { left, .. } => usize::try_from(*left).unwrap_or(usize::MAX),
            Stage::Checksum { left } => *left,
            Stage::Digest(_, digest) => DIGEST - digest.len(),
            Stage::End => return None,
            Stage::Lost => usize::MAX,
        })
    }

    /// Takes bytes of one stage, and goes on to the next once it is full.
    fn take(&mut self, bytes: &[u8], report: &mut Report) {
        match &mut self.stage {
            Stage::Header(head) => {
                head.extend_from_slice(bytes);
                if head.len() == self.header.length() {
                    self.header.state(report);
                    self.stage = match self.header.segments {
                        1..=MOST_SEGMENTS => Stage::SegmentHeader(Vec::new()),
                        _ => Stage::Lost,
                    };
                }
            }
            Stage::SegmentHeader(head) => {
                head.extend_from_slice(bytes);
                if head.len() == SEGMENT_HEADER {
                    let head = std::mem::take(head);
                    self.segment_header(&head, report);
                }
            }
            Stage::Segment { left, start } => {
                *left -= bytes.len() as u64;
                let wanted = description::LONGEST.saturating_sub(start.len()).min(bytes.len());
                start.extend_from_slice(&bytes[..wanted]);
                self.checksum = bytes.iter().fold(self.checksum, |sum, byte| sum ^ byte);
                if *left == 0 || start.len() == description::LONGEST && wanted > 0 {
                    let start = start.clone();
                    self.describe(&start, report);
                }
                self.end_segment();
            }
            Stage::Checksum { left } => {
                *left -= bytes.len();
                if *left == 0 {
                    self.end_checksum(bytes.last().copied(), report);
                }
            }
            Stage::Digest(found, digest) => {
                digest.extend_from_slice(bytes);
                if digest.len() == DIGEST {
                    let (found, stated) = (hex::encode(*found), hex::encode(&*digest));
                    self.stage = Stage::End;
                    compare_digest(&found, &stated, report);
                }
            }
            Stage::End | Stage::Lost => {}
        }
    }

    fn segment_header(&mut self, head: &[u8], report: &mut Report) {
        self.segment += 1;
        let (address, length) = (u32_at(head, 0).unwrap_or_default(), u32_at(head, 4).unwrap_or_default());
        report.facts.payload(Payload { name: format!("{address:#010x}"), size: length.into(), digest: None });
        if !length.is_multiple_of(4) || length > LONGEST_SEGMENT {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "segment {} (at {address:#010x}) states {length} bytes: a segment has a multiple of 4, \
                     and {} at most",
                    self.segment, LONGEST_SEGMENT,
                ),
            );
        }
        self.stage = Stage::Segment { left: length.into(), start: Vec::new() };
        self.end_segment();
    }

    fn end_segment(&mut self) {
        if let Stage::Segment { left: 0, .. } = self.stage {
            self.stage = if self.segment < self.header.segments {
                Stage::SegmentHeader(Vec::new())
            } else {
                Stage::Checksum { left: 16 - (self.size % 16) as usize }
            };
        }
    }

    fn end_checksum(&mut self, stated: Option<u8>, report: &mut Report) {
        if stated != Some(self.checksum) {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "it carries the checksum {:#04x}, but its segments have {:#04x}: it was damaged; build \
                     it again",
                    stated.unwrap_or_default(),
                    self.checksum,
                ),
            );
        }
        self.stage = match self.header.digest {
            0 => Stage::End,
            _ => Stage::Digest(self.hashes().0, Vec::new()),
        };
    }

    /// Looks for a description at the start of a segment.
    fn describe(&mut self, start: &[u8], report: &mut Report) {
        if self.described == Described::No {
            if description::application(start, &mut report.facts) {
                self.described = Described::Application;
            } else if self.segment == 1 && description::bootloader(start, &mut report.facts) {
                self.described = Described::Bootloader;
                report.facts.format = "esp-bootloader".to_owned();
            }
        }
    }
}

fn compare_digest(found: &str, stated: &str, report: &mut Report) {
    if found == stated {
        report.facts.own_digest = Some(format!("sha256:{found}"));
        return;
    }
    report.fault(
        FaultKind::DigestWrong,
        format!(
            "it carries the SHA-256 {stated}, but its bytes have {found}: it was damaged, or patched \
             without esptool; \
             build it again"
        ),
    );
}
