//! Ends an upload that will not be completed.

use uuid::Uuid;

use super::{
    Found,
    lock::{Asked, Lock},
};
use crate::{
    catalogue::{Reservation, ResumableUpload},
    error::Result,
    publishing::{Publishing, failure},
};

impl Publishing {
    /// Ends an upload and removes all of it.
    ///
    /// # Errors
    /// Codes `unknown-upload`, `upload-locked`, `upload-published`; or what the catalogue fails with. When the bucket fails,
    /// the upload has ended all the same, and the orphan reconciler removes what is left.
    pub async fn end_upload(&self, id: Uuid) -> Result<()> {
        match self.lock_upload(id).await? {
            Asked::Granted(lock, upload) => {
                self.abandon(&lock, &upload).await?;
                tracing::info!(upload = %id, "upload ended by its publisher");
                Ok(())
            }
            Asked::Instead(Found::Published(..)) => Err(failure::upload_published()),
            Asked::Instead(Found::Open(_)) => Err(failure::upload_locked()),
        }
    }

    /// Ends an upload under its lock.
    pub(super) async fn abandon(&self, lock: &Lock, upload: &ResumableUpload) -> Result<()> {
        lock.take(self.holder).await?;
        let mine = Reservation { holder: self.holder, ..upload.reservation.clone() };
        if let Err(left) = self.clean_up(&mine).await {
            tracing::warn!(
                cause = left.cause(), upload = %mine.id,
                "cannot clean up after an upload now; the orphan reconciler will"
            );
        }
        Ok(())
    }
}
