//! What the CDN is to forget.

use axum::{
    Json,
    extract::{RawQuery, State},
};

use super::{PublisherState, parsed};
use crate::{
    api::{Problem, PurgeList, PurgeView},
    config::Scope,
    domain::{ProductName, Version, purge::Purge},
    error::Result,
    http::{
        authentication::Authenticated,
        problem::HttpError,
        query::{Query, malformed},
    },
};

/// The most that one answer tells.
const MOST: u32 = 1000;
/// How many it tells unless asked.
const USUAL: u32 = 100;

/// What the CDN is to forget, newest first.
#[utoipa::path(
    get, path = "/v1/purges", tag = "read",
    params(
        ("product" = Option<String>, Query, description = "Only of this product"),
        ("version" = Option<String>, Query, description = "Only of this release; needs `product`"),
        ("limit" = Option<u32>, Query, description = "At most so many; default 100, at most 1000"),
    ),
    responses(
        (status = 200, description = "Purges", body = PurgeList),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_purges(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    RawQuery(query): RawQuery,
) -> Result<Json<PurgeList>, HttpError> {
    let query = Query::parse(query.as_deref());
    query.only(&["product", "version", "limit"])?;
    let product = parsed(query.optional("product")?.map(ProductName::parse).transpose())?;
    caller.authorize(Scope::Read, product.as_ref())?;
    let version = parsed(query.optional("version")?.map(Version::parse).transpose())?;
    if version.is_some() && product.is_none() {
        return Err(malformed("`version` needs `product`").into());
    }
    let limit = match query.optional("limit")? {
        Some(text) => text.parse().map_err(|_| malformed(format!("`limit` {text:?} is no number")))?,
        None => USUAL,
    };
    let purges =
        state.publishing.catalogue.purges(product.as_ref(), version.as_ref(), limit.min(MOST)).await?;
    let seen = purges.iter().filter(|purge| caller.sees(&purge.wanted.product)).map(view);
    Ok(Json(PurgeList { purges: seen.collect() }))
}

/// The purges of one release.
pub(super) async fn of_release(
    state: &PublisherState,
    product: &ProductName,
    version: &Version,
) -> Result<Vec<PurgeView>> {
    let purges = state.publishing.catalogue.purges(Some(product), Some(version), USUAL).await?;
    Ok(purges.iter().map(view).collect())
}

fn view(purge: &Purge) -> PurgeView {
    let wanted = &purge.wanted;
    PurgeView {
        product: wanted.product.to_string(),
        version: wanted.version.as_ref().map(ToString::to_string),
        revision: wanted.revision.0,
        action: wanted.target.action,
        kind: wanted.target.kind,
        object: wanted.target.object.clone(),
        state: purge.state,
        attempts: purge.attempts,
        asked_at: purge.asked_at,
        accepted_at: purge.accepted_at,
        estimated_done_at: purge.estimated_done_at,
        purge_id: purge.purge_id.clone(),
        support_id: purge.support_id.clone(),
        last_error: purge.last_error.clone(),
    }
}
