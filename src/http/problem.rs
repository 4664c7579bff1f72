//! Errors as problem documents (RFC 9457), rendered in one place.
//!
//! A handler's [`Error`] becomes a response whose body is written later, by `complete` in the outermost layer: there
//! the request's id is known, and errors that never saw a handler (no route, wrong method, malformed JSON) get the
//! same form. There an error is logged, once, with its private cause.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    api::Problem,
    error::{Error, Kind},
};

/// The prefix of every problem's `type`.
pub const TYPE_PREFIX: &str = "urn:firmament:problem:";

/// The media type of RFC 9457.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// When to come back if the error does not say: every 429 has a Retry-After.
const LATER: Duration = Duration::from_secs(60);

/// An error on its way to the caller.
#[derive(Debug)]
pub struct HttpError(pub Error);

impl<E: Into<Error>> From<E> for HttpError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// What a response carries until [`complete`] writes its body.
#[derive(Clone)]
struct Pending(std::sync::Arc<Error>);

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let mut response = status(error.kind()).into_response();
        let headers = response.headers_mut();
        let delay = error.retry_delay().or(error.is_retryable().then_some(LATER));
        if let Some(delay) = delay {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
        }
        if error.kind() == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Pending(std::sync::Arc::new(error)));
        response
    }
}

/// The status of a kind. Overload is 429, never 503: load balancers take a node out on 503.
fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Malformed | Kind::Interrupted => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Gone => StatusCode::GONE,
        Kind::Refused => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Busy | Kind::Unavailable => StatusCode::TOO_MANY_REQUESTS,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The error that a response carries, for whoever counts it.
pub(super) fn carried(response: &Response) -> Option<&Error> {
    response.extensions().get::<Pending>().map(|pending| pending.0.as_ref())
}

/// Whether a response is an error that does not say of itself when to come again.
pub(super) fn is_timeless(response: &Response) -> bool {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    is_error && carried(response).and_then(Error::retry_delay).is_none()
}

/// Writes the problem document of an error response and logs the error. Other responses pass as they are.
pub(super) fn complete(response: Response, request_id: Option<&str>) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    // JSON is a handler's own answer, such as that of a /readyz that is not ready; axum's errors are plain text.
    let is_whole = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| {
        [MEDIA_TYPE, "application/json"].iter().any(|whole| value.as_bytes().starts_with(whole.as_bytes()))
    });
    if is_whole {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let pending = parts.extensions.remove::<Pending>();
    let (code, detail, reasons) = match &pending {
        Some(Pending(error)) => {
            log(error, status, request_id);
            (error.code(), error.message().to_owned(), error.reasons().to_vec())
        }
        None => {
            drop(body);
            let (code, detail) = unhandled(status);
            (code, detail.to_owned(), Vec::new())
        }
    };
    let problem = Problem {
        kind: format!("{TYPE_PREFIX}{code}"),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        detail,
        reasons,
        request_id: request_id.map(str::to_owned),
    };
    let body = serde_json::to_vec(&problem).expect("a problem is plain data");
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    parts.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    Response::from_parts(parts, Body::from(body))
}

fn log(error: &Error, status: StatusCode, request_id: Option<&str>) {
    let (status, code, cause) = (status.as_u16(), error.code(), error.cause());
    if error.is_ours() {
        tracing::error!(request_id, status, code, cause, "{error}");
    } else if !error.reasons().is_empty() {
        // What the version check refused is no change, so the audit log has nothing of it.
        let reasons: Vec<_> = error.reasons().iter().map(|reason| reason.code.as_ref()).collect();
        tracing::info!(request_id, status, code, reasons = reasons.join(","), "refused");
    } else {
        tracing::debug!(request_id, status, code, cause, "{error}");
    }
}

/// Errors that axum made before a handler was reached.
fn unhandled(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::NOT_FOUND => {
            ("no-such-route", "there is nothing at this path; GET /openapi.json lists what there is")
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            ("method-not-allowed", "this path has other methods; see the Allow header")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ("body-too-large", "the body is larger than this route takes"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ("unsupported-media-type", "send JSON with Content-Type: application/json")
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            ("range-not-satisfiable", "the range begins behind the image's end; Content-Range has its size")
        }
        status if status.is_server_error() => ("internal", "something failed on our side"),
        _ => ("malformed", "the request is not well-formed"),
    }
}
