//! The settings of the CDN: where it is, its tokens, and its signature on requests to us.

use std::{collections::BTreeMap, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{CdnLogs, PurgeSettings, VerifyBeforeOffer, field};
use crate::error::{Error, Result};

/// The CDN.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cdn {
    /// Link = base URL + `/` + key.
    pub base_url: String,
    /// Whether an image is fetched back through it before it is offered.
    #[serde(default)]
    pub verify_before_offer: VerifyBeforeOffer,
    /// The largest image that is fetched back whole where a sample is enough.
    #[serde(default, with = "field::size", skip_serializing_if = "Option::is_none")]
    pub sample_above: Option<u64>,
    /// Whether an image is fetched whole before it is offered, so that the edge has it.
    #[serde(default)]
    pub prewarm: bool,
    /// How long it may take to fetch one image back.
    #[serde(
        default,
        serialize_with = "field::some_duration",
        deserialize_with = "field::duration_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub verify_within: Option<Duration>,
    /// Absent: links carry no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<CdnToken>,
    /// Absent: nothing is purged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge: Option<PurgeSettings>,
    /// Absent: downloads are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<CdnLogs>,
}

/// How links are signed for the CDN.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CdnToken {
    /// The scheme.
    pub kind: CdnTokenKind,
    /// Hex, after `0x` or not.
    #[serde(serialize_with = "field::hidden_secret")]
    pub key: SecretString,
    /// The other key that the property takes, while keys are changed.
    #[serde(default, serialize_with = "field::hidden", skip_serializing_if = "Option::is_none")]
    pub next_key: Option<SecretString>,
    /// Which of the two signs.
    #[serde(default)]
    pub sign_with: SigningKeyName,
    /// The property's salt: 16 characters.
    #[serde(default, serialize_with = "field::hidden", skip_serializing_if = "Option::is_none")]
    pub salt: Option<SecretString>,
    /// How long before its window a token begins to be good; absent: tokens have no beginning.
    #[serde(
        default,
        serialize_with = "field::some_duration",
        deserialize_with = "field::duration_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub clock_skew: Option<Duration>,
    /// The query parameter's name.
    #[serde(default = "field::token_name")]
    pub name: String,
    /// How long a link works after it was given out, at least.
    #[serde(with = "field::duration", default = "field::day")]
    pub lifetime: Duration,
}

/// Which of the two keys of [`CdnToken`] signs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningKeyName {
    /// `key`.
    #[default]
    Key,
    /// `next_key`.
    NextKey,
}

/// The schemes of CDN tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CdnTokenKind {
    /// Akamai Auth Token 2.0.
    Akamai,
}

/// The CDN's signature on requests, where this listener is its origin.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct G2oSettings {
    /// Whether a request without it is refused.
    #[serde(default)]
    pub required: bool,
    /// One or two, by nonce.
    #[serde(serialize_with = "field::hidden_secrets")]
    pub keys: BTreeMap<String, SecretString>,
}

impl CdnToken {
    /// The key that signs, as bytes.
    ///
    /// # Errors
    /// When it is no hex, or not there: the settings were not validated.
    pub fn signing_key(&self) -> Result<Vec<u8>> {
        let key = match self.sign_with {
            SigningKeyName::Key => &self.key,
            SigningKeyName::NextKey => self
                .next_key
                .as_ref()
                .ok_or_else(|| Error::internal("cdn.token.sign_with names a key that is not there"))?,
        };
        field::hex_key(key.expose_secret()).ok_or_else(|| Error::internal("a key of cdn.token is no hex"))
    }
}
