//! Promotions that wait at the gate.

use async_trait::async_trait;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    super::{
        Audit, Promote, Setback, Waiting, WaitingPromotions, Written,
        stored::{self, WaitingRow},
    },
    ANSWER_WITHIN, PostgresCatalogue, call,
    write::{advance, finish, next_revision},
};
use crate::{
    domain::{ChannelName, ProductName, ProductState, Revision},
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
        setback: &Setback,
    ) -> Result<()> {
        call!(self, keep, product, channel, images, setback)
    }

    async fn refuse_waiting(
        &self,
        product: &ProductName,
        (channel, images): (&ChannelName, &[Uuid]),
        why: &str,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        call!(self, refuse, product, (channel, images), why, judged_at, audit)
    }
}

async fn all(connection: &mut PgConnection) -> Result<Vec<Waiting>> {
    let rows = sqlx::query_as!(
        WaitingRow,
        r#"select products.name as product, channel, image_id, next_at <= clock_timestamp() as "due!", attempts
           from pending_promotions join products on products.id = product_id where refused_at is null
           order by asked_at, image_id"#
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
    setback: &Setback,
) -> Result<()> {
    sqlx::query!(
        "update pending_promotions set attempts = attempts + $6, last_error = $4,
                next_at = clock_timestamp() + $5::bigint * interval '1 microsecond'
         where product_id = (select id from products where name = $1) and channel = $2 and image_id = any($3)
           and refused_at is null",
        product.as_str(),
        channel.as_str(),
        images,
        stored::words(&setback.error),
        stored::stored_lease(setback.delay),
        i32::from(setback.tried)
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn refuse(
    connection: &mut PgConnection,
    product: &ProductName,
    (channel, images): (&ChannelName, &[Uuid]),
    why: &str,
    judged_at: Revision,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    stored::check_texts(audit, [])?;
    let mut transaction = connection.begin().await?;
    let revision = next_revision(&mut transaction).await?;
    let Some(id) = advance(&mut transaction, product, judged_at, revision).await? else {
        transaction.rollback().await?;
        return Ok(Written::Stale);
    };
    sqlx::query!(
        "update pending_promotions set refused_at = clock_timestamp(), last_error = $4
         where product_id = $1 and channel = $2 and image_id = any($3) and refused_at is null",
        id,
        channel.as_str(),
        images,
        stored::words(why)
    )
    .execute(&mut *transaction)
    .await?;
    finish(transaction, (id, product), revision, audit).await
}

/// Lets a promotion wait, anew if it waits already. Images that are asked for together wait since the same moment.
pub(super) async fn add(connection: &mut PgConnection, product: Uuid, promote: &Promote) -> Result<()> {
    sqlx::query!(
        "insert into pending_promotions (product_id, channel, image_id, withdraw, allow_stranding, reason, asked_at, next_at)
         select $1, $2, image_id, $4, $5, $6, statement_timestamp(), statement_timestamp()
         from unnest($3::uuid[]) as image_id",
        product,
        promote.channel.as_str(),
        &promote.images,
        &promote.withdraw,
        promote.allow_stranding,
        promote.reason.as_deref().map(stored::words)
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the waiting of what a change of the channel promotes, withdraws or names.
pub(super) async fn end(connection: &mut PgConnection, product: Uuid, promote: &Promote) -> Result<()> {
    sqlx::query!(
        "delete from pending_promotions
         where product_id = $1 and channel = $2
           and (image_id = any($3) or image_id = any($4) or image_id = any($5))",
        product,
        promote.channel.as_str(),
        &promote.images,
        &promote.withdraw,
        &promote.ends
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
