//! The schema of the catalogue: the migrations in `migrations/postgres`.
//!
//! Many replicas may start at once: an advisory lock lets one migrate while the others wait, and find nothing to do.

use sqlx::{Connection, PgConnection, migrate::Migrator, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{super::failure, ACQUIRE_WITHIN};
use crate::error::Result;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/postgres");

/// Any number that no other program uses for a lock in the same database: the bytes of "firmamen".
const LOCK: i64 = i64::from_be_bytes(*b"firmamen");

/// A migration may take as long as it needs, but must not queue behind a long query for ever, as then everybody
/// else queues behind it; and one replica waits that long for another's migration.
const LIMITS: [(&str, &str); 1] = [("lock_timeout", "60s")];

pub(super) async fn pending(connection: &mut PgConnection) -> Result<usize> {
    // Not checked while compiling: the table is sqlx's own, made by the first migration.
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    let applied = if exists {
        sqlx::query_as("select version, checksum from _sqlx_migrations order by version")
            .fetch_all(connection)
            .await?
    } else {
        Vec::new()
    };
    failure::pending(&MIGRATOR, &applied)
}

/// Migrates on a connection of its own: without the limits of ordinary calls, and closed whatever happens, which ends
/// the lock too (`Migrator` keeps its own on an error).
pub(super) async fn migrate(options: &PgConnectOptions) -> Result<usize> {
    let options = options.clone().options(LIMITS);
    let mut connection = timeout(ACQUIRE_WITHIN, PgConnection::connect_with(&options))
        .await
        .map_err(failure::unavailable)??;
    let ran = migrate_alone(&mut connection).await;
    // What matters is committed; a connection that cannot say goodbye is closed as well.
    drop(timeout(ACQUIRE_WITHIN, connection.close()).await);
    ran
}

async fn migrate_alone(connection: &mut PgConnection) -> Result<usize> {
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut *connection).await?;
    let missing = pending(connection).await?;
    if missing > 0 {
        // `run` by another name: `run` takes an `Acquire`, whose lifetime keeps the future from being `Send`.
        MIGRATOR.run_direct(None, &mut *connection, false).await?;
    }
    Ok(missing)
}
