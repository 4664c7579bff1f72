//! What the CDN is to forget.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{FromRow, Row, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{
        Acceptance, AskedPurge, PurgeCounts, Purges,
        purges::KEPT,
        stored::{self, PurgeRow},
    },
    SqliteCatalogue, now,
    reservation::{now_micros, until},
    rows::{self, json},
};
use crate::{
    domain::{ProductName, Revision, Version, purge::Purge},
    error::Result,
};

/// A query of purges; `?1` is now.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "select id, revision, product, version, action, kind, object, state, attempts, purge_id, support_id, asked_at,
                    accepted_at, estimated_done_at, coalesce(estimated_done_at <= ?1, false) as done, last_error
             from purges where ",
            $which
        )
    };
}

impl FromRow<'_, SqliteRow> for PurgeRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: rows::id(row, "id")?,
            revision: row.try_get("revision")?,
            product: row.try_get("product")?,
            version: row.try_get("version")?,
            action: row.try_get("action")?,
            kind: row.try_get("kind")?,
            object: row.try_get("object")?,
            state: row.try_get("state")?,
            attempts: row.try_get("attempts")?,
            purge_id: row.try_get("purge_id")?,
            support_id: row.try_get("support_id")?,
            asked_at: rows::time(row, "asked_at")?,
            accepted_at: rows::optional_time(row, "accepted_at")?,
            estimated_done_at: rows::optional_time(row, "estimated_done_at")?,
            done: row.try_get("done")?,
            last_error: row.try_get("last_error")?,
        })
    }
}

#[async_trait]
impl Purges for SqliteCatalogue {
    async fn purge_cursor(&self) -> Result<Revision> {
        let revision =
            sqlx::query_scalar("select revision from purge_cursor").fetch_one(&self.reader).await?;
        Ok(Revision(stored::count(revision)?))
    }

    async fn ask_purges(&self, from: Revision, to: Revision, asked: &[AskedPurge]) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let moved = sqlx::query("update purge_cursor set revision = ?2 where revision = ?1")
            .bind(stored::stored_revision(from))
            .bind(stored::stored_revision(to))
            .execute(&mut *transaction)
            .await?;
        if moved.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        for AskedPurge { wanted, delay, again } in asked {
            sqlx::query(
                "insert into purges (id, revision, product, version, action, kind, object, asked_at, next_at, again_at)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 on conflict (revision, action, kind, object) do nothing",
            )
            .bind(Uuid::now_v7().hyphenated())
            .bind(stored::stored_revision(wanted.revision))
            .bind(wanted.product.as_str())
            .bind(wanted.version.as_ref().map(ToString::to_string))
            .bind(wanted.target.action.as_str())
            .bind(wanted.target.kind.as_str())
            .bind(&wanted.target.object)
            .bind(now_micros())
            .bind(until(*delay))
            .bind(again.map(until))
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query(
            "delete from purges where state = 'accepted' and action = 'invalidate' and accepted_at < ?1",
        )
        .bind(now_micros().saturating_sub(stored::stored_lease(KEPT)))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn due_purges(&self, limit: u32) -> Result<Vec<Purge>> {
        let rows: Vec<PurgeRow> = sqlx::query_as(select!(
            "state <> 'accepted' and next_at <= ?1 or state = 'accepted' and again_at <= ?1
                 order by next_at, id limit ?2"
        ))
        .bind(now_micros())
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(PurgeRow::into_purge).collect()
    }

    async fn accept_purges(&self, purges: &[Uuid], acceptance: &Acceptance) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "update purges set state = 'accepted', attempts = attempts + 1, purge_id = ?2, support_id = ?3,
                    accepted_at = ?4, estimated_done_at = ?5, last_error = null,
                    again_at = case when state <> 'accepted' then ?4 + (again_at - asked_at) end
             where id in (select value from json_each(?1))",
        )
        .bind(json(purges))
        .bind(&acceptance.purge_id)
        .bind(&acceptance.support_id)
        .bind(now().timestamp_micros())
        .bind(until(acceptance.estimated))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn put_off_purges(
        &self,
        purges: &[Uuid],
        error: &str,
        failed: bool,
        delay: Duration,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "update purges set attempts = attempts + 1, last_error = ?2,
                    state = case when state <> 'accepted' and ?3 then 'failed' else state end,
                    next_at = case when state <> 'accepted' then ?4 else next_at end,
                    again_at = case when state = 'accepted' then ?4 else again_at end
             where id in (select value from json_each(?1)) and (state <> 'accepted' or again_at is not null)",
        )
        .bind(json(purges))
        .bind(stored::words(error))
        .bind(failed)
        .bind(until(delay))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn purges(
        &self,
        product: Option<&ProductName>,
        version: Option<&Version>,
        limit: u32,
    ) -> Result<Vec<Purge>> {
        let rows: Vec<PurgeRow> = sqlx::query_as(select!(
            "(?2 is null or product = ?2) and (?3 is null or version = ?3) order by revision desc, id desc limit ?4"
        ))
            .bind(now_micros())
            .bind(product.map(ProductName::as_str))
            .bind(version.map(ToString::to_string))
            .bind(i64::from(limit))
            .fetch_all(&self.reader)
            .await?;
        rows.into_iter().map(PurgeRow::into_purge).collect()
    }

    async fn purge_counts(&self) -> Result<PurgeCounts> {
        let (asked, failed, oldest): (i64, i64, Option<i64>) = sqlx::query_as(
            "select count(*) filter (where state = 'asked'), count(*) filter (where state = 'failed'), min(asked_at)
             from purges where state <> 'accepted'",
        )
        .fetch_one(&self.reader)
        .await?;
        let waited = oldest.map_or(0, |since| now_micros().saturating_sub(since).max(0));
        Ok(PurgeCounts {
            asked: stored::count(asked)?,
            failed: stored::count(failed)?,
            oldest: Duration::from_micros(stored::count(waited)?),
        })
    }
}
