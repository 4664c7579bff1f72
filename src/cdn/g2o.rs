//! Akamai's signature on requests to an origin (G2O, "signature header authentication"): whether a request came through
//! our property.
//!
//! ```text
//! X-Akamai-G2O-Auth-Data: VERSION, EDGE-IP, CLIENT-IP, SECONDS-SINCE-1970, UNIQUE-ID, NONCE
//! X-Akamai-G2O-Auth-Sign: base64(MAC)
//! MAC, version 1: MD5(key ‖ data ‖ url)          2: MD5(key ‖ MD5(key ‖ data ‖ url))
//!      3, 4, 5: HMAC-MD5, -SHA1, -SHA256(key, data ‖ url)
//! ```
//! `data` is the header as it was received, `url` path and query as they were received, the key its text. The nonce names
//! the key, so that two may count while keys are changed. Source: Akamai's documentation of the behaviour `g2oheader`;
//! all versions are held to captures of live edges (`tests/vectors/g2o.json`).
//!
//! [`G2o`] accepts version 5 alone, within 30 seconds. A request that is sent again within them is accepted again: GET
//! changes nothing, and one request of a client becomes several of an edge's.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// The header with what is signed besides the URL.
pub const DATA: &str = "x-akamai-g2o-auth-data";
/// The header with the signature.
pub const SIGN: &str = "x-akamai-g2o-auth-sign";
/// The only version that is accepted.
const VERSION: &str = "5";
/// How far edge and our clock may be apart, in seconds.
const MOST_SKEW: u64 = 30;
/// How many fields the data has.
const FIELDS: usize = 6;

/// Verifies the signatures of one property.
pub struct G2o {
    /// By nonce.
    keys: Vec<(String, SecretString)>,
    /// Whether a request without a good signature is refused.
    pub required: bool,
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// A header is not there.
    Missing,
    /// The data is not of the form that edges write.
    Malformed,
    /// Another version than 5.
    Version,
    /// No key has this nonce.
    Nonce,
    /// The clocks are more than 30 seconds apart.
    Time,
    /// It is not the signature.
    Signature,
}

impl G2o {
    /// Keys by their nonces.
    pub fn new(keys: impl IntoIterator<Item = (String, SecretString)>, required: bool) -> Self {
        Self { keys: keys.into_iter().collect(), required }
    }

    /// Whether the headers' values are the signature of a request for `url`, path and query as they were received, at
    /// `now`, in seconds since 1970.
    ///
    /// # Errors
    /// Why they are not.
    pub fn verify(
        &self,
        data: Option<&str>,
        sign: Option<&str>,
        url: &str,
        now: i64,
    ) -> Result<(), Rejection> {
        let (data, sign) = data.zip(sign).ok_or(Rejection::Missing)?;
        let fields: Vec<&str> = data.split(',').map(str::trim).collect();
        let [version, _edge, _client, time, _id, nonce] =
            <[&str; FIELDS]>::try_from(fields).map_err(|_| Rejection::Malformed)?;
        if version != VERSION {
            return Err(Rejection::Version);
        }
        let time: i64 = time.parse().map_err(|_| Rejection::Malformed)?;
        let known = self.keys.iter().find(|(known, _)| known == nonce);
        let (_, key) = known.ok_or(Rejection::Nonce)?;
        let expected = mac(5, key.expose_secret(), data, url).expect("there is a version 5");
        if !bool::from(expected.as_bytes().ct_eq(sign.trim().as_bytes())) {
            return Err(Rejection::Signature);
        }
        if now.abs_diff(time) > MOST_SKEW {
            return Err(Rejection::Time);
        }
        Ok(())
    }
}

/// The signature, in base64; `None` = there is no such version.
pub(crate) fn mac(version: u8, key: &str, data: &str, url: &str) -> Option<String> {
    fn hmac<M: Mac + KeyInit>(key: &str, parts: [&str; 2]) -> Vec<u8> {
        let mut mac = <M as KeyInit>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
        parts.iter().for_each(|part| mac.update(part.as_bytes()));
        mac.finalize().into_bytes().to_vec()
    }
    let parts = [data, url];
    let first = || Md5::new().chain_update(key).chain_update(data).chain_update(url).finalize();
    let mac = match version {
        1 => first().to_vec(),
        2 => Md5::new().chain_update(key).chain_update(first()).finalize().to_vec(),
        3 => hmac::<Hmac<Md5>>(key, parts),
        4 => hmac::<Hmac<sha1::Sha1>>(key, parts),
        5 => hmac::<Hmac<sha2::Sha256>>(key, parts),
        _ => return None,
    };
    Some(BASE64_STANDARD.encode(mac))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const NOW: i64 = 1_767_225_600;
    const KEYS: [(&str, &str); 2] = [("k1", "abcdefghijklmnopqrstuvwx"), ("k2", "ABCDEFGHIJKLMNOPQRSTUVWX")];
    const URL: &str = "/v1/check?product=p&version=1.0.0&x=%2f";

    fn origin() -> G2o {
        G2o::new(KEYS.map(|(nonce, key)| (nonce.to_owned(), key.to_owned().into())), true)
    }

    fn data(version: u8, time: i64, nonce: &str) -> String {
        format!("{version}, 192.0.2.1, 198.51.100.7, {time}, 1234.5678, {nonce}")
    }

    fn verdict(version: u8, time: i64, nonce: &str, key: &str, url: &str) -> Result<(), Rejection> {
        let data = data(version, time, nonce);
        let sign = mac(version, key, &data, URL).expect("a version");
        origin().verify(Some(&data), Some(&sign), url, NOW)
    }

    #[test]
    fn signatures_are_those_of_live_edges() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/g2o.json");
        let text = std::fs::read_to_string(path).expect("the vectors are there");
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let vectors = file["vectors"].as_array().expect("a list");
        assert!(vectors.len() >= 4);
        for vector in vectors {
            let text = |name: &str| vector[name].as_str().or(file[name].as_str()).expect("a text");
            let version = vector["version"].as_u64().and_then(|version| u8::try_from(version).ok());
            let version = version.expect("a number");
            let made = mac(version, text("key"), text("data"), text("url"));
            assert_eq!(made.as_deref(), Some(text("sign")), "version {version}");
            let nonce = text("data").rsplit(", ").next().expect("the nonce");
            let time: i64 = text("data").split(", ").nth(3).expect("the time").parse().expect("seconds");
            let origin = G2o::new([(nonce.to_owned(), text("key").to_owned().into())], true);
            let verdict = origin.verify(Some(text("data")), Some(text("sign")), text("url"), time);
            let expected = if version == 5 { Ok(()) } else { Err(Rejection::Version) };
            assert_eq!(verdict, expected, "version {version}");
        }
    }

    #[test]
    fn either_key_counts_by_its_nonce() {
        let [(first, key), (second, other)] = KEYS;
        assert_eq!(verdict(5, NOW, first, key, URL), Ok(()));
        assert_eq!(verdict(5, NOW, second, other, URL), Ok(()));
        assert_eq!(verdict(5, NOW, first, other, URL), Err(Rejection::Signature));
        assert_eq!(verdict(5, NOW, "k3", key, URL), Err(Rejection::Nonce));
    }

    #[test]
    fn another_version_time_url_or_byte_does_not_count() {
        let (nonce, key) = KEYS[0];
        for version in 1..5 {
            assert_eq!(verdict(version, NOW, nonce, key, URL), Err(Rejection::Version));
        }
        assert_eq!(verdict(5, NOW - 30, nonce, key, URL), Ok(()));
        assert_eq!(verdict(5, NOW + 30, nonce, key, URL), Ok(()));
        assert_eq!(verdict(5, NOW - 31, nonce, key, URL), Err(Rejection::Time));
        assert_eq!(verdict(5, NOW + 31, nonce, key, URL), Err(Rejection::Time));
        for url in ["/v1/check?product=p&version=1.0.0&x=/", "/v1/check", "/"] {
            assert_eq!(verdict(5, NOW, nonce, key, url), Err(Rejection::Signature), "{url}");
        }
        let signed = data(5, NOW, nonce);
        let sign = mac(5, key, &signed, URL).expect("a version");
        let forged = signed.replace("198.51.100.7", "198.51.100.8");
        let verify = |data, sign| origin().verify(data, sign, URL, NOW);
        assert_eq!(verify(Some(&forged), Some(&sign)), Err(Rejection::Signature));
        assert_eq!(verify(None, Some(&sign)), Err(Rejection::Missing));
        assert_eq!(verify(Some(&signed), None), Err(Rejection::Missing));
        assert_eq!(verify(Some("5, a, b"), Some(&sign)), Err(Rejection::Malformed));
        assert_eq!(verify(Some(&signed), Some("")), Err(Rejection::Signature));
    }
}
