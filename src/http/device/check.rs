//! `GET /v1/check`: facts from the query -> snapshot -> decision -> answer. No await, no lock, no store.
//!
//! [`at_once`] is the same answer for the server loop, before any router: nothing lies between hyper and it. What it does
//! not answer, such as a malformed question, goes on to the router and is answered by [`check`].
//!
//! An answer is made of few pieces: what an offer says besides its link was rendered when the snapshot was built, the
//! headers' values were made at the start, and names are read where they stand in the query.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use chrono::{SecondsFormat, Utc};

use super::{DeviceState, question::Asked};
use crate::{
    api::{CheckAnswer, Problem},
    cdn::purge::check_tag,
    domain::{Decision, Offer, decide},
    error::{Error, Kind, Result},
    http::{front, problem::HttpError},
    telemetry::Answer,
};

/// <https://techdocs.akamai.com/purge-cache/docs/cache-tags>
const EDGE_CACHE_TAG: HeaderName = HeaderName::from_static("edge-cache-tag");
/// The path of this route.
pub const PATH: &str = "/v1/check";
/// What stands before the link in an answer.
const BEFORE_LINK: &str = "{\"url\":\"";
/// Room for what stands around link and offer in an answer, in bytes, so that its buffer need not grow.
const ROOM_AROUND: usize = 96;
/// Room for a link, in bytes.
const ROOM_FOR_LINK: usize = 256;

/// Is there newer firmware for this device?
///
/// Without `device` the answer is the same for all devices that ask the same, and may be cached by a CDN.
#[utoipa::path(
    get, path = "/v1/check", tag = "device",
    params(
        ("product" = String, Query, description = "The product's slug", example = "thermo-x"),
        ("version" = String, Query, description = "The version that the device runs (SemVer 2.0)", example = "1.3.0"),
        ("hardware" = Option<String>, Query, description = "Its board; without it, only images for all hardware are offered"),
        ("channel" = Option<String>, Query, description = "The channel that it follows; default `stable`"),
        ("device" = Option<String>, Query, description = "An id of the device, at most 128 bytes; spreads the polls"),
    ),
    responses(
        (status = 200, description = "Newer firmware", body = CheckAnswer, headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"),
            ("ETag" = String, description = "Of answers that are the same for all devices"))),
        (status = 204, description = "Nothing newer", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 304, description = "What `If-None-Match` names is still the answer"),
        (status = 400, description = "A parameter is missing or malformed", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product or channel", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too busy, or no snapshot yet", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn check(
    State(state): State<Arc<DeviceState>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let (answer, response) = match answer(&state, query.as_deref(), host, &headers) {
        Ok((answer, response)) => (answer, response.map(Body::from)),
        Err(error) => {
            let answer = match error.kind() {
                Kind::NotFound => Answer::Unknown,
                Kind::Malformed => Answer::Malformed,
                _ => Answer::NotReady,
            };
            (answer, HttpError(error).into_response())
        }
    };
    state.metrics.check(answer);
    response
}

/// Answers a check that is well-formed and of a product that exists; `None` = let the router do it.
pub fn at_once(
    state: &DeviceState,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<Response<Bytes>> {
    if uri.path() != PATH || !(method == Method::GET || method == Method::HEAD) {
        return None;
    }
    let (answer, response) = answer(state, uri.query(), front::host(headers)?, headers).ok()?;
    state.metrics.check(answer);
    Some(response)
}

fn answer(
    state: &DeviceState,
    query: Option<&str>,
    host: &str,
    headers: &HeaderMap,
) -> Result<(Answer, Response<Bytes>)> {
    let asked = Asked::parse(query.unwrap_or_default())?;
    let snapshot = state.current.load();
    let Some(snapshot) = snapshot.as_ref() else {
        return Err(Error::new(
            Kind::Unavailable,
            "no-snapshot",
            "this server has just started and knows nothing yet: ask again",
        )
        .retry_after(Duration::from_secs(5)));
    };
    let device = asked.device();
    let (answer, mut response) = match decide(snapshot, &asked.question()) {
        Decision::Update(offer) => (Answer::Update, update(state, offer, device, host, headers)?),
        Decision::UpToDate => (Answer::UpToDate, nothing(state, device)),
        Decision::NothingForHardware => (Answer::NothingForHardware, nothing(state, device)),
        Decision::UnknownProduct => {
            return Err(unknown(format!(
                "there is no product {}: correct the device's settings, or create the product",
                asked.question().product
            )));
        }
        Decision::UnknownChannel => {
            return Err(unknown(format!(
                "product {} has no channel {}: correct the device's settings, or promote a release to it",
                asked.question().product,
                asked.question().channel
            )));
        }
    };
    if let Some(template) = &state.check_tag {
        tag_for_cdn(template, asked.question().product, &mut response);
    }
    Ok((answer, response))
}

/// Names the answer for a CDN that caches it, so that a change of the product can purge it. Only where a CDN is there to
/// read it, which takes the field off; a 304 changes no tag.
fn tag_for_cdn(template: &str, product: &str, response: &mut Response<Bytes>) {
    let cacheable = response.headers().get(header::CACHE_CONTROL);
    if cacheable.is_none_or(|value| !value.as_bytes().starts_with(b"public"))
        || response.status() == StatusCode::NOT_MODIFIED
    {
        return;
    }
    if let Ok(tag) = HeaderValue::try_from(check_tag(template, product)) {
        response.headers_mut().insert(EDGE_CACHE_TAG, tag);
    }
}

fn update(
    state: &DeviceState,
    offer: Offer<'_>,
    device: Option<&str>,
    host: &str,
    request: &HeaderMap,
) -> Result<Response<Bytes>> {
    let now = Utc::now();
    let members = offer.members();
    // The form of api::CheckAnswer; all but the link was rendered when the snapshot was built.
    let mut body = String::with_capacity(members.len() + ROOM_FOR_LINK + ROOM_AROUND);
    body.push_str(BEFORE_LINK);
    let expires_at = state.links.write(&mut body, offer.key(), now, host)?;
    let left = expires_at.map(|at| (at - now).to_std().unwrap_or_default());
    let mut response = Response::new(Bytes::new());
    *response.headers_mut() = HeaderMap::with_capacity(4);
    state.pace.say_when(response.headers_mut(), device, left);
    // An answer to one device is kept by nobody who could ask whether it is still true.
    if device.is_none() {
        let tag = entity_tag(offer.tag(), &body[BEFORE_LINK.len()..]);
        let known = request.get_all(header::IF_NONE_MATCH).iter().any(|known| matches(known, &tag));
        response.headers_mut().insert(header::ETAG, tag);
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
    }
    body.push_str("\",");
    if let Some(at) = expires_at {
        let at = at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        ["\"url_expires_at\":\"", &at, "\","].iter().for_each(|part| body.push_str(part));
    }
    body.push_str(members);
    body.push('}');
    *response.body_mut() = Bytes::from(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Strong, and the same on every replica: of what the offer says, and of the link.
fn entity_tag(offer: &str, link: &str) -> HeaderValue {
    let link = crc32fast::hash(link.as_bytes());
    HeaderValue::try_from(format!("\"{offer}{link:08x}\"")).expect("hex digits and quotes")
}

/// Whether a value of `If-None-Match` names the tag (RFC 9110, 13.1.2; a weak form of it means the same here).
fn matches(known: &HeaderValue, tag: &HeaderValue) -> bool {
    known.to_str().is_ok_and(|known| {
        known
            .split(',')
            .map(|each| each.trim().trim_start_matches("W/"))
            .any(|each| each == "*" || each == tag)
    })
}

fn nothing(state: &DeviceState, device: Option<&str>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = HeaderMap::with_capacity(4);
    state.pace.say_when(response.headers_mut(), device, None);
    response
}

fn unknown(message: String) -> Error {
    Error::new(Kind::NotFound, "unknown-product-or-channel", message)
}
