//! The audit log. An entry is written in the transaction of its change, by the one writer, so the chain never forks.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    super::{
        Audit, AuditEntry, AuditPage,
        stored::{self, AuditRow},
    },
    now, read,
};
use crate::{
    domain::{AuditHash, ProductName, Revision},
    error::Result,
};

/// Writes the entry of a change, behind the newest.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    (id, product): (Uuid, &ProductName),
    revision: i64,
    audit: &Audit,
    after: serde_json::Value,
) -> Result<()> {
    let hash: Option<Vec<u8>> =
        sqlx::query_scalar("select hash from audit where hash is not null order by revision desc limit 1")
            .fetch_optional(&mut *connection)
            .await?;
    let previous = hash.map_or(Ok(AuditHash::NONE), stored::audit_hash)?;
    let previous = link_older(connection, previous).await?;
    let entry = stored::new_entry(audit, product, revision, now(), after)?;
    let link = entry.link_after(previous);
    sqlx::query(
        "insert into audit (revision, at, product_id, actor, remote, action, version, channel, details, before, after,
                            verdict, previous, hash)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )
    .bind(revision)
    .bind(entry.at.timestamp_micros())
    .bind(id.hyphenated())
    .bind(entry.actor)
    .bind(entry.remote)
    .bind(entry.action)
    .bind(entry.version)
    .bind(entry.channel)
    .bind(entry.details.to_string())
    .bind(entry.before.to_string())
    .bind(entry.after.to_string())
    .bind(serde_json::Value::from(entry.verdict).to_string())
    .bind(link.previous.0.as_slice())
    .bind(link.hash.0.as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

/// Links the entries from before the migration. Returns the hash of the last.
async fn link_older(connection: &mut SqliteConnection, mut previous: AuditHash) -> Result<AuditHash> {
    let rows: Vec<AuditRow> = sqlx::query_as(
        "select audit.*, products.name as product from audit join products on products.id = audit.product_id
         where audit.hash is null order by audit.revision",
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        let revision = row.revision;
        let link = row.into_entry()?.link_after(previous);
        sqlx::query("update audit set previous = ?2, hash = ?3 where revision = ?1")
            .bind(revision)
            .bind(link.previous.0.as_slice())
            .bind(link.hash.0.as_slice())
            .execute(&mut *connection)
            .await?;
        previous = link.hash;
    }
    Ok(previous)
}

pub(super) async fn of_product(
    connection: &mut SqliteConnection,
    product: &ProductName,
    limit: u32,
) -> Result<Vec<AuditEntry>> {
    let rows: Vec<AuditRow> = sqlx::query_as(
        "select audit.*, products.name as product from audit join products on products.id = audit.product_id
         where products.name = ?1 order by audit.revision desc limit ?2",
    )
    .bind(product.as_str())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(AuditRow::into_entry).collect()
}

pub(super) async fn after(
    connection: &mut SqliteConnection,
    after: Revision,
    limit: u32,
) -> Result<AuditPage> {
    let limit = limit.max(1);
    let revision = read::revision(connection).await?;
    let rows: Vec<AuditRow> = sqlx::query_as(
        "select audit.*, products.name as product from audit join products on products.id = audit.product_id
         where audit.revision > ?1 order by audit.revision limit ?2",
    )
    .bind(stored::stored_revision(after))
    .bind(i64::from(limit) + 1)
    .fetch_all(connection)
    .await?;
    stored::audit_page(rows, revision, limit)
}
