//! What a failure of either database means to a caller.
//!
//! One question decides: may the very same call succeed later? A server that is away, starting, full, locked or too
//! slow is `Unavailable`; everything else is a defect and `Internal`. The database's own words are the private
//! cause and never leave the process.

use std::time::Duration;

use sqlx::{
    error::DatabaseError,
    migrate::{MigrateError, Migrator},
    postgres::PgDatabaseError,
};

use crate::{
    domain::{ProductName, Version},
    error::{Error, Kind, Result},
};

/// A failover or a restart takes seconds; sooner is in vain, later makes publishers wait.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The catalogue does not answer; the caller may try again.
pub(super) fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let message = "the catalogue does not answer at the moment; try again in a few seconds";
    Error::new(Kind::Unavailable, "catalogue-unavailable", message).retry_after(RETRY_AFTER).caused_by(source)
}

/// The database was migrated by a newer program.
pub(super) fn schema_newer(version: i64) -> Error {
    let message = format!(
        "the catalogue's schema has migration {version}, which this program does not know; upgrade this program"
    );
    Error::new(Kind::Internal, "schema-newer", message)
}

/// A migration that has run is not the one that this program carries.
fn schema_differs(version: i64) -> Error {
    let message = format!(
        "the catalogue's migration {version} is not the one that this program carries; run the program that migrated it, or restore a backup"
    );
    Error::new(Kind::Internal, "schema-differs", message)
}

/// The caller judged a state that does not have the release.
pub(super) fn no_release(product: &ProductName, version: &Version) -> Error {
    Error::new(Kind::NotFound, "no-such-release", format!("{product} has no release {version}"))
}

/// How many migrations are missing, given the versions and checksums of those that have run.
pub(super) fn pending(migrator: &Migrator, applied: &[(i64, Vec<u8>)]) -> Result<usize> {
    for (version, checksum) in applied {
        match migrator.iter().find(|migration| migration.version == *version) {
            None => return Err(schema_newer(*version)),
            Some(known) if *known.checksum != **checksum => return Err(schema_differs(*version)),
            Some(_) => {}
        }
    }
    Ok(migrator.iter().count() - applied.len())
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let may_pass = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            // What a proxy says that accepts connections while the server behind it is away.
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(error) => may_pass(error.as_ref()),
            _ => false,
        };
        if may_pass { unavailable(error) } else { Self::internal(error) }
    }
}

impl From<MigrateError> for Error {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            MigrateError::VersionMissing(version) => schema_newer(version),
            MigrateError::VersionMismatch(version) => schema_differs(version),
            other => Self::internal(other),
        }
    }
}

fn may_pass(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if error.as_error().is::<PgDatabaseError>() { postgres_may_pass(&code) } else { sqlite_may_pass(&code) }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn postgres_may_pass(code: &str) -> bool {
    const CLASSES: [&str; 5] = [
        "08", // connection exception
        "28", // invalid authorization: a password that is being rotated
        "40", // serialization failure, deadlock
        "53", // insufficient resources: disk full, too many connections
        "58", // system error: I/O
    ];
    const CODES: [&str; 8] = [
        "25006", // read only: connected to a standby while a failover is under way
        "25P03", // idle-in-transaction timeout
        "3D000", // the database does not exist (yet)
        "55P03", // lock timeout
        "57014", // statement timeout
        "57P01", // shut down by an administrator
        "57P02", // crash of another backend
        "57P03", // starting up
    ];
    CODES.contains(&code) || CLASSES.iter().any(|class| code.starts_with(class))
}

/// <https://www.sqlite.org/rescode.html>; the low byte of an extended code is the primary one.
fn sqlite_may_pass(code: &str) -> bool {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const IO_ERROR: u32 = 10;
    const FULL: u32 = 13;
    const CANNOT_OPEN: u32 = 14;
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, BUSY | LOCKED | IO_ERROR | FULL | CANNOT_OPEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_unavailable_and_the_rest_is_a_defect() {
        for code in ["08006", "40001", "40P01", "53100", "53300", "55P03", "57P01", "57P03", "57014"] {
            assert!(postgres_may_pass(code), "{code}");
        }
        for code in ["", "23505", "42P01", "22021", "25P02"] {
            assert!(!postgres_may_pass(code), "{code}");
        }
        assert!(sqlite_may_pass("5") && sqlite_may_pass("517") && sqlite_may_pass("13"));
        assert!(!sqlite_may_pass("") && !sqlite_may_pass("1") && !sqlite_may_pass("2067"));
        let error = Error::from(sqlx::Error::PoolTimedOut);
        assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "catalogue-unavailable"));
        assert_eq!(error.retry_delay(), Some(RETRY_AFTER));
        assert_eq!(Error::from(sqlx::Error::Protocol("0x00".into())).kind(), Kind::Unavailable);
        assert_eq!(Error::from(sqlx::Error::RowNotFound).kind(), Kind::Internal);
    }
}
