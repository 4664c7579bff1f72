//! Adds a piece to an upload. How the piece ends does not matter: what has arrived is kept, unless its checksum says
//! that it is damaged.

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;
use uuid::Uuid;

use super::{
    Found, Stored, declared, facts_of, finish,
    lock::{Asked, Lock},
    shown_offset,
};
use crate::{
    bucket::{Resumable, UPLOAD_LOST},
    catalogue::{Actor, ResumableUpload, UploadKind},
    error::{Error, Kind, Result},
    publishing::{Published, Publishing, crash, failure, key_of},
    version_check,
};

/// A piece that sends nothing for so long has ended: its client can go on with the next one at once.
const IDLE: Duration = Duration::from_secs(15);

/// A piece of an upload.
#[derive(Debug, Clone)]
pub struct Append {
    /// The upload.
    pub id: Uuid,
    /// Where the piece begins.
    pub offset: u64,
    /// The image's size, if it was not said before.
    pub size: Option<u64>,
    /// How long the piece is, if that is said.
    pub length: Option<u64>,
    /// The digest that it must have to be kept.
    pub checksum: Option<Checksum>,
    /// The name of the token.
    pub actor: Actor,
}

/// A digest of one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// By which algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// The digest.
    pub digest: Vec<u8>,
}

/// How a piece may be summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumAlgorithm {
    /// SHA-1, which every tus server must know.
    Sha1,
    /// SHA-256.
    Sha256,
    /// MD5.
    Md5,
}

/// How far the upload is after a piece.
#[derive(Debug)]
pub struct Appended {
    /// Where to go on.
    pub offset: u64,
    /// When the upload ends if nobody does.
    pub expires_at: Option<DateTime<Utc>>,
    /// The image, if that was the last piece.
    pub published: Option<Published>,
}

enum Summing {
    Sha1(Sha1),
    Sha256(Sha256),
    Md5(Md5),
}

impl Publishing {
    /// Adds a piece, and publishes the image if it is the last one.
    ///
    /// # Errors
    /// Codes `unknown-upload`, `upload-locked`, `offset-mismatch`, `checksum-mismatch`, `piece-too-long`; the version
    /// check's refusals, after which the upload has ended; or what catalogue and bucket fail with, after which the
    /// client may ask where to go on.
    pub async fn append<S, E>(&self, piece: &Append, body: S) -> Result<Appended>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let _permit = self.uploads.try_acquire().map_err(|_| failure::too_many_uploads())?;
        let (lock, mut upload) = match self.lock_upload(piece.id).await? {
            Asked::Granted(lock, upload) => (lock, upload),
            Asked::Instead(found) => return after_the_end(piece, found),
        };
        let outcome = self.add(&lock, &mut upload, piece, body).await;
        if let Err(error) = &outcome
            && error.code() == UPLOAD_LOST
            && !Stored::read(&upload.progress)?.completing
            && let Err(left) = self.abandon(&lock, &upload).await
        {
            tracing::warn!(cause = left.cause(), upload = %piece.id, "cannot end a lost upload now; it expires");
        }
        lock.release().await;
        outcome
    }

    async fn add<S, E>(
        &self,
        lock: &Lock,
        upload: &mut ResumableUpload,
        piece: &Append,
        body: S,
    ) -> Result<Appended>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        if upload.kind != UploadKind::Tus {
            return Err(failure::not_by_tus());
        }
        let most = self.largest(upload, piece).await?;
        let received = upload.progress.received;
        // The last byte once more, after a try to end that was not answered; see `shown_offset`.
        let again = piece.offset + 1 == received && upload.progress.size == Some(received);
        if piece.offset != received && !again {
            return Err(failure::offset_mismatch(piece.offset, shown_offset(&upload.progress)));
        }
        if piece.length.is_some_and(|length| piece.offset.saturating_add(length) > most) {
            return Err(failure::piece_too_long(most));
        }
        let mut stored = Stored::read(&upload.progress)?;
        if stored.completing
            && let Some(size) = upload.progress.size
            && let Some(object) =
                self.bucket.completed(&key_of(&upload.reservation), &facts_of(upload), size).await?
        {
            // All the bytes are there: those that the client has sent again are not needed.
            let bytes = finish::Bytes::Object(object);
            let published = self.finish(lock, upload, &mut stored, bytes, &piece.actor).await?;
            return Ok(Appended { offset: size, expires_at: None, published: Some(published) });
        }
        let mut resumable = self.resume(upload, &stored.kept).await?;
        if !again {
            self.take_in(lock, upload, piece, &mut stored, &mut resumable, most, body).await?;
        }
        if upload.progress.size == Some(upload.progress.received) {
            let size = upload.progress.received;
            let bytes = finish::Bytes::Pieces(resumable);
            let published = self.finish(lock, upload, &mut stored, bytes, &piece.actor).await?;
            return Ok(Appended { offset: size, expires_at: None, published: Some(published) });
        }
        let parked = resumable.park().await?;
        let before = std::mem::replace(&mut stored.kept, parked);
        lock.record(&stored, upload.progress.size).await?;
        resumable.forget(&before, &stored.kept).await;
        if stored.kept.parts.len() > before.parts.len() {
            crash::point("upload-part");
        }
        crash::point("upload-parked");
        let expires_at = Some(Utc::now() + self.upload_lifetime);
        Ok(Appended { offset: shown_offset(&upload.progress), expires_at, published: None })
    }

    /// The most bytes that the upload may have. A size that is said only now is judged first.
    async fn largest(&self, upload: &mut ResumableUpload, piece: &Append) -> Result<u64> {
        match (upload.progress.size, piece.size) {
            (Some(size), None) => return Ok(size),
            (Some(size), Some(again)) if size == again => return Ok(size),
            (Some(size), Some(_)) => return Err(failure::size_is_known(size)),
            (None, _) => {}
        }
        let state = self.product(&upload.reservation.product).await?;
        let of_product = state.product.settings.max_image_bytes.unwrap_or(u64::MAX);
        let Some(size) = piece.size else { return Ok(self.limits.max_image_bytes.min(of_product)) };
        if size < upload.progress.received {
            return Err(failure::size_is_known(upload.progress.received));
        }
        upload.progress.size = Some(size);
        let request = declared::publication(upload, &piece.actor)?;
        version_check::admit(&state, &request.candidate, self.limits).map_err(failure::refusal)?;
        Ok(size)
    }

    /// Reads the piece to its end, and keeps the whole parts as they get through.
    #[expect(clippy::too_many_arguments, reason = "the one loop that all of them meet in")]
    async fn take_in<S, E>(
        &self,
        lock: &Lock,
        upload: &mut ResumableUpload,
        piece: &Append,
        stored: &mut Stored,
        resumable: &mut Resumable,
        most: u64,
        mut body: S,
    ) -> Result<()>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut summing = piece.checksum.as_ref().map(|checksum| Summing::new(checksum.algorithm));
        let whole = loop {
            let next = tokio::select! {
                next = tokio::time::timeout(IDLE, body.next()) => next,
                () = lock.lost().cancelled() => return Err(failure::upload_locked()),
                () = self.abort.cancelled() => break false,
            };
            let bytes = match next {
                Ok(Some(Ok(bytes))) => bytes,
                Ok(None) => break true,
                Ok(Some(Err(error))) => {
                    tracing::debug!(upload = %piece.id, cause = %error.into(), "a piece ended early");
                    break false;
                }
                Err(_idle) => break false,
            };
            let received = upload.progress.received + bytes.len() as u64;
            if received > most {
                return Err(failure::piece_too_long(most));
            }
            if let Some(summing) = &mut summing {
                summing.update(&bytes);
            }
            self.metrics.upload_bytes.inc_by(bytes.len() as u64);
            tokio::select! {
                written = resumable.write(bytes) => written?,
                () = lock.lost().cancelled() => return Err(failure::upload_locked()),
            }
            upload.progress.received = received;
            // Before its checksum is known to be right, nothing of the piece is kept.
            if summing.is_none()
                && let Some(kept) = resumable.progress().await?
            {
                let before = std::mem::replace(&mut stored.kept, kept);
                lock.record(stored, upload.progress.size).await?;
                crash::point("upload-part");
                resumable.forget(&before, &stored.kept).await;
            }
            // A replica that is to end does not wait for the end of a piece: its client goes on elsewhere.
            if self.tasks.is_closed() {
                break false;
            }
        };
        let (Some(checksum), Some(summing)) = (&piece.checksum, summing) else { return Ok(()) };
        match summing.finish() == checksum.digest {
            _ if !whole => Err(failure::unsummed()),
            true => Ok(()),
            false => Err(failure::checksum_mismatch()),
        }
    }
}

/// A piece for an upload that has become an image: fine if it adds nothing.
fn after_the_end(piece: &Append, found: Found) -> Result<Appended> {
    let Found::Published(state, id) = found else { return Err(failure::upload_locked()) };
    let (_, image) = state.image(id).ok_or_else(failure::unknown_upload)?;
    if piece.offset != image.size || piece.length.is_some_and(|length| length > 0) {
        return Err(failure::offset_mismatch(piece.offset, image.size));
    }
    let offset = image.size;
    Ok(Appended {
        offset,
        expires_at: None,
        published: Some(Published { state: *state, image: id, created: false, warnings: Vec::new() }),
    })
}

impl Summing {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Sha1 => Self::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            ChecksumAlgorithm::Md5 => Self::Md5(Md5::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
            Self::Md5(digest) => digest.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(digest) => digest.finalize().to_vec(),
            Self::Sha256(digest) => digest.finalize().to_vec(),
            Self::Md5(digest) => digest.finalize().to_vec(),
        }
    }
}

impl ChecksumAlgorithm {
    /// All of them, as `Tus-Checksum-Algorithm` lists them.
    pub const NAMES: &str = "sha1,sha256,md5";

    /// The algorithm of that name.
    ///
    /// # Errors
    /// Kind `Malformed` with the names that there are.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            "md5" => Ok(Self::Md5),
            _ => Err(Error::new(
                Kind::Malformed,
                "checksum-algorithm",
                format!("checksums by {name:?} are not known here: use one of {}", Self::NAMES),
            )),
        }
    }
}
