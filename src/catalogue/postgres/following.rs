//! Following what checks are answered from. A page is read in one `repeatable read` transaction.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::PgConnection;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    super::{
        Following, Offered, Standing,
        stored::{self, ImageRow, OfferedRow, ProductRow, ReleaseRow},
    },
    ANSWER_WITHIN, PostgresCatalogue, call, read,
};
use crate::{
    domain::{AuditHash, Product, ProductState, Revision},
    error::Result,
};

#[async_trait]
impl Following for PostgresCatalogue {
    async fn standing(&self, at: Revision) -> Result<Standing> {
        call!(self, standing, at)
    }

    async fn offered(&self, since: Revision, limit: u32) -> Result<Offered> {
        call!(self, offered, since, limit)
    }
}

/// One statement, so one moment.
async fn standing(connection: &mut PgConnection, at: Revision) -> Result<Standing> {
    let row = sqlx::query!(
        "select revision, (select hash from audit where audit.revision = $1) as hash from catalogue_state",
        stored::stored_revision(at)
    )
    .fetch_one(connection)
    .await?;
    Ok(Standing {
        revision: Revision(stored::count(row.revision)?),
        hash: row.hash.map(stored::audit_hash).transpose()?,
    })
}

async fn hash_at(connection: &mut PgConnection, at: Revision) -> Result<Option<AuditHash>> {
    Ok(standing(connection, at).await?.hash)
}

async fn offered(connection: &mut PgConnection, since: Revision, limit: u32) -> Result<Offered> {
    let limit = limit.max(1);
    let mut transaction = read::begin(connection).await?;
    let Standing { revision: current, hash: before } = standing(&mut transaction, since).await?;
    let rows = sqlx::query_as!(
        ProductRow,
        "select id, name, settings, device_secrets, created_at, revision from products
         where revision > $1 order by revision limit $2",
        stored::stored_revision(since),
        i64::from(limit) + 1
    )
    .fetch_all(&mut *transaction)
    .await?;
    let more = rows.len() as u64 > u64::from(limit);
    let page: Vec<Product> =
        rows.into_iter().take(limit as usize).map(ProductRow::into_product).collect::<Result<_>>()?;
    let last = page.last().map(|product| product.revision);
    let revision = if more { last.unwrap_or(current) } else { current };

    let whole = read_whole(&mut transaction, &page).await?;
    let (whole, summed_up) =
        page.into_iter().partition(|product| stored::is_read_whole(product) || whole.contains(&product.id));
    let mut products = read::states(&mut transaction, whole, false).await?;
    products.extend(summed_up_states(&mut transaction, summed_up).await?);
    let hash = hash_at(&mut transaction, revision).await?;
    transaction.commit().await?;
    Ok(Offered { products, before, revision, hash, more })
}

fn ids(products: &[Product]) -> Vec<Uuid> {
    products.iter().map(|product| product.id).collect()
}

/// Which of the products cannot be summed up.
async fn read_whole(connection: &mut PgConnection, products: &[Product]) -> Result<BTreeSet<Uuid>> {
    let ids = sqlx::query_scalar!(
        "select distinct product_id from releases
         where product_id = any($1) and (floor or upgrade_from is not null or recall_replacement is not null)",
        &ids(products)
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().collect())
}

async fn summed_up_states(
    connection: &mut PgConnection,
    products: Vec<Product>,
) -> Result<Vec<ProductState>> {
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let summed_up = sqlx::query_as!(
        OfferedRow,
        r#"select promotions.product_id, promotions.channel, min(promotions.promoted_at) as "promoted_at!",
                  string_agg(
                      case when releases.recalled_at is null and images.removed_at is null
                      then releases.version || ' ' || images.id::text end, ','
                  ) as images
           from promotions
           join images on images.id = promotions.image_id
           join releases on releases.id = images.release_id
           where promotions.product_id = any($1) and promotions.withdrawn_at is null
           group by promotions.product_id, promotions.channel, images.hardware"#,
        &ids(&products)
    )
    .fetch_all(&mut *connection)
    .await?;
    let promotions = stored::chosen(summed_up)?;
    let chosen: Vec<_> = promotions.iter().map(|promotion| promotion.image_id).collect();
    let images = sqlx::query_as!(
        ImageRow,
        "select id, release_id, filename, hardware, size, sha256, sha1, md5, etag, created_at,
                null::jsonb as facts, signature, removed_at
         from images where id = any($1) order by created_at, id",
        &chosen
    )
    .fetch_all(&mut *connection)
    .await?;
    let chosen: BTreeSet<_> = images.iter().map(|image| image.release_id).collect();
    let releases = sqlx::query_as!(
        ReleaseRow,
        "select id, product_id, version, notes, created_at, recalled_at, recall_reason, recall_replacement, floor,
                upgrade_from, security from releases
         where id = any($1) order by created_at, id",
        &chosen.into_iter().collect::<Vec<_>>()
    )
    .fetch_all(&mut *connection)
    .await?;
    let pending = read::pending(connection, &ids(&products)).await?;
    stored::assemble(products, releases, images, promotions, Vec::new(), pending)
}
