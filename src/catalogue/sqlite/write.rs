//! The changes. They run in a transaction of the one writer, which the caller commits or rolls back, so what was read
//! in it stays true.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    super::{Audit, NewImage, Promote, Written, failure, stored},
    audit, now, read, reservation,
    rows::json,
    waiting,
};
use crate::{
    bucket::ObjectKey,
    domain::{
        DeviceSecrets, Product, ProductName, ProductSettings, ProductState, Revision, UpgradePath, Version,
    },
    error::{Error, Result},
};

/// What became of [`put_product`].
pub(super) enum Put {
    /// It was so already; there is nothing to commit.
    Equal(Product),
    /// The product, and whether it was created.
    Done(Product, bool),
}

async fn next_revision(connection: &mut SqliteConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("update catalogue_state set revision = revision + 1 returning revision")
        .fetch_one(connection)
        .await?)
}

/// Moves the product to the next revision if it is still at the judged one; `None` = it is not.
pub(super) async fn advance(
    connection: &mut SqliteConnection,
    product: &ProductName,
    judged_at: Revision,
) -> Result<Option<(Uuid, i64)>> {
    let revision = next_revision(connection).await?;
    let id: Option<uuid::fmt::Hyphenated> = sqlx::query_scalar(
        "update products set revision = ?3 where name = ?1 and revision = ?2 returning id",
    )
    .bind(product.as_str())
    .bind(stored::stored_revision(judged_at))
    .bind(revision)
    .fetch_optional(connection)
    .await?;
    Ok(id.map(|id| (id.into_uuid(), revision)))
}

/// Reads the product as the transaction has left it, and writes the audit entry.
pub(super) async fn finish(
    connection: &mut SqliteConnection,
    product: (Uuid, &ProductName),
    revision: i64,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    let state = read::product(connection, product.1).await?;
    let state = state.ok_or_else(|| Error::internal("the product vanished while it was being changed"))?;
    audit::record(connection, product, revision, audit, audit.shown.of(&state)).await?;
    Ok(Written::Done(state))
}

pub(super) async fn put_product(
    connection: &mut SqliteConnection,
    name: &ProductName,
    settings: &ProductSettings,
    audit: &Audit,
) -> Result<Put> {
    stored::check_texts(audit, [])?;
    let existing = read::find(connection, name).await?;
    let created = existing.is_none();
    let settings = &stored::settings_after(settings, existing.as_ref());
    let audit = stored::settings_audit(audit, existing.as_ref().map(|product| &product.settings));
    let stored_settings = stored::settings(settings);
    let (product, revision) = match existing {
        Some(product) if product.settings == *settings => return Ok(Put::Equal(product)),
        Some(product) => {
            let revision = next_revision(connection).await?;
            sqlx::query("update products set settings = ?2, revision = ?3 where id = ?1")
                .bind(product.id.hyphenated())
                .bind(stored_settings.to_string())
                .bind(revision)
                .execute(&mut *connection)
                .await?;
            let settings = settings.clone();
            (Product { settings, revision: Revision(stored::count(revision)?), ..product }, revision)
        }
        None => {
            let revision = next_revision(connection).await?;
            let product = Product {
                id: Uuid::now_v7(),
                name: name.clone(),
                settings: settings.clone(),
                device_secrets: DeviceSecrets::default(),
                created_at: now(),
                revision: Revision(stored::count(revision)?),
            };
            sqlx::query(
                "insert into products (id, name, settings, created_at, revision) values (?1, ?2, ?3, ?4, ?5)",
            )
            .bind(product.id.hyphenated())
            .bind(name.as_str())
            .bind(stored_settings.to_string())
            .bind(product.created_at.timestamp_micros())
            .bind(revision)
            .execute(&mut *connection)
            .await?;
            (product, revision)
        }
    };
    audit::record(connection, (product.id, name), revision, &audit, stored_settings).await?;
    Ok(Put::Done(product, created))
}

pub(super) async fn publish(
    connection: &mut SqliteConnection,
    new: &NewImage,
    promote: Option<&Promote>,
    judged_at: Revision,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    let NewImage { reservation, image, notes, path } = new;
    stored::check_texts(audit, notes.as_deref())?;
    if !reservation::end(connection, reservation).await? {
        return Ok(Written::Lost);
    }
    let Some((product, revision)) = advance(connection, &reservation.product, judged_at).await? else {
        return Ok(Written::Stale);
    };
    let release: uuid::fmt::Hyphenated = sqlx::query_scalar(
        "insert into releases (id, product_id, version, notes, created_at, floor, upgrade_from)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         on conflict (product_id, version)
         do update set notes = coalesce(excluded.notes, notes), floor = max(floor, excluded.floor),
                       upgrade_from = coalesce(excluded.upgrade_from, upgrade_from)
         returning id",
    )
    .bind(Uuid::now_v7().hyphenated())
    .bind(product.hyphenated())
    .bind(reservation.version.to_string())
    .bind(notes)
    .bind(now().timestamp_micros())
    .bind(path.floor)
    .bind(path.upgrade_from.as_ref().map(ToString::to_string))
    .fetch_one(&mut *connection)
    .await?;
    let key = ObjectKey::image(&reservation.product, &reservation.version, &image.filename);
    sqlx::query(
        "insert into images (id, product_id, release_id, key, filename, hardware, size, sha256, sha1, md5, etag, created_at,
                             facts, signature)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )
    .bind(image.id.hyphenated())
    .bind(product.hyphenated())
    .bind(release)
    .bind(key.as_str())
    .bind(image.filename.as_str())
    .bind(json(&image.hardware))
    .bind(stored::stored_count(image.size)?)
    .bind(image.digests.sha256.as_slice())
    .bind(image.digests.sha1.as_slice())
    .bind(image.digests.md5.as_slice())
    .bind(&image.etag)
    .bind(stored::stored_time(image.created_at).timestamp_micros())
    .bind(image.facts.as_deref().map(|facts| stored::facts(facts).to_string()))
    .bind(&image.signature)
    .execute(&mut *connection)
    .await?;
    if let Some(promote) = promote {
        apply(connection, product, promote).await?;
    }
    finish(connection, (product, &reservation.product), revision, audit).await
}

pub(super) async fn promote(
    connection: &mut SqliteConnection,
    product: &ProductName,
    promote: &Promote,
    judged_at: Revision,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    stored::check_texts(audit, [])?;
    let Some((id, revision)) = advance(connection, product, judged_at).await? else {
        return Ok(Written::Stale);
    };
    apply(connection, id, promote).await?;
    finish(connection, (id, product), revision, audit).await
}

/// Changes what a channel offers. An image that is not the product's breaks the foreign key: a defect.
async fn apply(connection: &mut SqliteConnection, product: Uuid, promote: &Promote) -> Result<()> {
    waiting::end(connection, product, promote).await?;
    if promote.pending {
        return waiting::add(connection, product, promote).await;
    }
    sqlx::query(
        "update promotions set withdrawn_at = ?4
         where product_id = ?1 and channel = ?2 and image_id in (select value from json_each(?3))
           and withdrawn_at is null",
    )
    .bind(product.hyphenated())
    .bind(promote.channel.as_str())
    .bind(json(&promote.withdraw))
    .bind(now().timestamp_micros())
    .execute(&mut *connection)
    .await?;
    // `where true`: without it SQLite reads `on` as that of a join.
    sqlx::query(
        "insert into promotions (product_id, channel, image_id, promoted_at)
         select ?1, ?2, value, ?4 from json_each(?3) where true
         on conflict (product_id, channel, image_id)
         do update set promoted_at = excluded.promoted_at, withdrawn_at = null where withdrawn_at is not null",
    )
    .bind(product.hyphenated())
    .bind(promote.channel.as_str())
    .bind(json(&promote.images))
    .bind(now().timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn recall(
    connection: &mut SqliteConnection,
    product: &ProductName,
    version: &Version,
    reason: &str,
    replacement: Option<&Version>,
    judged_at: Revision,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    stored::check_texts(audit, [reason])?;
    let state = match read::product(connection, product).await? {
        Some(state) if state.product.revision == judged_at => state,
        _ => return Ok(Written::Stale),
    };
    let release = state.release(version).ok_or_else(|| failure::no_release(product, version))?;
    if let Some(recall) = &release.recall
        && (replacement.is_none() || recall.replacement.as_ref() == replacement)
    {
        return Ok(Written::Done(state));
    }
    let Some((id, revision)) = advance(connection, product, judged_at).await? else {
        return Ok(Written::Stale);
    };
    sqlx::query(
        "update releases set recalled_at = coalesce(recalled_at, ?2), recall_reason = coalesce(recall_reason, ?3),
                             recall_replacement = ?4
         where id = ?1",
    )
    .bind(release.id.hyphenated())
    .bind(now().timestamp_micros())
    .bind(reason)
    .bind(replacement.map(ToString::to_string))
    .execute(&mut *connection)
    .await?;
    waiting::end_of_release(connection, release.id).await?;
    finish(connection, (id, product), revision, audit).await
}

pub(super) async fn set_path(
    connection: &mut SqliteConnection,
    product: &ProductName,
    version: &Version,
    path: &UpgradePath,
    judged_at: Revision,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    stored::check_texts(audit, [])?;
    let Some((id, revision)) = advance(connection, product, judged_at).await? else {
        return Ok(Written::Stale);
    };
    let changed = sqlx::query(
        "update releases set floor = ?3, upgrade_from = ?4 where product_id = ?1 and version = ?2",
    )
    .bind(id.hyphenated())
    .bind(version.to_string())
    .bind(path.floor)
    .bind(path.upgrade_from.as_ref().map(ToString::to_string))
    .execute(&mut *connection)
    .await?;
    if changed.rows_affected() == 0 {
        return Err(failure::no_release(product, version));
    }
    finish(connection, (id, product), revision, audit).await
}
