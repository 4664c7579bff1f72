//! Settings -> what makes links.

use std::net::SocketAddr;

use secrecy::ExposeSecret;

use crate::{
    cdn::{AkamaiSettings, AkamaiToken, Base, Links, Presigner, ShortLinks},
    config::{CdnTokenKind, Settings},
    error::Result,
};

/// Of a device listener that is bound to `address`.
pub(super) fn make_short_links(settings: &Settings, address: SocketAddr) -> ShortLinks {
    let device = &settings.device;
    let url = device.short_url.as_ref().or(device.public_url.as_ref());
    ShortLinks { base: make_base(settings, url, address), seal_lifetime: device.seal_lifetime }
}

/// How links of the device listener begin, if that is set to `url`.
fn make_base(settings: &Settings, url: Option<&String>, address: SocketAddr) -> Base {
    match url {
        Some(url) => Base::Set(url.trim_end_matches('/').to_owned()),
        None => Base::named(settings.device.tls.is_some(), address),
    }
}

/// With a device listener that is bound to `address`.
pub(super) fn make_links(settings: &Settings, address: SocketAddr) -> Result<Links> {
    let without_slash = |url: &String| url.trim_end_matches('/').to_owned();
    let Some(cdn) = &settings.cdn else {
        return Ok(match &settings.bucket {
            Some(s3) => Links::Presigned(Presigner::new(&s3.to_s3(), settings.presign.lifetime)),
            None => Links::Device(make_base(settings, settings.device.public_url.as_ref(), address)),
        });
    };
    let base = without_slash(&cdn.base_url);
    match &cdn.token {
        None => Ok(Links::Cdn(base)),
        Some(token) => match token.kind {
            CdnTokenKind::Akamai => {
                let settings = AkamaiSettings {
                    name: token.name.clone(),
                    salt: token.salt.as_ref().map(|salt| salt.expose_secret().to_owned()),
                    lifetime: token.lifetime,
                    clock_skew: token.clock_skew,
                };
                Ok(Links::AkamaiToken(AkamaiToken::new(base, token.signing_key()?, settings)?))
            }
        },
    }
}
