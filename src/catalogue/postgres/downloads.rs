//! How often images were downloaded. The primary keys decide who counts a log object, and who a request.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use super::{
    super::{
        AddedLog, CountedLog, DownloadCount, Downloads,
        stored::{self, DownloadRow},
    },
    ANSWER_WITHIN, PostgresCatalogue, call,
};
use crate::{domain::ProductName, error::Result};

#[async_trait]
impl Downloads for PostgresCatalogue {
    async fn uncounted_logs(&self, keys: &[String]) -> Result<BTreeSet<String>> {
        call!(self, uncounted, keys)
    }

    async fn count_log(&self, log: &CountedLog) -> Result<Option<AddedLog>> {
        call!(self, count, log)
    }

    async fn forget_logs(&self, before: DateTime<Utc>) -> Result<u64> {
        call!(self, forget, before)
    }

    async fn forget_requests(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        call!(self, forget_requests, before, limit)
    }

    async fn downloads(&self, product: &ProductName, since: NaiveDate) -> Result<Vec<DownloadCount>> {
        call!(self, of_product, product, since)
    }
}

async fn uncounted(connection: &mut PgConnection, keys: &[String]) -> Result<BTreeSet<String>> {
    let uncounted = sqlx::query_scalar!(
        r#"select key as "key!" from unnest($1::text[]) as asked (key)
           where not exists (select 1 from download_logs where download_logs.key = asked.key)"#,
        keys
    )
    .fetch_all(connection)
    .await?;
    Ok(uncounted.into_iter().collect())
}

async fn count(connection: &mut PgConnection, log: &CountedLog) -> Result<Option<AddedLog>> {
    let mut transaction = connection.begin().await?;
    let at = stored::stored_time(log.modified_at);
    let remembered = sqlx::query!(
        "insert into download_logs (key, modified_at) values ($1, $2)
         on conflict on constraint download_logs_pkey do nothing",
        log.key,
        at
    )
    .execute(&mut *transaction)
    .await?;
    if remembered.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(None);
    }
    if !log.ends {
        sqlx::query!("delete from download_logs where key = $1", log.key).execute(&mut *transaction).await?;
    }
    // Whoever remembers the same request at the same moment is waited for.
    let new = sqlx::query_scalar!(
        "insert into download_requests (request, logged_at)
         select request, $2 from unnest($1::bigint[]) as told (request) order by request
         on conflict on constraint download_requests_pkey do nothing
         returning request",
        &log.numbers(),
        at
    )
    .fetch_all(&mut *transaction)
    .await?;
    let added = log.added(new);
    let counts = &added.counts;
    let texts = |text: fn(&DownloadCount) -> String| counts.iter().map(text).collect::<Vec<_>>();
    let numbers = |number: fn(&DownloadCount) -> u64| {
        counts.iter().map(|count| stored::stored_count(number(count))).collect::<Result<Vec<_>>>()
    };
    let days: Vec<NaiveDate> = counts.iter().map(|count| count.day).collect();
    // In one order, so that two replicas that count different logs of the same images do not wait for each other.
    sqlx::query!(
        "insert into download_counts
             (product_id, version, filename, day, completed, partial, bytes, edge_bytes)
         select products.id, new.version, new.filename, new.day, new.completed, new.partial, new.bytes, new.edge_bytes
         from unnest($1::text[], $2::text[], $3::text[], $4::date[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
              as new (product, version, filename, day, completed, partial, bytes, edge_bytes)
         join products on products.name = new.product
         order by products.id, new.day, new.version, new.filename
         on conflict on constraint download_counts_pkey do update
         set completed = download_counts.completed + excluded.completed,
             partial = download_counts.partial + excluded.partial,
             bytes = download_counts.bytes + excluded.bytes,
             edge_bytes = download_counts.edge_bytes + excluded.edge_bytes",
        &texts(|count| count.product.to_string()),
        &texts(|count| count.version.to_string()),
        &texts(|count| count.filename.to_string()),
        &days,
        &numbers(|count| count.completed)?,
        &numbers(|count| count.partial)?,
        &numbers(|count| count.bytes)?,
        &numbers(|count| count.edge_bytes)?
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Some(added))
}

async fn forget(connection: &mut PgConnection, before: DateTime<Utc>) -> Result<u64> {
    let forgotten =
        sqlx::query!("delete from download_logs where modified_at < $1", before).execute(connection).await?;
    Ok(forgotten.rows_affected())
}

async fn forget_requests(connection: &mut PgConnection, before: DateTime<Utc>, limit: u32) -> Result<u64> {
    let forgotten = sqlx::query!(
        "delete from download_requests where request in
             (select request from download_requests where logged_at < $1 order by logged_at limit $2)",
        before,
        i64::from(limit)
    )
    .execute(connection)
    .await?;
    Ok(forgotten.rows_affected())
}

async fn of_product(
    connection: &mut PgConnection,
    product: &ProductName,
    since: NaiveDate,
) -> Result<Vec<DownloadCount>> {
    let rows = sqlx::query_as!(
        DownloadRow,
        "select version, filename, day, completed, partial, bytes, edge_bytes
         from download_counts join products on products.id = download_counts.product_id
         where products.name = $1 and day >= $2
         order by day, version, filename",
        product.as_str(),
        since
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| row.into_count(product)).collect()
}
