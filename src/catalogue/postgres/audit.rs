//! The audit log. An entry is written in the transaction of its change, which holds the row of `catalogue_state`: nobody
//! else can write one meanwhile, so what is read as the newest entry is the one before it, and the chain never forks.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{
        Audit, AuditEntry, AuditPage,
        stored::{self, AuditRow},
    },
    read,
};
use crate::{
    domain::{AuditHash, ProductName, Revision},
    error::{Error, Result},
};

/// Writes the entry of a change, behind the newest.
pub(super) async fn record(
    connection: &mut PgConnection,
    (id, product): (Uuid, &ProductName),
    revision: i64,
    audit: &Audit,
    after: serde_json::Value,
) -> Result<()> {
    let now = sqlx::query!(
        r#"select clock_timestamp() as "at!",
                  (select hash from audit where hash is not null order by revision desc limit 1) as hash,
                  exists (select 1 from audit where hash is null) as "unlinked!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut previous = now.hash.map_or(Ok(AuditHash::NONE), stored::audit_hash)?;
    if now.unlinked {
        previous = link_older(connection, previous).await?;
    }
    let entry = stored::new_entry(audit, product, revision, now.at, after)?;
    let link = entry.link_after(previous);
    sqlx::query!(
        "insert into audit (revision, at, product_id, actor, remote, action, version, channel, details, before, after,
                            verdict, previous, hash)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        revision,
        entry.at,
        id,
        entry.actor,
        entry.remote,
        entry.action,
        entry.version,
        entry.channel,
        entry.details,
        entry.before,
        entry.after,
        serde_json::Value::from(entry.verdict),
        link.previous.0.as_slice(),
        link.hash.0.as_slice()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Links the entries of programs that knew no chain: those from before the migration, and those of a replica that is
/// not upgraded yet. Returns the hash of the last.
async fn link_older(connection: &mut PgConnection, mut previous: AuditHash) -> Result<AuditHash> {
    loop {
        let rows = sqlx::query_as!(
            AuditRow,
            "select audit.at, products.name as product, audit.revision, audit.actor, audit.action, audit.version,
                    audit.channel, audit.details, audit.remote, audit.before, audit.after, audit.verdict,
                    audit.previous, audit.hash
             from audit join products on products.id = audit.product_id
             where audit.hash is null order by audit.revision limit 1000"
        )
        .fetch_all(&mut *connection)
        .await?;
        if rows.is_empty() {
            return Ok(previous);
        }
        let (mut revisions, mut before, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            revisions.push(row.revision);
            let link = row.into_entry()?.link_after(previous);
            before.push(link.previous.0.to_vec());
            hashes.push(link.hash.0.to_vec());
            previous = link.hash;
        }
        let linked = sqlx::query!(
            "update audit set previous = linked.previous, hash = linked.hash
             from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as linked (revision, previous, hash)
             where audit.revision = linked.revision",
            &revisions,
            &before,
            &hashes
        )
        .execute(&mut *connection)
        .await?;
        if linked.rows_affected() != revisions.len() as u64 {
            return Err(Error::internal("entries of the audit log vanished while they were being linked"));
        }
    }
}

pub(super) async fn of_product(
    connection: &mut PgConnection,
    product: &ProductName,
    limit: u32,
) -> Result<Vec<AuditEntry>> {
    let rows = sqlx::query_as!(
        AuditRow,
        "select audit.at, products.name as product, audit.revision, audit.actor, audit.action, audit.version,
                audit.channel, audit.details, audit.remote, audit.before, audit.after, audit.verdict,
                audit.previous, audit.hash
         from audit join products on products.id = audit.product_id
         where products.name = $1 order by audit.revision desc limit $2",
        product.as_str(),
        i64::from(limit)
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(AuditRow::into_entry).collect()
}

pub(super) async fn after(connection: &mut PgConnection, after: Revision, limit: u32) -> Result<AuditPage> {
    let limit = limit.max(1);
    let mut transaction = read::begin(connection).await?;
    let revision = read::revision(&mut transaction).await?;
    let rows = sqlx::query_as!(
        AuditRow,
        "select audit.at, products.name as product, audit.revision, audit.actor, audit.action, audit.version,
                audit.channel, audit.details, audit.remote, audit.before, audit.after, audit.verdict,
                audit.previous, audit.hash
         from audit join products on products.id = audit.product_id
         where audit.revision > $1 order by audit.revision limit $2",
        stored::stored_revision(after),
        i64::from(limit) + 1
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    stored::audit_page(rows, revision, limit)
}
