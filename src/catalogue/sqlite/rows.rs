//! How values are stored in SQLite, which has no types for them; `migrations/sqlite` states the formats.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, Result, Row, sqlite::SqliteRow};
use uuid::{Uuid, fmt::Hyphenated};

use super::super::stored::{
    AttachmentRow, AuditRow, ImageRow, ProductRow, PromotionRow, ReleaseRow, ReservationRow, UploadRow,
};

/// A list for `json_each`, or for a column.
pub(super) fn json<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    serde_json::to_string(&texts).expect("a list of texts is JSON")
}

pub(super) fn id(row: &SqliteRow, column: &str) -> Result<Uuid> {
    Ok(row.try_get::<Hyphenated, _>(column)?.into_uuid())
}

pub(super) fn decoded<T, E>(column: &str, result: std::result::Result<T, E>) -> Result<T>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    result.map_err(|error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() })
}

pub(super) fn list(row: &SqliteRow, column: &str) -> Result<Vec<String>> {
    decoded(column, serde_json::from_str(row.try_get(column)?))
}

fn value(row: &SqliteRow, column: &str) -> Result<serde_json::Value> {
    decoded(column, serde_json::from_str(row.try_get(column)?))
}

pub(super) fn time(row: &SqliteRow, column: &str) -> Result<DateTime<Utc>> {
    decoded(column, DateTime::from_timestamp_micros(row.try_get(column)?).ok_or("the time is out of range"))
}

pub(super) fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<DateTime<Utc>>> {
    match row.try_get::<Option<i64>, _>(column)? {
        Some(_) => Ok(Some(time(row, column)?)),
        None => Ok(None),
    }
}

impl FromRow<'_, SqliteRow> for ProductRow {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            id: id(row, "id")?,
            name: row.try_get("name")?,
            settings: value(row, "settings")?,
            created_at: time(row, "created_at")?,
            revision: row.try_get("revision")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for ReleaseRow {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            id: id(row, "id")?,
            product_id: id(row, "product_id")?,
            version: row.try_get("version")?,
            notes: row.try_get("notes")?,
            created_at: time(row, "created_at")?,
            recalled_at: optional_time(row, "recalled_at")?,
            recall_reason: row.try_get("recall_reason")?,
            recall_replacement: row.try_get("recall_replacement")?,
            floor: row.try_get("floor")?,
            upgrade_from: row.try_get("upgrade_from")?,
            security: match row.try_get::<Option<&str>, _>("security")? {
                Some(text) => decoded("security", serde_json::from_str(text))?,
                None => None,
            },
        })
    }
}

impl FromRow<'_, SqliteRow> for AttachmentRow {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            release_id: id(row, "release_id")?,
            name: row.try_get("name")?,
            kind: row.try_get("kind")?,
            specification: row.try_get("specification")?,
            size: row.try_get("size")?,
            sha256: row.try_get("sha256")?,
            created_at: time(row, "created_at")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for ImageRow {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            id: id(row, "id")?,
            release_id: id(row, "release_id")?,
            filename: row.try_get("filename")?,
            hardware: list(row, "hardware")?,
            size: row.try_get("size")?,
            sha256: row.try_get("sha256")?,
            sha1: row.try_get("sha1")?,
            md5: row.try_get("md5")?,
            etag: row.try_get("etag")?,
            created_at: time(row, "created_at")?,
            facts: match row.try_get::<Option<&str>, _>("facts")? {
                Some(text) => Some(decoded("facts", serde_json::from_str(text))?),
                None => None,
            },
            signature: row.try_get("signature")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for PromotionRow {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            product_id: id(row, "product_id")?,
            channel: row.try_get("channel")?,
            image_id: id(row, "image_id")?,
            promoted_at: time(row, "promoted_at")?,
            withdrawn_at: optional_time(row, "withdrawn_at")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for ReservationRow {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            id: id(row, "id")?,
            product: row.try_get("product")?,
            version: row.try_get("version")?,
            filename: row.try_get("filename")?,
            hardware: list(row, "hardware")?,
            holder: id(row, "holder")?,
            expired: row.try_get("expired")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for UploadRow {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            reservation: ReservationRow::from_row(row)?,
            kind: row.try_get("kind")?,
            created_at: time(row, "created_at")?,
            declared: value(row, "declared")?,
            stored: value(row, "stored")?,
            size: row.try_get("size")?,
            received: row.try_get("received")?,
            expires_at: time(row, "expires_at")?,
            locked: row.try_get("locked")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for AuditRow {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            at: time(row, "at")?,
            product: row.try_get("product")?,
            revision: row.try_get("revision")?,
            actor: row.try_get("actor")?,
            action: row.try_get("action")?,
            version: row.try_get("version")?,
            channel: row.try_get("channel")?,
            details: value(row, "details")?,
            remote: row.try_get("remote")?,
            before: value(row, "before")?,
            after: value(row, "after")?,
            verdict: value(row, "verdict")?,
            previous: row.try_get("previous")?,
            hash: row.try_get("hash")?,
        })
    }
}
