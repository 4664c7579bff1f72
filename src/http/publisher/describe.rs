//! What a release says of itself: its notes, and what it fixes. (Its documents are in `attachments`.)

use axum::{
    Json,
    extract::{Path, State, rejection::BytesRejection},
};
use bytes::Bytes;

use super::{PublisherState, json, parsed, view};
use crate::{
    api::{NotesBody, Problem, ReleaseView, SecurityBody},
    config::Scope,
    domain::{CveId, ProductName, Security, Version},
    error::Result,
    http::{
        authentication::{Authenticated, Caller},
        problem::HttpError,
        query::malformed,
    },
    publishing::{Describing, Saying, release_of},
};

/// The longest release notes, in bytes: devices get them with every offer.
const LONGEST_NOTES: usize = 8000;
/// The most CVE ids of a release.
const MOST_CVES: usize = 1000;

/// Sets a release's notes.
#[utoipa::path(
    put, path = "/v1/products/{product}/releases/{version}/notes", tag = "publish",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Path, description = "The release"),
    ),
    request_body = NotesBody,
    responses(
        (status = 200, description = "The release as it is now", body = ReleaseView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product or release", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put_notes(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(release): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ReleaseView>, HttpError> {
    let (product, version) = named(&caller, &release)?;
    let body: NotesBody = json(body)?;
    let text = body.notes.as_deref().filter(|notes| !notes.trim().is_empty());
    let change = Saying::Notes(text.map(notes).transpose()?);
    change_of(&state, &caller, product, version, change).await
}

/// Says which vulnerabilities a release fixes.
#[utoipa::path(
    put, path = "/v1/products/{product}/releases/{version}/security", tag = "publish",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Path, description = "The release"),
    ),
    request_body = SecurityBody,
    responses(
        (status = 200, description = "The release as it is now", body = ReleaseView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product or release", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put_security(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(release): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ReleaseView>, HttpError> {
    let (product, version) = named(&caller, &release)?;
    let body: SecurityBody = json(body)?;
    if body.cves.len() > MOST_CVES {
        return Err(malformed(format!("a release names at most {MOST_CVES} CVE ids")).into());
    }
    let security = Security {
        severity: parsed(body.severity.parse())?,
        cves: parsed(body.cves.iter().map(|id| CveId::parse(id)).collect::<Result<_, _>>())?,
    };
    change_of(&state, &caller, product, version, Saying::Security(Some(security))).await
}

/// Takes back what a release says of vulnerabilities.
#[utoipa::path(
    delete, path = "/v1/products/{product}/releases/{version}/security", tag = "publish",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Path, description = "The release"),
    ),
    responses(
        (status = 200, description = "The release as it is now", body = ReleaseView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product or release", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete_security(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(release): Path<(String, String)>,
) -> Result<Json<ReleaseView>, HttpError> {
    let (product, version) = named(&caller, &release)?;
    change_of(&state, &caller, product, version, Saying::Security(None)).await
}

/// The release that a path names, if the caller may change it.
pub(super) fn named(
    caller: &Caller,
    (product, version): &(String, String),
) -> Result<(ProductName, Version)> {
    let product = parsed(ProductName::parse(product))?;
    let version = parsed(Version::parse(version))?;
    caller.authorize(Scope::Publish, Some(&product))?;
    Ok((product, version))
}

async fn change_of(
    state: &PublisherState,
    caller: &Caller,
    product: ProductName,
    version: Version,
    change: Saying,
) -> Result<Json<ReleaseView>, HttpError> {
    let request = Describing { product, version, change, actor: caller.actor() };
    let known = state.publishing.describe(&request).await?.state;
    Ok(Json(view::release(state, &known, release_of(&known, &request.version)?)?))
}

/// Release notes that may be kept.
pub(super) fn notes(text: &str) -> Result<String> {
    if text.len() > LONGEST_NOTES || text.contains('\0') {
        return Err(malformed(format!(
            "the notes have a NUL character or are longer than {LONGEST_NOTES} bytes: keep them short and link to more"
        )));
    }
    Ok(text.to_owned())
}
