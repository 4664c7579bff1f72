//! The lock of an upload: held by whoever writes, renewed in the background, lost when that does not work.
//!
//! It is a lease of seconds in the catalogue, so it holds between replicas, and a dead holder's runs out. The upload's
//! own end is put off with each renewal.

use std::sync::{Arc, Mutex};

use tokio::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{Found, Stored};
use crate::{
    catalogue::{Catalogue, ResumableUpload, UploadLock},
    error::{Error, Result},
    publishing::{Publishing, failure},
};

/// How long a lock lives without being renewed: what a client waits after its server was killed.
const LEASE: Duration = Duration::from_secs(12);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(3);
/// How much of it must be left to begin a request that changes what is under the key.
const MARGIN: Duration = Duration::from_secs(4);
/// How long somebody else is waited for, who may only just be learning that his client has gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(150);

/// The right to write to an upload.
pub(super) struct Lock {
    catalogue: Arc<dyn Catalogue>,
    lifetime: Duration,
    id: Uuid,
    locker: Uuid,
    until: Arc<Mutex<Instant>>,
    lost: CancellationToken,
    _stop: DropGuard,
}

/// What came of asking for a lock.
pub(super) enum Asked {
    Granted(Lock, Box<ResumableUpload>),
    /// There is no such upload any more, or not as one.
    Instead(Found),
}

impl Publishing {
    /// Takes an upload's lock, waiting some seconds for another holder.
    pub(super) async fn lock_upload(&self, id: Uuid) -> Result<Asked> {
        let patience = Instant::now() + PATIENCE;
        let locker = Uuid::now_v7();
        loop {
            let asked = Instant::now();
            match self.catalogue.lock_upload(id, locker, LEASE, self.upload_lifetime).await? {
                UploadLock::Granted(upload) => {
                    let lock = Lock::keep(self.catalogue.clone(), self.upload_lifetime, id, locker, asked);
                    return Ok(Asked::Granted(lock, upload));
                }
                UploadLock::Held if Instant::now() > patience => return Err(failure::upload_locked()),
                UploadLock::Held => tokio::time::sleep(LOOK_AGAIN).await,
                UploadLock::Gone => match self.find_upload(id).await? {
                    Found::Open(_) => {}
                    found => return Ok(Asked::Instead(found)),
                },
            }
        }
    }
}

impl Lock {
    fn keep(
        catalogue: Arc<dyn Catalogue>,
        lifetime: Duration,
        id: Uuid,
        locker: Uuid,
        asked: Instant,
    ) -> Self {
        let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
        let until = Arc::new(Mutex::new(asked + LEASE));
        let lock = Self {
            catalogue: catalogue.clone(),
            lifetime,
            id,
            locker,
            until: until.clone(),
            lost: lost.clone(),
            _stop: stop.clone().drop_guard(),
        };
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RENEW) => {}
                }
                let asked = Instant::now();
                match catalogue.keep_upload(id, locker, None, LEASE, lifetime).await {
                    Ok(true) => extend(&until, asked + LEASE),
                    Ok(false) => return lost.cancel(),
                    Err(error) => {
                        tracing::warn!(
                            cause = error.cause(),
                            "cannot renew the lock of an upload; trying again"
                        );
                    }
                }
            }
        });
        lock
    }

    /// Cancelled when somebody else may be writing.
    pub(super) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// # Errors
    /// Code `upload-locked` when too little of it is left to begin anything.
    pub(super) fn still_mine(&self) -> Result<()> {
        let until = *self.until.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.lost.is_cancelled() && Instant::now() + MARGIN < until {
            Ok(())
        } else {
            Err(failure::upload_locked())
        }
    }

    /// Keeps progress.
    ///
    /// # Errors
    /// Code `upload-locked` when the lock is lost; or what the catalogue fails with.
    pub(super) async fn record(&self, stored: &Stored, size: Option<u64>) -> Result<()> {
        let asked = Instant::now();
        let progress = stored.progress(size);
        if !self.catalogue.keep_upload(self.id, self.locker, Some(&progress), LEASE, self.lifetime).await? {
            self.lost.cancel();
            return Err(failure::upload_locked());
        }
        extend(&self.until, asked + LEASE);
        Ok(())
    }

    /// Makes the upload's reservation `holder`'s own.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub(super) async fn take(&self, holder: Uuid) -> Result<()> {
        match self.catalogue.take_upload(self.id, self.locker, holder, crate::publishing::LEASE).await? {
            true => Ok(()),
            false => Err(failure::upload_locked()),
        }
    }

    /// Gives it back; a failure costs the next writer some seconds.
    pub(super) async fn release(self) {
        let outcome: Result<(), Error> = self.catalogue.unlock_upload(self.id, self.locker).await;
        if let Err(error) = outcome {
            tracing::warn!(cause = error.cause(), "cannot unlock an upload now; its lock runs out");
        }
    }
}

/// A renewal that was overtaken by a later one changes nothing.
fn extend(until: &Mutex<Instant>, to: Instant) {
    let mut until = until.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *until = to.max(*until);
}
