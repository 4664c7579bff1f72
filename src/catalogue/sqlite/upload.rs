//! Uploads that may be resumed. The one writer makes looking and changing a single step.

use std::time::Duration;

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    super::{
        Locker, ResumableUpload, UploadLock, UploadProgress,
        stored::{self, UploadRow},
    },
    reservation::{now_micros, until},
};
use crate::{
    domain::ProductName,
    error::{Error, Result},
};

/// Remembers an upload, in the transaction that has taken its reservation. Once more after a lost answer is fine.
pub(super) async fn insert(connection: &mut SqliteConnection, upload: &ResumableUpload) -> Result<()> {
    sqlx::query(
        "insert into uploads (id, kind, created_at, declared, stored, size, received)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7) on conflict (id) do nothing",
    )
    .bind(upload.reservation.id.hyphenated())
    .bind(upload.kind.as_str())
    .bind(stored::stored_time(upload.created_at).timestamp_micros())
    .bind(upload.declared.to_string())
    .bind(upload.progress.stored.to_string())
    .bind(upload.progress.size.map(stored::stored_count).transpose()?)
    .bind(stored::stored_count(upload.progress.received)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn select(connection: &mut SqliteConnection, id: Option<Uuid>) -> Result<Vec<ResumableUpload>> {
    let rows: Vec<UploadRow> = sqlx::query_as(
        "select reservations.id, products.name as product, reservations.version, reservations.filename,
                reservations.hardware, reservations.holder, reservations.expires_at, false as expired,
                uploads.kind, uploads.created_at, uploads.declared, uploads.stored, uploads.size, uploads.received,
                coalesce(uploads.locked_until > ?2, false) as locked
         from uploads
         join reservations on reservations.id = uploads.id
         join products on products.id = reservations.product_id
         where reservations.holder = reservations.id
               and (?1 is null or (uploads.id = ?1 and reservations.expires_at > ?2))
         order by uploads.id",
    )
    .bind(id.map(Uuid::hyphenated))
    .bind(now_micros())
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(UploadRow::into_upload).collect()
}

pub(super) async fn find(connection: &mut SqliteConnection, id: Uuid) -> Result<Option<ResumableUpload>> {
    Ok(select(connection, Some(id)).await?.pop())
}

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<ResumableUpload>> {
    select(connection, None).await
}

pub(super) async fn lock(
    connection: &mut SqliteConnection,
    id: Uuid,
    locker: Locker,
    lease: Duration,
    lifetime: Duration,
) -> Result<UploadLock> {
    match find(connection, id).await? {
        None => return Ok(UploadLock::Gone),
        Some(upload) if upload.locked => return Ok(UploadLock::Held),
        Some(_) => {}
    }
    sqlx::query("update uploads set locked_by = ?2, locked_until = ?3 where id = ?1")
        .bind(id.hyphenated())
        .bind(locker.hyphenated())
        .bind(until(lease))
        .execute(&mut *connection)
        .await?;
    extend(connection, id, lifetime).await?;
    let upload = find(connection, id).await?;
    let upload = upload.ok_or_else(|| Error::internal("an upload vanished while it was being locked"))?;
    Ok(UploadLock::Granted(Box::new(upload)))
}

/// Puts the end of an upload off.
async fn extend(connection: &mut SqliteConnection, id: Uuid, lifetime: Duration) -> Result<()> {
    sqlx::query("update reservations set expires_at = max(expires_at, ?2) where id = ?1 and holder = ?1")
        .bind(id.hyphenated())
        .bind(until(lifetime))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn keep(
    connection: &mut SqliteConnection,
    id: Uuid,
    locker: Locker,
    progress: Option<&UploadProgress>,
    lease: Duration,
    lifetime: Duration,
) -> Result<bool> {
    if find(connection, id).await?.is_none() {
        return Ok(false);
    }
    let kept = sqlx::query(
        "update uploads
         set locked_until = ?3, size = coalesce(?4, size), received = coalesce(?5, received),
             stored = coalesce(?6, stored)
         where id = ?1 and locked_by = ?2",
    )
    .bind(id.hyphenated())
    .bind(locker.hyphenated())
    .bind(until(lease))
    .bind(progress.and_then(|progress| progress.size).map(stored::stored_count).transpose()?)
    .bind(progress.map(|progress| stored::stored_count(progress.received)).transpose()?)
    .bind(progress.map(|progress| progress.stored.to_string()))
    .execute(&mut *connection)
    .await?;
    if kept.rows_affected() == 0 {
        return Ok(false);
    }
    extend(connection, id, lifetime).await?;
    Ok(true)
}

pub(super) async fn declare(
    connection: &mut SqliteConnection,
    id: Uuid,
    declared: &serde_json::Value,
) -> Result<bool> {
    let changed = sqlx::query("update uploads set declared = ?2 where id = ?1")
        .bind(id.hyphenated())
        .bind(declared.to_string())
        .execute(connection)
        .await?;
    Ok(changed.rows_affected() > 0)
}

pub(super) async fn unlock(connection: &mut SqliteConnection, id: Uuid, locker: Locker) -> Result<()> {
    sqlx::query("update uploads set locked_by = null, locked_until = null where id = ?1 and locked_by = ?2")
        .bind(id.hyphenated())
        .bind(locker.hyphenated())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn take(
    connection: &mut SqliteConnection,
    id: Uuid,
    locker: Locker,
    holder: Uuid,
    lease: Duration,
) -> Result<bool> {
    let taken = sqlx::query(
        "update reservations set holder = ?3, expires_at = ?4
         where id = ?1 and holder = ?1
               and exists (select 1 from uploads where id = ?1 and locked_by = ?2)",
    )
    .bind(id.hyphenated())
    .bind(locker.hyphenated())
    .bind(holder.hyphenated())
    .bind(until(lease))
    .execute(connection)
    .await?;
    Ok(taken.rows_affected() > 0)
}

pub(super) async fn product_of_image(
    connection: &mut SqliteConnection,
    image: Uuid,
) -> Result<Option<ProductName>> {
    let name: Option<String> = sqlx::query_scalar(
        "select products.name from images join products on products.id = images.product_id where images.id = ?1",
    )
    .bind(image.hyphenated())
    .fetch_optional(connection)
    .await?;
    name.map(|name| ProductName::parse(&name).map_err(Error::internal)).transpose()
}
