//! Making a lost catalogue anew: whole products, as their manifests tell them.
//!
//! # Rules
//! - A product comes with its ids and times, its releases, images and promotions, in one transaction with one audit entry.
//!   Its revision is a new one, above every revision that a manifest tells: replicas and caches that still know the lost
//!   catalogue see everything as changed, and nothing as old.
//! - A product that is there already is left alone, so a rebuild that was interrupted can be repeated.
//! - Documents come without content, which no manifest has; they are left out.

use async_trait::async_trait;

use super::Audit;
use crate::{
    domain::{ProductState, Revision},
    error::Result,
};

/// The part of the port that puts whole products into a catalogue. Errors as of [`super::Catalogue`].
#[async_trait]
pub trait Rebuild {
    /// Adds a product as it was; `false` = one of that name is there. The product's new revision is above `above`.
    async fn restore(&self, state: &ProductState, above: Revision, audit: &Audit) -> Result<bool>;
}
