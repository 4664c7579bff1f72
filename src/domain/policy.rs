//! A policy: what a product demands of its images, and how strictly. Set by publishers on the product, applied by the
//! version check; every part is optional, and nothing is demanded that is not set.
//!
//! Reading is lenient, because an older replica reads what a newer one stored; [`Policy::unknown_key`] is for those
//! who must not overlook a mistyped key. What the values mean to the rules (that a rule's code exists, that a pattern
//! compiles, that a key can be read) is for the version check to say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ChannelName, Hardware, facts::NameKind};

/// What a product demands of its images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Policy {
    /// How strict a rule is, by its code; see docs/version-check.md.
    #[schema(value_type = Object, example = json!({"version-mismatch": "warn"}))]
    pub rules: BTreeMap<String, Severity>,
    /// The formats that are accepted, such as `esp-app`; empty = any.
    #[schema(example = json!(["esp-app"]))]
    pub formats: BTreeSet<String>,
    /// The names that are accepted, by what they name (`product`, `compatible`, `hardware`, `chip`, `vendor`).
    #[schema(value_type = Object, example = json!({"product": ["thermo"]}))]
    pub names: BTreeMap<NameKind, BTreeSet<String>>,
    /// How images name the hardware that a publisher declares.
    #[schema(value_type = Object, example = json!({"rev-a": ["vendor,thermo-a"]}))]
    pub hardware_names: BTreeMap<Hardware, BTreeSet<String>>,
    /// A regular expression with a capture named `version`, which finds the SemVer version in the text that the image
    /// states; absent = the format's own mapping.
    #[schema(example = r"^fw-(?P<version>\d+\.\d+\.\d+)")]
    pub version_pattern: Option<String>,
    /// The size of the slot or partition that an image must fit, in bytes; absent = not known.
    pub slot_bytes: Option<u64>,
    /// The same for some hardware, instead of `slot_bytes`.
    #[schema(value_type = Object, example = json!({"rev-a": 1048576}))]
    pub hardware_slot_bytes: BTreeMap<Hardware, u64>,
    /// Whether an image must be signed, by a key of `keys`: by a detached signature, or by its format's own.
    pub require_signature: bool,
    /// The keys and certificates whose signatures count.
    pub keys: Vec<SigningKey>,
    /// The channels that take pre-releases; absent = all, with a warning on `stable`.
    #[schema(value_type = Option<Vec<String>>)]
    pub pre_release_channels: Option<BTreeSet<ChannelName>>,
    /// Which lines are maintained while a higher version is out: `true` = all, or a list such as `["1", "1.2"]`.
    #[schema(value_type = Object, example = json!(["1.2"]))]
    pub maintenance: Maintenance,
}

/// How strict a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It is not looked at.
    Off,
    /// It is told, and does not stand in the way.
    Warn,
    /// What breaks it is refused.
    Refuse,
}

/// A key, or a certificate, that images are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SigningKey {
    /// For people; stands in messages.
    #[schema(example = "release-2026")]
    pub name: String,
    /// A PEM block (`PUBLIC KEY` or `CERTIFICATE`), a minisign public key, or an Ed25519 key of 32 bytes in base64 or
    /// hex.
    pub key: String,
}

/// Which lines of versions are maintained beside a higher one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Maintenance {
    /// All (`true`) or none (`false`).
    All(bool),
    /// These: `MAJOR` or `MAJOR.MINOR`.
    Lines(BTreeSet<String>),
}

impl Default for Maintenance {
    fn default() -> Self {
        Self::All(false)
    }
}

impl Policy {
    /// The path of the first key in `given` that a policy does not have, such as `policy.keys.0.knd`.
    pub fn unknown_key(given: &Value) -> Option<String> {
        let known = serde_json::to_value(serde_json::from_value::<Self>(given.clone()).ok()?).ok()?;
        unknown(given, &known, "policy")
    }
}

fn unknown(given: &Value, known: &Value, path: &str) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            known.get(key).map_or_else(|| Some(path.clone()), |known| unknown(value, known, &path))
        }),
        (Value::Array(given), Value::Array(known)) => {
            let pairs = given.iter().zip(known).enumerate();
            pairs
                .into_iter()
                .find_map(|(index, (value, known))| unknown(value, known, &format!("{path}.{index}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_is_not_known_is_named_wherever_it_is() {
        let unknown = |value: Value| Policy::unknown_key(&value);
        assert_eq!(unknown(json!({"fromats": ["raw"]})).as_deref(), Some("policy.fromats"));
        let keys = json!({"keys": [{"name": "a", "key": "b"}, {"name": "a", "key": "b", "kind": "c"}]});
        assert_eq!(unknown(keys).as_deref(), Some("policy.keys.1.kind"));
        let whole = json!({
            "rules": {"version-mismatch": "warn"}, "formats": ["esp-app"], "names": {"chip": ["esp32"]},
            "hardware_names": {"rev-a": ["demo"]}, "version_pattern": "(?P<version>.*)", "slot_bytes": 5,
            "hardware_slot_bytes": {"rev-a": 7}, "require_signature": true, "keys": [{"name": "a", "key": "b"}],
            "pre_release_channels": ["beta"], "maintenance": ["1.2"],
        });
        assert_eq!(unknown(whole.clone()), None);
        let policy: Policy = serde_json::from_value(whole.clone()).expect("fits");
        assert_eq!(serde_json::to_value(&policy).expect("plain data"), whole);
        assert_eq!(unknown(json!({"maintenance": true, "pre_release_channels": []})), None);
    }

    #[test]
    fn what_a_newer_program_stored_is_read() {
        let policy: Policy = serde_json::from_value(json!({"later": 1, "slot_bytes": 5})).expect("lenient");
        assert_eq!(policy, Policy { slot_bytes: Some(5), ..Policy::default() });
    }
}
