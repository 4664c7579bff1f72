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
            (RSA_PSS, SHA256) => match identifier.parameters.and_then(|parameters| pss_salt(parameters).ok())
            {
                Some(32) => Ok(Algorithm::RsaPssSha256),
                Some(salt) => Err(format!(
                    "RSASSA-PSS and a salt of {salt} bytes: sign with `-keyopt rsa_pss_saltlen:32` to have \
                     it verified"
                )),
                None => Err("RSASSA-PSS with parameters that are not read here".into()),
            },
            (ECDSA_SHA256, SHA256) if curve.is_none_or(|curve| curve == P256) => {
                Ok(Algorithm::EcdsaP256Sha256)
            }
            (ECDSA_SHA384, SHA384) if curve.is_none_or(|curve| curve == P384) => {
                Ok(Algorithm::EcdsaP384Sha384)
            }
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

/// The salt length of RSASSA-PSS parameters (RFC 8017, A.2.3) where both hashes are SHA-256.
fn pss_salt(parameters: AnyRef<'_>) -> Asn1<u16> {
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
    if hash.map(|hash| hash.value.oid) != Some(SHA256) || mask_hash != Some(SHA256) {
        return Err(Tag::Sequence.value_error().into());
    }
    Ok(salt.map_or(20, |salt| salt.value))
}
