//! `GET /v1/check`: facts from the query -> snapshot -> decision -> answer. No await, no lock, no store.
//!
//! [`at_once`] is the same answer for the server loop, before any router: nothing lies between hyper and it. What it does
//! not answer, such as a malformed question, goes on to the router and is answered by [`check`].
//!
//! An answer is made of few pieces: what an offer says besides its link was rendered when the snapshot was built, the
//! headers' values were made at the start, and names are read where they stand in the query.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, SecondsFormat, Utc};

use super::{DeviceState, question::Asked};
use crate::{
    api::{CheckAnswer, Problem},
    domain::{Decision, Offer, decide},
    error::{Error, Kind, Result},
    http::{front, problem::HttpError},
    telemetry::Answer,
};

/// The path of this route.
pub const PATH: &str = "/v1/check";
/// Room for what stands around link and offer in an answer, in bytes, so that its buffer need not grow.
const ROOM_AROUND: usize = 96;
/// Room for a link, in bytes.
const ROOM_FOR_LINK: usize = 256;
/// How many different values `Retry-After` has, at most.
const RHYTHMS: u64 = 256;

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
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 204, description = "Nothing newer", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
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
    let (answer, response) = match answer(&state, query.as_deref(), host) {
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
    let (answer, response) = answer(state, uri.query(), front::host(headers)?).ok()?;
    state.metrics.check(answer);
    Some(response)
}

fn answer(state: &DeviceState, query: Option<&str>, host: &str) -> Result<(Answer, Response<Bytes>)> {
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
    match decide(snapshot, &asked.question()) {
        Decision::Update(offer) => Ok((Answer::Update, update(state, offer, device, host)?)),
        Decision::UpToDate => Ok((Answer::UpToDate, nothing(state, device))),
        Decision::NothingForHardware => Ok((Answer::NothingForHardware, nothing(state, device))),
        Decision::UnknownProduct => Err(unknown(format!(
            "there is no product {}: correct the device's settings, or create the product",
            asked.question().product
        ))),
        Decision::UnknownChannel => Err(unknown(format!(
            "product {} has no channel {}: correct the device's settings, or promote a release to it",
            asked.question().product,
            asked.question().channel
        ))),
    }
}

fn update(
    state: &DeviceState,
    offer: Offer<'_>,
    device: Option<&str>,
    host: &str,
) -> Result<Response<Bytes>> {
    let now = Utc::now();
    let members = offer.members();
    // The form of api::CheckAnswer; all but the link was rendered when the snapshot was built.
    let mut body = String::with_capacity(members.len() + ROOM_FOR_LINK + ROOM_AROUND);
    body.push_str("{\"url\":\"");
    let expires_at = state.links.write(&mut body, offer.key(), now, host)?;
    body.push_str("\",");
    if let Some(at) = expires_at {
        let at = at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        ["\"url_expires_at\":\"", &at, "\","].iter().for_each(|part| body.push_str(part));
    }
    body.push_str(members);
    body.push('}');
    let mut response = Response::new(Bytes::from(body));
    *response.headers_mut() = HeaderMap::with_capacity(4);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    state.pace.say_when(response.headers_mut(), device, expires_at.map(|at| (at, now)));
    Ok(response)
}

fn nothing(state: &DeviceState, device: Option<&str>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = HeaderMap::with_capacity(4);
    state.pace.say_when(response.headers_mut(), device, None);
    response
}

/// When devices ask again and caches do, as the values of headers, made once.
pub struct Pace {
    /// Of `Retry-After`: from a tenth less than the interval to a tenth more.
    retry_after: Box<[HeaderValue]>,
    cache_lifetime: Duration,
    cache_control: HeaderValue,
}

impl Pace {
    /// Devices ask every `interval`, more or less; shared caches keep an answer for `cache_lifetime`.
    pub fn new(interval: Duration, cache_lifetime: Duration) -> Self {
        let seconds = interval.as_secs();
        let spread = seconds / 5;
        let values = (spread + 1).min(RHYTHMS);
        let value = |index: u64| {
            let offset = if values > 1 { index * spread / (values - 1) } else { 0 };
            HeaderValue::from((seconds - spread / 2 + offset).max(1))
        };
        Self {
            retry_after: (0..values).map(value).collect(),
            cache_lifetime,
            cache_control: cache_control(cache_lifetime),
        }
    }

    /// `Retry-After`, spread by the device's id, so that each keeps its own rhythm, or else at random.
    /// `Cache-Control`: an answer that names no device is the same for all, as long as its link lives.
    fn say_when(
        &self,
        headers: &mut HeaderMap,
        device: Option<&str>,
        link: Option<(DateTime<Utc>, DateTime<Utc>)>,
    ) {
        let values = self.retry_after.len();
        let index = match device {
            Some(device) => {
                let mut hasher = DefaultHasher::new();
                device.hash(&mut hasher);
                // Which of the values, not how many.
                usize::try_from(hasher.finish() % values as u64).unwrap_or_default()
            }
            None => fastrand::usize(..values),
        };
        headers.insert(header::RETRY_AFTER, self.retry_after[index].clone());
        let cache = match (device, link) {
            (Some(_), _) => HeaderValue::from_static("private, no-store"),
            (None, Some((expires_at, now))) => {
                let left = (expires_at - now).to_std().unwrap_or_default();
                cache_control(self.cache_lifetime.min(left))
            }
            (None, None) => self.cache_control.clone(),
        };
        headers.insert(header::CACHE_CONTROL, cache);
    }
}

fn cache_control(lifetime: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("public, max-age={}", lifetime.as_secs())).expect("digits and letters")
}

fn unknown(message: String) -> Error {
    Error::new(Kind::NotFound, "unknown-product-or-channel", message)
}
