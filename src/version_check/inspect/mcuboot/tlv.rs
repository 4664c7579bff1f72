//! The TLVs of an MCUboot image, once both areas are complete.

use super::{
    Header, INFO, Order,
    digest::{self, Digests, ImageDigest, SHA256, SHA384, SHA512},
};
use crate::version_check::inspect::{
    Algorithm, Covers, Facts, FaultKind, NameKind, Report, Signature, Signed, facts::text_of,
};

/// The most signatures that are looked at. MCUboot tries them one after the other, and so must whoever
/// verifies them; images have one, or one per key while keys are changed.
pub(super) const MOST_SIGNATURES: usize = 16;
/// The longest value that is shown as hex.
const LONGEST_HEX: usize = 64;

const KEY_HASH: u16 = 0x01;
const PUBLIC_KEY: u16 = 0x02;
const RSA2048_PSS: u16 = 0x20;
const ECDSA224: u16 = 0x21;
const ECDSA: u16 = 0x22;
const RSA3072_PSS: u16 = 0x23;
const ED25519: u16 = 0x24;
const SIGNATURE_PURE: u16 = 0x25;
const ENC_RSA2048: u16 = 0x30;
const ENC_KEY_WRAP: u16 = 0x31;
const ENC_EC256: u16 = 0x32;
const ENC_X25519: u16 = 0x33;
const ENC_X25519_SHA512: u16 = 0x34;
const DEPENDENCY: u16 = 0x40;
const SECURITY_COUNTER: u16 = 0x50;
const BOOT_RECORD: u16 = 0x60;
const DECOMPRESSED_SIZE: u16 = 0x70;
const DECOMPRESSED_SHA: u16 = 0x71;
const DECOMPRESSED_SIGNATURE: u16 = 0x72;
const COMPRESSED_DECRYPTED_SIZE: u16 = 0x73;
const VENDOR_UUID: u16 = 0x74;
const CLASS_UUID: u16 = 0x75;
/// The first that vendors may use as they like.
const VENDOR: u16 = 0xa0;

/// An entry of a TLV area.
pub(super) type Tlv<'a> = (u16, &'a [u8]);

/// States both areas; an empty one is absent or was not understood, which was told.
pub(super) fn state(
    header: &Header,
    order: Order,
    protected: &[u8],
    tlvs: &[u8],
    digests: Digests,
    report: &mut Report,
) {
    for (kind, value) in entries(order, protected, "protected TLV area", report) {
        state_protected(kind, value, order, report);
    }
    if tlvs.is_empty() {
        return;
    }
    let tlvs = entries(order, tlvs, "TLV area", report);
    let digest = digest::compare(header, &tlvs, digests, report);
    let pure = tlvs.iter().any(|(kind, value)| *kind == SIGNATURE_PURE && *value == [1]);
    if digest.is_none() && !pure {
        report.fault(
            FaultKind::Malformed,
            "it carries no SHA-256, SHA-384 or SHA-512 of itself, so that MCUboot refuses it: make it with \
             imgtool sign",
        );
    }
    let mut key_id = None;
    for (kind, value) in &tlvs {
        match *kind {
            KEY_HASH | PUBLIC_KEY => {
                key_id = Some(if *kind == KEY_HASH {
                    hex::encode(&value[..value.len().min(LONGEST_HEX)])
                } else {
                    report.facts.detail("public key", format!("{} bytes, carried in full", value.len()));
                    hex::encode(
                        digest
                            .as_ref()
                            .map_or_else(|| digest::sha256(value), |(digest, _)| digest.of_key(value)),
                    )
                });
            }
            RSA2048_PSS | ECDSA224 | ECDSA | RSA3072_PSS | ED25519 => {
                state_signature((*kind, value), pure, digest.as_ref(), key_id.as_deref(), &mut *report);
            }
            _ => state_unprotected((*kind, value), report),
        }
    }
    let has_key = |(kind, _): &Tlv<'_>| (ENC_RSA2048..=ENC_X25519_SHA512).contains(kind);
    if header.is_encrypted() && !tlvs.iter().any(has_key) {
        report.fault(
            FaultKind::Malformed,
            "its flags say that it is encrypted, but it carries no key to decrypt it: sign it again with \
             imgtool --encrypt",
        );
    }
}

/// Takes an area to pieces, without its magic and length.
fn entries<'a>(order: Order, area: &'a [u8], name: &str, report: &mut Report) -> Vec<Tlv<'a>> {
    let mut entries = Vec::new();
    let mut rest = area.get(INFO..).unwrap_or_default();
    while !rest.is_empty() {
        let entry = order.kind(rest).zip(order.u16(rest, 2)).and_then(|(kind, length)| {
            let end = INFO + usize::from(length);
            Some((kind, rest.get(INFO..end)?, rest.get(end..)?))
        });
        let Some((kind, value, behind)) = entry else {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "the last entry of the {name} reaches {} bytes before the area's end and goes on \
                         behind it",
                    rest.len()
                ),
            );
            break;
        };
        entries.push((kind, value));
        rest = behind;
    }
    entries
}

/// What only counts where the image's digest covers it.
fn state_protected(kind: u16, value: &[u8], order: Order, report: &mut Report) {
    let facts = &mut report.facts;
    let number = || order.u32(value, 0).filter(|_| value.len() == 4);
    let known = match kind {
        SECURITY_COUNTER => match (number(), facts.security_counter) {
            (Some(counter), None) => {
                facts.security_counter = Some(counter.into());
                true
            }
            (Some(counter), Some(first)) => {
                report.fault(
                    FaultKind::Malformed,
                    format!(
                        "it states two security counters, {first} and {counter}: MCUboot takes the \
                             first; remove one"
                    ),
                );
                true
            }
            (None, _) => false,
        },
        DEPENDENCY => match (value, order.version(value, 4)) {
            ([image, _, _, _, rest @ ..], Some(version)) if rest.len() == 8 => {
                facts.detail("depends on", format!("image {image} at {version} or newer"));
                true
            }
            _ => false,
        },
        BOOT_RECORD => {
            facts.detail("boot record", software_type(value).unwrap_or_else(|| hex_text(value)));
            true
        }
        DECOMPRESSED_SIZE | COMPRESSED_DECRYPTED_SIZE => match number() {
            Some(size) if kind == DECOMPRESSED_SIZE => {
                facts.detail("decompressed size", size.to_string());
                true
            }
            Some(size) => {
                facts.detail("compressed size after decryption", size.to_string());
                true
            }
            None => false,
        },
        DECOMPRESSED_SHA => {
            facts.detail("decompressed digest", hex_text(value));
            true
        }
        DECOMPRESSED_SIGNATURE => {
            facts.detail("decompressed signature", format!("{} bytes", value.len()));
            true
        }
        VENDOR_UUID | CLASS_UUID => match uuid::Uuid::from_slice(value) {
            Ok(uuid) if kind == VENDOR_UUID => {
                facts.name(NameKind::Vendor, &uuid.to_string());
                true
            }
            Ok(uuid) => {
                facts.name(NameKind::Compatible, &uuid.to_string());
                true
            }
            Err(_) => false,
        },
        VENDOR.. => {
            let text = printable(value);
            facts.detail(&format!("vendor TLV {kind:#06x}"), text.clone().unwrap_or_else(|| hex_text(value)));
            if let Some(text) = text {
                facts.name(NameKind::Hardware, &text);
            }
            true
        }
        _ => {
            facts.detail(&format!("protected TLV {kind:#06x}"), hex_text(value));
            true
        }
    };
    if !known {
        report.fault(
            FaultKind::Malformed,
            format!(
                "the protected TLV {kind:#06x} has a value of {} bytes, which is not its length",
                value.len()
            ),
        );
    }
}

/// What is neither digest nor key nor signature.
fn state_unprotected((kind, value): Tlv<'_>, report: &mut Report) {
    let key = match kind {
        SHA256 | SHA384 | SHA512 | SIGNATURE_PURE => return,
        ENC_RSA2048 => "RSA-OAEP-2048",
        ENC_KEY_WRAP => "AES key wrap",
        ENC_EC256 => "ECIES-P256",
        ENC_X25519 => "ECIES-X25519",
        ENC_X25519_SHA512 => "ECIES-X25519 with SHA-512",
        DEPENDENCY | SECURITY_COUNTER | BOOT_RECORD => {
            return report.fault(
                FaultKind::Malformed,
                format!(
                    "TLV {kind:#06x} ({}) is outside the protected area, where no signature covers it and \
                     MCUboot does \
                     not look for it",
                    match kind {
                        DEPENDENCY => "a dependency",
                        SECURITY_COUNTER => "the security counter",
                        _ => "a boot record",
                    }
                ),
            );
        }
        _ => return report.facts.detail(&format!("unprotected TLV {kind:#06x}"), hex_text(value)),
    };
    report.facts.detail("encryption key", key);
}

/// States a signature, and keeps it if it can be verified.
fn state_signature(
    (kind, value): Tlv<'_>,
    pure: bool,
    digest: Option<&(ImageDigest, Covers)>,
    key_id: Option<&str>,
    report: &mut Report,
) {
    let Report { facts, signatures, .. } = report;
    facts.signed = true;
    if let Some(key_id) = key_id
        && facts.key_ids.len() < MOST_SIGNATURES
        && !facts.key_ids.iter().any(|known| known == key_id)
    {
        facts.key_ids.push(key_id.to_owned());
    }
    let covers = digest.map_or(Covers::Bytes, |(_, covers)| *covers);
    let signed = match (kind, digest.map(|(digest, _)| digest)) {
        (ED25519, _) if pure => {
            facts.detail("signature", "Ed25519 of the whole image (pure): only a device verifies it");
            return;
        }
        (RSA2048_PSS | RSA3072_PSS, Some(ImageDigest::Sha256(digest))) => {
            facts.detail("signature", if kind == RSA2048_PSS { "RSA-2048 (PSS)" } else { "RSA-3072 (PSS)" });
            Some((Algorithm::RsaPssSha256, Signed::Sha256(*digest)))
        }
        (ECDSA, Some(ImageDigest::Sha256(digest))) => {
            facts.detail("signature", "ECDSA P-256");
            Some((Algorithm::EcdsaP256Sha256, Signed::Sha256(*digest)))
        }
        (ECDSA, Some(ImageDigest::Sha384(digest))) => {
            facts.detail("signature", "ECDSA P-384");
            Some((Algorithm::EcdsaP384Sha384, Signed::Sha384(*digest)))
        }
        (ED25519, Some(digest)) => {
            facts.detail("signature", "Ed25519 of the digest");
            Some((Algorithm::Ed25519, Signed::Message(digest.bytes().to_vec())))
        }
        _ => None,
    };
    let Some((algorithm, signed)) = signed else {
        return facts.detail("signature", format!("TLV {kind:#06x}, of a kind that cannot be verified here"));
    };
    if signatures.len() == MOST_SIGNATURES {
        return report.fault(
            FaultKind::Malformed,
            format!("it has more than {MOST_SIGNATURES} signatures; the rest is ignored"),
        );
    }
    let bytes = if kind == ECDSA { without_padding(value) } else { value };
    // A bootloader takes any whose key it knows: one group.
    signatures.push(Signature {
        covers,
        key_id: key_id.map(ToOwned::to_owned),
        ..Signature::new(algorithm, signed, bytes.to_vec())
    });
}

/// An ECDSA signature in DER without the zeros that MCUboot before 1.5 wanted behind it (`imgtool
/// --pad-sig`).
fn without_padding(signature: &[u8]) -> &[u8] {
    match signature {
        [0x30, length @ ..0x80, ..] => signature.get(..2 + usize::from(*length)).unwrap_or(signature),
        _ => signature,
    }
}

/// The software type of a boot record, which imgtool writes first: a CBOR map (RFC 8949) whose key 1 is a
/// short text.
fn software_type(value: &[u8]) -> Option<String> {
    let [0xa0..=0xb7, 1, length @ 0x60..=0x77, rest @ ..] = value else { return None };
    Some(text_of(rest.get(..usize::from(length - 0x60))?))
}

/// A value that is a text of two or more characters, such as a board's name.
fn printable(value: &[u8]) -> Option<String> {
    let end = value.iter().rposition(|byte| *byte != 0)? + 1;
    let text = std::str::from_utf8(&value[..end]).ok()?;
    (text.chars().count() >= 2 && text.len() <= Facts::LONGEST_TEXT && !text.contains(char::is_control))
        .then(|| text.to_owned())
}

fn hex_text(value: &[u8]) -> String {
    match value.get(..LONGEST_HEX) {
        Some(start) if value.len() > LONGEST_HEX => {
            format!("{}… ({} bytes)", hex::encode(start), value.len())
        }
        _ => hex::encode(value),
    }
}
