//! What is kept for the day on which something is lost, and removed for good: the reconcilers, and the stores for the
//! commands of that day.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{
    backup::{self, Given},
    done,
    tasks::Tasks,
};
use crate::{
    bucket::{Bucket, DirectoryBucket, PartBudget, S3Bucket, S3Limits},
    catalogue::Catalogue,
    config::Settings,
    error::Result,
    jobs::{
        self,
        manifests::ManifestsJob,
        removals::{self, RemovalsJob},
    },
    publishing::Publishing,
};

/// Starts the reconcilers of manifests, in the bucket and its backup, and of removals.
pub(super) fn start(
    tasks: &mut Tasks,
    settings: &Settings,
    publishing: &Arc<Publishing>,
    backup: Option<Bucket>,
    reconciler: &dyn Fn(&Arc<Notify>) -> Given,
) {
    let places = [("manifests", Some(publishing.bucket.clone())), ("manifests-backup", backup)];
    for (name, bucket) in places {
        let Some(bucket) = bucket else { continue };
        let job = ManifestsJob { name, catalogue: Arc::clone(&publishing.catalogue), bucket, known: None };
        let (wake, until, shown, counted) = reconciler(&Arc::new(Notify::new()));
        tasks.spawn(name, done(jobs::run(job, wake, until, shown, counted)));
    }
    let job = RemovalsJob {
        publishing: Arc::clone(publishing),
        hold: settings.removal.hold,
        page: removals::PAGE,
        after: None,
    };
    let (wake, until, shown, counted) = reconciler(&Arc::new(Notify::new()));
    tasks.spawn("removals", done(jobs::run(job, wake, until, shown, counted)));
}

/// The bucket and the backup that the settings name. Nothing is sent.
///
/// # Errors
/// When an endpoint is no URL, a directory cannot be made, or the backup is the bucket itself.
pub async fn open_stores(
    settings: &Settings,
    catalogue: &Arc<dyn Catalogue>,
) -> Result<(Bucket, Option<Bucket>)> {
    let bucket = match &settings.bucket {
        Some(s3) => Bucket::S3(S3Bucket::new(&s3.to_s3(), S3Limits::default(), &PartBudget::default())?),
        None => Bucket::Directory(DirectoryBucket::open(&settings.data_dir.join("bucket")).await?),
    };
    let places = backup::places_of(settings, catalogue, &bucket).await?;
    Ok((bucket, places.map(|places| places.backup)))
}
