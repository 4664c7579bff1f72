//! Promotions that wait at the gate: the part of the port for what was promoted and is not offered yet.
//!
//! # Rules
//! - A pending promotion is made by [`super::Catalogue::promote`] or [`super::Catalogue::publish`] with
//!   [`super::Promote::pending`], and is part of [`crate::domain::ProductState::pending`]; no check sees it.
//! - It ends when the image is promoted, when a downgrade withdraws it or [`super::Promote::ends`] names it, or with the recall
//!   of its release, each in the transaction of that change. Asked for again, it waits anew.
//! - Refused when it was to be offered, it waits no longer, and is part of [`crate::domain::ProductState::refused`] until one
//!   of those changes.
//! - Attempts are no changes: they make no revision and no audit entry.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{Audit, Written};
use crate::{
    domain::{ChannelName, ProductName, ProductState, Revision},
    error::Result,
};

/// A promotion that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The product.
    pub product: ProductName,
    /// Where.
    pub channel: ChannelName,
    /// What.
    pub image: Uuid,
    /// Whether it is time to try.
    pub due: bool,
    /// How often it was tried.
    pub attempts: u32,
}

/// Why images cannot be offered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// In words.
    pub error: String,
    /// When they are tried again.
    pub delay: Duration,
    /// Whether they were fetched in vain, which is counted.
    pub tried: bool,
}

/// The part of the port for promotions that wait. Errors as of [`super::Catalogue`].
#[async_trait]
pub trait WaitingPromotions {
    /// All promotions that wait, longest waiting first.
    async fn waiting(&self) -> Result<Vec<Waiting>>;

    /// Remembers why these images cannot be offered on the channel yet, and when they are tried again.
    async fn keep_waiting(
        &self,
        product: &ProductName,
        channel: &ChannelName,
        images: &[Uuid],
        setback: &Setback,
    ) -> Result<()>;

    /// Ends the waiting of a channel's images, since the rules refuse to offer them now, as `why` says. Returns the product as
    /// it is now.
    async fn refuse_waiting(
        &self,
        product: &ProductName,
        of: (&ChannelName, &[Uuid]),
        why: &str,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>>;
}
