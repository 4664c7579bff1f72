//! The JSON of verdicts and explanations.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{domain::Facts, version_check::Reason};

/// What would become of a publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerdictView {
    /// Whether it would be stored, or is there already.
    pub admitted: bool,
    /// The status that a publish would be answered with now.
    #[schema(example = 201)]
    pub status: u16,
    /// How much was judged: `declared` (no image was sent, or what is declared is refused), `underway` (what the image
    /// said in its first bytes is refused), `image`.
    #[schema(example = "image")]
    pub judged: String,
    /// The product.
    pub product: String,
    /// The version that was declared or taken from the image.
    pub version: String,
    /// What it would be stored as.
    pub filename: String,
    /// The hardware it runs on; empty = all.
    pub hardware: BTreeSet<String>,
    /// How many bytes were read.
    pub size: u64,
    /// Lower-case hex; only if all was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What speaks against it without being a rule: a conflict with what is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<String>,
    /// Every rule that refuses it.
    pub reasons: Vec<Reason>,
    /// What does not stand in the way.
    pub warnings: Vec<Reason>,
    /// What the image says of itself, as far as it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
}

/// How devices come to a release; replaces what was set before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PathBody {
    /// Devices below it are offered it first and never jump over it.
    #[serde(default)]
    pub floor: bool,
    /// The lowest version that can take it; absent = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "1.2.0")]
    pub upgrade_from: Option<String>,
    /// Do it although devices would be left without a way to what their channel offers highest.
    #[serde(default)]
    pub allow_stranding: bool,
    /// Why; kept in the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a device would be offered, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainView {
    /// The product.
    pub product: String,
    /// The version that the device runs.
    pub version: String,
    /// Its hardware.
    pub hardware: Option<String>,
    /// Its channel.
    pub channel: String,
    /// The version that it is offered; `null` = none.
    pub offered: Option<String>,
    /// The file that it is offered.
    pub filename: Option<String>,
    /// Every release, the highest version first.
    pub considered: Vec<ConsideredView>,
}

/// A release that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsideredView {
    /// Its version.
    pub version: String,
    /// Its file for this hardware, if there is one.
    pub filename: Option<String>,
    /// Whether it is what the device is offered.
    pub offered: bool,
    /// `offered`, `replaces`, `recalled`, `not-promoted`, `withdrawn`, `other-hardware`, `not-higher`,
    /// `behind-floor`, `takes-from`, `lower`, `replacement-first`.
    #[schema(example = "behind-floor")]
    pub code: String,
    /// The same in a sentence.
    pub why: String,
}
