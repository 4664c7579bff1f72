//! Settings -> what makes links.

use secrecy::ExposeSecret;

use crate::{
    cdn::{AkamaiSettings, AkamaiToken, Links, Presigner, ShortLinks},
    config::{CdnTokenKind, Settings},
    error::Result,
};

pub(super) fn make_short_links(settings: &Settings) -> ShortLinks {
    let device = &settings.device;
    let base = device.short_url.as_ref().or(device.public_url.as_ref());
    ShortLinks {
        base: base.map(|url| url.trim_end_matches('/').to_owned()),
        https: device.tls.is_some(),
        seal_lifetime: device.seal_lifetime,
    }
}

pub(super) fn make_links(settings: &Settings) -> Result<Links> {
    let without_slash = |url: &String| url.trim_end_matches('/').to_owned();
    let Some(cdn) = &settings.cdn else {
        return Ok(match &settings.bucket {
            Some(s3) => Links::Presigned(Presigner::new(&s3.to_s3(), settings.presign.lifetime)),
            None => Links::Device(settings.device.public_url.as_ref().map(without_slash)),
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
