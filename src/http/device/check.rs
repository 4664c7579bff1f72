//! `GET /v1/check`: facts from the query -> snapshot -> decision -> answer. No await, no lock, no store.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::Utc;

use super::DeviceState;
use crate::{
    api::{CheckAnswer, Problem},
    bucket::ObjectKey,
    domain::{ChannelName, Decision, Hardware, Offer, ProductName, Question, Version, decide},
    error::{Error, Kind, Result},
    http::{
        problem::HttpError,
        query::{Query, malformed},
    },
    telemetry::Answer,
};

/// The longest accepted `device`, in bytes.
const LONGEST_DEVICE: usize = 128;
/// Room for what stands around link and offer in an answer, in bytes, so that its buffer need not grow.
const ROOM_AROUND: usize = 96;

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
    let (answer, response) = match answer(&state, query.as_deref(), &headers) {
        Ok(answered) => answered,
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

fn answer(state: &DeviceState, query: Option<&str>, headers: &HeaderMap) -> Result<(Answer, Response)> {
    let query = Query::parse(query);
    let product = query.required("product", "thermo-x")?;
    let version = query.required("version", "1.3.0")?;
    let hardware = query.optional("hardware")?;
    let channel = query.optional("channel")?.unwrap_or("stable");
    let device = query.optional("device")?;
    // A bare `+` before build metadata reads as a space in a query; no version holds one.
    let plus =
        if version.contains(' ') { Cow::Owned(version.replace(' ', "+")) } else { Cow::Borrowed(version) };
    let version = Version::parse_reported(&plus).map_err(|error| malformed(error.to_string()))?;
    well_formed(product, channel, hardware, device)?;
    let snapshot = state.current.load();
    let Some(snapshot) = snapshot.as_ref() else {
        return Err(Error::new(
            Kind::Unavailable,
            "no-snapshot",
            "this server has just started and knows nothing yet: ask again",
        )
        .retry_after(Duration::from_secs(5)));
    };
    let question = Question { product, version: &version, hardware, channel };
    match decide(snapshot, &question) {
        Decision::Update(offer) => {
            let response = update(state, product, &offer, device, headers)?;
            Ok((Answer::Update, response))
        }
        Decision::UpToDate => Ok((Answer::UpToDate, nothing(state, device))),
        Decision::NothingForHardware => Ok((Answer::NothingForHardware, nothing(state, device))),
        Decision::UnknownProduct => Err(unknown(format!(
            "there is no product {product}: correct the device's settings, or create the product"
        ))),
        Decision::UnknownChannel => Err(unknown(format!(
            "product {product} has no channel {channel}: correct the device's settings, or promote a release to it"
        ))),
    }
}

/// A malformed name is the caller's mistake (400), where a well-formed unknown one is an answer (404).
fn well_formed(product: &str, channel: &str, hardware: Option<&str>, device: Option<&str>) -> Result<()> {
    ProductName::check(product).map_err(|error| malformed(error.to_string()))?;
    ChannelName::check(channel).map_err(|error| malformed(error.to_string()))?;
    if let Some(hardware) = hardware {
        Hardware::check(hardware).map_err(|error| malformed(error.to_string()))?;
    }
    if device.is_some_and(|device| device.len() > LONGEST_DEVICE) {
        return Err(malformed(format!("parameter \"device\" is longer than {LONGEST_DEVICE} bytes")));
    }
    Ok(())
}

fn update(
    state: &DeviceState,
    product: &str,
    offer: &Offer,
    device: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response> {
    let now = Utc::now();
    let key = ObjectKey::of(product, &offer.version, &offer.filename);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let link = state.links.link(&key, now, host)?;
    let lifetime = link
        .expires_at
        .map_or(state.cache_lifetime, |at| state.cache_lifetime.min((at - now).to_std().unwrap_or_default()));
    // The form of api::CheckAnswer; all but the link was rendered when the snapshot was built.
    let mut body = Vec::with_capacity(link.url.len() + offer.members.len() + ROOM_AROUND);
    body.extend_from_slice(b"{\"url\":");
    serde_json::to_writer(&mut body, &link.url).map_err(Error::internal)?;
    if let Some(at) = &link.expires_at {
        body.extend_from_slice(b",\"url_expires_at\":");
        serde_json::to_writer(&mut body, at).map_err(Error::internal)?;
    }
    body.push(b',');
    body.extend_from_slice(offer.members.as_bytes());
    body.push(b'}');
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    say_when(response.headers_mut(), state.poll_interval, lifetime, device);
    Ok(response)
}

fn nothing(state: &DeviceState, device: Option<&str>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    say_when(response.headers_mut(), state.poll_interval, state.cache_lifetime, device);
    response
}

/// `Retry-After`, spread by a tenth either way: by the device's id, so that each keeps its own rhythm, or else at random.
/// `Cache-Control`: an answer that names no device is the same for all.
fn say_when(headers: &mut HeaderMap, interval: Duration, lifetime: Duration, device: Option<&str>) {
    let seconds = interval.as_secs();
    let spread = seconds / 5;
    let offset = match device {
        _ if spread == 0 => 0,
        Some(device) => {
            let mut hasher = DefaultHasher::new();
            device.hash(&mut hasher);
            hasher.finish() % (spread + 1)
        }
        None => fastrand::u64(0..=spread),
    };
    let after = (seconds - spread / 2 + offset).max(1);
    headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
    let cache = match device {
        Some(_) => HeaderValue::from_static("private, no-store"),
        None => HeaderValue::try_from(format!("public, max-age={}", lifetime.as_secs()))
            .expect("digits and letters"),
    };
    headers.insert(header::CACHE_CONTROL, cache);
}

fn unknown(message: String) -> Error {
    Error::new(Kind::NotFound, "unknown-product-or-channel", message)
}
