//! The version check: the rules that stand between an upload and a fleet.
//!
//! Pure code: a product's state and what is known of an image go in, a verdict comes out; no I/O, no clock. The
//! same rules run twice. [`admit`] judges what the publisher declares, before a byte of the body is read, so
//! that a refusal costs nothing; [`verify`] judges what really arrived, before anything becomes visible. And
//! they run on the state that is true at commit: the catalogue writes only if nothing changed since.
//!
//! Invariants:
//! - Every rule has a stable code ([`rule`]) and a sentence that says what to do; all that refuse are reported
//!   together, in the order of the rules.
//! - On one channel and for one hardware, the offered version never goes down, unless the publisher says
//!   `allow_downgrade` with a reason.
//! - What is in a release stays as it is: the same file name or hardware with other bytes is a conflict.
//!
//! What it does not do: read image formats (a later module), store, or know who is asking.

mod channel;
mod image;
pub mod inspect;
pub mod rule;
pub mod sbom;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use channel::{Promotable, Withdrawal, promote};
pub use image::{Admission, Arrived, Candidate, Limits, Refusal, admit, verify};

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
    /// Why; needed for a downgrade, kept for the audit.
    pub reason: Option<String>,
}
