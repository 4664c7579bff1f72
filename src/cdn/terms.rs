//! On which terms a product's links are made, and the measures of links for the version check.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, Utc};

use super::{Base, Links, window};
use crate::{
    domain::{
        Access, LinkForm, LinkForms, Product, UrlHost, UrlScheme,
        credential::{self, SECRET_LENGTH, SHORT_ID_LENGTH, Secret},
    },
    error::{Error, Kind, Result},
};

/// The path below which the device listener gives the way to an image.
pub const SHORT_PATH: &str = "/d/";
/// The parameter of a seal.
pub const SEAL_PARAMETER: &str = "c";

/// Code of the error of a link that would have to expire and cannot.
pub const UNSIGNABLE: &str = "link-unsignable";

/// What links depend on besides the key.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The product.
    pub product: &'a str,
    /// Who may have its images; `None` = as the settings have it.
    pub access: Option<Access>,
    /// Its secrets, one after the other; the first one signs.
    pub secrets: &'a [u8],
}

/// Makes the links of the device listener itself: short ones, and sealed ones.
pub struct ShortLinks {
    /// How they begin.
    pub base: Base,
    /// How long a sealed link is good after it was given out, at least.
    pub seal_lifetime: Duration,
}

impl<'a> Terms<'a> {
    /// The terms of a product's links, with its secrets as `DeviceSecrets::to_bytes` gives them.
    pub fn of(product: &'a Product, secrets: &'a [u8]) -> Self {
        Self { product: product.name.as_str(), access: product.settings.delivery.access, secrets }
    }

    fn is_private(&self) -> bool {
        self.access == Some(Access::Private)
    }

    fn signing(&self) -> Result<&Secret> {
        self.secrets.first_chunk::<SECRET_LENGTH>().ok_or_else(|| {
            unsignable(format!(
                "product {} is private and has no device secret yet: set its settings once more",
                self.product
            ))
        })
    }
}

impl ShortLinks {
    /// Writes the short link of an image to the end of a text, and says when it ends; `None` = never.
    ///
    /// # Errors
    /// Code [`UNSIGNABLE`]: the product is private and has no secret.
    pub fn write(
        &self,
        url: &mut String,
        terms: &Terms<'_>,
        (id, key): (&str, &str),
        now: DateTime<Utc>,
        host: &str,
    ) -> Result<Option<DateTime<Utc>>> {
        self.base.write(url, host);
        url.push_str(SHORT_PATH);
        url.push_str(id);
        if terms.is_private() { self.seal(url, terms, key, now).map(Some) } else { Ok(None) }
    }

    /// Adds a seal to a link of ours.
    fn seal(
        &self,
        url: &mut String,
        terms: &Terms<'_>,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>> {
        let (_, until) = window(now, self.seal_lifetime);
        let seal = credential::seal(terms.signing()?, terms.product, key, until);
        ["?", SEAL_PARAMETER, "=", &seal].iter().for_each(|part| url.push_str(part));
        Ok(until)
    }
}

impl Links {
    /// Whether it can make links that expire.
    pub fn can_sign(&self) -> bool {
        match self {
            Self::Cdn(_) => false,
            Self::WithBackup(links, _) => links.can_sign(),
            _ => true,
        }
    }

    /// Writes a link as [`Self::write`] does, on a product's terms: without a token if it is public, with one that ends
    /// if it is private.
    ///
    /// # Errors
    /// Code [`UNSIGNABLE`]: it is private, and the settings or a missing secret do not let it be signed.
    pub fn write_on(
        &self,
        url: &mut String,
        terms: &Terms<'_>,
        short: &ShortLinks,
        key: &str,
        now: DateTime<Utc>,
        host: &str,
    ) -> Result<Option<DateTime<Utc>>> {
        match (self, terms.access) {
            (Self::Cdn(_), Some(Access::Private)) => Err(unsignable(format!(
                "product {} is private, and the CDN's links carry no token: set [cdn.token], or leave [cdn] out",
                terms.product
            ))),
            // A backup's base URL carries no token, so a private image is never sought there.
            (Self::WithBackup(links, elsewhere), access) => match elsewhere.base_of(key) {
                Some(_) if access != Some(Access::Private) => self.write(url, key, now, host),
                _ => links.write_on(url, terms, short, key, now, host),
            },
            (Self::AkamaiToken(token), Some(Access::Public)) => {
                [token.base(), "/", key].iter().for_each(|part| url.push_str(part));
                Ok(None)
            }
            (Self::Device(_), Some(Access::Private)) => {
                self.write(url, key, now, host)?;
                short.seal(url, terms, key, now).map(Some)
            }
            _ => self.write(url, key, now, host),
        }
    }

    /// The measures of all links, as devices get them that name that host.
    ///
    /// # Errors
    /// When signing fails, which no key of ours makes it do.
    pub fn forms(&self, short: &ShortLinks, host: &str) -> Result<LinkForms> {
        if let Self::WithBackup(links, elsewhere) = self {
            let backup = form(|key| Ok(elsewhere.url_of(key)))?;
            return Ok(LinkForms { backup: Some(backup), ..links.forms(short, host)? });
        }
        let direct = |access| {
            form(|key| {
                let terms = Terms { product: "p", access, secrets: &[0; SECRET_LENGTH] };
                let mut url = String::new();
                self.write_on(&mut url, &terms, short, key, Utc::now(), host)?;
                Ok(url)
            })
        };
        let of_short = |access| {
            form(|key| {
                let terms = Terms { product: "p", access, secrets: &[0; SECRET_LENGTH] };
                let mut url = String::new();
                let id = "0".repeat(SHORT_ID_LENGTH);
                short.write(&mut url, &terms, (&id, key), Utc::now(), host)?;
                Ok(url)
            })
        };
        Ok(LinkForms {
            as_set: direct(None)?,
            public: direct(Some(Access::Public))?,
            private: if self.can_sign() { Some(direct(Some(Access::Private))?) } else { None },
            short: of_short(None)?,
            short_private: of_short(Some(Access::Private))?,
            backup: None,
        })
    }
}

/// The measures of what makes links, by two of them.
fn form(make: impl Fn(&str) -> Result<String>) -> Result<LinkForm> {
    let (one, other) = ("p/1.0.0/a", "p/1.0.0/a0123456789");
    let (url, longer) = (make(one)?, make(other)?);
    let keys = (longer.len() - url.len()) / (other.len() - one.len());
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", &url));
    Ok(LinkForm {
        scheme: if scheme == "https" { UrlScheme::Https } else { UrlScheme::Http },
        host: if is_address(rest) { UrlHost::Ip } else { UrlHost::Name },
        around: url.len() - keys * one.len(),
        keys,
    })
}

/// Whether a URL without its scheme begins with an address.
fn is_address(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next(),
        None => authority.split(':').next(),
    };
    host.is_some_and(|host| host.parse::<IpAddr>().is_ok())
}

fn unsignable(message: String) -> Error {
    Error::new(Kind::Internal, UNSIGNABLE, message)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{super::tests::key, *};
    use crate::{
        cdn::{AkamaiSettings, AkamaiToken, Away, Elsewhere},
        domain::ProductName,
    };

    const SECRET: [u8; SECRET_LENGTH] = [7; SECRET_LENGTH];

    fn named(https: bool) -> Base {
        Base::named(https, ([127, 0, 0, 1], 8080).into())
    }

    fn short(base: Option<&str>) -> ShortLinks {
        ShortLinks {
            base: base.map_or(named(false), |base| Base::Set(base.to_owned())),
            seal_lifetime: Duration::from_secs(604_800),
        }
    }

    fn akamai() -> Links {
        let settings = AkamaiSettings {
            name: "hdnts".into(),
            salt: None,
            lifetime: Duration::from_secs(86400),
            clock_skew: Some(Duration::from_secs(300)),
        };
        Links::AkamaiToken(
            AkamaiToken::new("https://fw.example.com".into(), vec![1], settings).expect("safe"),
        )
    }

    fn written(links: &Links, access: Option<Access>, secrets: &[u8]) -> Result<(String, bool)> {
        let terms = Terms { product: "thermo-x", access, secrets };
        let mut url = String::new();
        let ends =
            links.write_on(&mut url, &terms, &short(None), key().as_str(), DateTime::UNIX_EPOCH, "h")?;
        Ok((url, ends.is_some()))
    }

    #[test]
    fn public_links_have_no_token_and_private_ones_end() {
        let plain = "https://fw.example.com/thermo-x/1.4.0-rc.1/app.bin";
        let with = |access| written(&akamai(), access, &SECRET).expect("signable");
        assert!(with(None).0.contains("?hdnts=st=0~exp=108000~acl=") && with(None).1);
        assert_eq!(with(Some(Access::Public)), (plain.to_owned(), false));
        assert_eq!(with(Some(Access::Private)), with(None));

        let cdn = Links::Cdn("https://fw.example.com".into());
        assert_eq!(written(&cdn, Some(Access::Public), &[]).expect("plain"), (plain.to_owned(), false));
        assert_eq!(written(&cdn, Some(Access::Private), &SECRET).expect_err("unsigned").code(), UNSIGNABLE);

        let device = Links::Device(named(false));
        let (url, ends) = written(&device, Some(Access::Private), &SECRET).expect("sealed");
        let (path, seal) = url.split_once("?c=").expect("has a seal");
        assert_eq!(path, "http://h/v1/download/thermo-x/1.4.0-rc.1/app.bin");
        let now = DateTime::UNIX_EPOCH;
        assert!(ends && credential::seal_ends(&SECRET, "thermo-x", key().as_str(), seal, now).is_some());
        assert_eq!(written(&device, Some(Access::Private), &[]).expect_err("no secret").code(), UNSIGNABLE);
        assert!(!written(&device, None, &[]).expect("plain").1);
    }

    #[test]
    fn short_links_fit_64_bytes() {
        let made = |access| {
            let terms = Terms { product: "thermo-x", access, secrets: &SECRET };
            let mut url = String::new();
            let now = DateTime::UNIX_EPOCH;
            let image = ("0123456789a", key().as_str().to_owned());
            let short = short(Some("http://203.0.113.7"));
            let ends = short.write(&mut url, &terms, (image.0, &image.1), now, "h").expect("sealed");
            (url, ends.map(|ends| ends.timestamp()))
        };
        assert_eq!(made(None), ("http://203.0.113.7/d/0123456789a".to_owned(), None));
        let first_part = ProductName::parse(SHORT_PATH.trim_matches('/')).expect("a name");
        assert!(first_part.is_own_path(), "no product is called so");
        let (url, ends) = made(Some(Access::Private));
        assert_eq!((url.len(), ends), (55, Some(604_800 + 151_200)), "{url}");
    }

    #[test]
    fn the_measures_are_those_of_the_links() {
        let base = Some("http://203.0.113.7:8080");
        let forms = akamai().forms(&short(base), "fw.local:8080").expect("signable");
        let key = "thermo-x/1.4.0-rc.1/app-with-a-long-name.bin";
        let now = DateTime::from_timestamp(1_767_225_600, 0).expect("in range");
        for (access, form) in [
            (None, forms.as_set),
            (Some(Access::Public), forms.public),
            (Some(Access::Private), forms.private.expect("signable")),
        ] {
            let terms = Terms { product: "thermo-x", access, secrets: &SECRET };
            let mut url = String::new();
            akamai().write_on(&mut url, &terms, &short(base), key, now, "fw.local").expect("signable");
            assert_eq!(form.length(key.len()), url.len(), "{url}");
            assert_eq!((form.scheme, form.host), (UrlScheme::Https, UrlHost::Name));
        }
        assert_eq!((forms.short.scheme, forms.short.host), (UrlScheme::Http, UrlHost::Ip));
        assert_eq!((forms.short.around, forms.short.keys), ("http://203.0.113.7:8080/d/".len() + 11, 0));
        assert_eq!(forms.short_private.around, forms.short.around + 23);
        let over_tls = Links::Device(named(true)).forms(&short(None), "h").expect("plain");
        for form in [over_tls.as_set, over_tls.public, over_tls.private.expect("sealed")] {
            assert_eq!(form.scheme, UrlScheme::Https);
        }
        let plain = Links::Cdn("http://[2001:db8::1]:80/fw".into());
        let forms = plain.forms(&short(None), "h").expect("plain");
        assert_eq!((forms.as_set.scheme, forms.as_set.host), (UrlScheme::Http, UrlHost::Ip));
        assert_eq!((forms.private, forms.backup), (None, None));

        // Whatever is there just now.
        let elsewhere = Elsewhere::new("https://backup.example.com/fw".into());
        elsewhere.set(Away::AllBut(HashSet::new()));
        let both = Links::WithBackup(Box::new(plain), elsewhere);
        let mut forms_of_both = both.forms(&short(None), "h").expect("plain");
        let form = forms_of_both.backup.take().expect("there is one");
        assert_eq!(forms_of_both, forms);
        let mut url = String::new();
        both.write(&mut url, key, now, "h").expect("plain");
        assert_eq!(form.length(key.len()), url.len(), "{url}");
        assert_eq!((form.scheme, form.host), (UrlScheme::Https, UrlHost::Name));
    }
}
