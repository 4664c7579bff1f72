//! `PUT …/path`: how devices come to a release.

use axum::{
    Json,
    extract::{Path, State, rejection::BytesRejection},
};
use bytes::Bytes;

use super::{PublisherState, json, parsed, releases, view};
use crate::{
    api::{PathBody, Problem, ReleaseView},
    config::Scope,
    domain::{ProductName, UpgradePath, Version},
    error::Result,
    http::{authentication::Authenticated, problem::HttpError, query::malformed},
    publishing::{Changed, Repathing, release_of},
    version_check::Consent,
};

/// Says how devices come to a release: whether it is a floor, and the lowest version that can take it.
///
/// Refused if devices would be left without a way to what their channel offers highest.
#[utoipa::path(
    put, path = "/v1/products/{product}/releases/{version}/path", tag = "publish",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Path, description = "The release"),
    ),
    request_body = PathBody,
    responses(
        (status = 200, description = "Set, or set so already", body = ReleaseView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product or release", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Devices would be stranded; see reasons", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn set_path(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path((product, version)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ReleaseView>, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    let version = parsed(Version::parse(&version))?;
    caller.authorize(Scope::Publish, Some(&product))?;
    let body: PathBody = json(body)?;
    let path = upgrade_path(&version, body.floor, body.upgrade_from.as_deref())?;
    let reason = body.reason.as_deref().map(releases::reason).transpose()?;
    let consent = Consent { allow_stranding: body.allow_stranding, reason, ..Consent::default() };
    let request = Repathing { product, version, path, consent, actor: caller.actor() };
    let Changed { state: known, warnings } = state.publishing.set_path(&request).await?;
    let view = view::release(&state, &known, release_of(&known, &request.version)?)?;
    Ok(Json(ReleaseView { warnings, ..view }))
}

/// How devices come to `version`, as it was given.
pub(super) fn upgrade_path(
    version: &Version,
    floor: bool,
    upgrade_from: Option<&str>,
) -> Result<UpgradePath> {
    let upgrade_from = parsed(upgrade_from.map(Version::parse).transpose())?;
    if let Some(lowest) = upgrade_from.as_ref().filter(|lowest| *lowest >= version) {
        return Err(malformed(format!(
            "upgrade_from {lowest} is not lower than {version}: name the lowest version that can take {version}"
        )));
    }
    Ok(UpgradePath { floor, upgrade_from })
}
