//! Errors that know no transport: a kind, a stable code, a public sentence, and a private cause.
//!
//! The public part (`code`, `message`, `reasons`) goes to the caller as it is and says what to do. The private
//! part (`source`) is for the log of the operator and never leaves the process. Whoever consumes an error,
//! a listener or a reconciler, logs it, once. HTTP maps a kind to a status in `http::problem`, the command
//! line maps it to an exit code in `cli`.

use std::{error::Error as StdError, fmt, time::Duration};

use crate::version_check::{Reason, rule};

/// The result of whatever can fail in the house.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault it is and what kind of answer it deserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The caller's request is not well-formed.
    Malformed,
    /// No credential, or one that is not known.
    Unauthenticated,
    /// A known credential that may not do this.
    Forbidden,
    /// What was named does not exist.
    NotFound,
    /// What was named was there, and is not given out any more.
    Gone,
    /// It contradicts what is there.
    Conflict,
    /// The body is larger than is allowed.
    TooLarge,
    /// The version check refuses it; see [`Error::reasons`].
    Refused,
    /// The caller's own connection or body failed in the middle.
    Interrupted,
    /// Too much to do; the same request may succeed later.
    Busy,
    /// Something that we depend on (catalogue, bucket) does not answer; may succeed later.
    Unavailable,
    /// A defect, ours or of something that we depend on.
    Internal,
}

/// An error with a public and a private part.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    code: &'static str,
    message: String,
    reasons: Vec<Reason>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A new error. `code` is stable and in `kebab-case`; `message` is a sentence that says what to do.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), reasons: Vec::new(), retry_after: None, source: None }
    }

    /// A defect or an unexpected answer; the caller learns only that it is not their fault.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let message =
            "something failed on our side; the operators' log has the cause under this request's id";
        Self::new(Kind::Internal, "internal", message).caused_by(source)
    }

    /// A refusal by the version check, with all its reasons. If the size is among them, the kind says so.
    pub fn refused(reasons: Vec<Reason>) -> Self {
        let too_large = reasons.iter().any(|reason| reason.code == rule::IMAGE_TOO_LARGE);
        let kind = if too_large { Kind::TooLarge } else { Kind::Refused };
        let message = match reasons.as_slice() {
            [only] => only.message.clone(),
            _ => format!("the version check refuses this for {} reasons; see `reasons`", reasons.len()),
        };
        Self { reasons, ..Self::new(kind, "refused", message) }
    }

    /// Adds the private cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says when the same request may be tried again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The public sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Why the version check refuses; empty for every other kind.
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// When to try again, if that is worth anything.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the very same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::Busy | Kind::Unavailable)
    }

    /// Whether it is our failure and not the caller's.
    pub fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::Internal)
    }

    /// The chain of private causes in one line, for the log.
    pub fn cause(&self) -> String {
        let mut text = String::new();
        let mut next = self.source.as_deref().map(|source| source as &dyn StdError);
        while let Some(error) = next {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
