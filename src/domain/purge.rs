//! What a change wants a CDN to forget.
//!
//! A purge is one object of one request: a URL, a cache tag, or a CP code, to be deleted or invalidated. It is asked for
//! (known to the catalogue), accepted (the CDN has confirmed it and says how long it takes), and then done as far as
//! anybody can tell: the CDN offers no way to ask. Or it failed: the CDN refuses this very object; that is told loudly
//! and tried again rarely, as only an operator can help.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ProductName, Revision, Version};

/// What the CDN is to do with its copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PurgeAction {
    /// To forget them: what was recalled is fetched by nobody again.
    Delete,
    /// To ask the origin before it uses them again, and to go on with them while the origin is away.
    Invalidate,
}

/// How the copies are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PurgeKind {
    /// By URL; `http` and `https` are the same.
    Url,
    /// By cache tag.
    Tag,
    /// By CP code: everything that is counted under it.
    Cpcode,
}

/// How far a purge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PurgeState {
    /// To be sent to the CDN.
    Asked,
    /// The CDN is at it.
    Accepted,
    /// The time that the CDN said it needs is over.
    Done,
    /// The CDN refuses this object.
    Failed,
}

/// What is to be purged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PurgeTarget {
    /// What to do.
    pub action: PurgeAction,
    /// How `object` names it.
    pub kind: PurgeKind,
    /// A URL, a tag, or the digits of a CP code.
    pub object: String,
}

/// A purge that a change of the catalogue wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPurge {
    /// The change.
    pub revision: Revision,
    /// Its product.
    pub product: ProductName,
    /// Its release, if it is about one.
    pub version: Option<Version>,
    /// What.
    pub target: PurgeTarget,
}

/// A purge as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// UUID version 7.
    pub id: Uuid,
    /// What is wanted, and why.
    pub wanted: WantedPurge,
    /// How far it is.
    pub state: PurgeState,
    /// How often it was sent.
    pub attempts: u32,
    /// The CDN's name for the request that it went with.
    pub purge_id: Option<String>,
    /// What to tell the CDN's support.
    pub support_id: Option<String>,
    /// Since when it is wanted.
    pub asked_at: DateTime<Utc>,
    /// When the CDN accepted it.
    pub accepted_at: Option<DateTime<Utc>>,
    /// When the CDN expects it to be done.
    pub estimated_done_at: Option<DateTime<Utc>>,
    /// Why it is not accepted yet.
    pub last_error: Option<String>,
}

/// The longest cache tag, in characters. Akamai drops a longer one, so that its objects could not be purged by it
/// (<https://techdocs.akamai.com/purge-cache/docs/purge-content-cache-tag>).
pub const LONGEST_TAG: usize = 128;

/// The measures of a tag in which `{product}` and `{version}` stand for what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagForm {
    around: usize,
    products: usize,
    versions: usize,
}

impl TagForm {
    /// Those of a template.
    pub fn of(template: &str) -> Self {
        let count = |name: &str| template.matches(name).count();
        let (products, versions) = (count("{product}"), count("{version}"));
        let around = template.len() - products * "{product}".len() - versions * "{version}".len();
        Self { around, products, versions }
    }

    /// The length of the tag of a product and a version of these lengths.
    pub fn length(&self, product: usize, version: usize) -> usize {
        self.around + self.products * product + self.versions * version
    }
}

macro_rules! words {
    ($type:ident: $($variant:ident = $word:literal),+) => {
        impl $type {
            /// The word for it, in the API, in the database and for the CDN.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// From its word; `None` = it is no such word.
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(PurgeAction: Delete = "delete", Invalidate = "invalidate");
words!(PurgeKind: Url = "url", Tag = "tag", Cpcode = "cpcode");
words!(PurgeState: Asked = "asked", Accepted = "accepted", Done = "done", Failed = "failed");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_measured_without_being_made() {
        let form = TagForm::of("r-{product}-{version}");
        assert_eq!(form.length("thermo-x".len(), "1.4.0".len()), "r-thermo-x-1.4.0".len());
        assert_eq!(TagForm::of("{product}{product}").length(63, 128), 126);
        assert_eq!(TagForm::of("all").length(63, 128), 3);
    }
}
