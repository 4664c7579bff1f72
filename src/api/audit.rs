//! The audit log in JSON: what a client needs to compute the chain of `domain::audit` itself.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{AuditEntry, NameError, ProductName, Revision, audit::Link};

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// When.
    pub at: DateTime<Utc>,
    /// The revision that the change made.
    pub revision: u64,
    /// The product.
    #[serde(default)]
    pub product: String,
    /// Who: the name of the token that was used.
    pub actor: String,
    /// From where: the address and port of the peer, as the listener saw them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
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
    /// What was there before, of what the change replaced.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub before: serde_json::Value,
    /// The same after it.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub after: serde_json::Value,
    /// The codes of the rules that were overridden by consent, or that warned.
    #[serde(default)]
    pub verdict: Vec<String>,
    /// The hash of the entry before, in hex; absent = the entry is not yet linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Its own hash, in hex: SHA-256 over its canonical form, which the program's documentation states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// The newest audit entries of a product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    /// Newest first.
    pub entries: Vec<AuditView>,
}

/// A page of the audit log of all products.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// Oldest first.
    pub entries: Vec<AuditView>,
    /// The catalogue's revision at that moment: that of the newest entry of all.
    pub revision: u64,
    /// There is more: ask again with `after` set to the revision of the last entry.
    pub more: bool,
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            at: entry.at,
            revision: entry.revision.0,
            product: entry.product.to_string(),
            actor: entry.actor,
            remote: entry.remote,
            action: entry.action,
            version: entry.version,
            channel: entry.channel,
            details: entry.details,
            before: entry.before,
            after: entry.after,
            verdict: entry.verdict,
            previous: entry.link.map(|link| link.previous.to_string()),
            hash: entry.link.map(|link| link.hash.to_string()),
        }
    }
}

impl AuditView {
    /// The entry, to be verified.
    ///
    /// # Errors
    /// When a name or hash is none.
    pub fn into_entry(self) -> Result<AuditEntry, String> {
        let link = match self.previous.zip(self.hash) {
            Some((previous, hash)) => Some(Link { previous: previous.parse()?, hash: hash.parse()? }),
            None => None,
        };
        Ok(AuditEntry {
            at: self.at,
            product: ProductName::parse(&self.product).map_err(|error: NameError| error.to_string())?,
            revision: Revision(self.revision),
            actor: self.actor,
            remote: self.remote,
            action: self.action,
            version: self.version,
            channel: self.channel,
            details: self.details,
            before: self.before,
            after: self.after,
            verdict: self.verdict,
            link,
        })
    }
}
