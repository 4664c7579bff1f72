//! The use cases of a release's life: publish (in one request, or in pieces: [`resumable`]), promote, recall, and cleaning up after a publish that ended badly.
//! Here version check, bucket and catalogue meet; handlers and reconcilers only call it.
//!
//! # Publish, step by step (`publish.rs`)
//! 1. read the product, `version_check::admit` what is declared: a refusal costs no byte of the body
//! 2. reserve the key in the catalogue, under a lease that `lease.rs` renews while the bytes flow
//! 3. stream the body to the bucket, hashing and inspecting ([`intake`]); nothing is visible yet, and what the image says
//!    of itself is judged as soon as it has said it
//! 4. `version_check::verify` what arrived, on the product as it is now
//! 5. complete the object; ask the bucket what it holds
//! 6. one transaction: image, promotion, audit entry, revision + 1, end of the reservation
//! 7. wake the reconcilers
//!
//! # Invariants
//! - A row never points at a missing object: 5 comes before 6.
//! - Whatever fails before 6 ends in [`Publishing::clean_up`]: uploads aborted, its object without row removed (not
//!   one that was there before it), reservation ended. If that cannot be done now, because the process dies or a
//!   store is away, the reservation stays, its lease runs out, and the orphan reconciler, or the next publish of the
//!   same key, does it.
//! - Only the holder of a live reservation touches its key: before each request that changes what is under it, the
//!   lease must have been renewed so lately that it cannot run out meanwhile (`lease.rs`). What remains is a process
//!   that stands still for most of a lease between that look and its request; whoever claims the reservation then
//!   aborts its multipart upload first, so its late completion fails, and the digests in the row tell the rest.
//! - When the answer to the commit is lost, nobody guesses: the catalogue is asked whether the image is there.
//!
//! # What it does not do
//! HTTP, authentication, SQL. Removing objects that were never reserved: a bucket may hold what is not ours, and
//! after a database was restored from a backup, objects without a row may be all that is left of them.

use std::{sync::Arc, time::Duration};

use chrono::DateTime;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    bucket::{Bucket, ObjectKey, StoredObject},
    catalogue::{Catalogue, Reservation},
    domain::{ProductName, ProductState},
    error::{Error, Kind, Result},
    telemetry::Metrics,
    version_check::Limits,
};

mod body;
mod change;
mod commit;
pub mod crash;
mod delivery;
mod describe;
pub mod digest;
mod dry_run;
mod failure;
pub mod intake;
mod lease;
pub mod offering;
mod prune;
mod publish;
pub mod resumable;

pub use change::{Changed, Promotion, Recalling, Repathing, release_of};
pub use delivery::SecretChange;
pub use describe::{Described, Describing, Saying, unknown as unknown_attachment};
pub use dry_run::{Judged, Verdict};
pub use failure::{CHECKSUM_MISMATCH, UPLOAD_LOCKED, body_interrupted};
pub use offering::Asked;
pub use prune::Pruning;
pub use publish::{Publication, Published};

use lease::Held;

/// How long a reservation lives without being renewed. Long enough for a database failover, short enough that a
/// retry after a crash does not wait for minutes.
pub const LEASE: Duration = Duration::from_secs(45);

/// How many times a change is judged again because somebody else changed the product in between.
const ATTEMPTS: usize = 64;

/// The use cases, over one catalogue and one bucket.
pub struct Publishing {
    /// The catalogue.
    pub catalogue: Arc<dyn Catalogue>,
    /// The bucket.
    pub bucket: Bucket,
    /// This process, as the holder of reservations.
    pub holder: Uuid,
    /// Limits that are not a product's.
    pub limits: Limits,
    /// Bounds the uploads under way.
    pub uploads: Semaphore,
    /// How long a resumable upload lives that nobody goes on with.
    pub upload_lifetime: Duration,
    /// Whether what is promoted waits until it was fetched back through the CDN.
    pub gated: bool,
    /// Woken after every change.
    pub changed: Arc<Notify>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Cancelled when uploads under way must end.
    pub abort: CancellationToken,
    /// The uploads under way: they live on when their client's connection is gone, to clean up.
    pub tasks: TaskTracker,
}

impl Publishing {
    /// The product, or an error that says how to make it.
    ///
    /// # Errors
    /// Kind `NotFound`, code `unknown-product`; or what the catalogue fails with.
    pub async fn product(&self, name: &ProductName) -> Result<ProductState> {
        self.catalogue.product(name).await?.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "unknown-product",
                format!("there is no product {name}: create it with `firmament product create {name}` or PUT /v1/products/{name}"),
            )
        })
    }

    /// Removes all traces of a publish that will not be completed, and ends its reservation.
    ///
    /// Does nothing when the reservation is no longer held by its holder: then the key is somebody else's.
    ///
    /// # Errors
    /// What catalogue and bucket fail with; the reservation stays then and is cleaned up later.
    pub async fn clean_up(&self, reservation: &Reservation) -> Result<()> {
        let held = match Held::renew(self.catalogue.as_ref(), reservation).await {
            Ok(held) => held,
            Err(error) if error.code() == failure::LOST => return Ok(()),
            Err(error) => return Err(error),
        };
        let key = key_of(reservation);
        let key = key.as_str();
        for upload in self.bucket.unfinished_uploads(Some(key)).await? {
            held.check()?;
            self.bucket.abort_upload(&upload).await?;
        }
        self.bucket.remove_scratch(reservation.id).await?;
        // While the reservation is held, nobody can add a row for this key.
        if !self.catalogue.known_keys(&[key.to_owned()]).await?.contains(key) {
            match self.bucket.head(key).await? {
                Some(object) if !is_of(&object, reservation) => {
                    tracing::warn!(
                        key,
                        "an object that no row names was there before this publish; it stays"
                    );
                }
                Some(_) => {
                    held.check()?;
                    self.bucket.delete(key).await?;
                }
                // Nothing to remove: a needless request could only arrive late and hit the next holder's object.
                None => {}
            }
        }
        self.catalogue.release(reservation).await?;
        tracing::debug!(key, reservation = %reservation.id, "publish cleaned up");
        Ok(())
    }

    /// Takes over a reservation whose lease has run out, and cleans up after it.
    ///
    /// # Errors
    /// As [`Self::clean_up`].
    pub async fn clean_up_after(&self, expired: &Reservation) -> Result<()> {
        if self.catalogue.claim(expired.id, self.holder, LEASE).await? {
            let mine = Reservation { holder: self.holder, ..expired.clone() };
            self.clean_up(&mine).await?;
            tracing::info!(
                product = %mine.product, version = %mine.version, filename = %mine.filename,
                "removed what an unfinished publish left behind"
            );
        }
        Ok(())
    }
}

/// The key that a reservation covers.
pub fn key_of(reservation: &Reservation) -> ObjectKey {
    ObjectKey::image(&reservation.product, &reservation.version, &reservation.filename)
}

/// Whether a publish under this reservation has stored the object. One that is older, or not ours, may be the last copy
/// of an image whose row was lost with a database. The reservation's id (UUID v7) and the object's time are of the same
/// clock, the id a little before.
fn is_of(object: &StoredObject, reservation: &Reservation) -> bool {
    let reserved_at = reservation.id.get_timestamp().map(|at| {
        let (seconds, nanoseconds) = at.to_unix();
        i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, nanoseconds))
    });
    match (&object.facts, reserved_at.flatten()) {
        (Some(facts), Some(reserved_at)) => facts.created_at >= reserved_at,
        _ => false,
    }
}

fn too_contended() -> Error {
    Error::new(Kind::Busy, "too-contended", "the product is being changed by many at once: try again")
        .retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests;
