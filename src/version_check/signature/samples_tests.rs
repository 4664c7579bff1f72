//! Signatures as the formats' own tools make them (`tests/samples`), judged with the keys that they were made with.

use super::*;
use crate::version_check::inspect::{FaultKind, Inspection};

fn read(path: &str) -> Vec<u8> {
    let path = format!("{}/tests/samples/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn inspected(image: &[u8]) -> Report {
    let mut inspection = Inspection::default();
    image.chunks(4096).for_each(|chunk| inspection.update(chunk));
    inspection.finish()
}

fn listing(key: String) -> Policy {
    let keys = vec![SigningKey { name: "listed".into(), key }];
    Policy { keys, require_signature: true, ..Policy::default() }
}

/// The key that signed an image: the one in that file, or else the certificate that came with the signature.
fn listed(key: &str, report: &Report) -> Policy {
    if !key.is_empty() {
        return listing(String::from_utf8(read(key)).expect("PEM"));
    }
    let der = &report.signatures[0].certificates[0];
    let text = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, der);
    let lines = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII"));
    let lines: Vec<&str> = lines.collect();
    listing(format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")))
}

fn codes(policy: &Policy, report: &Report) -> Vec<String> {
    let mut findings = Findings::new(policy);
    // All certificates of the samples are valid then.
    judge(policy, report, None, Duration::from_secs(1_900_000_000), &mut findings);
    findings.reasons.into_iter().map(|reason| reason.code.into_owned()).collect()
}

/// Images, and the key that signed them.
const SIGNED: [(&str, &str); 17] = [
    ("mcuboot/ecdsa-p256.bin", "mcuboot/ecdsa-p256.pub.pem"),
    ("mcuboot/ecdsa-p256-full-key.bin", "mcuboot/ecdsa-p256.pub.pem"),
    ("mcuboot/ecdsa-p256-padded-signature.bin", "mcuboot/ecdsa-p256.pub.pem"),
    ("mcuboot/ecdsa-p384.bin", "mcuboot/ecdsa-p384.pub.pem"),
    ("mcuboot/ed25519.bin", "mcuboot/ed25519.pub.pem"),
    ("mcuboot/rsa-2048.bin", "mcuboot/rsa-2048.pub.pem"),
    ("mcuboot/rsa-3072.bin", "mcuboot/rsa-3072.pub.pem"),
    ("esp/signed-rsa3072.bin", "esp/rsa3072.pub.pem"),
    ("esp/signed-ecdsa256.bin", "esp/ecdsa256.pub.pem"),
    ("fit/configuration-rsa-pkcs-1.5.itb", "fit/dev.pub.pem"),
    ("fit/configuration-ecdsa.itb", "fit/curve.pub.pem"),
    ("mender/rsa.mender", "mender/rsa.pub.pem"),
    ("mender/ecdsa.mender", "mender/ec.pub.pem"),
    ("rauc/verity.raucb", ""),
    ("rauc/verity-p256.raucb", ""),
    ("swupdate/cms.swu", ""),
    ("swupdate/cms-p256.swu", ""),
];

#[test]
fn what_the_formats_tools_sign_is_verified_with_the_listed_key() {
    for (image, key) in SIGNED {
        let report = inspected(&read(image));
        assert_eq!(codes(&listed(key, &report), &report), [""; 0], "{image}");
        let other = if key == "mcuboot/rsa-2048.pub.pem" {
            "mcuboot/ecdsa-p256.pub.pem"
        } else {
            "mcuboot/rsa-2048.pub.pem"
        };
        assert_eq!(
            codes(&listed(other, &report), &report),
            ["signature-key-unknown"],
            "{image} with another key"
        );
    }
}

#[test]
fn what_is_changed_after_it_was_signed_is_refused() {
    for (image, key) in SIGNED {
        let mut bytes = read(image);
        let policy = listed(key, &inspected(&bytes));
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        let report = inspected(&bytes);
        let told = codes(&policy, &report);
        let broken = report.faults.iter().any(|fault| fault.kind != FaultKind::Padded);
        assert!(broken || !told.is_empty(), "{image}: a flipped bit is not seen");
    }
}

#[test]
fn what_is_not_signed_is_missing_its_signature() {
    for (image, key) in [
        ("mcuboot/unsigned.bin", "mcuboot/rsa-2048.pub.pem"),
        ("mender/plain.mender", "mender/rsa.pub.pem"),
        ("swupdate/unsigned.swu", "mender/rsa.pub.pem"),
        ("esp/esp32.bin", "esp/rsa3072.pub.pem"),
        // With a salt of another length than is verified here, so it counts as none.
        ("fit/configuration-rsa-pss.itb", "fit/dev.pub.pem"),
    ] {
        assert_eq!(
            codes(&listing(String::from_utf8(read(key)).expect("PEM")), &inspected(&read(image))),
            ["signature-missing"],
            "{image}"
        );
    }
}
