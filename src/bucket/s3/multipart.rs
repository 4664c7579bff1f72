//! One multipart upload: created lazily, parts side by side, completed or aborted.
//!
//! # Flow
//! [`Multipart::begin`] asks for the upload in a task of its own; [`Multipart::send`] sends each part in a task, at
//! most [`IN_FLIGHT`] of them; [`Multipart::complete`] waits for all and makes the object appear.
//!
//! # Invariants
//! - Whoever drops a [`Multipart`] that is not complete leaves an abort running: the upload's id is never
//!   forgotten, not even when the caller goes away while the store is still making it up.
//! - An abort comes after the last part. Stores may keep a part that arrives while they abort, and bill for it.
//!
//! # What it does not do
//! Know of an upload that the store created for an answer that was lost: `unfinished_uploads` finds it.

use std::{mem, time::Duration};

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinHandle, JoinSet},
};

use super::{S3Bucket, failure::failed, metadata};
use crate::{
    bucket::{ObjectFacts, ObjectKey, PART_SIZE},
    error::{Error, Kind, Result},
};

/// Parts of one upload on their way at the same time: one waits for the store's disks while others use the link.
pub(super) const IN_FLIGHT: usize = 4;

/// S3's limit. Ceph takes more, but then no other store could hold the object.
pub(super) const MOST_PARTS: i32 = 10_000;

/// How long an abort waits for parts on their way before it cuts them off.
const LAST_PARTS: Duration = Duration::from_secs(5);

/// A multipart upload that aborts itself unless it is completed.
pub(super) struct Multipart(Option<Open>);

struct Open {
    bucket: S3Bucket,
    key: ObjectKey,
    creation: Creation,
    in_flight: JoinSet<Result<CompletedPart>>,
    arrived: Vec<CompletedPart>,
    sent: i32,
}

enum Creation {
    Asked(JoinHandle<Result<String>>),
    Done(String),
    Failed,
}

impl Multipart {
    /// Asks the store for an upload. The object's metadata has no digests yet, as they are not known.
    pub(super) fn begin(bucket: &S3Bucket, key: &ObjectKey, facts: &ObjectFacts) -> Self {
        let request = bucket
            .client
            .create_multipart_upload()
            .bucket(&*bucket.name)
            .key(key.as_str())
            .content_type(key.content_type())
            .content_disposition(key.content_disposition())
            .cache_control(key.cache_control())
            .set_metadata(Some(metadata::render(facts, None)));
        let creation = tokio::spawn(async move {
            let answer =
                request.send().await.map_err(|error| failed("creating a multipart upload", error))?;
            answer.upload_id.ok_or_else(|| Error::internal("the store created an upload without an id"))
        });
        Self(Some(Open {
            bucket: bucket.clone(),
            key: key.clone(),
            creation: Creation::Asked(creation),
            in_flight: JoinSet::new(),
            arrived: Vec::new(),
            sent: 0,
        }))
    }

    /// Sends the next part as soon as fewer than [`IN_FLIGHT`] are on their way.
    pub(super) async fn send(&mut self, part: Bytes) -> Result<()> {
        let open = self.open();
        if open.sent == MOST_PARTS {
            let most = MOST_PARTS as u64 * PART_SIZE as u64 / (1 << 30);
            let message = format!("the file is larger than {most} GiB, the most that the bucket takes");
            return Err(Error::new(Kind::TooLarge, "too-large", message));
        }
        let upload_id = open.upload_id().await?;
        open.wait_for_parts(IN_FLIGHT - 1).await?;
        open.sent += 1;
        let number = open.sent;
        let request = open
            .bucket
            .client
            .upload_part()
            .bucket(&*open.bucket.name)
            .key(open.key.as_str())
            .upload_id(upload_id)
            .part_number(number)
            .body(part.into());
        open.in_flight.spawn(async move {
            let answer =
                request.send().await.map_err(|error| failed(&format!("sending part {number}"), error))?;
            Ok(CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag).build())
        });
        Ok(())
    }

    /// Waits until all parts have arrived.
    pub(super) async fn settle(&mut self) -> Result<()> {
        self.open().wait_for_parts(0).await
    }

    /// Makes the object appear. After an error nobody knows whether it did: ask with HEAD, then
    /// [`Multipart::leave`] or [`Multipart::abort`].
    pub(super) async fn complete(&mut self) -> Result<()> {
        self.settle().await?;
        let open = self.open();
        let upload_id = open.upload_id().await?;
        open.arrived.sort_unstable_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(open.arrived.clone())).build();
        open.bucket
            .client
            .complete_multipart_upload()
            .bucket(&*open.bucket.name)
            .key(open.key.as_str())
            .upload_id(upload_id)
            .multipart_upload(parts)
            .send()
            .await
            .map_err(|error| failed("completing a multipart upload", error))?;
        Ok(())
    }

    /// Lets go of an upload that has become an object.
    pub(super) fn leave(mut self) {
        self.0 = None;
    }

    /// Aborts, and goes on with it when the caller goes away.
    pub(super) async fn abort(mut self) -> Result<()> {
        match self.0.take() {
            Some(open) => tokio::spawn(open.abort()).await.map_err(Error::internal)?,
            None => Ok(()),
        }
    }

    fn open(&mut self) -> &mut Open {
        self.0.as_mut().expect("only taken by methods that take the whole, and by drop")
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and `unfinished_uploads` finds what stays.
        if let (Some(open), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move {
                let key = open.key.clone();
                if let Err(error) = open.abort().await {
                    tracing::warn!(%key, cause = error.cause(), "an abandoned upload could not be aborted");
                }
            });
        }
    }
}

impl Open {
    async fn upload_id(&mut self) -> Result<String> {
        match &mut self.creation {
            Creation::Done(id) => Ok(id.clone()),
            Creation::Failed => Err(Error::internal("used an upload that could not be created")),
            Creation::Asked(task) => {
                let created = task.await.map_err(Error::internal).flatten();
                self.creation = created.as_ref().map_or(Creation::Failed, |id| Creation::Done(id.clone()));
                created
            }
        }
    }

    /// Waits until at most `most` parts are on their way, and learns at once of any that failed.
    async fn wait_for_parts(&mut self, most: usize) -> Result<()> {
        while self.in_flight.len() > most {
            let part = self.in_flight.join_next().await.expect("more than none are in flight");
            self.arrived.push(arrival(part)?);
        }
        while let Some(part) = self.in_flight.try_join_next() {
            self.arrived.push(arrival(part)?);
        }
        Ok(())
    }

    async fn abort(mut self) -> Result<()> {
        let mut parts = mem::take(&mut self.in_flight);
        let last_parts = async { while parts.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_PARTS, last_parts).await.is_err() {
            parts.shutdown().await;
        }
        match self.upload_id().await {
            Ok(upload_id) => self.bucket.remove_upload(self.key.as_str(), &upload_id).await,
            // Its failure has been reported, or is of no interest to who gave up.
            Err(_never_created) => Ok(()),
        }
    }
}

fn arrival(part: Result<Result<CompletedPart>, JoinError>) -> Result<CompletedPart> {
    part.map_err(Error::internal).flatten()
}
