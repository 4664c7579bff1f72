//! An object on its way to S3.
//!
//! # Flow
//! Bytes fill a buffer of one part. An object that fits into it is sent by `finish` in one `PutObject` with all its
//! metadata, only if the key is free: one request instead of four, and nothing in the store while the verdict is open.
//! When a byte more
//! comes, the buffer becomes the first part of a multipart upload on the final key, and its parts leave while the
//! next ones fill.
//!
//! S3 takes metadata when a multipart upload is created, but the digests are known only at its end. So `finish`
//! completes the upload and then copies the object onto itself with `MetadataDirective: REPLACE`; the bytes are
//! not touched. Until `finish` has returned, no row of the catalogue names the object, so nobody sees it with half
//! its metadata. Ceph rewrites the head alone: for 1 GiB, Complete, copy and HEAD took 0.08 to 0.17 s together. (It
//! also keeps the multipart ETag; AWS makes a new one, so the ETag is asked for after the copy.)
//!
//! # Invariants
//! - The store's last word decides, not its answers: a `PutObject` or Complete may fail after it has been done,
//!   and Ceph answers a repeated Complete with `500 already in progress` and a good one with an empty ETag. So
//!   `finish` ends with a HEAD that must show our facts, size and SHA-256.
//! - An object that is not what was sent is removed, but only if it carries the facts of this very upload: after
//!   an error the key may hold what somebody else has put there meanwhile.
//!
//! # What it does not do
//! Compute digests. The store verifies the SHA-256 of every part, as that is signed.

use std::time::Duration;

use aws_sdk_s3::{config::timeout::TimeoutConfig, types::MetadataDirective};
use bytes::Bytes;

use super::{S3Bucket, failure::failed, metadata, multipart::Multipart, part::PartBuffer};
use crate::{
    bucket::{ObjectFacts, ObjectKey, StillMine, StoredObject, truncate_to_micros},
    domain::Digests,
    error::{Error, Result},
};

/// The largest object that CopyObject takes. Larger ones keep the metadata of their beginning, without `sha256` and
/// `md5chksum`: no firmware is near it, and a copy in parts would send gigabytes around for two headers.
pub(super) const LARGEST_COPY: u64 = 5 << 30;

/// How often and in which steps to look for the object of a Complete that failed: it may still be at it.
const LOOKS: u32 = 3;
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// An object on its way.
pub struct S3Upload {
    bucket: S3Bucket,
    key: ObjectKey,
    facts: ObjectFacts,
    filling: Option<PartBuffer>,
    multipart: Option<Multipart>,
    written: u64,
}

impl S3Upload {
    pub(super) fn begin(bucket: &S3Bucket, key: &ObjectKey, facts: &ObjectFacts) -> Self {
        let mut facts = facts.clone();
        // As the metadata keeps it; else the object would not carry the facts that it was sent with.
        facts.created_at = truncate_to_micros(facts.created_at);
        Self { bucket: bucket.clone(), key: key.clone(), facts, filling: None, multipart: None, written: 0 }
    }

    pub(in crate::bucket) async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        self.written += bytes.len() as u64;
        while !bytes.is_empty() {
            // Sent only when a next byte is there, as an object of exactly one part needs no multipart upload.
            if self.filling.as_ref().is_some_and(PartBuffer::is_full) {
                self.send_filling().await?;
            }
            let buffer = match &mut self.filling {
                Some(buffer) => buffer,
                none => none.insert(self.bucket.budget.buffer().await),
            };
            buffer.fill(&mut bytes);
        }
        Ok(())
    }

    pub(in crate::bucket) async fn flush(&mut self) -> Result<()> {
        if self.multipart.is_some() {
            self.send_filling().await?;
        }
        match &mut self.multipart {
            Some(multipart) => multipart.settle().await,
            None => Ok(()),
        }
    }

    pub(in crate::bucket) async fn finish(
        mut self,
        size: u64,
        digests: &Digests,
        still_mine: StillMine<'_>,
    ) -> Result<StoredObject> {
        if size != self.written {
            let cause = format!("{}: {} bytes were written, {size} are claimed", self.key, self.written);
            self.abort().await?;
            return Err(Error::internal(cause));
        }
        self.flush().await?;
        still_mine()?;
        let (outcome, sha256) = match self.multipart.take() {
            None => (self.put(digests).await, Some(digests.sha256)),
            Some(multipart) => {
                self.complete(multipart).await?;
                if size > LARGEST_COPY {
                    (Ok(()), None)
                } else {
                    still_mine()?;
                    (add_digests(&self.bucket, &self.key, &self.facts, digests).await, Some(digests.sha256))
                }
            }
        };
        self.verify(sha256, outcome, still_mine).await
    }

    pub(in crate::bucket) async fn abort(self) -> Result<()> {
        match self.multipart {
            Some(multipart) => multipart.abort().await,
            None => Ok(()),
        }
    }

    async fn send_filling(&mut self) -> Result<()> {
        let Some(buffer) = self.filling.take() else { return Ok(()) };
        let multipart =
            self.multipart.get_or_insert_with(|| Multipart::begin(&self.bucket, &self.key, &self.facts));
        multipart.send(buffer.freeze()).await
    }

    /// Sends the whole object in one request.
    async fn put(&mut self, digests: &Digests) -> Result<()> {
        let bytes = self.filling.take().map(PartBuffer::freeze).unwrap_or_default();
        self.bucket
            .client
            .put_object()
            .bucket(&*self.bucket.name)
            .key(self.key.as_str())
            .content_type(self.key.content_type())
            .content_disposition(self.key.content_disposition())
            .cache_control(self.key.cache_control())
            .set_metadata(Some(metadata::render(&self.facts, Some(digests))))
            // A request that arrives late must not replace what the next holder of the key has stored. Ceph keeps this
            // on buckets without versioning; a store that ignores it is no worse off.
            .if_none_match("*")
            .body(bytes.into())
            .send()
            .await
            .map_err(|error| failed("sending an object", error))?;
        Ok(())
    }

    /// Completes; an error whose object is there all the same is none.
    async fn complete(&self, mut multipart: Multipart) -> Result<()> {
        let Err(error) = multipart.complete().await else {
            multipart.leave();
            return Ok(());
        };
        for look in 1..=LOOKS {
            if let Ok(Some(object)) = self.bucket.head(self.key.as_str()).await
                && object.facts.as_ref() == Some(&self.facts)
                && object.size == self.written
            {
                multipart.leave();
                return Ok(());
            }
            if look < LOOKS && error.is_retryable() {
                tokio::time::sleep(LOOK_AGAIN).await;
            } else {
                break;
            }
        }
        // Dropping it aborts it in the background; the caller learns what went wrong first.
        Err(error)
    }

    /// Asks the store what it holds now.
    async fn verify(
        &self,
        sha256: Option<[u8; 32]>,
        outcome: Result<()>,
        still_mine: StillMine<'_>,
    ) -> Result<StoredObject> {
        let key = self.key.as_str();
        let found = match self.bucket.head(key).await {
            Ok(found) => found,
            Err(error) => return Err(outcome.err().unwrap_or(error)),
        };
        let ours = found.as_ref().is_some_and(|object| object.facts.as_ref() == Some(&self.facts));
        match found {
            Some(object) if ours && object.size == self.written && object.sha256 == sha256 => Ok(object),
            found => {
                if ours
                    && still_mine().is_ok()
                    && let Err(error) = self.bucket.delete(key).await
                {
                    tracing::warn!(key, cause = error.cause(), "a broken object could not be removed");
                }
                Err(outcome.err().unwrap_or_else(|| {
                    let sent = (self.written, sha256.map(hex::encode));
                    Error::internal(format!("{key}: sent {sent:?}, but the store holds {found:?}"))
                }))
            }
        }
    }
}

/// Replaces the metadata by a copy onto itself; see the module's head.
pub(super) async fn add_digests(
    bucket: &S3Bucket,
    key: &ObjectKey,
    facts: &ObjectFacts,
    digests: &Digests,
) -> Result<()> {
    let limits = &bucket.limits;
    // AWS moves the bytes inside, which takes longer for gigabytes than sending one part.
    let time_outs = TimeoutConfig::builder()
        .connect_timeout(limits.connect)
        .operation_attempt_timeout(limits.operation)
        .operation_timeout(limits.operation)
        .build();
    bucket
        .client
        .copy_object()
        .copy_source(copy_source(&bucket.name, key.as_str()))
        .bucket(&*bucket.name)
        .key(key.as_str())
        .metadata_directive(MetadataDirective::Replace)
        .content_type(key.content_type())
        .content_disposition(key.content_disposition())
        .cache_control(key.cache_control())
        .set_metadata(Some(metadata::render(facts, Some(digests))))
        .customize()
        .config_override(aws_sdk_s3::config::Builder::new().timeout_config(time_outs))
        // A PUT without a body gets none from the SDK, and some stores and proxies answer 411.
        .mutate_request(|request| {
            request.headers_mut().insert("content-length", "0");
        })
        .send()
        .await
        .map_err(|error| failed("adding the digests to the metadata", error))?;
    Ok(())
}

/// The source of a copy, percent-encoded, as the SDK sends it raw.
pub(super) fn copy_source(bucket: &str, key: &str) -> String {
    use std::fmt::Write as _;

    let mut source = String::with_capacity(bucket.len() + 1 + key.len());
    for byte in bucket.bytes().chain([b'/']).chain(key.bytes()) {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~' | b'/' => {
                source.push(byte.into());
            }
            _ => write!(source, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_source_is_percent_encoded() {
        assert_eq!(copy_source("firmware", "thermo-x/1.0.0/A_b.bin"), "firmware/thermo-x/1.0.0/A_b.bin");
        assert_eq!(copy_source("tenant:firmware", "a b+ü"), "tenant%3Afirmware/a%20b%2B%C3%BC");
    }
}
