//! X.509 certificates (RFC 5280), as far as firmware signatures need them: which key is inside, and which certificate
//! has issued which.
//!
//! A signer is trusted if the policy lists its certificate or its key, or a certificate that issued it, directly or
//! through certificates that came with the signature. Each link is one of names and of a signature that verifies, and
//! whoever issues must be an authority (basic constraints, and key usage where stated; a listed certificate without
//! extensions is taken at its word). Not judged: purposes, policies, name constraints, revocation. The time is told
//! apart, since most devices do not look at it.

use std::time::Duration;

use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::{Decode, Encode, asn1::ObjectIdentifier},
    ext::pkix::{BasicConstraints, KeyUsage},
};

use super::{
    key::{Key, KeyKind, is_ed25519},
    verify::is_signed,
};
use crate::version_check::inspect::{Algorithm, Signed};

/// No chain of firmware certificates is longer.
const LONGEST_CHAIN: usize = 8;

/// A certificate that was read.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    /// DER of the `SubjectPublicKeyInfo`.
    pub public_key: Vec<u8>,
    /// The subject, for people.
    pub subject: String,
    /// From when and until when it is valid, since 1970.
    pub valid: (Duration, Duration),
    der: Vec<u8>,
    issuer_name: Vec<u8>,
    subject_name: Vec<u8>,
    signed: Vec<u8>,
    algorithm: Option<Algorithm>,
    signature: Vec<u8>,
    /// `None` = it has no basic constraints.
    authority: Option<bool>,
    signs_certificates: bool,
}

impl Certificate {
    /// Reads a certificate; `None` = it is none, or one that is not well-formed.
    pub fn read(der: &[u8]) -> Option<Self> {
        let certificate = CertificateInner::<Raw>::from_der(der).ok()?;
        let body = certificate.tbs_certificate();
        let constraints = body.get_extension::<BasicConstraints>().ok()?;
        let usage = body.get_extension::<KeyUsage>().ok()?;
        let validity = body.validity();
        Some(Self {
            public_key: body.subject_public_key_info().to_der().ok()?,
            subject: body.subject().to_string(),
            valid: (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration()),
            der: der.to_vec(),
            issuer_name: body.issuer().to_der().ok()?,
            subject_name: body.subject().to_der().ok()?,
            signed: body.to_der().ok()?,
            algorithm: algorithm(certificate.signature_algorithm().oid),
            signature: certificate.signature().as_bytes()?.to_vec(),
            authority: constraints.map(|(_, constraints)| constraints.ca),
            signs_certificates: usage.is_none_or(|(_, usage)| usage.key_cert_sign()),
        })
    }

    /// Whether `issuer` has issued it.
    fn is_issued_by(&self, issuer: &Self) -> bool {
        let signed = Signed::Message(self.signed.clone());
        self.issuer_name == issuer.subject_name
            && self
                .algorithm
                .is_some_and(|algorithm| is_signed(algorithm, &issuer.public_key, &signed, &self.signature))
    }

    /// Whether it is valid at that time since 1970.
    pub fn is_valid_at(&self, now: Duration) -> bool {
        self.valid.0 <= now && now <= self.valid.1
    }
}

/// The scheme of a certificate's signature, by its identifier (RFC 5758, RFC 4055, RFC 8410).
fn algorithm(identifier: ObjectIdentifier) -> Option<Algorithm> {
    if is_ed25519(identifier) {
        return Some(Algorithm::Ed25519);
    }
    match identifier.to_string().as_str() {
        "1.2.840.113549.1.1.11" => Some(Algorithm::RsaPkcs1Sha256),
        "1.2.840.113549.1.1.12" => Some(Algorithm::RsaPkcs1Sha384),
        "1.2.840.113549.1.1.13" => Some(Algorithm::RsaPkcs1Sha512),
        "1.2.840.113549.1.1.10" => Some(Algorithm::RsaPssSha256),
        "1.2.840.10045.4.3.2" => Some(Algorithm::EcdsaP256Sha256),
        "1.2.840.10045.4.3.3" => Some(Algorithm::EcdsaP384Sha384),
        _ => None,
    }
}

/// The listed key or certificate by which the signer is trusted. `others` came with the signature.
pub(super) fn trusted_by<'k>(
    signer: &Certificate,
    others: &[Certificate],
    keys: &'k [Key],
) -> Option<&'k Key> {
    if let Some(key) = keys.iter().find(|key| key.public_key == signer.public_key) {
        return Some(key);
    }
    let mut at = signer;
    for _ in 0..LONGEST_CHAIN {
        let listed = keys.iter().find(|key| match &key.kind {
            KeyKind::Certificate(listed) => {
                listed.der == at.der
                    || (listed.authority != Some(false)
                        && listed.signs_certificates
                        && at.is_issued_by(listed))
            }
            _ => false,
        });
        if listed.is_some() {
            return listed;
        }
        at = others.iter().find(|other| {
            other.der != at.der
                && other.authority == Some(true)
                && other.signs_certificates
                && at.is_issued_by(other)
        })?;
    }
    None
}
