//! Removes what crashed publishes left behind.
//!
//! What a publish leaves is found through its reservation: it was there before the first byte went to the bucket,
//! and goes only with the commit or after the cleaning. So a pass asks the catalogue for reservations whose lease
//! has run out, takes each over, and removes its uploads, its object without a row, and the reservation itself.
//! A publish that is under way renews its lease and is never touched. A resumable upload is a reservation like any
//! other, with a lease of hours that each piece renews.
//!
//! Multipart uploads that no reservation covers (their row was lost with a database) are aborted once they are a
//! day old: they hold no complete image; so are pieces of resumable uploads that no catalogue knows. Objects that no row names are counted and reported, never removed: they
//! may be another's, or, after the database was restored from a backup, the last copy of an acknowledged image.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use uuid::Uuid;

use super::Reconciler;
use crate::{
    bucket::{NO_IMAGES, upload_of_scratch},
    error::Result,
    publishing::{Publishing, key_of},
};

/// An upload of unknown origin is left alone for so long.
const UNKNOWN_UPLOAD_HOLD: TimeDelta = TimeDelta::days(1);
/// The bucket is listed only every so many passes: a listing costs requests, and finds what never happens.
const PASSES_PER_LISTING: u64 = 360;

/// The reconciler.
pub struct OrphansJob {
    /// The use cases.
    pub publishing: Arc<Publishing>,
    /// The holder id of the process that used this data directory before: it is dead, so its leases need not run out.
    pub earlier_life: Option<Uuid>,
    /// How many passes there were.
    pub passes: u64,
}

#[async_trait]
impl Reconciler for OrphansJob {
    fn name(&self) -> &'static str {
        "orphans"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn pause(&self) -> Duration {
        self.period()
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        if let Some(holder) = self.earlier_life {
            self.publishing.catalogue.expire_leases_of(holder).await?;
            self.earlier_life = None;
        }
        let reservations = self.publishing.catalogue.reservations().await?;
        let mut removed = 0;
        for (reservation, expired) in &reservations {
            if *expired {
                self.publishing.clean_up_after(reservation).await?;
                removed += 1;
            }
        }
        if self.passes.is_multiple_of(PASSES_PER_LISTING) {
            removed += self.abort_unknown_uploads().await?;
            self.count_rowless_objects().await?;
        }
        self.passes += 1;
        Ok((removed > 0).then(|| format!("cleaned up {removed} unfinished publishes")))
    }
}

impl OrphansJob {
    async fn abort_unknown_uploads(&self) -> Result<usize> {
        let bucket = &self.publishing.bucket;
        // The uploads first: a reservation made after the listing covers none of them.
        let uploads = bucket.unfinished_uploads(None).await?;
        let reservations = self.publishing.catalogue.reservations().await?;
        let covered: BTreeSet<String> =
            reservations.iter().map(|(reservation, _)| key_of(reservation).as_str().to_owned()).collect();
        let old = Utc::now() - UNKNOWN_UPLOAD_HOLD;
        let mut aborted = 0;
        for upload in
            uploads.iter().filter(|upload| upload.started_at < old && !covered.contains(&upload.key))
        {
            bucket.abort_upload(upload).await?;
            tracing::info!(key = upload.key, started_at = %upload.started_at, "aborted an upload that nobody claims");
            aborted += 1;
        }
        Ok(aborted)
    }

    /// Of these uploads' pieces, those of uploads that have no reservation and are old.
    async fn remove_unknown_pieces(&self, uploads: BTreeSet<Uuid>) -> Result<()> {
        if uploads.is_empty() {
            return Ok(());
        }
        let reservations = self.publishing.catalogue.reservations().await?;
        let known: BTreeSet<Uuid> = reservations.iter().map(|(reservation, _)| reservation.id).collect();
        let old = Utc::now() - UNKNOWN_UPLOAD_HOLD;
        for id in uploads.difference(&known) {
            // Version 7: the time is in the id.
            let began = id.get_timestamp().map(|at| i64::try_from(at.to_unix().0).unwrap_or(i64::MAX));
            if began.is_some_and(|began| began < old.timestamp()) {
                self.publishing.bucket.remove_scratch(*id).await?;
                tracing::info!(upload = %id, "removed the pieces of an upload that nobody claims");
            }
        }
        Ok(())
    }

    async fn count_rowless_objects(&self) -> Result<()> {
        let mut rowless = 0;
        let mut pieces = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.publishing.bucket.list(after.as_deref()).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            pieces.extend(page.iter().filter_map(|object| upload_of_scratch(&object.key)));
            let keys: Vec<String> = page.into_iter().map(|object| object.key).collect();
            let keys: Vec<String> = keys.into_iter().filter(|key| !key.starts_with(NO_IMAGES)).collect();
            let known = self.publishing.catalogue.known_keys(&keys).await?;
            rowless += keys.iter().filter(|key| !known.contains(*key)).count();
        }
        self.remove_unknown_pieces(pieces).await?;
        // Uploads that finish between listing and asking are counted once too often; the next look mends it.
        self.publishing.metrics.rowless_objects.set(i64::try_from(rowless).unwrap_or(i64::MAX));
        if rowless > 0 {
            tracing::warn!(
                rowless,
                "objects in the bucket that the catalogue does not name; they are left alone"
            );
        }
        Ok(())
    }
}
