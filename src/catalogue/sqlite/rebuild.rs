//! Making a lost catalogue anew.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{
    super::{
        Audit, Rebuild,
        stored::{self, stored_time},
    },
    SqliteCatalogue, audit, read,
    rows::json,
};
use crate::{
    bucket::ObjectKey,
    domain::{Image, ProductState, Release, Revision},
    error::{Error, Result},
};

#[async_trait]
impl Rebuild for SqliteCatalogue {
    async fn restore(&self, state: &ProductState, above: Revision, audit: &Audit) -> Result<bool> {
        let mut transaction = self.begin().await?;
        if restore(&mut transaction, state, above, audit).await? {
            self.commit(transaction).await?;
            return Ok(true);
        }
        transaction.rollback().await?;
        Ok(false)
    }
}

async fn restore(
    connection: &mut SqliteConnection,
    state: &ProductState,
    above: Revision,
    audit: &Audit,
) -> Result<bool> {
    stored::check_texts(audit, state.releases.iter().filter_map(|release| release.notes.as_deref()))?;
    let product = &state.product;
    if read::find(connection, &product.name).await?.is_some() {
        return Ok(false);
    }
    let revision: i64 =
        sqlx::query_scalar("update catalogue_state set revision = max(revision, ?1) + 1 returning revision")
            .bind(stored::stored_revision(above))
            .fetch_one(&mut *connection)
            .await?;
    sqlx::query(
        "insert into products (id, name, settings, created_at, revision) values (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(product.id.hyphenated())
    .bind(product.name.as_str())
    .bind(stored::settings(&product.settings).to_string())
    .bind(stored_time(product.created_at).timestamp_micros())
    .bind(revision)
    .execute(&mut *connection)
    .await?;
    for release in &state.releases {
        add_release(connection, state, release).await?;
        for image in &release.images {
            add_image(connection, state, release, image).await?;
        }
    }
    for (promotions, withdrawn) in [(&state.promotions, false), (&state.withdrawn, true)] {
        for promotion in promotions {
            // When it was withdrawn nobody asks; only that it was.
            sqlx::query(
                "insert into promotions (product_id, channel, image_id, promoted_at, withdrawn_at)
                 values (?1, ?2, ?3, ?4, case when ?5 then ?4 end)",
            )
            .bind(product.id.hyphenated())
            .bind(promotion.channel.as_str())
            .bind(promotion.image.hyphenated())
            .bind(stored_time(promotion.at).timestamp_micros())
            .bind(withdrawn)
            .execute(&mut *connection)
            .await?;
        }
    }
    let now = read::product(connection, &product.name).await?;
    let now = now.ok_or_else(|| Error::internal("the product vanished while it was being made"))?;
    audit::record(connection, (product.id, &product.name), revision, audit, audit.shown.of(&now)).await?;
    Ok(true)
}

async fn add_release(
    connection: &mut SqliteConnection,
    state: &ProductState,
    release: &Release,
) -> Result<()> {
    let recall = release.recall.as_ref();
    sqlx::query(
        "insert into releases (id, product_id, version, notes, created_at, floor, upgrade_from, recalled_at, recall_reason,
                               recall_replacement, security)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )
    .bind(release.id.hyphenated())
    .bind(state.product.id.hyphenated())
    .bind(release.version.to_string())
    .bind(&release.notes)
    .bind(stored_time(release.created_at).timestamp_micros())
    .bind(release.floor)
    .bind(release.upgrade_from.as_ref().map(ToString::to_string))
    .bind(recall.map(|recall| stored_time(recall.at).timestamp_micros()))
    .bind(recall.map(|recall| &recall.reason))
    .bind(recall.and_then(|recall| recall.replacement.as_ref()).map(ToString::to_string))
    .bind(release.security.as_ref().map(|security| stored::security(security).to_string()))
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_image(
    connection: &mut SqliteConnection,
    state: &ProductState,
    release: &Release,
    image: &Image,
) -> Result<()> {
    let key = ObjectKey::image(&state.product.name, &release.version, &image.filename);
    sqlx::query(
        "insert into images (id, product_id, release_id, key, filename, hardware, size, sha256, sha1, md5, etag, created_at,
                             facts, signature, removed_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )
    .bind(image.id.hyphenated())
    .bind(state.product.id.hyphenated())
    .bind(release.id.hyphenated())
    .bind(key.as_str())
    .bind(image.filename.as_str())
    .bind(json(&image.hardware))
    .bind(stored::stored_count(image.size)?)
    .bind(image.digests.sha256.as_slice())
    .bind(image.digests.sha1.as_slice())
    .bind(image.digests.md5.as_slice())
    .bind(&image.etag)
    .bind(stored_time(image.created_at).timestamp_micros())
    .bind(image.facts.as_deref().map(|facts| stored::facts(facts).to_string()))
    .bind(&image.signature)
    .bind(image.removed_at.map(|at| stored_time(at).timestamp_micros()))
    .execute(connection)
    .await?;
    Ok(())
}
