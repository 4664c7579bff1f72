//! The bucket: where the bytes are. The port over two stores, and what both keep.
//!
//! # Flow of a write
//! [`Bucket::begin`] opens an upload for a key, [`Upload::write`] takes the bytes as they come, [`Upload::finish`] makes
//! the object appear, whole, under its final key; [`Upload::abort`] leaves nothing. There is no staging copy: on S3
//! it is a multipart upload on the final key, which is invisible until it is completed.
//!
//! [`resumable`] is the same for bytes that come in pieces. [`copying`] is the part for a second bucket with the same objects.
//! [`manifests`] are small objects that are no images.
//!
//! # Invariants
//! - An object is complete or absent, and its bytes never change. Who may write a key is decided by the
//!   catalogue's reservation, not here: S3 stores do not promise create-only multipart uploads.
//! - Objects carry [`ObjectFacts`] as metadata, from which the catalogue's row could be rebuilt, the headers that a
//!   CDN needs, and what s3fs and rclone read (`mtime`, `mode`, `uid`, `gid`, `md5chksum`).
//! - Memory is bounded by [`PART_SIZE`] times a budget for the whole process, whatever is uploaded.
//! - Every call ends: connect, attempt and overall time-outs are set, none is left to a default.
//!
//! # What it does not do
//! Decide which objects should exist (`publishing`, `jobs`), make links (`cdn`).

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, Utc};

use crate::{
    domain::{Digests, FileName, Hardware, ProductName, Version},
    error::{Error, Kind, Result},
};

pub mod copying;
pub mod directory;
pub mod foreign;
pub mod key;
pub mod manifests;
pub mod resumable;
pub mod s3;

pub use copying::{CopyMemory, OBJECT_DAMAGED, OBJECT_MISSING, Original, Receiving};
pub use directory::{DirectoryBucket, ObjectReader, OpenObject};
pub use foreign::Foreign;
pub use key::ObjectKey;
pub use manifests::MANIFESTS;
use resumable::lost;
pub use resumable::{Kept, ObjectBytes, Resumable, SCRATCH, UPLOAD_LOST, Unsealed, upload_of_scratch};
pub use s3::{ForeignObject, PartBudget, S3Bucket, S3Limits, S3Settings, SignedPart};

/// What the keys of objects begin with that are no images but belong to Firmament: no product is called so.
pub const NO_IMAGES: &str = ".firmament/";

/// The size of a multipart upload's parts, in bytes; the same in primary and backup, so that equal objects get
/// equal ETags. 10,000 parts (S3's limit) of it are 80 GiB.
pub const PART_SIZE: usize = 8 * 1024 * 1024;

/// What an object's metadata says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// The product.
    pub product: ProductName,
    /// The release's version.
    pub version: Version,
    /// The file name.
    pub filename: FileName,
    /// The hardware it runs on; empty = all.
    pub hardware: BTreeSet<Hardware>,
    /// When the upload began; also the object's `mtime`. Kept to the microsecond, as in Postgres.
    pub created_at: DateTime<Utc>,
}

/// An object as the store describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// In bytes.
    pub size: u64,
    /// The entity tag, without quotes.
    pub etag: String,
    /// From the metadata; `None` when it is not one of ours.
    pub facts: Option<ObjectFacts>,
    /// SHA-256 from the metadata.
    pub sha256: Option<[u8; 32]>,
    /// `Content-Type`, as the store would serve it.
    pub content_type: Option<String>,
    /// `Cache-Control`, as the store would serve it.
    pub cache_control: Option<String>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// In bytes.
    pub size: u64,
}

/// A multipart upload that has neither been completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// The key that it is for.
    pub key: String,
    /// The store's name for it.
    pub upload_id: String,
    /// When it was begun, by the store's clock.
    pub started_at: DateTime<Utc>,
}

/// A bucket: one of the two stores.
///
/// Every method fails with kind `Unavailable` and code `bucket-unavailable` when the store cannot be reached, is
/// overloaded or does not answer in time, `Unavailable` and `bucket-full` when it has no room, `Internal` and
/// `bucket-misconfigured` when it refuses us, and with kind `Internal` on anything else that is unexpected.
#[derive(Clone)]
pub enum Bucket {
    /// An S3 bucket.
    S3(S3Bucket),
    /// A directory of this machine.
    Directory(DirectoryBucket),
}

/// Asked before each request that changes what is under a key: an error means that the key has become somebody else's,
/// or may become it any moment, and the request is not made.
pub type StillMine<'a> = &'a (dyn Fn() -> Result<()> + Send + Sync);

/// An object on its way into a bucket. Dropping it is like [`Upload::abort`], as far as that can be done.
pub enum Upload {
    /// To S3.
    S3(s3::S3Upload),
    /// Into a directory.
    Directory(directory::DirectoryUpload),
}

impl Bucket {
    /// Opens an upload. Nothing is visible under the key before [`Upload::finish`].
    pub async fn begin(&self, key: &ObjectKey, facts: &ObjectFacts) -> Result<Upload> {
        match self {
            Self::S3(bucket) => bucket.begin(key, facts).await.map(Upload::S3),
            Self::Directory(bucket) => bucket.begin(key, facts).await.map(Upload::Directory),
        }
    }

    /// Describes an object; `None` = there is none.
    pub async fn head(&self, key: &str) -> Result<Option<StoredObject>> {
        match self {
            Self::S3(bucket) => bucket.head(key).await,
            Self::Directory(bucket) => bucket.head(key).await,
        }
    }

    /// Removes an object; an absent one is fine.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match self {
            Self::S3(bucket) => bucket.delete(key).await,
            Self::Directory(bucket) => bucket.delete(key).await,
        }
    }

    /// Objects in the order of their keys, after the key `after`, at most 1000.
    pub async fn list(&self, after: Option<&str>) -> Result<Vec<ListedObject>> {
        match self {
            Self::S3(bucket) => bucket.list(after).await,
            Self::Directory(bucket) => bucket.list(after).await,
        }
    }

    /// All unfinished uploads, or those for one key.
    pub async fn unfinished_uploads(&self, key: Option<&str>) -> Result<Vec<UnfinishedUpload>> {
        match self {
            Self::S3(bucket) => bucket.unfinished_uploads(key).await,
            Self::Directory(bucket) => bucket.unfinished_uploads(key).await,
        }
    }

    /// Aborts an unfinished upload and frees its parts; an absent one is fine.
    pub async fn abort_upload(&self, upload: &UnfinishedUpload) -> Result<()> {
        match self {
            Self::S3(bucket) => bucket.abort_upload(upload).await,
            Self::Directory(bucket) => bucket.abort_upload(upload).await,
        }
    }

    /// Whether the bucket answers and lets us in. The error's message says what to check.
    pub async fn probe(&self) -> Result<()> {
        match self {
            Self::S3(bucket) => bucket.probe().await,
            Self::Directory(bucket) => bucket.probe().await,
        }
    }
}

impl Upload {
    /// Takes the next bytes; waits when too much is in flight.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match self {
            Self::S3(upload) => upload.write(bytes).await,
            Self::Directory(upload) => upload.write(bytes).await,
        }
    }

    /// Sends what is left, so that [`Upload::finish`] has only to make the object appear. The object stays
    /// invisible. Call it before the last verdict on the bytes. (An object of at most one part is kept back on S3:
    /// `finish` sends and shows it in one request, and after a bad verdict the store has never heard of it.)
    /// Write nothing after it: only an upload's last part may be a short one.
    pub async fn flush(&mut self) -> Result<()> {
        match self {
            Self::S3(upload) => upload.flush().await,
            Self::Directory(upload) => upload.flush().await,
        }
    }

    /// Makes the object appear under its key and asks the store what it holds now. `size` and `digests` are of
    /// all the bytes written; an object that differs from them is removed and reported as an error.
    ///
    /// Do not drop it half way, as the object may appear all the same: run it in a task of its own.
    pub async fn finish(
        self,
        size: u64,
        digests: &Digests,
        still_mine: StillMine<'_>,
    ) -> Result<StoredObject> {
        match self {
            Self::S3(upload) => upload.finish(size, digests, still_mine).await,
            Self::Directory(upload) => upload.finish(size, digests, still_mine).await,
        }
    }

    /// Leaves nothing behind.
    pub async fn abort(self) -> Result<()> {
        match self {
            Self::S3(upload) => upload.abort().await,
            Self::Directory(upload) => upload.abort().await,
        }
    }
}

impl S3Settings {
    /// The URL below which the bucket's keys are, without a trailing slash.
    pub fn base_url(&self) -> String {
        let (scheme, host) = self.endpoint.split_once("://").unwrap_or(("https", &self.endpoint));
        if self.path_style {
            format!("{scheme}://{host}/{}", self.name)
        } else {
            format!("{scheme}://{}.{host}", self.name)
        }
    }
}

/// The error of a store without room; only operators can help, so there is no time to try again at.
fn bucket_full(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let message = "the bucket is full: give it more room, then try again";
    Error::new(Kind::Unavailable, "bucket-full", message).caused_by(cause)
}

/// A time as metadata keeps it.
fn truncate_to_micros(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}
