//! How often images were downloaded, as the CDN's logs tell.

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};
use chrono::{TimeDelta, Utc};

use super::{PublisherState, parsed};
use crate::{
    api::{DownloadList, DownloadView, Problem},
    catalogue::DownloadCount,
    config::Scope,
    domain::{ProductName, Version},
    http::{
        authentication::Authenticated,
        problem::HttpError,
        query::{Query, malformed},
    },
    jobs::download_logs::DUTY,
};

/// How many days are looked at when the caller does not say, today included.
const DAYS: u32 = 30;
/// How many at most.
const MOST_DAYS: u32 = 3660;

/// How often a product's images were downloaded, by day.
///
/// Counted from the CDN's logs, which arrive minutes later and at best effort: not for billing.
#[utoipa::path(
    get, path = "/v1/products/{product}/downloads", tag = "operations",
    params(
        ("product" = String, Path, description = "The slug"),
        ("version" = Option<String>, Query, description = "Only this release"),
        ("days" = Option<u32>, Query, description = "How many days, today (UTC) included; default 30, at most 3660"),
    ),
    responses(
        (status = 200, description = "Counts by day, version and file name", body = DownloadList),
        (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn downloads(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<DownloadList>, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    caller.authorize(Scope::Read, Some(&product))?;
    let query = Query::parse(query.as_deref());
    query.only(&["version", "days"])?;
    let version = query.optional("version")?.map(Version::parse);
    let version = version.map(parsed).transpose()?;
    let days = match query.optional("days")?.map(str::parse) {
        None => DAYS,
        Some(Ok(days @ 1..=MOST_DAYS)) => days,
        Some(_) => return Err(malformed(format!("parameter \"days\": use 1 to {MOST_DAYS}")).into()),
    };
    state.publishing.product(&product).await?;
    let since = Utc::now().date_naive() - TimeDelta::days(i64::from(days) - 1);
    let counts = state.publishing.catalogue.downloads(&product, since).await?;
    let wanted = |count: &DownloadCount| version.as_ref().is_none_or(|version| count.version == *version);
    let downloads = counts.into_iter().filter(wanted).map(view).collect();
    Ok(Json(DownloadList { since, downloads, counting: state.outcomes.all().contains_key(DUTY) }))
}

fn view(count: DownloadCount) -> DownloadView {
    DownloadView {
        day: count.day,
        version: count.version.to_string(),
        filename: count.filename.to_string(),
        completed: count.completed,
        partial: count.partial,
        bytes: count.bytes,
        edge_bytes: count.edge_bytes,
    }
}
