//! What operators look at: reconcilers, metrics. (The audit log is in `audit`.)

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::header, response::IntoResponse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PublisherState;
use crate::{
    api::{Health, Problem},
    config::Scope,
    error::Error,
    http::{authentication::Authenticated, problem::HttpError},
};

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
