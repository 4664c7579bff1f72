//! Keeps the in-memory snapshot equal to the catalogue.
//!
//! The truth is the catalogue's revision, asked every second; a notification only hastens it. Only products that
//! changed since the snapshot's revision are read. The first time in a process everything is read, whatever was on
//! disk: that may have come from another database. The same when the catalogue's revision is lower than ours,
//! which means that the database was restored from a backup.
//!
//! Invariant: a snapshot is swapped in whole; a check sees the one before or the one after.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::Notify;

use super::Reconciler;
use crate::{
    catalogue::{self, Catalogue},
    domain::{Revision, Snapshot},
    error::Result,
    telemetry::Metrics,
};

/// How many products are read in one transaction.
const PAGE: u32 = 500;

/// The snapshot that answers checks, for everybody who reads it.
#[derive(Default)]
pub struct Current {
    snapshot: ArcSwapOption<Snapshot>,
    confirmed: Mutex<Option<Instant>>,
}

impl Current {
    /// The snapshot; `None` = there is none yet.
    pub fn load(&self) -> arc_swap::Guard<Option<Arc<Snapshot>>> {
        self.snapshot.load()
    }

    /// The snapshot, to keep for longer.
    pub fn get(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// Starts with what was on disk.
    pub fn set_from_disk(&self, snapshot: Snapshot) {
        self.snapshot.store(Some(Arc::new(snapshot)));
    }

    /// How long ago the catalogue confirmed it; `None` = not since this process started.
    pub fn age(&self) -> Option<Duration> {
        self.confirmed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).map(|at| at.elapsed())
    }

    fn confirm(&self, asked_at: Instant) {
        *self.confirmed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(asked_at);
    }
}

/// The reconciler.
pub struct SnapshotJob {
    /// The catalogue.
    pub catalogue: Arc<dyn Catalogue>,
    /// What it keeps equal.
    pub current: Arc<Current>,
    /// Woken when there is a new snapshot.
    pub swapped: Arc<Notify>,
    /// Gauges.
    pub metrics: Arc<Metrics>,
    /// Whether to bring the schema up to date first.
    pub migrate: bool,
    /// What was read from the catalogue in this process.
    pub known: Option<Arc<Snapshot>>,
}

#[async_trait]
impl Reconciler for SnapshotJob {
    fn name(&self) -> &'static str {
        "snapshot"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        let asked_at = Instant::now();
        if self.known.is_none() {
            catalogue::prepare(self.catalogue.as_ref(), self.migrate).await?;
        }
        let revision = self.catalogue.revision().await?;
        let done = match &self.known {
            Some(known) if known.revision == revision => None,
            Some(known) if known.revision < revision => Some(self.read_since(Arc::clone(known)).await?),
            Some(known) => {
                tracing::error!(
                    ours = known.revision.0,
                    catalogue = revision.0,
                    "the catalogue's revision went back: it was restored from a backup; reading everything anew"
                );
                Some(self.read_since(Arc::default()).await?)
            }
            None => Some(self.read_since(Arc::default()).await?),
        };
        self.current.confirm(asked_at);
        Ok(done)
    }
}

impl SnapshotJob {
    async fn read_since(&mut self, base: Arc<Snapshot>) -> Result<String> {
        let from = base.revision;
        let mut next = base;
        let mut count = 0;
        loop {
            let page = self.catalogue.changes(next.revision, PAGE).await?;
            count += page.products.len();
            next = Arc::new(next.with(page.revision, &page.products));
            if !page.more {
                break;
            }
        }
        self.metrics.snapshot_revision.set(i64::try_from(next.revision.0).unwrap_or(i64::MAX));
        self.metrics.snapshot_products.set(i64::try_from(next.product_count()).unwrap_or(i64::MAX));
        self.metrics.snapshot_from_disk.set(0);
        let revision = next.revision;
        self.current.snapshot.store(Some(Arc::clone(&next)));
        self.known = Some(next);
        self.swapped.notify_one();
        let since = if from == Revision(0) { String::new() } else { format!(" since revision {}", from.0) };
        Ok(format!("read {count} changed products{since}, now at revision {}", revision.0))
    }
}
