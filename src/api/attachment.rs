//! What a release says of itself, in JSON.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A document of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttachmentView {
    /// Its name.
    #[schema(example = "sbom.cdx.json")]
    pub name: String,
    /// `cyclonedx` or `spdx`.
    #[schema(example = "cyclonedx")]
    pub kind: String,
    /// The version of that format, as the document states it.
    #[schema(example = "1.6")]
    pub specification: String,
    /// In bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// When it was attached.
    pub created_at: DateTime<Utc>,
}

/// That a release fixes vulnerabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecurityBody {
    /// How bad the worst of them is: `low`, `medium`, `high` or `critical`.
    #[schema(example = "high")]
    pub severity: String,
    /// Their CVE ids, as far as they have one.
    #[serde(default)]
    #[schema(example = json!(["CVE-2026-12345"]))]
    pub cves: BTreeSet<String>,
}

/// The notes of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotesBody {
    /// For people, in Markdown; `null` = none. Devices get them with an offer, so keep them short and link to more.
    pub notes: Option<String>,
}
