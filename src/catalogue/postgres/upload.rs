//! Uploads that may be resumed. The server's clock decides locks and expiry; each change names the lock's holder.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::super::{
    Locker, ResumableUpload, UploadLock, UploadProgress,
    stored::{self, ReservationRow, UploadRow},
};
use crate::{
    domain::ProductName,
    error::{Error, Result},
};

/// Remembers an upload, in the transaction that has taken its reservation.
pub(super) async fn insert(connection: &mut PgConnection, upload: &ResumableUpload) -> Result<()> {
    sqlx::query!(
        "insert into uploads (id, kind, created_at, declared, stored, size, received)
         values ($1, $2, $3, $4, $5, $6, $7)",
        upload.reservation.id,
        upload.kind.as_str(),
        stored::stored_time(upload.created_at),
        upload.declared,
        upload.progress.stored,
        upload.progress.size.map(stored::stored_count).transpose()?,
        stored::stored_count(upload.progress.received)?
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The uploads that are under way: that one, or all of them with those that have expired.
async fn select(connection: &mut PgConnection, id: Option<Uuid>) -> Result<Vec<ResumableUpload>> {
    let rows = sqlx::query!(
        r#"select reservations.id, products.name as product, reservations.version, reservations.filename,
                  reservations.hardware, reservations.holder, reservations.expires_at,
                  uploads.kind, uploads.created_at, uploads.declared, uploads.stored, uploads.size, uploads.received,
                  coalesce(uploads.locked_until > clock_timestamp(), false) as "locked!"
           from uploads
           join reservations on reservations.id = uploads.id
           join products on products.id = reservations.product_id
           where reservations.holder = reservations.id
                 and ($1::uuid is null or (uploads.id = $1 and reservations.expires_at > clock_timestamp()))
           order by uploads.id"#,
        id
    )
    .fetch_all(connection)
    .await?;
    let uploads = rows.into_iter().map(|row| {
        let reservation = ReservationRow {
            id: row.id,
            product: row.product,
            version: row.version,
            filename: row.filename,
            hardware: row.hardware,
            holder: row.holder,
            expired: false,
        };
        UploadRow {
            reservation,
            kind: row.kind,
            created_at: row.created_at,
            declared: row.declared,
            stored: row.stored,
            size: row.size,
            received: row.received,
            expires_at: row.expires_at,
            locked: row.locked,
        }
        .into_upload()
    });
    uploads.collect()
}

pub(super) async fn find(connection: &mut PgConnection, id: Uuid) -> Result<Option<ResumableUpload>> {
    Ok(select(connection, Some(id)).await?.pop())
}

pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<ResumableUpload>> {
    select(connection, None).await
}

pub(super) async fn lock(
    connection: &mut PgConnection,
    id: Uuid,
    locker: Locker,
    lease: Duration,
    lifetime: Duration,
) -> Result<UploadLock> {
    let mut transaction = connection.begin().await?;
    // The reservation first, as everybody else takes it first: publish and claim end or change it.
    if !extend(&mut transaction, id, lifetime).await? {
        transaction.rollback().await?;
        return Ok(UploadLock::Gone);
    }
    let locked = sqlx::query!(
        "update uploads
         set locked_by = $2, locked_until = clock_timestamp() + $3::bigint * interval '1 microsecond'
         where id = $1 and (locked_until is null or locked_until <= clock_timestamp())",
        id,
        locker,
        stored::stored_lease(lease)
    )
    .execute(&mut *transaction)
    .await?;
    if locked.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(UploadLock::Held);
    }
    let upload = find(&mut transaction, id).await?;
    let upload = upload.ok_or_else(|| Error::internal("an upload vanished while it was being locked"))?;
    transaction.commit().await?;
    Ok(UploadLock::Granted(Box::new(upload)))
}

/// Puts the end of a live upload off; `false` = there is none.
async fn extend(connection: &mut PgConnection, id: Uuid, lifetime: Duration) -> Result<bool> {
    let extended = sqlx::query!(
        "update reservations
         set expires_at = greatest(expires_at, clock_timestamp() + $2::bigint * interval '1 microsecond')
         where id = $1 and holder = $1 and expires_at > clock_timestamp()",
        id,
        stored::stored_lease(lifetime)
    )
    .execute(connection)
    .await?;
    Ok(extended.rows_affected() > 0)
}

pub(super) async fn keep(
    connection: &mut PgConnection,
    id: Uuid,
    locker: Locker,
    progress: Option<&UploadProgress>,
    lease: Duration,
    lifetime: Duration,
) -> Result<bool> {
    let mut transaction = connection.begin().await?;
    let extended = extend(&mut transaction, id, lifetime).await?;
    let kept = sqlx::query!(
        "update uploads
         set locked_until = clock_timestamp() + $3::bigint * interval '1 microsecond',
             size = coalesce($4, size), received = coalesce($5, received), stored = coalesce($6, stored)
         where id = $1 and locked_by = $2",
        id,
        locker,
        stored::stored_lease(lease),
        progress.and_then(|progress| progress.size).map(stored::stored_count).transpose()?,
        progress.map(|progress| stored::stored_count(progress.received)).transpose()?,
        progress.map(|progress| &progress.stored)
    )
    .execute(&mut *transaction)
    .await?;
    if !extended || kept.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}

pub(super) async fn declare(
    connection: &mut PgConnection,
    id: Uuid,
    declared: &serde_json::Value,
) -> Result<bool> {
    let changed = sqlx::query!("update uploads set declared = $2 where id = $1", id, declared)
        .execute(connection)
        .await?;
    Ok(changed.rows_affected() > 0)
}

pub(super) async fn unlock(connection: &mut PgConnection, id: Uuid, locker: Locker) -> Result<()> {
    sqlx::query!(
        "update uploads set locked_by = null, locked_until = null where id = $1 and locked_by = $2",
        id,
        locker
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn take(
    connection: &mut PgConnection,
    id: Uuid,
    locker: Locker,
    holder: Uuid,
    lease: Duration,
) -> Result<bool> {
    let taken = sqlx::query!(
        "update reservations
         set holder = $3, expires_at = clock_timestamp() + $4::bigint * interval '1 microsecond'
         from uploads
         where reservations.id = $1 and reservations.holder = $1 and uploads.id = $1 and uploads.locked_by = $2",
        id,
        locker,
        holder,
        stored::stored_lease(lease)
    )
    .execute(connection)
    .await?;
    Ok(taken.rows_affected() > 0)
}

pub(super) async fn product_of_image(
    connection: &mut PgConnection,
    image: Uuid,
) -> Result<Option<ProductName>> {
    let name = sqlx::query_scalar!(
        "select products.name from images join products on products.id = images.product_id where images.id = $1",
        image
    )
    .fetch_optional(connection)
    .await?;
    name.map(|name| ProductName::parse(&name).map_err(Error::internal)).transpose()
}
