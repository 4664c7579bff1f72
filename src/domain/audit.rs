//! The audit log: its entries, and the chain that holds them together.
//!
//! Every change of the catalogue is one entry. Each carries the hash of the entry before it and its own, so nobody can
//! change an entry, remove one or put one in between without all later hashes being wrong. Who can write the whole
//! database can compute all of them anew, or cut off the newest: against that, note the head (revision and hash) that
//! `firmament audit verify` prints somewhere else, and ask for it later.
//!
//! # What is hashed (format 1)
//! SHA-256 over the UTF-8 text of one JSON object in the canonical form of RFC 8785 ([`canonical()`]): no white space,
//! names in the order of their UTF-16 code units, `\"`, `\\`, `\b`, `\t`, `\n`, `\f`, `\r` and `\u00xx` the only
//! escapes, the shortest form of every number; but integers have all their digits, also above 2^53. It has these members,
//! all of them always:
//!
//! | member | value |
//! |---|---|
//! | `format` | 1 |
//! | `previous` | the hash of the entry before, in hex; 64 zeros for the first |
//! | `revision` | the number of the change |
//! | `at` | UTC, with microseconds: `2026-01-02T03:04:05.000006Z` |
//! | `product`, `action`, `actor` | texts |
//! | `remote`, `version`, `channel` | texts or `null` |
//! | `details`, `before`, `after` | as the entry has them |
//! | `verdict` | a list of texts |
//!
//! Entries of programs that knew no hashes are part of the chain too: the first change afterwards hashes them in their
//! order, with `remote`, `before` and `after` of `null` and an empty `verdict`.

use std::{fmt, str::FromStr};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ProductName, Revision};

mod action;
mod canonical;
mod chain;
mod shown;

pub use action::Action;
pub use canonical::canonical;
pub use chain::{Broken, Chain};
pub use shown::Shown;

/// An entry of the audit log as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// When it was committed.
    pub at: DateTime<Utc>,
    /// The product.
    pub product: ProductName,
    /// The revision that the change made.
    pub revision: Revision,
    /// Who: the name of the token.
    pub actor: String,
    /// From where: the address and port of the peer, as the listener saw them. (The port too: it is what tells the
    /// connections behind one address apart, RFC 6302.)
    pub remote: Option<String>,
    /// The verb: the word of an [`Action`].
    pub action: String,
    /// The version concerned.
    pub version: Option<String>,
    /// The channel concerned.
    pub channel: Option<String>,
    /// More, such as the reason for a downgrade.
    pub details: Value,
    /// What was there before, of what the change replaced.
    pub before: Value,
    /// The same after it.
    pub after: Value,
    /// The codes of the rules that were overridden by consent, or that warned.
    pub verdict: Vec<String>,
    /// Its place in the chain; `None` = written by a program that knew none, and not yet linked.
    pub link: Option<Link>,
}

/// An entry's place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The hash of the entry before.
    pub previous: AuditHash,
    /// The entry's own.
    pub hash: AuditHash,
}

/// The hash of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditHash(pub [u8; 32]);

impl AuditHash {
    /// What the first entry has before it.
    pub const NONE: Self = Self([0; 32]);
}

impl fmt::Display for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AuditHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| "a hash has 64 hexadecimal digits")?;
        Ok(Self(hash))
    }
}

/// The newest entry of a log: to be noted down elsewhere, as `REVISION:HASH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its revision.
    pub revision: Revision,
    /// Its hash.
    pub hash: AuditHash,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.revision.0, self.hash)
    }
}

impl FromStr for Head {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (revision, hash) = text.trim().split_once(':').ok_or("a head has the form REVISION:HASH")?;
        let revision = revision.parse().map_err(|_| "a head begins with the number of a revision")?;
        Ok(Self { revision: Revision(revision), hash: hash.parse()? })
    }
}

impl AuditEntry {
    /// The hash that this entry has behind that one.
    pub fn hash_after(&self, previous: AuditHash) -> AuditHash {
        let text = canonical(&json!({
            "format": 1,
            "previous": previous.to_string(),
            "revision": self.revision.0,
            "at": self.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            "product": self.product.as_str(),
            "actor": self.actor,
            "remote": self.remote,
            "action": self.action,
            "version": self.version,
            "channel": self.channel,
            "details": self.details,
            "before": self.before,
            "after": self.after,
            "verdict": self.verdict,
        }));
        AuditHash(Sha256::digest(text).into())
    }

    /// Its place behind that entry.
    pub fn link_after(&self, previous: AuditHash) -> Link {
        Link { previous, hash: self.hash_after(previous) }
    }
}
