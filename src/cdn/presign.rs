//! Presigned URLs of the bucket: AWS Signature Version 4 in the query string, by the SDK's own signer.
//!
//! It holds the bucket's key, and shows nobody: the device side can sign a GET of one object and nothing else.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use aws_sdk_s3::config::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
        SigningSettings, UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use super::window;
use crate::{
    bucket::S3Settings,
    error::{Error, Result},
};

/// Signs GET requests for the objects of one bucket.
pub struct Presigner {
    base: String,
    region: String,
    identity: aws_smithy_runtime_api::client::identity::Identity,
    lifetime: Duration,
}

impl Presigner {
    /// A signer for a bucket. `lifetime` is what is left, at least, when a link is given out; at most 134 h,
    /// since S3 takes no more than 7 days in all.
    pub fn new(settings: &S3Settings, lifetime: Duration) -> Self {
        let secret = settings.secret_access_key.expose_secret();
        let credentials = Credentials::new(&settings.access_key_id, secret, None, None, "settings");
        Self {
            base: settings.base_url(),
            region: settings.region.clone(),
            identity: credentials.into(),
            lifetime,
        }
    }

    pub(super) fn write(&self, link: &mut String, key: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        let (start, expires_at) = window(now, self.lifetime);
        let valid_for = Duration::from_secs((expires_at - start).num_seconds().unsigned_abs());
        let mut settings = SigningSettings::default();
        // S3's own rules: path encoded once and not normalised, payload unsigned (AWS SigV4 for S3, query parameters).
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(valid_for);
        let parameters = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::from(start))
            .settings(settings)
            .build()
            .map_err(Error::internal)?
            .into();
        let url = format!("{}/{key}", self.base);
        let mut request = http::Request::get(&url).body(()).map_err(Error::internal)?;
        let signable = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::UnsignedPayload)
            .map_err(Error::internal)?;
        let (instructions, _signature) = sign(signable, &parameters).map_err(Error::internal)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        write!(link, "{}", request.uri()).map_err(Error::internal)?;
        Ok(expires_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(path_style: bool, at: i64) -> String {
        let settings = S3Settings {
            endpoint: "https://us-ord-1.linodeobjects.com".into(),
            region: "us-ord-1".into(),
            name: "firmware".into(),
            access_key_id: "ID".into(),
            secret_access_key: "SECRET".to_owned().into(),
            path_style,
        };
        let presigner = Presigner::new(&settings, Duration::from_secs(86400));
        let now = DateTime::from_timestamp(at, 0).expect("in range");
        let mut url = String::new();
        presigner.write(&mut url, super::super::tests::key().as_str(), now).expect("signed");
        url
    }

    #[test]
    fn a_link_names_bucket_and_key_and_what_s3_asks_for() {
        let url = link(true, 1_767_225_600);
        assert!(
            url.starts_with("https://us-ord-1.linodeobjects.com/firmware/thermo-x/1.4.0-rc.1/app.bin?"),
            "{url}"
        );
        for part in [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256",
            "X-Amz-Credential=ID%2F20260101%2Fus-ord-1%2Fs3%2Faws4_request",
            "X-Amz-Expires=108000",
            "X-Amz-SignedHeaders=host",
            "X-Amz-Signature=",
        ] {
            assert!(url.contains(part), "{part} in {url}");
        }
        assert!(link(false, 0).starts_with("https://firmware.us-ord-1.linodeobjects.com/thermo-x/"));
    }

    #[test]
    fn a_link_stays_the_same_within_its_window() {
        assert_eq!(link(true, 1_767_225_600), link(true, 1_767_225_600 + 21_599));
        assert_ne!(link(true, 1_767_225_600), link(true, 1_767_225_600 + 21_600));
    }
}
