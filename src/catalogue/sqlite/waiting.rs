//! Promotions that wait at the gate.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{FromRow, Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{
        Promote, Waiting, WaitingPromotions,
        stored::{self, PendingRow, WaitingRow},
    },
    SqliteCatalogue, now,
    reservation::{now_micros, until},
    rows::{self, json},
};
use crate::{
    domain::{ChannelName, ProductName},
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
            attempts: row.try_get("attempts")?,
            last_error: row.try_get("last_error")?,
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
             from pending_promotions join products on products.id = product_id order by asked_at, image_id",
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
        error: &str,
        delay: Duration,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "update pending_promotions set attempts = attempts + 1, last_error = ?4, next_at = ?5
             where product_id = (select id from products where name = ?1) and channel = ?2
               and image_id in (select value from json_each(?3))",
        )
        .bind(product.as_str())
        .bind(channel.as_str())
        .bind(json(images))
        .bind(stored::words(error))
        .bind(until(delay))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Lets a promotion wait, anew if it waits already.
pub(super) async fn add(connection: &mut SqliteConnection, product: Uuid, promote: &Promote) -> Result<()> {
    sqlx::query(
        "insert into pending_promotions (product_id, channel, image_id, withdraw, asked_at, next_at)
         select ?1, ?2, value, ?4, ?5, ?5 from json_each(?3)",
    )
    .bind(product.hyphenated())
    .bind(promote.channel.as_str())
    .bind(json(&promote.images))
    .bind(json(&promote.withdraw))
    .bind(now().timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the waiting of what a change of the channel promotes or withdraws.
pub(super) async fn end(connection: &mut SqliteConnection, product: Uuid, promote: &Promote) -> Result<()> {
    sqlx::query(
        "delete from pending_promotions where product_id = ?1 and channel = ?2
         and image_id in (select value from json_each(?3))",
    )
    .bind(product.hyphenated())
    .bind(promote.channel.as_str())
    .bind(json(promote.images.iter().chain(&promote.withdraw)))
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
