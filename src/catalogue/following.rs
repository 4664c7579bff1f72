//! Following what checks are answered from: the part of the port that keeps a snapshot equal to the catalogue.
//!
//! # Rules
//! - **A revision alone does not say which catalogue it is of.** A database that was restored from a backup, or replaced,
//!   may reach the same number again with other content. The audit log is a chain of hashes with one entry for each
//!   revision, so the hash of the entry at revision N stands for everything up to N. Who follows keeps revision and
//!   hash together, and goes on from there only while the catalogue still has that hash at that revision.
//! - **A page holds what a check can be answered with, and no more**: the images that a device can be offered, and
//!   the releases of these. [`crate::domain::ProductOffers`] of it is that of the whole product, to the byte.
//! - Pages are in the order of the products' last changes, as those of [`super::Catalogue::changes`], and none is missed.

use async_trait::async_trait;

use crate::{
    domain::{AuditHash, ProductState, Revision},
    error::Result,
};

/// Where the catalogue stands, for one who knows it up to some revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The latest revision.
    pub revision: Revision,
    /// The hash of the audit entry at the revision that was asked for; `None` = there is none, or not yet: an entry of a
    /// program that knew no hashes gets its own with the next change.
    pub hash: Option<AuditHash>,
}

/// One page of what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Products that changed after the asked revision, as far as checks need them.
    pub products: Vec<ProductState>,
    /// The hash at the asked revision, as of [`Standing::hash`].
    pub before: Option<AuditHash>,
    /// Everything up to this revision has been told once this page is applied.
    pub revision: Revision,
    /// The hash at that revision.
    pub hash: Option<AuditHash>,
    /// There is more: ask again with `revision`.
    pub more: bool,
}

/// The part of the port for who follows. Errors as of [`super::Catalogue`].
#[async_trait]
pub trait Following {
    /// The latest revision, and the hash at one that the caller knows.
    async fn standing(&self, at: Revision) -> Result<Standing>;

    /// The products that changed after `since`, at most `limit` of them (at least 1), read at one moment.
    async fn offered(&self, since: Revision, limit: u32) -> Result<Offered>;
}
