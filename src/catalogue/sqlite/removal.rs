//! Removing images for good.

use async_trait::async_trait;
use chrono::DateTime;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    super::{
        Audit, Removal, Removed, RemovedAt, Written,
        stored::{self, RemovedRow},
    },
    SqliteCatalogue, now, read,
    rows::json,
    write::{advance, finish},
};
use crate::{
    domain::{ProductName, ProductState, Revision},
    error::{Error, Result},
};

#[async_trait]
impl Removal for SqliteCatalogue {
    async fn remove(
        &self,
        product: &ProductName,
        images: &[Uuid],
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        let mut transaction = self.begin().await?;
        match remove(&mut transaction, product, images, judged_at, audit).await? {
            Some(written) => self.settle(transaction, written).await,
            None => {
                transaction.rollback().await?;
                let state = read::product(&mut *self.snapshot().await?, product).await?;
                state.map(Written::Done).ok_or_else(|| Error::internal("the product vanished"))
            }
        }
    }

    async fn removed(&self, after: Option<RemovedAt>, limit: u32) -> Result<Vec<Removed>> {
        // No removal is of that time.
        let (after, image) = after.unwrap_or((DateTime::UNIX_EPOCH, Uuid::nil()));
        let rows: Vec<RemovedRow> = sqlx::query_as(
            "select images.id, products.name as product, releases.version, images.filename, images.size, images.sha256,
                    images.removed_at
             from images
             join products on products.id = images.product_id
             join releases on releases.id = images.release_id
             where images.removed_at is not null and images.object_removed_at is null
                   and (images.removed_at, images.id) > (?1, ?2)
             order by images.removed_at, images.id limit ?3",
        )
        .bind(after.timestamp_micros())
        .bind(image.hyphenated())
        .bind(limit)
        .fetch_all(&mut *self.snapshot().await?)
        .await?;
        rows.into_iter().map(RemovedRow::into_removed).collect()
    }

    async fn object_is_gone(&self, image: Uuid) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let noted = sqlx::query(
            "update images set object_removed_at = ?2
             where id = ?1 and removed_at is not null and object_removed_at is null",
        )
        .bind(image.hyphenated())
        .bind(now().timestamp_micros())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(noted.rows_affected() > 0)
    }
}

/// `None` = all of them are removed already, and there is nothing to commit.
async fn remove(
    connection: &mut SqliteConnection,
    product: &ProductName,
    images: &[Uuid],
    judged_at: Revision,
    audit: &Audit,
) -> Result<Option<Written<ProductState>>> {
    stored::check_texts(audit, [])?;
    let Some((id, revision)) = advance(connection, product, judged_at).await? else {
        return Ok(Some(Written::Stale));
    };
    let removed = sqlx::query(
        "update images set removed_at = ?3
         where product_id = ?1 and id in (select value from json_each(?2)) and removed_at is null",
    )
    .bind(id.hyphenated())
    .bind(json(images))
    .bind(now().timestamp_micros())
    .execute(&mut *connection)
    .await?;
    if removed.rows_affected() == 0 {
        return Ok(None);
    }
    Ok(Some(finish(connection, (id, product), revision, audit).await?))
}
