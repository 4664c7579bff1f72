//! What the CDN is to forget: the part of the port that keeps it until the CDN has confirmed it.
//!
//! # Rules
//! - The audit log is the outbox. A cursor says up to which revision its entries have been turned into purges; it moves
//!   in the transaction that adds them, and only if nobody else has moved it. So a change that is committed is purged
//!   sooner or later, wherever a process dies; and what is asked for twice is there once.
//! - The cursor begins at the revision of the moment when purges came into the catalogue.
//! - Sending a purge again does no harm. So what was sent and not remembered is sent again.
//! - A purge may be asked for twice in time: it is due once more at its second time, unless it was accepted only then.
//!   Meanwhile, and if the second is put off, it stays accepted.
//! - An accepted invalidation is forgotten after [`KEPT`]; what was deleted, and what is not accepted, is kept.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    domain::{
        ProductName, Revision, Version,
        purge::{Purge, WantedPurge},
    },
    error::Result,
};

/// How long accepted invalidations are kept to be looked at.
pub const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// A purge to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedPurge {
    /// What.
    pub wanted: WantedPurge,
    /// How long to wait before it is sent.
    pub delay: Duration,
    /// How long after the CDN has first accepted it, it is sent once more; `None` = it is not.
    pub again: Option<Duration>,
}

/// The CDN's confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// Its name for the request.
    pub purge_id: Option<String>,
    /// What to tell its support.
    pub support_id: Option<String>,
    /// How long it takes, as far as it knows.
    pub estimated: Duration,
}

/// How many purges are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PurgeCounts {
    /// To be sent.
    pub asked: u64,
    /// Refused by the CDN.
    pub failed: u64,
    /// Since when the oldest of both is wanted; zero = there is none.
    pub oldest: Duration,
}

/// The part of the port that keeps purges. Errors as of [`super::Catalogue`].
#[async_trait]
pub trait Purges {
    /// The revision up to which the audit log has been turned into purges.
    async fn purge_cursor(&self) -> Result<Revision>;

    /// Adds purges and moves the cursor from `from` to `to`; `false` = it was not there, and nothing was written.
    async fn ask_purges(&self, from: Revision, to: Revision, asked: &[AskedPurge]) -> Result<bool>;

    /// The purges that are to be sent now, also those that failed and whose time has come again, and those whose second
    /// time has come; longest waiting first.
    async fn due_purges(&self, limit: u32) -> Result<Vec<Purge>>;

    /// The CDN has accepted these.
    async fn accept_purges(&self, purges: &[Uuid], acceptance: &Acceptance) -> Result<()>;

    /// The CDN has not accepted these: they are sent again after `delay`. `failed` = it refuses the object itself. What it
    /// has accepted before stays so, and is sent again only if its second time was still to come.
    async fn put_off_purges(&self, purges: &[Uuid], error: &str, failed: bool, delay: Duration)
    -> Result<()>;

    /// The purges of all products, or of one, or of one release of it; newest first.
    async fn purges(
        &self,
        product: Option<&ProductName>,
        version: Option<&Version>,
        limit: u32,
    ) -> Result<Vec<Purge>>;

    /// How many are not accepted.
    async fn purge_counts(&self) -> Result<PurgeCounts>;
}
