//! Uploads that may be resumed, as the catalogue keeps them.
//!
//! An upload is a reservation with a memory: it has the reservation's id, and the reservation is held by the upload
//! itself ([`Reservation::holder`] equals [`Reservation::id`]) and not by a replica, so that no replica's end ends it.
//! The reservation's lease is the upload's expiry; once it has run out, the orphan reconciler claims it like any other.
//! Whoever writes holds the upload's lock, a lease of seconds, as one of any number of replicas.
//!
//! What was declared and where the bytes are is for `publishing` and `bucket` to read; to the catalogue it is JSON.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::Reservation;

/// How the bytes of an upload come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadKind {
    /// Through us, by tus.
    Tus,
    /// Straight to the bucket, in parts whose URLs were signed.
    Direct,
}

impl UploadKind {
    /// Its name as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tus => "tus",
            Self::Direct => "direct",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Tus, Self::Direct].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// How far an upload has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadProgress {
    /// The image's size, once it is known.
    pub size: Option<u64>,
    /// How many of its bytes are kept.
    pub received: u64,
    /// Where they are; the bucket's own words.
    pub stored: Value,
}

/// An upload that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumableUpload {
    /// What it will become; its id is the upload's, and its holder is the upload itself.
    pub reservation: Reservation,
    /// How its bytes come.
    pub kind: UploadKind,
    /// When it was begun, to the microsecond.
    pub created_at: DateTime<Utc>,
    /// What was declared of the image.
    pub declared: Value,
    /// How far it has come.
    pub progress: UploadProgress,
    /// When it ends if nobody goes on with it.
    pub expires_at: DateTime<Utc>,
    /// Whether somebody is writing.
    pub locked: bool,
}

/// The answer to [`super::Catalogue::lock_upload`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadLock {
    /// The caller may write.
    Granted(Box<ResumableUpload>),
    /// Somebody else is writing.
    Held,
    /// There is no such upload: it was published, ended, has expired, or never was.
    Gone,
}

/// The reservation of an upload: it is its own holder.
pub fn is_of_upload(reservation: &Reservation) -> bool {
    reservation.holder == reservation.id
}

/// The locks' holders are told apart by an id of their own, as one replica may try twice.
pub type Locker = Uuid;
