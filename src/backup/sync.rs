//! Copies what is not copied yet.
//!
//! Images come in the order of their publish, in batches; each batch is compared with one page of a listing of the backup,
//! so that objects that are not there need no request to find out. Copies that were made are written down in groups, so a
//! process that is killed forgets a group at most: those are found again, by one request each.
//!
//! An object that fails is written down with the reason and does not stop the others, unless so many fail in a row that
//! it is the store that fails.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Backup, Side, copy::How, key, original};
use crate::{
    catalogue::{CopyMade, ImageCopy},
    error::{Error, Kind, Result},
};

/// Images that are read from the catalogue at once; as many as a page of a listing has.
const BATCH: u32 = 1000;
/// A listing is worth its request from so many images on.
const WORTH_LISTING: usize = 8;
/// How many copies, or how long, until they are written down.
const GROUP: usize = 100;
const WRITTEN_AFTER: Duration = Duration::from_secs(2);

/// What a pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synced {
    /// Objects that were copied.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already, made by an earlier pass or by another program.
    pub adopted: u64,
    /// Objects that could not be copied.
    pub failed: u64,
    /// Why not, of the last of them.
    pub error: Option<String>,
}

type Outcome = (ImageCopy, Result<How>);

impl Backup {
    /// One pass.
    ///
    /// # Errors
    /// When the catalogue fails, or a store does for everything.
    pub async fn sync(self: &Arc<Self>) -> Result<Synced> {
        let mut synced = Synced::default();
        let mut after: Option<Uuid> = None;
        loop {
            let batch = self.catalogue.uncopied(after, BATCH).await?;
            let Some(last) = batch.last() else { return Ok(synced) };
            after = Some(last.image);
            self.copy_batch(batch, &mut synced).await?;
        }
    }

    async fn copy_batch(self: &Arc<Self>, batch: Vec<ImageCopy>, synced: &mut Synced) -> Result<()> {
        let absent = self.absent(&batch).await?;
        let mut copies: JoinSet<Outcome> = JoinSet::new();
        let (mut made, mut written) = (Vec::new(), Instant::now());
        let mut failed_in_a_row = 0;
        let mut waiting = batch.into_iter();
        loop {
            while copies.len() < self.transfers
                && let Some(image) = waiting.next()
            {
                let this = Arc::clone(self);
                let absent = absent.contains(&image.image);
                copies.spawn(async move {
                    let how = this.ensure(Side::Backup, &original(&image), absent).await;
                    (image, how)
                });
            }
            let Some(done) = copies.join_next().await else { break };
            let (image, how) = done.map_err(Error::internal)?;
            match how {
                Ok(how) => {
                    failed_in_a_row = 0;
                    self.meter.done(image.size);
                    made.push(CopyMade { image: image.image, verified: how == How::Streamed });
                    if how == How::Adopted {
                        synced.adopted += 1;
                    } else {
                        synced.copied += 1;
                        synced.bytes += image.size;
                    }
                }
                Err(error) => {
                    synced.failed += 1;
                    synced.error = Some(self.could_not_copy(&image, &error).await?);
                    failed_in_a_row += if error.is_ours() { 1 } else { 0 };
                    if failed_in_a_row >= self.transfers {
                        self.catalogue.copied(&made).await?;
                        return Err(error);
                    }
                }
            }
            if made.len() >= GROUP || written.elapsed() > WRITTEN_AFTER {
                self.catalogue.copied(&made).await?;
                made.clear();
                written = Instant::now();
            }
        }
        if !made.is_empty() {
            self.catalogue.copied(&made).await?;
        }
        Ok(())
    }

    /// Deletes from the backup what was removed for good longer ago than the hold; gives how many objects.
    ///
    /// # Errors
    /// When the catalogue or the backup fails.
    pub async fn drop_removed(&self, hold: Duration) -> Result<u64> {
        let mut dropped = 0;
        loop {
            let removed = self.catalogue.copies_past_hold(hold, BATCH).await?;
            if removed.is_empty() {
                return Ok(dropped);
            }
            for image in removed {
                // Its key is never used again, so nothing else can be there.
                let key = key(&image);
                self.backup.delete(key.as_str()).await?;
                // A copy that was under way when the image was removed is gone on with by nobody.
                for unfinished in self.backup.unfinished_uploads(Some(key.as_str())).await? {
                    self.backup.abort_upload(&unfinished).await?;
                }
                self.catalogue.copy_dropped(image.image).await?;
                tracing::info!(%key, "deleted from the backup, as its image was removed longer ago than the hold");
                dropped += 1;
            }
        }
    }

    /// Those of the images whose objects the backup is known not to have.
    async fn absent(&self, batch: &[ImageCopy]) -> Result<BTreeSet<Uuid>> {
        let mut keys: Vec<(String, Uuid)> =
            batch.iter().map(|image| (key(image).as_str().to_owned(), image.image)).collect();
        keys.sort();
        let Some(((first, _), true)) = keys.first().map(|first| (first, keys.len() >= WORTH_LISTING)) else {
            return Ok(BTreeSet::new());
        };
        // The listing begins after a key, so a little before the first one.
        let before = &first[..first.len() - 1];
        let page = self.backup.list(Some(before)).await?;
        let there: BTreeSet<&str> = page.iter().map(|object| &*object.key).collect();
        let all = page.len() < BATCH as usize;
        let last = page.last().map(|object| object.key.clone());
        let told = |key: &String| all || last.as_ref().is_some_and(|last| key <= last);
        Ok(keys
            .iter()
            .filter(|(key, _)| told(key) && !there.contains(key.as_str()))
            .map(|(_, image)| *image)
            .collect())
    }

    /// Writes down why an image could not be copied, and says it.
    async fn could_not_copy(&self, image: &ImageCopy, error: &Error) -> Result<String> {
        let key = key(image);
        let cause = error.cause();
        let why = if cause.is_empty() { error.to_string() } else { format!("{error} ({cause})") };
        let text = format!("{key} could not be copied: {why}");
        self.catalogue.not_copied(image.image, &text).await?;
        if matches!(error.kind(), Kind::NotFound | Kind::Conflict) {
            // There is no copy to heal it from, so a person has to know.
            tracing::error!(%key, "{error}; the backup does not have it either, so it cannot be healed");
            self.catalogue.inspected(image.image, Some(error.message()), None).await?;
        } else {
            tracing::warn!(%key, cause, "an object could not be copied to the backup: {error}");
        }
        Ok(text)
    }
}
