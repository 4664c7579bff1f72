//! What both databases store alike: the rows, how they become domain types, and the values as they enter.
//!
//! A row that no longer parses (somebody edited the database, or a newer program wrote it) is an `Internal` error
//! with the parser's words as its cause; it is never skipped, as devices would silently lose an offer.

use std::{
    collections::{BTreeSet, HashMap},
    error::Error as StdError,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

use super::{Audit, Description, Reservation, ResumableUpload, UploadKind, UploadProgress};

use crate::{
    domain::{
        Attachment, ChannelName, Digests, Facts, FileName, Hardware, Image, PendingPromotion, Product,
        ProductName, ProductState, Promotion, Recall, RefusedPromotion, Release, Revision, Security, Version,
    },
    error::{Error, Kind, Result},
};

mod audit;
mod copies;
mod downloads;
mod offered;
mod product;
mod purges;
mod removal;

pub(super) use audit::{AuditRow, audit_hash, audit_page, new_entry, settings_audit};
pub(super) use copies::CopyRow;
pub(super) use downloads::DownloadRow;
pub(super) use offered::{OfferedRow, chosen, is_read_whole};
pub use product::shown_settings;
pub(super) use product::{ProductRow, settings, settings_after};
pub(super) use purges::{PendingRow, PurgeRow, WaitingRow, words};
pub(super) use removal::RemovedRow;

pub(super) struct ReleaseRow {
    pub id: Uuid,
    pub product_id: Uuid,
    pub version: String,
    pub notes: Option<String>,
    pub created_at: DateTime<Utc>,
    pub recalled_at: Option<DateTime<Utc>>,
    pub recall_reason: Option<String>,
    pub recall_replacement: Option<String>,
    pub floor: bool,
    pub upgrade_from: Option<String>,
    pub security: Option<serde_json::Value>,
}

pub(super) struct AttachmentRow {
    pub release_id: Uuid,
    pub name: String,
    pub kind: String,
    pub specification: String,
    pub size: i64,
    pub sha256: Vec<u8>,
    pub created_at: DateTime<Utc>,
}

pub(super) struct ImageRow {
    pub id: Uuid,
    pub release_id: Uuid,
    pub filename: String,
    pub hardware: Vec<String>,
    pub size: i64,
    pub sha256: Vec<u8>,
    pub sha1: Vec<u8>,
    pub md5: Vec<u8>,
    pub etag: String,
    pub created_at: DateTime<Utc>,
    pub facts: Option<serde_json::Value>,
    pub signature: Option<String>,
    pub removed_at: Option<DateTime<Utc>>,
}

pub(super) struct PromotionRow {
    pub product_id: Uuid,
    pub channel: String,
    pub image_id: Uuid,
    pub promoted_at: DateTime<Utc>,
    pub withdrawn_at: Option<DateTime<Utc>>,
}

pub(super) struct ReservationRow {
    pub id: Uuid,
    pub product: String,
    pub version: String,
    pub filename: String,
    pub hardware: Vec<String>,
    pub holder: Uuid,
    pub expired: bool,
}

pub(super) struct UploadRow {
    pub reservation: ReservationRow,
    pub kind: String,
    pub created_at: DateTime<Utc>,
    pub declared: serde_json::Value,
    pub stored: serde_json::Value,
    pub size: Option<i64>,
    pub received: i64,
    pub expires_at: DateTime<Utc>,
    pub locked: bool,
}

/// What a release fixes, as it is stored.
pub(super) fn security(security: &Security) -> serde_json::Value {
    serde_json::to_value(security).expect("has only string keys")
}

/// The texts of a description that the audit entry does not repeat.
pub(super) fn texts_of(description: &Description) -> Option<&str> {
    match description {
        Description::Notes(notes) => notes.as_deref(),
        Description::Attach(attachment, _) => Some(&attachment.specification),
        Description::Security(_) | Description::Detach(_) => None,
    }
}

/// A stored text as its type.
fn parsed<T, E: StdError + Send + Sync + 'static>(result: Result<T, E>) -> Result<T> {
    result.map_err(Error::internal)
}

fn hardware(names: &[String]) -> Result<BTreeSet<Hardware>> {
    names.iter().map(|name| parsed(Hardware::parse(name))).collect()
}

fn digest<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N]> {
    let length = bytes.len();
    bytes.try_into().map_err(|_| Error::internal(format!("a stored digest has {length} bytes, not {N}")))
}

/// A stored count; the tables hold it to be positive.
pub(super) fn count(stored: i64) -> Result<u64> {
    parsed(u64::try_from(stored))
}

/// A count as it is stored.
pub(super) fn stored_count(count: u64) -> Result<i64> {
    parsed(i64::try_from(count))
}

/// A revision as it is stored; one that is beyond the column is newer than all there are.
pub(super) fn stored_revision(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// What both databases keep of a time: microseconds. Cut where it enters, so that what is read equals what was
/// written.
pub(super) fn stored_time(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// A lease in microseconds.
pub(super) fn stored_lease(lease: Duration) -> i64 {
    // A century is as good as for ever, and far from the end of both databases' calendars.
    const LONGEST: i64 = 100 * 365 * 24 * 3_600 * 1_000_000;
    i64::try_from(lease.as_micros()).map_or(LONGEST, |micros| micros.min(LONGEST))
}

/// The hardware as it is stored.
pub(super) fn hardware_names(hardware: &BTreeSet<Hardware>) -> Vec<String> {
    hardware.iter().map(ToString::to_string).collect()
}

/// An image's facts as they are stored. A NUL, which Postgres cannot store, has no place in them; if an image smuggles
/// one in, it is shown as what it is not.
pub(super) fn facts(facts: &Facts) -> serde_json::Value {
    fn clean(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
            serde_json::Value::Array(values) => values.iter_mut().for_each(clean),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(clean),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(facts).expect("has only string keys");
    clean(&mut value);
    value
}

/// What a reservation covers, sorted: two that overlap then wait for each other in one order, and never in a circle.
pub(super) fn slots(reservation: &Reservation) -> Vec<String> {
    let mut slots = vec![format!("file:{}", reservation.filename)];
    if reservation.hardware.is_empty() {
        slots.push("hardware:*".to_owned());
    }
    slots.extend(reservation.hardware.iter().map(|hardware| format!("hardware:{hardware}")));
    slots
}

/// Refuses what Postgres cannot store as text (<https://www.postgresql.org/docs/current/datatype-character.html>);
/// SQLite could, but an installation must be able to move from one to the other.
pub(super) fn check_texts<'a>(audit: &Audit, more: impl IntoIterator<Item = &'a str>) -> Result<()> {
    fn has_nul(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => text.contains('\0'),
            serde_json::Value::Array(values) => values.iter().any(has_nul),
            serde_json::Value::Object(fields) => {
                fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value))
            }
            _ => false,
        }
    }
    let nul = audit.actor.name.contains('\0')
        || has_nul(&audit.details)
        || has_nul(&audit.before)
        || audit.verdict.iter().any(|code| code.contains('\0'))
        || more.into_iter().any(|text| text.contains('\0'));
    if !nul {
        return Ok(());
    }
    Err(Error::new(Kind::Malformed, "text-has-nul", "a text holds a NUL character (U+0000); remove it"))
}

impl ReservationRow {
    /// The reservation, and whether its lease has run out.
    pub fn into_reservation(self) -> Result<(Reservation, bool)> {
        let reservation = Reservation {
            id: self.id,
            product: parsed(ProductName::parse(&self.product))?,
            version: parsed(Version::parse(&self.version))?,
            filename: parsed(FileName::parse(&self.filename))?,
            hardware: hardware(&self.hardware)?,
            holder: self.holder,
        };
        Ok((reservation, self.expired))
    }
}

impl UploadRow {
    pub fn into_upload(self) -> Result<ResumableUpload> {
        Ok(ResumableUpload {
            reservation: self.reservation.into_reservation()?.0,
            kind: UploadKind::parse(&self.kind)
                .ok_or_else(|| Error::internal(format!("a stored upload is of kind {:?}", self.kind)))?,
            created_at: self.created_at,
            declared: self.declared,
            progress: UploadProgress {
                size: self.size.map(count).transpose()?,
                received: count(self.received)?,
                stored: self.stored,
            },
            expires_at: self.expires_at,
            locked: self.locked,
        })
    }
}

impl ImageRow {
    fn into_image(self) -> Result<Image> {
        Ok(Image {
            id: self.id,
            filename: parsed(FileName::parse(&self.filename))?,
            hardware: hardware(&self.hardware)?,
            size: count(self.size)?,
            digests: Digests {
                sha256: digest(self.sha256)?,
                sha1: digest(self.sha1)?,
                md5: digest(self.md5)?,
            },
            etag: self.etag,
            created_at: self.created_at,
            facts: parsed(self.facts.map(serde_json::from_value).transpose())?.map(Arc::new),
            signature: self.signature,
            removed_at: self.removed_at,
        })
    }
}

impl AttachmentRow {
    pub fn into_attachment(self) -> Result<Attachment> {
        Ok(Attachment {
            name: parsed(FileName::parse(&self.name))?,
            kind: parsed(serde_json::from_value(self.kind.into()))?,
            specification: self.specification,
            size: count(self.size)?,
            sha256: digest(self.sha256)?,
            created_at: self.created_at,
        })
    }
}

fn version(text: Option<String>) -> Result<Option<Version>> {
    text.map(|text| parsed(Version::parse(&text))).transpose()
}

fn recall(
    at: Option<DateTime<Utc>>,
    reason: Option<String>,
    replacement: Option<String>,
) -> Result<Option<Recall>> {
    let replacement = version(replacement)?;
    Ok(at.zip(reason).map(|(at, reason)| Recall { at, reason, replacement }))
}

/// Products with all that belongs to them; every list keeps the order of its rows.
pub(super) fn assemble(
    products: Vec<Product>,
    releases: Vec<ReleaseRow>,
    images: Vec<ImageRow>,
    promotions: Vec<PromotionRow>,
    attachments: Vec<AttachmentRow>,
    pending: Vec<PendingRow>,
) -> Result<Vec<ProductState>> {
    let mut images_of: HashMap<Uuid, Vec<Image>> = HashMap::new();
    for row in images {
        images_of.entry(row.release_id).or_default().push(row.into_image()?);
    }
    let mut attachments_of: HashMap<Uuid, Vec<Attachment>> = HashMap::new();
    for row in attachments {
        attachments_of.entry(row.release_id).or_default().push(row.into_attachment()?);
    }
    let mut releases_of: HashMap<Uuid, Vec<Release>> = HashMap::new();
    for row in releases {
        releases_of.entry(row.product_id).or_default().push(Release {
            id: row.id,
            version: parsed(Version::parse(&row.version))?,
            notes: row.notes,
            created_at: row.created_at,
            recall: recall(row.recalled_at, row.recall_reason, row.recall_replacement)?,
            floor: row.floor,
            upgrade_from: version(row.upgrade_from)?,
            images: images_of.remove(&row.id).unwrap_or_default(),
            security: row.security.map(serde_json::from_value).transpose().map_err(Error::internal)?,
            attachments: attachments_of.remove(&row.id).unwrap_or_default(),
        });
    }
    let mut promotions_of: HashMap<Uuid, Vec<Promotion>> = HashMap::new();
    let mut withdrawn_of: HashMap<Uuid, Vec<Promotion>> = HashMap::new();
    for row in promotions {
        let of = if row.withdrawn_at.is_some() { &mut withdrawn_of } else { &mut promotions_of };
        of.entry(row.product_id).or_default().push(Promotion {
            channel: parsed(ChannelName::parse(&row.channel))?,
            image: row.image_id,
            at: row.promoted_at,
        });
    }
    let mut pending_of: HashMap<Uuid, Vec<PendingPromotion>> = HashMap::new();
    let mut refused_of: HashMap<Uuid, Vec<RefusedPromotion>> = HashMap::new();
    for row in pending {
        match row.refused_at {
            Some(at) => refused_of.entry(row.product_id).or_default().push(row.into_refused(at)?),
            None => pending_of.entry(row.product_id).or_default().push(row.into_pending()?),
        }
    }
    let states = products.into_iter().map(|product| ProductState {
        releases: releases_of.remove(&product.id).unwrap_or_default(),
        promotions: promotions_of.remove(&product.id).unwrap_or_default(),
        withdrawn: withdrawn_of.remove(&product.id).unwrap_or_default(),
        pending: pending_of.remove(&product.id).unwrap_or_default(),
        refused: refused_of.remove(&product.id).unwrap_or_default(),
        product,
    });
    Ok(states.collect())
}
