//! How a publish fails, in the words that its caller gets.

use std::time::Duration;

use super::LEASE;
use crate::{
    bucket::ObjectKey,
    error::{Error, Kind},
    version_check::Refusal,
};

/// The code of an error after which nobody knows whether the commit happened.
pub(super) const COMMIT_UNKNOWN: &str = "catalogue-lost-at-commit";

pub(super) fn commit_unknown(cause: Error) -> Error {
    Error::new(
        Kind::Unavailable,
        COMMIT_UNKNOWN,
        "the catalogue went away while the image was being committed: send the same request again to learn whether it \
         is there",
    )
    .retry_after(LEASE)
    .caused_by(cause)
}

/// The code of an error after which the key is, or may be, somebody else's.
pub(super) const LOST: &str = "reservation-lost";

pub(super) fn lost() -> Error {
    Error::new(
        Kind::Busy,
        LOST,
        "this upload lost its place, because it stood still or the catalogue did not answer for too long: send it again",
    )
    .retry_after(Duration::from_secs(1))
}

pub(super) fn stopping() -> Error {
    Error::new(Kind::Busy, "stopping", "this server is stopping and gave the upload up: send it again")
        .retry_after(Duration::from_secs(2))
}

pub(super) fn too_many_uploads() -> Error {
    Error::new(Kind::Busy, "too-many-uploads", "too many uploads are under way: try again in a moment")
        .retry_after(Duration::from_secs(5))
}

/// The body did not arrive as a whole.
pub fn body_interrupted() -> Error {
    Error::new(
        Kind::Interrupted,
        "body-interrupted",
        "the image did not arrive as a whole and nothing of it was kept: send it again",
    )
}

pub(super) fn refusal(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Conflict(message) => Error::new(Kind::Conflict, "conflict", message),
        Refusal::Rules(reasons) => Error::refused(reasons),
    }
}

/// The bucket holds something under the key that the catalogue does not know.
pub(super) fn key_is_taken(key: &ObjectKey) -> Error {
    Error::new(
        Kind::Conflict,
        "key-taken",
        format!(
            "the bucket holds other bytes at {key}, which the catalogue does not know of: publish under a higher version; \
             if the catalogue was restored from an older backup, that object may be an image that was published \
             after it, so do not remove it unread"
        ),
    )
}

/// The bucket does not say a word.
pub(super) fn bucket_is_silent() -> Error {
    Error::new(Kind::Unavailable, "bucket-unavailable", "the bucket does not answer in time: try again")
        .retry_after(Duration::from_secs(5))
        .caused_by("no answer to HEAD within the limit")
}
