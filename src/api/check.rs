//! What devices are answered.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to a check: newer firmware for this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckAnswer {
    /// The version to install.
    #[schema(example = "1.4.0")]
    pub version: String,
    /// Where to get it: GET, HEAD and Range.
    pub url: String,
    /// If `url` is a short link, which redirects: what it leads to, as of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_url: Option<String>,
    /// When the link stops working; absent = never. Check again for a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_expires_at: Option<DateTime<Utc>>,
    /// When `direct_url` stops working; absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_url_expires_at: Option<DateTime<Utc>>,
    /// In bytes.
    pub size: u64,
    /// Lower-case hex; verify it before installing.
    pub sha256: String,
    /// Lower-case hex, for clients that know no better.
    pub sha1: String,
    /// Lower-case hex, for clients that know no better.
    pub md5: String,
    /// The file name.
    pub filename: String,
    /// The hardware that the image names; empty = all.
    pub hardware: BTreeSet<String>,
    /// The release's notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// The detached signature over the whole file that came with it, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// When the image was stored.
    pub created_at: DateTime<Utc>,
}
