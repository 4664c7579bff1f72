//! How often images were downloaded. The one writer makes looking and adding a single step.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};

use super::{
    super::{
        AddedLog, CountedLog, DownloadCount, Downloads,
        stored::{self, DownloadRow},
    },
    SqliteCatalogue,
    rows::json,
};
use crate::{domain::ProductName, error::Result};

#[async_trait]
impl Downloads for SqliteCatalogue {
    async fn uncounted_logs(&self, keys: &[String]) -> Result<BTreeSet<String>> {
        let uncounted: Vec<String> = sqlx::query_scalar(
            "select value from json_each(?1) where value not in (select key from download_logs)",
        )
        .bind(json(keys))
        .fetch_all(&mut *self.snapshot().await?)
        .await?;
        Ok(uncounted.into_iter().collect())
    }

    async fn count_log(&self, log: &CountedLog) -> Result<Option<AddedLog>> {
        let mut transaction = self.begin().await?;
        let remembered = sqlx::query(
            "insert into download_logs (key, modified_at) values (?1, ?2) on conflict (key) do nothing",
        )
        .bind(&log.key)
        .bind(stored::stored_time(log.modified_at).timestamp_micros())
        .execute(&mut *transaction)
        .await?;
        if remembered.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(None);
        }
        if !log.ends {
            sqlx::query("delete from download_logs where key = ?1")
                .bind(&log.key)
                .execute(&mut *transaction)
                .await?;
        }
        let new: Vec<i64> = sqlx::query_scalar(
            "insert into download_requests (request, logged_at)
             select cast(value as integer), ?2 from json_each(?1) where true
             on conflict (request) do nothing
             returning request",
        )
        .bind(json(log.numbers()))
        .bind(log.modified_at.timestamp())
        .fetch_all(&mut *transaction)
        .await?;
        let added = log.added(new);
        for count in &added.counts {
            sqlx::query(
                "insert into download_counts
                     (product_id, version, filename, day, completed, partial, bytes, edge_bytes)
                 select id, ?2, ?3, ?4, ?5, ?6, ?7, ?8 from products where name = ?1
                 on conflict (product_id, day, version, filename) do update
                 set completed = completed + excluded.completed, partial = partial + excluded.partial,
                     bytes = bytes + excluded.bytes, edge_bytes = edge_bytes + excluded.edge_bytes",
            )
            .bind(count.product.as_str())
            .bind(count.version.to_string())
            .bind(count.filename.as_str())
            .bind(count.day.to_string())
            .bind(stored::stored_count(count.completed)?)
            .bind(stored::stored_count(count.partial)?)
            .bind(stored::stored_count(count.bytes)?)
            .bind(stored::stored_count(count.edge_bytes)?)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(Some(added))
    }

    async fn forget_logs(&self, before: DateTime<Utc>) -> Result<u64> {
        let mut transaction = self.begin().await?;
        let forgotten = sqlx::query("delete from download_logs where modified_at < ?1")
            .bind(before.timestamp_micros())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(forgotten.rows_affected())
    }

    async fn forget_requests(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let mut transaction = self.begin().await?;
        let forgotten = sqlx::query(
            "delete from download_requests where request in
                 (select request from download_requests where logged_at < ?1 order by logged_at limit ?2)",
        )
        .bind(before.timestamp())
        .bind(limit)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(forgotten.rows_affected())
    }

    async fn downloads(&self, product: &ProductName, since: NaiveDate) -> Result<Vec<DownloadCount>> {
        let rows: Vec<(String, String, NaiveDate, i64, i64, i64, i64)> = sqlx::query_as(
            "select version, filename, day, completed, partial, bytes, edge_bytes
             from download_counts join products on products.id = download_counts.product_id
             where products.name = ?1 and day >= ?2
             order by day, version, filename",
        )
        .bind(product.as_str())
        .bind(since.to_string())
        .fetch_all(&mut *self.snapshot().await?)
        .await?;
        let counts =
            rows.into_iter().map(|(version, filename, day, completed, partial, bytes, edge_bytes)| {
                DownloadRow { version, filename, day, completed, partial, bytes, edge_bytes }
                    .into_count(product)
            });
        counts.collect()
    }
}
