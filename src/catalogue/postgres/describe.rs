//! What a release says of itself: notes, what it fixes, documents. Changes have the shape of those in `write`.

use bytes::Bytes;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{
    super::{
        Audit, Description, Written, failure,
        stored::{self, AttachmentRow},
    },
    write::{advance, finish, next_revision},
};
use crate::{
    domain::{Attachment, FileName, ProductName, ProductState, Revision, Version},
    error::Result,
};

pub(super) async fn describe(
    connection: &mut PgConnection,
    product: &ProductName,
    version: &Version,
    description: &Description,
    judged_at: Revision,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    stored::check_texts(audit, stored::texts_of(description))?;
    let mut transaction = connection.begin().await?;
    let revision = next_revision(&mut transaction).await?;
    let Some(id) = advance(&mut transaction, product, judged_at, revision).await? else {
        transaction.rollback().await?;
        return Ok(Written::Stale);
    };
    let release = sqlx::query_scalar!(
        "select id from releases where product_id = $1 and version = $2",
        id,
        version.to_string()
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(release) = release else {
        transaction.rollback().await?;
        return Err(failure::no_release(product, version));
    };
    match description {
        Description::Notes(notes) => {
            sqlx::query!("update releases set notes = $2 where id = $1", release, notes.as_deref())
                .execute(&mut *transaction)
                .await?;
        }
        Description::Security(security) => {
            let security = security.as_ref().map(stored::security);
            sqlx::query!("update releases set security = $2 where id = $1", release, security)
                .execute(&mut *transaction)
                .await?;
        }
        Description::Attach(attachment, content) => {
            sqlx::query!(
                "insert into attachments (id, product_id, release_id, name, kind, specification, size, sha256,
                                          created_at, content)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                 on conflict on constraint attachments_name_key do update
                 set kind = excluded.kind, specification = excluded.specification, size = excluded.size,
                     sha256 = excluded.sha256, created_at = excluded.created_at, content = excluded.content",
                Uuid::now_v7(),
                id,
                release,
                attachment.name.as_str(),
                attachment.kind.as_str(),
                attachment.specification,
                stored::stored_count(attachment.size)?,
                attachment.sha256.as_slice(),
                stored::stored_time(attachment.created_at),
                content.as_ref()
            )
            .execute(&mut *transaction)
            .await?;
        }
        Description::Detach(name) => {
            sqlx::query!(
                "delete from attachments where release_id = $1 and name = $2",
                release,
                name.as_str()
            )
            .execute(&mut *transaction)
            .await?;
        }
    }
    finish(transaction, (id, product), revision, audit).await
}

pub(super) async fn attachment(
    connection: &mut PgConnection,
    product: &ProductName,
    version: &Version,
    name: &FileName,
) -> Result<Option<(Attachment, Bytes)>> {
    let row = sqlx::query!(
        "select attachments.release_id, attachments.name, kind, specification, size, sha256,
                attachments.created_at, content
         from attachments
         join releases on releases.id = attachments.release_id
         join products on products.id = releases.product_id
         where products.name = $1 and releases.version = $2 and attachments.name = $3",
        product.as_str(),
        version.to_string(),
        name.as_str()
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let attachment = AttachmentRow {
        release_id: row.release_id,
        name: row.name,
        kind: row.kind,
        specification: row.specification,
        size: row.size,
        sha256: row.sha256,
        created_at: row.created_at,
    };
    Ok(Some((attachment.into_attachment()?, row.content.into())))
}
