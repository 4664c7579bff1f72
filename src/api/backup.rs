//! How the backup is doing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::catalogue::BackupReport;

/// How the backup is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackupStatus {
    /// All of it in one sentence.
    pub summary: String,
    /// Which place it is.
    pub place: String,
    /// What it lacks; the number to alert on.
    pub lag: LagView,
    /// Images that it has.
    pub copied_objects: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Objects of the bucket that are known to be missing or damaged.
    pub damaged_in_bucket: u64,
    /// The same of the backup.
    pub damaged_in_backup: u64,
    /// Why the bucket as a whole is held to be gone; absent = it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_gone: Option<String>,
    /// How reading everything again goes.
    pub scrub: ScrubView,
    /// When a pass last left nothing undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<DateTime<Utc>>,
    /// Why a pass last failed; absent = the last one did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_at: Option<DateTime<Utc>>,
}

/// What the backup lacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LagView {
    /// Images.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// For how long the oldest of them has been published; 0 = none is lacking.
    pub seconds: f64,
}

/// How reading everything again goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScrubView {
    /// Within this time every object is read again.
    pub period_seconds: u64,
    /// Images of which both objects were read within it.
    pub read_within_period: u64,
    /// Copies that have not been read since they were made.
    pub unread: u64,
    /// When the one that waits longest was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_read: Option<DateTime<Utc>>,
}

impl BackupStatus {
    /// From when on reading counts for the report that this is made of.
    pub fn read_since(period: Duration) -> DateTime<Utc> {
        let period = chrono::TimeDelta::from_std(period).unwrap_or(chrono::TimeDelta::MAX);
        Utc::now().checked_sub_signed(period).unwrap_or_default()
    }

    /// What there is to say.
    pub fn new(report: BackupReport, place: &str, period: Duration) -> Self {
        let summary = in_words(&report);
        let lag = &report.lag;
        Self {
            summary,
            place: place.to_owned(),
            lag: LagView { objects: lag.objects, bytes: lag.bytes, seconds: lag.age.as_secs_f64() },
            copied_objects: report.copied,
            copied_bytes: report.copied_bytes,
            damaged_in_bucket: lag.damaged_primary,
            damaged_in_backup: lag.damaged_backup,
            bucket_gone: lag.primary_gone.clone(),
            scrub: ScrubView {
                period_seconds: period.as_secs(),
                read_within_period: report.read_since,
                unread: report.unread,
                oldest_read: report.oldest_read,
            },
            last_success: report.succeeded_at,
            last_error: report.error,
            last_error_at: report.failed_at,
        }
    }
}

fn in_words(report: &BackupReport) -> String {
    let lag = &report.lag;
    let objects = |count: u64| if count == 1 { "1 object".to_owned() } else { format!("{count} objects") };
    if let Some(why) = &lag.primary_gone {
        return format!("the bucket is held to be gone ({why}); the backup has {}", objects(report.copied));
    }
    if lag.damaged_primary + lag.damaged_backup > 0 {
        return format!(
            "{} of the bucket and {} of the backup are missing or damaged; they are being healed where the other one \
             is right",
            objects(lag.damaged_primary),
            lag.damaged_backup
        );
    }
    match (lag.objects, &report.error) {
        (0, None) => format!("complete: the backup has all {}", objects(report.copied)),
        (0, Some(_)) => format!("the backup has all {}, but the last pass failed", objects(report.copied)),
        (behind, None) => format!("behind by {}, which are being copied", objects(behind)),
        (behind, Some(_)) => {
            format!("behind by {}, and the last pass failed; it is tried again", objects(behind))
        }
    }
}
