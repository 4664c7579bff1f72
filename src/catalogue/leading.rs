//! Which replica does a duty that one of them is to do at a time: copying to the backup, purging the CDN.
//!
//! # Rules
//! - A duty has a name and at most one leader, under a lease by the catalogue's clock. Who leads asks again well before
//!   the lease runs out; whoever asks after that leads.
//! - Leading is thrift, not safety: a leader that stood still may go on for a moment beside the next one. So what
//!   a duty does must be right when two do it at once.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::error::Result;

/// The part of the port that gives a duty one leader. Errors as of [`super::Catalogue`].
#[async_trait]
pub trait Leading {
    /// Takes the lead of a duty for `lease` from now, or goes on with it; `false` = another replica leads.
    async fn lead(&self, duty: &str, holder: Uuid, lease: Duration) -> Result<bool>;

    /// Gives the lead back, so that another replica need not wait for the lease; only the leader's call has an effect.
    async fn stop_leading(&self, duty: &str, holder: Uuid) -> Result<()>;
}
