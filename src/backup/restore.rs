//! Rebuilds the bucket from the backup: what is missing or damaged in it, or all of it.
//!
//! The catalogue says what has to be there. Where nothing is, the store copies within itself if it can, and the scrub reads
//! the result; where something is, it is replaced by bytes that were hashed on the way. An object that neither place has
//! right is reported and left as it is.

use std::sync::Arc;

use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Backup, Side, copy::How, inspect::Found, key, original};
use crate::{
    catalogue::{CopyMade, ImageCopy},
    domain::ProductName,
    error::{Error, Result},
};

/// Images that are read from the catalogue at once.
const BATCH: u32 = 1000;

/// What to restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restore {
    /// Of this product only.
    pub product: Option<ProductName>,
    /// Also replace what looks right.
    pub all: bool,
    /// Read the bucket's objects to find damage that their description does not show.
    pub deep: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Images that were looked at.
    pub looked_at: u64,
    /// Keys of objects that were put back, or would be.
    pub restored: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// What could not be put back, with the reason.
    pub failed: Vec<String>,
}

enum One {
    Right,
    Restored,
    WouldRestore,
}

impl Backup {
    /// Restores.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub async fn restore(self: &Arc<Self>, what: &Restore) -> Result<Restored> {
        let mut restored = Restored::default();
        let mut after: Option<Uuid> = None;
        loop {
            let batch = self.catalogue.copies(after, BATCH).await?;
            let Some(last) = batch.last() else { return Ok(restored) };
            after = Some(last.image);
            let wanted =
                batch.into_iter().filter(|image| what.product.as_ref().is_none_or(|of| *of == image.product));
            self.restore_batch(wanted.collect(), what, &mut restored).await?;
        }
    }

    async fn restore_batch(
        self: &Arc<Self>,
        batch: Vec<ImageCopy>,
        what: &Restore,
        restored: &mut Restored,
    ) -> Result<()> {
        let mut copies: JoinSet<(ImageCopy, Result<One>)> = JoinSet::new();
        let mut waiting = batch.into_iter();
        loop {
            while copies.len() < self.transfers
                && let Some(image) = waiting.next()
            {
                let (this, what) = (Arc::clone(self), what.clone());
                copies.spawn(async move {
                    let one = this.restore_one(&image, &what).await;
                    (image, one)
                });
            }
            let Some(done) = copies.join_next().await else { return Ok(()) };
            let (image, one) = done.map_err(Error::internal)?;
            self.meter.done(image.size);
            restored.looked_at += 1;
            match one {
                Ok(One::Right) => {}
                Ok(One::Restored | One::WouldRestore) => {
                    restored.bytes += image.size;
                    restored.restored.push(key(&image).to_string());
                }
                Err(error) if error.code().starts_with("catalogue-") => return Err(error),
                Err(error) => restored.failed.push(format!("{}: {error} {}", key(&image), error.cause())),
            }
        }
    }

    async fn restore_one(&self, image: &ImageCopy, what: &Restore) -> Result<One> {
        let original = original(image);
        let found = match what.deep {
            true => self.read(Side::Primary, &original).await?.0,
            false => self.look(Side::Primary, &original).await?.0,
        };
        let right = found == Found::Good;
        if right && !what.all {
            // Where damage was known, only reading tells that it is gone.
            if image.primary_damage.is_none() || what.deep {
                return Ok(One::Right);
            }
        }
        if what.dry_run {
            return Ok(One::WouldRestore);
        }
        if let Some(damage) = found.damage()
            && !self.catalogue.inspected(image.image, Some(damage), image.backup_damage.as_deref()).await?
        {
            // Removed since it was listed: what is gone must not be put back.
            return Ok(One::Right);
        }
        let how = if found == Found::Missing {
            self.ensure(Side::Primary, &original, true).await?
        } else {
            self.stream(Side::Primary, &original).await?;
            How::Streamed
        };
        let made = CopyMade { image: image.image, verified: how == How::Streamed };
        self.catalogue.copied(&[made]).await?;
        Ok(One::Restored)
    }
}
