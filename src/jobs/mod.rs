//! The reconcilers and their driver.
//!
//! A reconciler compares the wanted state with the real one and mends the difference. It is woken by an event and
//! by a timer, takes no input, is idempotent, and shows its last outcome to operators (metrics, `GET /v1/status`).
//! Nothing in the house is a fire-and-forget task.
//!
//! - [`snapshot`]: keeps the in-memory snapshot equal to the catalogue
//! - [`keeper`]: keeps the snapshot on disk equal to the one in memory
//! - [`orphans`]: removes what crashed publishes left behind
//! - [`manifests`]: keeps a manifest of each product in the bucket
//! - [`removals`]: removes the objects of images that were removed for good
//! - [`backup`]: keeps the backup equal to the bucket, and reads both again
//! - [`download_logs`]: counts downloads from the CDN's logs
//! - [`purge`]: makes the CDN forget what was taken back
//! - [`gate`]: offers what the CDN serves as it should
//! - [`awake`]: when the latter two have something to look at
//! - [`listener`]: hears of changes from the catalogue; no reconciler, but what wakes them

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{error::Result, telemetry::Metrics};

pub mod awake;
pub mod backup;
pub mod download_logs;
mod earlier_life;
pub mod gate;
pub mod keeper;
pub mod listener;
pub mod manifests;
pub mod orphans;
pub mod purge;
pub mod removals;
pub mod snapshot;

/// One kind of background work.
#[async_trait]
pub trait Reconciler: Send {
    /// Its name in logs, metrics and status.
    fn name(&self) -> &'static str;

    /// The longest time between two passes.
    fn period(&self) -> Duration;

    /// The shortest time between two passes.
    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    /// One pass: compare, mend, and say what was done (`None` = nothing to do).
    async fn pass(&mut self) -> Result<Option<String>>;
}

/// How a reconciler's last pass ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// What it last did, or why it failed.
    pub text: String,
    /// Whether it succeeded.
    pub succeeded: bool,
}

/// The last outcomes of all reconcilers.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<BTreeMap<&'static str, Outcome>>);

impl Outcomes {
    /// All of them, by name.
    pub fn all(&self) -> BTreeMap<&'static str, Outcome> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Remembers an outcome; returns whether it differs in kind from the one before.
    fn record(&self, name: &'static str, succeeded: bool, text: Option<String>) -> bool {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = all.get(name);
        let changed = before.is_none_or(|before| before.succeeded != succeeded);
        // "Nothing to do" says less than what was last done.
        let text =
            text.or_else(|| before.filter(|before| before.succeeded).map(|before| before.text.clone()));
        let text = text.unwrap_or_else(|| "nothing to do".into());
        all.insert(name, Outcome { at: Utc::now(), text, succeeded });
        changed
    }
}

/// Runs a reconciler until `stop`: a pass at once, then whenever `wake` says so or its period is over.
pub async fn run(
    mut reconciler: impl Reconciler,
    wake: Arc<Notify>,
    stop: CancellationToken,
    outcomes: Arc<Outcomes>,
    metrics: Arc<Metrics>,
) {
    let name = reconciler.name();
    loop {
        let result = tokio::select! {
            result = reconciler.pass() => result,
            () = stop.cancelled() => return,
        };
        match result {
            Ok(done) => {
                metrics.pass(name, true);
                if let Some(done) = &done {
                    tracing::debug!(job = name, done, "reconciled");
                }
                if outcomes.record(name, true, done) {
                    tracing::info!(job = name, "reconciler is fine");
                }
            }
            Err(error) => {
                metrics.pass(name, false);
                metrics.error(&error);
                let text = format!("{error} ({})", error.cause());
                // An outage of hours is one line, not thousands; the metric goes on counting.
                if outcomes.record(name, false, Some(text)) {
                    tracing::error!(
                        job = name,
                        code = error.code(),
                        cause = error.cause(),
                        "reconciler failed: {error}; it goes on trying"
                    );
                }
            }
        }
        let (pause, period) = (reconciler.pause(), reconciler.period());
        tokio::select! {
            () = async { tokio::time::sleep(pause).await; wake.notified().await } => {}
            () = tokio::time::sleep(period) => {}
            () = stop.cancelled() => return,
        }
    }
}
