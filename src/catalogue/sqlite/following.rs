//! Following what checks are answered from. One read transaction is one moment.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use uuid::{Uuid, fmt::Hyphenated};

use super::{
    super::{
        Following, Offered, Standing,
        stored::{self, ImageRow, OfferedRow, ProductRow, ReleaseRow},
    },
    SqliteCatalogue, read,
    rows::json,
};
use crate::{
    domain::{AuditHash, Product, ProductState, Revision},
    error::Result,
};

#[async_trait]
impl Following for SqliteCatalogue {
    async fn standing(&self, at: Revision) -> Result<Standing> {
        let mut transaction = self.snapshot().await?;
        let revision = read::revision(&mut transaction).await?;
        Ok(Standing { revision, hash: hash_at(&mut transaction, at).await? })
    }

    async fn offered(&self, since: Revision, limit: u32) -> Result<Offered> {
        offered(&mut *self.snapshot().await?, since, limit).await
    }
}

async fn hash_at(connection: &mut SqliteConnection, at: Revision) -> Result<Option<AuditHash>> {
    let hash: Option<Option<Vec<u8>>> = sqlx::query_scalar("select hash from audit where revision = ?1")
        .bind(stored::stored_revision(at))
        .fetch_optional(connection)
        .await?;
    hash.flatten().map(stored::audit_hash).transpose()
}

async fn offered(connection: &mut SqliteConnection, since: Revision, limit: u32) -> Result<Offered> {
    let limit = limit.max(1);
    let current = read::revision(connection).await?;
    let before = hash_at(connection, since).await?;
    let rows: Vec<ProductRow> = sqlx::query_as(
        "select id, name, settings, device_secrets, created_at, revision from products
         where revision > ?1 order by revision limit ?2",
    )
    .bind(stored::stored_revision(since))
    .bind(i64::from(limit) + 1)
    .fetch_all(&mut *connection)
    .await?;
    let more = rows.len() as u64 > u64::from(limit);
    let page: Vec<Product> =
        rows.into_iter().take(limit as usize).map(ProductRow::into_product).collect::<Result<_>>()?;
    let last = page.last().map(|product| product.revision);
    let revision = if more { last.unwrap_or(current) } else { current };

    let whole = read_whole(connection, &page).await?;
    let (whole, summed_up) =
        page.into_iter().partition(|product| stored::is_read_whole(product) || whole.contains(&product.id));
    let mut products = read::states(connection, whole, false).await?;
    products.extend(summed_up_states(connection, summed_up).await?);
    Ok(Offered { products, before, revision, hash: hash_at(connection, revision).await?, more })
}

/// Which of the products cannot be summed up.
async fn read_whole(connection: &mut SqliteConnection, products: &[Product]) -> Result<BTreeSet<Uuid>> {
    let ids: Vec<Hyphenated> = sqlx::query_scalar(
        "select distinct product_id from releases
         where product_id in (select value from json_each(?1))
           and (floor = 1 or upgrade_from is not null or recall_replacement is not null)",
    )
    .bind(json(products.iter().map(|product| product.id)))
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(Hyphenated::into_uuid).collect())
}

async fn summed_up_states(
    connection: &mut SqliteConnection,
    products: Vec<Product>,
) -> Result<Vec<ProductState>> {
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let summed_up: Vec<OfferedRow> = sqlx::query_as(
        "select promotions.product_id, promotions.channel, min(promotions.promoted_at) as promoted_at,
                group_concat(
                    case when releases.recalled_at is null and images.removed_at is null
                         then releases.version || ' ' || images.id end
                ) as images
         from promotions
         join images on images.id = promotions.image_id
         join releases on releases.id = images.release_id
         where promotions.product_id in (select value from json_each(?1)) and promotions.withdrawn_at is null
         group by promotions.product_id, promotions.channel, images.hardware",
    )
    .bind(json(products.iter().map(|product| product.id)))
    .fetch_all(&mut *connection)
    .await?;
    let promotions = stored::chosen(summed_up)?;
    let ids = json(promotions.iter().map(|promotion| promotion.image_id));
    let images: Vec<ImageRow> = sqlx::query_as(
        "select id, release_id, filename, hardware, size, sha256, sha1, md5, etag, created_at, null as facts, signature,
                removed_at
         from images where id in (select value from json_each(?1)) order by created_at, id",
    )
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?;
    let releases: Vec<ReleaseRow> = sqlx::query_as(
        "select id, product_id, version, notes, created_at, recalled_at, recall_reason, recall_replacement, floor,
                upgrade_from, security from releases
         where id in (select value from json_each(?1)) order by created_at, id",
    )
    .bind(json(images.iter().map(|image| image.release_id).collect::<BTreeSet<_>>()))
    .fetch_all(&mut *connection)
    .await?;
    let ids = json(products.iter().map(|product| product.id));
    let pending = read::pending(connection, &ids).await?;
    stored::assemble(products, releases, images, promotions, Vec::new(), pending)
}
