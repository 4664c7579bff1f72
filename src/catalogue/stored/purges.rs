//! Purges and promotions that wait, as both databases store them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{count, parsed};
use crate::{
    catalogue::waiting::Waiting,
    domain::{
        ChannelName, PendingPromotion, ProductName, RefusedPromotion, Revision, Version,
        purge::{Purge, PurgeAction, PurgeKind, PurgeState, PurgeTarget, WantedPurge},
    },
    error::{Error, Result},
};

pub(in crate::catalogue) struct PurgeRow {
    pub id: Uuid,
    pub revision: i64,
    pub product: String,
    pub version: Option<String>,
    pub action: String,
    pub kind: String,
    pub object: String,
    pub state: String,
    pub attempts: i32,
    pub purge_id: Option<String>,
    pub support_id: Option<String>,
    pub asked_at: DateTime<Utc>,
    pub accepted_at: Option<DateTime<Utc>>,
    pub estimated_done_at: Option<DateTime<Utc>>,
    /// Whether the estimated time is over.
    pub done: bool,
    pub last_error: Option<String>,
}

pub(in crate::catalogue) struct PendingRow {
    pub product_id: Uuid,
    pub channel: String,
    pub image_id: Uuid,
    pub withdraw: Vec<Uuid>,
    pub asked_at: DateTime<Utc>,
    pub allow_stranding: bool,
    pub reason: Option<String>,
    pub attempts: i32,
    pub last_error: Option<String>,
    pub refused_at: Option<DateTime<Utc>>,
}

pub(in crate::catalogue) struct WaitingRow {
    pub product: String,
    pub channel: String,
    pub image_id: Uuid,
    pub due: bool,
    pub attempts: i32,
}

fn word<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    parse(text).ok_or_else(|| Error::internal(format!("a stored purge has the unknown word {text:?}")))
}

fn attempts(stored: i32) -> u32 {
    u32::try_from(stored).unwrap_or_default()
}

impl PurgeRow {
    pub fn into_purge(self) -> Result<Purge> {
        let state = word(&self.state, PurgeState::parse)?;
        Ok(Purge {
            id: self.id,
            wanted: WantedPurge {
                revision: Revision(count(self.revision)?),
                product: parsed(ProductName::parse(&self.product))?,
                version: self.version.map(|text| parsed(Version::parse(&text))).transpose()?,
                target: PurgeTarget {
                    action: word(&self.action, PurgeAction::parse)?,
                    kind: word(&self.kind, PurgeKind::parse)?,
                    object: self.object,
                },
            },
            state: if state == PurgeState::Accepted && self.done { PurgeState::Done } else { state },
            attempts: attempts(self.attempts),
            purge_id: self.purge_id,
            support_id: self.support_id,
            asked_at: self.asked_at,
            accepted_at: self.accepted_at,
            estimated_done_at: self.estimated_done_at,
            last_error: self.last_error,
        })
    }
}

impl PendingRow {
    pub fn into_pending(self) -> Result<PendingPromotion> {
        Ok(PendingPromotion {
            channel: parsed(ChannelName::parse(&self.channel))?,
            image: self.image_id,
            withdraw: self.withdraw,
            at: self.asked_at,
            allow_stranding: self.allow_stranding,
            reason: self.reason,
            attempts: attempts(self.attempts),
            last_error: self.last_error,
        })
    }

    /// It as refused, then.
    pub fn into_refused(self, at: DateTime<Utc>) -> Result<RefusedPromotion> {
        Ok(RefusedPromotion {
            channel: parsed(ChannelName::parse(&self.channel))?,
            image: self.image_id,
            asked_at: self.asked_at,
            at,
            why: self.last_error.unwrap_or_default(),
        })
    }
}

impl WaitingRow {
    pub fn into_waiting(self) -> Result<Waiting> {
        Ok(Waiting {
            product: parsed(ProductName::parse(&self.product))?,
            channel: parsed(ChannelName::parse(&self.channel))?,
            image: self.image_id,
            due: self.due,
            attempts: attempts(self.attempts),
        })
    }
}

/// An error's words as they are stored: Postgres takes no NUL, and nobody reads pages.
pub(in crate::catalogue) fn words(error: &str) -> String {
    error.chars().filter(|character| *character != '\0').take(1000).collect()
}
