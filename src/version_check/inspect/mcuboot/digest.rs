//! The digest that an MCUboot image carries of itself.

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{Header, tlv::Tlv};
use crate::version_check::inspect::{Covers, FaultKind, Report};

/// `IMAGE_TLV_SHA256` and its larger ones.
pub(super) const SHA256: u16 = 0x10;
pub(super) const SHA384: u16 = 0x11;
pub(super) const SHA512: u16 = 0x12;

/// All that the TLVs may ask for: which one it is, they say only behind the payload.
#[derive(Default)]
pub(super) struct Digests {
    sha256: Sha256,
    sha384: Sha384,
    sha512: Sha512,
}

impl Digests {
    /// Takes the next bytes of header, payload and protected TLVs.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sha384.update(bytes);
        self.sha512.update(bytes);
    }
}

/// The digest that the image carries, in the words of the algorithms that sign it.
#[derive(Clone)]
pub(super) enum ImageDigest {
    Sha256([u8; 32]),
    Sha384([u8; 48]),
    Sha512([u8; 64]),
}

impl ImageDigest {
    fn of(kind: u16, value: &[u8]) -> Option<Self> {
        match kind {
            SHA256 => value.try_into().ok().map(Self::Sha256),
            SHA384 => value.try_into().ok().map(Self::Sha384),
            SHA512 => value.try_into().ok().map(Self::Sha512),
            _ => None,
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha384(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }

    fn text(&self) -> String {
        let name = match self {
            Self::Sha256(_) => "sha256",
            Self::Sha384(_) => "sha384",
            Self::Sha512(_) => "sha512",
        };
        format!("{name}:{}", hex::encode(self.bytes()))
    }

    /// The same digest of a public key: imgtool hashes keys like images.
    pub fn of_key(&self, key: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256(_) => Sha256::digest(key).to_vec(),
            Self::Sha384(_) => Sha384::digest(key).to_vec(),
            Self::Sha512(_) => Sha512::digest(key).to_vec(),
        }
    }
}

/// For keys of an image that has no digest.
pub(super) fn sha256(key: &[u8]) -> Vec<u8> {
    Sha256::digest(key).to_vec()
}

/// Compares the digests that the image carries; gives the one that its signatures sign, and whether it was
/// found.
pub(super) fn compare(
    header: &Header,
    tlvs: &[Tlv<'_>],
    digests: Digests,
    report: &mut Report,
) -> Option<(ImageDigest, Covers)> {
    let found = [
        (SHA256, ImageDigest::Sha256(digests.sha256.finalize().into())),
        (SHA384, ImageDigest::Sha384(digests.sha384.finalize().into())),
        (SHA512, ImageDigest::Sha512(digests.sha512.finalize().into())),
    ];
    let mut signed = None;
    for (kind, value) in tlvs {
        let Some((_, found)) = found.iter().find(|(known, _)| known == kind) else { continue };
        let Some(stated) = ImageDigest::of(*kind, value) else {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "the digest TLV {kind:#06x} has {} bytes instead of {}",
                    value.len(),
                    found.bytes().len()
                ),
            );
            continue;
        };
        if stated.bytes() == found.bytes() {
            report.facts.own_digest.get_or_insert_with(|| found.text());
            if header.is_encrypted() {
                report.facts.detail("encryption", "none yet: the payload is plain (imgtool --clear)");
            }
            signed.get_or_insert_with(|| (found.clone(), Covers::Bytes));
        } else if header.is_encrypted() {
            report
                .facts
                .detail("encryption", "the payload is encrypted; only a device can verify its digest");
            report.facts.detail("digest of the plain image", stated.text());
            signed.get_or_insert((stated, Covers::StatedDigest));
        } else {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "it carries {}, but its header, payload and protected TLVs have {}: it was damaged, or \
                     changed after \
                     imgtool had signed it; build it again",
                    stated.text(),
                    found.text(),
                ),
            );
            signed.get_or_insert_with(|| (found.clone(), Covers::Bytes));
        }
    }
    signed
}
