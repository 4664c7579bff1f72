//! Begins an upload, or finds the one that is there.

use chrono::{SubsecRound, Utc};
use uuid::Uuid;

use super::{Stored, declared};
use crate::{
    bucket::{Kept, StoredObject},
    catalogue::{Reservation, Reserved, ResumableUpload, UploadKind, is_of_upload},
    error::{Error, Kind, Result},
    publishing::{ATTEMPTS, Publication, Published, Publishing, crash, failure, key_of, too_contended},
    version_check::{self, Admission},
};

/// What a request for an upload leads to.
#[derive(Debug, Clone)]
pub enum Begun {
    /// An upload; `true` = it was there already.
    Open(Box<ResumableUpload>, bool),
    /// This very image is there already, and offered where it was asked.
    Done(Box<Published>),
}

impl Publishing {
    /// Begins an upload. `candidate.size` is the image's whole size, if it is known; `metadata` is repeated to the client.
    ///
    /// # Errors
    /// As [`Publishing::publish`] before the body; code `upload-unfinished` when other bytes are under way to the same
    /// place.
    pub async fn begin_upload(
        &self,
        request: &Publication,
        metadata: Option<&str>,
        kind: UploadKind,
    ) -> Result<Begun> {
        let declared = declared::keep(request, metadata);
        let candidate = &request.candidate;
        for _ in 0..ATTEMPTS {
            let state = self.product(&request.product).await?;
            match version_check::admit(&state, candidate, self.limits).map_err(failure::refusal)? {
                Admission::Same(image) => {
                    return Ok(Begun::Done(Box::new(self.offer_again(request, state, image).await?)));
                }
                Admission::Occupied(_) => return Err(occupied(request)),
                Admission::New => {}
            }
            let id = Uuid::now_v7();
            let now = Utc::now();
            let reservation = Reservation {
                id,
                product: request.product.clone(),
                version: candidate.version.clone(),
                filename: candidate.filename.clone(),
                hardware: candidate.hardware.clone(),
                holder: id,
            };
            // Of what is there already, the image that is meant is taken as it is: all its bytes have been received.
            let there = self.look(&reservation).await?.filter(|object| is_meant(object, request));
            let completing = there.is_some();
            let created_at = there.and_then(|object| object.facts).map_or(now, |facts| facts.created_at);
            let upload = ResumableUpload {
                reservation,
                kind,
                // What Postgres keeps of a time stamp.
                created_at: created_at.trunc_subsecs(6),
                declared: declared.clone(),
                progress: Stored { kept: Kept::default(), completing }.progress(candidate.size),
                expires_at: now + self.upload_lifetime,
                locked: false,
            };
            match self.catalogue.begin_upload(&upload, state.product.revision, self.upload_lifetime).await? {
                Reserved::Granted => {
                    if !completing {
                        self.insist_on_a_free_key(&upload.reservation).await?;
                    }
                    tracing::info!(
                        upload = %id, product = %request.product, version = %candidate.version,
                        filename = %candidate.filename, size = candidate.size, actor = %request.actor, "upload begun"
                    );
                    crash::point("upload-created");
                    return Ok(Begun::Open(Box::new(upload), false));
                }
                Reserved::Held { by, expired: true } => self.clean_up_after(&by).await?,
                Reserved::Held { by, expired: false } if is_of_upload(&by) => {
                    // It may have ended in between.
                    let Some(there) = self.catalogue.upload(by.id).await? else { continue };
                    if there.kind != kind || !declared::is_same(&there, request)? {
                        if !is_untouched(&there) {
                            return Err(failure::unfinished(&by));
                        }
                        // Perhaps its creation was never answered. Not taken over: its client, if there is one, must not
                        // go on with it among the bytes of another.
                        match self.end_upload(by.id).await {
                            Err(error) if error.kind() != Kind::NotFound => return Err(error),
                            _ => continue,
                        }
                    }
                    // The channel, the notes, the consent may be others than the last time.
                    if self.catalogue.declare_upload(by.id, &declared).await? {
                        return Ok(Begun::Open(Box::new(ResumableUpload { declared, ..there }), true));
                    }
                }
                Reserved::Held { by, expired: false } => return Err(failure::in_progress(&by)),
                Reserved::Stale => {}
            }
        }
        Err(too_contended())
    }

    /// An object that no row names may be the last copy of an image: nothing else is uploaded over it.
    async fn insist_on_a_free_key(&self, reservation: &Reservation) -> Result<()> {
        let error = match self.look(reservation).await {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => failure::key_is_taken(&key_of(reservation)),
            Err(error) => error,
        };
        if let Err(left) = self.catalogue.release(reservation).await {
            tracing::warn!(cause = left.cause(), "cannot end an upload now; it expires");
        }
        Err(error)
    }
}

/// Whether an object that no row names is the image that is to be uploaded. After a database was restored from a backup it
/// may be all that is left of it; it is read back and judged like any other.
fn is_meant(object: &StoredObject, request: &Publication) -> bool {
    let candidate = &request.candidate;
    let facts = object.facts.as_ref().is_some_and(|facts| {
        facts.product == request.product
            && facts.version == candidate.version
            && facts.filename == candidate.filename
            && facts.hardware == candidate.hardware
    });
    facts
        && Some(object.size) == candidate.size
        && object.sha256.is_some()
        && object.sha256 == candidate.sha256
}

/// Whether nobody has sent a byte to it, as far as we can know.
fn is_untouched(upload: &ResumableUpload) -> bool {
    upload.kind == UploadKind::Tus && upload.progress.received == 0 && !upload.locked
}

fn occupied(request: &Publication) -> Error {
    let candidate = &request.candidate;
    Error::new(
        Kind::Conflict,
        "conflict",
        format!(
            "{} {} has an image {} already: declare sha256 to learn whether it is this one, or publish under a higher version",
            request.product, candidate.version, candidate.filename
        ),
    )
}
