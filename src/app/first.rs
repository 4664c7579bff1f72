//! The first answers of catalogue and bucket, which the start waits for only so long.

use std::time::Duration;

use crate::{
    bucket::Bucket,
    error::Result,
    jobs::{Reconciler as _, snapshot::SnapshotJob},
};

/// How long the start waits for the first answers of catalogue and bucket, before it goes on with what is on disk.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// The same when there is something to go on with.
const FIRST_ANSWER_WITH_SNAPSHOT: Duration = Duration::from_secs(3);
/// Reads everything from the catalogue and looks whether the bucket answers, at the same time.
///
/// # Errors
/// When the catalogue's schema does not fit this program.
pub(super) async fn answers(job: &mut SnapshotJob, bucket: &Bucket) -> Result<()> {
    let patience = if job.current.get().is_some() { FIRST_ANSWER_WITH_SNAPSHOT } else { FIRST_ANSWER };
    let (snapshot, ()) = tokio::join!(first_snapshot(job, patience), probe(bucket, patience));
    snapshot
}

/// Looks whether the bucket answers, for the log; nothing depends on it.
async fn probe(bucket: &Bucket, patience: Duration) {
    match tokio::time::timeout(patience, bucket.probe()).await {
        Ok(Ok(())) => tracing::info!("bucket answers"),
        Ok(Err(error)) => tracing::error!(cause = error.cause(), "{error}; publishing fails until it does"),
        Err(_) => tracing::error!("the bucket does not answer in time; publishing fails until it does"),
    }
}

/// Reads everything from the catalogue before the first request, if it answers in time.
async fn first_snapshot(job: &mut SnapshotJob, patience: Duration) -> Result<()> {
    match tokio::time::timeout(patience, job.pass()).await {
        Ok(Ok(done)) => {
            tracing::info!(done, "snapshot read from the catalogue");
            Ok(())
        }
        // A schema that this program does not fit is nothing that time mends.
        Ok(Err(error)) if error.code().starts_with("schema-") => Err(error),
        Ok(Err(error)) => {
            tracing::error!(cause = error.cause(), "{error}; going on with what is on disk");
            Ok(())
        }
        Err(_) => {
            tracing::error!("the catalogue does not answer in time; going on with what is on disk");
            Ok(())
        }
    }
}
