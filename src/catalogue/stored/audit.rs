//! The audit log as both databases store it.

use chrono::{DateTime, Utc};

use super::{count, digest, parsed, settings, stored_time};
use crate::{
    catalogue::{Audit, AuditEntry, AuditPage},
    domain::{Action, AuditHash, ProductName, ProductSettings, Revision, audit::Link},
    error::Result,
};

pub(in crate::catalogue) struct AuditRow {
    pub at: DateTime<Utc>,
    pub product: String,
    pub revision: i64,
    pub actor: String,
    pub action: String,
    pub version: Option<String>,
    pub channel: Option<String>,
    pub details: serde_json::Value,
    pub remote: Option<String>,
    pub before: serde_json::Value,
    pub after: serde_json::Value,
    pub verdict: serde_json::Value,
    pub previous: Option<Vec<u8>>,
    pub hash: Option<Vec<u8>>,
}

impl AuditRow {
    pub fn into_entry(self) -> Result<AuditEntry> {
        Ok(AuditEntry {
            at: self.at,
            product: parsed(ProductName::parse(&self.product))?,
            revision: Revision(count(self.revision)?),
            actor: self.actor,
            action: self.action,
            version: self.version,
            channel: self.channel,
            details: self.details,
            remote: self.remote,
            before: self.before,
            after: self.after,
            verdict: parsed(serde_json::from_value(self.verdict))?,
            link: match self.previous.zip(self.hash) {
                None => None,
                Some((previous, hash)) => {
                    Some(Link { previous: audit_hash(previous)?, hash: audit_hash(hash)? })
                }
            },
        })
    }
}

/// A hash of the audit log as it was stored.
pub(in crate::catalogue) fn audit_hash(bytes: Vec<u8>) -> Result<AuditHash> {
    Ok(AuditHash(digest(bytes)?))
}

/// A page of the audit log, of one row more than the page may have.
pub(in crate::catalogue) fn audit_page(
    rows: Vec<AuditRow>,
    revision: Revision,
    limit: u32,
) -> Result<AuditPage> {
    let more = rows.len() as u64 > u64::from(limit);
    let page = rows.into_iter().take(limit as usize);
    Ok(AuditPage { entries: page.map(AuditRow::into_entry).collect::<Result<_>>()?, revision, more })
}

/// What a change adds to the audit log, not yet linked.
pub(in crate::catalogue) fn new_entry(
    audit: &Audit,
    product: &ProductName,
    revision: i64,
    at: DateTime<Utc>,
    after: serde_json::Value,
) -> Result<AuditEntry> {
    Ok(AuditEntry {
        at: stored_time(at),
        product: product.clone(),
        revision: Revision(count(revision)?),
        actor: audit.actor.name.clone(),
        remote: audit.actor.remote.map(|peer| peer.to_string()),
        action: audit.action.as_str().to_owned(),
        version: audit.version.as_ref().map(ToString::to_string),
        channel: audit.channel.as_ref().map(ToString::to_string),
        details: audit.details.clone(),
        before: audit.before.clone(),
        after,
        verdict: audit.verdict.clone(),
        link: None,
    })
}

/// The audit entry of [`crate::catalogue::Catalogue::put_product`]: the settings are what it shows.
pub(in crate::catalogue) fn settings_audit(audit: &Audit, before: Option<&ProductSettings>) -> Audit {
    Audit {
        action: if before.is_none() { Action::ProductCreate } else { Action::ProductUpdate },
        before: before.map_or(serde_json::Value::Null, settings),
        ..audit.clone()
    }
}
