//! The DFU suffix (USB Device Firmware Upgrade 1.1, appendix B), which may stand behind any file, and the
//! files of ST's DfuSe, which begin with a prefix as well (`dfuse.rs`).
//!
//! # Layout
//! The last 16 bytes of the file, little-endian: the device's release, its product and vendor id, each 0xffff
//! for any; the version of DFU; `UFD`; the suffix's length; a CRC32 over all before it, not inverted at its
//! end.
//!
//! # What it verifies
//! The CRC32. A file that ends in `UFD` by chance is left alone: a suffix has the length 16, and a version of
//! DFU that exists or a right CRC32. The release is a version in BCD, 0xJJMN for JJ.M.N as in USB's
//! `bcdDevice`; it is stated where the file itself states none.
//!
//! # What it does not do
//! Suffixes longer than 16 bytes, which the specification leaves to the future.

mod dfuse;

use super::{Facts, FaultKind, NameKind, Report};
use crate::domain::Version;

const SUFFIX: usize = 16;
/// Where the CRC32 is in the suffix.
const CRC: usize = 12;
/// `bcdDFU` of the versions that exist; 1.1a is DfuSe.
const VERSIONS: [u16; 4] = [0x0100, 0x0101, 0x0110, 0x011a];
/// The id of any device, product or vendor.
const ANY: u16 = 0xffff;

/// Holds back the last bytes of the stream until its end.
#[derive(Default)]
pub(super) struct Suffix {
    held: Vec<u8>,
    /// Over the bytes that were handed on.
    crc: crc32fast::Hasher,
    target: Target,
}

/// Where the bytes go.
enum Target {
    /// Not known yet: the first bytes.
    Start(Vec<u8>),
    /// To the format inside.
    Inner,
    /// DfuSe has a format of its own.
    Dfuse(Box<dfuse::Dfuse>),
}

impl Default for Target {
    fn default() -> Self {
        Self::Start(Vec::new())
    }
}

/// What was found: a suffix, or DfuSe's prefix, or both.
pub(super) struct Found {
    fields: Option<Fields>,
    dfuse: Option<Report>,
}

struct Fields {
    release: u16,
    product: u16,
    vendor: u16,
    version: u16,
    stated_crc: u32,
    found_crc: u32,
}

impl Suffix {
    /// Takes the next bytes and hands on those that cannot be part of a suffix.
    pub fn update(&mut self, bytes: &[u8], inner: &mut dyn FnMut(&[u8])) {
        let passing = (self.held.len() + bytes.len()).saturating_sub(SUFFIX);
        let (old, new) = (passing.min(self.held.len()), passing.saturating_sub(self.held.len()));
        let passed: Vec<u8> = self.held.drain(..old).collect();
        self.pass(&passed, inner);
        self.pass(&bytes[..new], inner);
        self.held.extend_from_slice(&bytes[new..]);
    }

    /// The end: hands on what was held back if it is no suffix.
    pub fn finish(mut self, inner: &mut dyn FnMut(&[u8])) -> Option<Found> {
        let held = std::mem::take(&mut self.held);
        let fields = Fields::parse(&held, &self.crc);
        if fields.is_none() {
            self.pass(&held, inner);
        }
        let dfuse = match self.target {
            Target::Start(start) => {
                inner(&start);
                None
            }
            Target::Inner => None,
            Target::Dfuse(dfuse) => Some(dfuse.finish(fields.is_some())),
        };
        (fields.is_some() || dfuse.is_some()).then_some(Found { fields, dfuse })
    }

    fn pass(&mut self, bytes: &[u8], inner: &mut dyn FnMut(&[u8])) {
        if bytes.is_empty() {
            return;
        }
        self.crc.update(bytes);
        match &mut self.target {
            Target::Inner => inner(bytes),
            Target::Dfuse(dfuse) => dfuse.update(bytes),
            Target::Start(start) => {
                let missing = (dfuse::SIGNATURE.len() - start.len()).min(bytes.len());
                let (head, rest) = bytes.split_at(missing);
                start.extend_from_slice(head);
                if start == dfuse::SIGNATURE {
                    let mut dfuse = Box::<dfuse::Dfuse>::default();
                    dfuse.update(start);
                    dfuse.update(rest);
                    self.target = Target::Dfuse(dfuse);
                } else if !dfuse::SIGNATURE.starts_with(start) {
                    inner(start);
                    inner(rest);
                    self.target = Target::Inner;
                }
            }
        }
    }
}

impl Fields {
    /// The fields of a suffix, if the last bytes of a file are one; `before` are all others.
    fn parse(held: &[u8], before: &crc32fast::Hasher) -> Option<Self> {
        let [d0, d1, p0, p1, v0, v1, dfu0, dfu1, b'U', b'F', b'D', 16, c0, c1, c2, c3] = *held else {
            return None;
        };
        let mut all = before.clone();
        all.update(&held[..CRC]);
        let fields = Self {
            release: u16::from_le_bytes([d0, d1]),
            product: u16::from_le_bytes([p0, p1]),
            vendor: u16::from_le_bytes([v0, v1]),
            version: u16::from_le_bytes([dfu0, dfu1]),
            stated_crc: u32::from_le_bytes([c0, c1, c2, c3]),
            found_crc: !all.finalize(),
        };
        (VERSIONS.contains(&fields.version) || fields.is_whole()).then_some(fields)
    }

    fn is_whole(&self) -> bool {
        self.stated_crc == self.found_crc
    }
}

impl Found {
    /// Adds what the suffix says to the report.
    pub fn state(self, report: &mut Report) {
        if let Some(dfuse) = self.dfuse {
            *report = dfuse;
        }
        let Some(fields) = self.fields else { return };
        let facts = &mut report.facts;
        let Fields { release, product, vendor, version, .. } = fields;
        let id = |id: u16| if id == ANY { "any".to_owned() } else { format!("{id:#06x}") };
        facts.detail(
            "DFU suffix",
            format!(
                "DFU {:x}.{:02x}, vendor {}, product {}, release {}",
                version >> 8,
                version & 0xff,
                id(vendor),
                id(product),
                id(release),
            ),
        );
        for (kind, value) in [(NameKind::Vendor, vendor), (NameKind::Product, product)] {
            if value != ANY {
                facts.name(kind, &id(value));
            }
        }
        // dfuse-pack always writes 0.
        if facts.version.is_none() && release != ANY && release != 0 {
            state_release(release, facts);
        }
        if !fields.is_whole() {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "its DFU suffix carries the CRC32 {:08x}, but the file has {:08x}: it was damaged, or \
                     changed after \
                     dfu-suffix; take the suffix off and add a new one",
                    fields.stated_crc, fields.found_crc,
                ),
            );
        }
    }
}

/// A release as a version, if it is BCD.
fn state_release(release: u16, facts: &mut Facts) {
    let digits = [12, 8, 4, 0].map(|shift| release >> shift & 0xf);
    if digits.iter().any(|digit| *digit > 9) {
        facts.version = Some(format!("{release:#06x}"));
        return;
    }
    let [tens, ones, minor, patch] = digits;
    let version = format!("{}.{minor}.{patch}", tens * 10 + ones);
    facts.semver = Version::parse(&version).ok();
    facts.version = Some(version);
}

#[cfg(test)]
mod tests;
