//! Copies: the part of the port for a second bucket that holds the same objects.
//!
//! # Flow
//! What an object has to be is known from the catalogue ([`Original`]), so a copy needs no look at the object that it is
//! made from. When both ends are one store, [`Bucket::copy_within`] lets the store move the bytes. Otherwise they pass
//! through us: [`Bucket::read`] at one end, [`Bucket::receive`] at the other, [`Receiving::write`],
//! [`Receiving::finish`].
//!
//! # Invariants
//! - What passes through us is hashed on the way, and **nothing becomes visible unless its SHA-256 is the published
//!   one**. So a damaged object cannot be copied over a good one.
//! - Parts have the size that they have in the original, so equal objects have equal entity tags.
//! - A large copy that broke off is gone on with: parts that are there are not sent again, the bytes of a file
//!   that are there are not even read again.
//! - Memory is bounded by one [`CopyMemory`], whatever is copied and however much of it at once.
//!
//! # What it does not do
//! Decide what to copy, or whether an object that is there already is right (`backup`).

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Bucket, ObjectBytes, ObjectFacts, ObjectKey, StoredObject, directory, s3};
use crate::{
    domain::Digests,
    error::{Error, Kind, Result},
};

/// The code of an error that means: there is no such object.
pub const OBJECT_MISSING: &str = "object-missing";
/// The code of an error that means: the object's bytes are not those that were published.
pub const OBJECT_DAMAGED: &str = "object-damaged";

/// An object as it has to be, in each bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Its key.
    pub key: ObjectKey,
    /// What its metadata say.
    pub facts: ObjectFacts,
    /// In bytes.
    pub size: u64,
    /// Of the whole object.
    pub digests: Digests,
    /// The entity tag that the bucket gave it when it was published, without quotes.
    pub etag: String,
}

impl Original {
    /// The entity tag that S3 has to give it; `None` = it was published into a directory, whose tags are others.
    pub fn s3_etag(&self) -> Option<&str> {
        (self.etag != hex::encode(self.digests.sha256)).then_some(&*self.etag)
    }
}

/// How much memory all copies together may hold. Clones share it.
#[derive(Clone)]
pub struct CopyMemory(Arc<Semaphore>);

/// What a permit stands for, in bytes.
const UNIT: usize = 1024;
/// Eight parts: two large copies at full speed, or some hundred small ones.
const MEMORY: usize = 64 * 1024 * 1024;

impl Default for CopyMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY / UNIT)))
    }
}

/// Bytes that fill, with the permit for them.
pub(super) struct Room {
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl CopyMemory {
    /// Room for so many bytes, as soon as there is some. At most a part.
    ///
    /// No deadlock: a copy asks for its next room only when all that it holds is on its way, and that ends by a time-out.
    pub(super) async fn room(&self, bytes: usize) -> Room {
        let units = bytes.div_ceil(UNIT).clamp(1, MEMORY / UNIT);
        let units = u32::try_from(units).expect("less than there is in all");
        let permit = Arc::clone(&self.0).acquire_many_owned(units).await;
        let permit = permit.expect("the semaphore is never closed");
        Room { bytes: Vec::with_capacity(bytes), _permit: permit }
    }
}

impl Room {
    /// Takes from `bytes` what fits into `limit` bytes in all.
    pub(super) fn fill(&mut self, bytes: &mut Bytes, limit: usize) {
        let taken = limit.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes.split_to(taken));
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, with the permit inside.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An object that is being received from another bucket. Dropping it leaves what can be gone on with.
pub enum Receiving {
    /// Into S3.
    S3(Box<s3::S3Copy>),
    /// Into a directory.
    Directory(Box<directory::DirectoryCopy>),
}

impl Bucket {
    /// The bytes of an object of that size, from that byte on.
    ///
    /// Fails with kind `NotFound` and code [`OBJECT_MISSING`], here or at the first bytes, when there is none.
    pub async fn read(&self, key: &ObjectKey, size: u64, at: u64) -> Result<ObjectBytes> {
        match self {
            Self::S3(bucket) => Ok(ObjectBytes::S3(Box::new(bucket.read(key, size, at)))),
            Self::Directory(bucket) => bucket.read(key, at).await.map(ObjectBytes::Directory),
        }
    }

    /// Whether this store can copy an object from the other bucket without us.
    pub fn copies_from(&self, other: &Self, original: &Original) -> bool {
        match (self, other) {
            (Self::S3(to), Self::S3(from)) => to.copies_from(from, original.size),
            _ => false,
        }
    }

    /// Lets the store copy the object from the other bucket, with its metadata; gives the entity tag of the copy, without
    /// quotes, if the store tells it. The bytes are not looked at by us.
    ///
    /// Fails with kind `NotFound` and code [`OBJECT_MISSING`] when there is none to copy.
    pub async fn copy_within(&self, from: &Self, original: &Original) -> Result<Option<String>> {
        match (self, from) {
            (Self::S3(to), Self::S3(from)) => to.copy_within(from, original).await,
            _ => Err(Error::internal("a copy within a store needs two buckets of that store")),
        }
    }

    /// Begins to receive the object, or goes on with it after a copy that broke off.
    pub async fn receive(&self, original: &Original, memory: &CopyMemory) -> Result<Receiving> {
        match self {
            Self::S3(bucket) => {
                Ok(Receiving::S3(Box::new(s3::S3Copy::begin(bucket, original, memory).await?)))
            }
            Self::Directory(bucket) => Ok(Receiving::Directory(Box::new(bucket.receive(original).await?))),
        }
    }

    /// Whether two buckets are one and the same place.
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::S3(one), Self::S3(other)) => one.is_same_as(other),
            (Self::Directory(one), Self::Directory(other)) => one.is_same_as(other),
            _ => false,
        }
    }

    /// Which place it is, without secrets; the same text for the same place.
    pub fn place(&self) -> String {
        match self {
            Self::S3(bucket) => bucket.place(),
            Self::Directory(bucket) => bucket.place(),
        }
    }
}

impl Receiving {
    /// How many bytes from the object's beginning need not be written, as they are there.
    pub fn received(&self) -> u64 {
        match self {
            Self::S3(_) => 0,
            Self::Directory(copy) => copy.there_before(),
        }
    }

    /// Takes the next bytes; waits when too much is in flight.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match self {
            Self::S3(copy) => copy.write(bytes).await,
            Self::Directory(copy) => copy.write(bytes).await,
        }
    }

    /// Makes the object appear, if the bytes are the published ones, and says what the store holds then.
    ///
    /// Fails with kind `Conflict` and code [`OBJECT_DAMAGED`] when they are not; then nothing has changed under the key,
    /// and what was received is removed.
    pub async fn finish(self) -> Result<StoredObject> {
        match self {
            Self::S3(copy) => copy.finish().await,
            Self::Directory(copy) => copy.finish().await,
        }
    }
}

pub(super) fn object_missing(key: &ObjectKey) -> Error {
    Error::new(Kind::NotFound, OBJECT_MISSING, format!("the object {key} is missing"))
}

/// The bytes came to an end and are not those of the original.
pub(super) fn object_damaged(original: &Original, size: u64, sha256: &[u8]) -> Error {
    let message = if size == original.size {
        format!(
            "the object {} is damaged: the SHA-256 of its bytes is {} instead of {}",
            original.key,
            hex::encode(sha256),
            hex::encode(original.digests.sha256)
        )
    } else {
        format!("the object {} is damaged: it has {size} bytes instead of {}", original.key, original.size)
    };
    Error::new(Kind::Conflict, OBJECT_DAMAGED, message)
}
