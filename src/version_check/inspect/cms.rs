//! Cryptographic Message Syntax (RFC 5652), as RAUC bundles and SWUpdate archives are signed with it.
//!
//! Layout: `ContentInfo` { type, content }; the content is a `SignedData` (3: RFC 5652, 5.1): digest
//! algorithms, the content that is signed (inside, or detached), certificates, one `SignerInfo` per signer;
//! or an `EnvelopedData` (6.1), which hides all that from everyone but its recipients.
//!
//! What it verifies: the structure, and that each signer's `messageDigest` and `contentType` attributes are
//! those of the content. Only then is the signature stated with what it signs: the signed attributes in their
//! DER form (5.4), or the content itself where there are none, so whoever verifies a [`Signature`] need not
//! look at the content again.
//!
//! Limits: 32 certificates of 16 KiB, 8 signers, 16 levels of nesting. What is beyond is a fault. OpenSSL
//! writes indefinite lengths and split strings when it streams (`openssl cms -sign -stream`): they are
//! brought to DER first ([`to_der`]).
//!
//! What it does not do: verify signatures, chains, validity or purposes; decrypt.
//!
//! The layers above tag and length are read here and not by the `cms` crate: it sorts the signed attributes
//! while reading, where signers such as OpenSSL sign them in the order in which they stand.

mod ber;
mod parse;
mod scheme;

use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::der::{Encode, asn1::ObjectIdentifier};

pub(super) use self::parse::begins;
use self::{
    ber::{header_of, to_der},
    parse::{Attributes, Known, name_text},
};
use super::{Algorithm, FaultKind, Report, Signature, Signed};

const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// The digests of signed content, by any of the algorithms that signers use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digests {
    sha256: [u8; 32],
    sha384: [u8; 48],
    sha512: [u8; 64],
}

/// Computes [`Digests`] of what passes: which one is needed is told only behind it.
#[derive(Default)]
pub(super) struct Hashing {
    sha256: Sha256,
    sha384: Sha384,
    sha512: Sha512,
}

/// What a CMS is.
pub(super) enum Cms {
    /// Signed content.
    Signed(SignedData),
    /// Encrypted content; the text says for whom.
    Enveloped(Vec<String>),
}

/// Signed content.
pub(super) struct SignedData {
    content_type: ObjectIdentifier,
    /// The content, if it is inside.
    pub content: Option<Vec<u8>>,
    certificates: Vec<Vec<u8>>,
    signers: Vec<Signer>,
}

struct Signer {
    id: SignerId,
    digest_algorithm: ObjectIdentifier,
    /// In the form that is signed: a `SET OF`, not the `[0]` that stands in the file.
    signed_attributes: Option<Vec<u8>>,
    /// DER of the `AlgorithmIdentifier`.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

enum SignerId {
    /// DER of the issuer's name, and the serial number.
    Issued(Vec<u8>, Vec<u8>),
    KeyIdentifier(Vec<u8>),
}

impl Digests {
    /// Those of bytes at hand.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hashing = Hashing::default();
        hashing.update(bytes);
        hashing.finish()
    }

    fn by(&self, algorithm: ObjectIdentifier) -> Option<(&'static str, &[u8])> {
        match algorithm {
            SHA256 => Some(("sha256", &self.sha256)),
            SHA384 => Some(("sha384", &self.sha384)),
            SHA512 => Some(("sha512", &self.sha512)),
            _ => None,
        }
    }
}

impl Hashing {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sha384.update(bytes);
        self.sha512.update(bytes);
    }

    /// The content is complete.
    pub fn finish(self) -> Digests {
        Digests {
            sha256: self.sha256.finalize().into(),
            sha384: self.sha384.finalize().into(),
            sha512: self.sha512.finalize().into(),
        }
    }
}

/// Reads a CMS in DER or BER.
///
/// # Errors
/// What is wrong with it, as the rest of a sentence that starts with what it is part of.
pub(super) fn read(bytes: &[u8]) -> Result<Cms, String> {
    let der = to_der(bytes)?;
    parse::content_info(&der)
}

/// How long the bytes say that the CMS which they begin is; `None` = they do not say it at their beginning.
pub(super) fn stated_length(bytes: &[u8]) -> Option<usize> {
    let (header, length) = header_of(bytes)?;
    header.checked_add(length?)
}

/// The place of the last thing in the bytes that begins as a CMS does.
pub(super) fn find_last(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).rev().find(|&at| bytes[at] == 0x30 && begins(&bytes[at..]))
}

impl SignedData {
    /// States the signers in the report, checks what they say of the content (of which these are the
    /// digests), and adds their signatures. `what` names the content, such as `the manifest`. Gives the
    /// digest that was found right, as `sha256:HEX`, if all signers state the right one.
    pub fn state(&self, report: &mut Report, digests: &Digests, what: &str) -> Option<String> {
        report.facts.signed = !self.signers.is_empty();
        if self.signers.is_empty() {
            report.fault(
                FaultKind::Malformed,
                format!("the CMS structure over {what} has no signer: sign it with a certificate"),
            );
        }
        let certificates: Vec<_> = self.certificates.iter().map(|der| Known::read(der)).collect();
        let mut right = None;
        let mut all = true;
        for signer in &self.signers {
            let own = certificates.iter().flatten().find(|known| signer.id.is_of(known));
            let digest = self.state_signer(report, signer, own, digests, what);
            all &= digest.is_some();
            right = right.or(digest);
        }
        right.filter(|_| all)
    }

    fn state_signer(
        &self,
        report: &mut Report,
        signer: &Signer,
        own: Option<&Known<'_>>,
        digests: &Digests,
        what: &str,
    ) -> Option<String> {
        let key_id = signer.state_key(report, own);
        let Some((name, digest)) = digests.by(signer.digest_algorithm) else {
            report.facts.detail(
                "signature not usable",
                format!(
                    "{key_id} signs with the digest algorithm {}, which is not read here",
                    signer.digest_algorithm
                ),
            );
            return None;
        };
        let signed = match &signer.signed_attributes {
            Some(attributes) => match self.attributes_fit(report, attributes, digest, what) {
                true => Signed::Message(attributes.clone()),
                false => return None,
            },
            None => match signer.digest_algorithm {
                SHA256 => Signed::Sha256(digests.sha256),
                SHA384 => Signed::Sha384(digests.sha384),
                _ => Signed::Sha512(digests.sha512),
            },
        };
        match signer.scheme(own) {
            Ok(Algorithm::Ed25519) if signer.signed_attributes.is_none() => report.facts.detail(
                "signature not usable",
                format!("{key_id} signs with Ed25519 and without signed attributes"),
            ),
            // OpenSSL's verification, which devices use, wants all signers to be right: each is a group.
            Ok(algorithm) => report.signatures.push(Signature {
                group: report.signatures.len() as u32,
                key_id: Some(key_id),
                certificates: self.certificates_from(own),
                ..Signature::new(algorithm, signed, signer.signature.clone())
            }),
            Err(scheme) => {
                report.facts.detail("signature not usable", format!("{key_id} signs with {scheme}"))
            }
        }
        // Without signed attributes nothing but the signature itself tells whether the content is the right
        // one.
        signer.signed_attributes.as_ref().map(|_| format!("{name}:{}", hex::encode(digest)))
    }

    /// Whether the signed attributes are those of this content.
    fn attributes_fit(&self, report: &mut Report, attributes: &[u8], digest: &[u8], what: &str) -> bool {
        let found = match Attributes::read(attributes) {
            Ok(found) => found,
            Err(error) => {
                report.fault(
                    FaultKind::Malformed,
                    format!("the attributes that the signer of {what} signs are broken ({error})"),
                );
                return false;
            }
        };
        if let Some(time) = &found.signing_time {
            report.facts.detail("signed at", time);
        }
        if found.content_type != Some(self.content_type) {
            report.fault(
                FaultKind::Malformed,
                format!("the signer of {what} signs another content type than that of the CMS structure"),
            );
            return false;
        }
        let Some(stated) = found.message_digest else {
            report.fault(FaultKind::Malformed, format!("the signer of {what} does not state its digest"));
            return false;
        };
        if stated != digest {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "the signature is over {what} with the digest {}, but it has {}: it was changed after \
                     it was signed, or damaged; sign it again, or upload it again",
                    hex::encode(&stated),
                    hex::encode(digest),
                ),
            );
            return false;
        }
        true
    }

    /// All certificates, the signer's first.
    fn certificates_from(&self, own: Option<&Known<'_>>) -> Vec<Vec<u8>> {
        let own = own.map(|known| known.der);
        let others = self.certificates.iter().map(Vec::as_slice).filter(|der| Some(*der) != own);
        own.into_iter().chain(others).map(<[u8]>::to_vec).collect()
    }
}

impl SignerId {
    fn is_of(&self, known: &Known<'_>) -> bool {
        let of_certificate = known.certificate.tbs_certificate();
        match self {
            Self::Issued(issuer, serial) => {
                of_certificate.serial_number().as_bytes() == serial
                    && of_certificate.issuer().to_der().is_ok_and(|der| der == *issuer)
            }
            Self::KeyIdentifier(id) => known.key_identifier.as_deref() == Some(id),
        }
    }
}

impl Signer {
    /// States who signed; gives the most telling of the names.
    fn state_key(&self, report: &mut Report, own: Option<&Known<'_>>) -> String {
        let mut key_ids = Vec::new();
        if let Some(known) = own {
            let certificate = known.certificate.tbs_certificate();
            key_ids.push(certificate.subject().to_string());
            key_ids.push(format!("serial:{}", hex::encode(certificate.serial_number().as_bytes())));
            key_ids.extend(known.key_identifier.as_deref().map(hex::encode));
            let validity = certificate.validity();
            report.facts.detail("signer valid", format!("{} to {}", validity.not_before, validity.not_after));
            if let Ok(key) = certificate.subject_public_key_info().to_der() {
                report.facts.detail("signer key sha256", hex::encode(Sha256::digest(key)));
            }
        } else {
            match &self.id {
                SignerId::Issued(issuer, serial) => {
                    report.facts.detail("signer issued by", name_text(issuer).unwrap_or_default());
                    key_ids.push(format!("serial:{}", hex::encode(serial)));
                }
                SignerId::KeyIdentifier(id) => key_ids.push(hex::encode(id)),
            }
            report.facts.detail("signer certificate", "not among those in the CMS structure");
        }
        key_ids.retain(|id| !id.is_empty());
        let key_ids: Vec<_> = key_ids.iter().map(|id| super::facts::text_of(id.as_bytes())).collect();
        let first = key_ids.first().cloned().unwrap_or_default();
        report.facts.key_ids.extend(key_ids);
        first
    }
}
