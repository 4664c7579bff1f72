//! After the last byte: from an upload to a committed image.
//!
//! Each step can be done again: what was completed is found by its facts, what was sealed is sealed again. So after a
//! crash or an outage the client's last piece, sent again, goes on where it stopped. Only a refusal ends the upload.

use super::{Stored, declared, facts_of, lock::Lock};
use crate::{
    bucket::{Resumable, Unsealed},
    catalogue::{Actor, ResumableUpload},
    error::{Error, Kind, Result},
    publishing::{Publication, Published, Publishing, crash, failure, key_of},
    version_check,
};

/// Where the bytes are when the last one has come.
pub(super) enum Bytes {
    /// Not completed yet.
    Pieces(Resumable),
    /// Under the key, since an earlier try.
    Object(Unsealed),
    /// In parts that the client has sent itself: the multipart upload and its parts.
    Parts(String, Vec<String>),
}

impl Publishing {
    /// Completes, verifies and commits. After a refusal nothing of the upload is left.
    pub(super) async fn finish(
        &self,
        lock: &Lock,
        upload: &ResumableUpload,
        stored: &mut Stored,
        bytes: Bytes,
        actor: &Actor,
    ) -> Result<Published> {
        let request = declared::publication(upload, actor)?;
        let done = tokio::select! {
            done = self.complete_and_commit(lock, upload, stored, bytes, &request) => done,
            () = lock.lost().cancelled() => Err(failure::upload_locked()),
        };
        if let Err(error) = &done
            && is_final(error)
            && let Err(left) = self.abandon(lock, upload).await
        {
            tracing::warn!(cause = left.cause(), "cannot end a refused upload now; it expires");
        }
        done
    }

    async fn complete_and_commit(
        &self,
        lock: &Lock,
        upload: &ResumableUpload,
        stored: &mut Stored,
        bytes: Bytes,
        request: &Publication,
    ) -> Result<Published> {
        let reservation = &upload.reservation;
        let key = key_of(reservation);
        let still_mine = || lock.still_mine();
        let object = match bytes {
            Bytes::Object(object) => object,
            Bytes::Pieces(pieces) => {
                self.will_complete(lock, upload, stored).await?;
                pieces.complete(&still_mine).await?
            }
            Bytes::Parts(upload_id, parts) => {
                self.will_complete(lock, upload, stored).await?;
                let size = upload.progress.size.unwrap_or_default();
                self.bucket.complete_direct(&key, &facts_of(upload), &upload_id, &parts, size).await?
            }
        };
        crash::point("upload-completed");
        // From here on the object has all the bytes; also what an earlier try or another writer left is not needed.
        for left in self.bucket.unfinished_uploads(Some(key.as_str())).await? {
            // In a directory the upload's own file is the object until it is sealed.
            if left.upload_id != reservation.id.to_string() {
                lock.still_mine()?;
                self.bucket.abort_upload(&left).await?;
            }
        }
        self.bucket.remove_scratch(reservation.id).await?;
        let policy = self.product(&request.product).await?.product.settings.policy;
        let taken = self.examine(&object, &policy, &request.candidate).await?;
        let state = self.product(&request.product).await?;
        version_check::verify(&state, &request.candidate, &taken.arrived, self.limits)
            .map_err(failure::refusal)?;
        let sealed = object.seal(taken.arrived.size, &taken.digests, &still_mine).await?;
        crash::point("upload-sealed");
        self.commit(request, reservation, upload.created_at, sealed, taken).await
    }

    /// Remembers that the object may be there from now on.
    async fn will_complete(&self, lock: &Lock, upload: &ResumableUpload, stored: &mut Stored) -> Result<()> {
        stored.completing = true;
        lock.record(stored, upload.progress.size).await?;
        crash::point("upload-completing");
        Ok(())
    }
}

/// Whether the same bytes would be refused again.
fn is_final(error: &Error) -> bool {
    matches!(error.kind(), Kind::Refused | Kind::Conflict | Kind::TooLarge | Kind::NotFound)
}
