//! What is wrong with settings that could be read: everything that can be judged without a network, all at once.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::Settings;
use crate::domain::{CacheLifetime, PollInterval};

mod cdn;

/// The shortest accepted publisher token, in characters.
const SHORTEST_TOKEN: usize = 16;

impl Settings {
    /// One sentence per problem, each with the key and what to do; none = the settings make sense.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut wrong = |is_wrong: bool, text: String| {
            if is_wrong {
                problems.push(text);
            }
        };
        let publisher = &self.publisher;
        wrong(
            publisher.listen == self.device.listen && publisher.listen.port() != 0,
            format!("publisher.listen and device.listen are both {}: use two addresses", publisher.listen),
        );
        wrong(publisher.max_uploads == 0, "publisher.max_uploads is 0: nothing could be published".into());
        wrong(
            publisher.max_image_bytes == 0,
            "publisher.max_image_bytes is 0: nothing could be published".into(),
        );
        wrong(
            publisher.upload_lifetime < Duration::from_secs(1),
            "publisher.upload_lifetime: use at least 1s, better hours".into(),
        );
        wrong(publisher.max_connections == 0, "publisher.max_connections is 0: nobody could connect".into());
        wrong(self.device.max_connections == 0, "device.max_connections is 0: nobody could connect".into());
        wrong(self.device.max_downloads == 0, "device.max_downloads is 0: nobody could download".into());
        wrong(
            self.device.poll_interval < Duration::from_secs(1),
            "device.poll_interval: use at least 1s".into(),
        );
        wrong(
            self.device.poll_interval > Duration::from_secs(PollInterval::MOST.into()),
            "device.poll_interval: use at most 30days; devices that ask less often never come to a recall"
                .into(),
        );
        wrong(
            self.device.cache_lifetime > Duration::from_secs(CacheLifetime::MOST.into()),
            "device.cache_lifetime: use at most 7days; a recall reaches cached answers only after it".into(),
        );
        let named = publisher
            .tokens
            .iter()
            .map(|(name, token)| (format!("publisher.tokens.{name}.token"), &token.token));
        let first = publisher.token.iter().map(|token| ("publisher.token".to_owned(), token));
        for (key, token) in first.chain(named) {
            let token = token.expose_secret();
            wrong(
                token.len() < SHORTEST_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()),
                format!("{key}: use at least {SHORTEST_TOKEN} printable characters without spaces"),
            );
        }
        for (name, token) in &publisher.tokens {
            wrong(
                token.scopes.is_empty(),
                format!("publisher.tokens.{name}.scopes is empty: it could do nothing"),
            );
        }
        for (name, proxied, trusted) in [
            ("publisher", publisher.proxy_protocol, &publisher.trusted_proxies),
            ("device", self.device.proxy_protocol, &self.device.trusted_proxies),
        ] {
            wrong(
                proxied && trusted.is_empty(),
                format!(
                    "{name}.proxy_protocol is on and {name}.trusted_proxies is empty: nobody could connect"
                ),
            );
        }
        if let Some(limit) = &self.device.rate_limit {
            wrong(
                !(limit.per_second > 0.0 && limit.burst >= 1.0 && limit.burst.is_finite()),
                "device.rate_limit: use a per_second above 0 and a burst of at least 1".into(),
            );
        }
        if let Some(secret) = self.device.tls.as_ref().and_then(|tls| tls.ticket_secret.as_ref()) {
            wrong(
                !hex::decode(secret.expose_secret()).is_ok_and(|secret| secret.len() >= 32),
                "device.tls.ticket_secret: use at least 64 hex digits, such as `openssl rand -hex 32` prints"
                    .into(),
            );
        }
        for (key, url) in [("public_url", &self.device.public_url), ("short_url", &self.device.short_url)] {
            let Some(url) = url else { continue };
            wrong(!is_http_url(url), format!("device.{key} {url:?}: use http://HOST or https://HOST"));
        }
        wrong(
            self.device.seal_lifetime < Duration::from_secs(3600),
            "device.seal_lifetime: use at least 1h, better as long as a device may take to download".into(),
        );
        if let Some(g2o) = &self.device.g2o {
            wrong(
                !(1..=2).contains(&g2o.keys.len()),
                "device.g2o.keys: use one key, or two while they are changed, each by its nonce".into(),
            );
            wrong(
                g2o.required && self.device.public_url.is_none() && self.device.short_url.is_none(),
                "device.g2o.required: the CDN asks by this listener's own host name, so links that begin with it would not lead \
                 through the CDN, and be refused: set device.public_url to the URL that devices use"
                    .into(),
            );
            let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            for (nonce, key) in &g2o.keys {
                wrong(
                    !((1..=8).contains(&nonce.len()) && plain(nonce)),
                    format!("device.g2o.keys: the nonce {nonce:?} must have 1 to 8 letters and digits"),
                );
                let key = key.expose_secret();
                wrong(
                    !(key.len() == 24 && plain(key)),
                    format!(
                        "device.g2o.keys.{nonce}: use exactly 24 letters and digits, those of the property"
                    ),
                );
            }
        }
        if let Some(catalogue) = &self.catalogue {
            let url = catalogue.url.expose_secret();
            wrong(
                !url.starts_with("postgres://") && !url.starts_with("postgresql://"),
                "catalogue.url: use postgres://USER:PASSWORD@HOST/DATABASE, or leave [catalogue] out for SQLite".into(),
            );
            wrong(catalogue.max_connections < 2, "catalogue.max_connections: use at least 2".into());
        }
        if let Some(bucket) = &self.bucket {
            let section = "bucket";
            let endpoint = &bucket.endpoint;
            wrong(
                !is_http_url(endpoint),
                format!("{section}.endpoint {endpoint:?}: use http://HOST or https://HOST"),
            );
            for (key, value) in
                [("region", &bucket.region), ("name", &bucket.name), ("access_key_id", &bucket.access_key_id)]
            {
                wrong(value.is_empty(), format!("{section}.{key} is empty"));
            }
        }
        for problem in self.backup.iter().flat_map(|backup| backup.problems(self.bucket.as_ref())) {
            wrong(true, problem);
        }
        if let Some(cdn) = &self.cdn {
            wrong(!is_http_url(&cdn.base_url), format!("cdn.base_url {:?}: use https://HOST", cdn.base_url));
            if let Some(token) = &cdn.token {
                problems.extend(cdn::token_problems(token, &cdn.base_url));
            }
            if let Some(logs) = &cdn.logs {
                problems.extend(logs.problems(self.bucket.is_some()));
            }
        }
        let mut wrong = |is_wrong: bool, text: String| {
            if is_wrong {
                problems.push(text);
            }
        };
        if let Some(cdn) = &self.cdn {
            let purge = cdn.purge.iter().flat_map(super::PurgeSettings::problems);
            purge.for_each(|problem| wrong(true, problem));
            wrong(
                cdn.prewarm && cdn.verify_before_offer == super::VerifyBeforeOffer::Off,
                "cdn.prewarm: it is done by the gate, so set cdn.verify_before_offer too".into(),
            );
            let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
            wrong(
                cdn.verify_within.is_some_and(|within| within < second || within > day),
                "cdn.verify_within: use 1s to 24h".into(),
            );
        }
        wrong(self.data_dir.as_os_str().is_empty(), "data_dir is empty: name a directory".into());
        wrong(
            !is_log_filter(&self.log.level),
            format!(
                "log.level {:?}: use error, warn, info, debug or trace, or directives such as \"info,firmament=debug\"",
                self.log.level
            ),
        );
        // S3 allows presigned URLs for 7 days; a quarter of the lifetime is added by rounding.
        let longest = Duration::from_secs(7 * 24 * 3600 * 4 / 5);
        wrong(
            self.presign.lifetime < Duration::from_secs(60) || self.presign.lifetime > longest,
            "presign.lifetime: use 1m to 134h".into(),
        );
        problems
    }
}

/// A level, or a list of levels and `target=level`. The filter itself takes any word for a target, and then shows nothing.
fn is_log_filter(text: &str) -> bool {
    let is_level = |text: &str| text.parse::<tracing::level_filters::LevelFilter>().is_ok();
    text.split(',').all(|directive| directive.contains('=') || is_level(directive.trim()))
}

pub(super) fn is_http_url(text: &str) -> bool {
    let Ok(url) = text.parse::<http::Uri>() else { return false };
    matches!(url.scheme_str(), Some("http" | "https"))
        && url.host().is_some_and(|host| !host.is_empty())
        && url.query().is_none()
}
