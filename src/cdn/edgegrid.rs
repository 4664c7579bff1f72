//! EdgeGrid: how requests to Akamai's own APIs are signed (`EG1-HMAC-SHA256`). Pure; a clock and a nonce come from outside.
//!
//! Source: Akamai's own libraries, PyPI `edgegrid-python` 2.0.9 and npm `akamai-edgegrid` 4.0.4
//! (<https://techdocs.akamai.com/developer/docs/edgegrid>); the vectors of the tests were made by them.
//!
//! ```text
//! unsigned  = "EG1-HMAC-SHA256 client_token=…;access_token=…;timestamp=…;nonce=…;"
//! content   = base64(SHA-256(the body's first max_body bytes)) of a POST that has a body, else nothing
//! data      = METHOD \t scheme \t host \t path?query \t headers \t content \t unsigned
//! key       = base64(HMAC-SHA256(client secret as text, timestamp))
//! signature = base64(HMAC-SHA256(key as text, data))
//! ```
//!
//! # Invariants
//! - Path and query are signed as they are sent, never encoded anew.
//! - The secret looks like base64 and is not decoded; the key is used as the text that it is.
//! - A request that is sent again is signed anew, with a nonce of its own.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

mod edgerc;

pub use edgerc::{base_url, from_environment, from_file};

/// How much of a body is signed, unless the credentials say otherwise, in bytes.
pub const MAX_BODY: usize = 131_072;

/// What an API client of an Akamai account is given.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Where its API is: `https://HOST`, without a trailing slash.
    pub base_url: String,
    /// Who: the client.
    pub client_token: String,
    /// The client's secret.
    pub client_secret: SecretString,
    /// Who: what it was allowed.
    pub access_token: String,
    /// The header fields that are signed, in this order.
    pub headers_to_sign: Vec<String>,
    /// How many bytes of a body are signed.
    pub max_body: usize,
}

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signable<'a> {
    /// In capitals.
    pub method: &'a str,
    /// `https`, or `http` in tests.
    pub scheme: &'a str,
    /// As the `Host` field has it.
    pub host: &'a str,
    /// Path and query, as they are sent.
    pub target: &'a str,
    /// The header, at least those fields that are to be signed.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// A time as EdgeGrid writes it.
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H:%M:%S+0000").to_string()
}

impl Credentials {
    /// The value of `Authorization`. `timestamp` is of the form of [`timestamp()`], `nonce` is never used twice.
    pub fn authorization(&self, request: &Signable<'_>, timestamp: &str, nonce: &str) -> String {
        let mut header = format!(
            "EG1-HMAC-SHA256 client_token={};access_token={};timestamp={timestamp};nonce={nonce};",
            self.client_token, self.access_token
        );
        let Signable { method, scheme, host, target, body, .. } = *request;
        let target = if target.is_empty() { "/" } else { target };
        let signed = [
            method,
            scheme,
            host,
            target,
            &self.canonical_headers(request.headers),
            &self.content_hash(method, body),
            &header,
        ];
        let key = keyed(self.client_secret.expose_secret(), timestamp);
        let signature = keyed(&key, &signed.join("\t"));
        write!(header, "signature={signature}").expect("a String takes everything");
        header
    }

    /// Names in lower case, white space drawn together; a field that is absent is left out.
    fn canonical_headers(&self, headers: &[(&str, &str)]) -> String {
        let fields = self.headers_to_sign.iter().filter_map(|name| {
            let (_, value) = headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name))?;
            let value: Vec<&str> = value.split_whitespace().collect();
            Some(format!("{}:{}", name.to_ascii_lowercase(), value.join(" ")))
        });
        fields.collect::<Vec<_>>().join("\t")
    }

    fn content_hash(&self, method: &str, body: &[u8]) -> String {
        if method != "POST" || body.is_empty() {
            return String::new();
        }
        STANDARD.encode(Sha256::digest(&body[..body.len().min(self.max_body)]))
    }
}

fn keyed(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const VECTORS: &str = include_str!("../../tests/vectors/edgegrid.json");

    fn text<'a>(value: &'a Value, name: &str) -> &'a str {
        value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
    }

    fn credentials(given: &Value) -> Credentials {
        let headers = given["headers_to_sign"].as_array().expect("a list");
        Credentials {
            base_url: text(given, "base_url").trim_end_matches('/').to_owned(),
            client_token: text(given, "client_token").to_owned(),
            client_secret: text(given, "client_secret").to_owned().into(),
            access_token: text(given, "access_token").to_owned(),
            headers_to_sign: headers.iter().map(|name| name.as_str().expect("a name").to_owned()).collect(),
            max_body: usize::try_from(given["max_body"].as_u64().expect("a number")).expect("in range"),
        }
    }

    #[test]
    fn every_vector_of_akamais_libraries_is_met() {
        let vectors: Value = serde_json::from_str(VECTORS).expect("JSON");
        let mut count = 0;
        for group in ["official", "generated"] {
            let (given, cases) = (&vectors[group]["credentials"], vectors[group]["cases"].as_array());
            let credentials = credentials(given);
            for case in cases.expect("a list") {
                let body = match (&case["body_repeat"], case["body"].as_str()) {
                    (Value::Array(repeat), _) => {
                        let times = usize::try_from(repeat[1].as_u64().expect("a number")).expect("in range");
                        repeat[0].as_str().expect("a letter").repeat(times)
                    }
                    (_, body) => body.unwrap_or_default().to_owned(),
                };
                let fields = case["headers"].as_object().expect("an object");
                let fields: Vec<(&str, &str)> = fields
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str().expect("a text")))
                    .collect();
                let (scheme, own) = credentials.base_url.split_once("://").expect("a URL");
                let host = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
                let host = host.map_or(own, |(_, host)| *host);
                let request = Signable {
                    method: text(case, "method"),
                    scheme,
                    host,
                    target: text(case, "path"),
                    headers: &fields,
                    body: body.as_bytes(),
                };
                let made =
                    credentials.authorization(&request, text(given, "timestamp"), text(given, "nonce"));
                assert_eq!(made, text(case, "authorization"), "{}", text(case, "name"));
                count += 1;
            }
        }
        assert!(count >= 17, "{count} vectors");
        let official = &vectors["official"];
        let key = keyed(
            text(&official["credentials"], "client_secret"),
            text(&official["credentials"], "timestamp"),
        );
        assert_eq!(key, text(official, "sign_key"));
    }

    #[test]
    fn times_are_written_in_utc() {
        let at = DateTime::from_timestamp(1_395_430_461, 999_000_000).expect("in range");
        assert_eq!(timestamp(at), "20140321T19:34:21+0000");
    }
}
