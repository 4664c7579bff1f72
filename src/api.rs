//! The JSON of both listeners, as types: the handlers write them, the command line reads them, and the OpenAPI
//! documents are generated from them. Fields may be added, none changes meaning.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{CacheLifetime, ChannelName, Delivery, Facts, Policy, PollInterval, Retention},
    version_check::Reason,
};

mod verdict;

pub use verdict::{ConsideredView, ExplainView, PathBody, VerdictView};

mod attachment;
mod audit;
mod backup;
mod cdn;
mod check;
mod device_secret;
mod downloads;
mod prune;
mod rhythm;

pub use attachment::{AttachmentView, NotesBody, SecurityBody};
pub use audit::{AuditList, AuditPage, AuditView};
pub use backup::{BackupStatus, LagView, ScrubView};
pub use cdn::{PendingView, PurgeList, PurgeView, RefusedView};
pub use check::CheckAnswer;
pub use device_secret::{
    DeviceCredentialView, DeviceCredentialsBody, DeviceCredentialsView, DeviceSecretBody, DeviceSecretView,
};
pub use downloads::{DownloadList, DownloadView};
pub use prune::{KeptView, PruneView, PrunedView, WhyView};
pub use rhythm::ChannelSettings;

/// A problem document (RFC 9457), the body of every error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable URI that names the kind of problem: `urn:firmament:problem:CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what to do.
    pub detail: String,
    /// For a refused image: every reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// Find it under this in the operators' log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What may be set on a product; `{}` is enough. A `PUT` replaces all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProductBody {
    /// The hardware that exists; empty = any may be named.
    #[schema(example = json!(["rev-a", "rev-b"]))]
    pub hardware: BTreeSet<String>,
    /// The largest image, in bytes; absent = the global limit alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_image_bytes: Option<u64>,
    /// Until when the manufacturer supports it: a date such as `2031-12-31`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_end: Option<NaiveDate>,
    /// What is kept of its releases, see README, "Retention"; absent = everything.
    #[serde(skip_serializing_if = "is_default")]
    pub retention: Retention,
    /// What it demands of its images, and how strictly; see docs/version-check.md.
    #[serde(skip_serializing_if = "is_default")]
    pub policy: Policy,
    /// How its images reach its devices.
    #[serde(skip_serializing_if = "is_default")]
    pub delivery: Delivery,
    /// When its devices should ask again, such as `15m`, from 1 second to 30 days; absent = the server's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "15m")]
    pub poll_interval: Option<PollInterval>,
    /// How long shared caches may keep its answers, such as `2m`, from 0 seconds to 7 days; absent = the server's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "2m")]
    pub cache_lifetime: Option<CacheLifetime>,
    /// What single channels have of their own, by their names; a channel need not offer anything yet.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, ChannelSettings>, example = json!({"beta": {"poll_interval": "1m"}}))]
    pub channel_settings: BTreeMap<ChannelName, ChannelSettings>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProductView {
    /// Its slug.
    #[schema(example = "thermo-x")]
    pub product: String,
    /// What is set on it.
    #[serde(flatten)]
    pub settings: ProductBody,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// The catalogue's revision at its last change.
    pub revision: u64,
    /// What the version check only tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}

/// A product and what its channels offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProductDetail {
    /// The product.
    #[serde(flatten)]
    pub product: ProductView,
    /// Its channels.
    pub channels: Vec<ChannelView>,
}

/// All products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProductList {
    /// By name.
    pub products: Vec<ProductView>,
}

/// A stored image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageView {
    /// The product.
    pub product: String,
    /// The release's version.
    #[schema(example = "1.4.0")]
    pub version: String,
    /// The file name.
    pub filename: String,
    /// The hardware it runs on; empty = all.
    pub hardware: BTreeSet<String>,
    /// In bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// Lower-case hex.
    pub sha1: String,
    /// Lower-case hex.
    pub md5: String,
    /// Where it is in the bucket.
    pub key: String,
    /// The bucket's entity tag, without quotes.
    pub etag: String,
    /// When its upload began.
    pub created_at: DateTime<Utc>,
    /// The channels that it is promoted to; none after a recall.
    pub channels: BTreeSet<String>,
    /// The channels that it waits to be offered on, until it was fetched back through the CDN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<PendingView>,
    /// The channels that it waited for and is not offered on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedView>,
    /// The link that a device would be given now.
    pub url: String,
    /// What it says of itself; absent = it was stored before images were inspected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// The detached signature over the whole file that came with it, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// When it was removed for good; its key is never used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<DateTime<Utc>>,
    /// What the version check only tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}

/// A resumable upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadView {
    /// Its id; that of the image in the end.
    pub id: uuid::Uuid,
    /// `open` or `published`.
    pub state: UploadState,
    /// `tus`, or `direct`: its parts go straight to the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The product.
    pub product: String,
    /// The release's version.
    pub version: String,
    /// The file name.
    pub filename: String,
    /// The image's size in bytes; absent = not said yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Where to go on, in bytes.
    pub offset: u64,
    /// When it ends if nobody goes on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// What it has become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageView>,
}

/// A direct upload: what the client must send to the bucket itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DirectView {
    /// The upload's id; that of the image in the end.
    pub id: uuid::Uuid,
    /// The size of each part but the last, in bytes.
    pub part_size: u64,
    /// How many parts there are.
    pub parts: u64,
    /// Those that the bucket does not have yet.
    pub missing: Vec<PartView>,
    /// When the upload ends if nobody goes on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// The image, if it is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageView>,
}

/// A part to be sent to the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartView {
    /// From 1: the part begins at `(number - 1) * part_size`.
    pub number: u32,
    /// In bytes.
    pub size: u64,
    /// For one PUT, without the token.
    pub url: String,
}

/// Whether an upload has become an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UploadState {
    /// Bytes are missing, or are being checked.
    Open,
    /// The image is stored.
    Published,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseView {
    /// The product.
    pub product: String,
    /// Its version.
    pub version: String,
    /// `published` or `recalled`.
    pub state: ReleaseState,
    /// For people, in Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// When its first image was stored.
    pub created_at: DateTime<Utc>,
    /// When it was recalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled_at: Option<DateTime<Utc>>,
    /// Why it was recalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall_reason: Option<String>,
    /// Where devices that run it should go, since it was recalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// Whether devices below it are offered it first and never jump over it.
    #[serde(default)]
    pub floor: bool,
    /// The lowest version that can take it; absent = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_from: Option<String>,
    /// Its images.
    pub images: Vec<ImageView>,
    /// What it fixes; absent = nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<SecurityBody>,
    /// Its documents, by name.
    #[serde(default)]
    pub attachments: Vec<AttachmentView>,
    /// What the CDN is to forget of it, the newest first; only where one release is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purges: Vec<PurgeView>,
    /// What the version check only tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}

/// Whether a release may be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseState {
    /// Stored; offered where it is promoted.
    Published,
    /// Taken back; never offered.
    Recalled,
}

/// All releases of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseList {
    /// The highest version first.
    pub releases: Vec<ReleaseView>,
    /// Until when the manufacturer supports the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support_end: Option<NaiveDate>,
}

/// What a channel offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// The product.
    pub product: String,
    /// Its name.
    pub channel: String,
    /// One line per hardware that is offered something.
    pub offers: Vec<OfferView>,
    /// What waits to be offered, until it was fetched back through the CDN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<PendingView>,
    /// What waited and was refused since the channel was last offered something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedView>,
    /// What the version check only tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}

/// What devices of some hardware are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OfferView {
    /// The hardware; `null` = all that no other line names.
    pub hardware: Option<String>,
    /// The version that they are offered.
    pub version: String,
    /// The image's file name.
    pub filename: String,
    /// In bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// The link that a device would be given now.
    pub url: String,
}

/// Promotes a stored release to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteBody {
    /// The release.
    #[schema(example = "1.4.0")]
    pub version: String,
    /// Offer it although the channel offers a higher version; needs `reason`.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// Do it although devices would be left without a way to what the channel offers highest.
    #[serde(default)]
    pub allow_stranding: bool,
    /// Why; kept in the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Takes a release back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecallBody {
    /// Why; kept in the audit log.
    pub reason: String,
    /// The version that devices which run it should go to, also a lower one; it needs no promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "1.3.2")]
    pub replacement: Option<String>,
    /// Do it although devices would be left without a way to what their channel offers highest.
    #[serde(default)]
    pub allow_stranding: bool,
}

/// The body of `/livez` and `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, `stale` (answering from a snapshot that could not be confirmed lately), `starting` or `draining`.
    pub status: String,
    /// The snapshot's revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Seconds since the catalogue last confirmed the snapshot; absent = not since this process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_age_seconds: Option<u64>,
    /// Where the snapshot came from: `catalogue` or `disk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_source: Option<String>,
}
