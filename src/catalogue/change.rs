//! Who changes something, and what the audit log is to remember of it.

use std::{fmt, net::SocketAddr};

use super::AuditEntry;
use crate::domain::{Action, ChannelName, ProductState, Revision, Shown, Version};

/// Who did something, and from where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actor {
    /// The name of the token that was used.
    pub name: String,
    /// The peer, as the listener saw it; `None` = nobody asked over a network.
    pub remote: Option<SocketAddr>,
}

impl<T: Into<String>> From<T> for Actor {
    fn from(name: T) -> Self {
        Self { name: name.into(), remote: None }
    }
}

/// The name alone: what a log line has room for.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Who did something, and what to remember of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Audit {
    /// Who and from where.
    pub actor: Actor,
    /// The verb.
    pub action: Action,
    /// The version concerned, if any.
    pub version: Option<Version>,
    /// The channel concerned, if any.
    pub channel: Option<ChannelName>,
    /// More, such as the reason for a downgrade.
    pub details: serde_json::Value,
    /// What the change concerns: shown of the product as it is after the change.
    pub shown: Shown,
    /// The same, shown of the product as it was judged.
    pub before: serde_json::Value,
    /// The codes of the rules that were overridden by consent, or that warned.
    pub verdict: Vec<String>,
}

impl Audit {
    /// Says what the change concerns, and keeps what is there now.
    #[must_use]
    pub fn showing(self, shown: Shown, judged: &ProductState) -> Self {
        Self { before: shown.of(judged), shown, ..self }
    }
}

/// One page of the audit log, see [`super::Catalogue::audit_after`].
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    /// Oldest first.
    pub entries: Vec<AuditEntry>,
    /// The catalogue's revision at that moment: that of the newest entry of all.
    pub revision: Revision,
    /// There is more: ask again with the revision of the last entry.
    pub more: bool,
}
