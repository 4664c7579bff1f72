//! The process's metrics, in one place, with their help texts.
//!
//! A check increments one atomic that was looked up when the process started; no label set is hashed on its way.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::BackupMetrics;

mod downloads;

use crate::{catalogue::PurgeCounts, domain::Snapshot, error::Error};
pub use downloads::CdnDownloads;

/// How a check was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// 200.
    Update,
    /// 204: the device runs what is offered, or something newer.
    UpToDate,
    /// 204: nothing is offered for its hardware.
    NothingForHardware,
    /// 404.
    Unknown,
    /// 400.
    Malformed,
    /// 401: a device of a private product without its credential.
    Unauthenticated,
    /// 429: too many at once.
    Busy,
    /// 429: no snapshot yet.
    NotReady,
}

impl EncodeLabelValue for Answer {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let label = match self {
            Self::Update => "update",
            Self::UpToDate => "up_to_date",
            Self::NothingForHardware => "nothing_for_hardware",
            Self::Unknown => "unknown",
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Busy => "busy",
            Self::NotReady => "not_ready",
        };
        encoder.write_str(label)
    }
}

impl EncodeLabelValue for Dependency {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(match self {
            Self::Catalogue => "catalogue",
            Self::Bucket => "bucket",
        })
    }
}

const ANSWERS: [Answer; 8] = [
    Answer::Update,
    Answer::UpToDate,
    Answer::NothingForHardware,
    Answer::Unknown,
    Answer::Malformed,
    Answer::Unauthenticated,
    Answer::Busy,
    Answer::NotReady,
];

/// What we depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dependency {
    /// The database.
    Catalogue,
    /// The object store.
    Bucket,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabel {
    answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DependencyLabel {
    dependency: Dependency,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabel {
    job: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabel {
    job: &'static str,
}

type SecondsGauge = Gauge<f64, AtomicU64>;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    checks: [Counter; ANSWERS.len()],
    publishes: Family<CodeLabel, Counter>,
    /// Bytes of image bodies read from publishers.
    pub upload_bytes: Counter,
    /// Uploads under way.
    pub uploads: Gauge,
    /// Bytes of images served by the device listener.
    pub download_bytes: Counter,
    snapshot_revision: Gauge,
    snapshot_products: Gauge,
    snapshot_bytes: Gauge,
    snapshot_from_disk: Gauge,
    snapshot_age: SecondsGauge,
    /// How often the connection that hears of changes was lost.
    pub listener_lost: Counter,
    dependency_errors: Family<DependencyLabel, Counter>,
    runs: Family<RunLabel, Counter>,
    last_success: Family<JobLabel, SecondsGauge>,
    /// Objects in the bucket without a row in the catalogue, at the last look.
    pub rowless_objects: Gauge,
    /// The backup's.
    pub backup: BackupMetrics,
    /// Downloads as the CDN's logs tell.
    pub cdn_downloads: CdnDownloads,
    purges: Family<StateLabel, Gauge>,
    purge_oldest: SecondsGauge,
    /// Promotions that wait until they were fetched back through the CDN.
    pub pending_promotions: Gauge,
    /// How often an image that was fetched back through the CDN was not as it should be.
    pub gate_failures: Counter,
    /// Promotions that were refused when they were to be offered.
    pub gate_refusals: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("firmament");
        let checks = Family::<AnswerLabel, Counter>::default();
        registry.register("checks", "Checks by answer", checks.clone());
        let metrics = Self {
            checks: ANSWERS.map(|answer| checks.get_or_create(&AnswerLabel { answer }).clone()),
            publishes: Family::default(),
            upload_bytes: Counter::default(),
            uploads: Gauge::default(),
            download_bytes: Counter::default(),
            snapshot_revision: Gauge::default(),
            snapshot_products: Gauge::default(),
            snapshot_bytes: Gauge::default(),
            snapshot_from_disk: Gauge::default(),
            snapshot_age: Gauge::default(),
            listener_lost: Counter::default(),
            dependency_errors: Family::default(),
            runs: Family::default(),
            last_success: Family::default(),
            rowless_objects: Gauge::default(),
            backup: BackupMetrics::register(&mut registry),
            cdn_downloads: CdnDownloads::default(),
            purges: Family::default(),
            purge_oldest: Gauge::default(),
            pending_promotions: Gauge::default(),
            gate_failures: Counter::default(),
            gate_refusals: Counter::default(),
            registry: Registry::default(),
        };
        for dependency in [Dependency::Catalogue, Dependency::Bucket] {
            drop(metrics.dependency_errors.get_or_create(&DependencyLabel { dependency }));
        }
        registry.register("publishes", "Publish requests by outcome code", metrics.publishes.clone());
        registry.register(
            "upload_bytes",
            "Bytes of image bodies read from publishers",
            metrics.upload_bytes.clone(),
        );
        registry.register("uploads_in_flight", "Uploads under way", metrics.uploads.clone());
        registry.register(
            "download_bytes",
            "Bytes of images served by the device listener itself",
            metrics.download_bytes.clone(),
        );
        registry.register(
            "snapshot_revision",
            "Revision of the snapshot that answers checks",
            metrics.snapshot_revision.clone(),
        );
        registry.register("snapshot_products", "Products in the snapshot", metrics.snapshot_products.clone());
        registry.register(
            "snapshot_bytes",
            "Bytes of what the snapshot's products offer, as packed for checks; without the table that finds them",
            metrics.snapshot_bytes.clone(),
        );
        registry.register(
            "snapshot_from_disk",
            "1 while checks are answered from the snapshot kept on disk, not yet confirmed by the catalogue",
            metrics.snapshot_from_disk.clone(),
        );
        registry.register(
            "snapshot_age_seconds",
            "Seconds since the catalogue last confirmed the snapshot; -1 = not since this process started",
            metrics.snapshot_age.clone(),
        );
        registry.register(
            "catalogue_listener_lost",
            "Lost connections of the listener that hears of changes",
            metrics.listener_lost.clone(),
        );
        registry.register(
            "dependency_errors",
            "Failed calls of catalogue and bucket",
            metrics.dependency_errors.clone(),
        );
        registry.register("reconciler_runs", "Passes of the reconcilers by outcome", metrics.runs.clone());
        registry.register(
            "reconciler_last_success_timestamp_seconds",
            "Unix time of each reconciler's last successful pass",
            metrics.last_success.clone(),
        );
        registry.register(
            "rowless_objects",
            "Objects in the bucket that no row of the catalogue names, at the last look",
            metrics.rowless_objects.clone(),
        );
        metrics.cdn_downloads.register(&mut registry);
        metrics.purges(&PurgeCounts::default());
        registry.register(
            "purges",
            "What the CDN is to forget and has not accepted yet, by state",
            metrics.purges.clone(),
        );
        registry.register(
            "purge_oldest_seconds",
            "How long the oldest purge that the CDN has not accepted is wanted; 0 = there is none",
            metrics.purge_oldest.clone(),
        );
        registry.register(
            "pending_promotions",
            "Promotions that wait until their image was fetched back through the CDN",
            metrics.pending_promotions.clone(),
        );
        registry.register(
            "gate_failures",
            "How often an image that was fetched back through the CDN was not as it should be",
            metrics.gate_failures.clone(),
        );
        registry.register(
            "gate_refusals",
            "Promotions that the rules refused when the CDN served them, so that they are not offered",
            metrics.gate_refusals.clone(),
        );
        Self { registry, ..metrics }
    }

    /// Shows how many purges are how far.
    pub fn purges(&self, counts: &PurgeCounts) {
        for (state, count) in [("asked", counts.asked), ("failed", counts.failed)] {
            self.purges.get_or_create(&StateLabel { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.purge_oldest.set(counts.oldest.as_secs_f64());
    }

    /// Counts a check.
    pub fn check(&self, answer: Answer) {
        self.checks[answer as usize].inc();
    }

    /// Counts a publish request: `created`, `same`, or the code of the error (of a refusal: of each reason).
    pub fn publish(&self, code: &str) {
        self.publishes.get_or_create(&CodeLabel { code: code.to_owned() }).inc();
    }

    /// Counts an error if it is one of catalogue or bucket. Call it where an error is consumed.
    pub fn error(&self, error: &Error) {
        let dependency = match error.code() {
            code if code.starts_with("catalogue-") || code.starts_with("schema-") => Dependency::Catalogue,
            code if code.starts_with("bucket-") => Dependency::Bucket,
            _ => return,
        };
        self.dependency_errors.get_or_create(&DependencyLabel { dependency }).inc();
    }

    /// Counts a reconciler's pass.
    pub fn pass(&self, job: &'static str, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "failed" };
        self.runs.get_or_create(&RunLabel { job, outcome }).inc();
        if succeeded {
            let now = chrono::Utc::now().timestamp_millis() as f64 / 1000.0;
            self.last_success.get_or_create(&JobLabel { job }).set(now);
        }
    }

    /// Shows the snapshot that answers checks, and whether it is the one from disk, which the catalogue has not confirmed.
    pub fn snapshot(&self, snapshot: &Snapshot, from_disk: bool) {
        let gauge = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&self.snapshot_revision, snapshot.revision.0);
        gauge(&self.snapshot_products, snapshot.product_count() as u64);
        gauge(&self.snapshot_bytes, snapshot.bytes() as u64);
        gauge(&self.snapshot_from_disk, from_disk.into());
    }

    /// Everything in the OpenMetrics text format. `snapshot_age` is since the catalogue's last confirmation.
    ///
    /// # Errors
    /// Never for the metrics of this type.
    pub fn render(&self, snapshot_age: Option<Duration>) -> Result<String, std::fmt::Error> {
        self.snapshot_age.set(snapshot_age.map_or(-1.0, |age| age.as_secs_f64()));
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }

    /// How many checks were answered so. For tests and status.
    pub fn checks(&self, answer: Answer) -> u64 {
        self.checks[answer as usize].inner().load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_there_from_the_start() {
        let metrics = Metrics::new();
        metrics.check(Answer::Update);
        metrics.pass("snapshot", true);
        let text = metrics.render(Some(Duration::from_secs(3))).expect("renders");
        for line in [
            "firmament_checks_total{answer=\"update\"} 1",
            "firmament_checks_total{answer=\"up_to_date\"} 0",
            "firmament_snapshot_age_seconds 3.0",
            "firmament_reconciler_runs_total{job=\"snapshot\",outcome=\"ok\"} 1",
            "firmament_dependency_errors_total{dependency=\"bucket\"} 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn answers_are_indexed_in_their_order() {
        for (index, answer) in ANSWERS.into_iter().enumerate() {
            assert_eq!(answer as usize, index);
        }
    }
}
