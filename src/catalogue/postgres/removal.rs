//! Removing images for good.

use async_trait::async_trait;
use chrono::DateTime;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    super::{
        Audit, Removal, Removed, RemovedAt, Written,
        stored::{self, RemovedRow},
    },
    ANSWER_WITHIN, PostgresCatalogue, call, read,
    write::{advance, finish, next_revision},
};
use crate::{
    domain::{ProductName, ProductState, Revision},
    error::{Error, Result},
};

#[async_trait]
impl Removal for PostgresCatalogue {
    async fn remove(
        &self,
        product: &ProductName,
        images: &[Uuid],
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        call!(self, remove, product, images, judged_at, audit)
    }

    async fn removed(&self, after: Option<RemovedAt>, limit: u32) -> Result<Vec<Removed>> {
        call!(self, removed, after, limit)
    }

    async fn object_is_gone(&self, image: Uuid) -> Result<bool> {
        call!(self, object_is_gone, image)
    }
}

async fn remove(
    connection: &mut PgConnection,
    product: &ProductName,
    images: &[Uuid],
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
    let removed = sqlx::query!(
        "update images set removed_at = clock_timestamp()
         where product_id = $1 and id = any($2) and removed_at is null",
        id,
        images
    )
    .execute(&mut *transaction)
    .await?;
    if removed.rows_affected() == 0 {
        transaction.rollback().await?;
        let state = read::product(connection, product).await?;
        return state.map(Written::Done).ok_or_else(|| Error::internal("the product vanished"));
    }
    finish(transaction, (id, product), revision, audit).await
}

async fn removed(
    connection: &mut PgConnection,
    after: Option<RemovedAt>,
    limit: u32,
) -> Result<Vec<Removed>> {
    // No removal is of that time.
    let (after, image) = after.unwrap_or((DateTime::UNIX_EPOCH, Uuid::nil()));
    let rows = sqlx::query_as!(
        RemovedRow,
        r#"select images.id, products.name as product, releases.version, images.filename, images.size, images.sha256,
                  images.removed_at as "removed_at!"
           from images
           join products on products.id = images.product_id
           join releases on releases.id = images.release_id
           where images.removed_at is not null and images.object_removed_at is null
                 and (images.removed_at, images.id) > ($1, $2)
           order by images.removed_at, images.id limit $3"#,
        after,
        image,
        i64::from(limit)
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(RemovedRow::into_removed).collect()
}

async fn object_is_gone(connection: &mut PgConnection, image: Uuid) -> Result<bool> {
    let noted = sqlx::query!(
        "update images set object_removed_at = clock_timestamp()
         where id = $1 and removed_at is not null and object_removed_at is null",
        image
    )
    .execute(connection)
    .await?;
    Ok(noted.rows_affected() > 0)
}
