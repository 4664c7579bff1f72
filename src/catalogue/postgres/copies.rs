//! What the backup has. The server's clock decides ages and stamps.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    super::{
        BackupLag, BackupReport, Copies, CopyMade, ImageCopy,
        stored::{self, CopyRow},
    },
    ANSWER_WITHIN, PostgresCatalogue, call,
};
use crate::error::Result;

#[async_trait]
impl Copies for PostgresCatalogue {
    async fn set_backup(&self, place: &str) -> Result<bool> {
        call!(self, set_backup, place)
    }

    async fn uncopied(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<ImageCopy>> {
        call!(self, uncopied, after, limit)
    }

    async fn copied(&self, made: &[CopyMade]) -> Result<()> {
        call!(self, copied, made)
    }

    async fn not_copied(&self, image: Uuid, error: &str) -> Result<()> {
        call!(self, not_copied, image, error)
    }

    async fn copies_to_read(&self, since: Option<DateTime<Utc>>, limit: u32) -> Result<Vec<ImageCopy>> {
        call!(self, to_read, since, limit)
    }

    async fn inspected(
        &self,
        image: Uuid,
        primary_damage: Option<&str>,
        backup_damage: Option<&str>,
    ) -> Result<bool> {
        call!(self, inspected, image, primary_damage, backup_damage)
    }

    async fn damaged(&self, limit: u32) -> Result<Vec<ImageCopy>> {
        call!(self, damaged, limit)
    }

    async fn copies(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<ImageCopy>> {
        call!(self, all, after, limit)
    }

    async fn copies_past_hold(&self, hold: Duration, limit: u32) -> Result<Vec<ImageCopy>> {
        call!(self, past_hold, hold, limit)
    }

    async fn copy_dropped(&self, image: Uuid) -> Result<()> {
        call!(self, dropped, image)
    }

    async fn backup_lag(&self) -> Result<BackupLag> {
        call!(self, lag)
    }

    async fn backup_report(&self, read_since: DateTime<Utc>) -> Result<BackupReport> {
        call!(self, report, read_since)
    }

    async fn backup_ended(&self, error: Option<&str>) -> Result<()> {
        call!(self, ended, error)
    }

    async fn set_primary_gone(&self, why: Option<&str>) -> Result<()> {
        call!(self, set_primary_gone, why)
    }

    async fn begin_deep_verification(&self, anew: bool) -> Result<DateTime<Utc>> {
        call!(self, begin_deep, anew)
    }

    async fn end_deep_verification(&self) -> Result<()> {
        call!(self, end_deep)
    }
}

/// The columns of a [`CopyRow`], and which rows: the rest of the statement.
macro_rules! copies {
    ($connection:ident, $rest:tt $(, $argument:expr)*) => {{
        let rows = sqlx::query_as!(
            CopyRow,
            "select images.id, products.name as product, releases.version, images.filename, images.hardware,
                    images.size, images.sha256, images.sha1, images.md5, images.etag, images.created_at,
                    copies.copied_at, copies.verified_at, copies.primary_damage, copies.backup_damage
             from copies
             join images on images.id = copies.image_id
             join releases on releases.id = images.release_id
             join products on products.id = images.product_id " + $rest
            $(, $argument)*
        )
        .fetch_all($connection)
        .await?;
        rows.into_iter().map(CopyRow::into_copy).collect()
    }};
}

async fn set_backup(connection: &mut PgConnection, place: &str) -> Result<bool> {
    let mut transaction = connection.begin().await?;
    let before =
        sqlx::query_scalar!("select place from backup_state for update").fetch_one(&mut *transaction).await?;
    if before.as_deref() == Some(place) {
        return Ok(false);
    }
    sqlx::query!("update backup_state set place = $1, succeeded_at = null, failed_at = null, error = null, deep_since = null", place)
        .execute(&mut *transaction)
        .await?;
    if before.is_some() {
        sqlx::query!(
            "update copies set copied_at = null, verified_at = null, backup_damage = null, error = null,
                               tried_at = null, dropped_at = null"
        )
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(before.is_some())
}

async fn uncopied(connection: &mut PgConnection, after: Option<Uuid>, limit: u32) -> Result<Vec<ImageCopy>> {
    copies!(
        connection,
        "where copies.copied_at is null and copies.removed_at is null
               and ($1::uuid is null or copies.image_id > $1)
         order by copies.image_id limit $2",
        after,
        i64::from(limit)
    )
}

async fn copied(connection: &mut PgConnection, made: &[CopyMade]) -> Result<()> {
    let images: Vec<Uuid> = made.iter().map(|made| made.image).collect();
    let verified: Vec<bool> = made.iter().map(|made| made.verified).collect();
    sqlx::query!(
        "update copies
         set copied_at = clock_timestamp(), verified_at = case when made.verified then clock_timestamp() end,
             primary_damage = null, backup_damage = null, error = null, tried_at = clock_timestamp()
         from unnest($1::uuid[], $2::boolean[]) as made (image_id, verified)
         where copies.image_id = made.image_id",
        &images,
        &verified
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn not_copied(connection: &mut PgConnection, image: Uuid, error: &str) -> Result<()> {
    sqlx::query!(
        "update copies set error = $2, tried_at = clock_timestamp() where image_id = $1 and copied_at is null",
        image,
        error
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn to_read(
    connection: &mut PgConnection,
    since: Option<DateTime<Utc>>,
    limit: u32,
) -> Result<Vec<ImageCopy>> {
    copies!(
        connection,
        "where copies.copied_at is not null and copies.removed_at is null
               and (copies.verified_at is null or copies.verified_at < $1)
         order by copies.verified_at nulls first, copies.image_id limit $2",
        since,
        i64::from(limit)
    )
}

async fn inspected(
    connection: &mut PgConnection,
    image: Uuid,
    primary_damage: Option<&str>,
    backup_damage: Option<&str>,
) -> Result<bool> {
    let written = sqlx::query!(
        "update copies
         set primary_damage = $2, backup_damage = $3,
             verified_at = case when $2::text is null and $3::text is null then clock_timestamp()
                                else verified_at end
         where image_id = $1 and removed_at is null",
        image,
        primary_damage,
        backup_damage
    )
    .execute(connection)
    .await?;
    Ok(written.rows_affected() > 0)
}

async fn damaged(connection: &mut PgConnection, limit: u32) -> Result<Vec<ImageCopy>> {
    copies!(
        connection,
        "where (copies.primary_damage is not null or copies.backup_damage is not null)
               and copies.removed_at is null
         order by copies.image_id limit $1",
        i64::from(limit)
    )
}

async fn all(connection: &mut PgConnection, after: Option<Uuid>, limit: u32) -> Result<Vec<ImageCopy>> {
    copies!(
        connection,
        "where ($1::uuid is null or copies.image_id > $1) and copies.removed_at is null
         order by copies.image_id limit $2",
        after,
        i64::from(limit)
    )
}

async fn past_hold(connection: &mut PgConnection, hold: Duration, limit: u32) -> Result<Vec<ImageCopy>> {
    copies!(
        connection,
        "where copies.removed_at < clock_timestamp() - $1::bigint * interval '1 microsecond'
               and copies.dropped_at is null
         order by copies.removed_at limit $2",
        stored::stored_lease(hold),
        i64::from(limit)
    )
}

async fn dropped(connection: &mut PgConnection, image: Uuid) -> Result<()> {
    sqlx::query!(
        "update copies set dropped_at = clock_timestamp() where image_id = $1 and removed_at is not null",
        image
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn lag(connection: &mut PgConnection) -> Result<BackupLag> {
    let row = sqlx::query!(
        r#"select count(*) as "objects!", coalesce(sum(images.size), 0)::bigint as "bytes!",
                  coalesce(extract(epoch from clock_timestamp() - min(images.created_at)), 0)::float8 as "age!",
                  (select count(*) from copies where primary_damage is not null and removed_at is null)
                      as "damaged_primary!",
                  (select count(*) from copies where backup_damage is not null and removed_at is null)
                      as "damaged_backup!",
                  (select primary_gone from backup_state) as primary_gone
           from copies join images on images.id = copies.image_id
           where copies.copied_at is null and copies.removed_at is null"#
    )
    .fetch_one(connection)
    .await?;
    Ok(BackupLag {
        objects: stored::count(row.objects)?,
        bytes: stored::count(row.bytes)?,
        age: Duration::try_from_secs_f64(row.age).unwrap_or_default(),
        damaged_primary: stored::count(row.damaged_primary)?,
        damaged_backup: stored::count(row.damaged_backup)?,
        primary_gone: row.primary_gone,
    })
}

async fn report(connection: &mut PgConnection, read_since: DateTime<Utc>) -> Result<BackupReport> {
    let lag = lag(&mut *connection).await?;
    let state = sqlx::query!("select place, succeeded_at, failed_at, error from backup_state")
        .fetch_one(&mut *connection)
        .await?;
    let failed = sqlx::query!(
        r#"select error as "error!", tried_at from copies
           where copied_at is null and removed_at is null and error is not null order by tried_at desc limit 1"#
    )
    .fetch_optional(&mut *connection)
    .await?;
    let row = sqlx::query!(
        r#"select count(*) as "copied!", coalesce(sum(images.size), 0)::bigint as "bytes!",
                  count(*) filter (where copies.verified_at >= $1) as "read_since!",
                  count(*) filter (where copies.verified_at is null) as "unread!",
                  min(copies.verified_at) as oldest_read
           from copies join images on images.id = copies.image_id
           where copies.copied_at is not null and copies.removed_at is null"#,
        read_since
    )
    .fetch_one(connection)
    .await?;
    let (failed_at, error) = match failed {
        Some(failed) => (failed.tried_at, Some(failed.error)),
        None => (state.failed_at, state.error),
    };
    Ok(BackupReport {
        lag,
        place: state.place,
        copied: stored::count(row.copied)?,
        copied_bytes: stored::count(row.bytes)?,
        read_since: stored::count(row.read_since)?,
        unread: stored::count(row.unread)?,
        oldest_read: row.oldest_read,
        succeeded_at: state.succeeded_at,
        failed_at,
        error,
    })
}

async fn ended(connection: &mut PgConnection, error: Option<&str>) -> Result<()> {
    sqlx::query!(
        "update backup_state
         set succeeded_at = case when $1::text is null then clock_timestamp() else succeeded_at end,
             failed_at = case when $1::text is null then failed_at else clock_timestamp() end,
             error = $1",
        error
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn set_primary_gone(connection: &mut PgConnection, why: Option<&str>) -> Result<()> {
    sqlx::query!("update backup_state set primary_gone = $1 where primary_gone is distinct from $1", why)
        .execute(connection)
        .await?;
    Ok(())
}

async fn begin_deep(connection: &mut PgConnection, anew: bool) -> Result<DateTime<Utc>> {
    let since = sqlx::query_scalar!(
        r#"update backup_state
           set deep_since = case when $1 or deep_since is null then clock_timestamp() else deep_since end
           returning deep_since as "since!""#,
        anew
    )
    .fetch_one(connection)
    .await?;
    Ok(since)
}

async fn end_deep(connection: &mut PgConnection) -> Result<()> {
    sqlx::query!("update backup_state set deep_since = null").execute(connection).await?;
    Ok(())
}
