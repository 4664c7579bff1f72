//! Keeps the in-memory snapshot equal to the catalogue.
//!
//! The truth is the catalogue's revision, asked every second; a notification only hastens it. Only products that
//! changed since the snapshot's revision are read.
//!
//! That is right only while the catalogue is the one that the snapshot was read from. Its mark says so, the hash of the
//! audit entry at its revision (`catalogue::following`): if the catalogue has another hash there, or none, or stands lower,
//! then it was restored or replaced, and everything is read anew. The same holds for the snapshot that was on disk at
//! the start, so a restart reads what changed meanwhile, and a start on another database reads all of it.
//!
//! Invariants: a snapshot is swapped in whole; a check sees the one before or the one after. Pages of two catalogues never
//! come together in one snapshot: each page is held against the mark of what it continues.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::Notify;

use super::Reconciler;
use crate::{
    catalogue::{self, Catalogue, Standing},
    domain::{Revision, Snapshot},
    error::{Error, Kind, Result},
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
    /// What was read from the catalogue in this process, or found true there.
    pub known: Option<Arc<Snapshot>>,
    /// What has been read while more pages follow: a pass that is cut short is gone on with by the next.
    pub begun: Option<Arc<Snapshot>>,
}

/// Whether a snapshot may be gone on from.
enum Judged {
    /// The catalogue is the one that it was read from.
    Continue,
    /// It is not, and why.
    Replaced(&'static str),
    /// Nobody can say.
    Unknown,
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
        let on_disk = if self.known.is_none() { self.current.get() } else { None };
        let base = self.begun.clone().or_else(|| self.known.clone()).or(on_disk);
        let done = match base {
            None => Some(self.read_since(Arc::default()).await?),
            Some(base) => {
                let standing = self.catalogue.standing(base.revision).await?;
                match self.judge(&base, standing) {
                    Judged::Continue if standing.revision == base.revision && self.begun.is_none() => {
                        self.confirm(base)
                    }
                    Judged::Continue => Some(self.read_since(base).await?),
                    Judged::Replaced(why) => {
                        self.begun = None;
                        tracing::error!(
                            ours = base.revision.0,
                            catalogue = standing.revision.0,
                            "{why}; reading everything anew"
                        );
                        Some(self.read_since(Arc::default()).await?)
                    }
                    Judged::Unknown => Some(self.read_since(Arc::default()).await?),
                }
            }
        };
        self.current.confirm(asked_at);
        Ok(done)
    }
}

impl SnapshotJob {
    fn judge(&self, base: &Snapshot, standing: Standing) -> Judged {
        if standing.revision < base.revision {
            return Judged::Replaced("the catalogue's revision went back: it was restored from a backup");
        }
        match (base.mark, standing.hash) {
            (Some(ours), Some(theirs)) if ours == theirs => Judged::Continue,
            (Some(_), _) => Judged::Replaced(
                "the catalogue has another history than what was read of it: it was restored from a backup, or replaced",
            ),
            // Nothing has been read yet.
            (None, _) if base.revision == Revision(0) => Judged::Continue,
            // Read in this process, while the newest entry had no hash yet.
            (None, _) if self.known.is_some() => Judged::Continue,
            (None, _) => Judged::Unknown,
        }
    }

    /// The catalogue has nothing newer.
    fn confirm(&mut self, base: Arc<Snapshot>) -> Option<String> {
        if self.known.is_some() {
            return None;
        }
        self.metrics.snapshot(&base, false);
        let done = format!("the snapshot on disk is true, at revision {}", base.revision.0);
        self.known = Some(base);
        Some(done)
    }

    async fn read_since(&mut self, base: Arc<Snapshot>) -> Result<String> {
        let from = base.revision;
        let mut next = base;
        let mut count = 0;
        loop {
            let page = self.catalogue.offered(next.revision, PAGE).await?;
            if next.mark.is_some() && next.mark != page.before {
                self.begun = None;
                return Err(Error::new(
                    Kind::Unavailable,
                    "catalogue-replaced",
                    "the catalogue was replaced while it was being read: it is read anew",
                ));
            }
            count += page.products.len();
            let mut newer = next.with(page.revision, &page.products);
            newer.mark = page.hash;
            next = Arc::new(newer);
            if !page.more {
                break;
            }
            self.begun = Some(Arc::clone(&next));
        }
        self.begun = None;
        self.metrics.snapshot(&next, false);
        let revision = next.revision;
        self.current.snapshot.store(Some(Arc::clone(&next)));
        self.known = Some(next);
        self.swapped.notify_one();
        let since = if from == Revision(0) { String::new() } else { format!(" since revision {}", from.0) };
        Ok(format!("read {count} changed products{since}, now at revision {}", revision.0))
    }
}
