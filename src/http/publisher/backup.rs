//! How the backup is doing, and that it should copy now.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use tokio::sync::Notify;

use super::PublisherState;
use crate::{
    api::{BackupStatus, Problem},
    config::Scope,
    error::{Error, Kind, Result},
    http::{authentication::Authenticated, problem::HttpError},
};

/// What this listener knows of the backup.
#[derive(Clone)]
pub struct BackupHandle {
    /// Wakes the reconciler.
    pub wake: Arc<Notify>,
    /// Which place it is.
    pub place: Arc<str>,
    /// Within this time every object is read again.
    pub scrub_period: Duration,
}

/// How the backup is doing: what it lacks, what is damaged, and the last error.
#[utoipa::path(
    get, path = "/v1/backup", tag = "operations",
    responses(
        (status = 200, description = "The status", body = BackupStatus),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No backup is set", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn backup(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
) -> Result<Json<BackupStatus>, HttpError> {
    caller.authorize(Scope::Read, None)?;
    Ok(Json(status(&state).await?))
}

/// Asks for a pass now, rather than within seconds. What it does is seen in the status.
#[utoipa::path(
    post, path = "/v1/backup/sync", tag = "operations",
    responses(
        (status = 202, description = "Asked for; the status as it is now", body = BackupStatus),
        (status = 401, description = "No token, or not a known one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No backup is set", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The catalogue is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn sync_backup(
    State(state): State<PublisherState>,
    Authenticated(caller): Authenticated,
) -> Result<(StatusCode, Json<BackupStatus>), HttpError> {
    caller.authorize_everywhere(Scope::Admin)?;
    let status = status(&state).await?;
    if let Some(backup) = &state.backup {
        backup.wake.notify_one();
    }
    Ok((StatusCode::ACCEPTED, Json(status)))
}

async fn status(state: &PublisherState) -> Result<BackupStatus> {
    let Some(backup) = &state.backup else {
        let message = "this server keeps no backup: add [backup] to its settings";
        return Err(Error::new(Kind::NotFound, "no-backup", message));
    };
    let since = BackupStatus::read_since(backup.scrub_period);
    let report = state.publishing.catalogue.backup_report(since).await?;
    Ok(BackupStatus::new(report, &backup.place, backup.scrub_period))
}
