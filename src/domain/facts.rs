//! Facts: what an image says of itself. Read from its bytes by `version_check::inspect`, kept with the image in the
//! catalogue, compared by the version check with what is declared and what the channel had before.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Version;

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

/// Bytes of an image as a text that is safe to show: up to a NUL, invalid UTF-8 and control characters replaced, cut
/// to [`Facts::LONGEST_TEXT`].
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()).min(Facts::LONGEST_TEXT);
    let text = String::from_utf8_lossy(&bytes[..end]);
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
