//! Making a lost catalogue anew.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use super::{
    super::{
        Audit, Rebuild,
        stored::{self, stored_time},
    },
    PostgresCatalogue, audit, read,
    write::notify,
};
use crate::{
    bucket::ObjectKey,
    domain::{Image, ProductState, Promotion, Release, Revision},
    error::{Error, Result},
};

/// A product may have a hundred thousand images, each of which is a row.
const WITHIN: Duration = Duration::from_secs(600);

#[async_trait]
impl Rebuild for PostgresCatalogue {
    async fn restore(&self, state: &ProductState, above: Revision, audit: &Audit) -> Result<bool> {
        let mut session = self.session().await?;
        let outcome = timeout(WITHIN, restore(&mut session.connection, state, above, audit)).await;
        session.end(outcome)
    }
}

async fn restore(
    connection: &mut PgConnection,
    state: &ProductState,
    above: Revision,
    audit: &Audit,
) -> Result<bool> {
    stored::check_texts(audit, state.releases.iter().filter_map(|release| release.notes.as_deref()))?;
    let mut transaction = connection.begin().await?;
    let revision = sqlx::query_scalar!(
        "update catalogue_state set revision = greatest(revision, $1) + 1 returning revision",
        stored::stored_revision(above)
    )
    .fetch_one(&mut *transaction)
    .await?;
    let product = &state.product;
    let added = sqlx::query!(
        "insert into products (id, name, settings, created_at, revision) values ($1, $2, $3, $4, $5)
         on conflict on constraint products_name_key do nothing",
        product.id,
        product.name.as_str(),
        stored::settings(&product.settings),
        stored_time(product.created_at),
        revision
    )
    .execute(&mut *transaction)
    .await?;
    if added.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(false);
    }
    for release in &state.releases {
        add_release(&mut transaction, state, release).await?;
        for image in &release.images {
            add_image(&mut transaction, state, release, image).await?;
        }
    }
    for (promotions, withdrawn) in [(&state.promotions, false), (&state.withdrawn, true)] {
        for promotion in promotions {
            add_promotion(&mut transaction, state, promotion, withdrawn).await?;
        }
    }
    let now = read::state(&mut transaction, &product.name).await?;
    let now = now.ok_or_else(|| Error::internal("the product vanished while it was being made"))?;
    audit::record(&mut transaction, (product.id, &product.name), revision, audit, audit.shown.of(&now))
        .await?;
    notify(&mut transaction, revision).await?;
    transaction.commit().await?;
    Ok(true)
}

async fn add_release(connection: &mut PgConnection, state: &ProductState, release: &Release) -> Result<()> {
    let recall = release.recall.as_ref();
    sqlx::query!(
        "insert into releases (id, product_id, version, notes, created_at, floor, upgrade_from, recalled_at, recall_reason,
                               recall_replacement, security)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        release.id,
        state.product.id,
        release.version.to_string(),
        release.notes.as_deref(),
        stored_time(release.created_at),
        release.floor,
        release.upgrade_from.as_ref().map(ToString::to_string),
        recall.map(|recall| stored_time(recall.at)),
        recall.map(|recall| recall.reason.as_str()),
        recall.and_then(|recall| recall.replacement.as_ref()).map(ToString::to_string),
        release.security.as_ref().map(stored::security)
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_image(
    connection: &mut PgConnection,
    state: &ProductState,
    release: &Release,
    image: &Image,
) -> Result<()> {
    let key = ObjectKey::image(&state.product.name, &release.version, &image.filename);
    sqlx::query!(
        "insert into images (id, product_id, release_id, key, filename, hardware, size, sha256, sha1, md5, etag, created_at,
                             facts, signature, removed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        image.id,
        state.product.id,
        release.id,
        key.as_str(),
        image.filename.as_str(),
        &stored::hardware_names(&image.hardware),
        stored::stored_count(image.size)?,
        image.digests.sha256.as_slice(),
        image.digests.sha1.as_slice(),
        image.digests.md5.as_slice(),
        image.etag,
        stored_time(image.created_at),
        image.facts.as_deref().map(stored::facts),
        image.signature.as_deref(),
        image.removed_at.map(stored_time)
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_promotion(
    connection: &mut PgConnection,
    state: &ProductState,
    promotion: &Promotion,
    withdrawn: bool,
) -> Result<()> {
    // When it was withdrawn nobody asks; only that it was.
    sqlx::query!(
        "insert into promotions (product_id, channel, image_id, promoted_at, withdrawn_at)
         values ($1, $2, $3, $4, $5)",
        state.product.id,
        promotion.channel.as_str(),
        promotion.image,
        stored_time(promotion.at),
        withdrawn.then(|| stored_time(promotion.at))
    )
    .execute(connection)
    .await?;
    Ok(())
}
