//! Promotions that wait at the gate.

use async_trait::async_trait;
use sqlx::{FromRow, Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{
        Audit, Promote, Setback, Waiting, WaitingPromotions, Written,
        stored::{self, PendingRow, WaitingRow},
    },
    SqliteCatalogue, now,
    reservation::{now_micros, until},
    rows::{self, json},
    write::{advance, finish},
};
use crate::{
    domain::{ChannelName, ProductName, ProductState, Revision},
    error::Result,
};

impl FromRow<'_, SqliteRow> for PendingRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let withdraw = rows::list(row, "withdraw")?;
        let withdraw = withdraw.iter().map(|id| Uuid::try_parse(id)).collect::<Result<_, _>>();
        Ok(Self {
            product_id: rows::id(row, "product_id")?,
            channel: row.try_get("channel")?,
            image_id: rows::id(row, "image_id")?,
            withdraw: rows::decoded("withdraw", withdraw)?,
            asked_at: rows::time(row, "asked_at")?,
            allow_stranding: row.try_get("allow_stranding")?,
            reason: row.try_get("reason")?,
            attempts: row.try_get("attempts")?,
            last_error: row.try_get("last_error")?,
            refused_at: rows::optional_time(row, "refused_at")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for WaitingRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            product: row.try_get("product")?,
            channel: row.try_get("channel")?,
            image_id: rows::id(row, "image_id")?,
            due: row.try_get("due")?,
            attempts: row.try_get("attempts")?,
        })
    }
}

#[async_trait]
impl WaitingPromotions for SqliteCatalogue {
    async fn waiting(&self) -> Result<Vec<Waiting>> {
        let rows: Vec<WaitingRow> = sqlx::query_as(
            "select products.name as product, channel, image_id, next_at <= ?1 as due, attempts
             from pending_promotions join products on products.id = product_id where refused_at is null
             order by asked_at, image_id",
        )
        .bind(now_micros())
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(WaitingRow::into_waiting).collect()
    }

    async fn keep_waiting(
        &self,
        product: &ProductName,
        channel: &ChannelName,
        images: &[Uuid],
        setback: &Setback,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "update pending_promotions set attempts = attempts + ?6, last_error = ?4, next_at = ?5
             where product_id = (select id from products where name = ?1) and channel = ?2
               and image_id in (select value from json_each(?3)) and refused_at is null",
        )
        .bind(product.as_str())
        .bind(channel.as_str())
        .bind(json(images))
        .bind(stored::words(&setback.error))
        .bind(until(setback.delay))
        .bind(i32::from(setback.tried))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn refuse_waiting(
        &self,
        product: &ProductName,
        (channel, images): (&ChannelName, &[Uuid]),
        why: &str,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        stored::check_texts(audit, [])?;
        let mut transaction = self.begin().await?;
        let Some((id, revision)) = advance(&mut transaction, product, judged_at).await? else {
            transaction.rollback().await?;
            return Ok(Written::Stale);
        };
        sqlx::query(
            "update pending_promotions set refused_at = ?4, last_error = ?5
             where product_id = ?1 and channel = ?2 and image_id in (select value from json_each(?3))
               and refused_at is null",
        )
        .bind(id.hyphenated())
        .bind(channel.as_str())
        .bind(json(images))
        .bind(now_micros())
        .bind(stored::words(why))
        .execute(&mut *transaction)
        .await?;
        let written = finish(&mut transaction, (id, product), revision, audit).await?;
        self.settle(transaction, written).await
    }
}

/// Lets a promotion wait, anew if it waits already. Images that are asked for together wait since the same moment.
pub(super) async fn add(connection: &mut SqliteConnection, product: Uuid, promote: &Promote) -> Result<()> {
    sqlx::query(
        "insert into pending_promotions (product_id, channel, image_id, withdraw, allow_stranding, reason, asked_at, next_at)
         select ?1, ?2, value, ?4, ?5, ?6, ?7, ?7 from json_each(?3)",
    )
    .bind(product.hyphenated())
    .bind(promote.channel.as_str())
    .bind(json(&promote.images))
    .bind(json(&promote.withdraw))
    .bind(promote.allow_stranding)
    .bind(promote.reason.as_deref().map(stored::words))
    .bind(now().timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the waiting of what a change of the channel promotes, withdraws or names.
pub(super) async fn end(connection: &mut SqliteConnection, product: Uuid, promote: &Promote) -> Result<()> {
    sqlx::query(
        "delete from pending_promotions where product_id = ?1 and channel = ?2
         and image_id in (select value from json_each(?3))",
    )
    .bind(product.hyphenated())
    .bind(promote.channel.as_str())
    .bind(json(promote.images.iter().chain(&promote.withdraw).chain(&promote.ends)))
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the waiting of a release's images.
pub(super) async fn end_of_release(connection: &mut SqliteConnection, release: Uuid) -> Result<()> {
    sqlx::query(
        "delete from pending_promotions where image_id in (select id from images where release_id = ?1)",
    )
    .bind(release.hyphenated())
    .execute(connection)
    .await?;
    Ok(())
}
