//! gzip: members of a header, a DEFLATE stream, CRC32 and size.

use chrono::{DateTime, SecondsFormat};
use crc32fast::Hasher;

use super::super::inflate::{Inflate, MOST_UNPACKED, Step};
use super::walk::number;
use super::{Facts, FaultKind, Inspector, Payload, Report};
use crate::version_check::inspect::facts::text_of;

/// The longest file name or comment that is passed over; file systems allow 255 bytes of a name.
const LONGEST_FIELD: usize = 64 << 10;

const HEADER_CRC: u8 = 0x02;
const EXTRA: u8 = 0x04;
const NAME: u8 = 0x08;
const COMMENT: u8 = 0x10;
const RESERVED: u8 = 0xe0;

pub(super) struct Gzip {
    report: Report,
    at: At,
    flags: u8,
    /// The bytes of the part of the header or trailer that is being read.
    part: Vec<u8>,
    header_crc: Hasher,
    inflate: Inflate,
    content_crc: Hasher,
    content: u64,
    position: u64,
    members: u64,
    unpacked: u64,
    /// The digest of the only member.
    digest: Option<String>,
    name: String,
    behind: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Header,
    ExtraLength,
    Extra(usize),
    Name,
    Comment,
    HeaderCrc,
    Deflated,
    Trailer,
    /// Where another member may begin.
    Between,
    Over,
    Lost,
}

impl Gzip {
    pub fn new() -> Self {
        Self {
            report: Report { facts: Facts::of("gzip"), ..Report::default() },
            at: At::Header,
            flags: 0,
            part: Vec::new(),
            header_crc: Hasher::new(),
            inflate: Inflate::new(MOST_UNPACKED),
            content_crc: Hasher::new(),
            content: 0,
            position: 0,
            members: 0,
            unpacked: 0,
            digest: None,
            name: String::new(),
            behind: 0,
        }
    }

    fn lose(&mut self, why: &str) {
        let message = format!("gzip file, member {}: {why}", self.members + 1);
        self.report.fault(FaultKind::Malformed, message);
        self.at = At::Lost;
    }

    /// Takes one byte of a header or trailer.
    fn byte(&mut self, byte: u8) {
        self.part.push(byte);
        let whole = match self.at {
            At::Header => self.part.len() == 10,
            At::ExtraLength | At::HeaderCrc => self.part.len() == 2,
            At::Extra(length) => self.part.len() == length,
            At::Trailer => self.part.len() == 8,
            _ => byte == 0 || self.part.len() == LONGEST_FIELD,
        };
        if !whole {
            return;
        }
        let part = std::mem::take(&mut self.part);
        if !matches!(self.at, At::Trailer | At::HeaderCrc) {
            self.header_crc.update(&part);
        }
        match self.at {
            At::Header => self.header(&part),
            At::ExtraLength => match number(&part) as usize {
                0 => self.next_field(EXTRA),
                length => self.at = At::Extra(length),
            },
            At::Extra(_) => self.next_field(EXTRA),
            At::HeaderCrc => {
                if u64::from(self.header_crc.clone().finalize() & 0xffff) != number(&part) {
                    let message =
                        format!("gzip file, member {}: the header's CRC is wrong", self.members + 1);
                    self.report.fault(FaultKind::DigestWrong, message);
                }
                self.next_field(HEADER_CRC);
            }
            At::Trailer => self.trailer(&part),
            _ if byte != 0 => self.lose("its file name or comment does not end"),
            At::Name => {
                if self.members == 0 {
                    self.name = text_of(&part);
                    self.report.facts.detail("name", &self.name);
                }
                self.next_field(NAME);
            }
            _ => {
                if self.members == 0 {
                    self.report.facts.detail("comment", text_of(&part));
                }
                self.next_field(COMMENT);
            }
        }
    }

    fn header(&mut self, header: &[u8]) {
        self.flags = header[3];
        if header[..3] != [0x1f, 0x8b, 8] || self.flags & RESERVED != 0 {
            self.lose("its header has a method or flags that gzip does not know");
            return;
        }
        if self.members == 0 {
            let modified = i64::from(number(&header[4..8]) as u32);
            let modified = DateTime::from_timestamp(modified, 0).filter(|_| modified > 0);
            self.report.facts.built_at = modified.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
        }
        self.next_field(0);
    }

    /// The first field of the header behind this one that the flags announce.
    fn next_field(&mut self, before: u8) {
        let fields =
            [(EXTRA, At::ExtraLength), (NAME, At::Name), (COMMENT, At::Comment), (HEADER_CRC, At::HeaderCrc)];
        let passed = fields.iter().position(|field| field.0 == before).map_or(0, |at| at + 1);
        let next = fields[passed..].iter().find(|field| self.flags & field.0 != 0);
        self.at = next.map_or(At::Deflated, |field| field.1);
        if self.at == At::Deflated {
            self.inflate.restart();
            self.content_crc = Hasher::new();
            self.content = 0;
        }
    }

    fn deflated(&mut self, bytes: &[u8]) -> usize {
        let Self { inflate, content_crc, content, .. } = self;
        let (taken, step) = inflate.update(bytes, &mut |unpacked| {
            content_crc.update(unpacked);
            *content += unpacked.len() as u64;
        });
        match step {
            Step::More => {}
            Step::End => self.at = At::Trailer,
            Step::Bad => self.lose("it is damaged: this is no DEFLATE stream"),
            Step::TooMuch => {
                let message = format!("no: the file unpacks to more than {MOST_UNPACKED} bytes");
                self.report.facts.detail("verified", message);
                self.at = At::Lost;
            }
        }
        taken
    }

    fn trailer(&mut self, trailer: &[u8]) {
        let crc = self.content_crc.clone().finalize();
        self.members += 1;
        self.unpacked += self.content;
        self.digest = (self.members == 1).then(|| format!("crc32:{crc:08x}"));
        if number(&trailer[..4]) != u64::from(crc) || number(&trailer[4..]) != self.content & 0xffff_ffff {
            self.digest = None;
            let message = format!(
                "gzip file, member {}: CRC32 or size of what it unpacks to are not those that it states: it \
                 is damaged",
                self.members
            );
            self.report.fault(FaultKind::DigestWrong, message);
        }
        self.at = At::Between;
    }
}

impl Inspector for Gzip {
    fn update(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            let taken = match self.at {
                At::Lost => return,
                At::Over => {
                    self.behind += bytes.len() as u64;
                    return;
                }
                At::Deflated => self.deflated(bytes),
                At::Between => {
                    // What is no member is ignored by gzip, with a warning.
                    self.at = if *first == 0x1f { At::Header } else { At::Over };
                    self.header_crc = Hasher::new();
                    0
                }
                _ => {
                    self.byte(*first);
                    bytes.len() - rest.len()
                }
            };
            self.position += taken as u64;
            bytes = &bytes[taken..];
        }
    }

    fn finish(self: Box<Self>) -> Report {
        let Self { mut report, at, position, members, unpacked, digest, name, behind, .. } = *self;
        match at {
            At::Lost | At::Between => {}
            At::Over => {
                let message = format!("{behind} bytes stand behind the end of the gzip file");
                report.fault(FaultKind::Padded, message);
            }
            _ => {
                let message =
                    format!("the gzip file ends at byte {position}, in the middle of member {}", members + 1);
                report.fault(FaultKind::Truncated, message);
            }
        }
        if members > 1 {
            report.facts.detail("members", members.to_string());
        }
        if at != At::Lost && report.faults.is_empty() {
            report.facts.installed_size = Some(unpacked);
            report.facts.payload(Payload { name, size: unpacked, digest });
        }
        report
    }
}
