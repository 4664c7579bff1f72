//! What an inspection yields: facts, faults, and signatures with what they sign.

use crate::domain::Version;
pub(super) use crate::domain::facts::text_of;
pub use crate::domain::facts::{Facts, NameKind, Payload};

/// All that an inspection yields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What the image says of itself.
    pub facts: Facts,
    /// What is wrong with it; empty = it is whole, as far as the format can tell.
    pub faults: Vec<Fault>,
    /// Its signatures, with what is needed to verify them. They prove who made the image if in **each**
    /// [group](Signature::group) **one** verifies; none of them = nothing can be proved here, whether
    /// [`Facts::signed`] or not.
    pub signatures: Vec<Signature>,
}

/// Something in an image that contradicts something else in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// A sentence that says what is wrong and, where there is more than one cause, what to do.
    pub message: String,
}

/// The kinds of faults; each is a rule of the version check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// It ends before the end that it states.
    Truncated,
    /// It goes on behind the end that it states.
    Padded,
    /// A digest, checksum or CRC that it carries is not that of its bytes.
    DigestWrong,
    /// It breaks the format's rules, contradicts itself, or goes over the limits of the inspection.
    Malformed,
}

/// A signature that an image carries, with what it signs: enough to verify it without the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// In each group one signature has to verify: those of a group are alternatives (by several keys, of which a
    /// device knows one; or readings of one signature that does not say its scheme), and the groups together
    /// cover the image (FIT: one for each configuration; CMS: one for each signer).
    pub group: u32,
    /// What is known of the bytes behind what it signs.
    pub covers: Covers,
    /// How it was made.
    pub algorithm: Algorithm,
    /// What was signed.
    pub signed: Signed,
    /// The signature's bytes as the format has them (ECDSA: ASN.1 DER; RSA: big-endian).
    pub bytes: Vec<u8>,
    /// Which key made it, as in [`Facts::key_ids`].
    pub key_id: Option<String>,
    /// The certificates that came with it, the signer's first, each in DER; empty where the format has none.
    pub certificates: Vec<Vec<u8>>,
}

impl Signature {
    /// The only one of its image, without key id and certificates, over what was found.
    pub(super) fn new(algorithm: Algorithm, signed: Signed, bytes: Vec<u8>) -> Self {
        Self {
            group: 0,
            covers: Covers::Bytes,
            algorithm,
            signed,
            bytes,
            key_id: None,
            certificates: Vec::new(),
        }
    }
}

/// What of an image a signature that verifies binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covers {
    /// The image's bytes: what is signed was computed of them, or states a digest that was compared with them.
    Bytes,
    /// A digest that the image states and that could not be computed again here, at least not all of it: that of
    /// an encrypted payload (MCUboot), of a hash tree whose blocks had passed (RAUC). That the bytes are those
    /// that were signed is found out by the device alone.
    StatedDigest,
}

/// What a signature signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// These bytes (bounded: a manifest, CMS signed attributes in their DER form for signing, a digest that the scheme
    /// signs as a message).
    Message(Vec<u8>),
    /// Something whose SHA-256 this is.
    Sha256([u8; 32]),
    /// Something whose SHA-384 this is.
    Sha384([u8; 48]),
    /// Something whose SHA-512 this is.
    Sha512([u8; 64]),
}

/// Signature schemes that images use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2).
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256, salt of 32 bytes (RFC 8017, 8.1).
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, salt of 48 bytes.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, salt of 64 bytes.
    RsaPssSha512,
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256Sha256,
    /// ECDSA on P-256 with SHA-384.
    EcdsaP256Sha384,
    /// ECDSA on P-384 with SHA-256: what OpenSSL does unless told otherwise.
    EcdsaP384Sha256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384Sha384,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

impl Report {
    /// Adds a fault. The same kind is kept up to ten times: a hostile image must not write a book.
    pub fn fault(&mut self, kind: FaultKind, message: impl Into<String>) {
        if self.faults.iter().filter(|fault| fault.kind == kind).count() < 10 {
            self.faults.push(Fault { kind, message: message.into() });
        }
    }
}

/// The version that a free text names among other words, such as `demo-a (v1.3.0)`: the only word that reads as
/// SemVer, and the text without it. `None` if no word does, or if different ones do: then nobody can say which is
/// meant.
pub(super) fn version_in(text: &str) -> Option<(&str, String)> {
    const AROUND: &[char] = &[',', ';', ':', '(', ')', '[', ']', '"', '\''];
    let mut found = None;
    let mut rest = String::new();
    for word in text.split_whitespace() {
        let bare = word.trim_matches(AROUND);
        match (Version::parse_reported(bare), found) {
            (Ok(_), None) => found = Some(bare),
            (Ok(_), Some(before)) if before == bare => {}
            (Ok(_), Some(_)) => return None,
            (Err(_), _) => {
                if !rest.is_empty() {
                    rest.push(' ');
                }
                rest.push_str(word);
            }
        }
    }
    found.map(|version| (version, rest.trim_end_matches([' ', ',', ';', ':', '-']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_among_words_if_there_is_only_one() {
        assert_eq!(version_in("demo-a 1.3.0"), Some(("1.3.0", "demo-a".into())));
        assert_eq!(
            version_in("demo-a firmware (v1.3.0-rc.1)"),
            Some(("v1.3.0-rc.1", "demo-a firmware".into()))
        );
        assert_eq!(version_in("1.3.0"), Some(("1.3.0", String::new())));
        assert_eq!(version_in("gateway, 1.3.0 (1.3.0)"), Some(("1.3.0", "gateway".into())));
        for none in ["", "demo-a", "Linux-5.4.238", "U-Boot 2023.01", "from 1.2.0 to 1.3.0"] {
            assert_eq!(version_in(none), None, "{none}");
        }
    }
}
