//! Reading what has been published. The caller's transaction makes all statements see one moment.

use std::collections::BTreeSet;

use sqlx::SqliteConnection;

use super::{
    super::{
        Changes,
        stored::{self, AttachmentRow, ImageRow, PendingRow, ProductRow, PromotionRow, ReleaseRow},
    },
    rows::json,
};
use crate::{
    domain::{Product, ProductName, ProductState, Revision},
    error::Result,
};

/// The migrations that have run, with their checksums.
pub(super) async fn applied(connection: &mut SqliteConnection) -> Result<Vec<(i64, Vec<u8>)>> {
    let exists: bool =
        sqlx::query_scalar("select exists (select 1 from sqlite_schema where name = '_sqlx_migrations')")
            .fetch_one(&mut *connection)
            .await?;
    if !exists {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as("select version, checksum from _sqlx_migrations order by version")
        .fetch_all(connection)
        .await?)
}

pub(super) async fn revision(connection: &mut SqliteConnection) -> Result<Revision> {
    let revision = sqlx::query_scalar("select revision from catalogue_state").fetch_one(connection).await?;
    Ok(Revision(stored::count(revision)?))
}

pub(super) async fn products(connection: &mut SqliteConnection) -> Result<Vec<Product>> {
    let rows: Vec<ProductRow> = sqlx::query_as(
        "select id, name, settings, device_secrets, created_at, revision from products order by name",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(ProductRow::into_product).collect()
}

/// The product alone.
pub(super) async fn find(connection: &mut SqliteConnection, name: &ProductName) -> Result<Option<Product>> {
    let row: Option<ProductRow> = sqlx::query_as(
        "select id, name, settings, device_secrets, created_at, revision from products where name = ?1",
    )
    .bind(name.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(ProductRow::into_product).transpose()
}

pub(super) async fn product(
    connection: &mut SqliteConnection,
    name: &ProductName,
) -> Result<Option<ProductState>> {
    let product = find(connection, name).await?;
    Ok(states(connection, product.into_iter().collect(), true).await?.pop())
}

/// The next page of changed products. None can be missed: there is one writer, so revisions become visible in their
/// order, and a product that changes again while pages are read moves to a later page or to the next call.
pub(super) async fn changes(
    connection: &mut SqliteConnection,
    since: Revision,
    limit: u32,
) -> Result<Changes> {
    let limit = limit.max(1);
    let current = revision(connection).await?;
    let rows: Vec<ProductRow> = sqlx::query_as(
        "select id, name, settings, device_secrets, created_at, revision from products
         where revision > ?1 order by revision limit ?2",
    )
    .bind(stored::stored_revision(since))
    .bind(i64::from(limit) + 1)
    .fetch_all(&mut *connection)
    .await?;
    let more = rows.len() as u64 > u64::from(limit);
    let page = rows.into_iter().take(limit as usize).map(ProductRow::into_product).collect::<Result<_>>()?;
    let products = states(connection, page, false).await?;
    let last = products.last().map(|state| state.product.revision);
    let revision = if more { last.unwrap_or(current) } else { current };
    Ok(Changes { products, revision, more })
}

pub(super) async fn states(
    connection: &mut SqliteConnection,
    products: Vec<Product>,
    with_facts: bool,
) -> Result<Vec<ProductState>> {
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let ids = json(products.iter().map(|product| product.id));
    let releases: Vec<ReleaseRow> = sqlx::query_as(
        "select id, product_id, version, notes, created_at, recalled_at, recall_reason, recall_replacement, floor,
                upgrade_from, security from releases
         where product_id in (select value from json_each(?1)) order by created_at, id",
    )
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?;
    let images: Vec<ImageRow> = sqlx::query_as(
        "select id, release_id, filename, hardware, size, sha256, sha1, md5, etag, created_at,
                case when ?2 then facts end as facts, signature, removed_at
         from images
         where product_id in (select value from json_each(?1)) order by created_at, id",
    )
    .bind(&ids)
    .bind(with_facts)
    .fetch_all(&mut *connection)
    .await?;
    let promotions: Vec<PromotionRow> = sqlx::query_as(
        "select product_id, channel, image_id, promoted_at, withdrawn_at from promotions
         where product_id in (select value from json_each(?1)) order by promoted_at, channel, image_id",
    )
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?;
    let attachments: Vec<AttachmentRow> = sqlx::query_as(
        "select release_id, name, kind, specification, size, sha256, created_at from attachments
         where product_id in (select value from json_each(?1)) order by name",
    )
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?;
    let pending = pending(&mut *connection, &ids).await?;
    stored::assemble(products, releases, images, promotions, attachments, pending)
}

pub(super) async fn known_keys(
    connection: &mut SqliteConnection,
    keys: &[String],
) -> Result<BTreeSet<String>> {
    let known: Vec<String> =
        sqlx::query_scalar("select key from images where key in (select value from json_each(?1))")
            .bind(json(keys))
            .fetch_all(connection)
            .await?;
    Ok(known.into_iter().collect())
}

/// What waits at the gate, of these products (a JSON list of ids).
pub(super) async fn pending(connection: &mut SqliteConnection, products: &str) -> Result<Vec<PendingRow>> {
    let rows = sqlx::query_as(
        "select product_id, channel, image_id, withdraw, asked_at, allow_stranding, reason, attempts, last_error,
                refused_at from pending_promotions
         where product_id in (select value from json_each(?1)) order by asked_at, channel, image_id",
    )
    .bind(products)
    .fetch_all(connection)
    .await?;
    Ok(rows)
}
