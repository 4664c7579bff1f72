//! Promotions that wait at the gate.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgConnection;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    super::{
        Promote, Waiting, WaitingPromotions,
        stored::{self, WaitingRow},
    },
    ANSWER_WITHIN, PostgresCatalogue, call,
};
use crate::{
    domain::{ChannelName, ProductName},
    error::Result,
};

#[async_trait]
impl WaitingPromotions for PostgresCatalogue {
    async fn waiting(&self) -> Result<Vec<Waiting>> {
        call!(self, all)
    }

    async fn keep_waiting(
        &self,
        product: &ProductName,
        channel: &ChannelName,
        images: &[Uuid],
        error: &str,
        delay: Duration,
    ) -> Result<()> {
        call!(self, keep, product, channel, images, error, delay)
    }
}

async fn all(connection: &mut PgConnection) -> Result<Vec<Waiting>> {
    let rows = sqlx::query_as!(
        WaitingRow,
        r#"select products.name as product, channel, image_id, next_at <= clock_timestamp() as "due!", attempts
           from pending_promotions join products on products.id = product_id order by asked_at, image_id"#
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(WaitingRow::into_waiting).collect()
}

async fn keep(
    connection: &mut PgConnection,
    product: &ProductName,
    channel: &ChannelName,
    images: &[Uuid],
    error: &str,
    delay: Duration,
) -> Result<()> {
    sqlx::query!(
        "update pending_promotions set attempts = attempts + 1, last_error = $4,
                next_at = clock_timestamp() + $5::bigint * interval '1 microsecond'
         where product_id = (select id from products where name = $1) and channel = $2 and image_id = any($3)",
        product.as_str(),
        channel.as_str(),
        images,
        stored::words(error),
        stored::stored_lease(delay)
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets a promotion wait, anew if it waits already.
pub(super) async fn add(connection: &mut PgConnection, product: Uuid, promote: &Promote) -> Result<()> {
    sqlx::query!(
        "insert into pending_promotions (product_id, channel, image_id, withdraw, asked_at, next_at)
         select $1, $2, image_id, $4, clock_timestamp(), clock_timestamp() from unnest($3::uuid[]) as image_id",
        product,
        promote.channel.as_str(),
        &promote.images,
        &promote.withdraw
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the waiting of what a change of the channel promotes or withdraws.
pub(super) async fn end(connection: &mut PgConnection, product: Uuid, promote: &Promote) -> Result<()> {
    sqlx::query!(
        "delete from pending_promotions
         where product_id = $1 and channel = $2 and (image_id = any($3) or image_id = any($4))",
        product,
        promote.channel.as_str(),
        &promote.images,
        &promote.withdraw
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the waiting of a release's images.
pub(super) async fn end_of_release(
    connection: &mut PgConnection,
    product: Uuid,
    version: &str,
) -> Result<()> {
    sqlx::query!(
        "delete from pending_promotions where product_id = $1 and image_id in (
             select images.id from images join releases on releases.id = images.release_id
             where releases.product_id = $1 and releases.version = $2
         )",
        product,
        version
    )
    .execute(connection)
    .await?;
    Ok(())
}
