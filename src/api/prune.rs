//! What retention keeps and removes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What became of a product's releases, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PruneView {
    /// The product.
    pub product: String,
    /// Whether nothing was removed.
    pub dry_run: bool,
    /// The releases that go, the highest version first.
    pub removed: Vec<PrunedView>,
    /// The releases that stay, and why.
    pub kept: Vec<KeptView>,
    /// What goes, in bytes.
    pub removed_bytes: u64,
    /// What stays, in bytes.
    pub kept_bytes: u64,
}

/// A release that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrunedView {
    /// The version.
    pub version: String,
    /// Its images' file names.
    pub filenames: Vec<String>,
    /// In bytes.
    pub bytes: u64,
}

/// A release that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptView {
    /// The version.
    pub version: String,
    /// In bytes.
    pub bytes: u64,
    /// Every reason.
    pub why: Vec<WhyView>,
}

/// Why a release is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyView {
    /// Stable, in `kebab-case`.
    pub code: String,
    /// In words.
    pub message: String,
}
