//! `POST …/prune`: removes for good what a product's retention does not keep.

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};

use super::{PublisherState, parsed};
use crate::{
    api::{KeptView, Problem, PruneView, PrunedView, WhyView},
    config::Scope,
    domain::{ProductName, Version},
    http::{authentication::Authenticated, problem::HttpError, query::Query},
    publishing::Pruning,
};

/// Removes for good the releases that the product's retention does not keep, or tells which these would be.
///
/// What any channel offers is never removed. Keys of removed images are never used again. The bytes go later.
#[utoipa::path(
    post, path = "/v1/products/{product}/prune", tag = "operations",
    params(
        ("product" = String, Path, description = "The slug"),
        ("dry_run" = Option<bool>, Query, description = "Remove nothing, only tell"),
        ("running" = Option<Vec<String>>, Query, description = "A version that devices still run, which is kept; repeat it"),
    ),
    responses(
        (status = 200, description = "What went, or would go, and why the rest stays", body = PruneView),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn prune(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<PruneView>, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    caller.authorize(Scope::Admin, Some(&product))?;
    let query = Query::parse(query.as_deref());
    query.only(&["dry_run", "running"])?;
    let dry_run = query.flag("dry_run")?;
    let running = query.all("running").map(|text| Version::parse(text).map(|version| version.to_string()));
    let running = parsed(running.collect())?;
    let request = Pruning { product, running, dry_run, actor: caller.actor() };
    let fates = state.publishing.prune(&request).await?;
    let (kept, removed): (Vec<_>, Vec<_>) = fates.iter().partition(|fate| !fate.keep.is_empty());
    Ok(Json(PruneView {
        product: request.product.to_string(),
        dry_run,
        removed_bytes: removed.iter().map(|fate| fate.bytes()).sum(),
        kept_bytes: kept.iter().map(|fate| fate.bytes()).sum(),
        removed: removed
            .iter()
            .map(|fate| PrunedView {
                version: fate.version.to_string(),
                filenames: fate.images.iter().map(|image| image.filename.to_string()).collect(),
                bytes: fate.bytes(),
            })
            .collect(),
        kept: kept
            .iter()
            .map(|fate| KeptView {
                version: fate.version.to_string(),
                bytes: fate.bytes(),
                why: fate
                    .keep
                    .iter()
                    .map(|keep| WhyView { code: keep.code().to_owned(), message: keep.sentence() })
                    .collect(),
            })
            .collect(),
    }))
}
