//! The backup's part of the composition: its place by the settings, its reconcilers, its links.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{done, tasks::Tasks};
use crate::{
    backup::Backup,
    bucket::{Bucket, DirectoryBucket, PartBudget, S3Bucket, S3Limits},
    catalogue::{self, Catalogue, SqliteCatalogue},
    cdn::{Elsewhere, Links},
    config::{BackupSettings, Settings},
    error::{Error, Kind, Result},
    http::publisher::BackupHandle,
    jobs::{
        self, Outcomes,
        backup::{AwayJob, BackupJob, DUTIES, ScrubJob, places},
    },
    telemetry::Metrics,
};

/// How long giving back the leads may take at the end.
const GIVING_BACK: Duration = Duration::from_secs(3);

/// A backup that runs.
pub(super) struct Running {
    backup: Arc<Backup>,
    /// Woken by a change, and by an operator who asks for it.
    pub wake: Arc<Notify>,
}

/// What every reconciler is given.
pub(super) type Given = (Arc<Notify>, CancellationToken, Arc<Outcomes>, Arc<Metrics>);

/// The two places, if the settings name a backup. Nothing is sent.
///
/// # Errors
/// When the backup's directory cannot be used, an endpoint is no URL, or the backup is the bucket itself.
pub(crate) async fn places_of(
    settings: &Settings,
    catalogue: &Arc<dyn Catalogue>,
    primary: &Bucket,
) -> Result<Option<Backup>> {
    let Some(backup) = &settings.backup else { return Ok(None) };
    let place = match (&backup.directory, backup.to_s3()) {
        (Some(directory), _) => Bucket::Directory(DirectoryBucket::open(directory).await?),
        (None, Some(s3)) => Bucket::S3(S3Bucket::new(&s3, S3Limits::default(), &PartBudget::default())?),
        (None, None) => {
            return Err(Error::new(Kind::Malformed, "settings-invalid", "[backup] names no place"));
        }
    };
    if place.is_same_as(primary) {
        let message = format!("[backup] is the bucket itself ({}): use another place", place.place());
        return Err(Error::new(Kind::Malformed, "settings-invalid", message));
    }
    Ok(Some(places(Arc::clone(catalogue), primary.clone(), place, backup.transfers, backup.bandwidth)))
}

/// The backup of a server, if there is one.
pub(super) async fn open(
    settings: &Settings,
    catalogue: &Arc<dyn Catalogue>,
    primary: &Bucket,
) -> Result<Option<Running>> {
    let Some(backup) = places_of(settings, catalogue, primary).await? else { return Ok(None) };
    tracing::info!(place = backup.backup.place(), "backup configured");
    Ok(Some(Running { backup: Arc::new(backup), wake: Arc::new(Notify::new()) }))
}

/// Links that can point to the backup, if it can be downloaded from.
pub(super) fn links(settings: &Settings, links: Links) -> (Links, Option<Arc<Elsewhere>>) {
    match settings.backup.as_ref().and_then(|backup| backup.base_url.as_deref()) {
        None => (links, None),
        Some(base) => {
            let elsewhere = Elsewhere::new(base.trim_end_matches('/').to_owned());
            (Links::WithBackup(Box::new(links), Arc::clone(&elsewhere)), Some(elsewhere))
        }
    }
}

impl Running {
    /// Where the copies are.
    pub fn bucket(&self) -> Bucket {
        self.backup.backup.clone()
    }

    /// For the publisher listener.
    pub fn handle(&self, settings: Option<&BackupSettings>) -> BackupHandle {
        let scrub_period = settings.map_or(Duration::MAX, |settings| settings.scrub_period);
        BackupHandle { wake: Arc::clone(&self.wake), place: self.backup.backup.place().into(), scrub_period }
    }

    /// Starts the reconcilers.
    pub fn start(
        &self,
        tasks: &mut Tasks,
        settings: &Settings,
        elsewhere: Option<Arc<Elsewhere>>,
        holder: Uuid,
        reconciler: &dyn Fn(&Arc<Notify>) -> Given,
    ) {
        let copied = Arc::new(Notify::new());
        let (wake, until, shown, counted) = reconciler(&self.wake);
        counted.backup.configure();
        let scrub_period = settings.backup.as_ref().map_or(Duration::MAX, |backup| backup.scrub_period);
        let job = BackupJob {
            backup: Arc::clone(&self.backup),
            holder,
            metrics: Arc::clone(&counted),
            copied: Arc::clone(&copied),
            hold: settings.backup.as_ref().map_or(Duration::MAX, |backup| backup.hold),
            memory: Default::default(),
        };
        tasks.spawn("backup", done(jobs::run(job, wake, until, shown, counted)));

        let (wake, until, shown, counted) = reconciler(&copied);
        let job = ScrubJob {
            backup: Arc::clone(&self.backup),
            holder,
            metrics: Arc::clone(&counted),
            scrub_period,
            last: Instant::now(),
            counted: None,
        };
        tasks.spawn("scrub", done(jobs::run(job, wake, until, shown, counted)));
        if let Some(away) = elsewhere {
            let (wake, until, shown, counted) = reconciler(&Arc::new(Notify::new()));
            let job = AwayJob { catalogue: Arc::clone(&self.backup.catalogue), away };
            tasks.spawn("links to the backup", done(jobs::run(job, wake, until, shown, counted)));
        }
    }

    /// Lets another replica go on at once.
    pub async fn give_back(&self, holder: Uuid) {
        for duty in DUTIES {
            let given = self.backup.catalogue.stop_leading(duty, holder);
            // Else the lease runs out.
            let _ = tokio::time::timeout(GIVING_BACK, given).await;
        }
    }
}

/// The two places for a command that runs beside the server, or without one. It locks no data directory: what it does to
/// catalogue and buckets may be done by two at once.
///
/// # Errors
/// When the settings name no backup, there is no catalogue, or its schema is not this program's.
pub(crate) async fn open_for_command(settings: &Settings) -> Result<Backup> {
    if settings.backup.is_none() {
        let message = "the settings name no backup: add [backup], or name the server's settings by --config";
        return Err(Error::new(Kind::Malformed, "no-backup", message));
    }
    let catalogue: Arc<dyn Catalogue> = match &settings.catalogue {
        Some(postgres) => super::open_postgres(postgres)?,
        None => {
            let path = settings.data_dir.join("catalogue.sqlite");
            if !path.is_file() {
                let message = format!(
                    "there is no catalogue {}: name the server's settings by --config, or its data directory by --data-dir",
                    path.display()
                );
                return Err(Error::new(Kind::Malformed, "no-catalogue", message));
            }
            Arc::new(SqliteCatalogue::open(&path).await?)
        }
    };
    catalogue::prepare(&*catalogue, false).await?;
    let primary = match &settings.bucket {
        Some(s3) => Bucket::S3(S3Bucket::new(&s3.to_s3(), S3Limits::default(), &PartBudget::default())?),
        None => Bucket::Directory(DirectoryBucket::open(&settings.data_dir.join("bucket")).await?),
    };
    let places = places_of(settings, &catalogue, &primary).await?;
    places.ok_or_else(|| Error::internal("the settings name a backup, and there is none"))
}
