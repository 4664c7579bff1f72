//! Keeps the backup equal to the bucket, reads both again in time, and says where links should point meanwhile.
//!
//! Three reconcilers, of which the first two are led by one replica at a time:
//! - [`BackupJob`] copies what is not copied, woken by a publish on any replica; it also looks whether the bucket is there
//!   at all
//! - [`ScrubJob`] reads objects again and heals them; copies that nobody has read yet come first
//! - [`AwayJob`], on each replica, tells the links which objects are to be had from the backup's base URL for now
//!
//! What they do is in [`crate::backup`].

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::Reconciler;
use crate::{
    api::BackupStatus,
    backup::{Backup, Pace, Synced, key, lead::leading},
    catalogue::{BackupLag, Catalogue},
    cdn::{Away, Elsewhere},
    error::{Error, Kind, Result},
    telemetry::Metrics,
};

/// The names of the duties that one replica does at a time.
pub const DUTIES: [&str; 2] = [COPYING, SCRUBBING];
/// The duty of copying; commands take it too.
pub const COPYING: &str = "backup";
const SCRUBBING: &str = "scrub";

/// How often to try again what failed, and to look when no wake-up came.
const PERIOD: Duration = Duration::from_secs(10);
/// While copying goes on, metrics are renewed so often.
const SHOWN: Duration = Duration::from_secs(5);
/// An idle backup says so often that it is complete.
const TOLD: Duration = Duration::from_secs(60);
/// The progress of an idle scrub is counted so often, as that looks at every copy.
const COUNTED: Duration = Duration::from_secs(300);
/// The bucket is asked whether it is there so often.
const PROBED: Duration = Duration::from_secs(8);
/// A bucket that does not answer for so long is held to be gone; one that says that it does not exist, at once.
const GONE_AFTER: Duration = Duration::from_secs(120);
/// More damage than this, and the bucket is as good as gone: links need no list of it.
const MOST_AWAY: u32 = 10_000;

/// Copies what is not copied.
pub struct BackupJob {
    /// The two places.
    pub backup: Arc<Backup>,
    /// Which replica this is.
    pub holder: Uuid,
    /// Gauges.
    pub metrics: Arc<Metrics>,
    /// Wakes the scrub, as there is something unread.
    pub copied: Arc<Notify>,
    /// How long a copy outlives its image.
    pub hold: Duration,
    /// What this process knows; nothing at first.
    pub memory: Memory,
}

/// What a process knows of the passes before.
#[derive(Debug, Default)]
pub struct Memory {
    /// Whether the catalogue knows which place the backup is.
    placed: bool,
    /// When the catalogue was last told that a pass ended well; `None` = the last one failed.
    told: Option<Instant>,
    /// When the bucket was last asked whether it is there.
    probed: Option<Instant>,
    /// Since when it does not answer.
    silent_since: Option<Instant>,
}

#[async_trait]
impl Reconciler for BackupJob {
    fn name(&self) -> &'static str {
        "backup"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        let catalogue = Arc::clone(&self.backup.catalogue);
        if !self.memory.placed {
            if catalogue.set_backup(&self.backup.backup.place()).await? {
                tracing::warn!(
                    place = self.backup.backup.place(),
                    "the backup is another place than before: copying everything"
                );
            }
            self.memory.placed = true;
        }
        let done = {
            let backup = Arc::clone(&self.backup);
            let hold = self.hold;
            let work = async {
                let synced = backup.sync().await;
                Ok(match backup.drop_removed(hold).await {
                    Ok(_) => synced,
                    Err(error) => synced.and(Err(error)),
                })
            };
            let led = leading(&*catalogue, COPYING, self.holder, work);
            let show = async {
                loop {
                    tokio::time::sleep(SHOWN).await;
                    if let Ok(lag) = catalogue.backup_lag().await {
                        self.metrics.backup.lag(&lag);
                    }
                }
            };
            tokio::select! {
                led = led => led?,
                () = show => None,
            }
        };
        self.metrics.backup.bytes(self.backup.meter.read());
        let Some(synced) = done else {
            self.metrics.backup.lag(&catalogue.backup_lag().await?);
            return Ok(None);
        };
        self.probe(&*catalogue).await?;
        self.metrics.backup.lag(&catalogue.backup_lag().await?);
        self.end(&*catalogue, synced).await
    }
}

impl BackupJob {
    async fn end(&mut self, catalogue: &dyn Catalogue, synced: Result<Synced>) -> Result<Option<String>> {
        let synced = match synced {
            Ok(synced) => synced,
            Err(error) => {
                self.memory.told = None;
                catalogue.backup_ended(Some(&format!("{error} ({})", error.cause()))).await?;
                return Err(error);
            }
        };
        self.metrics.backup.copied(synced.copied);
        let did = synced.copied + synced.adopted > 0;
        if did {
            self.copied.notify_one();
        }
        if let Some(error) = synced.error {
            self.memory.told = None;
            let text = format!("{} objects could not be copied, the last: {error}", synced.failed);
            catalogue.backup_ended(Some(&text)).await?;
            let message = "some objects could not be copied to the backup; they are tried again";
            return Err(Error::new(Kind::Unavailable, "backup-incomplete", message).caused_by(text));
        }
        self.metrics.backup.succeeded();
        // An idle pass writes nothing, but for a sign of life.
        if did || self.memory.told.is_none_or(|told| told.elapsed() > TOLD) {
            catalogue.backup_ended(None).await?;
            self.memory.told = Some(Instant::now());
        }
        Ok(did.then(|| {
            format!(
                "copied {} objects ({} bytes), {} were there",
                synced.copied, synced.bytes, synced.adopted
            )
        }))
    }

    /// Looks now and then whether the bucket is there at all.
    async fn probe(&mut self, catalogue: &dyn Catalogue) -> Result<()> {
        if self.memory.probed.is_some_and(|at| at.elapsed() < PROBED) {
            return Ok(());
        }
        self.memory.probed = Some(Instant::now());
        let gone = match self.backup.primary.probe().await {
            Ok(()) => {
                self.memory.silent_since = None;
                None
            }
            Err(error) => {
                let since = *self.memory.silent_since.get_or_insert_with(Instant::now);
                let refuses = error.kind() != Kind::Unavailable;
                if !refuses && since.elapsed() < GONE_AFTER {
                    return Ok(());
                }
                tracing::error!(cause = error.cause(), "the bucket is held to be gone: {error}");
                Some(error.to_string())
            }
        };
        catalogue.set_primary_gone(gone.as_deref()).await
    }
}

/// Reads objects again.
pub struct ScrubJob {
    /// The two places.
    pub backup: Arc<Backup>,
    /// Which replica this is.
    pub holder: Uuid,
    /// Gauges.
    pub metrics: Arc<Metrics>,
    /// Within this time everything is read.
    pub scrub_period: Duration,
    /// When the last pass was.
    pub last: Instant,
    /// When the metrics of its progress were last counted.
    pub counted: Option<Instant>,
}

#[async_trait]
impl Reconciler for ScrubJob {
    fn name(&self) -> &'static str {
        "scrub"
    }

    fn period(&self) -> Duration {
        // A test's period of seconds should be kept as one of weeks is.
        (self.scrub_period / 4).clamp(Duration::from_millis(200), Duration::from_secs(60))
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        let (backup, period) = (Arc::clone(&self.backup), self.scrub_period);
        let since_last = self.last.elapsed();
        let work = async move { backup.scrub(period, since_last).await };
        let scrubbed = leading(&*self.backup.catalogue, SCRUBBING, self.holder, work).await?;
        let Some(scrubbed) = scrubbed else { return Ok(None) };
        self.last = Instant::now();
        self.metrics.backup.scrubbed(scrubbed.read, scrubbed.healed);
        let lag = self.backup.catalogue.backup_lag().await?;
        self.metrics.backup.lag(&lag);
        if scrubbed.read > 0 || self.counted.is_none_or(|at| at.elapsed() > COUNTED) {
            let since = BackupStatus::read_since(self.scrub_period);
            let report = self.backup.catalogue.backup_report(since).await?;
            self.metrics.backup.scrub(report.read_since, report.unread);
            self.counted = Some(Instant::now());
        }
        if let Some(error) = scrubbed.error {
            let message = "some objects could not be read again or healed; they are tried again";
            return Err(Error::new(Kind::Unavailable, "scrub-incomplete", message).caused_by(error));
        }
        if let Some(unresolved) = scrubbed.unresolved.first() {
            let message =
                "objects are damaged in the bucket and in the backup: put one of the two back by hand";
            return Err(Error::new(Kind::Internal, "backup-damaged", message).caused_by(unresolved.clone()));
        }
        if scrubbed.read == 0 {
            return Ok(None);
        }
        Ok(Some(format!("read {} objects at both ends, healed {}", scrubbed.read, scrubbed.healed)))
    }
}

/// Tells the links what the bucket does not have.
pub struct AwayJob {
    /// Where it stands.
    pub catalogue: Arc<dyn Catalogue>,
    /// Who is told.
    pub away: Arc<Elsewhere>,
}

#[async_trait]
impl Reconciler for AwayJob {
    fn name(&self) -> &'static str {
        "links to the backup"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        let lag: BackupLag = self.catalogue.backup_lag().await?;
        let away = if lag.primary_gone.is_some() {
            let uncopied = self.catalogue.uncopied(None, MOST_AWAY).await?;
            Away::AllBut(uncopied.iter().map(|image| key(image).as_str().into()).collect())
        } else if lag.damaged_primary > 0 {
            let damaged = self.catalogue.damaged(MOST_AWAY).await?;
            let healthy_copy = damaged.iter().filter(|image| {
                image.primary_damage.is_some() && image.backup_damage.is_none() && image.copied_at.is_some()
            });
            Away::These(healthy_copy.map(|image| key(image).as_str().into()).collect())
        } else {
            Away::These(HashSet::new())
        };
        let text = match &away {
            Away::These(keys) if keys.is_empty() => None,
            Away::These(keys) => Some(format!("links of {} objects point to the backup", keys.len())),
            Away::AllBut(_) => Some("all links point to the backup, as the bucket is gone".to_owned()),
        };
        if self.away.set(away) {
            match &text {
                Some(text) => tracing::warn!("{text}"),
                None => tracing::info!("all links point to the bucket again"),
            }
        }
        Ok(text)
    }
}

/// The two places of a server, or of a command.
pub fn places(
    catalogue: Arc<dyn Catalogue>,
    primary: crate::bucket::Bucket,
    backup: crate::bucket::Bucket,
    transfers: usize,
    bandwidth: Option<u64>,
) -> Backup {
    Backup {
        catalogue,
        primary,
        backup,
        transfers,
        pace: Pace::new(bandwidth),
        memory: crate::bucket::CopyMemory::default(),
        meter: crate::backup::Meter::default(),
        unreadable: crate::backup::Unreadable::default(),
    }
}
