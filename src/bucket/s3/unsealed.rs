//! An object of a resumable upload after its last byte: read back, and given its digests.
//!
//! The bytes came through many processes, so no one has hashed them all; they are read once, and the digests are put
//! into the metadata by a copy of the object onto itself, as `upload` does after hashing on the way.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::timeout;

use super::{
    S3Bucket, broken_read,
    failure::{failed, is_absent},
    upload::{LARGEST_COPY, add_digests},
};
use crate::{
    bucket::{ObjectFacts, ObjectKey, StillMine, StoredObject, copying::object_missing, truncate_to_micros},
    domain::Digests,
    error::{Error, Result},
};

/// How often in a row reading may fail without a byte in between.
const TRIES: u32 = 4;

/// An object that is under its key and does not carry its digests, or may not.
pub struct S3Unsealed {
    bucket: S3Bucket,
    key: ObjectKey,
    facts: ObjectFacts,
    size: u64,
}

/// The bytes of an object; a connection that breaks is made again.
pub struct S3Bytes {
    bucket: S3Bucket,
    key: ObjectKey,
    size: u64,
    at: u64,
    body: Option<ByteStream>,
}

impl S3Bucket {
    pub(in crate::bucket) async fn completed(
        &self,
        key: &ObjectKey,
        facts: &ObjectFacts,
        size: u64,
    ) -> Result<Option<S3Unsealed>> {
        let unsealed = S3Unsealed::new(self, key, facts, size);
        let found = self.head(key.as_str()).await?;
        let ours =
            found.is_some_and(|object| object.size == size && object.facts.as_ref() == Some(&unsealed.facts));
        Ok(ours.then_some(unsealed))
    }
}

impl S3Bucket {
    /// The bytes of an object of that size, from that byte on. Nothing is asked before the first of them.
    pub(in crate::bucket) fn read(&self, key: &ObjectKey, size: u64, at: u64) -> S3Bytes {
        S3Bytes { bucket: self.clone(), key: key.clone(), size, at, body: None }
    }
}

impl S3Unsealed {
    pub(super) fn new(bucket: &S3Bucket, key: &ObjectKey, facts: &ObjectFacts, size: u64) -> Self {
        let mut facts = facts.clone();
        facts.created_at = truncate_to_micros(facts.created_at);
        Self { bucket: bucket.clone(), key: key.clone(), facts, size }
    }

    pub(in crate::bucket) fn read(&self) -> S3Bytes {
        self.bucket.read(&self.key, self.size, 0)
    }

    pub(in crate::bucket) async fn seal(
        self,
        size: u64,
        digests: &Digests,
        still_mine: StillMine<'_>,
    ) -> Result<StoredObject> {
        let copied = size <= LARGEST_COPY;
        let outcome = if copied {
            still_mine()?;
            add_digests(&self.bucket, &self.key, &self.facts, digests).await
        } else {
            Ok(())
        };
        let sha256 = copied.then_some(digests.sha256);
        match self.bucket.head(self.key.as_str()).await {
            Ok(Some(object))
                if object.size == size
                    && object.facts.as_ref() == Some(&self.facts)
                    && object.sha256 == sha256 =>
            {
                Ok(object)
            }
            Ok(found) => Err(outcome.err().unwrap_or_else(|| {
                Error::internal(format!("{}: sealed {size} bytes, but the store holds {found:?}", self.key))
            })),
            Err(error) => Err(outcome.err().unwrap_or(error)),
        }
    }
}

impl S3Bytes {
    pub(in crate::bucket) async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut tries = 0;
        while self.at < self.size {
            match self.try_next().await {
                Ok(bytes) if !bytes.is_empty() => {
                    self.at += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Ok(_) => {}
                Err(error) if !error.is_retryable() => return Err(error),
                Err(error) => {
                    self.body = None;
                    tries += 1;
                    if tries == TRIES {
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }

    async fn try_next(&mut self) -> Result<Bytes> {
        let body = match &mut self.body {
            Some(body) => body,
            none => {
                let request =
                    self.bucket.client.get_object().bucket(&*self.bucket.name).key(self.key.as_str());
                let request = request.range(format!("bytes={}-{}", self.at, self.size - 1));
                let answer = request.send().await.map_err(|error| match is_absent(&error) {
                    true => object_missing(&self.key),
                    false => failed("reading an object back", error),
                })?;
                none.insert(answer.body)
            }
        };
        let next = timeout(self.bucket.limits.attempt, body.try_next()).await.map_err(broken_read)?;
        next.map_err(broken_read)?.ok_or_else(|| broken_read("the object ended early"))
    }
}
