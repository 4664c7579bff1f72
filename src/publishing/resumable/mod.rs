//! Publishing in pieces: uploads that survive a dropped link, a restart of client or server, and another replica.
//!
//! # Flow
//! 1. [`Publishing::begin_upload`] (`begin.rs`): the same early refusals as in one request, then the key is reserved
//!    for the upload itself. The same image again, by the same digest, is answered with the upload that is there.
//! 2. [`Publishing::append`] (`append.rs`): under the upload's lock, bytes go to the bucket; what is durable is kept in
//!    the catalogue, part by part and at the end of each piece, however it ends.
//! 3. After the last byte (`finish.rs`) the object is completed, read back once and hashed (`examine.rs`), judged by
//!    `version_check::verify`, given its digests, and committed by the same transaction as any other publish.
//! 4. [`Publishing::end_upload`] (`end.rs`), a refusal, or its expiry end it and remove all of it.
//!
//! A direct upload (`direct.rs`) differs in 2 only: the client sends the parts to the bucket itself.
//!
//! # Invariants
//! - All state is in catalogue and bucket. What a process has in memory may be lost at any moment; the client then asks
//!   where to go on.
//! - Only the holder of the lock (`lock.rs`) writes; the lock is a lease of seconds, so a dead holder's runs out.
//! - An upload is told to be complete only when its image is committed: before that the last byte counts as missing
//!   ([`shown_offset`]), so that a client whose last piece was not answered comes back, and the end is tried again.
//! - Before the reservation ends otherwise than by the commit, it is taken from the upload: a late writer's commit
//!   then fails, and nothing is removed that a row names.
//!
//! # What it does not do
//! HTTP and the tus protocol's headers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Publishing, failure, key_of};
use crate::{
    bucket::{Kept, ObjectFacts, Resumable},
    catalogue::{ResumableUpload, UploadProgress},
    domain::ProductState,
    error::{Error, Result},
};

mod append;
mod begin;
mod declared;
mod direct;
mod end;
mod examine;
mod finish;
mod lock;

pub use append::{Append, Appended, Checksum, ChecksumAlgorithm};
pub use begin::Begun;
pub use declared::metadata_of;
pub use direct::{Direct, DirectBegun};

/// An upload, or what has become of it.
#[derive(Debug, Clone)]
pub enum Found {
    /// It is under way.
    Open(Box<ResumableUpload>),
    /// It has become an image.
    Published(Box<ProductState>, Uuid),
}

/// What is kept of where the bytes are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    kept: Kept,
    /// The object may be under its key already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    completing: bool,
}

impl Stored {
    fn read(progress: &UploadProgress) -> Result<Self> {
        serde_json::from_value(progress.stored.clone()).map_err(Error::internal)
    }

    fn progress(&self, size: Option<u64>) -> UploadProgress {
        let stored = serde_json::to_value(self).expect("has only string keys");
        UploadProgress { size, received: self.kept.received, stored }
    }
}

/// The offset that a client is told: never the end before the image is committed.
pub fn shown_offset(progress: &UploadProgress) -> u64 {
    progress.size.map_or(progress.received, |size| progress.received.min(size.saturating_sub(1)))
}

/// What the object of an upload carries.
fn facts_of(upload: &ResumableUpload) -> ObjectFacts {
    let reservation = &upload.reservation;
    ObjectFacts {
        product: reservation.product.clone(),
        version: reservation.version.clone(),
        filename: reservation.filename.clone(),
        hardware: reservation.hardware.clone(),
        created_at: upload.created_at,
    }
}

impl Publishing {
    /// An upload, or the image that it has become.
    ///
    /// # Errors
    /// Kind `NotFound`, code `unknown-upload`; or what the catalogue fails with.
    pub async fn find_upload(&self, id: Uuid) -> Result<Found> {
        if let Some(upload) = self.catalogue.upload(id).await? {
            return Ok(Found::Open(Box::new(upload)));
        }
        // Asked for second: a commit in between has turned the one into the other.
        let Some(product) = self.catalogue.product_of_image(id).await? else {
            return Err(failure::unknown_upload());
        };
        Ok(Found::Published(Box::new(self.product(&product).await?), id))
    }

    /// The same, once nobody is writing to it: what it says then is true until somebody goes on.
    ///
    /// # Errors
    /// Also code `upload-locked`, when somebody still writes after some seconds.
    pub async fn settled_upload(&self, id: Uuid) -> Result<Found> {
        let patience = tokio::time::Instant::now() + lock::PATIENCE;
        loop {
            match self.find_upload(id).await? {
                Found::Open(upload) if upload.locked => {
                    if tokio::time::Instant::now() > patience {
                        return Err(failure::upload_locked());
                    }
                    tokio::time::sleep(lock::LOOK_AGAIN).await;
                }
                found => return Ok(found),
            }
        }
    }

    async fn resume(&self, upload: &ResumableUpload, kept: &Kept) -> Result<Resumable> {
        let reservation = &upload.reservation;
        self.bucket.resume(reservation.id, &key_of(reservation), &facts_of(upload), kept).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_only_by_the_image() {
        let progress = |size, received| UploadProgress { size, received, stored: serde_json::Value::Null };
        assert_eq!(shown_offset(&progress(Some(10), 3)), 3);
        assert_eq!(shown_offset(&progress(Some(10), 10)), 9);
        assert_eq!(shown_offset(&progress(None, 10)), 10);
    }

    #[test]
    fn what_is_kept_comes_back() {
        let kept = Kept { received: 9, tail: Some("t".into()), ..Kept::default() };
        let progress = Stored { kept: kept.clone(), completing: true }.progress(Some(12));
        let read = Stored::read(&progress).expect("as written");
        assert_eq!((read.kept, read.completing), (kept, true));
        let empty = UploadProgress { stored: serde_json::json!({}), ..progress };
        assert_eq!(Stored::read(&empty).expect("nothing yet").kept, Kept::default());
    }
}
