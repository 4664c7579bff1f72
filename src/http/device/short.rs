//! `GET /d/…`: a short and stable link to an image, answered with the way to it.
//!
//! It is for devices whose modem cuts the URLs of a CDN with their tokens, and for agents that resume by the URL that they
//! were given: each time they ask, they get a link that is signed anew. The answer is made from the snapshot alone.
//!
//! Invariants: it redirects to nothing but the image that it names; to a private one only on a seal or a credential
//! ([`super::access`]); and nobody keeps the answer, since what it leads to expires.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use chrono::Utc;

use super::{DeviceState, access, no_snapshot};
use crate::{
    api::Problem,
    error::{Error, Kind},
    http::{front, head::Head, problem::HttpError},
};

/// The way to an image, by its short link
///
/// Of products whose offers carry short links. A private product's needs the `c` that the link came with, or the
/// device's credential.
#[utoipa::path(
    get, path = "/d/{id}", tag = "device",
    params(
        ("id" = String, Path, description = "11 letters and digits, from an offer's `url`", example = "a3z60cmxs91"),
        ("c" = Option<String>, Query, description = "The seal, of private products"),
        ("device" = Option<String>, Query, description = "Who asks, with a credential instead of a seal"),
    ),
    responses(
        (status = 302, description = "`Location` leads to the image, signed anew"),
        (status = 401, description = "A private image, and neither seal nor credential", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 403, description = "The seal has ended: check again", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 404, description = "No such image", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 410, description = "The image was recalled or removed: check again", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 429, description = "No snapshot yet", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
    )
)]
pub async fn short(
    State(state): State<Arc<DeviceState>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let head = Head::of(&uri, &headers);
    let snapshot = state.current.load();
    let snapshot = snapshot.as_ref().ok_or_else(|| no_snapshot(&state.pace))?;
    let Some((product, image)) = snapshot.short_image(&id) else {
        return Err(Error::new(
            Kind::NotFound,
            "no-such-image",
            "this link names no image: check again for a fresh link",
        )
        .into());
    };
    access::permit(product, image.key, &head)?;
    if image.gone {
        return Err(Error::new(
            Kind::Gone,
            "image-gone",
            "this image was taken back or removed: drop what you have loaded of it, and check again",
        )
        .into());
    }
    let host = front::host(&head).unwrap_or_default();
    let mut url = String::new();
    state.links.write_on(&mut url, &access::terms(product), &state.short, image.key, Utc::now(), host)?;
    let location = HeaderValue::try_from(url).map_err(Error::internal)?;
    let mut response = StatusCode::FOUND.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
