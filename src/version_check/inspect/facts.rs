//! What an inspection yields: facts, faults, and signatures with what they sign.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::Version;

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

/// What an image says of itself. Kept with the image in the catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Facts {
    /// The format's stable code, such as `mcuboot`, `esp-app`, `raw`.
    pub format: String,
    /// The version exactly as the image states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The same as SemVer, by the format's own mapping, without build metadata; absent = it cannot be read as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub semver: Option<Version>,
    /// What else the version may stand for, where it is a bare number and the format has several customs, such as
    /// 66304 for 1.3.0 and for 6.63.4: a declared version that is among them is not contradicted.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = BTreeSet<String>)]
    pub semver_readings: BTreeSet<Version>,
    /// What it says it is for: products, projects, boards, chips, as `(kind, name)`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<(NameKind, String)>,
    /// The security or anti-rollback counter: a device that has seen a higher one refuses the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_counter: Option<u64>,
    /// When it was built, as the image states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built_at: Option<String>,
    /// Whether it carries a signature of its own format.
    pub signed: bool,
    /// Which keys signed it, as the format names them: a key's hash or id in lower-case hex, a certificate's subject.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key_ids: Vec<String>,
    /// The digest over itself that it carries and that was found right, as `sha256:HEX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_digest: Option<String>,
    /// What it carries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub payloads: Vec<Payload>,
    /// How many bytes it takes in the device's flash or memory, where the format says so and that is not the file's
    /// size; in bytes. Compared with the size of a slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed_size: Option<u64>,
    /// Everything else worth showing to a person, as `(label, value)`; bounded by [`Facts::MOST_DETAILS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<(String, String)>,
}

/// What a name in an image names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NameKind {
    /// A product or project: ESP's project name, a uImage's name, an AppStream component.
    Product,
    /// What the format calls compatible: RAUC's, FIT's, Mender's device types.
    Compatible,
    /// A board or hardware revision: SWUpdate's hardware-compatibility, Zigbee's hardware range.
    Hardware,
    /// A chip or processor family: ESP's chip, UF2's family, ELF's machine.
    Chip,
    /// A manufacturer or vendor.
    Vendor,
}

/// A part that an image carries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Payload {
    /// A file name, a partition, an address; what the format has.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// As `sha256:HEX`, `crc32:HEX`, …: what the format states of it and was found right.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<String>,
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

impl Facts {
    /// The most entries in `details`.
    pub const MOST_DETAILS: usize = 100;
    /// The longest text that is kept of one fact, in bytes; longer ones are cut.
    pub const LONGEST_TEXT: usize = 512;
    /// The most payloads that are listed.
    pub const MOST_PAYLOADS: usize = 100;

    /// Facts of a format, for now nothing but that.
    pub fn of(format: &str) -> Self {
        Self { format: format.to_owned(), ..Self::default() }
    }

    /// States the version as the image has it, and as SemVer if it can be read as one: `1.4.0`, `v1.4.0`, with
    /// pre-release, build metadata dropped. Formats with another mapping set `semver` themselves.
    pub fn set_version(&mut self, text: &str) {
        self.semver = Version::parse_reported(text).ok();
        self.version = Some(text_of(text.as_bytes()));
    }

    /// Adds a name; empty ones are left out.
    pub fn name(&mut self, kind: NameKind, name: &str) {
        if !name.is_empty() && self.names.len() < Self::MOST_DETAILS {
            self.names.insert((kind, text_of(name.as_bytes())));
        }
    }

    /// Adds a detail; empty ones and those beyond the limit are left out.
    pub fn detail(&mut self, label: &str, value: impl AsRef<str>) {
        let value = value.as_ref();
        if !value.is_empty() && self.details.len() < Self::MOST_DETAILS {
            self.details.push((label.to_owned(), text_of(value.as_bytes())));
        }
    }

    /// Adds a payload; those beyond the limit are left out.
    pub fn payload(&mut self, payload: Payload) {
        if self.payloads.len() < Self::MOST_PAYLOADS {
            self.payloads.push(Payload { name: text_of(payload.name.as_bytes()), ..payload });
        }
    }
}

impl Report {
    /// Adds a fault. The same kind is kept up to ten times: a hostile image must not write a book.
    pub fn fault(&mut self, kind: FaultKind, message: impl Into<String>) {
        if self.faults.iter().filter(|fault| fault.kind == kind).count() < 10 {
            self.faults.push(Fault { kind, message: message.into() });
        }
    }
}

/// Bytes of an image as a text that is safe to show: up to a NUL, invalid UTF-8 and control characters replaced, cut
/// to [`Facts::LONGEST_TEXT`].
pub(super) fn text_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()).min(Facts::LONGEST_TEXT);
    let text = String::from_utf8_lossy(&bytes[..end]);
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
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
