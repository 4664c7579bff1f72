//! MCUboot images, as `imgtool` makes them.
//!
//! # Layout
//! (`boot/bootutil/include/bootutil/image.h` and `docs/design.md` of MCUboot.) A header of 32 bytes, padded
//! to `ih_hdr_size`; `ih_img_size` bytes of payload; the protected TLV area, if `ih_protect_tlv_size` says
//! so; the TLV area. A TLV area is its magic and its whole length, then entries of type, length, value.
//! `imgtool --pad` goes on with erased flash and a slot's trailer, up to the size of the slot (`trailer.rs`).
//! All is little-endian, but for `imgtool --endian big`.
//!
//! # What it verifies
//! The SHA-256, SHA-384 or SHA-512 over header, payload and protected TLVs. The payload of an encrypted image
//! is hashed before it is encrypted, so that only a device can compute it: then the digest is stated as a
//! detail, and the signatures sign what is stated, not what was found. An ECDSA, RSA or Ed25519 signature
//! signs the digest; a "pure" Ed25519 signature (`imgtool --pure`) signs the whole image, which cannot be
//! verified on a stream: it counts as signed, and is no [`Signature`](super::Signature).
//!
//! # Limits
//! A TLV area has at most 65535 bytes, by its 16-bit length; [`tlv::MOST_SIGNATURES`] signatures.
//!
//! # What it does not do
//! Decrypt or decompress the payload. Read the older header (magic 0x96f3b83c), which MCUboot dropped in
//! 2018.

mod digest;
mod tlv;
mod trailer;

use super::{Facts, FaultKind, Inspector, Payload, Report};

/// `IMAGE_MAGIC`.
const MAGIC: u32 = 0x96f3_b83d;
/// `IMAGE_TLV_INFO_MAGIC` and `IMAGE_TLV_PROT_INFO_MAGIC`.
const TLV_MAGIC: u16 = 0x6907;
const PROTECTED_TLV_MAGIC: u16 = 0x6908;
/// `IMAGE_HEADER_SIZE`: the least that `ih_hdr_size` can be.
const HEADER: usize = 32;
/// `sizeof(struct image_tlv_info)`, and that of `struct image_tlv` as well.
const INFO: usize = 4;

const PIC: u32 = 0x1;
const ENCRYPTED_AES128: u32 = 0x4;
const ENCRYPTED_AES256: u32 = 0x8;
const NON_BOOTABLE: u32 = 0x10;
const RAM_LOAD: u32 = 0x20;
const ROM_FIXED: u32 = 0x100;
const COMPRESSED_LZMA1: u32 = 0x200;
const COMPRESSED_LZMA2: u32 = 0x400;
const COMPRESSED_ARM_THUMB: u32 = 0x800;

const FLAGS: [(u32, &str); 9] = [
    (PIC, "PIC"),
    (ENCRYPTED_AES128, "ENCRYPTED_AES128"),
    (ENCRYPTED_AES256, "ENCRYPTED_AES256"),
    (NON_BOOTABLE, "NON_BOOTABLE"),
    (RAM_LOAD, "RAM_LOAD"),
    (ROM_FIXED, "ROM_FIXED"),
    (COMPRESSED_LZMA1, "COMPRESSED_LZMA1"),
    (COMPRESSED_LZMA2, "COMPRESSED_LZMA2"),
    (COMPRESSED_ARM_THUMB, "COMPRESSED_ARM_THUMB"),
];

/// Knows it by the magic.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    let order = [Order::Little, Order::Big]
        .into_iter()
        .find(|order| order.u32(head, 0).is_some_and(|m| m == MAGIC))?;
    Some(Box::new(Mcuboot {
        report: Report { facts: Facts::of("mcuboot"), ..Report::default() },
        order,
        header: Header::default(),
        stage: Stage::Header(Vec::with_capacity(HEADER)),
        digests: digest::Digests::default(),
        protected: Vec::new(),
        tlvs: Vec::new(),
        trailer: trailer::Trailer::default(),
    }))
}

struct Mcuboot {
    report: Report,
    order: Order,
    header: Header,
    stage: Stage,
    digests: digest::Digests,
    /// The protected TLV area, with its magic and length.
    protected: Vec<u8>,
    /// The TLV area, the same.
    tlvs: Vec<u8>,
    trailer: trailer::Trailer,
}

/// What the next bytes are.
enum Stage {
    Header(Vec<u8>),
    /// The header's padding and the payload.
    Payload {
        left: u64,
    },
    Protected {
        left: usize,
    },
    Tlvs,
    Behind,
    /// Unknown, because of a fault that was told.
    Lost,
}

/// The byte order of all numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// What is needed of the header later.
#[derive(Default)]
struct Header {
    size: u16,
    protected: u16,
    payload: u32,
    flags: u32,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Self::Little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Self::Little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// The type of a TLV. imgtool always writes those of MCUboot as one byte and a zero.
    fn kind(self, bytes: &[u8]) -> Option<u16> {
        let kind = self.u16(bytes, 0)?;
        Some(if self == Self::Big && kind & 0xff == 0 { kind >> 8 } else { kind })
    }

    /// A `struct image_version`, as imgtool prints it.
    fn version(self, bytes: &[u8], at: usize) -> Option<String> {
        let (major, minor) = (bytes.get(at)?, bytes.get(at + 1)?);
        let (revision, build) = (self.u16(bytes, at + 2)?, self.u32(bytes, at + 4)?);
        Some(format!("{major}.{minor}.{revision}+{build}"))
    }
}

impl Header {
    fn is_encrypted(&self) -> bool {
        self.flags & (ENCRYPTED_AES128 | ENCRYPTED_AES256) != 0
    }

    /// Where the TLV area begins, which is where the hashed bytes end.
    fn hashed(&self) -> u64 {
        u64::from(self.size) + u64::from(self.payload) + u64::from(self.protected)
    }
}

impl Inspector for Mcuboot {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let wanted = match &self.stage {
                Stage::Header(head) => HEADER - head.len(),
                Stage::Payload { left } => usize::try_from(*left).unwrap_or(usize::MAX),
                Stage::Protected { left } => *left,
                Stage::Tlvs => self.tlvs_wanted(),
                Stage::Behind | Stage::Lost => usize::MAX,
            };
            let (these, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            self.take(these);
        }
    }

    fn so_far(&self) -> Option<&Facts> {
        (!matches!(self.stage, Stage::Header(_))).then_some(&self.report.facts)
    }

    fn finish(mut self: Box<Self>) -> Report {
        self.end();
        tlv::state(&self.header, self.order, &self.protected, &self.tlvs, self.digests, &mut self.report);
        self.report
    }
}

impl Mcuboot {
    /// Takes bytes of one stage, at most as many as it wants, and goes on to the next one once it is full.
    fn take(&mut self, bytes: &[u8]) {
        match &mut self.stage {
            Stage::Header(head) => {
                head.extend_from_slice(bytes);
                if head.len() == HEADER {
                    let head = std::mem::take(head);
                    self.digests.update(&head);
                    self.header(&head);
                }
            }
            Stage::Payload { left } => {
                self.digests.update(bytes);
                *left -= bytes.len() as u64;
            }
            Stage::Protected { left } => {
                self.digests.update(bytes);
                self.protected.extend_from_slice(bytes);
                *left -= bytes.len();
            }
            Stage::Tlvs => {
                self.tlvs.extend_from_slice(bytes);
                if self.tlvs.len() == INFO {
                    self.tlv_info();
                }
            }
            Stage::Behind => self.trailer.update(bytes),
            Stage::Lost => {}
        }
        if let Stage::Payload { left: 0 } = self.stage {
            self.stage = Stage::Protected { left: self.header.protected.into() };
        }
        if let Stage::Protected { left: 0 } = self.stage {
            self.stage = Stage::Tlvs;
            self.protected_info();
        }
        if let Stage::Tlvs = self.stage
            && self.tlvs_wanted() == 0
        {
            self.stage = Stage::Behind;
        }
    }

    /// How many bytes the TLV area still has, as far as it is known.
    fn tlvs_wanted(&self) -> usize {
        match self.order.u16(&self.tlvs, 2) {
            Some(total) => usize::from(total).saturating_sub(self.tlvs.len()),
            None => INFO - self.tlvs.len(),
        }
    }

    fn header(&mut self, head: &[u8]) {
        let Self { report, order, header, .. } = self;
        let load_address = order.u32(head, 4).unwrap_or_default();
        *header = Header {
            size: order.u16(head, 8).unwrap_or_default(),
            protected: order.u16(head, 10).unwrap_or_default(),
            payload: order.u32(head, 12).unwrap_or_default(),
            flags: order.u32(head, 16).unwrap_or_default(),
        };
        let facts = &mut report.facts;
        facts.set_version(&order.version(head, 20).unwrap_or_default());
        facts.detail("header size", header.size.to_string());
        facts.detail("image size", header.payload.to_string());
        if header.protected != 0 {
            facts.detail("protected TLV size", header.protected.to_string());
        }
        if load_address != 0 || header.flags & (RAM_LOAD | ROM_FIXED) != 0 {
            facts.detail("load address", format!("{load_address:#010x}"));
        }
        facts.detail("flags", flags_text(header.flags));
        if *order == Order::Big {
            facts.detail("byte order", "big-endian");
        }
        facts.payload(Payload { name: "image".into(), size: header.payload.into(), digest: None });
        for (both, names) in [
            (ENCRYPTED_AES128 | ENCRYPTED_AES256, "encrypted with AES-128 and with AES-256"),
            (COMPRESSED_LZMA1 | COMPRESSED_LZMA2, "compressed with LZMA1 and with LZMA2"),
            (RAM_LOAD | ROM_FIXED, "to be loaded into RAM and built for a fixed address in ROM"),
        ] {
            if header.flags & both == both {
                report.fault(
                    FaultKind::Malformed,
                    format!("the header's flags say that it is {names} at once"),
                );
            }
        }
        if u32::from(header.size).checked_add(header.payload).is_none() {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "its header of {} bytes and its payload of {} bytes exceed 32 bits, which MCUboot \
                         refuses",
                    header.size, header.payload
                ),
            );
        }
        match u64::from(header.size).checked_sub(HEADER as u64) {
            Some(padding) => self.stage = Stage::Payload { left: padding + u64::from(header.payload) },
            None => {
                report.fault(
                    FaultKind::Malformed,
                    format!(
                        "it states a header size of {} bytes, but a header has at least {HEADER}",
                        header.size
                    ),
                );
                self.stage = Stage::Lost;
            }
        }
    }

    /// The protected TLV area, or nothing of it, has passed.
    fn protected_info(&mut self) {
        let Self { report, order, header, protected, .. } = self;
        if header.protected == 0 {
            return;
        }
        let info = (order.u16(protected, 0), order.u16(protected, 2));
        if info != (Some(PROTECTED_TLV_MAGIC), Some(header.protected)) {
            let (magic, total) = (info.0.unwrap_or_default(), info.1.unwrap_or_default());
            report.fault(
                FaultKind::Malformed,
                format!(
                    "the header announces protected TLVs of {} bytes, but behind the payload, at byte {}, \
                     is an area \
                     of {total} bytes with magic {magic:#06x} (should be {PROTECTED_TLV_MAGIC:#06x})",
                    header.protected,
                    u64::from(header.size) + u64::from(header.payload),
                ),
            );
            protected.clear();
        }
    }

    /// The first bytes of the TLV area have passed.
    fn tlv_info(&mut self) {
        let Self { report, order, header, tlvs, stage, .. } = self;
        let magic = order.u16(tlvs, 0).unwrap_or_default();
        let total = order.u16(tlvs, 2).unwrap_or_default();
        let at = header.hashed();
        let fault = if magic == PROTECTED_TLV_MAGIC {
            format!("protected TLVs follow at byte {at}, but the header announces none that end there")
        } else if magic != TLV_MAGIC {
            format!(
                "no TLVs follow the payload at byte {at} (magic {magic:#06x} instead of {TLV_MAGIC:#06x}): \
                 the header's \
                 sizes are wrong, or the image was not made by imgtool sign"
            )
        } else if usize::from(total) < INFO {
            format!("the TLV area at byte {at} says that it has {total} bytes, fewer than its own head")
        } else {
            let installed = at + u64::from(total);
            report.facts.installed_size = Some(installed);
            return;
        };
        report.fault(FaultKind::Malformed, fault);
        tlvs.clear();
        *stage = Stage::Lost;
    }

    /// Judges where the bytes ended.
    fn end(&mut self) {
        let Self { report, header, stage, protected, tlvs, trailer, .. } = self;
        let hashed = header.hashed();
        let (seen, least) = match stage {
            Stage::Header(head) => (head.len() as u64, HEADER as u64),
            Stage::Payload { left } => {
                (u64::from(header.size) + u64::from(header.payload) - *left, hashed + INFO as u64)
            }
            Stage::Protected { left } => (hashed - *left as u64, hashed + INFO as u64),
            Stage::Tlvs => {
                (hashed + tlvs.len() as u64, report.facts.installed_size.unwrap_or(hashed + INFO as u64))
            }
            Stage::Behind => return trailer.state(hashed + tlvs.len() as u64, self.order, report),
            Stage::Lost => return,
        };
        report.fault(
            FaultKind::Truncated,
            format!(
                "it ends after {seen} bytes, but states at least {least}: the file was cut; fetch or \
                     build it again"
            ),
        );
        if let Stage::Protected { .. } = stage {
            protected.clear();
        }
        tlvs.clear();
    }
}

fn flags_text(flags: u32) -> String {
    let mut names: Vec<String> =
        FLAGS.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| (*name).to_owned()).collect();
    let unknown = flags & !FLAGS.iter().fold(0, |all, (flag, _)| all | flag);
    if unknown != 0 {
        names.push(format!("{unknown:#x}"));
    }
    names.join(" ")
}

#[cfg(test)]
mod tests;
