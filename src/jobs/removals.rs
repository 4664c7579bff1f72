//! Removes the objects of images that were removed for good.
//!
//! A pass takes the images whose row says that they are removed, and whose object is not noted as gone, once their hold is
//! over: links that were given out before go on working that long. Before it deletes, it asks the bucket what is under
//! the key: an object that is not the image's (another size or SHA-256) is left alone and reported. A key is never used
//! again, so nothing that is wanted can come in between. Doing it twice, on two replicas, does no harm.
//!
//! A pass takes a page of them, and goes on behind it the next time when something of it stays, so that what cannot be
//! removed keeps nothing behind it; at the end it begins again at the front.
//!
//! The backup's copies go after their own hold, which is the backup's reconciler's duty.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};

use super::Reconciler;
use crate::{
    bucket::ObjectKey,
    catalogue::{Removed, RemovedAt},
    error::{Kind, Result},
    publishing::Publishing,
};

/// How many a pass asks for at once.
pub const PAGE: u32 = 500;

/// The reconciler.
pub struct RemovalsJob {
    /// The use cases.
    pub publishing: Arc<Publishing>,
    /// How long an object stays after its image was removed.
    pub hold: Duration,
    /// How many a pass takes: [`PAGE`].
    pub page: u32,
    /// Behind which one the next pass goes on; `None` = it begins at the front.
    pub after: Option<RemovedAt>,
}

#[async_trait]
impl Reconciler for RemovalsJob {
    fn name(&self) -> &'static str {
        "removals"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        let until = TimeDelta::from_std(self.hold).ok().and_then(|hold| Utc::now().checked_sub_signed(hold));
        let Some(until) = until else { return Ok(None) };
        let (mut gone, mut strange) = (0, 0);
        let mut failed = None;
        let page = self.publishing.catalogue.removed(self.after, self.page).await?;
        // The oldest come first.
        let over = page.iter().filter(|removed| removed.removed_at <= until).count();
        let more = over == self.page as usize;
        let last = page.last().map(Removed::at);
        for removed in page.into_iter().take(over) {
            match self.remove(&removed).await {
                Ok(true) => gone += 1,
                Ok(false) => strange += 1,
                // A store that is away fails them all.
                Err(error) if error.kind() == Kind::Unavailable => return Err(error),
                // One object that the store refuses to delete must not keep those behind it.
                Err(error) => failed = Some(error),
            }
        }
        // With a full page that all went, the front is what was behind it.
        self.after = last.filter(|_| more && (self.after.is_some() || strange > 0 || failed.is_some()));
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(match (gone, strange) {
            (0, 0) => None,
            (gone, 0) => Some(format!("removed {gone} objects of removed images")),
            (gone, strange) => Some(format!(
                "removed {gone} objects of removed images; left {strange} alone, which are not what the image was: look at \
                 them with `firmament fsck`"
            )),
        })
    }
}

impl RemovalsJob {
    /// `false` = what is there is not the image's.
    async fn remove(&self, removed: &Removed) -> Result<bool> {
        let Publishing { bucket, catalogue, .. } = &*self.publishing;
        let key = ObjectKey::image(&removed.product, &removed.version, &removed.filename);
        if let Some(object) = bucket.head(key.as_str()).await? {
            // A large object may carry no digest; its size and facts then tell.
            let digest = object.sha256.is_none_or(|sha256| sha256 == removed.sha256);
            let facts = object.facts.as_ref().is_some_and(|facts| {
                facts.product == removed.product
                    && facts.version == removed.version
                    && facts.filename == removed.filename
            });
            if object.size != removed.size || !digest || !facts {
                return Ok(false);
            }
            bucket.delete(key.as_str()).await?;
        }
        catalogue.object_is_gone(removed.image).await?;
        tracing::info!(%key, "removed the object of a removed image");
        Ok(true)
    }
}
