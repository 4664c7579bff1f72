//! What every request passes first, on both listeners.
//!
//! - Exactly one `Host` (RFC 9112, 3.2): a request without or with two could be read differently by a proxy and by us.
//!   Only a balancer's question for health may come in HTTP/1.0 without one.
//! - No `.` or `..` segment in the raw path, also not percent-encoded: nobody here resolves them, somebody else may.
//! - A panic is a 500, not a dropped connection, and is logged.
//! - Errors become problem documents; those of the device side say when to ask again (`device`).

use std::panic::AssertUnwindSafe;

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    head::Head,
    problem::{self, HttpError},
};
use crate::{
    error::{Error, Kind},
    telemetry::Metrics,
};

/// The header that names a request in our logs and the caller's.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The publisher side's front: every request has an id, is logged, and gets the id back.
pub async fn publisher(
    State(metrics): State<std::sync::Arc<Metrics>>,
    request: Request,
    next: Next,
) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    // What we would repeat in logs and headers must be short and printable.
    let sane = given
        .filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
    let id = sane.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", id, %method, path, actor = tracing::field::Empty);
    let began = std::time::Instant::now();
    let mut response = guarded(request, next).instrument(span.clone()).await;
    let _entered = span.enter();
    if let Some(error) = problem::carried(&response) {
        metrics.error(error);
    }
    // A u128 would be logged as a text.
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(status = response.status().as_u16(), milliseconds, "answered");
    response = problem::complete(response, Some(&id));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Refuses what nobody may ask so, and makes an error of a panic. Its errors are not completed yet.
pub(super) async fn guarded(request: Request, next: Next) -> Response {
    if let Err(error) = admissible(&request) {
        return HttpError(error).into_response();
    }
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            HttpError(Error::internal(format!("panicked: {text}"))).into_response()
        }
    }
}

fn admissible(request: &Request) -> Result<(), Error> {
    if host(&Head::of(request.uri(), request.headers())).is_none() && !is_old_probe(request) {
        return Err(Error::new(
            Kind::Malformed,
            "host-header",
            "send exactly one Host header that names a host",
        ));
    }
    if has_dot_segment(request.uri().path()) {
        return Err(Error::new(
            Kind::Malformed,
            "path-not-normal",
            "the path has a '.' or '..' segment: send the path that you mean",
        ));
    }
    Ok(())
}

/// HTTP/1.0 has no `Host`, and load balancers commonly ask for health in it.
fn is_old_probe(request: &Request) -> bool {
    request.version() == Version::HTTP_10
        && !request.headers().contains_key(header::HOST)
        && matches!(request.uri().path(), "/livez" | "/readyz")
}

/// The one host that a request names; `None` = none, more than one, or none that could be a host.
pub fn host<'a>(head: &Head<'a>) -> Option<&'a str> {
    let host = head.one(&header::HOST).filter(|host| is_authority(host))?;
    std::str::from_utf8(host).ok()
}

/// The characters of a host name, an address, and a port: what may safely become part of a link.
fn is_authority(host: &[u8]) -> bool {
    let allowed =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (1..=255).contains(&host.len()) && host.iter().all(allowed)
}

fn has_dot_segment(path: &str) -> bool {
    // Nearly every path has no dot behind a slash at all.
    let bytes = path.as_bytes();
    if !bytes.windows(2).any(|pair| pair[0] == b'/' && matches!(pair[1], b'.' | b'%')) {
        return false;
    }
    path.split('/').any(|segment| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain == "." || plain == ".."
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_seen_in_every_spelling() {
        for path in ["/a/../b", "/..", "/a/.", "/%2e%2E/x", "/.%2e", "/v1/./x"] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in ["/", "/a/b", "/.well-known", "/a..b/c", "/...", "/1.4.0/app.bin", "/%2f"] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }

    #[test]
    fn a_host_is_a_host() {
        for host in ["a", "fw.example.com:8080", "[::1]:80", "10.0.0.1", "a_b.local"] {
            assert!(is_authority(host.as_bytes()), "{host}");
        }
        for host in ["", "a b", "a/b", "a@b", "a\"b", "a?b", "a#b"] {
            assert!(!is_authority(host.as_bytes()), "{host}");
        }
    }
}
