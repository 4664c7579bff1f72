//! The S3 client: what is set, and why nothing is left to a default.
//!
//! - **Checksums only when required.** The newer default (CRC32 in an `aws-chunked` trailer) is answered with
//!   `400 XAmzContentSHA256Mismatch` by Ceph-based stores, Linode's among them. Bodies are sent from memory, so
//!   their SHA-256 is part of the signature, and the store verifies that.
//! - **Credentials, region and endpoint from our settings alone.** The SDK is used without its loaders: no
//!   `AWS_*` variable, profile, proxy variable or instance metadata is looked at.
//! - **Every time-out is set** ([`S3Limits`]).
//! - **Retries with a budget of its own**: the SDK shares one budget among all clients of a service and region, so a
//!   backup bucket that is down would use up the retries of the primary.
//!
//! What it does not do: requests.

use std::{net::IpAddr, time::Duration};

use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig,
    retry::{RetryConfig, RetryPartition},
    timeout::TimeoutConfig,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use secrecy::{ExposeSecret, SecretString};

use super::clock::WrongClock;
use crate::error::{Error, Kind, Result};

/// How to reach an S3 bucket.
#[derive(Clone)]
pub struct S3Settings {
    /// The service's URL, such as `https://us-ord-1.linodeobjects.com`.
    pub endpoint: String,
    /// The region's name as the service knows it; part of every signature.
    pub region: String,
    /// The bucket.
    pub name: String,
    /// The key's public half.
    pub access_key_id: String,
    /// The key's secret half.
    pub secret_access_key: SecretString,
    /// Whether the bucket's name goes into the path (`true`) or the host name.
    pub path_style: bool,
}

/// How long a request may take and how much it may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Limits {
    /// To connect, TLS not included.
    pub connect: Duration,
    /// For one attempt of one request, from its start to the end of the answer. There is no time-out for the
    /// answer alone, as the SDK would count it from the start of the request, sending included.
    pub attempt: Duration,
    /// For one operation with all its attempts and the pauses between them.
    pub operation: Duration,
    /// Attempts per operation, the first included.
    pub attempts: u32,
    /// Entries per page of a listing; S3 gives at most 1000.
    pub page: i32,
}

impl Default for S3Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            // A part of 8 MiB passes in a minute at 1.1 Mbit/s, four of them side by side at 4.5 Mbit/s; half a
            // minute would cut off an office uplink of 8 Mbit/s that carries anything else.
            attempt: Duration::from_secs(60),
            // Two whole attempts and their pauses, so one lost minute does not lose an upload of hours.
            operation: Duration::from_secs(150),
            attempts: 4,
            page: 1000,
        }
    }
}

/// Makes the client. Nothing is sent.
pub(super) fn connect(settings: &S3Settings, limits: &S3Limits) -> Result<aws_sdk_s3::Client> {
    let host = host_of(&settings.endpoint).ok_or_else(|| {
        Error::new(
            Kind::Internal,
            "bucket-misconfigured",
            format!(
                "the bucket's endpoint {:?} is no URL: use the service's, such as https://us-ord-1.linodeobjects.com, \
                 without the bucket's name",
                settings.endpoint
            ),
        )
    })?;
    let credentials = Credentials::new(
        settings.access_key_id.clone(),
        settings.secret_access_key.expose_secret(),
        None,
        None,
        "firmament settings",
    );
    let time_outs = TimeoutConfig::builder()
        .connect_timeout(limits.connect)
        .operation_attempt_timeout(limits.attempt)
        .operation_timeout(limits.operation)
        .build();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(settings.endpoint.clone())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(credentials)
        .force_path_style(settings.path_style)
        .disable_s3_express_session_auth(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::standard().with_max_attempts(limits.attempts))
        .retry_classifier(WrongClock)
        .retry_partition(RetryPartition::new(format!("{} {}", settings.endpoint, settings.name)))
        .timeout_config(time_outs)
        // It measures throughput, and would take a store that thinks for a while after the last byte for a
        // stalled one. The attempt's time-out bounds the same, without a guess at a rate.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(http_client(host))
        .build();
    Ok(aws_sdk_s3::Client::from_conf(config))
}

fn http_client(host: &str) -> SharedHttpClient {
    let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    if host == "localhost" || host.ends_with(".localhost") {
        builder.build_with_resolver(Loopback)
    } else {
        builder.build_https()
    }
}

/// Resolves `localhost` and all below it to loopback, as RFC 6761, section 6.3, wants of every resolver and glibc does
/// only with `nss-myhostname`. A store on the same machine has its buckets at `bucket.s3.localhost`.
#[derive(Debug, Clone)]
struct Loopback;

impl ResolveDns for Loopback {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::ready(if name == "localhost" || name.ends_with(".localhost") {
            Ok(vec![IpAddr::from([127, 0, 0, 1])])
        } else {
            Err(ResolveDnsError::new(format!("{name} is not below localhost, where the endpoint is")))
        })
    }
}

/// The host of an `http` or `https` URL that names nothing else but a port.
fn host_of(endpoint: &str) -> Option<&str> {
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let host = match rest.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        // The colons of an IPv6 address without a port.
        _ => rest,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'[' | b']' | b':');
    (!host.is_empty() && host.bytes().all(plain)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_of_a_host() {
        for (endpoint, host) in [
            ("https://us-ord-1.linodeobjects.com", "us-ord-1.linodeobjects.com"),
            ("http://127.0.0.1:7480", "127.0.0.1"),
            ("http://s3.localhost:7480/", "s3.localhost"),
            ("http://[::1]:7480", "[::1]"),
            ("http://[::1]", "[::1]"),
        ] {
            assert_eq!(host_of(endpoint), Some(host), "{endpoint}");
        }
        for endpoint in
            ["", "us-ord-1.linodeobjects.com", "ftp://a", "https://", "https://a b", "https://a/b"]
        {
            assert_eq!(host_of(endpoint), None, "{endpoint}");
        }
    }
}
