//! The catalogue in PostgreSQL 15 or later, for production.
//!
//! - `read`: what has been published
//! - `write`: the changes; each is one transaction that first takes the next revision
//! - `audit`: the log of the changes, and its chain
//! - `describe`: what a release says of itself, and its documents
//! - `leading`: which replica does a duty
//! - `reservation`: who may write a key
//! - `upload`: uploads that may be resumed
//! - `purges`: what the CDN is to forget
//! - `waiting`: promotions that wait at the gate
//! - `listener`: wake-ups by `LISTEN`
//! - `schema`: migrations
//!
//! # Invariants
//! - Connecting is lazy: a server that is down makes a call fail, never the start of a replica.
//! - Every call ends: acquiring a connection, each statement, each wait for a lock and the whole call have limits. A
//!   connection whose call was cut off, by its limit or because the caller went away, is closed and not reused:
//!   nobody knows what it would answer next, or whether the network still carries it.
//! - No statement depends on session state, but for the limits set when connecting.
//!
//! Statements are checked while compiling, against `.sqlx`; `tests/sqlx` renews that folder.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{error::Elapsed, timeout};
use uuid::Uuid;

use super::{
    Audit, AuditEntry, AuditPage, Catalogue, Changes, Description, Listener, Locker, NewImage, Promote,
    Reservation, Reserved, ResumableUpload, UploadLock, UploadProgress, Written, failure,
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
mod listener;
mod purges;
mod read;
mod reservation;
mod schema;
mod upload;
mod waiting;
mod write;

/// How long a call waits for a free connection, or for the server while it restarts.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(5);

/// How long a call may take once it has a connection. Longer than the server's own limits, so that these, whose errors
/// say more, come first; it decides only when the server cannot be heard any more.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The server's limits for each session. A statement of ours takes milliseconds.
const SESSION_LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "10s"), ("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "10s")];

/// How long a listener that hears nothing trusts its connection.
const LISTENER_QUIET: Duration = Duration::from_secs(30);

/// The catalogue in PostgreSQL.
#[derive(Clone)]
pub struct PostgresCatalogue {
    pool: PgPool,
    /// How to connect, without the limits of [`SESSION_LIMITS`].
    options: PgConnectOptions,
    listener_quiet: Duration,
}

/// By hand: the options print their password.
impl fmt::Debug for PostgresCatalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresCatalogue").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl PostgresCatalogue {
    /// Prepares to connect; nothing is sent before the first call. Listeners take connections of their own.
    ///
    /// # Errors
    /// When the URL is none of PostgreSQL's.
    ///
    /// # Panics
    /// Outside a Tokio runtime, as the pool's upkeep is a task.
    pub fn connect(url: &SecretString, max_connections: u32) -> Result<Self> {
        let invalid = || {
            let message = "the catalogue's URL is not valid: use postgres://USER:PASSWORD@HOST:PORT/DATABASE";
            Error::new(Kind::Malformed, "catalogue-url", message)
        };
        let url = url.expose_secret();
        // sqlx takes any scheme, and would speak to a MySQL server as if it were PostgreSQL.
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(invalid());
        }
        let options = PgConnectOptions::from_str(url).map_err(|error| invalid().caused_by(error))?;
        let options = options.application_name("firmament");
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_WITHIN)
            .connect_lazy_with(options.clone().options(SESSION_LIMITS));
        Ok(Self { pool, options, listener_quiet: LISTENER_QUIET })
    }

    /// Changes how long a listener that hears nothing trusts its connection before it asks the server.
    #[must_use]
    pub fn with_listener_quiet(mut self, quiet: Duration) -> Self {
        self.listener_quiet = quiet;
        self
    }

    async fn session(&self) -> Result<Session> {
        match self.pool.acquire().await {
            Ok(connection) => Ok(Session { connection, sound: false }),
            // sqlx says only that time ran out, also when the server refuses; the counts tell the two apart.
            Err(sqlx::Error::PoolTimedOut) => Err(failure::unavailable(format!(
                "no connection within {ACQUIRE_WITHIN:?}: {} of at most {} are open, {} of them idle",
                self.pool.size(),
                self.pool.options().get_max_connections(),
                self.pool.num_idle()
            ))),
            Err(error) => Err(error.into()),
        }
    }
}

/// A connection during one call; closed unless the call came to its end.
struct Session {
    connection: PoolConnection<Postgres>,
    sound: bool,
}

impl Session {
    fn end<T>(mut self, outcome: Result<Result<T>, Elapsed>) -> Result<T> {
        self.sound = outcome.is_ok();
        outcome.unwrap_or_else(|elapsed| Err(failure::unavailable(elapsed)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.sound {
            self.connection.close_on_drop();
        }
    }
}

/// Runs `async fn work(connection, arguments…) -> Result<T>` as one call within its limits.
macro_rules! call {
    ($catalogue:ident, $work:path $(, $argument:expr)*) => {{
        let mut session = $catalogue.session().await?;
        let outcome = timeout(ANSWER_WITHIN, $work(&mut session.connection $(, $argument)*)).await;
        session.end(outcome)
    }};
}

use call;

#[async_trait]
impl Catalogue for PostgresCatalogue {
    async fn migrate(&self) -> Result<usize> {
        schema::migrate(&self.options).await
    }

    async fn pending_migrations(&self) -> Result<usize> {
        call!(self, schema::pending)
    }

    async fn revision(&self) -> Result<Revision> {
        call!(self, read::revision)
    }

    async fn put_product(
        &self,
        name: &ProductName,
        settings: &ProductSettings,
        audit: &Audit,
    ) -> Result<(Product, bool)> {
        call!(self, write::put_product, name, settings, audit)
    }

    async fn products(&self) -> Result<Vec<Product>> {
        call!(self, read::products)
    }

    async fn product(&self, name: &ProductName) -> Result<Option<ProductState>> {
        call!(self, read::product, name)
    }

    async fn changes(&self, since: Revision, limit: u32) -> Result<Changes> {
        call!(self, read::changes, since, limit)
    }

    async fn reserve(
        &self,
        reservation: &Reservation,
        judged_at: Revision,
        lease: Duration,
    ) -> Result<Reserved> {
        call!(self, reservation::reserve, reservation, judged_at, lease, None)
    }

    async fn renew(&self, reservation: &Reservation, lease: Duration) -> Result<bool> {
        call!(self, reservation::renew, reservation, lease)
    }

    async fn claim(&self, reservation: Uuid, holder: Uuid, lease: Duration) -> Result<bool> {
        call!(self, reservation::claim, reservation, holder, lease)
    }

    async fn release(&self, reservation: &Reservation) -> Result<()> {
        call!(self, reservation::release, reservation)
    }

    async fn reservations(&self) -> Result<Vec<(Reservation, bool)>> {
        call!(self, reservation::all)
    }

    async fn expire_leases_of(&self, holder: Uuid) -> Result<u64> {
        call!(self, reservation::expire_leases_of, holder)
    }

    async fn begin_upload(
        &self,
        upload: &ResumableUpload,
        judged_at: Revision,
        lifetime: Duration,
    ) -> Result<Reserved> {
        call!(self, reservation::reserve, &upload.reservation, judged_at, lifetime, Some(upload))
    }

    async fn upload(&self, id: Uuid) -> Result<Option<ResumableUpload>> {
        call!(self, upload::find, id)
    }

    async fn uploads(&self) -> Result<Vec<ResumableUpload>> {
        call!(self, upload::all)
    }

    async fn lock_upload(
        &self,
        id: Uuid,
        locker: Locker,
        lease: Duration,
        lifetime: Duration,
    ) -> Result<UploadLock> {
        call!(self, upload::lock, id, locker, lease, lifetime)
    }

    async fn keep_upload(
        &self,
        id: Uuid,
        locker: Locker,
        progress: Option<&UploadProgress>,
        lease: Duration,
        lifetime: Duration,
    ) -> Result<bool> {
        call!(self, upload::keep, id, locker, progress, lease, lifetime)
    }

    async fn declare_upload(&self, id: Uuid, declared: &serde_json::Value) -> Result<bool> {
        call!(self, upload::declare, id, declared)
    }

    async fn unlock_upload(&self, id: Uuid, locker: Locker) -> Result<()> {
        call!(self, upload::unlock, id, locker)
    }

    async fn take_upload(&self, id: Uuid, locker: Locker, holder: Uuid, lease: Duration) -> Result<bool> {
        call!(self, upload::take, id, locker, holder, lease)
    }

    async fn product_of_image(&self, image: Uuid) -> Result<Option<ProductName>> {
        call!(self, upload::product_of_image, image)
    }

    async fn publish(
        &self,
        new: &NewImage,
        promote: Option<&Promote>,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        call!(self, write::publish, new, promote, judged_at, audit)
    }

    async fn promote(
        &self,
        product: &ProductName,
        promote: &Promote,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        call!(self, write::promote, product, promote, judged_at, audit)
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
        call!(self, write::recall, product, version, reason, replacement, judged_at, audit)
    }

    async fn set_path(
        &self,
        product: &ProductName,
        version: &Version,
        path: &UpgradePath,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        call!(self, write::set_path, product, version, path, judged_at, audit)
    }

    async fn describe(
        &self,
        product: &ProductName,
        version: &Version,
        description: &Description,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        call!(self, describe::describe, product, version, description, judged_at, audit)
    }

    async fn attachment(
        &self,
        product: &ProductName,
        version: &Version,
        name: &FileName,
    ) -> Result<Option<(Attachment, Bytes)>> {
        call!(self, describe::attachment, product, version, name)
    }

    async fn known_keys(&self, keys: &[String]) -> Result<BTreeSet<String>> {
        call!(self, read::known_keys, keys)
    }

    async fn audit(&self, product: &ProductName, limit: u32) -> Result<Vec<AuditEntry>> {
        call!(self, audit::of_product, product, limit)
    }

    async fn audit_after(&self, after: Revision, limit: u32) -> Result<AuditPage> {
        call!(self, audit::after, after, limit)
    }

    async fn listen(&self) -> Result<Box<dyn Listener>> {
        let options = self.options.clone().options(SESSION_LIMITS);
        let listener = listener::PostgresListener::connect(options, self.listener_quiet).await?;
        Ok(Box::new(listener))
    }
}
