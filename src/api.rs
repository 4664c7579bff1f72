//! The JSON of both listeners, as types: the handlers write them, the command line reads them, and the OpenAPI
//! documents are generated from them. Fields may be added, none changes meaning.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::version_check::Reason;

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
    /// The link that a device would be given now.
    pub url: String,
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
    /// Free text.
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
    /// Its images.
    pub images: Vec<ImageView>,
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
}

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// When.
    pub at: DateTime<Utc>,
    /// The revision that the change made.
    pub revision: u64,
    /// The name of the token that was used.
    pub actor: String,
    /// The verb, such as `image.publish`.
    pub action: String,
    /// The version concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The channel concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// More, such as the reason for a downgrade.
    #[schema(value_type = Object)]
    pub details: serde_json::Value,
}

/// The newest audit entries of a product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    /// Newest first.
    pub entries: Vec<AuditView>,
}

/// The answer to a check: newer firmware for this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckAnswer {
    /// The version to install.
    #[schema(example = "1.4.0")]
    pub version: String,
    /// Where to get it: GET, HEAD and Range.
    pub url: String,
    /// When the link stops working; absent = never. Check again for a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_expires_at: Option<DateTime<Utc>>,
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
    /// When the image was stored.
    pub created_at: DateTime<Utc>,
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
