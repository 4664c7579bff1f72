//! Keeps a reservation's lease alive while the bytes flow, and knows whether it is still held.
//!
//! Held means: renewed, as the catalogue said, so lately that nobody can have claimed it since. A renewal counts from
//! the moment it was asked for, so our clock need not agree with the catalogue's, only run as fast. A replica that
//! is cut off from the catalogue, but not from the bucket, thereby stops by itself before another may take its place.

use std::sync::{Arc, Mutex};

use tokio::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{LEASE, failure};
use crate::{
    catalogue::{Catalogue, Reservation},
    error::Result,
};

/// How much of a lease must be left to begin a request to the bucket: as long as such a request normally takes at most.
const MARGIN: Duration = Duration::from_secs(20);
/// How often it is renewed: while all goes well, nearly a whole lease is left.
const RENEW: Duration = Duration::from_secs(8);

/// Until when a lease is held for certain.
#[derive(Clone)]
pub(super) struct Held(Arc<Mutex<Instant>>);

impl Held {
    /// Renews the lease; from then on this knows how long it is held.
    ///
    /// # Errors
    /// Code `reservation-lost` when it is somebody else's; or what the catalogue fails with.
    pub(super) async fn renew(catalogue: &dyn Catalogue, reservation: &Reservation) -> Result<Self> {
        let asked = Instant::now();
        if !catalogue.renew(reservation, LEASE).await? {
            return Err(failure::lost());
        }
        Ok(Self(Arc::new(Mutex::new(asked + LEASE))))
    }

    /// # Errors
    /// Code `reservation-lost` when too little of it is left to begin anything.
    pub(super) fn check(&self) -> Result<()> {
        let until = *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if Instant::now() + MARGIN < until { Ok(()) } else { Err(failure::lost()) }
    }

    fn extend(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = until;
    }
}

/// Renews a lease in the background until it is dropped.
pub(super) struct Keeper {
    held: Held,
    lost: CancellationToken,
    _stop: DropGuard,
}

impl Keeper {
    /// Starts to renew.
    ///
    /// # Errors
    /// As [`Held::renew`].
    pub(super) async fn start(catalogue: Arc<dyn Catalogue>, reservation: Reservation) -> Result<Self> {
        let held = Held::renew(catalogue.as_ref(), &reservation).await?;
        let lost = CancellationToken::new();
        let stop = CancellationToken::new();
        let keeper = Self { held: held.clone(), lost: lost.clone(), _stop: stop.clone().drop_guard() };
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RENEW) => {}
                }
                let asked = Instant::now();
                match catalogue.renew(&reservation, LEASE).await {
                    Ok(true) => held.extend(asked + LEASE),
                    Ok(false) => return lost.cancel(),
                    // It may come back before the lease has run out, and nobody may have claimed it after.
                    Err(error) => {
                        tracing::warn!(
                            cause = error.cause(),
                            "cannot renew the lease of an upload; trying again"
                        );
                    }
                }
            }
        });
        Ok(keeper)
    }

    /// Cancelled when the reservation has become somebody else's.
    pub(super) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// # Errors
    /// As [`Held::check`].
    pub(super) fn still_mine(&self) -> Result<()> {
        self.held.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_held_until_its_margin() {
        let held = |left: Duration| Held(Arc::new(Mutex::new(Instant::now() + left))).check().is_ok();
        assert!(held(LEASE) && held(MARGIN + Duration::from_secs(5)));
        assert!(!held(MARGIN) && !held(Duration::ZERO));
        // A renewal or two may fail without harm.
        assert!(LEASE > MARGIN + 2 * RENEW);
    }
}
