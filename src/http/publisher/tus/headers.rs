//! The headers of tus 1.0, and the statuses that only it has.

use std::borrow::Cow;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    error::{Error, Kind, Result},
    http::{
        problem::HttpError,
        publisher::images,
        query::{Query, malformed},
    },
    publishing::{
        CHECKSUM_MISMATCH, UPLOAD_LOCKED,
        resumable::{Checksum, ChecksumAlgorithm},
    },
};

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str =
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination";
const PIECE: &[u8] = b"application/offset+octet-stream";
const TUS_RESUMABLE: &str = "tus-resumable";
pub(super) const UPLOAD_OFFSET: &str = "upload-offset";
pub(super) const UPLOAD_LENGTH: &str = "upload-length";
const UPLOAD_METADATA: &str = "upload-metadata";

/// The longest `Upload-Metadata`: what a query string may be, in Base64.
const LONGEST_METADATA: usize = 16 * 1024;
/// What customary clients add of themselves, and is of no use here.
const IGNORED: [&str; 4] = ["filetype", "type", "name", "relativePath"];
/// Beside those of an upload in one request.
const MORE: [&str; 3] = ["product", "version", "sha256"];

/// An error, with the status that tus gives it.
#[derive(Debug)]
pub struct TusError(Error);

impl<E: Into<Error>> From<E> for TusError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for TusError {
    fn into_response(self) -> Response {
        let status = match self.0.code() {
            UPLOAD_LOCKED => Some(StatusCode::LOCKED),
            CHECKSUM_MISMATCH => StatusCode::from_u16(460).ok(),
            "tus-version" => Some(StatusCode::PRECONDITION_FAILED),
            "no-piece" => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            _ => None,
        };
        let mut response = HttpError(self.0).into_response();
        if let Some(status) = status {
            *response.status_mut() = status;
        }
        let headers = response.headers_mut();
        headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
        if status == Some(StatusCode::PRECONDITION_FAILED) {
            headers.insert("tus-version", HeaderValue::from_static(VERSION));
        }
        response
    }
}

/// An answer that is being put together.
pub(super) struct Answer(Response);

impl Answer {
    pub(super) fn new(status: StatusCode) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self(response)
    }

    pub(super) fn no_content() -> Self {
        Self::new(StatusCode::NO_CONTENT)
    }

    /// A path without a host: how this listener is reached from outside is for the client to know.
    pub(super) fn created(id: Uuid) -> Self {
        Self::new(StatusCode::CREATED).location(&format!("/v1/uploads/{id}"))
    }

    pub(super) fn location(self, path: &str) -> Self {
        self.text("location", path)
    }

    pub(super) fn offset(self, offset: u64) -> Self {
        self.text(UPLOAD_OFFSET, &offset.to_string())
    }

    pub(super) fn size(self, size: Option<u64>) -> Self {
        match size {
            Some(size) => self.text(UPLOAD_LENGTH, &size.to_string()),
            None => self.text("upload-defer-length", "1"),
        }
    }

    pub(super) fn expires(self, at: DateTime<Utc>) -> Self {
        self.text("upload-expires", &at.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }

    pub(super) fn metadata(self, metadata: Option<&str>) -> Self {
        match metadata {
            Some(metadata) => self.text(UPLOAD_METADATA, metadata),
            None => self,
        }
    }

    fn text(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }

    pub(super) fn into_response(self) -> Response {
        self.0
    }
}

/// What this server can.
pub(super) fn capabilities(largest: u64) -> Response {
    Answer::no_content()
        .text("tus-version", VERSION)
        .text("tus-extension", EXTENSIONS)
        .text("tus-checksum-algorithm", ChecksumAlgorithm::NAMES)
        .text("tus-max-size", &largest.to_string())
        .into_response()
}

/// What a request for an upload says.
pub(super) struct Creation {
    pub(super) product: String,
    pub(super) version: String,
    pub(super) query: Query<'static>,
    pub(super) size: Option<u64>,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) metadata: Option<String>,
}

pub(super) fn insist_on_version(headers: &HeaderMap) -> Result<()> {
    if headers.get(TUS_RESUMABLE).is_some_and(|value| value.as_bytes() == VERSION.as_bytes()) {
        return Ok(());
    }
    let message = format!("this is tus {VERSION}: send the header `Tus-Resumable: {VERSION}`");
    Err(Error::new(Kind::Malformed, "tus-version", message))
}

pub(super) fn insist_on_piece(headers: &HeaderMap) -> Result<()> {
    if headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(PIECE)) {
        return Ok(());
    }
    let message = "send the bytes with Content-Type: application/offset+octet-stream";
    Err(Error::new(Kind::Malformed, "no-piece", message))
}

/// Whether the request for an upload brings bytes along.
pub(super) fn has_piece(headers: &HeaderMap, length: Option<u64>) -> bool {
    insist_on_piece(headers).is_ok()
        && (length.is_some_and(|length| length > 0) || headers.contains_key(header::TRANSFER_ENCODING))
}

pub(in crate::http::publisher) fn id(text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| {
        Error::new(
            Kind::NotFound,
            "unknown-upload",
            "there is no such upload: its URL is in Location, as it was given",
        )
    })
}

pub(super) fn missing(name: &str) -> Error {
    malformed(format!("the header {name} is missing or has no value that fits"))
}

pub(super) fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| missing(name))
}

pub(super) fn length(headers: &HeaderMap) -> Result<Option<u64>> {
    number(headers, "content-length")
}

/// `Upload-Checksum`: the algorithm, a space, and the digest in Base64.
pub(super) fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>> {
    let Some(value) = headers.get("upload-checksum") else { return Ok(None) };
    let (algorithm, digest) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(|| malformed("Upload-Checksum is not of the form `sha256 BASE64`"))?;
    let algorithm = ChecksumAlgorithm::parse(algorithm)?;
    let digest = BASE64_STANDARD.decode(digest).map_err(|_| malformed("Upload-Checksum holds no Base64"))?;
    Ok(Some(Checksum { algorithm, digest }))
}

pub(super) fn creation(headers: &HeaderMap, query: Option<&str>) -> Result<Creation> {
    let deferred = headers.get("upload-defer-length").is_some_and(|value| value.as_bytes() == b"1");
    let size = number(headers, UPLOAD_LENGTH)?;
    if size.is_none() != deferred {
        return Err(malformed("say either Upload-Length or Upload-Defer-Length: 1"));
    }
    let metadata = headers.get(UPLOAD_METADATA);
    let metadata = metadata.map(|value| value.to_str().unwrap_or_default().to_owned());
    if metadata.as_ref().is_some_and(|text| text.len() > LONGEST_METADATA) {
        return Err(malformed(format!("Upload-Metadata is longer than {LONGEST_METADATA} bytes")));
    }
    let mut pairs: Vec<(Cow<'static, str>, Cow<'static, str>)> = Vec::new();
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        pairs.push((key.into_owned().into(), value.into_owned().into()));
    }
    for (key, value) in decoded(metadata.as_deref().unwrap_or_default())? {
        if key == "hardware" {
            // Keys of metadata are unique, so this one holds a list.
            let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
            pairs.extend(names.map(|name| (Cow::Borrowed("hardware"), name.to_owned().into())));
        } else if !IGNORED.contains(&key.as_str()) {
            pairs.push((key.into(), value.into()));
        }
    }
    let query = Query::of(pairs);
    query.only(&[&images::PARAMETERS[..], &MORE].concat())?;
    let sha256 = digest_of(&query, headers)?;
    let product = query.required("product", "thermo-x")?.to_owned();
    let version = query.required("version", "1.4.0")?.to_owned();
    Ok(Creation { product, version, query, size, sha256, metadata })
}

/// The image's SHA-256: from a parameter, or from `Repr-Digest`.
pub(in crate::http::publisher) fn digest_of(
    query: &Query<'_>,
    headers: &HeaderMap,
) -> Result<Option<[u8; 32]>> {
    match query.optional("sha256")? {
        Some(text) => digest(text).map(Some),
        None => super::super::headers::repr_digest(headers),
    }
}

/// `Upload-Metadata`: pairs of a key and its value in Base64, with commas between them.
fn decoded(metadata: &str) -> Result<Vec<(String, String)>> {
    let wrong =
        |key: &str| malformed(format!("Upload-Metadata: {key:?} has no value in Base64 that is UTF-8"));
    let pairs = metadata.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let bytes = BASE64_STANDARD.decode(value.trim()).map_err(|_| wrong(key))?;
        Ok((key.to_owned(), String::from_utf8(bytes).map_err(|_| wrong(key))?))
    });
    pairs.collect()
}

fn digest(text: &str) -> Result<[u8; 32]> {
    let hex = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    let base64 = || BASE64_STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    hex.or_else(base64).ok_or_else(|| malformed("sha256 is neither 64 hex digits nor the digest in Base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn metadata_and_query_say_the_same() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let value = |text: &str| BASE64_STANDARD.encode(text);
        let metadata = format!(
            "product {},version {}, filename {},hardware {},filetype {},sha256 {},allow_same_bytes",
            value("p"),
            value("1.0.0"),
            value("a.bin"),
            value("rev-a, rev-b"),
            value("application/x"),
            value(hex)
        );
        let headers = headers(&[(UPLOAD_LENGTH, "5"), (UPLOAD_METADATA, &metadata)]);
        let creation = creation(&headers, Some("channel=beta")).expect("well-formed");
        assert_eq!((creation.product.as_str(), creation.version.as_str()), ("p", "1.0.0"));
        assert_eq!(creation.query.all("hardware").collect::<Vec<_>>(), ["rev-a", "rev-b"]);
        assert_eq!(creation.query.optional("channel").expect("once"), Some("beta"));
        assert!(creation.query.flag("allow_same_bytes").expect("present without a value"));
        assert_eq!(hex::encode(creation.sha256.expect("given")), hex);
        assert_eq!((creation.size, creation.metadata), (Some(5), Some(metadata)));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let query = Some("product=p&version=1.0.0");
        for wrong in [
            headers(&[]),
            headers(&[(UPLOAD_LENGTH, "5"), ("upload-defer-length", "1")]),
            headers(&[(UPLOAD_LENGTH, "-5")]),
            headers(&[(UPLOAD_LENGTH, "+5")]),
            headers(&[(UPLOAD_LENGTH, "5"), (UPLOAD_METADATA, "notes ???")]),
            headers(&[(UPLOAD_LENGTH, "5"), (UPLOAD_METADATA, "chanel YmV0YQ==")]),
            headers(&[(UPLOAD_LENGTH, "5"), (UPLOAD_METADATA, "sha256 YmV0YQ==")]),
        ] {
            assert!(creation(&wrong, query).is_err(), "{wrong:?}");
        }
        assert!(creation(&headers(&[("upload-defer-length", "1")]), query).is_ok());
        assert!(checksum(&headers(&[("upload-checksum", "crc32 AAAA")])).is_err());
        assert!(checksum(&headers(&[("upload-checksum", "sha1 AAAA")])).expect("known").is_some());
    }
}
