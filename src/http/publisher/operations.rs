//! What operators look at: audit log, reconcilers, metrics.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::header,
    response::IntoResponse,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PublisherState, parsed};
use crate::{
    api::{AuditList, AuditView, Health, Problem},
    config::Scope,
    domain::ProductName,
    error::Error,
    http::{
        authentication::Authenticated,
        problem::HttpError,
        query::{Query, malformed},
    },
};

/// How many audit entries are given when the caller does not say.
const ENTRIES: u32 = 100;
/// How many at most.
const MOST_ENTRIES: u32 = 1000;

/// How a replica is doing.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The same as `/readyz`.
    pub health: Health,
    /// The last outcome of each reconciler.
    pub reconcilers: BTreeMap<String, ReconcilerView>,
}

/// How a reconciler's last pass ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReconcilerView {
    /// When.
    pub at: DateTime<Utc>,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// What it last did, or why it failed.
    pub outcome: String,
}

/// The newest entries of a product's audit log.
#[utoipa::path(
    get, path = "/v1/products/{product}/audit", tag = "operations",
    params(
        ("product" = String, Path, description = "The slug"),
        ("limit" = Option<u32>, Query, description = "How many; default 100, at most 1000"),
    ),
    responses(
        (status = 200, description = "Entries, newest first", body = AuditList),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown product", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn audit(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
    Path(product): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<AuditList>, HttpError> {
    let product = parsed(ProductName::parse(&product))?;
    caller.authorize(Scope::Read, Some(&product))?;
    let query = Query::parse(query.as_deref());
    query.only(&["limit"])?;
    let limit = match query.optional("limit")? {
        None => ENTRIES,
        Some(text) => match text.parse() {
            Ok(limit @ 1..=MOST_ENTRIES) => limit,
            _ => return Err(malformed(format!("parameter \"limit\": use 1 to {MOST_ENTRIES}")).into()),
        },
    };
    state.publishing.product(&product).await?;
    let entries = state.publishing.catalogue.audit(&product, limit).await?;
    let entries = entries.into_iter().map(|entry| AuditView {
        at: entry.at,
        revision: entry.revision.0,
        actor: entry.actor,
        action: entry.action,
        version: entry.version,
        channel: entry.channel,
        details: entry.details,
    });
    Ok(Json(AuditList { entries: entries.collect() }))
}

/// How this replica and its reconcilers are doing.
#[utoipa::path(
    get, path = "/v1/status", tag = "operations",
    responses(
        (status = 200, description = "The status", body = Status),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn status(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
) -> Result<Json<Status>, HttpError> {
    caller.authorize(Scope::Read, None)?;
    let reconcilers = state.outcomes.all().into_iter().map(|(name, outcome)| {
        let view = ReconcilerView { at: outcome.at, succeeded: outcome.succeeded, outcome: outcome.text };
        (name.to_owned(), view)
    });
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        health: state.readiness.health().1,
        reconcilers: reconcilers.collect(),
    }))
}

/// Metrics in the OpenMetrics text format, which Prometheus reads.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", security(()),
    responses((status = 200, description = "Metrics", body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(State(state): State<PublisherState>) -> Result<impl IntoResponse, HttpError> {
    let text = state.metrics.render(state.readiness.current.age()).map_err(Error::internal)?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], text))
}
