//! Reading what has been published.
//!
//! Whatever takes several statements reads in one `repeatable read` transaction, so that a product is told as it was
//! at one moment. A page of products takes seven statements, however many releases they have.

use std::collections::BTreeSet;

use sqlx::{Connection, PgConnection, postgres::PgTransaction};
use uuid::Uuid;

use super::super::{
    Changes,
    stored::{self, AttachmentRow, ImageRow, PendingRow, ProductRow, PromotionRow, ReleaseRow},
};
use crate::{
    domain::{Product, ProductName, ProductState, Revision},
    error::Result,
};

pub(super) async fn begin(connection: &mut PgConnection) -> Result<PgTransaction<'_>> {
    Ok(connection.begin_with("begin isolation level repeatable read, read only").await?)
}

pub(super) async fn revision(connection: &mut PgConnection) -> Result<Revision> {
    let revision = sqlx::query_scalar!("select revision from catalogue_state").fetch_one(connection).await?;
    Ok(Revision(stored::count(revision)?))
}

pub(super) async fn products(connection: &mut PgConnection) -> Result<Vec<Product>> {
    let rows = sqlx::query_as!(
        ProductRow,
        "select id, name, settings, device_secrets, created_at, revision from products order by name"
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(ProductRow::into_product).collect()
}

pub(super) async fn product(
    connection: &mut PgConnection,
    name: &ProductName,
) -> Result<Option<ProductState>> {
    let mut transaction = begin(connection).await?;
    let state = state(&mut transaction, name).await?;
    transaction.commit().await?;
    Ok(state)
}

/// A product within the caller's transaction, which must hold it still: by `repeatable read`, or by having changed it.
pub(super) async fn state(connection: &mut PgConnection, name: &ProductName) -> Result<Option<ProductState>> {
    let product = find(connection, name).await?;
    Ok(states(connection, product.into_iter().collect(), true).await?.pop())
}

/// The product alone.
pub(super) async fn find(connection: &mut PgConnection, name: &ProductName) -> Result<Option<Product>> {
    let row = sqlx::query_as!(
        ProductRow,
        "select id, name, settings, device_secrets, created_at, revision from products where name = $1",
        name.as_str()
    )
    .fetch_optional(connection)
    .await?;
    row.map(ProductRow::into_product).transpose()
}

/// The next page of changed products.
///
/// No change can be missed: a revision is taken by updating the one row of `catalogue_state`, whose lock is held until
/// commit, so revisions become visible in their order, and a reader that sees N sees every change up to N. A
/// product that changes again while pages are read moves to a higher revision, thus to a later page or to the
/// next call; it never moves to one that was told already.
pub(super) async fn changes(connection: &mut PgConnection, since: Revision, limit: u32) -> Result<Changes> {
    let limit = limit.max(1);
    let mut transaction = begin(connection).await?;
    let current = revision(&mut transaction).await?;
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
    let page = rows.into_iter().take(limit as usize).map(ProductRow::into_product).collect::<Result<_>>()?;
    let products = states(&mut transaction, page, false).await?;
    transaction.commit().await?;
    let last = products.last().map(|state| state.product.revision);
    let revision = if more { last.unwrap_or(current) } else { current };
    Ok(Changes { products, revision, more })
}

pub(super) async fn states(
    connection: &mut PgConnection,
    products: Vec<Product>,
    with_facts: bool,
) -> Result<Vec<ProductState>> {
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = products.iter().map(|product| product.id).collect();
    let releases = sqlx::query_as!(
        ReleaseRow,
        "select id, product_id, version, notes, created_at, recalled_at, recall_reason, recall_replacement, floor,
                upgrade_from, security from releases
         where product_id = any($1) order by created_at, id",
        &ids
    )
    .fetch_all(&mut *connection)
    .await?;
    let images = sqlx::query_as!(
        ImageRow,
        "select id, release_id, filename, hardware, size, sha256, sha1, md5, etag, created_at,
                case when $2 then facts end as facts, signature, removed_at
         from images
         where product_id = any($1) order by created_at, id",
        &ids,
        with_facts
    )
    .fetch_all(&mut *connection)
    .await?;
    let promotions = sqlx::query_as!(
        PromotionRow,
        "select product_id, channel, image_id, promoted_at, withdrawn_at from promotions
         where product_id = any($1) order by promoted_at, channel, image_id",
        &ids
    )
    .fetch_all(&mut *connection)
    .await?;
    let attachments = sqlx::query_as!(
        AttachmentRow,
        "select release_id, name, kind, specification, size, sha256, created_at from attachments
         where product_id = any($1) order by name",
        &ids
    )
    .fetch_all(&mut *connection)
    .await?;
    let pending = pending(&mut *connection, &ids).await?;
    stored::assemble(products, releases, images, promotions, attachments, pending)
}

pub(super) async fn known_keys(connection: &mut PgConnection, keys: &[String]) -> Result<BTreeSet<String>> {
    let known =
        sqlx::query_scalar!("select key from images where key = any($1)", keys).fetch_all(connection).await?;
    Ok(known.into_iter().collect())
}

/// What waits at the gate, of these products.
pub(super) async fn pending(connection: &mut PgConnection, products: &[Uuid]) -> Result<Vec<PendingRow>> {
    let rows = sqlx::query_as!(
        PendingRow,
        "select product_id, channel, image_id, withdraw, asked_at, allow_stranding, reason, attempts, last_error,
                refused_at from pending_promotions
         where product_id = any($1) order by asked_at, channel, image_id",
        products
    )
    .fetch_all(connection)
    .await?;
    Ok(rows)
}
