//! Signatures, with keys made here; certificates are made once by the script beside them.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

use super::{detached::Detached, *};
use crate::{
    domain::Facts,
    version_check::inspect::{Algorithm, Covers, Signed},
};

const IMAGE: &[u8] = b"an image that is signed as a whole";

fn signing_key(name: &str, key: impl Into<String>) -> SigningKey {
    SigningKey { name: name.into(), key: key.into() }
}

fn policy(keys: Vec<SigningKey>, require_signature: bool) -> Policy {
    Policy { keys, require_signature, ..Policy::default() }
}

fn ed25519(pair: &Ed25519KeyPair) -> SigningKey {
    signing_key("ours", BASE64_STANDARD.encode(pair.public_key()))
}

/// The codes that are refused, and those that are told.
fn codes(policy: &Policy, report: &Report, outcome: Option<&Outcome>, now: u64) -> Vec<String> {
    let mut findings = Findings::new(policy);
    judge(policy, report, outcome, Duration::from_secs(now), &mut findings);
    let told = findings.warnings.into_iter().map(|reason| format!("warns {}", reason.code));
    findings.reasons.into_iter().map(|reason| reason.code.into_owned()).chain(told).collect()
}

fn detached(policy: &Policy, signature: &Detached, image: &[u8]) -> Outcome {
    let mut verifier = signature.verifier(policy);
    image.chunks(7).for_each(|chunk| verifier.update(chunk));
    verifier.finish()
}

fn raw() -> Report {
    Report { facts: Facts::of("raw"), ..Report::default() }
}

/// As the tool writes it: <https://jedisct1.github.io/minisign/>.
fn minisign(pair: &Ed25519KeyPair, image: &[u8], prehashed: bool, comment: &str) -> (SigningKey, Detached) {
    let id = [1, 2, 3, 4, 5, 6, 7, 8];
    let signature = if prehashed {
        use blake2::Digest as _;
        pair.sign(&blake2::Blake2b512::digest(image))
    } else {
        pair.sign(image)
    };
    let global = pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
    let algorithm: &[u8] = if prehashed { b"ED" } else { b"Ed" };
    let text = format!(
        "untrusted comment: of a test\n{}\ntrusted comment: {comment}\n{}\n",
        BASE64_STANDARD.encode([algorithm, &id, signature.as_ref()].concat()),
        BASE64_STANDARD.encode(global.as_ref())
    );
    let key = [b"Ed", id.as_slice(), pair.public_key().as_ref()].concat();
    let key = format!("untrusted comment: minisign public key\n{}\n", BASE64_STANDARD.encode(key));
    (signing_key("ours", key), Detached::of(text.into_bytes()).expect("well-formed"))
}

#[test]
fn an_ed25519_signature_over_the_file_is_verified_as_it_streams() {
    let pair = Ed25519KeyPair::generate().expect("generates");
    let other = Ed25519KeyPair::generate().expect("generates");
    let signature = Detached::of(pair.sign(IMAGE).as_ref().to_vec()).expect("64 bytes");
    let ours = policy(vec![ed25519(&other), ed25519(&pair)], true);
    let good = detached(&ours, &signature, IMAGE);
    assert!(matches!(good, Outcome::Verified(key) if key == pair.public_key().as_ref()));
    assert!(codes(&ours, &raw(), Some(&good), 0).is_empty());
    let wrong = detached(&ours, &signature, b"another image");
    assert_eq!(codes(&ours, &raw(), Some(&wrong), 0), ["signature-invalid"]);
    assert_eq!(codes(&ours, &raw(), None, 0), ["signature-missing"]);
    let theirs = policy(vec![ed25519(&other)], false);
    assert_eq!(codes(&theirs, &raw(), Some(&detached(&theirs, &signature, IMAGE)), 0), ["signature-invalid"]);
    assert_eq!(
        codes(&theirs, &raw(), Some(&good), 0),
        ["signature-key-unknown"],
        "the key was taken away meanwhile"
    );
    let none = Policy::default();
    assert_eq!(
        codes(&none, &raw(), Some(&detached(&none, &signature, IMAGE)), 0),
        ["warns signature-unverified"]
    );
    assert!(codes(&none, &raw(), None, 0).is_empty());
}

#[test]
fn minisign_signatures_are_verified_with_their_comments() {
    let pair = Ed25519KeyPair::generate().expect("generates");
    for prehashed in [true, false] {
        let (key, signature) = minisign(&pair, IMAGE, prehashed, "timestamp:1");
        let ours = policy(vec![key], true);
        assert!(matches!(detached(&ours, &signature, IMAGE), Outcome::Verified(_)), "{prehashed}");
        assert_eq!(detached(&ours, &signature, b"another"), Outcome::Wrong);
        let text =
            String::from_utf8(BASE64_STANDARD.decode(signature.text()).expect("base64")).expect("text");
        let forged =
            Detached::of(text.replace("timestamp:1", "timestamp:2").into_bytes()).expect("well-formed");
        assert_eq!(detached(&ours, &forged, IMAGE), Outcome::Wrong, "the trusted comment was changed");
        let plain = policy(vec![ed25519(&pair)], true);
        let unknown = detached(&plain, &signature, IMAGE);
        assert_eq!(codes(&plain, &raw(), Some(&unknown), 0), ["signature-key-unknown"], "the key has no id");
    }
}

#[test]
fn a_signature_comes_in_base64_of_either_alphabet() {
    let bytes = vec![0xfb; 64];
    let standard = BASE64_STANDARD.encode(&bytes);
    for text in [standard.clone(), standard.replace('+', "-").replace('/', "_"), standard.replace('+', " ")] {
        assert_eq!(Detached::parse(text.trim_end_matches('=')).expect("fits").text(), standard);
    }
    for wrong in ["", "%%%", "AAAA", &BASE64_STANDARD.encode([0; 3000])] {
        assert!(Detached::parse(wrong).is_err(), "{wrong}");
    }
}

fn embedded(algorithm: Algorithm, signed: Signed, bytes: &[u8], key_id: Option<String>) -> Report {
    let mut report = Report { facts: Facts::of("mcuboot"), ..Report::default() };
    report.facts.signed = true;
    report.signatures.push(Signature {
        group: 0,
        covers: Covers::Bytes,
        algorithm,
        signed,
        bytes: bytes.to_vec(),
        key_id,
        certificates: Vec::new(),
    });
    report
}

#[test]
fn a_formats_own_signature_counts_if_its_key_is_listed() {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("generates");
    let signature = pair.sign(&random, IMAGE).expect("signs");
    let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("encodes");
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", wrapped(der.as_ref()));
    let id = hex::encode(Sha256::digest(der.as_ref()));
    let digest = Signed::Sha256(Sha256::digest(IMAGE).into());
    let report = |signed: &Signed, id: Option<&str>| {
        embedded(Algorithm::EcdsaP256Sha256, signed.clone(), signature.as_ref(), id.map(str::to_owned))
    };
    let ours = policy(vec![signing_key("ours", pem)], true);
    assert!(codes(&ours, &report(&digest, Some(&id)), None, 0).is_empty());
    assert!(codes(&ours, &report(&digest, None), None, 0).is_empty(), "found by trying");
    let other = Signed::Sha256([0; 32]);
    assert_eq!(codes(&ours, &report(&other, Some(&id)), None, 0), ["signature-invalid"]);
    assert_eq!(codes(&ours, &report(&other, Some("00")), None, 0), ["signature-key-unknown"]);
    let relaxed = policy(ours.keys.clone(), false);
    assert!(codes(&relaxed, &report(&other, Some("00")), None, 0).is_empty(), "nobody demanded it");
    assert_eq!(codes(&relaxed, &report(&other, Some(&id)), None, 0), ["signature-invalid"]);
    // In each group one is enough, and every group needs one.
    let several = |of: &[(u32, &Signed)]| {
        let mut all = report(of[0].1, Some("00"));
        all.signatures[0].group = of[0].0;
        for (group, signed) in &of[1..] {
            let mut more = report(signed, Some("00")).signatures.remove(0);
            more.group = *group;
            all.signatures.push(more);
        }
        codes(&ours, &all, None, 0)
    };
    assert!(several(&[(0, &other), (0, &digest)]).is_empty(), "alternatives");
    assert!(several(&[(0, &digest), (1, &digest)]).is_empty());
    assert_eq!(several(&[(0, &digest), (1, &other)]), ["signature-key-unknown"], "only one of two parts");
    let mut stated = report(&digest, Some(&id));
    stated.signatures[0].covers = Covers::StatedDigest;
    assert_eq!(codes(&ours, &stated, None, 0), ["warns signature-unverified"]);
    let mut opaque = raw();
    opaque.facts.signed = true;
    assert_eq!(codes(&ours, &opaque, None, 0), ["signature-missing"]);
}

fn wrapped(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    lines.join("\n")
}

/// What `tests/certificates/make` made: an authority, one below it, a signer of each, and signatures over [`IMAGE`].
macro_rules! made {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/", $name))
    };
}

fn cms(certificates: &[&[u8]], signature: &[u8]) -> Report {
    let mut report = embedded(Algorithm::EcdsaP256Sha256, Signed::Message(IMAGE.to_vec()), signature, None);
    report.signatures[0].certificates = certificates.iter().map(|der| der.to_vec()).collect();
    report
}

fn certificate(der: &[u8]) -> SigningKey {
    signing_key(
        "listed",
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", wrapped(der)),
    )
}

#[test]
fn a_signer_is_trusted_by_its_own_certificate_or_by_one_that_issued_it() {
    let (root, between, signer) = (made!("root.der"), made!("between.der"), made!("signer.der"));
    let (other, signature) = (made!("other.der"), made!("signer.sig"));
    // While all of them are valid.
    let now = 1_900_000_000;
    let judge = |listed: &[u8], sent: &[&[u8]], now| {
        codes(&policy(vec![certificate(listed)], true), &cms(sent, signature), None, now)
    };
    let nothing: [&str; 0] = [];
    assert_eq!(judge(signer, &[signer], now), nothing);
    assert_eq!(judge(between, &[signer], now), nothing);
    assert_eq!(judge(root, &[signer, between], now), nothing);
    assert_eq!(judge(root, &[signer, between, root], now), nothing);
    assert_eq!(judge(root, &[signer], now), ["signature-key-unknown"], "the one in between was not sent");
    assert_eq!(
        judge(other, &[signer, between], now),
        ["signature-key-unknown"],
        "of the same name, another key"
    );
    assert_eq!(judge(root, &[other], now), ["signature-invalid"], "another's certificate");
    assert_eq!(judge(root, &[signer, between], 0), ["warns signature-expired"]);
    assert_eq!(judge(signer, &[], now), nothing, "no certificate was sent: the listed ones are tried");
    let by_key = policy(vec![signing_key("key", String::from_utf8_lossy(made!("signer.pem")))], true);
    assert_eq!(codes(&by_key, &cms(&[signer], signature), None, now), nothing);
    // One that is no authority has issued nothing.
    let below = made!("below-signer.der");
    assert_eq!(judge(root, &[below, signer, between], now), ["signature-invalid"], "it did not sign this");
    let forged = cms(&[below, signer, between], made!("below-signer.sig"));
    assert_eq!(codes(&policy(vec![certificate(root)], true), &forged, None, now), ["signature-key-unknown"]);
}
