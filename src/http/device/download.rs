//! `GET /v1/download/…`: the bytes of an image, in the embedded default, where no bucket server or CDN has them.
//!
//! HTTP as RFC 9110 has it for an immutable file: a strong entity tag, `If-None-Match`, `Range` with one range,
//! `If-Range`, HEAD. A request for several ranges gets the whole file, which the RFC allows.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use headers::{HeaderMapExt, IfNoneMatch, IfRange};
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio_util::io::ReaderStream;

use super::{DeviceState, access, no_snapshot};
use crate::{
    api::Problem,
    error::{Error, Kind},
    http::{head::Head, problem::HttpError},
};

/// How much is read from the file at once, in bytes.
const CHUNK: usize = 128 * 1024;

/// An image (embedded default only).
#[utoipa::path(
    get, path = "/v1/download/{product}/{version}/{filename}", tag = "device",
    params(
        ("product" = String, Path, description = "The product's slug"),
        ("version" = String, Path, description = "The release's version"),
        ("filename" = String, Path, description = "The image's file name"),
        ("c" = Option<String>, Query, description = "The seal, of private products"),
        ("device" = Option<String>, Query, description = "Who asks, with a credential instead of a seal"),
    ),
    responses(
        (status = 200, description = "The whole image", content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for"),
        (status = 304, description = "The caller has it already"),
        (status = 401, description = "A private image, and neither seal nor credential", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 403, description = "The seal has ended: check again", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 404, description = "No such image here", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 416, description = "The range is beyond the image's end", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 429, description = "Too many downloads at once", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
    )
)]
pub async fn download(
    State(state): State<Arc<DeviceState>>,
    Path((product, version, filename)): Path<(String, String, String)>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let missing = || {
        Error::new(
            Kind::NotFound,
            "no-such-image",
            "there is no such image here: check again for a fresh link",
        )
    };
    let reader = state.reader.as_ref().ok_or_else(missing)?;
    let key = format!("{product}/{version}/{filename}");
    let private = {
        // A product that is not known here may be private: nothing is given out of it.
        let snapshot = state.current.load();
        let snapshot = snapshot.as_ref().ok_or_else(|| no_snapshot(&state.pace))?;
        let product = snapshot.product(&product).ok_or_else(missing)?;
        access::permit(product, &key, &Head::of(&uri, &headers))?;
        product.is_private()
    };
    let permit = Arc::clone(&state.downloads).try_acquire_owned().map_err(|_| {
        Error::new(Kind::Busy, "too-many-downloads", "too many downloads are under way: try again")
            .retry_after(state.pace.later().pick().wait())
    })?;
    let Some((object, mut file)) = reader.open(&key).await? else { return Err(missing().into()) };

    let quoted = format!("\"{}\"", object.etag);
    let etag: headers::ETag =
        quoted.parse().map_err(|_| Error::internal("an entity tag with a quote in it"))?;
    let mut answer = HeaderMap::new();
    answer.typed_insert(etag.clone());
    answer.typed_insert(headers::AcceptRanges::bytes());
    let texts = [
        (header::CACHE_CONTROL, object.cache_control),
        (header::CONTENT_TYPE, object.content_type),
        (header::CONTENT_DISPOSITION, object.content_disposition.as_str()),
    ];
    for (name, text) in texts {
        answer.insert(name, HeaderValue::from_str(text).map_err(Error::internal)?);
    }
    if private {
        // The link ends, and so must every copy that somebody on the way could give out.
        answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
    answer.typed_insert(headers::LastModified::from(std::time::SystemTime::from(object.last_modified)));
    if headers.typed_get::<IfNoneMatch>().is_some_and(|condition| !condition.precondition_passes(&etag)) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }

    let size = object.size;
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).filter(|_| {
        // RFC 9110, 13.1.5: a range of another representation is worth nothing.
        let modified = headers::LastModified::from(std::time::SystemTime::from(object.last_modified));
        headers
            .typed_get::<IfRange>()
            .is_none_or(|condition| !condition.is_modified(Some(&etag), Some(&modified)))
    });
    let (status, start, length) = match range.map(|range| wanted(range, size)) {
        None | Some(Wanted::Whole) => (StatusCode::OK, 0, size),
        Some(Wanted::Part(start, length)) => {
            let text = format!("bytes {start}-{}/{size}", start + length - 1);
            answer.insert(header::CONTENT_RANGE, HeaderValue::try_from(text).map_err(Error::internal)?);
            (StatusCode::PARTIAL_CONTENT, start, length)
        }
        Some(Wanted::Beyond) => {
            let text = HeaderValue::try_from(format!("bytes */{size}")).map_err(Error::internal)?;
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, text)]).into_response());
        }
    };
    answer.typed_insert(headers::ContentLength(length));
    if method == Method::HEAD {
        return Ok((status, answer).into_response());
    }
    file.seek(SeekFrom::Start(start)).await.map_err(Error::internal)?;
    let metrics = Arc::clone(&state.metrics);
    let bytes = ReaderStream::with_capacity(file.take(length), CHUNK).inspect(move |read| {
        // The permit lives as long as the body.
        let _held = &permit;
        if let Ok(bytes) = read {
            metrics.download_bytes.inc_by(bytes.len() as u64);
        }
    });
    Ok((status, answer, Body::from_stream(bytes)).into_response())
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(u64, u64),
    Beyond,
}

/// What a `Range` header asks for of a file of that size (RFC 9110, 14.1). One that is not well-formed, has another unit or
/// several ranges is as good as none. The typed header of the `headers` crate is not used: it takes a suffix that is
/// longer than the file for unsatisfiable.
fn wanted(range: &str, size: u64) -> Wanted {
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten()
    };
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Wanted::Whole;
    };
    let (start, end) = match (first, number(first), last, number(last)) {
        ("", _, _, Some(suffix)) => (size.saturating_sub(suffix), size),
        (_, Some(first), "", _) => (first, size),
        (_, Some(first), _, Some(last)) if first <= last => (first, last.saturating_add(1).min(size)),
        _ => return Wanted::Whole,
    };
    if start >= end { Wanted::Beyond } else { Wanted::Part(start, end - start) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_them() {
        assert_eq!(wanted("bytes=0-3", 10), Wanted::Part(0, 4));
        assert_eq!(wanted("bytes=4-", 10), Wanted::Part(4, 6));
        assert_eq!(wanted("bytes=-3", 10), Wanted::Part(7, 3));
        assert_eq!(wanted("bytes=-30", 10), Wanted::Part(0, 10));
        assert_eq!(wanted("bytes=8-100", 10), Wanted::Part(8, 2));
        assert_eq!(wanted("bytes=9-9", 10), Wanted::Part(9, 1));
        assert_eq!(wanted("bytes=10-", 10), Wanted::Beyond);
        assert_eq!(wanted("bytes=0-1,4-5", 10), Wanted::Whole);
        for ignored in ["lines=0-1", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=+1-2", "bytes 0-1"]
        {
            assert_eq!(wanted(ignored, 10), Wanted::Whole, "{ignored}");
        }
        assert_eq!(wanted("bytes=-0", 10), Wanted::Beyond);
        assert_eq!(wanted("bytes=0-18446744073709551615", 10), Wanted::Part(0, 10));
    }
}
