//! The metrics of the backup.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use crate::catalogue::BackupLag;

/// What an operator alerts on, and how it goes.
#[derive(Default)]
pub struct BackupMetrics {
    configured: Gauge,
    lag_objects: Gauge,
    lag_bytes: Gauge,
    lag_seconds: Gauge<f64, AtomicU64>,
    damaged_primary: Gauge,
    damaged_backup: Gauge,
    bucket_gone: Gauge,
    last_success: Gauge<f64, AtomicU64>,
    copied: Counter,
    bytes: Counter,
    scrubbed: Counter,
    healed: Counter,
    read_within: Gauge,
    unread: Gauge,
}

impl BackupMetrics {
    /// All at zero, and registered.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = &metrics;
        registry.register("backup_configured", "1 when a backup is set", m.configured.clone());
        registry.register(
            "backup_lag_objects",
            "Images that the backup does not have",
            m.lag_objects.clone(),
        );
        registry.register("backup_lag_bytes", "Their bytes", m.lag_bytes.clone());
        registry.register(
            "backup_lag_seconds",
            "For how long the oldest of them has been published; 0 = the backup has all",
            m.lag_seconds.clone(),
        );
        registry.register(
            "backup_damaged_bucket_objects",
            "Objects of the bucket that are known to be missing or damaged",
            m.damaged_primary.clone(),
        );
        registry.register(
            "backup_damaged_backup_objects",
            "Objects of the backup that are known to be missing or damaged",
            m.damaged_backup.clone(),
        );
        registry.register(
            "backup_bucket_gone",
            "1 while the bucket as a whole is held to be gone",
            m.bucket_gone.clone(),
        );
        registry.register(
            "backup_last_success_timestamp_seconds",
            "When this replica last found or made the backup complete; 0 = never, as another replica keeps it",
            m.last_success.clone(),
        );
        registry.register("backup_copied_objects", "Objects that this replica copied", m.copied.clone());
        registry.register(
            "backup_passed_bytes",
            "Bytes that this replica read for the backup, to copy and to verify",
            m.bytes.clone(),
        );
        registry.register(
            "backup_scrubbed_objects",
            "Images whose objects this replica read again at both ends",
            m.scrubbed.clone(),
        );
        registry.register(
            "backup_scrub_read_objects",
            "Images whose objects were read again within the scrub period, by the replica that scrubs",
            m.read_within.clone(),
        );
        registry.register(
            "backup_scrub_unread_objects",
            "Copies that were not read since they were made, by the replica that scrubs",
            m.unread.clone(),
        );
        registry.register("backup_healed_objects", "Objects that this replica healed", m.healed.clone());
        metrics
    }

    /// There is a backup.
    pub fn configure(&self) {
        self.configured.set(1);
    }

    /// What the backup lacks now.
    pub fn lag(&self, lag: &BackupLag) {
        let gauge = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&self.lag_objects, lag.objects);
        gauge(&self.lag_bytes, lag.bytes);
        self.lag_seconds.set(lag.age.as_secs_f64());
        gauge(&self.damaged_primary, lag.damaged_primary);
        gauge(&self.damaged_backup, lag.damaged_backup);
        self.bucket_gone.set(lag.primary_gone.is_some().into());
    }

    /// Objects were copied.
    pub fn copied(&self, objects: u64) {
        self.copied.inc_by(objects);
    }

    /// So many bytes passed, in all.
    pub fn bytes(&self, all: u64) {
        self.bytes.inner().store(all, Ordering::Relaxed);
    }

    /// A pass left nothing undone.
    pub fn succeeded(&self) {
        self.last_success.set(chrono::Utc::now().timestamp_millis() as f64 / 1000.0);
    }

    /// How the scrub stands.
    pub fn scrub(&self, read_within: u64, unread: u64) {
        self.read_within.set(i64::try_from(read_within).unwrap_or(i64::MAX));
        self.unread.set(i64::try_from(unread).unwrap_or(i64::MAX));
    }

    /// Objects were read again, and some of them healed.
    pub fn scrubbed(&self, objects: u64, healed: u64) {
        self.scrubbed.inc_by(objects);
        self.healed.inc_by(healed);
    }
}
