//! `/livez` and `/readyz`, on both listeners, without authentication.
//!
//! Ready means: can answer checks. That is so with the catalogue down, from a snapshot on disk too, and the body says
//! so; it is not so without any snapshot, or while draining.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, extract::State, http::StatusCode};

use crate::{api::Health, jobs::snapshot::Current};

/// Their paths.
pub const PATHS: [&str; 2] = ["/livez", "/readyz"];
/// A snapshot that was not confirmed for so long is called stale. The catalogue is asked every second.
const STALE_AFTER_SECONDS: u64 = 15;

/// What the two handlers look at.
#[derive(Clone)]
pub struct Readiness {
    /// The snapshot.
    pub current: Arc<Current>,
    /// Set when the process is about to end.
    pub draining: Arc<AtomicBool>,
}

impl Readiness {
    /// Whether checks can be answered, and what there is to say about it.
    pub fn health(&self) -> (bool, Health) {
        let snapshot = self.current.get();
        let age = self.current.age().map(|age| age.as_secs());
        let (ready, status) = match (&snapshot, age) {
            _ if self.draining.load(Ordering::Relaxed) => (false, "draining"),
            (None, _) => (false, "starting"),
            (Some(_), Some(age)) if age < STALE_AFTER_SECONDS => (true, "ok"),
            (Some(_), _) => (true, "stale"),
        };
        let source = snapshot.is_some().then(|| if age.is_some() { "catalogue" } else { "disk" });
        let health = Health {
            status: status.into(),
            revision: snapshot.map(|snapshot| snapshot.revision.0),
            snapshot_age_seconds: age,
            snapshot_source: source.map(Into::into),
        };
        (ready, health)
    }
}

/// The process runs.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, description = "The process runs", body = Health)))]
pub async fn livez() -> Json<Health> {
    Json(Health { status: "ok".into(), revision: None, snapshot_age_seconds: None, snapshot_source: None })
}

/// It can answer checks: true with the database down, false while draining.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "Checks are answered", body = Health),
    (status = 503, description = "Not now: starting or draining; take this node out", body = Health),
))]
pub async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, Json<Health>) {
    let (ready, health) = readiness.health();
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(health))
}
