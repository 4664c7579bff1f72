//! Counts downloads from the CDN's logs: finds the log objects that have not been counted, reads each, and adds what it says.
//!
//! # Flow of a pass
//! The replica that leads lists the objects below the prefix -> asks the catalogue which are new -> reads each, line by
//! line ([`crate::cdn::datastream`]) -> adds its counts and remembers its key and its requests, in one transaction.
//!
//! # Invariants
//! - An object counts once, whatever crashes or runs twice: the catalogue decides. One that is older than the retention is not
//!   counted, so its key may be forgotten then, and the memory of keys stays bounded. Delete the objects themselves
//!   by a lifecycle rule of the bucket.
//! - A request that is in the logs twice counts once: within an object, and across objects, passes, restarts and replicas, if
//!   the objects were written within [`LogSource::duplicates_within`]. Older requests are forgotten, but only after a
//!   whole listing was counted: however long nobody counted, none is while an object from its time waits.
//! - Listing does not begin anew each time: a pass goes on behind the last object before which everything is counted and old.
//!   Keys need not be in the order of time, so once an hour everything is listed again.
//! - Nothing of a line but path, time, size and status is looked at, and no path is logged.
//!
//! What it does not do: make the counts exact. Logs are delivered at best effort; the counts are not for billing.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::{Reconciler, earlier_life};
use crate::{
    bucket::{ForeignObject, S3Bucket},
    catalogue::{Catalogue, DownloadCount},
    error::{Error, Result},
    telemetry::Metrics,
};

mod tally;

use tally::{Lines, MOST_REQUESTS, Tally};

/// The duty's name, and the reconciler's.
pub const DUTY: &str = "download-logs";
/// How long the lead is kept without a sign of life.
const LEASE: Duration = Duration::from_secs(90);
/// A pass that has more to do ends after so long, and the next begins at once.
const PASS: Duration = Duration::from_secs(30);
/// What is older has surely been delivered: Akamai tries for five minutes.
const SETTLED: TimeDelta = TimeDelta::hours(1);
/// How often everything is listed again, and old keys are forgotten.
const ANEW: Duration = Duration::from_secs(3600);
/// The largest object that is read, in bytes. Akamai's are below 4 MB.
const LARGEST: u64 = 64 * 1024 * 1024;
/// Keys are forgotten so long after their objects are counted no more: clocks differ.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(1);
/// How many requests are forgotten in one transaction.
const FORGOTTEN_AT_ONCE: u32 = 20_000;

/// The reconciler.
pub struct DownloadLogsJob {
    catalogue: Arc<dyn Catalogue>,
    bucket: S3Bucket,
    source: LogSource,
    holder: Uuid,
    /// The holder that this replica was before: it is dead, so its lead need not run out.
    earlier_life: Option<Uuid>,
    metrics: Arc<Metrics>,
    /// Wakes this job: there is more to do.
    wake: Arc<Notify>,
    /// Everything up to this key is counted and old.
    marker: Option<String>,
    listed_anew: Option<Instant>,
    /// Since everything was last listed anew, requests were not forgotten yet.
    forgets: bool,
}

/// Where logs are, and which.
#[derive(Debug, Clone)]
pub struct LogSource {
    /// What their keys begin with.
    pub prefix: String,
    /// What the paths in them have before the key, such as `fw/`; usually nothing.
    pub base_path: String,
    /// Older ones are not counted.
    pub retention: Duration,
    /// A line counts once in all objects that were written within this time.
    pub duplicates_within: Duration,
    /// How long to wait between two looks.
    pub interval: Duration,
}

/// What a pass did.
#[derive(Default)]
struct Done {
    logs: u64,
    lines: Lines,
    failure: Option<Error>,
    /// Everything that was listed is counted.
    all: bool,
}

#[async_trait]
impl Reconciler for DownloadLogsJob {
    fn name(&self) -> &'static str {
        DUTY
    }

    fn period(&self) -> Duration {
        self.source.interval
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        earlier_life::stop_leading(&mut self.earlier_life, DUTY, &*self.catalogue).await?;
        if !self.catalogue.lead(DUTY, self.holder, LEASE).await? {
            // Whoever leads counts what this replica does not see: start afresh the next time.
            self.marker = None;
            return Ok(None);
        }
        let retention = TimeDelta::from_std(self.source.retention).map_err(Error::internal)?;
        let oldest = Utc::now() - retention;
        if self.listed_anew.is_none_or(|at| at.elapsed() > ANEW) {
            self.marker = None;
            self.listed_anew = Some(Instant::now());
            self.forgets = true;
            self.catalogue.forget_logs(oldest - FORGOTTEN_AFTER).await?;
            // Whatever else waits: no object from that time is counted any more.
            self.forget_requests(oldest - FORGOTTEN_AFTER).await?;
        }
        let Done { logs, lines, failure, all } = self.count_new(oldest).await?;
        if self.forgets && all && failure.is_none() {
            let within = TimeDelta::from_std(self.source.duplicates_within).map_err(Error::internal)?;
            self.forgets = !self.forget_requests(Utc::now() - within).await?;
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        Ok((logs > 0).then(|| {
            let Lines { counted, unknown, ignored, duplicate, broken } = lines;
            format!(
                "counted {logs} logs: {counted} deliveries, {unknown} of unknown paths, {ignored} without bytes, \
                 {duplicate} duplicates, {broken} broken lines"
            )
        }))
    }
}

impl DownloadLogsJob {
    /// A reconciler that is woken by `wake`, for the replica of these ids: of now, and of its life before.
    pub fn new(
        catalogue: Arc<dyn Catalogue>,
        bucket: S3Bucket,
        source: LogSource,
        (holder, earlier_life): (Uuid, Option<Uuid>),
        metrics: Arc<Metrics>,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            catalogue,
            bucket,
            source,
            holder,
            earlier_life,
            metrics,
            wake,
            marker: None,
            listed_anew: None,
            forgets: false,
        }
    }

    /// Forgets the requests of logs that were written before then; `false` = there are more.
    async fn forget_requests(&self, before: DateTime<Utc>) -> Result<bool> {
        let began = Instant::now();
        while began.elapsed() < PASS {
            if self.catalogue.forget_requests(before, FORGOTTEN_AT_ONCE).await? < u64::from(FORGOTTEN_AT_ONCE)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn count_new(&mut self, oldest: DateTime<Utc>) -> Result<Done> {
        let began = Instant::now();
        let mut done = Done::default();
        let mut settled = true;
        let mut after = self.marker.clone();
        loop {
            let page = self.bucket.list_below(&self.source.prefix, after.as_deref()).await?;
            let Some(last) = page.last() else {
                done.all = true;
                return Ok(done);
            };
            let within = |object: &&ForeignObject| object.size > 0 && object.modified_at > oldest;
            let keys: Vec<String> = page.iter().filter(within).map(|object| object.key.clone()).collect();
            let uncounted = self.catalogue.uncounted_logs(&keys).await?;
            for object in page.iter().filter(|object| uncounted.contains(&object.key)) {
                if began.elapsed() > PASS {
                    self.wake.notify_one();
                    return Ok(done);
                }
                match self.count(object).await {
                    Ok(Some(lines)) => {
                        done.logs += 1;
                        done.lines.add(lines);
                    }
                    Ok(None) => {}
                    // One that cannot be read must not hold up those behind it.
                    Err(error) => {
                        settled = false;
                        done.failure.get_or_insert(error);
                    }
                }
            }
            let young = Utc::now() - SETTLED;
            settled = settled && page.iter().all(|object| object.modified_at < young);
            after = Some(last.key.clone());
            if settled {
                self.marker.clone_from(&after);
            }
        }
    }

    /// Counts one object; `None` = somebody else did, or it is gone.
    async fn count(&mut self, object: &ForeignObject) -> Result<Option<Lines>> {
        if object.size > LARGEST {
            tracing::warn!(
                key = object.key,
                size = object.size,
                "a log is too large to be the CDN's; it is not counted"
            );
        }
        let bytes = match object.size {
            0..=LARGEST => self.bucket.read_whole(&object.key, LARGEST).await?,
            _ => Some(bytes::Bytes::new()),
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let base = self.source.base_path.clone();
        let counting = tokio::task::spawn_blocking(move || Tally::of(&bytes, &base));
        let mut tally = counting.await.map_err(Error::internal)?;
        let known = self.catalogue.known_keys(&tally.keys()).await?;
        tally.keep(|key| known.contains(key));
        let mut lines = tally.lines;
        for part in tally.parts(&object.key, object.modified_at, MOST_REQUESTS) {
            let Some(added) = self.catalogue.count_log(&part).await? else { return Ok(None) };
            lines.counted -= added.duplicates;
            lines.duplicate += added.duplicates;
            self.report_counts(&added.counts);
        }
        self.report_lines(&object.key, lines);
        Ok(Some(lines))
    }

    fn report_counts(&self, counts: &[DownloadCount]) {
        for count in counts {
            self.metrics.cdn_downloads.delivered(
                count.product.as_str(),
                [count.completed, count.partial],
                [count.edge_bytes, count.bytes.saturating_sub(count.edge_bytes)],
            );
        }
    }

    fn report_lines(&self, key: &str, lines: Lines) {
        for (kind, number) in [
            ("counted", lines.counted),
            ("unknown", lines.unknown),
            ("ignored", lines.ignored),
            ("duplicate", lines.duplicate),
            ("broken", lines.broken),
        ] {
            self.metrics.cdn_downloads.lines(kind, number);
        }
        if lines.broken > 0 {
            tracing::warn!(key, lines = lines.broken, "a log has lines that cannot be read");
        }
    }
}
