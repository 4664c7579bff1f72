//! The version check: the rules that stand between an upload and a fleet.
//!
//! Pure code: a product's state and what is known of an image go in, a verdict comes out; no I/O, no clock. The
//! same rules run at three moments ([`Known`]). [`admit`] judges what the publisher declares, before a byte of the body
//! is read, so that a refusal costs nothing; what the image says of itself ([`inspect`]) is judged as soon as it has
//! said it; [`verify`] judges what really arrived, before anything becomes visible. And they run on the state that is
//! true at commit: the catalogue writes only if nothing changed since.
//!
//! # By topic
//! - [`judge`]: what may become an image, and the order of the rules
//! - `declared`, `content`, `names`, `signature`: what is declared, what the image says, whether it is for this product,
//!   who signed it
//! - `channel`, `path`, `recall`: what may be promoted and recalled, and whether devices would be stranded
//! - `waiting`: how promotions that wait at the gate count, and what is asked again before they are offered
//! - `links`: whether devices can use the links that they would get
//! - `similar`: names and versions that people would take for one another
//! - [`policy`]: whether what a product demands makes sense
//!
//! Invariants:
//! - Every rule has a stable code ([`rule`]) and a sentence that says what to do; all that refuse are reported
//!   together, and so are those that only warn. How strict a rule is, the product's policy may say.
//! - On one channel and for one hardware, the offered version never goes down, unless the publisher says
//!   `allow_downgrade` with a reason.
//! - What is in a release stays as it is: the same file name or hardware with other bytes is a conflict.
//!
//! What it does not do: store, know the time (it is told), or know who is asking.

mod channel;
mod content;
mod declared;
mod findings;
mod image;
pub mod inspect;
mod links;
mod names;
mod path;
pub mod policy;
mod recall;
pub mod rule;
pub mod sbom;
mod signature;
pub mod similar;
mod waiting;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use channel::{Offering, Promoted, promote};
pub use content::{Stated, stated_version};
pub use image::{Admission, Arrived, Candidate, Judgement, Known, Limits, Refusal, admit, judge, verify};
pub use links::broken as broken_links;
pub use recall::{recall, set_path};
pub use signature::detached;
pub use waiting::{Offer, Opening, open, overtaken};

/// Why something is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reason {
    /// Stable, in `kebab-case`; see [`rule`].
    #[schema(value_type = String, example = "version-not-newer")]
    pub code: Cow<'static, str>,
    /// A sentence that says what to do.
    pub message: String,
}

impl Reason {
    /// A reason of one of the rules.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), message: message.into() }
    }
}

/// What a publisher confirms explicitly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consent {
    /// The channel may go back to a lower version.
    pub allow_downgrade: bool,
    /// The bytes of another version are meant to be published again.
    pub allow_same_bytes: bool,
    /// Devices may be left without a way to what the channel offers highest.
    pub allow_stranding: bool,
    /// Why; needed for a downgrade, kept for the audit.
    pub reason: Option<String>,
}
