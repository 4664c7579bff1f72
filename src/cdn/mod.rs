//! Links: where a device gets an image from.
//!
//! Three kinds, by configuration: the CDN's base URL plus the key, with or without a token; a presigned URL of the
//! bucket; the device listener itself, in the embedded default. Making a link is pure arithmetic on the key and the
//! time: no request, no state, so a check never waits for it and every replica makes the same one.
//!
//! Links that expire are signed for a window of time, not for the moment: within a quarter of their lifetime
//! they stay the same, byte for byte, so that answers can be cached and a device that resumes uses the URL it had.
//! At least the whole lifetime is left when one is given out.
//!
//! A product may be public, private, or as the settings have it ([`Terms`]), and may prefer a short link of the device
//! listener, which answers with the way to the image ([`ShortLinks`]). The measures of all these are told to the version
//! check, which refuses what a product's devices could not use.
//! [`datastream`] reads what the CDN's logs say of downloads; [`property`] checks the rules of an Akamai property.
//!
//! Links are made without a word to anybody. Three submodules do talk to the CDN, for reconcilers and never for a check:
//! [`purge`] makes it forget, [`edgegrid`] signs such requests, and [`gate`] fetches an image back as a device would.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{bucket::ObjectKey, error::Result};

mod agent;
pub mod akamai;
mod base;
pub mod datastream;
pub mod edgegrid;
mod elsewhere;
pub mod g2o;
pub mod gate;
mod presign;
pub mod property;
pub mod purge;
mod terms;

pub use akamai::{AkamaiSettings, AkamaiToken};
pub use base::Base;
pub use elsewhere::{Away, Elsewhere};
pub use presign::Presigner;
pub use terms::{SEAL_PARAMETER, SHORT_PATH, ShortLinks, Terms, UNSIGNABLE};

/// The path below which the device listener serves images of a directory bucket.
pub const DOWNLOAD_PATH: &str = "/v1/download/";

/// Makes links.
pub enum Links {
    /// Base URL (without a trailing slash) + `/` + key.
    Cdn(String),
    /// The same with an Akamai token as query.
    AkamaiToken(AkamaiToken),
    /// Presigned URLs of an S3 bucket.
    Presigned(Presigner),
    /// The device listener.
    Device(Base),
    /// One of the others, and the backup's base URL for what the bucket does not have.
    WithBackup(Box<Links>, Arc<Elsewhere>),
}

/// A link to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The URL.
    pub url: String,
    /// When it stops working; `None` = never.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Links {
    /// The link to an image, as given out at `now`. `host` is what the request names as its host.
    ///
    /// # Errors
    /// When signing fails, which no key of ours makes it do.
    pub fn link(&self, key: &ObjectKey, now: DateTime<Utc>, host: &str) -> Result<Link> {
        let mut url = String::new();
        let expires_at = self.write(&mut url, key.as_str(), now, host)?;
        Ok(Link { url, expires_at })
    }

    /// Whether a link depends on the word of who asks: a cache must not give it to others.
    pub fn is_askers_word(&self, host: &str) -> bool {
        match self {
            Self::Device(base) => base.is_askers_word(host),
            Self::WithBackup(links, _) => links.is_askers_word(host),
            Self::Cdn(_) | Self::AkamaiToken(_) | Self::Presigned(_) => false,
        }
    }

    /// Writes the link's URL to the end of a text and says when it stops working. The key is a text as [`ObjectKey`]
    /// writes it. What is written needs no escaping in JSON if `host` needs none.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub fn write(
        &self,
        url: &mut String,
        key: &str,
        now: DateTime<Utc>,
        host: &str,
    ) -> Result<Option<DateTime<Utc>>> {
        let plain = |url: &mut String, parts: &[&str]| {
            parts.iter().for_each(|part| url.push_str(part));
            Ok(None)
        };
        match self {
            Self::Cdn(base) => plain(url, &[base, "/", key]),
            Self::Device(base) => {
                base.write(url, host);
                plain(url, &[DOWNLOAD_PATH, key])
            }
            Self::AkamaiToken(token) => token.write(url, key, now).map(Some),
            Self::Presigned(presigner) => presigner.write(url, key, now).map(Some),
            Self::WithBackup(links, elsewhere) => match elsewhere.base_of(key) {
                Some(base) => plain(url, &[base, "/", key]),
                None => links.write(url, key, now, host),
            },
        }
    }
}

/// When the window that `now` is in began, and when what is signed in it expires.
fn window(now: DateTime<Utc>, lifetime: Duration) -> (DateTime<Utc>, DateTime<Utc>) {
    let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 8).max(4);
    let width = lifetime / 4;
    let start = now.timestamp().div_euclid(width) * width;
    let at = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap_or(now + TimeDelta::days(7));
    (at(start), at(start + width + lifetime))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{FileName, ProductName, Version};

    pub(crate) fn key() -> ObjectKey {
        let version = Version::parse("1.4.0-rc.1").expect("valid");
        let product = ProductName::parse("thermo-x").expect("valid");
        ObjectKey::image(&product, &version, &FileName::parse("app.bin").expect("valid"))
    }

    #[test]
    fn plain_links_are_base_and_key() {
        let now = DateTime::UNIX_EPOCH;
        let url = |links: Links| links.link(&key(), now, "fw.local:8080").expect("a link").url;
        assert_eq!(
            url(Links::Cdn("https://fw.example.com/x".into())),
            "https://fw.example.com/x/thermo-x/1.4.0-rc.1/app.bin"
        );
        for (https, scheme) in [(false, "http"), (true, "https")] {
            assert_eq!(
                url(Links::Device(Base::named(https, ([127, 0, 0, 1], 8080).into()))),
                format!("{scheme}://fw.local:8080/v1/download/thermo-x/1.4.0-rc.1/app.bin")
            );
        }
        assert_eq!(
            url(Links::Device(Base::Set("https://up.example.com".into()))),
            "https://up.example.com/v1/download/thermo-x/1.4.0-rc.1/app.bin"
        );
    }

    proptest! {
        #[test]
        fn a_whole_lifetime_is_left(now in 0i64..4_000_000_000, lifetime in 60u64..600_000) {
            let now = DateTime::from_timestamp(now, 0).expect("in range");
            let (start, end) = window(now, Duration::from_secs(lifetime));
            prop_assert!(start <= now);
            prop_assert!((end - now).num_seconds() >= lifetime as i64);
            prop_assert!((end - start).num_seconds() <= (lifetime + lifetime / 4) as i64);
        }
    }
}
