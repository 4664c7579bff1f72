//! Links with Akamai tokens: each opens one object, for a while.
//!
//! The token's algorithm is in [`token`], all of it; what is signed here is its narrowest form, an ACL of one path. Such
//! a token depends on neither the property's "Escape token input" nor its "Ignore query string". Without a start time
//! device and edge clocks do not matter; with one, it is the window's start less `clock_skew`, since an edge whose
//! clock is behind ours would refuse a token that begins now.
//!
//! # Two keys
//! A property knows two keys, `key` and `transitionKey`, and takes tokens of either. We sign with one of ours. To change
//! it: give the property the new key as its transition key, and activate; sign with the new one (replicas may do so one by
//! one, as both are taken); once the links of old have expired, make the new key the property's `key`, and drop the old.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretBox};

use super::window;
use crate::error::{Error, Kind, Result};

pub mod token;

use token::{Grant, TokenBuilder};

/// Signs links for an Akamai property with token verification.
pub struct AkamaiToken {
    base: String,
    base_path: String,
    key: SecretBox<Vec<u8>>,
    settings: AkamaiSettings,
}

/// What a property's tokens look like.
#[derive(Debug, Clone)]
pub struct AkamaiSettings {
    /// The query parameter that carries them.
    pub name: String,
    /// The property's salt.
    pub salt: Option<String>,
    /// How long one is good after it was given out, at least.
    pub lifetime: Duration,
    /// How long before its window a token begins to be good; `None` = it has no beginning.
    pub clock_skew: Option<Duration>,
}

impl AkamaiToken {
    /// A signer. `base` is the CDN's base URL, without a trailing slash.
    ///
    /// # Errors
    /// When the base URL's path has a character that means something in a token, or is escaped: a token could then open
    /// more than one object, or none.
    pub fn new(base: String, key: Vec<u8>, settings: AkamaiSettings) -> Result<Self> {
        let after_scheme = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
        let base_path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]).to_owned();
        let signer = Self { base, base_path, key: SecretBox::new(Box::new(key)), settings };
        // What cannot be signed now never can.
        let probe = format!("{}/probe", signer.base_path);
        signer.token(&probe, DateTime::UNIX_EPOCH).map_err(|error| {
            Error::new(
                Kind::Malformed,
                "settings-invalid",
                format!(
                    "cdn.base_url or cdn.token cannot be used: {error}; when links carry a token, the path of the base \
                     URL may have only letters, digits and / . _ -"
                ),
            )
        })?;
        Ok(signer)
    }

    /// The CDN's base URL.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn write(&self, url: &mut String, key: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        let path = format!("{}/{key}", self.base_path);
        // The characters of a key are those of ObjectKey: none of them means anything in an ACL.
        let (token, expires_at) = self.token(&path, now).map_err(Error::internal)?;
        [&self.base, "/", key, "?", &self.settings.name, "=", &token]
            .iter()
            .for_each(|part| url.push_str(part));
        Ok(expires_at)
    }

    fn token(
        &self,
        path: &str,
        now: DateTime<Utc>,
    ) -> std::result::Result<(String, DateTime<Utc>), token::TokenError> {
        let (start, expires_at) = window(now, self.settings.lifetime);
        let skew = self.settings.clock_skew.map(|skew| i64::try_from(skew.as_secs()).unwrap_or(i64::MAX / 2));
        let token = TokenBuilder::new(self.key.expose_secret())
            .salt(self.settings.salt.as_deref())
            .start(skew.map(|skew| (start.timestamp() - skew).max(0)))
            .sign(expires_at.timestamp(), Grant::Object(path))?;
        Ok((token, expires_at))
    }
}

#[cfg(test)]
mod tests {
    use super::{token::verifier::accepts, *};

    const KEY: [u8; 4] = [0, 0x11, 0x22, 0x33];

    fn signer(base: &str, salt: Option<&str>, clock_skew: Option<u64>) -> Result<AkamaiToken> {
        let settings = AkamaiSettings {
            name: "hdnts".into(),
            salt: salt.map(str::to_owned),
            lifetime: Duration::from_secs(86400),
            clock_skew: clock_skew.map(Duration::from_secs),
        };
        AkamaiToken::new(base.into(), KEY.into(), settings)
    }

    fn link(signer: &AkamaiToken, at: i64) -> (String, i64) {
        let mut url = String::new();
        let now = DateTime::from_timestamp(at, 0).expect("in range");
        let expires_at =
            signer.write(&mut url, super::super::tests::key().as_str(), now).expect("a key is safe");
        (url, expires_at.timestamp())
    }

    #[test]
    fn a_link_opens_one_object() {
        let (url, expires_at) = link(&signer("https://fw.example.com/p", None, None).expect("safe"), 0);
        let expected = "https://fw.example.com/p/thermo-x/1.4.0-rc.1/app.bin?hdnts=exp=108000~acl=/p/thermo-x/1.4.0-rc.1/app.bin~hmac=";
        assert!(url.starts_with(expected), "{url}");
        assert_eq!(expires_at, 108_000);
    }

    #[test]
    fn a_token_begins_before_its_window_and_has_salt() {
        let salt = "0123456789abcdef";
        let signer = signer("https://h", Some(salt), Some(300)).expect("safe");
        let (url, expires_at) = link(&signer, 1_767_225_600 + 21_599);
        let token = url.split_once("?hdnts=").expect("there").1;
        assert!(token.starts_with("st=1767225300~exp=1767333600~acl=/thermo-x/"), "{token}");
        let edge = TokenBuilder::new(&KEY).salt(Some(salt));
        let path = "/thermo-x/1.4.0-rc.1/app.bin";
        assert!(accepts(&edge, token, path, 1_767_225_300) && accepts(&edge, token, path, expires_at));
        assert!(
            !accepts(&edge, token, path, 1_767_225_299) && !accepts(&edge, token, "/thermo-x/", expires_at)
        );
        assert!(link(&signer, 1).0.contains("?hdnts=st=0~exp="));
    }

    #[test]
    fn a_base_that_could_widen_the_grant_is_refused() {
        for base in ["https://h/a*", "https://h/a!b", "https://h/~x", "https://h/a?b", "https://h/a%20b"] {
            let error = signer(base, None, None).err().expect(base);
            assert!(error.message().contains("cdn.base_url"), "{error}");
        }
    }
}
