//! Akamai Auth Token 2.0 (EdgeAuth), as an ACL token for one object.
//!
//! Source: Akamai's own libraries (PyPI `akamai-edgeauth` 0.3.2). The token is `exp=E~acl=A~hmac=H` with H = lower-case
//! hex of HMAC-SHA256 over `exp=E~acl=A` under the key's bytes. An ACL token depends on neither the property's
//! "Escape token input" nor its "Ignore query string". No start time: device clocks do not matter, edge clocks do.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;

use super::window;
use crate::error::{Error, Kind, Result};

/// Signs links for an Akamai property with token verification.
pub struct AkamaiToken {
    base: String,
    base_path: String,
    key: SecretBox<Vec<u8>>,
    name: String,
    lifetime: Duration,
}

impl AkamaiToken {
    /// A signer. `base` is the CDN's base URL, `name` the query parameter.
    ///
    /// # Errors
    /// When the base URL's path has a character that means something in an ACL (`~`, `!`, `*`, `?`): a token could
    /// then open more than one object.
    pub fn new(base: String, key: Vec<u8>, name: String, lifetime: Duration) -> Result<Self> {
        let after_scheme = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
        let base_path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]).to_owned();
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
        if !base_path.bytes().all(safe) {
            return Err(Error::new(
                Kind::Malformed,
                "settings-invalid",
                format!(
                    "cdn.base_url: its path {base_path:?} may have only letters, digits and / . _ - when links carry a token"
                ),
            ));
        }
        Ok(Self { base, base_path, key: SecretBox::new(Box::new(key)), name, lifetime })
    }

    pub(super) fn write(&self, url: &mut String, key: &str, now: DateTime<Utc>) -> DateTime<Utc> {
        let (_, expires_at) = window(now, self.lifetime);
        // The characters of a key are those of ObjectKey: none of them means anything in an ACL.
        let token = self.token(&format!("{}/{key}", self.base_path), expires_at);
        [&self.base, "/", key, "?", &self.name, "=", &token].iter().for_each(|part| url.push_str(part));
        expires_at
    }

    fn token(&self, acl: &str, expires_at: DateTime<Utc>) -> String {
        let fields = format!("exp={}~acl={acl}", expires_at.timestamp());
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.expose_secret()).expect("HMAC takes keys of any length");
        mac.update(fields.as_bytes());
        format!("{fields}~hmac={}", hex::encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(base: &str) -> Result<AkamaiToken> {
        let key = hex::decode("00112233445566778899aabbccddeeff").expect("hex");
        AkamaiToken::new(base.into(), key, "hdnts".into(), Duration::from_secs(86400))
    }

    #[test]
    fn the_token_is_that_of_akamais_library() {
        let at = DateTime::from_timestamp(1_767_225_600, 0).expect("in range");
        assert_eq!(
            signer("https://h").expect("safe").token("/fw/acme/*", at),
            "exp=1767225600~acl=/fw/acme/*~hmac=8c2e575feddc9c710af6a011d4c8b2e793226fad16206c51d1a33d55cb4007d0"
        );
    }

    #[test]
    fn a_link_opens_one_object() {
        let mut url = String::new();
        let signer = signer("https://fw.example.com/p").expect("safe");
        let expires_at = signer.write(&mut url, super::super::tests::key().as_str(), DateTime::UNIX_EPOCH);
        let expected = "https://fw.example.com/p/thermo-x/1.4.0-rc.1/app.bin?hdnts=exp=108000~acl=/p/thermo-x/1.4.0-rc.1/app.bin~hmac=";
        assert!(url.starts_with(expected), "{url}");
        assert_eq!(expires_at.timestamp(), 108_000);
    }

    #[test]
    fn a_base_that_could_widen_the_grant_is_refused() {
        for base in ["https://h/a*", "https://h/a!b", "https://h/~x", "https://h/a?b"] {
            assert!(signer(base).is_err(), "{base}");
        }
    }
}
