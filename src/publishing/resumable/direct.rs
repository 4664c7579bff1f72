//! Direct uploads: the client sends the parts to the bucket itself, by URLs that we sign, and then says that it is done.
//!
//! All else is as with tus: the same reservation, lock, expiry and cleaning, and the same end, at which the object is
//! read back and judged. What the client sent is not believed before that.

use std::time::Duration;

use uuid::Uuid;

use super::{
    Begun, Found, Stored, facts_of, finish,
    lock::{Asked, Lock},
};
use crate::{
    bucket::{PART_SIZE, SignedPart},
    catalogue::{Actor, ResumableUpload, UploadKind},
    error::{Error, Kind, Result},
    publishing::{Publication, Published, Publishing, failure, key_of},
};

/// How long a URL works; after that, ask for new ones.
const URL_LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// What a client needs to send the parts.
#[derive(Debug)]
pub struct Direct {
    /// The upload.
    pub upload: Box<ResumableUpload>,
    /// The parts that are not there yet.
    pub missing: Vec<SignedPart>,
    /// How many there are in all.
    pub parts: u64,
}

/// What a request for a direct upload leads to.
#[derive(Debug)]
pub enum DirectBegun {
    /// Parts are to be sent.
    Open(Direct),
    /// This very image is there already.
    Done(Box<Published>),
}

impl Publishing {
    /// Begins a direct upload, or goes on with it: the same image again, by its digest, gets URLs for what is missing.
    ///
    /// # Errors
    /// As [`Publishing::begin_upload`]; code `direct-without-s3` when the bucket is a directory; `size-missing`.
    pub async fn begin_direct(&self, request: &Publication) -> Result<DirectBegun> {
        if !self.bucket.takes_direct_uploads() {
            return Err(Error::new(
                Kind::Conflict,
                "direct-without-s3",
                "this server keeps images in a directory, which clients cannot reach: publish through the server",
            ));
        }
        if request.candidate.size.is_none() {
            return Err(Error::new(
                Kind::Malformed,
                "size-missing",
                "say the image's size in bytes: add size=…",
            ));
        }
        let upload = match self.begin_upload(request, None, UploadKind::Direct).await? {
            Begun::Done(published) => return Ok(DirectBegun::Done(published)),
            Begun::Open(upload, _) => upload,
        };
        let (lock, upload) = self.lock_direct(upload.reservation.id).await?;
        let direct = self.sign_missing(&lock, upload).await;
        lock.release().await;
        direct.map(DirectBegun::Open)
    }

    /// Completes a direct upload: its parts become the object, which is read back, judged and published.
    ///
    /// # Errors
    /// Codes `unknown-upload`, `upload-locked`, `parts-missing`; the version check's refusals, after which the upload has
    /// ended; or what catalogue and bucket fail with, after which the same request may be tried again.
    pub async fn complete_direct(&self, id: Uuid, actor: &Actor) -> Result<Published> {
        let _permit = self.uploads.try_acquire().map_err(|_| failure::too_many_uploads())?;
        let (lock, upload) = match self.lock_upload(id).await? {
            Asked::Granted(lock, upload) => (lock, upload),
            Asked::Instead(Found::Published(state, image)) => {
                return Ok(Published { state: *state, image, created: false, warnings: Vec::new() });
            }
            Asked::Instead(Found::Open(_)) => return Err(failure::upload_locked()),
        };
        let outcome = self.complete(&lock, &upload, actor).await;
        lock.release().await;
        outcome
    }

    async fn complete(&self, lock: &Lock, upload: &ResumableUpload, actor: &Actor) -> Result<Published> {
        if upload.kind != UploadKind::Direct {
            return Err(failure::not_direct());
        }
        let (key, size) = (key_of(&upload.reservation), upload.progress.size.unwrap_or_default());
        let mut stored = Stored::read(&upload.progress)?;
        if stored.completing
            && let Some(object) = self.bucket.completed(&key, &facts_of(upload), size).await?
        {
            return self.finish(lock, upload, &mut stored, finish::Bytes::Object(object), actor).await;
        }
        let upload_id = stored.kept.upload_id.clone().unwrap_or_default();
        let sent = self.bucket.sent_parts(&key, &upload_id).await?.ok_or_else(failure::unknown_upload)?;
        let (mut tags, mut bytes) = (Vec::new(), 0);
        for (number, (part, part_size, tag)) in (1..).zip(sent) {
            if part != number {
                break;
            }
            bytes += part_size;
            tags.push(tag);
        }
        if bytes != size {
            return Err(failure::parts_missing(size.div_ceil(PART_SIZE as u64), bytes, size));
        }
        self.finish(lock, upload, &mut stored, finish::Bytes::Parts(upload_id, tags), actor).await
    }

    async fn lock_direct(&self, id: Uuid) -> Result<(Lock, Box<ResumableUpload>)> {
        match self.lock_upload(id).await? {
            Asked::Granted(lock, upload) => Ok((lock, upload)),
            // It ended between two looks: the same request again learns what it has become.
            Asked::Instead(_) => Err(failure::upload_locked()),
        }
    }

    async fn sign_missing(&self, lock: &Lock, upload: Box<ResumableUpload>) -> Result<Direct> {
        let (key, facts) = (key_of(&upload.reservation), facts_of(&upload));
        let size = upload.progress.size.unwrap_or_default();
        let mut stored = Stored::read(&upload.progress)?;
        let known = match &stored.kept.upload_id {
            Some(id) => self.bucket.sent_parts(&key, id).await?.map(|sent| (id.clone(), sent)),
            None => None,
        };
        let (upload_id, sent) = match known {
            Some(known) => known,
            None => {
                let id = self.bucket.begin_direct(&key, &facts).await?;
                stored.kept.upload_id = Some(id.clone());
                lock.record(&stored, upload.progress.size).await?;
                (id, Vec::new())
            }
        };
        let valid_for = URL_LIFETIME.min(self.upload_lifetime);
        let parts = self.bucket.sign_parts(&key, &upload_id, size, valid_for).await?;
        let count = parts.len() as u64;
        let there = |part: &SignedPart| {
            sent.iter().any(|(number, size, _)| (*number, *size) == (part.number, part.size))
        };
        let missing = parts.into_iter().filter(|part| !there(part)).collect();
        Ok(Direct { upload, missing, parts: count })
    }
}
