//! Which scheme a signer signs with (RFC 3370, RFC 4056, RFC 5754, RFC 8419).

use x509_cert::{
    der::{
        AnyRef, Decode, SliceReader, Tag, TagNumber, Tagged,
        asn1::{ContextSpecific, ObjectIdentifier},
    },
    spki::AlgorithmIdentifierRef,
};

use super::{
    super::Algorithm,
    SHA256, SHA384, SHA512, Signer,
    parse::{Asn1, Known},
};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

impl Signer {
    /// The scheme of the signature, or what it is if it is not one of [`Algorithm`].
    pub(super) fn scheme(&self, own: Option<&Known<'_>>) -> Result<Algorithm, String> {
        let Ok(identifier) = AlgorithmIdentifierRef::from_der(&self.algorithm) else {
            return Err("a scheme that is not readable".into());
        };
        let curve = own.and_then(|known| {
            let key = known.certificate.tbs_certificate().subject_public_key_info();
            key.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok()
        });
        match (identifier.oid, self.digest_algorithm) {
            (RSA | RSA_SHA256, SHA256) => Ok(Algorithm::RsaPkcs1Sha256),
            (RSA | RSA_SHA384, SHA384) => Ok(Algorithm::RsaPkcs1Sha384),
            (RSA | RSA_SHA512, SHA512) => Ok(Algorithm::RsaPkcs1Sha512),
            (RSA_PSS, digest) => pss(digest, identifier.parameters),
            (ECDSA_SHA256, SHA256) => match curve {
                None | Some(P256) => Ok(Algorithm::EcdsaP256Sha256),
                Some(P384) => Ok(Algorithm::EcdsaP384Sha256),
                Some(other) => Err(format!("ECDSA on the curve {other}, which is not verified here")),
            },
            (ECDSA_SHA384, SHA384) => match curve {
                None | Some(P384) => Ok(Algorithm::EcdsaP384Sha384),
                Some(P256) => Ok(Algorithm::EcdsaP256Sha384),
                Some(other) => Err(format!("ECDSA on the curve {other}, which is not verified here")),
            },
            (ED25519, _) => Ok(Algorithm::Ed25519),
            (scheme, digest) => {
                let curve = curve.map(|curve| format!(" on the curve {curve}")).unwrap_or_default();
                Err(format!(
                    "the scheme {scheme} with the digest {digest}{curve}, which is not verified here"
                ))
            }
        }
    }
}

/// RSASSA-PSS, if its salt is as long as its digest: verifiers take no other, though the standard leaves it free.
fn pss(digest: ObjectIdentifier, parameters: Option<AnyRef<'_>>) -> Result<Algorithm, String> {
    let (algorithm, length) = match digest {
        SHA256 => (Algorithm::RsaPssSha256, 32),
        SHA384 => (Algorithm::RsaPssSha384, 48),
        SHA512 => (Algorithm::RsaPssSha512, 64),
        other => return Err(format!("RSASSA-PSS with the digest {other}, which is not verified here")),
    };
    match parameters.and_then(|parameters| pss_salt(parameters, digest).ok()) {
        Some(salt) if salt == length => Ok(algorithm),
        Some(salt) => Err(format!(
            "RSASSA-PSS and a salt of {salt} bytes: sign with `-keyopt rsa_pss_saltlen:{length}` to have it verified"
        )),
        None => Err("RSASSA-PSS with parameters that are not read here".into()),
    }
}

/// The salt length of RSASSA-PSS parameters (RFC 8017, A.2.3) where both hashes are this one.
fn pss_salt(parameters: AnyRef<'_>, digest: ObjectIdentifier) -> Asn1<u16> {
    parameters.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(parameters.value())?;
    let hash = ContextSpecific::<AlgorithmIdentifierRef<'_>>::decode_explicit(&mut reader, TagNumber(0))?;
    let mask = ContextSpecific::<AlgorithmIdentifierRef<'_>>::decode_explicit(&mut reader, TagNumber(1))?;
    let salt = ContextSpecific::<u16>::decode_explicit(&mut reader, TagNumber(2))?;
    let mask_hash = match mask.and_then(|mask| mask.value.parameters) {
        Some(any) => Some(any.decode_as::<AlgorithmIdentifierRef<'_>>()?.oid),
        None => None,
    };
    // Absent ones stand for SHA-1.
    if hash.map(|hash| hash.value.oid) != Some(digest) || mask_hash != Some(digest) {
        return Err(Tag::Sequence.value_error().into());
    }
    Ok(salt.map_or(20, |salt| salt.value))
}
