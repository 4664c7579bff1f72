//! What is told of the CDN: promotions that wait at the gate, and purges.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::purge::{PurgeAction, PurgeKind, PurgeState};

/// A promotion that waits until its image was fetched back through the CDN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PendingView {
    /// Where it will be offered.
    pub channel: String,
    /// The release's version.
    #[schema(example = "1.4.0")]
    pub version: String,
    /// The image's file name.
    pub filename: String,
    /// Since when it waits.
    pub since: DateTime<Utc>,
    /// The versions that the channel will offer no more then, since this is a downgrade from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdraws: Vec<String>,
    /// How often it was fetched in vain.
    pub attempts: u32,
    /// What did not hold the last time, or what it waits for; absent = it was not fetched yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A promotion that has waited, and that the rules refused when it was to be offered: it is offered when it is promoted again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedView {
    /// Where it would have been offered.
    pub channel: String,
    /// The release's version.
    #[schema(example = "1.4.0")]
    pub version: String,
    /// The image's file name.
    pub filename: String,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// When it was refused; the audit log has a `channel.refuse` with the rules.
    pub refused_at: DateTime<Utc>,
    /// Why, in words.
    pub why: String,
}

/// One thing that the CDN is to forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurgeView {
    /// The product whose change wants it.
    pub product: String,
    /// The release, if the change is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The revision of the change; its audit entry says who and why.
    pub revision: u64,
    /// `delete` or `invalidate`.
    pub action: PurgeAction,
    /// How `object` names it.
    pub kind: PurgeKind,
    /// A URL, a cache tag or a CP code.
    pub object: String,
    /// `asked`, `accepted`, `done` (the time that the CDN estimated is over), or `failed` (it refuses the object).
    pub state: PurgeState,
    /// How often it was sent.
    pub attempts: u32,
    /// Since when it is wanted.
    pub asked_at: DateTime<Utc>,
    /// When the CDN accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<DateTime<Utc>>,
    /// When it should be done, as the CDN estimates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_done_at: Option<DateTime<Utc>>,
    /// The CDN's name for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_id: Option<String>,
    /// What to tell the CDN's support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support_id: Option<String>,
    /// Why it is not accepted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// What the CDN is to forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurgeList {
    /// The newest first.
    pub purges: Vec<PurgeView>,
}
