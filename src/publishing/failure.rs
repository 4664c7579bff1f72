//! How a publish fails, in the words that its caller gets.

use std::time::Duration;

use super::LEASE;
use crate::{
    bucket::ObjectKey,
    catalogue::Reservation,
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

/// Another request publishes to the same place at this moment.
pub(super) fn in_progress(by: &Reservation) -> Error {
    let message = format!("another upload of {} {} is still under way: try again", by.product, by.version);
    Error::new(Kind::Busy, "upload-in-progress", message).retry_after(LEASE)
}

/// A resumable upload of something else holds the place, perhaps for hours.
pub(super) fn unfinished(by: &Reservation) -> Error {
    let Reservation { id, product, version, filename, .. } = by;
    Error::new(
        Kind::Conflict,
        "upload-unfinished",
        format!(
            "an upload of {product} {version} {filename} with other bytes or without their digest was begun and not \
             finished: go on with it at /v1/uploads/{id}, or end it with DELETE /v1/uploads/{id}, then try again"
        ),
    )
}

pub(super) fn unknown_upload() -> Error {
    Error::new(
        Kind::NotFound,
        "unknown-upload",
        "there is no such upload: it was ended, was refused, or nobody went on with it in time; begin it anew",
    )
}

/// The code of an error after which the same request may be tried soon, by HTTP's 423.
pub const UPLOAD_LOCKED: &str = "upload-locked";

pub(super) fn upload_locked() -> Error {
    Error::new(
        Kind::Busy,
        UPLOAD_LOCKED,
        "another request is writing to this upload, or was until a moment ago: ask where to go on in some seconds",
    )
    .retry_after(Duration::from_secs(3))
}

pub(super) fn upload_published() -> Error {
    let message =
        "this upload has become an image, which stays: recall its release if it must not be offered";
    Error::new(Kind::Conflict, "upload-published", message)
}

pub(super) fn not_by_tus() -> Error {
    let message = "the parts of this upload go straight to the bucket: ask for their URLs again, or end it";
    Error::new(Kind::Conflict, "upload-kind", message)
}

pub(super) fn not_direct() -> Error {
    let message = "this upload comes in pieces through the server: send what is missing with PATCH";
    Error::new(Kind::Conflict, "upload-kind", message)
}

pub(super) fn parts_missing(parts: u64, bytes: u64, size: u64) -> Error {
    let message = format!(
        "the bucket has {bytes} of {size} bytes in an unbroken row of parts, of which there must be {parts}: send the \
         missing ones, then complete it again"
    );
    Error::new(Kind::Conflict, "parts-missing", message)
}

pub(super) fn offset_mismatch(given: u64, expected: u64) -> Error {
    let message = format!("Upload-Offset is {given}, but {expected} bytes are there: go on from {expected}");
    Error::new(Kind::Conflict, "offset-mismatch", message)
}

pub(super) fn size_is_known(size: u64) -> Error {
    let message =
        format!("Upload-Length contradicts what is known: it was {size}, or that many bytes are there");
    Error::new(Kind::Malformed, "length-mismatch", message)
}

pub(super) fn piece_too_long(most: u64) -> Error {
    let message = format!("the upload would get more than {most} bytes, which is all that it may have");
    Error::new(Kind::TooLarge, "piece-too-long", message)
}

/// The code of an error that tus has a status of its own for.
pub const CHECKSUM_MISMATCH: &str = "checksum-mismatch";

pub(super) fn checksum_mismatch() -> Error {
    let message = "the bytes are not those that Upload-Checksum is of, and were not kept: send them again";
    Error::new(Kind::Malformed, CHECKSUM_MISMATCH, message)
}

/// Without all of a piece, nobody can tell whether it was damaged.
pub(super) fn unsummed() -> Error {
    let message = "the piece did not arrive as a whole, so its checksum says nothing, and it was not kept: send it again";
    Error::new(Kind::Interrupted, "piece-interrupted", message)
}
