//! The keys that a policy lists, as they are written: PEM, minisign, or the bare 32 bytes of an Ed25519 key.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use x509_cert::{
    der::{Decode, Encode, asn1::ObjectIdentifier, pem},
    spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef},
};

use super::certificate::Certificate;
use crate::domain::policy::SigningKey;

/// RFC 8410, 3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// How an Ed25519 key begins as a `SubjectPublicKeyInfo` (RFC 8410, 4): all but its 32 bytes is always the same.
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key that was read.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// For people.
    pub name: String,
    /// DER of the `SubjectPublicKeyInfo`.
    pub public_key: Vec<u8>,
    /// What else it is.
    pub kind: KeyKind,
}

/// The forms that a key comes in.
#[derive(Debug, Clone)]
pub(super) enum KeyKind {
    /// Nothing but the key.
    Plain,
    /// With the id by which minisign's signatures name it.
    Minisign([u8; 8]),
    /// In a certificate.
    Certificate(Box<Certificate>),
}

impl Key {
    /// Reads a key.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn read(key: &SigningKey) -> Result<Self, String> {
        let text = key.key.trim();
        let (public_key, kind) =
            if text.starts_with("-----BEGIN") { read_pem(text) } else { read_line(text) }?;
        Ok(Self { name: key.name.clone(), public_key, kind })
    }

    /// The bare Ed25519 key, if it is one.
    pub fn ed25519(&self) -> Option<[u8; 32]> {
        self.public_key.strip_prefix(&ED25519_PREFIX)?.try_into().ok()
    }

    /// Whether a format that names keys by a digest means this one: MCUboot and others hash the whole DER, or (RSA) what
    /// is inside it.
    pub fn is_named(&self, key_id: &str) -> bool {
        let inside = SubjectPublicKeyInfoRef::from_der(&self.public_key).ok();
        let inside = inside.and_then(|info| info.subject_public_key.as_bytes());
        [Some(self.public_key.as_slice()), inside]
            .into_iter()
            .flatten()
            .any(|bytes| hex::encode(Sha256::digest(bytes)) == key_id)
    }
}

fn read_pem(text: &str) -> Result<(Vec<u8>, KeyKind), String> {
    let (label, der) =
        pem::decode_vec(text.as_bytes()).map_err(|error| format!("is no PEM block: {error}"))?;
    match label {
        "PUBLIC KEY" => {
            let info = SubjectPublicKeyInfoOwned::from_der(&der)
                .map_err(|error| format!("is no public key: {error}"))?;
            info.to_der()
                .map(|der| (der, KeyKind::Plain))
                .map_err(|error| format!("is no public key: {error}"))
        }
        "CERTIFICATE" => {
            let certificate = Certificate::read(&der).ok_or("is no X.509 certificate that can be read")?;
            Ok((certificate.public_key.clone(), KeyKind::Certificate(Box::new(certificate))))
        }
        label if label.contains("PRIVATE") => {
            Err("is a private key: list the public one, and take this one out of \
                                                   the terminal's history"
                .into())
        }
        label => Err(format!(
            "is a {label}: use PUBLIC KEY or CERTIFICATE (openssl pkey -pubout makes the former)"
        )),
    }
}

fn read_line(text: &str) -> Result<(Vec<u8>, KeyKind), String> {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let hex = hex::decode(line).ok().filter(|bytes| bytes.len() == 32);
    let bytes = hex.or_else(|| BASE64_STANDARD.decode(line).ok()).unwrap_or_default();
    let ed25519 = |key: &[u8]| [&ED25519_PREFIX, key].concat();
    match bytes.as_slice() {
        // https://jedisct1.github.io/minisign/#public-key-format: algorithm, id, key.
        [b'E', b'd', rest @ ..] if rest.len() == 40 => {
            let (id, key) = rest.split_at(8);
            Ok((ed25519(key), KeyKind::Minisign(id.try_into().expect("it was split there"))))
        }
        key if key.len() == 32 => Ok((ed25519(key), KeyKind::Plain)),
        _ => Err("is neither a PEM block, nor a minisign public key, nor an Ed25519 key of 32 bytes in base64 or hex".into()),
    }
}

/// Whether it is the identifier of Ed25519.
pub(super) fn is_ed25519(identifier: ObjectIdentifier) -> bool {
    identifier == ED25519
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str) -> Result<Key, String> {
        Key::read(&SigningKey { name: "k".into(), key: key.into() })
    }

    #[test]
    fn a_key_is_read_in_each_of_its_forms() {
        let hex = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let bytes = hex::decode(hex).expect("hex");
        for text in [hex.to_owned(), BASE64_STANDARD.encode(&bytes)] {
            assert_eq!(read(&text).expect("an Ed25519 key").ed25519().expect("is one").as_slice(), bytes);
        }
        let minisign = "untrusted comment: minisign public key 62EC6E0F78B81CB9\n\
                        RWS5HLh4D27sYtd7zjIhKFwqcbCUcU1sBJSI6VhWNq4VhYbMZ6SGlS8P";
        let key = read(minisign).expect("a minisign key");
        assert!(matches!(key.kind, KeyKind::Minisign(_)) && key.ed25519().is_some());
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            BASE64_STANDARD.encode([&ED25519_PREFIX[..], &bytes].concat())
        );
        let key = read(&pem).expect("PEM");
        assert_eq!(key.ed25519().expect("is one").as_slice(), bytes);
        assert!(key.is_named(&hex::encode(Sha256::digest(&key.public_key))));
        assert!(key.is_named(&hex::encode(Sha256::digest(&bytes))) && !key.is_named("00"));
    }

    #[test]
    fn what_is_no_key_is_told() {
        for (text, why) in [
            ("", "neither"),
            ("hello", "neither"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "private"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "no X.509"),
            ("-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----", "DH PARAMETERS"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no public key"),
        ] {
            let told = read(text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
