//! An object that comes from another bucket.
//!
//! Within one store it is a CopyObject, which keeps metadata and, on Ceph, the entity tag. CopyObject takes 5 GiB; larger
//! objects are streamed like those of another store. (UploadPartCopy would need the original's own parts of 8 MiB for an
//! equal entity tag, thus as many requests as sending them, and nobody would have seen the bytes.)
//!
//! Streamed, the metadata are complete from the beginning, as the digests are known. What fits into one part, and was
//! stored in one request, is kept in memory until its SHA-256 is known to be right, and sent in one request.
//! Otherwise it is a multipart upload that is completed only then. It stays when a copy breaks off: the next one finds
//! it by its key, and a part that is there with the size and MD5 of the bytes that come is not sent again.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_s3::{
    config::timeout::TimeoutConfig,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use md5::Md5;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use super::{
    S3Bucket,
    failure::{failed, is_absent},
    metadata,
    multipart::MOST_PARTS,
    upload::{LARGEST_COPY, add_digests, copy_source},
};
use crate::{
    bucket::{
        CopyMemory, Original, PART_SIZE, StoredObject, UnfinishedUpload,
        copying::{Room, object_damaged, object_missing},
    },
    error::{Error, Result},
};

/// Parts of one copy on their way at the same time.
const IN_FLIGHT: usize = 4;
/// How often to look for the object of a Complete that failed: the store may still be at it.
const LOOKS: u32 = 3;
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// An object on its way.
pub struct S3Copy {
    bucket: S3Bucket,
    original: Original,
    memory: CopyMemory,
    sha256: Sha256,
    received: u64,
    filling: Option<Room>,
    multipart: Option<Multipart>,
}

struct Multipart {
    upload_id: String,
    /// Other uploads of this key, left by copies that broke off.
    others: Vec<UnfinishedUpload>,
    /// What is there already, by number: size and entity tag without quotes.
    there: BTreeMap<u32, (u64, String)>,
    sent: u32,
    in_flight: JoinSet<Result<CompletedPart>>,
    arrived: Vec<CompletedPart>,
}

impl S3Bucket {
    pub(in crate::bucket) fn copies_from(&self, from: &Self, size: u64) -> bool {
        let same_key = self.account.0 == from.account.0
            && self.account.1.expose_secret() == from.account.1.expose_secret();
        size <= LARGEST_COPY && self.endpoint == from.endpoint && same_key
    }

    pub(in crate::bucket) fn is_same_as(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.name == other.name
    }

    pub(in crate::bucket) fn place(&self) -> String {
        format!("bucket {} at {}", self.name, self.endpoint)
    }

    pub(in crate::bucket) async fn copy_within(
        &self,
        from: &Self,
        original: &Original,
    ) -> Result<Option<String>> {
        let limits = &self.limits;
        // A store that moves the bytes takes longer for gigabytes than for one part.
        let time_outs = TimeoutConfig::builder()
            .connect_timeout(limits.connect)
            .operation_attempt_timeout(limits.operation)
            .operation_timeout(limits.operation * 2)
            .build();
        let key = original.key.as_str();
        let answer = self
            .client
            .copy_object()
            .copy_source(copy_source(&from.name, key))
            // Ceph ignores it.
            .copy_source_if_match(&original.etag)
            .bucket(&*self.name)
            .key(key)
            .customize()
            .config_override(aws_sdk_s3::config::Builder::new().timeout_config(time_outs))
            // A PUT without a body gets none from the SDK, and some stores and proxies answer 411.
            .mutate_request(|request| {
                request.headers_mut().insert("content-length", "0");
            })
            .send()
            .await
            .map_err(|error| match is_absent(&error) {
                true => object_missing(&original.key),
                false => failed("copying an object within the store", error),
            })?;
        let tag = answer.copy_object_result.and_then(|result| result.e_tag);
        Ok(tag.map(|tag| tag.trim_matches('"').to_owned()))
    }

    async fn begin_copy(&self, original: &Original) -> Result<Multipart> {
        let key = original.key.as_str();
        let mut others = self.unfinished_uploads(Some(key)).await?;
        others.sort_by_key(|upload| upload.started_at);
        while let Some(newest) = others.pop() {
            // It may have been aborted since it was listed.
            let Some(parts) = self.sent_parts(&original.key, &newest.upload_id).await? else { continue };
            let there = parts
                .into_iter()
                .map(|(number, size, tag)| (number, (size, tag.trim_matches('"').to_owned())))
                .collect();
            return Ok(Multipart::new(newest.upload_id, others, there));
        }
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&*self.name)
            .key(key)
            .content_type(original.key.content_type())
            .content_disposition(original.key.content_disposition())
            .cache_control(original.key.cache_control())
            .set_metadata(Some(metadata::render(&original.facts, Some(&original.digests))))
            .send()
            .await
            .map_err(|error| failed("creating a multipart upload", error))?;
        let upload_id =
            answer.upload_id.ok_or_else(|| Error::internal("the store created an upload without an id"))?;
        Ok(Multipart::new(upload_id, others, BTreeMap::new()))
    }
}

impl Multipart {
    fn new(upload_id: String, others: Vec<UnfinishedUpload>, there: BTreeMap<u32, (u64, String)>) -> Self {
        Self { upload_id, others, there, sent: 0, in_flight: JoinSet::new(), arrived: Vec::new() }
    }

    async fn wait_for_parts(&mut self, most: usize) -> Result<()> {
        while self.in_flight.len() > most {
            let part = self.in_flight.join_next().await.expect("more than none are in flight");
            self.arrived.push(part.map_err(Error::internal).flatten()?);
        }
        Ok(())
    }
}

impl S3Copy {
    pub(in crate::bucket) async fn begin(
        bucket: &S3Bucket,
        original: &Original,
        memory: &CopyMemory,
    ) -> Result<Self> {
        // As the original was stored; of one that was stored elsewhere, as we would store it.
        let in_parts = original.size > PART_SIZE as u64
            || original.s3_etag().is_some_and(|tag| tag.contains('-') && original.size > 0);
        let multipart = if in_parts { Some(bucket.begin_copy(original).await?) } else { None };
        Ok(Self {
            bucket: bucket.clone(),
            original: original.clone(),
            memory: memory.clone(),
            sha256: Sha256::new(),
            received: 0,
            filling: None,
            multipart,
        })
    }

    pub(in crate::bucket) async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        self.sha256.update(&bytes);
        self.received += bytes.len() as u64;
        if self.received > self.original.size {
            // Found out at the end; there is no room for them.
            return Ok(());
        }
        while !bytes.is_empty() {
            let left = usize::try_from(self.original.size).unwrap_or(usize::MAX);
            let room = match &mut self.filling {
                Some(room) => room,
                none => none.insert(self.memory.room(left.min(PART_SIZE)).await),
            };
            room.fill(&mut bytes, PART_SIZE);
            if room.len() == PART_SIZE && self.multipart.is_some() {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<()> {
        let (Some(room), Some(multipart)) = (self.filling.take(), &mut self.multipart) else {
            return Ok(());
        };
        multipart.sent += 1;
        let number = multipart.sent;
        let part_number = i32::try_from(number).map_err(Error::internal)?;
        if part_number > MOST_PARTS {
            return Err(Error::internal(format!("{} has more parts than S3 takes", self.original.key)));
        }
        if let Some((size, tag)) = multipart.there.get(&number)
            && *size == room.len() as u64
            && *tag == hex::encode(Md5::digest(room.as_ref()))
        {
            let part = CompletedPart::builder().part_number(part_number).e_tag(format!("\"{tag}\""));
            multipart.arrived.push(part.build());
            return Ok(());
        }
        multipart.wait_for_parts(IN_FLIGHT - 1).await?;
        let request = self
            .bucket
            .client
            .upload_part()
            .bucket(&*self.bucket.name)
            .key(self.original.key.as_str())
            .upload_id(&multipart.upload_id)
            .part_number(part_number)
            .body(room.freeze().into());
        multipart.in_flight.spawn(async move {
            let answer =
                request.send().await.map_err(|error| failed(&format!("sending part {number}"), error))?;
            Ok(CompletedPart::builder().part_number(part_number).set_e_tag(answer.e_tag).build())
        });
        Ok(())
    }

    pub(in crate::bucket) async fn finish(mut self) -> Result<StoredObject> {
        let sha256 = std::mem::take(&mut self.sha256).finalize();
        if self.received != self.original.size || *sha256 != self.original.digests.sha256 {
            let error = object_damaged(&self.original, self.received, &sha256);
            self.abort().await;
            return Err(error);
        }
        if self.multipart.is_none() {
            return self.put().await;
        }
        self.send_part().await?;
        let mut multipart = self.multipart.take().expect("just seen");
        multipart.wait_for_parts(0).await?;
        let stored = self.complete(&mut multipart).await?;
        for other in &multipart.others {
            if let Err(error) = self.bucket.abort_upload(other).await {
                tracing::warn!(key = other.key, cause = error.cause(), "an old upload could not be aborted");
            }
        }
        Ok(stored)
    }

    /// Removes parts whose bytes are wrong.
    async fn abort(&mut self) {
        let Some(mut multipart) = self.multipart.take() else { return };
        multipart.in_flight.shutdown().await;
        let key = self.original.key.as_str();
        if let Err(error) = self.bucket.remove_upload(key, &multipart.upload_id).await {
            tracing::warn!(key, cause = error.cause(), "a copy of damaged bytes could not be aborted");
        }
    }

    /// Sends the whole object in one request; the store verifies its SHA-256, which is signed.
    async fn put(&mut self) -> Result<StoredObject> {
        let bytes = self.filling.take().map(Room::freeze).unwrap_or_default();
        let key = &self.original.key;
        self.bucket
            .client
            .put_object()
            .bucket(&*self.bucket.name)
            .key(key.as_str())
            .content_type(key.content_type())
            .content_disposition(key.content_disposition())
            .cache_control(key.cache_control())
            .set_metadata(Some(metadata::render(&self.original.facts, Some(&self.original.digests))))
            .body(bytes.into())
            .send()
            .await
            .map_err(|error| failed("sending a copy", error))?;
        self.stored().await
    }

    async fn complete(&self, multipart: &mut Multipart) -> Result<StoredObject> {
        multipart.arrived.sort_unstable_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(multipart.arrived.clone())).build();
        let outcome = self
            .bucket
            .client
            .complete_multipart_upload()
            .bucket(&*self.bucket.name)
            .key(self.original.key.as_str())
            .upload_id(&multipart.upload_id)
            .multipart_upload(parts)
            .send()
            .await
            .map_err(|error| failed("completing a copy", error));
        let mut look = 1;
        let stored = loop {
            // After an error nobody knows whether it was done; what is there now tells.
            match (self.stored().await, outcome.as_ref().err()) {
                (Ok(stored), _) => break stored,
                (Err(error), None) => return Err(error),
                (Err(_), Some(error)) if look < LOOKS && error.is_retryable() => {
                    look += 1;
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                (Err(found), Some(_)) => return Err(outcome.err().unwrap_or(found)),
            }
        };
        // A store that makes new tags when it copies (AWS) gave the original such a one.
        if self.original.s3_etag().is_some_and(|tag| !tag.contains('-') && tag != stored.etag)
            && self.original.size <= LARGEST_COPY
        {
            let Original { key, facts, digests, .. } = &self.original;
            add_digests(&self.bucket, key, facts, digests).await?;
            return self.stored().await;
        }
        Ok(stored)
    }

    /// What the store holds now, which has to be what was sent.
    async fn stored(&self) -> Result<StoredObject> {
        let Original { key, size, digests, .. } = &self.original;
        match self.bucket.head(key.as_str()).await? {
            Some(object) if object.size == *size && object.sha256 == Some(digests.sha256) => Ok(object),
            found => Err(Error::internal(format!("{key}: a copy was sent, but the store holds {found:?}"))),
        }
    }
}
