//! What a release says of itself: notes, what it fixes, documents.

use bytes::Bytes;
use sqlx::{FromRow, Row, SqliteConnection, sqlite::SqliteRow};
use uuid::{Uuid, fmt::Hyphenated};

use super::{
    super::{
        Audit, Description, Written, failure,
        stored::{self, AttachmentRow},
    },
    write::{advance, finish},
};
use crate::{
    domain::{Attachment, FileName, ProductName, ProductState, Revision, Version},
    error::Result,
};

pub(super) async fn describe(
    connection: &mut SqliteConnection,
    product: &ProductName,
    version: &Version,
    description: &Description,
    judged_at: Revision,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    stored::check_texts(audit, stored::texts_of(description))?;
    let Some((id, revision)) = advance(connection, product, judged_at).await? else {
        return Ok(Written::Stale);
    };
    let release: Option<Hyphenated> =
        sqlx::query_scalar("select id from releases where product_id = ?1 and version = ?2")
            .bind(id.hyphenated())
            .bind(version.to_string())
            .fetch_optional(&mut *connection)
            .await?;
    // The caller's transaction is rolled back with its error.
    let release = release.ok_or_else(|| failure::no_release(product, version))?;
    let change = match description {
        Description::Notes(notes) => {
            sqlx::query("update releases set notes = ?2 where id = ?1").bind(release).bind(notes)
        }
        Description::Security(security) => {
            let security = security.as_ref().map(|security| stored::security(security).to_string());
            sqlx::query("update releases set security = ?2 where id = ?1").bind(release).bind(security)
        }
        Description::Attach(attachment, content) => sqlx::query(
            "insert into attachments (id, product_id, release_id, name, kind, specification, size, sha256, created_at,
                                      content)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             on conflict (release_id, name) do update
             set kind = excluded.kind, specification = excluded.specification, size = excluded.size,
                 sha256 = excluded.sha256, created_at = excluded.created_at, content = excluded.content",
        )
        .bind(Uuid::now_v7().hyphenated())
        .bind(id.hyphenated())
        .bind(release)
        .bind(attachment.name.as_str())
        .bind(attachment.kind.as_str())
        .bind(&attachment.specification)
        .bind(stored::stored_count(attachment.size)?)
        .bind(attachment.sha256.as_slice())
        .bind(stored::stored_time(attachment.created_at).timestamp_micros())
        .bind(content.as_ref()),
        Description::Detach(name) => {
            let statement = "delete from attachments where release_id = ?1 and name = ?2";
            sqlx::query(statement).bind(release).bind(name.as_str())
        }
    };
    change.execute(&mut *connection).await?;
    finish(connection, (id, product), revision, audit).await
}

pub(super) async fn attachment(
    connection: &mut SqliteConnection,
    product: &ProductName,
    version: &Version,
    name: &FileName,
) -> Result<Option<(Attachment, Bytes)>> {
    let row: Option<SqliteRow> = sqlx::query(
        "select attachments.release_id, attachments.name, kind, specification, size, sha256, attachments.created_at,
                content
         from attachments
         join releases on releases.id = attachments.release_id
         join products on products.id = releases.product_id
         where products.name = ?1 and releases.version = ?2 and attachments.name = ?3",
    )
    .bind(product.as_str())
    .bind(version.to_string())
    .bind(name.as_str())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let content: Vec<u8> = row.try_get("content")?;
    Ok(Some((AttachmentRow::from_row(&row)?.into_attachment()?, content.into())))
}
