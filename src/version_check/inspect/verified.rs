//! Proves on the formats' own samples that the signatures that are stated do verify, by the keys that made them, and
//! that no other key's do.

use base64::{Engine, prelude::BASE64_STANDARD};
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::{Decode, Encode},
};

use super::{
    Algorithm, Covers, Report, Signature,
    trial::{sample, whole},
};
use crate::version_check::signature::is_signed;

/// A public key in PEM among the samples, in DER.
pub(super) fn key(path: &str) -> Vec<u8> {
    let pem = String::from_utf8(sample(path)).expect("PEM");
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(base64).expect("PEM")
}

/// The key in the signer's certificate.
fn certified(signature: &Signature) -> Vec<u8> {
    let certificate = CertificateInner::<Raw>::from_der(&signature.certificates[0]).expect("a certificate");
    certificate.tbs_certificate().subject_public_key_info().to_der().expect("as it was read")
}

/// Whether the owner of this public key made the signature.
pub(super) fn verifies(signature: &Signature, key: &[u8]) -> bool {
    is_signed(signature.algorithm, key, &signature.signed, &signature.bytes)
}

/// As a rule does: in each group one, and at least one.
fn is_proved(report: &Report, key: &[u8]) -> bool {
    let groups = report.signatures.iter().map(|signature| signature.group);
    let proved = |group| report.signatures.iter().any(|of| of.group == group && verifies(of, key));
    !report.signatures.is_empty() && groups.into_iter().all(proved)
}

/// Samples, and the public key that they were signed for.
const SIGNED: &[(&str, &str)] = &[
    ("mcuboot/ecdsa-p256.bin", "mcuboot/ecdsa-p256.pub.pem"),
    ("mcuboot/ecdsa-p256-full-key.bin", "mcuboot/ecdsa-p256.pub.pem"),
    ("mcuboot/ecdsa-p256-padded-signature.bin", "mcuboot/ecdsa-p256.pub.pem"),
    ("mcuboot/ecdsa-p384.bin", "mcuboot/ecdsa-p384.pub.pem"),
    ("mcuboot/rsa-2048.bin", "mcuboot/rsa-2048.pub.pem"),
    ("mcuboot/rsa-3072.bin", "mcuboot/rsa-3072.pub.pem"),
    ("mcuboot/ed25519.bin", "mcuboot/ed25519.pub.pem"),
    ("mcuboot/ed25519-sha512.bin", "mcuboot/ed25519.pub.pem"),
    ("esp/signed-rsa3072.bin", "esp/rsa3072.pub.pem"),
    ("esp/signed-bootloader.bin", "esp/rsa3072.pub.pem"),
    ("esp/signed-ecdsa256.bin", "esp/ecdsa256.pub.pem"),
    ("esp/signed-ecdsa384.bin", "esp/ecdsa384.pub.pem"),
    ("esp/signed-v1.bin", "esp/ecdsa256.pub.pem"),
    // By either of its two keys.
    ("esp/signed-twice.bin", "esp/rsa3072.pub.pem"),
    ("nordic-dfu/secure.zip", "nordic-dfu/public.pem"),
    ("nordic-dfu/secure-all.zip", "nordic-dfu/public.pem"),
    ("nordic-dfu/legacy-signed.zip", "nordic-dfu/public.pem"),
    ("mender/rsa.mender", "mender/rsa.pub.pem"),
    ("mender/ecdsa.mender", "mender/ec.pub.pem"),
    ("mender/version-2-signed.mender", "mender/ec.pub.pem"),
    ("fit/configuration-rsa-pkcs-1.5.itb", "fit/dev.pub.pem"),
    ("fit/configuration-external.itb", "fit/dev.pub.pem"),
    ("fit/configuration-ecdsa.itb", "fit/curve.pub.pem"),
];

#[test]
fn signatures_verify_by_the_key_that_made_them() {
    for (path, of) in SIGNED {
        let report = whole(path);
        assert!(is_proved(&report, &key(of)), "{path}: {:?}", report.signatures);
        let other = if of.contains("rsa-2048") { "fit/dev.pub.pem" } else { "mcuboot/rsa-2048.pub.pem" };
        assert!(!is_proved(&report, &key(other)), "{path}");
        for signature in &report.signatures {
            assert_eq!(signature.covers, Covers::Bytes, "{path}");
            let mut changed = signature.clone();
            *changed.bytes.last_mut().expect("some bytes") ^= 1;
            assert!(!verifies(&changed, &key(of)), "{path}");
        }
    }
}

#[test]
fn cms_signatures_verify_by_the_certificate_that_came_with_them() {
    for (path, algorithm) in [
        ("rauc/plain.raucb", Algorithm::RsaPkcs1Sha256),
        ("rauc/plain-zstd.raucb", Algorithm::EcdsaP256Sha256),
        ("rauc/verity.raucb", Algorithm::RsaPkcs1Sha256),
        ("rauc/verity-p256.raucb", Algorithm::EcdsaP256Sha256),
        ("rauc/verity-p384.raucb", Algorithm::EcdsaP384Sha256),
        ("rauc/crypt.raucb", Algorithm::RsaPkcs1Sha256),
        ("swupdate/cms.swu", Algorithm::RsaPkcs1Sha256),
        ("swupdate/cms-stream.swu", Algorithm::RsaPkcs1Sha256),
        ("swupdate/cms-noattr.swu", Algorithm::RsaPkcs1Sha256),
        ("swupdate/cms-pss.swu", Algorithm::RsaPssSha256),
        ("swupdate/cms-p256.swu", Algorithm::EcdsaP256Sha256),
    ] {
        let report = whole(path);
        let [signature] = &report.signatures[..] else { panic!("{path}: {:?}", report.signatures) };
        assert_eq!(signature.algorithm, algorithm, "{path}");
        assert!(is_proved(&report, &certified(signature)), "{path}");
        assert!(!is_proved(&report, &key("mcuboot/rsa-2048.pub.pem")), "{path}");
    }
}

#[test]
fn a_signature_that_does_not_say_its_scheme_verifies_in_one_of_its_readings() {
    let key = certified(&whole("swupdate/cms.swu").signatures[0]);
    for path in ["swupdate/rsa.swu", "swupdate/rsa-pss.swu"] {
        let report = whole(path);
        assert_eq!(report.signatures.len(), 2);
        assert_eq!(
            report.signatures.iter().filter(|signature| verifies(signature, &key)).count(),
            1,
            "{path}"
        );
        assert!(is_proved(&report, &key));
    }
    // Without a certificate, the key has to be known.
    let report = whole("swupdate/cms-keyid-sha512.swu");
    assert_eq!(report.signatures[0].algorithm, Algorithm::RsaPkcs1Sha512);
    assert!(is_proved(&report, &key));
}

#[test]
fn a_fit_is_proved_only_by_the_keys_of_all_its_images() {
    let report = whole("fit/image-signed.itb");
    let [dev, curve] = ["dev", "curve"].map(|name| key(&format!("fit/{name}.pub.pem")));
    assert_eq!(report.signatures.iter().map(|signature| signature.group).collect::<Vec<_>>(), [0, 1]);
    assert!(verifies(&report.signatures[0], &dev) && verifies(&report.signatures[1], &curve));
    assert!(!is_proved(&report, &dev) && !is_proved(&report, &curve));
}

#[test]
fn what_an_encrypted_image_signs_is_only_stated() {
    for (path, of) in [
        ("mcuboot/encrypted-ec256.bin", "ecdsa-p256"),
        ("mcuboot/encrypted-rsa2048.bin", "rsa-2048"),
        ("mcuboot/encrypted-x25519-aes256.bin", "ed25519"),
    ] {
        let report = whole(path);
        assert!(is_proved(&report, &key(&format!("mcuboot/{of}.pub.pem"))), "{path}");
        assert!(report.signatures.iter().all(|signature| signature.covers == Covers::StatedDigest), "{path}");
    }
    assert_eq!(whole("mcuboot/encrypted-clear.bin").signatures[0].covers, Covers::Bytes);
}
