//! What the backup has. The one writer makes looking and changing a single step.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{
        BackupLag, BackupReport, Copies, CopyMade, ImageCopy,
        stored::{self, CopyRow},
    },
    SqliteCatalogue,
    reservation::now_micros,
    rows,
};
use crate::error::Result;

/// The columns of a [`CopyRow`].
const COPIES: &str =
    "select images.id, products.name as product, releases.version, images.filename, images.hardware,
            images.size, images.sha256, images.sha1, images.md5, images.etag, images.created_at,
            copies.copied_at, copies.verified_at, copies.primary_damage, copies.backup_damage
     from copies
     join images on images.id = copies.image_id
     join releases on releases.id = images.release_id
     join products on products.id = images.product_id";

#[async_trait]
impl Copies for SqliteCatalogue {
    async fn set_backup(&self, place: &str) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let before: Option<String> =
            sqlx::query_scalar("select place from backup_state").fetch_one(&mut *transaction).await?;
        if before.as_deref() == Some(place) {
            return Ok(false);
        }
        sqlx::query(
            "update backup_state
             set place = ?1, succeeded_at = null, failed_at = null, error = null, deep_since = null",
        )
        .bind(place)
        .execute(&mut *transaction)
        .await?;
        if before.is_some() {
            sqlx::query(
                "update copies set copied_at = null, verified_at = null, backup_damage = null, error = null,
                                   tried_at = null, dropped_at = null",
            )
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(before.is_some())
    }

    async fn uncopied(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<ImageCopy>> {
        let statement = format!(
            "{COPIES} where copies.copied_at is null and copies.removed_at is null and copies.image_id > ?1
             order by copies.image_id limit ?2"
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(after_text(after)).bind(limit);
        copies(query.fetch_all(&self.reader).await?)
    }

    async fn copied(&self, made: &[CopyMade]) -> Result<()> {
        let mut transaction = self.begin().await?;
        for made in made {
            sqlx::query(
                "update copies
                 set copied_at = ?2, verified_at = case when ?3 then ?2 end, primary_damage = null,
                     backup_damage = null, error = null, tried_at = ?2
                 where image_id = ?1",
            )
            .bind(made.image.hyphenated())
            .bind(now_micros())
            .bind(made.verified)
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn not_copied(&self, image: Uuid, error: &str) -> Result<()> {
        let query = sqlx::query(
            "update copies set error = ?2, tried_at = ?3 where image_id = ?1 and copied_at is null",
        );
        query.bind(image.hyphenated()).bind(error).bind(now_micros()).execute(&self.writer).await?;
        Ok(())
    }

    async fn copies_to_read(&self, since: Option<DateTime<Utc>>, limit: u32) -> Result<Vec<ImageCopy>> {
        let statement = format!(
            "{COPIES} where copies.copied_at is not null and copies.removed_at is null
                   and (copies.verified_at is null or copies.verified_at < ?1)
             order by copies.verified_at, copies.image_id limit ?2"
        );
        let since = since.map(|at| at.timestamp_micros());
        copies(
            sqlx::query_as(sqlx::AssertSqlSafe(statement))
                .bind(since)
                .bind(limit)
                .fetch_all(&self.reader)
                .await?,
        )
    }

    async fn inspected(
        &self,
        image: Uuid,
        primary_damage: Option<&str>,
        backup_damage: Option<&str>,
    ) -> Result<bool> {
        let written = sqlx::query(
            "update copies
             set primary_damage = ?2, backup_damage = ?3,
                 verified_at = case when ?2 is null and ?3 is null then ?4 else verified_at end
             where image_id = ?1 and removed_at is null",
        )
        .bind(image.hyphenated())
        .bind(primary_damage)
        .bind(backup_damage)
        .bind(now_micros())
        .execute(&self.writer)
        .await?;
        Ok(written.rows_affected() > 0)
    }

    async fn damaged(&self, limit: u32) -> Result<Vec<ImageCopy>> {
        let statement = format!(
            "{COPIES} where (copies.primary_damage is not null or copies.backup_damage is not null)
                   and copies.removed_at is null
             order by copies.image_id limit ?1"
        );
        copies(sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(limit).fetch_all(&self.reader).await?)
    }

    async fn copies(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<ImageCopy>> {
        let statement = format!(
            "{COPIES} where copies.image_id > ?1 and copies.removed_at is null
             order by copies.image_id limit ?2"
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(after_text(after)).bind(limit);
        copies(query.fetch_all(&self.reader).await?)
    }

    async fn copies_past_hold(&self, hold: Duration, limit: u32) -> Result<Vec<ImageCopy>> {
        let statement = format!(
            "{COPIES} where copies.removed_at < ?1 and copies.dropped_at is null
             order by copies.removed_at limit ?2"
        );
        let before = now_micros().saturating_sub(stored::stored_lease(hold));
        let query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(before).bind(limit);
        copies(query.fetch_all(&self.reader).await?)
    }

    async fn copy_dropped(&self, image: Uuid) -> Result<()> {
        sqlx::query("update copies set dropped_at = ?2 where image_id = ?1 and removed_at is not null")
            .bind(image.hyphenated())
            .bind(now_micros())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn backup_lag(&self) -> Result<BackupLag> {
        lag(&mut *self.snapshot().await?).await
    }

    async fn backup_report(&self, read_since: DateTime<Utc>) -> Result<BackupReport> {
        let mut snapshot = self.snapshot().await?;
        let lag = lag(&mut snapshot).await?;
        let state = sqlx::query("select place, succeeded_at, failed_at, error from backup_state")
            .fetch_one(&mut *snapshot)
            .await?;
        let failed = sqlx::query(
            "select tried_at, error from copies
             where copied_at is null and removed_at is null and error is not null order by tried_at desc limit 1",
        )
        .fetch_optional(&mut *snapshot)
        .await?;
        let counts = sqlx::query(
            "select count(*) as copied, coalesce(sum(images.size), 0) as bytes,
                    count(*) filter (where copies.verified_at >= ?1) as read_since,
                    count(*) filter (where copies.verified_at is null) as unread,
                    min(copies.verified_at) as oldest_read
             from copies join images on images.id = copies.image_id
             where copies.copied_at is not null and copies.removed_at is null",
        )
        .bind(read_since.timestamp_micros())
        .fetch_one(&mut *snapshot)
        .await?;
        let (failed_at, error) = match failed {
            Some(failed) => (rows::optional_time(&failed, "tried_at")?, failed.try_get("error")?),
            None => (rows::optional_time(&state, "failed_at")?, state.try_get("error")?),
        };
        Ok(BackupReport {
            lag,
            place: state.try_get("place")?,
            copied: stored::count(counts.try_get("copied")?)?,
            copied_bytes: stored::count(counts.try_get("bytes")?)?,
            read_since: stored::count(counts.try_get("read_since")?)?,
            unread: stored::count(counts.try_get("unread")?)?,
            oldest_read: rows::optional_time(&counts, "oldest_read")?,
            succeeded_at: rows::optional_time(&state, "succeeded_at")?,
            failed_at,
            error,
        })
    }

    async fn backup_ended(&self, error: Option<&str>) -> Result<()> {
        sqlx::query(
            "update backup_state
             set succeeded_at = case when ?1 is null then ?2 else succeeded_at end,
                 failed_at = case when ?1 is null then failed_at else ?2 end,
                 error = ?1",
        )
        .bind(error)
        .bind(now_micros())
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn set_primary_gone(&self, why: Option<&str>) -> Result<()> {
        sqlx::query("update backup_state set primary_gone = ?1 where primary_gone is not ?1")
            .bind(why)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn begin_deep_verification(&self, anew: bool) -> Result<DateTime<Utc>> {
        let row: SqliteRow = sqlx::query(
            "update backup_state
             set deep_since = case when ?1 or deep_since is null then ?2 else deep_since end
             returning deep_since",
        )
        .bind(anew)
        .bind(now_micros())
        .fetch_one(&self.writer)
        .await?;
        Ok(rows::time(&row, "deep_since")?)
    }

    async fn end_deep_verification(&self) -> Result<()> {
        sqlx::query("update backup_state set deep_since = null").execute(&self.writer).await?;
        Ok(())
    }
}

/// Every id comes after the empty text.
fn after_text(after: Option<Uuid>) -> String {
    after.map(|id| id.hyphenated().to_string()).unwrap_or_default()
}

fn copies(rows: Vec<CopyRow>) -> Result<Vec<ImageCopy>> {
    rows.into_iter().map(CopyRow::into_copy).collect()
}

async fn lag(connection: &mut SqliteConnection) -> Result<BackupLag> {
    let row = sqlx::query(
        "select count(*) as objects, coalesce(sum(images.size), 0) as bytes, min(images.created_at) as oldest,
                (select count(*) from copies where primary_damage is not null and removed_at is null) as primary_ones,
                (select count(*) from copies where backup_damage is not null and removed_at is null) as backup_ones,
                (select primary_gone from backup_state) as primary_gone
         from copies join images on images.id = copies.image_id
         where copies.copied_at is null and copies.removed_at is null",
    )
    .fetch_one(connection)
    .await?;
    let oldest = rows::optional_time(&row, "oldest")?;
    let age: Option<Duration> = oldest.and_then(|at| (Utc::now() - at).to_std().ok());
    Ok(BackupLag {
        objects: stored::count(row.try_get("objects")?)?,
        bytes: stored::count(row.try_get("bytes")?)?,
        age: age.unwrap_or_default(),
        damaged_primary: stored::count(row.try_get("primary_ones")?)?,
        damaged_backup: stored::count(row.try_get("backup_ones")?)?,
        primary_gone: row.try_get("primary_gone")?,
    })
}
