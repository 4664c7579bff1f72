//! Publish: from a request to a committed image. The steps and invariants are in the parent module's head.

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use futures_util::Stream;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    ATTEMPTS, LEASE, Publishing, crash, failure,
    intake::{Intake, Taken},
    key_of,
    lease::Keeper,
    too_contended,
};
use crate::{
    bucket::{ObjectFacts, StoredObject, Upload},
    catalogue::{Actor, Reservation, Reserved, is_of_upload},
    domain::{Policy, ProductName, ProductState},
    error::Result,
    version_check::{self, Admission, Arrived, Candidate, Reason},
};

/// How long a publish waits for another one of the same key to end, before the caller is told to come back.
const WAIT_FOR_OTHER: Duration = Duration::from_secs(600);
/// How long the bucket may take to say what a key holds, before the body is read.
const BUCKET_ANSWERS: Duration = Duration::from_secs(15);
/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A request to publish an image.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The product.
    pub product: ProductName,
    /// What is declared of the image.
    pub candidate: Candidate,
    /// The release's notes.
    pub notes: Option<String>,
    /// Who and from where.
    pub actor: Actor,
}

/// A publish that is done.
#[derive(Debug, Clone)]
pub struct Published {
    /// The product as it is now.
    pub state: ProductState,
    /// The image.
    pub image: Uuid,
    /// `false` = this very image was there already.
    pub created: bool,
    /// What the version check only tells.
    pub warnings: Vec<Reason>,
}

enum Start {
    Reserved(Box<Work>),
    Occupied { largest: u64, policy: Box<Policy> },
    Same(Box<ProductState>, Uuid),
}

/// A publish that holds its reservation.
struct Work {
    reservation: Reservation,
    began: DateTime<Utc>,
    /// The largest image that is allowed, in bytes.
    largest: u64,
    /// What the product demands, as the upload begins.
    policy: Policy,
}

impl Publishing {
    /// Publishes an image. The body is read only when nothing that is declared speaks against it.
    ///
    /// # Errors
    /// `NotFound`, `Conflict`, `Refused`, `TooLarge` by the version check; `Interrupted` when the body ends early;
    /// `Busy` when too much is under way; or what catalogue and bucket fail with. After any of these, nothing of
    /// it is visible; but after code `catalogue-lost-at-commit`, nobody knows.
    pub async fn publish<S, E>(&self, request: &Publication, body: S) -> Result<Published>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let _permit = self.uploads.try_acquire().map_err(|_| failure::too_many_uploads())?;
        match self.start(request).await? {
            Start::Same(state, image) => self.offer_again(request, *state, image).await,
            Start::Occupied { largest, policy } => {
                let mut intake = Intake::new(&policy, &request.candidate);
                self.read(request, largest, body, &mut intake, None).await?;
                let Taken { arrived, .. } = intake.finish();
                let state = self.product(&request.product).await?;
                let verdict = version_check::verify(&state, &request.candidate, &arrived, self.limits);
                match verdict.map_err(failure::refusal)? {
                    Admission::Same(image) | Admission::Occupied(image) => {
                        self.offer_again(request, state, image).await
                    }
                    // Only if the image was removed in between; a retry is told so.
                    Admission::New => Err(too_contended()),
                }
            }
            Start::Reserved(work) => {
                let reservation = &work.reservation;
                let found = match self.look(reservation).await {
                    Ok(found) => found,
                    Err(error) => {
                        // Nothing was begun, so there is nothing to clean up, and the caller's retry need not wait.
                        if let Err(left) = self.catalogue.release(reservation).await {
                            tracing::warn!(
                                cause = left.cause(),
                                "cannot end a reservation now; its lease runs out"
                            );
                        }
                        return Err(error);
                    }
                };
                let result = self.store(request, &work, found, body).await;
                if let Err(error) = &result
                    && error.code() != failure::COMMIT_UNKNOWN
                    && let Err(left) = self.clean_up(reservation).await
                {
                    tracing::warn!(
                        cause = left.cause(), key = %key_of(reservation),
                        "cannot clean up after a failed publish now; the orphan reconciler will"
                    );
                }
                result
            }
        }
    }

    /// Step 1 and 2: judges what is declared and reserves the key, waiting for others that hold it.
    async fn start(&self, request: &Publication) -> Result<Start> {
        let patience = Instant::now() + WAIT_FOR_OTHER;
        let mut attempts = 0;
        loop {
            let state = self.product(&request.product).await?;
            let candidate = &request.candidate;
            let of_product = state.product.settings.max_image_bytes.unwrap_or(u64::MAX);
            let largest = self.limits.max_image_bytes.min(of_product);
            match version_check::admit(&state, candidate, self.limits).map_err(failure::refusal)? {
                Admission::Same(image) => return Ok(Start::Same(Box::new(state), image)),
                Admission::Occupied(_) => {
                    return Ok(Start::Occupied { largest, policy: Box::new(state.product.settings.policy) });
                }
                Admission::New => crash::point("admitted"),
            }
            let reservation = Reservation {
                id: Uuid::now_v7(),
                product: request.product.clone(),
                version: candidate.version.clone(),
                filename: candidate.filename.clone(),
                hardware: candidate.hardware.clone(),
                holder: self.holder,
            };
            match self.catalogue.reserve(&reservation, state.product.revision, LEASE).await? {
                Reserved::Granted => {
                    crash::point("reserved");
                    // What Postgres keeps of a time stamp.
                    let began = Utc::now().trunc_subsecs(6);
                    let policy = state.product.settings.policy;
                    return Ok(Start::Reserved(Box::new(Work { reservation, began, largest, policy })));
                }
                Reserved::Held { by, expired: true } => self.clean_up_after(&by).await?,
                Reserved::Held { .. } if self.abort.is_cancelled() => return Err(failure::stopping()),
                // It may take hours, or never end.
                Reserved::Held { by, expired: false } if is_of_upload(&by) => {
                    return Err(failure::unfinished(&by));
                }
                Reserved::Held { by, expired: false } => {
                    if Instant::now() > patience {
                        return Err(failure::in_progress(&by));
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Reserved::Stale => {
                    attempts += 1;
                    if attempts > ATTEMPTS {
                        return Err(too_contended());
                    }
                }
            }
        }
    }

    /// What the key holds before the upload; also whether the bucket answers at all, before the body is read.
    pub(super) async fn look(&self, reservation: &Reservation) -> Result<Option<StoredObject>> {
        let key = key_of(reservation);
        match tokio::time::timeout(BUCKET_ANSWERS, self.bucket.head(key.as_str())).await {
            Ok(found) => found,
            Err(_) => Err(failure::bucket_is_silent()),
        }
    }

    /// Steps 3 to 7, under a reservation.
    async fn store<S, E>(
        &self,
        request: &Publication,
        work: &Work,
        found: Option<StoredObject>,
        body: S,
    ) -> Result<Published>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let reservation = &work.reservation;
        let keeper = Keeper::start(self.catalogue.clone(), reservation.clone()).await?;
        let (began, stored, taken) = match found {
            None => self.upload(request, work, &keeper, body).await?,
            Some(found) => self.adopt(request, work, &keeper, found, body).await?,
        };
        crash::point("completed");
        self.commit(request, reservation, began, stored, taken).await
    }

    /// Steps 3 to 5: streams the body to the bucket and completes the object.
    async fn upload<S, E>(
        &self,
        request: &Publication,
        work: &Work,
        keeper: &Keeper,
        body: S,
    ) -> Result<(DateTime<Utc>, StoredObject, Taken)>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let Work { reservation, began, largest, policy } = work;
        let facts = ObjectFacts {
            product: reservation.product.clone(),
            version: reservation.version.clone(),
            filename: reservation.filename.clone(),
            hardware: reservation.hardware.clone(),
            created_at: *began,
        };
        let mut upload = self.bucket.begin(&key_of(reservation), &facts).await?;
        let mut intake = Intake::new(policy, &request.candidate);
        let read = tokio::select! {
            read = self.read(request, *largest, body, &mut intake, Some(&mut upload)) => read,
            () = keeper.lost().cancelled() => Err(failure::lost()),
        };
        let taken = intake.finish();
        let verdict = match read {
            Ok(()) => self.settle(request, &mut upload, &taken.arrived).await,
            Err(error) => Err(error),
        };
        if let Err(error) = verdict {
            if let Err(left) = upload.abort().await {
                tracing::warn!(cause = left.cause(), key = %key_of(reservation), "cannot abort an upload now");
            }
            return Err(error);
        }
        let stored = upload.finish(taken.arrived.size, &taken.digests, &|| keeper.still_mine()).await?;
        Ok((*began, stored, taken))
    }

    /// Instead of steps 3 to 5, when the key holds an object that no row names: after a database was restored from a
    /// backup it may be all that is left of an image. The same bytes are taken as they are; others never replace it.
    async fn adopt<S, E>(
        &self,
        request: &Publication,
        work: &Work,
        keeper: &Keeper,
        found: StoredObject,
        body: S,
    ) -> Result<(DateTime<Utc>, StoredObject, Taken)>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let key = key_of(&work.reservation);
        let candidate = &request.candidate;
        let differs = |size: Option<u64>, sha256: Option<[u8; 32]>| {
            size.is_some_and(|size| size != found.size)
                || sha256.is_some_and(|sha256| Some(sha256) != found.sha256)
        };
        if differs(candidate.size, candidate.sha256) {
            return Err(failure::key_is_taken(&key));
        }
        let mut intake = Intake::new(&work.policy, candidate);
        tokio::select! {
            read = self.read(request, work.largest, body, &mut intake, None) => read?,
            () = keeper.lost().cancelled() => return Err(failure::lost()),
        }
        let taken = intake.finish();
        let state = self.product(&request.product).await?;
        version_check::verify(&state, candidate, &taken.arrived, self.limits).map_err(failure::refusal)?;
        if differs(Some(taken.arrived.size), Some(taken.arrived.sha256)) {
            return Err(failure::key_is_taken(&key));
        }
        tracing::warn!(%key, "the bucket had this image already, without a row; it is taken as it is");
        let began = found.facts.as_ref().map_or(work.began, |facts| facts.created_at);
        Ok((began, found, taken))
    }

    /// Steps 3 and 4 after the last byte: everything sent, nothing visible, all rules asked.
    async fn settle(&self, request: &Publication, upload: &mut Upload, arrived: &Arrived) -> Result<()> {
        let state = self.product(&request.product).await?;
        version_check::verify(&state, &request.candidate, arrived, self.limits).map_err(failure::refusal)?;
        upload.flush().await?;
        crash::point("flushed");
        crash::point("verified");
        Ok(())
    }
}
