//! Releases: promote, recall, read.

use axum::{
    Json,
    extract::{Path, State, rejection::BytesRejection},
};
use bytes::Bytes;

use super::{PublisherState, json, parsed, purges, view};
use crate::{
    api::{ChannelView, Problem, PromoteBody, RecallBody, ReleaseList, ReleaseView},
    config::Scope,
    domain::{ChannelName, ProductName, Version},
    http::{authentication::Authenticated, problem::HttpError, query::malformed},
    publishing::{Changed, Promotion, Recalling, release_of},
    version_check::Consent,
};

/// The longest reason, in bytes.
const LONGEST_REASON: usize = 2000;

/// Promotes a stored release: from now on, or once the CDN serves it if the settings demand that, the channel offers it.
#[utoipa::path(
    put, path = "/v1/products/{product}/channels/{channel}", tag = "publish",
    params(
        ("product" = String, Path, description = "The slug"),
        ("channel" = String, Path, description = "The channel; made by its first promotion"),
    ),
    request_body = PromoteBody,
    responses(
        (status = 200, description = "What the channel offers now, and what waits to be offered", body = ChannelView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product or release", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version check refuses it; see reasons", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn promote(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path((product, channel)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ChannelView>, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    let channel = parsed(ChannelName::parse(&channel))?;
    caller.authorize(Scope::Publish, Some(&product))?;
    let body: PromoteBody = json(body)?;
    let version = parsed(Version::parse(&body.version))?;
    let reason = body.reason.as_deref().map(reason).transpose()?;
    let request = Promotion {
        product,
        version,
        channel,
        consent: Consent {
            allow_downgrade: body.allow_downgrade,
            allow_stranding: body.allow_stranding,
            reason,
            ..Consent::default()
        },
        actor: caller.actor(),
    };
    let Changed { state: known, warnings } = state.publishing.promote(&request).await?;
    Ok(Json(ChannelView { warnings, ..view::channel(&state, &known, &request.channel)? }))
}

/// Takes a release back: no channel ever offers it again.
#[utoipa::path(
    post, path = "/v1/products/{product}/releases/{version}/recall", tag = "publish",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Path, description = "The release"),
    ),
    request_body = RecallBody,
    responses(
        (status = 200, description = "Recalled, or recalled already", body = ReleaseView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product or release", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version check refuses the replacement, or devices would be stranded", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn recall(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path((product, version)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ReleaseView>, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    let version = parsed(Version::parse(&version))?;
    caller.authorize(Scope::Publish, Some(&product))?;
    let body: RecallBody = json(body)?;
    let reason = reason(&body.reason)?;
    let replacement = parsed(body.replacement.as_deref().map(Version::parse).transpose())?;
    let consent = Consent { allow_stranding: body.allow_stranding, ..Consent::default() };
    let request = Recalling { product, version, reason, replacement, consent, actor: caller.actor() };
    let Changed { state: known, warnings } = state.publishing.recall(&request).await?;
    let view = view::release(&state, &known, release_of(&known, &request.version)?)?;
    Ok(Json(ReleaseView { warnings, ..view }))
}

/// All releases of a product, the highest version first.
#[utoipa::path(
    get, path = "/v1/products/{product}/releases", tag = "read",
    params(("product" = String, Path, description = "The slug")),
    responses(
        (status = 200, description = "Releases", body = ReleaseList),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_releases(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
) -> Result<Json<ReleaseList>, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    caller.authorize(Scope::Read, Some(&product))?;
    let known = state.publishing.product(&product).await?;
    let mut releases: Vec<_> = known.releases.iter().collect();
    releases.sort_by(|one, other| other.version.cmp(&one.version));
    let releases = releases
        .into_iter()
        .map(|release| view::release(&state, &known, release))
        .collect::<Result<_, _>>()?;
    Ok(Json(ReleaseList { releases, support_end: known.product.settings.support_end }))
}

/// One release.
#[utoipa::path(
    get, path = "/v1/products/{product}/releases/{version}", tag = "read",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = String, Path, description = "The release"),
    ),
    responses(
        (status = 200, description = "The release", body = ReleaseView),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product or release", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_release(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path((product, version)): Path<(String, String)>,
) -> Result<Json<ReleaseView>, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    let version = parsed(Version::parse(&version))?;
    caller.authorize(Scope::Read, Some(&product))?;
    let known = state.publishing.product(&product).await?;
    let view = view::release(&state, &known, release_of(&known, &version)?)?;
    let purges = purges::of_release(&state, &product, &version).await?;
    Ok(Json(ReleaseView { purges, ..view }))
}

/// A reason is kept for good, so it must say something.
pub(super) fn reason(text: &str) -> Result<String, HttpError> {
    let text = text.trim();
    if text.is_empty() || text.len() > LONGEST_REASON || text.contains('\0') {
        return Err(malformed(format!(
            "the reason is empty or longer than {LONGEST_REASON} bytes: say in a sentence why"
        ))
        .into());
    }
    Ok(text.to_owned())
}
