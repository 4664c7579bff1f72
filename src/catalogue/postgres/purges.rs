//! What the CDN is to forget.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    super::{
        Acceptance, AskedPurge, PurgeCounts, Purges,
        purges::KEPT,
        stored::{self, PurgeRow},
    },
    ANSWER_WITHIN, PostgresCatalogue, call,
};
use crate::{
    domain::{ProductName, Revision, Version, purge::Purge},
    error::Result,
};

#[async_trait]
impl Purges for PostgresCatalogue {
    async fn purge_cursor(&self) -> Result<Revision> {
        call!(self, cursor)
    }

    async fn ask_purges(&self, from: Revision, to: Revision, asked: &[AskedPurge]) -> Result<bool> {
        call!(self, ask, from, to, asked)
    }

    async fn due_purges(&self, limit: u32) -> Result<Vec<Purge>> {
        call!(self, due, limit)
    }

    async fn accept_purges(&self, purges: &[Uuid], acceptance: &Acceptance) -> Result<()> {
        call!(self, accept, purges, acceptance)
    }

    async fn put_off_purges(
        &self,
        purges: &[Uuid],
        error: &str,
        failed: bool,
        delay: Duration,
    ) -> Result<()> {
        call!(self, put_off, purges, error, failed, delay)
    }

    async fn purges(
        &self,
        product: Option<&ProductName>,
        version: Option<&Version>,
        limit: u32,
    ) -> Result<Vec<Purge>> {
        call!(self, list, product, version, limit)
    }

    async fn purge_counts(&self) -> Result<PurgeCounts> {
        call!(self, counts)
    }
}

async fn cursor(connection: &mut PgConnection) -> Result<Revision> {
    let revision = sqlx::query_scalar!("select revision from purge_cursor").fetch_one(connection).await?;
    Ok(Revision(stored::count(revision)?))
}

async fn ask(
    connection: &mut PgConnection,
    from: Revision,
    to: Revision,
    asked: &[AskedPurge],
) -> Result<bool> {
    let mut transaction = connection.begin().await?;
    let moved = sqlx::query!(
        "update purge_cursor set revision = $2 where revision = $1",
        stored::stored_revision(from),
        stored::stored_revision(to)
    )
    .execute(&mut *transaction)
    .await?;
    if moved.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(false);
    }
    let ids: Vec<Uuid> = asked.iter().map(|_| Uuid::now_v7()).collect();
    let column = |of: &dyn Fn(&AskedPurge) -> String| asked.iter().map(of).collect::<Vec<String>>();
    let revisions: Vec<i64> =
        asked.iter().map(|purge| stored::stored_revision(purge.wanted.revision)).collect();
    let versions: Vec<Option<String>> =
        asked.iter().map(|purge| purge.wanted.version.as_ref().map(ToString::to_string)).collect();
    let delays: Vec<i64> = asked.iter().map(|purge| stored::stored_lease(purge.delay)).collect();
    let again: Vec<Option<i64>> = asked.iter().map(|purge| purge.again.map(stored::stored_lease)).collect();
    sqlx::query!(
        "insert into purges (id, revision, product, version, action, kind, object, asked_at, next_at, again_at)
         select id, revision, product, version, action, kind, object, clock_timestamp(),
                clock_timestamp() + delay * interval '1 microsecond',
                clock_timestamp() + again * interval '1 microsecond'
         from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
                     $9::bigint[])
              as asked (id, revision, product, version, action, kind, object, delay, again)
         on conflict on constraint purges_object_key do nothing",
        &ids,
        &revisions,
        &column(&|purge| purge.wanted.product.to_string()),
        &versions as &[Option<String>],
        &column(&|purge| purge.wanted.target.action.to_string()),
        &column(&|purge| purge.wanted.target.kind.to_string()),
        &column(&|purge| purge.wanted.target.object.clone()),
        &delays,
        &again as &[Option<i64>]
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "delete from purges where state = 'accepted' and action = 'invalidate'
         and accepted_at < clock_timestamp() - $1::bigint * interval '1 microsecond'",
        stored::stored_lease(KEPT)
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(true)
}

async fn due(connection: &mut PgConnection, limit: u32) -> Result<Vec<Purge>> {
    let rows = sqlx::query_as!(
        PurgeRow,
        r#"select id, revision, product, version, action, kind, object, state, attempts, purge_id, support_id, asked_at,
                accepted_at, estimated_done_at, false as "done!", last_error
           from purges where state <> 'accepted' and next_at <= clock_timestamp()
              or state = 'accepted' and again_at <= clock_timestamp()
           order by next_at, id limit $1"#,
        i64::from(limit)
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(PurgeRow::into_purge).collect()
}

async fn accept(connection: &mut PgConnection, purges: &[Uuid], acceptance: &Acceptance) -> Result<()> {
    sqlx::query!(
        "update purges set state = 'accepted', attempts = attempts + 1, purge_id = $2, support_id = $3,
                accepted_at = clock_timestamp(),
                estimated_done_at = clock_timestamp() + $4::bigint * interval '1 microsecond', last_error = null,
                again_at = case when state <> 'accepted' then clock_timestamp() + (again_at - asked_at) end
         where id = any($1)",
        purges,
        acceptance.purge_id,
        acceptance.support_id,
        stored::stored_lease(acceptance.estimated)
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn put_off(
    connection: &mut PgConnection,
    purges: &[Uuid],
    error: &str,
    failed: bool,
    delay: Duration,
) -> Result<()> {
    sqlx::query!(
        "update purges set attempts = attempts + 1, last_error = $2,
                state = case when state <> 'accepted' and $3 then 'failed' else state end,
                next_at = case when state <> 'accepted' then clock_timestamp() + $4::bigint * interval '1 microsecond'
                               else next_at end,
                again_at = case when state = 'accepted' then clock_timestamp() + $4::bigint * interval '1 microsecond'
                                else again_at end
         where id = any($1) and (state <> 'accepted' or again_at is not null)",
        purges,
        stored::words(error),
        failed,
        stored::stored_lease(delay)
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn list(
    connection: &mut PgConnection,
    product: Option<&ProductName>,
    version: Option<&Version>,
    limit: u32,
) -> Result<Vec<Purge>> {
    let rows = sqlx::query_as!(
        PurgeRow,
        r#"select id, revision, product, version, action, kind, object, state, attempts, purge_id, support_id, asked_at,
                accepted_at, estimated_done_at, coalesce(estimated_done_at <= clock_timestamp(), false) as "done!",
                last_error
           from purges where ($1::text is null or product = $1) and ($2::text is null or version = $2)
           order by revision desc, id desc limit $3"#,
        product.map(ProductName::as_str),
        version.map(ToString::to_string),
        i64::from(limit)
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(PurgeRow::into_purge).collect()
}

async fn counts(connection: &mut PgConnection) -> Result<PurgeCounts> {
    let row = sqlx::query!(
        r#"select count(*) filter (where state = 'asked') as "asked!",
                  count(*) filter (where state = 'failed') as "failed!",
                  coalesce(extract(epoch from clock_timestamp() - min(asked_at)), 0)::float8 as "oldest!"
           from purges where state <> 'accepted'"#
    )
    .fetch_one(connection)
    .await?;
    Ok(PurgeCounts {
        asked: stored::count(row.asked)?,
        failed: stored::count(row.failed)?,
        oldest: Duration::try_from_secs_f64(row.oldest).unwrap_or_default(),
    })
}
