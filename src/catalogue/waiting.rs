//! Promotions that wait at the gate: the part of the port for what was promoted and is not offered yet.
//!
//! # Rules
//! - A pending promotion is made by [`super::Catalogue::promote`] or [`super::Catalogue::publish`] with
//!   [`super::Promote::pending`], and is part of [`crate::domain::ProductState::pending`]; no check sees it.
//! - It ends when the image is promoted, when a downgrade withdraws it, or with the recall of its release, each in the
//!   transaction of that change.
//! - Attempts are no changes: they make no revision and no audit entry.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    domain::{ChannelName, ProductName},
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

/// The part of the port for promotions that wait. Errors as of [`super::Catalogue`].
#[async_trait]
pub trait WaitingPromotions {
    /// All promotions that wait, longest waiting first.
    async fn waiting(&self) -> Result<Vec<Waiting>>;

    /// Remembers why these images cannot be offered on the channel yet, and that they are tried again after `delay`.
    async fn keep_waiting(
        &self,
        product: &ProductName,
        channel: &ChannelName,
        images: &[Uuid],
        error: &str,
        delay: Duration,
    ) -> Result<()>;
}
