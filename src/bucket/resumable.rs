//! Uploads that may be resumed: the part of the port for objects that come in pieces, over hours and through many
//! processes.
//!
//! # Flow
//! [`Bucket::resume`] goes on from what was kept, at first from nothing ([`Kept::default`]);
//! [`Resumable::write`] takes bytes; [`Resumable::progress`] says what is durable by now, [`Resumable::park`] makes all
//! of it durable. Whoever drives it (`publishing`) keeps each [`Kept`] in the catalogue, and then tells
//! [`Resumable::forget`] what it replaced. After the last byte, [`Resumable::complete`] gives an [`Unsealed`] object,
//! which can be read, and which [`Unsealed::seal`] turns into one with digests in its metadata.
//!
//! # Where the bytes are
//! On S3: whole parts in a multipart upload on the final key, and what is not yet a whole part in a small object under
//! [`SCRATCH`], which is no image's key. In a directory: in the upload's file.
//!
//! # Invariants
//! - What a [`Kept`] names is there until a later one has been kept. A scratch object's name is never used twice.
//! - All parts but the last are of [`super::PART_SIZE`], as in every other upload.
//! - Nothing is under the final key before `complete`; in a directory, before `seal`.
//!
//! # What it does not do
//! Lock: two writers of one upload are kept apart by the catalogue.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Bucket, ObjectFacts, ObjectKey, SignedPart, StillMine, StoredObject, directory, s3};
use crate::{
    domain::Digests,
    error::{Error, Kind, Result},
};

/// What keys of unfinished pieces begin with. No product's name begins with a dot.
pub const SCRATCH: &str = ".firmament/uploads/";

/// Where the bytes of an upload are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// How many bytes.
    pub received: u64,
    /// The multipart upload, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
    /// The entity tags of its parts, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// The scratch object with the bytes behind the last whole part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
}

/// An upload that bytes are being added to.
pub enum Resumable {
    /// To S3.
    S3(s3::S3Resumable),
    /// Into a directory.
    Directory(directory::DirectoryResumable),
}

/// An object whose bytes are all there, and which does not yet carry its digests.
pub enum Unsealed {
    /// In S3, under its key.
    S3(s3::S3Unsealed),
    /// In a directory, not yet under its key.
    Directory(directory::DirectoryUnsealed),
}

/// The bytes of an object, in order.
pub enum ObjectBytes {
    /// From S3.
    S3(Box<s3::S3Bytes>),
    /// From a directory.
    Directory(directory::DirectoryBytes),
}

impl Bucket {
    /// Goes on with an upload, or begins it.
    pub async fn resume(
        &self,
        id: Uuid,
        key: &ObjectKey,
        facts: &ObjectFacts,
        kept: &Kept,
    ) -> Result<Resumable> {
        match self {
            Self::S3(bucket) => bucket.resume(id, key, facts, kept).await.map(Resumable::S3),
            Self::Directory(bucket) => bucket.resume(id, key, facts, kept).await.map(Resumable::Directory),
        }
    }

    /// The object of an upload that was completed, if it was: after a crash nobody else knows.
    pub async fn completed(
        &self,
        key: &ObjectKey,
        facts: &ObjectFacts,
        size: u64,
    ) -> Result<Option<Unsealed>> {
        match self {
            Self::S3(bucket) => Ok(bucket.completed(key, facts, size).await?.map(Unsealed::S3)),
            Self::Directory(bucket) => Ok(bucket.completed(key, facts, size).await?.map(Unsealed::Directory)),
        }
    }

    /// Whether clients can send parts to the store themselves.
    pub fn takes_direct_uploads(&self) -> bool {
        matches!(self, Self::S3(_))
    }

    /// Begins an upload whose parts clients send themselves; gives the store's name for it.
    pub async fn begin_direct(&self, key: &ObjectKey, facts: &ObjectFacts) -> Result<String> {
        match self {
            Self::S3(bucket) => bucket.create_parts(key, facts).await,
            Self::Directory(_) => Err(no_parts()),
        }
    }

    /// Signs a URL for each part of an upload of that size.
    pub async fn sign_parts(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        size: u64,
        valid_for: Duration,
    ) -> Result<Vec<SignedPart>> {
        match self {
            Self::S3(bucket) => bucket.sign_parts(key, upload_id, size, valid_for).await,
            Self::Directory(_) => Err(no_parts()),
        }
    }

    /// The parts that clients have sent, by number, with size and entity tag; `None` = there is no such upload.
    pub async fn sent_parts(
        &self,
        key: &ObjectKey,
        upload_id: &str,
    ) -> Result<Option<Vec<(u32, u64, String)>>> {
        match self {
            Self::S3(bucket) => bucket.sent_parts(key, upload_id).await,
            Self::Directory(_) => Err(no_parts()),
        }
    }

    /// Completes an upload whose parts the client has sent to the bucket itself, in order.
    ///
    /// Fails with kind `Conflict` and code `parts-mismatch` when these are not the parts that are there.
    pub async fn complete_direct(
        &self,
        key: &ObjectKey,
        facts: &ObjectFacts,
        upload_id: &str,
        parts: &[String],
        size: u64,
    ) -> Result<Unsealed> {
        match self {
            Self::S3(bucket) => {
                bucket.complete_direct(key, facts, upload_id, parts, size).await.map(Unsealed::S3)
            }
            Self::Directory(_) => Err(no_parts()),
        }
    }

    /// Removes the pieces of an upload that are under no key of ours. That there are none is fine.
    pub async fn remove_scratch(&self, id: Uuid) -> Result<()> {
        match self {
            Self::S3(bucket) => bucket.remove_scratch(id).await,
            Self::Directory(_) => Ok(()),
        }
    }
}

impl Resumable {
    /// Takes the next bytes; waits when too much is in flight.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match self {
            Self::S3(upload) => upload.write(bytes).await,
            Self::Directory(upload) => upload.write(bytes).await,
        }
    }

    /// What is durable by now, if it is a part more than before.
    pub async fn progress(&mut self) -> Result<Option<Kept>> {
        match self {
            Self::S3(upload) => upload.progress(),
            Self::Directory(upload) => upload.progress().await,
        }
    }

    /// Makes all that was written durable.
    pub async fn park(&mut self) -> Result<Kept> {
        match self {
            Self::S3(upload) => upload.park().await,
            Self::Directory(upload) => upload.park().await,
        }
    }

    /// Removes what only the earlier one of two kept states names. A failure costs space until the upload's end.
    pub async fn forget(&self, before: &Kept, now: &Kept) {
        if let (Self::S3(upload), Some(tail)) = (self, &before.tail)
            && now.tail.as_ref() != Some(tail)
        {
            upload.forget(tail).await;
        }
    }

    /// Ends the upload: its bytes are the object's from now on.
    pub async fn complete(self, still_mine: StillMine<'_>) -> Result<Unsealed> {
        match self {
            Self::S3(upload) => upload.complete(still_mine).await.map(Unsealed::S3),
            Self::Directory(upload) => upload.complete().await.map(Unsealed::Directory),
        }
    }
}

impl Unsealed {
    /// Reads the object from its start.
    pub async fn read(&self) -> Result<ObjectBytes> {
        match self {
            Self::S3(object) => Ok(ObjectBytes::S3(Box::new(object.read()))),
            Self::Directory(object) => object.read().await.map(ObjectBytes::Directory),
        }
    }

    /// Adds the digests to the metadata and asks the store what it holds now. Doing it again is fine.
    pub async fn seal(self, size: u64, digests: &Digests, still_mine: StillMine<'_>) -> Result<StoredObject> {
        match self {
            Self::S3(object) => object.seal(size, digests, still_mine).await,
            Self::Directory(object) => object.seal(size, digests, still_mine).await,
        }
    }
}

impl ObjectBytes {
    /// The next bytes; `None` = that was all.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::S3(bytes) => bytes.next().await,
            Self::Directory(bytes) => bytes.next().await,
        }
    }
}

/// The upload that a scratch key belongs to; `None` = it is no scratch key.
pub fn upload_of_scratch(key: &str) -> Option<Uuid> {
    key.strip_prefix(SCRATCH)?.split('/').next()?.parse().ok()
}

fn no_parts() -> Error {
    Error::internal("a directory takes no parts from clients")
}

/// The code of an error after which an upload cannot be gone on with: what was kept of it is not there.
pub const UPLOAD_LOST: &str = "upload-lost";

/// The error of a kept state that the store contradicts: somebody has removed what was there, such as a rule of the
/// bucket that aborts multipart uploads after some days.
pub(super) fn lost(key: &ObjectKey, cause: impl std::fmt::Display) -> Error {
    let message = "the bucket has lost what was kept of this upload: begin it anew";
    Error::new(Kind::NotFound, UPLOAD_LOST, message).caused_by(format!("the upload of {key}: {cause}"))
}
