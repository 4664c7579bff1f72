//! The catalogue in an embedded SQLite database: one file, nothing to install, for one replica.
//!
//! - `read`: what has been published
//! - `write`: the changes
//! - `audit`: the log of the changes, and its chain
//! - `describe`: what a release says of itself, and its documents
//! - `leading`: which replica does a duty
//! - `reservation`: who may write a key
//! - `upload`: uploads that may be resumed
//! - `purges`: what the CDN is to forget
//! - `waiting`: promotions that wait at the gate
//! - `rows`: how values are stored
//!
//! # Invariants
//! - One writer: a pool of one connection, and `begin immediate`, so that a transaction never reads what it could
//!   not write on. Readers have connections of their own and, by write-ahead logging, do not wait for it.
//! - What is acknowledged is on the disk: `synchronous = full`.
//! - The clock is the process's, as the database is.
//!
//! # What it does not do
//! Serve several replicas: wake-ups stay within the process. Another process may open the file (to migrate, or to
//! look); its changes are found by the timer.

use std::{collections::BTreeSet, path::Path, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::{
    Connection, SqlitePool,
    migrate::Migrator,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous, SqliteTransaction,
    },
};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Audit, AuditEntry, AuditPage, Catalogue, Changes, Description, Heard, Listener, Locker, NewImage,
    Promote, Reservation, Reserved, ResumableUpload, UploadLock, UploadProgress, Written, failure, stored,
};
use crate::{
    domain::{
        Attachment, FileName, Product, ProductName, ProductSettings, ProductState, Revision, UpgradePath,
        Version,
    },
    error::{Error, Kind, Result},
};

mod audit;
mod describe;
mod leading;
mod purges;
mod read;
mod reservation;
mod rows;
mod upload;
mod waiting;
mod write;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a call waits for a free connection, and for a lock that another process holds.
const PATIENCE: Duration = Duration::from_secs(5);

/// More would not read faster from one disk.
const READERS: u32 = 4;

/// The catalogue in an embedded database.
#[derive(Debug, Clone)]
pub struct SqliteCatalogue {
    writer: SqlitePool,
    reader: SqlitePool,
    /// Counts the changes of this process.
    changed: watch::Sender<u64>,
}

impl SqliteCatalogue {
    /// Opens the database file, and makes it when it is missing.
    ///
    /// # Errors
    /// When the file cannot be opened, or is no database.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(PATIENCE)
                // A write that a full disk stopped is rolled back by SQLite itself, which sqlx does not notice: such a
                // connection would refuse every later transaction.
                .before_acquire(|connection, _| {
                    let clean = !connection.is_in_transaction();
                    Box::pin(std::future::ready(Ok(clean)))
                })
                // Opening again costs more than keeping a file open.
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writer = pool(1).connect_with(options.clone()).await.map_err(|error| {
            let message = format!(
                "the embedded catalogue {} cannot be opened; check that its folder exists and can be written",
                path.display()
            );
            Error::new(Kind::Unavailable, "catalogue-unavailable", message).caused_by(error)
        })?;
        let reader = pool(READERS).connect_lazy_with(options.pragma("query_only", "on"));
        Ok(Self { writer, reader, changed: watch::Sender::new(0) })
    }

    async fn begin(&self) -> Result<SqliteTransaction<'static>> {
        Ok(self.writer.begin_with("begin immediate").await?)
    }

    /// A transaction for reading: all its statements see one moment.
    async fn snapshot(&self) -> Result<SqliteTransaction<'static>> {
        Ok(self.reader.begin().await?)
    }

    /// Commits a change and wakes the listeners.
    async fn commit(&self, transaction: SqliteTransaction<'static>) -> Result<()> {
        transaction.commit().await?;
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Commits what was done; anything else is rolled back.
    async fn settle<T>(
        &self,
        transaction: SqliteTransaction<'static>,
        written: Written<T>,
    ) -> Result<Written<T>> {
        match &written {
            Written::Done(_) => self.commit(transaction).await?,
            Written::Stale | Written::Lost => transaction.rollback().await?,
        }
        Ok(written)
    }
}

fn now() -> DateTime<Utc> {
    stored::stored_time(Utc::now())
}

struct SqliteListener(watch::Receiver<u64>);

#[async_trait]
impl Listener for SqliteListener {
    async fn next(&mut self) -> Result<Heard> {
        self.0.changed().await.map_err(failure::unavailable)?;
        Ok(Heard::Changed)
    }
}

#[async_trait]
impl Catalogue for SqliteCatalogue {
    async fn migrate(&self) -> Result<usize> {
        // One transaction around all, as SQLite has no advisory lock: another process waits for its end.
        let mut transaction = self.begin().await?;
        let missing = failure::pending(&MIGRATOR, &read::applied(&mut transaction).await?)?;
        MIGRATOR.run_direct(None, &mut *transaction, false).await?;
        transaction.commit().await?;
        Ok(missing)
    }

    async fn pending_migrations(&self) -> Result<usize> {
        failure::pending(&MIGRATOR, &read::applied(&mut *self.snapshot().await?).await?)
    }

    async fn revision(&self) -> Result<Revision> {
        read::revision(&mut *self.snapshot().await?).await
    }

    async fn put_product(
        &self,
        name: &ProductName,
        settings: &ProductSettings,
        audit: &Audit,
    ) -> Result<(Product, bool)> {
        let mut transaction = self.begin().await?;
        match write::put_product(&mut transaction, name, settings, audit).await? {
            write::Put::Equal(product) => Ok((product, false)),
            write::Put::Done(product, created) => {
                self.commit(transaction).await?;
                Ok((product, created))
            }
        }
    }

    async fn products(&self) -> Result<Vec<Product>> {
        read::products(&mut *self.snapshot().await?).await
    }

    async fn product(&self, name: &ProductName) -> Result<Option<ProductState>> {
        read::product(&mut *self.snapshot().await?, name).await
    }

    async fn changes(&self, since: Revision, limit: u32) -> Result<Changes> {
        read::changes(&mut *self.snapshot().await?, since, limit).await
    }

    async fn reserve(
        &self,
        reservation: &Reservation,
        judged_at: Revision,
        lease: Duration,
    ) -> Result<Reserved> {
        let mut transaction = self.begin().await?;
        let reserved = reservation::reserve(&mut transaction, reservation, judged_at, lease).await?;
        transaction.commit().await?;
        Ok(reserved)
    }

    async fn renew(&self, reservation: &Reservation, lease: Duration) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let renewed = reservation::renew(&mut transaction, reservation, lease).await?;
        transaction.commit().await?;
        Ok(renewed)
    }

    async fn claim(&self, reservation: Uuid, holder: Uuid, lease: Duration) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let claimed = reservation::claim(&mut transaction, reservation, holder, lease).await?;
        transaction.commit().await?;
        Ok(claimed)
    }

    async fn release(&self, reservation: &Reservation) -> Result<()> {
        let mut transaction = self.begin().await?;
        reservation::end(&mut transaction, reservation).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn reservations(&self) -> Result<Vec<(Reservation, bool)>> {
        reservation::all(&mut *self.snapshot().await?).await
    }

    async fn expire_leases_of(&self, holder: Uuid) -> Result<u64> {
        let mut transaction = self.begin().await?;
        let expired = reservation::expire_leases_of(&mut transaction, holder).await?;
        transaction.commit().await?;
        Ok(expired)
    }

    async fn begin_upload(
        &self,
        upload: &ResumableUpload,
        judged_at: Revision,
        lifetime: Duration,
    ) -> Result<Reserved> {
        let mut transaction = self.begin().await?;
        let reserved =
            reservation::reserve(&mut transaction, &upload.reservation, judged_at, lifetime).await?;
        if reserved == Reserved::Granted {
            upload::insert(&mut transaction, upload).await?;
        }
        transaction.commit().await?;
        Ok(reserved)
    }

    async fn upload(&self, id: Uuid) -> Result<Option<ResumableUpload>> {
        upload::find(&mut *self.snapshot().await?, id).await
    }

    async fn uploads(&self) -> Result<Vec<ResumableUpload>> {
        upload::all(&mut *self.snapshot().await?).await
    }

    async fn lock_upload(
        &self,
        id: Uuid,
        locker: Locker,
        lease: Duration,
        lifetime: Duration,
    ) -> Result<UploadLock> {
        let mut transaction = self.begin().await?;
        let lock = upload::lock(&mut transaction, id, locker, lease, lifetime).await?;
        transaction.commit().await?;
        Ok(lock)
    }

    async fn keep_upload(
        &self,
        id: Uuid,
        locker: Locker,
        progress: Option<&UploadProgress>,
        lease: Duration,
        lifetime: Duration,
    ) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let kept = upload::keep(&mut transaction, id, locker, progress, lease, lifetime).await?;
        transaction.commit().await?;
        Ok(kept)
    }

    async fn declare_upload(&self, id: Uuid, declared: &serde_json::Value) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let changed = upload::declare(&mut transaction, id, declared).await?;
        transaction.commit().await?;
        Ok(changed)
    }

    async fn unlock_upload(&self, id: Uuid, locker: Locker) -> Result<()> {
        let mut transaction = self.begin().await?;
        upload::unlock(&mut transaction, id, locker).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn take_upload(&self, id: Uuid, locker: Locker, holder: Uuid, lease: Duration) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let taken = upload::take(&mut transaction, id, locker, holder, lease).await?;
        transaction.commit().await?;
        Ok(taken)
    }

    async fn product_of_image(&self, image: Uuid) -> Result<Option<ProductName>> {
        upload::product_of_image(&mut *self.snapshot().await?, image).await
    }

    async fn publish(
        &self,
        new: &NewImage,
        promote: Option<&Promote>,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        let mut transaction = self.begin().await?;
        let written = write::publish(&mut transaction, new, promote, judged_at, audit).await?;
        self.settle(transaction, written).await
    }

    async fn promote(
        &self,
        product: &ProductName,
        promote: &Promote,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        let mut transaction = self.begin().await?;
        let written = write::promote(&mut transaction, product, promote, judged_at, audit).await?;
        self.settle(transaction, written).await
    }

    async fn recall(
        &self,
        product: &ProductName,
        version: &Version,
        reason: &str,
        replacement: Option<&Version>,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        let mut transaction = self.begin().await?;
        let written =
            write::recall(&mut transaction, product, version, reason, replacement, judged_at, audit).await?;
        self.settle(transaction, written).await
    }

    async fn set_path(
        &self,
        product: &ProductName,
        version: &Version,
        path: &UpgradePath,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        let mut transaction = self.begin().await?;
        let written = write::set_path(&mut transaction, product, version, path, judged_at, audit).await?;
        self.settle(transaction, written).await
    }

    async fn describe(
        &self,
        product: &ProductName,
        version: &Version,
        description: &Description,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        let mut transaction = self.begin().await?;
        let written =
            describe::describe(&mut transaction, product, version, description, judged_at, audit).await?;
        self.settle(transaction, written).await
    }

    async fn attachment(
        &self,
        product: &ProductName,
        version: &Version,
        name: &FileName,
    ) -> Result<Option<(Attachment, Bytes)>> {
        describe::attachment(&mut *self.snapshot().await?, product, version, name).await
    }

    async fn known_keys(&self, keys: &[String]) -> Result<BTreeSet<String>> {
        read::known_keys(&mut *self.snapshot().await?, keys).await
    }

    async fn audit(&self, product: &ProductName, limit: u32) -> Result<Vec<AuditEntry>> {
        audit::of_product(&mut *self.snapshot().await?, product, limit).await
    }

    async fn audit_after(&self, after: Revision, limit: u32) -> Result<AuditPage> {
        audit::after(&mut *self.snapshot().await?, after, limit).await
    }

    async fn listen(&self) -> Result<Box<dyn Listener>> {
        Ok(Box::new(SqliteListener(self.changed.subscribe())))
    }
}
