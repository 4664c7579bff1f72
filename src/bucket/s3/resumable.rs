//! An object that comes to S3 in pieces, through many processes.
//!
//! # Flow
//! What was kept behind the last whole part is read into a buffer; bytes fill it; whole parts leave while the next one
//! fills. [`S3Resumable::park`] sends what is left as a small object of its own, since S3 takes no part below 5 MiB but
//! the last. An object that fits into one part is sent in one request at its end, without a multipart upload.
//!
//! # Invariants
//! - A part's number follows from its place, so a part that is sent again replaces itself.
//! - Only parts in an unbroken row from the first are told as progress.
//! - A part that was sent and never kept is replaced by the one that is sent for it later, or goes with the abort.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    S3Bucket, S3Unsealed,
    failure::{failed, is_absent},
    metadata,
    multipart::MOST_PARTS,
    part::PartBuffer,
};
use crate::{
    bucket::{Kept, ObjectFacts, ObjectKey, PART_SIZE, SCRATCH, StillMine, lost, truncate_to_micros},
    error::{Error, Kind, Result},
};

/// Parts of one upload on their way at the same time. Such uploads come over slow links: one is sent while one fills.
const IN_FLIGHT: usize = 2;

/// An object on its way.
pub struct S3Resumable {
    bucket: S3Bucket,
    id: Uuid,
    key: ObjectKey,
    facts: ObjectFacts,
    upload_id: Option<String>,
    /// The entity tags of the parts that are there in an unbroken row.
    parts: Vec<String>,
    /// Those that are there behind a gap, by number.
    ahead: BTreeMap<usize, String>,
    in_flight: JoinSet<Result<(usize, String)>>,
    sent: usize,
    filling: Option<PartBuffer>,
    /// Parts that were told as progress.
    told: usize,
}

impl S3Bucket {
    pub(in crate::bucket) async fn resume(
        &self,
        id: Uuid,
        key: &ObjectKey,
        facts: &ObjectFacts,
        kept: &Kept,
    ) -> Result<S3Resumable> {
        let mut facts = facts.clone();
        facts.created_at = truncate_to_micros(facts.created_at);
        let in_parts = kept.parts.len() as u64 * PART_SIZE as u64;
        let behind = kept.received.checked_sub(in_parts);
        let behind = behind.ok_or_else(|| lost(key, format!("{kept:?} has more parts than bytes")))?;
        let filling = match &kept.tail {
            Some(tail) => Some(self.read_tail(id, key, tail, behind).await?),
            None if behind > 0 => return Err(lost(key, format!("{kept:?} has no tail"))),
            None => None,
        };
        Ok(S3Resumable {
            bucket: self.clone(),
            id,
            key: key.clone(),
            facts,
            upload_id: kept.upload_id.clone(),
            sent: kept.parts.len(),
            told: kept.parts.len(),
            parts: kept.parts.clone(),
            ahead: BTreeMap::new(),
            in_flight: JoinSet::new(),
            filling,
        })
    }

    async fn read_tail(&self, id: Uuid, key: &ObjectKey, tail: &str, size: u64) -> Result<PartBuffer> {
        let mut buffer = self.budget.buffer().await;
        let request = self.client.get_object().bucket(&*self.name).key(scratch(id, tail));
        let answer = request.send().await.map_err(|error| match is_absent(&error) {
            true => lost(key, format!("its tail {tail} is not there")),
            false => failed("reading the tail of an upload", error),
        })?;
        let mut body = answer.body;
        let read = async {
            while let Some(bytes) = body.try_next().await.map_err(super::broken_read)? {
                let mut bytes = bytes;
                buffer.fill(&mut bytes);
            }
            Ok::<(), Error>(())
        };
        tokio::time::timeout(self.limits.attempt, read).await.map_err(super::broken_read)??;
        if buffer.len() as u64 != size {
            return Err(lost(key, format!("its tail has {} bytes, not {size}", buffer.len())));
        }
        Ok(buffer)
    }

    pub(in crate::bucket) async fn remove_scratch(&self, id: Uuid) -> Result<()> {
        let prefix = scratch(id, "");
        let page = self.client.list_objects_v2().bucket(&*self.name).prefix(&prefix).send().await;
        let page = page.map_err(|error| failed("listing the pieces of an upload", error))?;
        // More than a page of them would need a thousand failed deletions.
        for key in page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key) {
            self.delete(&key).await?;
        }
        Ok(())
    }
}

impl S3Resumable {
    pub(in crate::bucket) async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
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

    pub(in crate::bucket) fn progress(&mut self) -> Result<Option<Kept>> {
        while let Some(part) = self.in_flight.try_join_next() {
            self.arrived(part.map_err(Error::internal).flatten()?);
        }
        if self.parts.len() == self.told {
            return Ok(None);
        }
        self.told = self.parts.len();
        Ok(Some(self.kept(None)))
    }

    pub(in crate::bucket) async fn park(&mut self) -> Result<Kept> {
        if self.filling.as_ref().is_some_and(PartBuffer::is_full) {
            self.send_filling().await?;
        }
        self.wait_for_parts(0).await?;
        self.told = self.parts.len();
        let Some(buffer) = self.filling.take() else { return Ok(self.kept(None)) };
        let (bytes, tail) = (buffer.freeze(), Uuid::now_v7().simple().to_string());
        let size = bytes.len() as u64;
        self.bucket
            .client
            .put_object()
            .bucket(&*self.bucket.name)
            .key(scratch(self.id, &tail))
            .body(bytes.into())
            .send()
            .await
            .map_err(|error| failed("keeping the tail of an upload", error))?;
        let mut kept = self.kept(Some(tail));
        kept.received += size;
        Ok(kept)
    }

    pub(in crate::bucket) async fn forget(&self, tail: &str) {
        if let Err(error) = self.bucket.delete(&scratch(self.id, tail)).await {
            tracing::debug!(key = %self.key, cause = error.cause(), "a piece stays until its upload ends");
        }
    }

    pub(in crate::bucket) async fn complete(mut self, still_mine: StillMine<'_>) -> Result<S3Unsealed> {
        let mut size = self.sent as u64 * PART_SIZE as u64;
        size += self.filling.as_ref().map_or(0, |buffer| buffer.len() as u64);
        let unsealed = S3Unsealed::new(&self.bucket, &self.key, &self.facts, size);
        let outcome = if self.sent == 0 {
            self.put(still_mine).await
        } else {
            self.send_filling().await?;
            self.wait_for_parts(0).await?;
            still_mine()?;
            self.complete_parts().await
        };
        let Err(error) = outcome else { return Ok(unsealed) };
        // The answer may be wrong or lost: the store's last word is what it holds.
        match self.bucket.completed(&self.key, &self.facts, size).await {
            Ok(Some(unsealed)) => Ok(unsealed),
            _ => Err(error),
        }
    }

    async fn put(&mut self, still_mine: StillMine<'_>) -> Result<()> {
        let bytes = self.filling.take().map(PartBuffer::freeze).unwrap_or_default();
        still_mine()?;
        self.bucket
            .client
            .put_object()
            .bucket(&*self.bucket.name)
            .key(self.key.as_str())
            .content_type(self.key.content_type())
            .content_disposition(self.key.content_disposition())
            .cache_control(self.key.cache_control())
            .set_metadata(Some(metadata::render(&self.facts, None)))
            .if_none_match("*")
            .body(bytes.into())
            .send()
            .await
            .map_err(|error| failed("sending an object", error))?;
        Ok(())
    }

    async fn complete_parts(&self) -> Result<()> {
        let upload_id = self.upload_id.as_deref().unwrap_or_default();
        self.bucket.complete_parts(&self.key, upload_id, &self.parts).await
    }

    async fn send_filling(&mut self) -> Result<()> {
        let Some(buffer) = self.filling.take() else { return Ok(()) };
        if self.sent >= usize::try_from(MOST_PARTS).unwrap_or(usize::MAX) {
            let most = MOST_PARTS as u64 * PART_SIZE as u64 / (1 << 30);
            let message = format!("the file is larger than {most} GiB, the most that the bucket takes");
            return Err(Error::new(Kind::TooLarge, "too-large", message));
        }
        let upload_id = match &self.upload_id {
            Some(id) => id.clone(),
            none => {
                let id = self.bucket.create_parts(&self.key, &self.facts).await?;
                debug_assert!(none.is_none());
                self.upload_id.insert(id).clone()
            }
        };
        self.wait_for_parts(IN_FLIGHT - 1).await?;
        self.sent += 1;
        let number = self.sent;
        let request = self
            .bucket
            .client
            .upload_part()
            .bucket(&*self.bucket.name)
            .key(self.key.as_str())
            .upload_id(upload_id)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .body(buffer.freeze().into());
        let key = self.key.clone();
        self.in_flight.spawn(async move {
            let answer = request.send().await.map_err(|error| match is_absent(&error) {
                true => lost(&key, "its multipart upload is not there"),
                false => failed(&format!("sending part {number}"), error),
            })?;
            Ok((number, answer.e_tag.unwrap_or_default()))
        });
        Ok(())
    }

    async fn wait_for_parts(&mut self, most: usize) -> Result<()> {
        while self.in_flight.len() > most {
            let part = self.in_flight.join_next().await.expect("more than none are in flight");
            self.arrived(part.map_err(Error::internal).flatten()?);
        }
        Ok(())
    }

    fn arrived(&mut self, (number, tag): (usize, String)) {
        self.ahead.insert(number, tag);
        while let Some(tag) = self.ahead.remove(&(self.parts.len() + 1)) {
            self.parts.push(tag);
        }
    }

    fn kept(&self, tail: Option<String>) -> Kept {
        Kept {
            received: self.parts.len() as u64 * PART_SIZE as u64,
            upload_id: self.upload_id.clone(),
            parts: self.parts.clone(),
            tail,
        }
    }
}

impl S3Bucket {
    /// Creates a multipart upload on the final key.
    pub(in crate::bucket) async fn create_parts(
        &self,
        key: &ObjectKey,
        facts: &ObjectFacts,
    ) -> Result<String> {
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&*self.name)
            .key(key.as_str())
            .content_type(key.content_type())
            .content_disposition(key.content_disposition())
            .cache_control(key.cache_control())
            .set_metadata(Some(metadata::render(facts, None)))
            .send()
            .await
            .map_err(|error| failed("creating a multipart upload", error))?;
        answer.upload_id.ok_or_else(|| Error::internal("the store created an upload without an id"))
    }

    /// Completes a multipart upload of these parts, in order.
    pub(in crate::bucket) async fn complete_parts(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        parts: &[String],
    ) -> Result<()> {
        let parts = (1..)
            .zip(parts)
            .map(|(number, tag)| CompletedPart::builder().part_number(number).e_tag(tag).build());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        self.client
            .complete_multipart_upload()
            .bucket(&*self.name)
            .key(key.as_str())
            .upload_id(upload_id)
            .multipart_upload(parts)
            .send()
            .await
            .map_err(|error| failed("completing a multipart upload", error))?;
        Ok(())
    }
}

fn scratch(id: Uuid, name: &str) -> String {
    format!("{SCRATCH}{id}/{name}")
}
