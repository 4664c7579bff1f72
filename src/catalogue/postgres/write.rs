//! The changes. Each is one transaction, and all have the same shape:
//!
//! 1. take the next revision, whose row lock puts all changes in one line;
//! 2. move the product to it, only if it is still at the revision that was judged;
//! 3. write what changes, and the audit entry;
//! 4. notify: Postgres delivers at commit, or never.
//!
//! Locks are taken in one order: the revision, the product, reservations. `reserve` takes the latter two in the same
//! order, so nobody waits in a circle.

use sqlx::{Connection, PgConnection, postgres::PgTransaction};
use uuid::Uuid;

use super::{
    super::{
        Audit, NewImage, Promote, Written, failure,
        stored::{self, ProductRow},
    },
    audit,
    listener::CHANNEL,
    read, waiting,
};
use crate::{
    bucket::ObjectKey,
    domain::{Product, ProductName, ProductSettings, ProductState, Revision, UpgradePath, Version},
    error::{Error, Result},
};

/// Takes the next revision; until this transaction ends, nobody else can.
pub(super) async fn next_revision(connection: &mut PgConnection) -> Result<i64> {
    let revision =
        sqlx::query_scalar!("update catalogue_state set revision = revision + 1 returning revision")
            .fetch_one(connection)
            .await?;
    Ok(revision)
}

/// Moves the product to the new revision if it is still at the judged one; `None` = it is not.
pub(super) async fn advance(
    connection: &mut PgConnection,
    product: &ProductName,
    judged_at: Revision,
    revision: i64,
) -> Result<Option<Uuid>> {
    let id = sqlx::query_scalar!(
        "update products set revision = $3 where name = $1 and revision = $2 returning id",
        product.as_str(),
        stored::stored_revision(judged_at),
        revision
    )
    .fetch_optional(connection)
    .await?;
    Ok(id)
}

/// Wakes the listeners at commit.
pub(super) async fn notify(connection: &mut PgConnection, revision: i64) -> Result<()> {
    sqlx::query!("select pg_notify($1, $2::bigint::text)", CHANNEL, revision).execute(connection).await?;
    Ok(())
}

/// Reads the product as the transaction has left it, writes the audit entry, and commits.
pub(super) async fn finish(
    mut transaction: PgTransaction<'_>,
    product: (Uuid, &ProductName),
    revision: i64,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    let state = read::state(&mut transaction, product.1).await?;
    let state = state.ok_or_else(|| Error::internal("the product vanished while it was being changed"))?;
    audit::record(&mut transaction, product, revision, audit, audit.shown.of(&state)).await?;
    notify(&mut transaction, revision).await?;
    transaction.commit().await?;
    Ok(Written::Done(state))
}

pub(super) async fn put_product(
    connection: &mut PgConnection,
    name: &ProductName,
    settings: &ProductSettings,
    audit: &Audit,
) -> Result<(Product, bool)> {
    stored::check_texts(audit, [])?;
    // Most calls repeat what is there, and need not wait in the line of changes.
    if let Some(product) = read::find(connection, name).await?
        && product.settings == settings.after(&product.settings)
    {
        return Ok((product, false));
    }
    let mut transaction = connection.begin().await?;
    let revision = next_revision(&mut transaction).await?;
    // Again, now that nobody else can change it.
    let existing = read::find(&mut transaction, name).await?;
    let created = existing.is_none();
    let settings = &stored::settings_after(settings, existing.as_ref());
    let audit = stored::settings_audit(audit, existing.as_ref().map(|product| &product.settings));
    let stored_settings = stored::settings(settings);
    let row = match existing {
        Some(product) if product.settings == *settings => {
            transaction.rollback().await?;
            return Ok((product, false));
        }
        Some(product) => {
            sqlx::query_as!(
                ProductRow,
                "update products set settings = $2, revision = $3 where id = $1
                 returning id, name, settings, device_secrets, created_at, revision",
                product.id,
                stored_settings,
                revision
            )
            .fetch_one(&mut *transaction)
            .await?
        }
        None => {
            sqlx::query_as!(
                ProductRow,
                "insert into products (id, name, settings, created_at, revision)
                 values ($1, $2, $3, clock_timestamp(), $4)
                 returning id, name, settings, device_secrets, created_at, revision",
                Uuid::now_v7(),
                name.as_str(),
                stored_settings,
                revision
            )
            .fetch_one(&mut *transaction)
            .await?
        }
    };
    audit::record(&mut transaction, (row.id, name), revision, &audit, stored_settings).await?;
    notify(&mut transaction, revision).await?;
    transaction.commit().await?;
    Ok((row.into_product()?, created))
}

pub(super) async fn publish(
    connection: &mut PgConnection,
    new: &NewImage,
    promote: Option<&Promote>,
    judged_at: Revision,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    let NewImage { reservation, image, notes, path } = new;
    stored::check_texts(audit, notes.as_deref())?;
    let mut transaction = connection.begin().await?;
    let revision = next_revision(&mut transaction).await?;
    let product = advance(&mut transaction, &reservation.product, judged_at, revision).await?;
    let ended = sqlx::query!(
        "delete from reservations where id = $1 and holder = $2",
        reservation.id,
        reservation.holder
    )
    .execute(&mut *transaction)
    .await?;
    if ended.rows_affected() == 0 {
        // Told before `Stale`: reading and judging again would be in vain.
        transaction.rollback().await?;
        return Ok(Written::Lost);
    }
    let Some(product) = product else {
        transaction.rollback().await?;
        return Ok(Written::Stale);
    };
    let release = sqlx::query_scalar!(
        "insert into releases (id, product_id, version, notes, created_at, floor, upgrade_from)
         values ($1, $2, $3, $4, clock_timestamp(), $5, $6)
         on conflict on constraint releases_version_key
         do update set notes = coalesce(excluded.notes, releases.notes), floor = releases.floor or excluded.floor,
                       upgrade_from = coalesce(excluded.upgrade_from, releases.upgrade_from)
         returning id",
        Uuid::now_v7(),
        product,
        reservation.version.to_string(),
        notes.as_deref(),
        path.floor,
        path.upgrade_from.as_ref().map(ToString::to_string)
    )
    .fetch_one(&mut *transaction)
    .await?;
    let key = ObjectKey::image(&reservation.product, &reservation.version, &image.filename);
    sqlx::query!(
        "insert into images (id, product_id, release_id, key, filename, hardware, size, sha256, sha1, md5, etag, created_at,
                             facts, signature)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        image.id,
        product,
        release,
        key.as_str(),
        image.filename.as_str(),
        &stored::hardware_names(&image.hardware),
        stored::stored_count(image.size)?,
        image.digests.sha256.as_slice(),
        image.digests.sha1.as_slice(),
        image.digests.md5.as_slice(),
        image.etag,
        stored::stored_time(image.created_at),
        image.facts.as_deref().map(stored::facts),
        image.signature.as_deref()
    )
    .execute(&mut *transaction)
    .await?;
    if let Some(promote) = promote {
        apply(&mut transaction, product, promote).await?;
    }
    finish(transaction, (product, &reservation.product), revision, audit).await
}

pub(super) async fn promote(
    connection: &mut PgConnection,
    product: &ProductName,
    promote: &Promote,
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
    apply(&mut transaction, id, promote).await?;
    finish(transaction, (id, product), revision, audit).await
}

/// Changes what a channel offers. An image that is not the product's breaks `promotions_image_fkey`: a defect.
async fn apply(connection: &mut PgConnection, product: Uuid, promote: &Promote) -> Result<()> {
    waiting::end(connection, product, promote).await?;
    if promote.pending {
        return waiting::add(connection, product, promote).await;
    }
    sqlx::query!(
        "update promotions set withdrawn_at = clock_timestamp()
         where product_id = $1 and channel = $2 and image_id = any($3) and withdrawn_at is null",
        product,
        promote.channel.as_str(),
        &promote.withdraw
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into promotions (product_id, channel, image_id, promoted_at)
         select $1, $2, image_id, clock_timestamp() from unnest($3::uuid[]) as image_id
         on conflict on constraint promotions_pkey
         do update set promoted_at = excluded.promoted_at, withdrawn_at = null
         where promotions.withdrawn_at is not null",
        product,
        promote.channel.as_str(),
        &promote.images
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn recall(
    connection: &mut PgConnection,
    product: &ProductName,
    version: &Version,
    reason: &str,
    replacement: Option<&Version>,
    judged_at: Revision,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    stored::check_texts(audit, [reason])?;
    let mut transaction = connection.begin().await?;
    let revision = next_revision(&mut transaction).await?;
    let Some(id) = advance(&mut transaction, product, judged_at, revision).await? else {
        transaction.rollback().await?;
        return Ok(Written::Stale);
    };
    let recalled = sqlx::query!(
        "update releases set recalled_at = coalesce(recalled_at, clock_timestamp()),
                             recall_reason = coalesce(recall_reason, $3), recall_replacement = $4
         where product_id = $1 and version = $2
           and (recalled_at is null or (recall_replacement is distinct from $4 and $4 is not null))",
        id,
        version.to_string(),
        reason,
        replacement.map(ToString::to_string)
    )
    .execute(&mut *transaction)
    .await?;
    if recalled.rows_affected() == 0 {
        transaction.rollback().await?;
        return match read::product(connection, product).await? {
            Some(state) if state.release(version).is_some() => Ok(Written::Done(state)),
            _ => Err(failure::no_release(product, version)),
        };
    }
    waiting::end_of_release(&mut transaction, id, &version.to_string()).await?;
    finish(transaction, (id, product), revision, audit).await
}

pub(super) async fn set_path(
    connection: &mut PgConnection,
    product: &ProductName,
    version: &Version,
    path: &UpgradePath,
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
    let changed = sqlx::query!(
        "update releases set floor = $3, upgrade_from = $4 where product_id = $1 and version = $2",
        id,
        version.to_string(),
        path.floor,
        path.upgrade_from.as_ref().map(ToString::to_string)
    )
    .execute(&mut *transaction)
    .await?;
    if changed.rows_affected() == 0 {
        transaction.rollback().await?;
        return Err(failure::no_release(product, version));
    }
    finish(transaction, (id, product), revision, audit).await
}
