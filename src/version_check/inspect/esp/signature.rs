//! Signatures of secure boot, which follow an image.
//!
//! V2 (`esp_secure_boot.h`, `ets_secure_boot_sig_block_t`): a sector of up to three blocks of 1216 bytes, the
//! rest erased. A block states the digest of all before the sector, the public key and the signature, in
//! little-endian, and a CRC32. A key's id is the SHA-256 of the public key's part of the block, which is what
//! a chip's eFuses hold (`espsecure digest-sbv2-public-key`). V1: four zeros and the two halves of an ECDSA
//! signature in big-endian.

use sha2::{Digest, Sha256};

use super::{SECTOR, SIGNATURE_V1, u32_at};
use crate::version_check::inspect::{Algorithm, FaultKind, Report, Signature, Signed, ecdsa::to_der};

const MAGIC: u8 = 0xe7;
const BLOCK: usize = 1216;
const MOST_BLOCKS: usize = 3;
/// The CRC32 covers the block up to itself.
const CRC: usize = 1196;
const RSA: u8 = 2;
const ECDSA: u8 = 3;

/// Whether a sector of signature blocks begins so.
pub(super) fn is_sector(bytes: &[u8]) -> bool {
    matches!(bytes, [MAGIC, RSA | ECDSA, ..])
}

/// States the blocks of a sector; the digests are those of all bytes before it.
pub(super) fn state_sector(sector: &[u8], digests: ([u8; 32], [u8; 48]), report: &mut Report) {
    if (sector.len() as u64) < SECTOR {
        report.fault(
            FaultKind::Truncated,
            format!(
                "it ends after {} of the {SECTOR} bytes of its signature sector: sign it \
                     again",
                sector.len()
            ),
        );
    }
    let mut rest = sector;
    for number in 1..=MOST_BLOCKS {
        let Some((block, behind)) = rest.split_at_checked(BLOCK) else { break };
        if !is_sector(block) {
            break;
        }
        state_block(number, block, &digests, report);
        rest = behind;
    }
    if rest.iter().any(|byte| *byte != 0xff) {
        report.fault(
            FaultKind::Malformed,
            "the rest of its signature sector is not erased, and no signature covers it: sign it again with \
             espsecure",
        );
    }
}

fn state_block(number: usize, block: &[u8], digests: &([u8; 32], [u8; 48]), report: &mut Report) {
    report.facts.signed = true;
    let crc = crc32fast::hash(&block[..CRC]);
    if u32_at(block, CRC) != Some(crc) {
        return report.fault(
            FaultKind::DigestWrong,
            format!(
                "signature block {number} carries the CRC32 {:08x}, but its bytes have {crc:08x}: chips \
                 skip it; sign the image \
                 again",
                u32_at(block, CRC).unwrap_or_default(),
            ),
        );
    }
    let long = block[1] == ECDSA && block[2] == 1;
    let (digest, key_at) = if long { (&digests.1[..], 52) } else { (&digests.0[..], 36) };
    let stated = &block[4..key_at];
    if stated != digest {
        report.fault(
            FaultKind::DigestWrong,
            format!(
                "signature block {number} is for an image with the digest {}, but this one has {}: it was \
                 changed after it \
                 had been signed; sign it again",
                hex::encode(stated),
                hex::encode(digest),
            ),
        );
    }
    let (key_end, half, name, algorithm) = match (block[1], long, block[key_at]) {
        (RSA, ..) => (812, 0, "RSA-3072 (PSS)", Some(Algorithm::RsaPssSha256)),
        (_, false, 1) => (101, 24, "ECDSA P-192", None),
        (_, false, 2) => (101, 32, "ECDSA P-256", Some(Algorithm::EcdsaP256Sha256)),
        (_, true, 3) => (149, 48, "ECDSA P-384", Some(Algorithm::EcdsaP384Sha384)),
        (.., curve) => {
            return report.fault(
                FaultKind::Malformed,
                format!(
                    "signature block {number} is of curve {curve}, which \
                                                      is unknown"
                ),
            );
        }
    };
    let key_id = hex::encode(Sha256::digest(&block[key_at..key_end]));
    if !report.facts.key_ids.contains(&key_id) {
        report.facts.key_ids.push(key_id.clone());
    }
    let Some(algorithm) = algorithm else {
        return report.facts.detail(
            "signature",
            format!(
                "secure boot V2, {name}, which cannot be verified \
                                    here"
            ),
        );
    };
    report.facts.detail("signature", format!("secure boot V2, {name}"));
    let reversed = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
    let bytes = if half == 0 {
        reversed(&block[key_end..CRC])
    } else {
        let (r, s) = block[key_end..key_end + 2 * half].split_at(half);
        to_der(&reversed(r), &reversed(s))
    };
    let signed = if long { Signed::Sha384(digests.1) } else { Signed::Sha256(digests.0) };
    // A chip takes any of up to three blocks whose key it knows.
    report.signatures.push(Signature { key_id: Some(key_id), ..Signature::new(algorithm, signed, bytes) });
}

/// States a signature of secure boot V1 over something with this digest, if it is one.
pub(super) fn state_v1(bytes: &[u8], digest: [u8; 32], report: &mut Report) -> bool {
    let ([0, 0, 0, 0, halves @ ..], SIGNATURE_V1) = (bytes, bytes.len()) else { return false };
    let (r, s) = halves.split_at(halves.len() / 2);
    report.facts.signed = true;
    report.facts.detail("signature", "secure boot V1, ECDSA P-256");
    let signature = Signature::new(Algorithm::EcdsaP256Sha256, Signed::Sha256(digest), to_der(r, s));
    report.signatures.push(signature);
    true
}
