//! How single fields are read and shown: durations, lists that may come from the environment, secrets.

use std::{collections::BTreeMap, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serializer, de::DeserializeOwned, de::Error as _};

const HIDDEN: &str = "[hidden]";

/// Durations as texts such as `5m`.
pub(super) mod duration {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text).map_err(|error| {
            D::Error::custom(format!("{text:?} is no duration such as \"30s\", \"5m\", \"24h\" ({error})"))
        })
    }

    pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*value))
    }
}

/// A duration that may be absent.
pub(super) fn duration_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(from).map(Some)
}

pub(super) fn some_duration<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => duration::serialize(value, to),
        None => to.serialize_none(),
    }
}

/// A key in hex, as a property takes it (`^(0x)?[0-9a-fA-F]+$`, an even number of digits).
pub(super) fn hex_key(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode(digits).ok().filter(|key| !key.is_empty())
}

/// Sizes as numbers of bytes, or as texts such as `50MiB`.
pub mod size {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        match Either::deserialize(from)? {
            Either::Number(bytes) => Ok(Some(bytes)),
            Either::Text(text) => crate::size::parse(&text).map(Some).map_err(D::Error::custom),
        }
    }

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(crate) fn serialize<S: Serializer>(value: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(bytes) => to.serialize_u64(*bytes),
            None => to.serialize_none(),
        }
    }
}

/// A list, or its entries in one text with commas between them, as an environment variable has it.
pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        List(Vec<String>),
    }
    let entries = match Either::deserialize(from)? {
        Either::List(entries) => entries,
        Either::Text(text) => text.split(',').map(|entry| entry.trim().to_owned()).collect(),
    };
    let parse = |entry: String| T::deserialize(serde::de::value::StringDeserializer::<D::Error>::new(entry));
    entries.into_iter().filter(|entry| !entry.is_empty()).map(parse).collect()
}

pub(super) fn hidden<S: Serializer>(value: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(secret) => hidden_secret(secret, to),
        None => to.serialize_none(),
    }
}

pub(super) fn hidden_secret<S: Serializer>(_: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(HIDDEN)
}

pub(super) fn hidden_secrets<S: Serializer>(
    secrets: &BTreeMap<String, SecretString>,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(secrets.keys().map(|name| (name, HIDDEN)))
}

/// A database URL: user, host and database are worth seeing, the password and any query value are not.
pub(super) fn without_password<S: Serializer>(url: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    let url = url.expose_secret();
    let shown = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (address, query) =
                rest.split_once('?').map_or((rest, ""), |(address, query)| (address, query));
            let (credentials, host) = address.rsplit_once('@').unwrap_or(("", address));
            let user = credentials.split(':').next().unwrap_or_default();
            let credentials = if credentials.contains(':') {
                format!("{user}:{HIDDEN}@")
            } else if user.is_empty() {
                String::new()
            } else {
                format!("{user}@")
            };
            let query = if query.is_empty() { "" } else { "?…" };
            format!("{scheme}://{credentials}{host}{query}")
        }
        None => HIDDEN.to_owned(),
    };
    to.serialize_str(&shown)
}

pub(super) fn catalogue_connections() -> u32 {
    10
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn token_name() -> String {
    "hdnts".into()
}

pub(super) fn day() -> Duration {
    Duration::from_secs(24 * 3600)
}

pub(super) fn month() -> Duration {
    Duration::from_secs(30 * 24 * 3600)
}

pub(super) fn transfers() -> usize {
    16
}
