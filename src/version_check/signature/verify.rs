//! One signature, one public key: is it one over that? By aws-lc-rs, as all cryptography of the house but the one that
//! it has not (`detached.rs`).

use aws_lc_rs::{
    digest::{Digest, SHA256, SHA384, SHA512},
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
        ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};

use crate::version_check::inspect::{Algorithm, Signed};

/// Whether `bytes` is a signature over that by the key, given as DER of a `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7).
/// A key of another kind, or one that is too weak, has signed nothing.
pub(in crate::version_check) fn is_signed(
    algorithm: Algorithm,
    public_key: &[u8],
    signed: &Signed,
    bytes: &[u8],
) -> bool {
    let verifier: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::RsaPkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RsaPkcs1Sha384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RsaPkcs1Sha512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::RsaPssSha256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::RsaPssSha384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::RsaPssSha512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
        Algorithm::EcdsaP256Sha384 => &ECDSA_P256_SHA384_ASN1,
        Algorithm::EcdsaP384Sha256 => &ECDSA_P384_SHA256_ASN1,
        Algorithm::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1,
        Algorithm::Ed25519 => &ED25519,
    };
    let key = UnparsedPublicKey::new(verifier, public_key);
    let digest = match signed {
        Signed::Message(message) => return key.verify(message, bytes).is_ok(),
        Signed::Sha256(digest) => Digest::import_less_safe(digest, &SHA256),
        Signed::Sha384(digest) => Digest::import_less_safe(digest, &SHA384),
        Signed::Sha512(digest) => Digest::import_less_safe(digest, &SHA512),
    };
    digest.is_ok_and(|digest| key.verify_digest(&digest, bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
    };
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn a_digest_is_as_good_as_its_message() {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("generates");
        let signature = pair.sign(&random, b"image").expect("signs");
        let key = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(
            pair.public_key(),
        );
        let key = key.expect("encodes");
        let is = |signed| is_signed(Algorithm::EcdsaP256Sha256, key.as_ref(), &signed, signature.as_ref());
        assert!(is(Signed::Message(b"image".to_vec())));
        assert!(is(Signed::Sha256(Sha256::digest(b"image").into())));
        assert!(!is(Signed::Message(b"other".to_vec())));
        assert!(!is(Signed::Sha512([0; 64])), "a digest that the scheme does not use");
        assert!(!is_signed(
            Algorithm::RsaPssSha256,
            key.as_ref(),
            &Signed::Sha256([0; 32]),
            signature.as_ref()
        ));
    }

    #[test]
    fn ed25519_keys_come_in_their_usual_form() {
        let pair = Ed25519KeyPair::generate().expect("generates");
        let key = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(
            pair.public_key(),
        );
        let key = key.expect("encodes");
        let signature = pair.sign(b"digest");
        let is = |message: &[u8]| {
            is_signed(
                Algorithm::Ed25519,
                key.as_ref(),
                &Signed::Message(message.to_vec()),
                signature.as_ref(),
            )
        };
        assert!(is(b"digest") && !is(b"other"));
    }
}
