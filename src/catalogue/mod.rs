//! The catalogue: what has been published. The port, and its rules in words.
//!
//! One method is one verb is one transaction; domain types in and out. Two implementations keep the same rules
//! and pass the same conformance suite (`tests/suite/catalogue.rs`): [`postgres`] for production, [`sqlite`] as the
//! embedded default.
//!
//! # Rules that every implementation keeps
//! - **Revision.** A counter grows by one with every committed change that a check could see or an operator
//!   should (product, image, promotion, recall). Commits are serialised on it, so whoever has read everything
//!   up to revision N misses nothing of N or below. Each product carries the revision of its last change.
//! - **Only if nothing changed.** Callers judge a change against a [`ProductState`] and pass its revision; when the
//!   product has changed since, the write does nothing and answers [`Written::Stale`], and the caller reads and
//!   judges again. So rules live in pure code and are still decided on what is true at commit.
//! - **Reservations decide who may write a key**, never the bucket. A reservation covers the key (file name) and
//!   every named hardware of one version; a second one for any of these waits until the first has ended. It is
//!   held under a lease that its holder renews; once the lease has run out, anybody may [`Catalogue::claim`] it, and
//!   must clean the bucket before ending it. [`Catalogue::publish`] succeeds only for a reservation that is still
//!   held by its holder, and ends it in the same transaction.
//! - **An upload that may be resumed holds its reservation itself** ([`ResumableUpload`]), so it outlives replicas;
//!   the two end together. Who writes to it holds its lock, and only the lock's holder changes it.
//! - **Wake-ups are a hint.** [`Catalogue::listen`] tells of a change soon after its commit; a lost one costs a
//!   timer's period, never correctness.
//! - **Audit.** Every change writes its audit entry in the same transaction, linked to the entry before it
//!   (`domain::audit`). Entries are neither changed nor removed: the databases refuse it.
//! - Leases and time stamps of entries use the catalogue's own clock, so replicas with skewed clocks agree.
//!
//! # What it does not do
//! Judge: it knows no rule of the version check. Store bytes: see `bucket`.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::{
    domain::{
        Attachment, ChannelName, FileName, Hardware, Image, Product, ProductName, ProductSettings,
        ProductState, Revision, Security, UpgradePath, Version,
    },
    error::{Error, Kind, Result},
};

mod change;
mod copies;
mod downloads;
mod failure;
mod following;
mod leading;
pub mod postgres;
pub mod purges;
mod rebuild;
mod removal;
mod secrets;
pub mod sqlite;
mod stored;
mod upload;
pub mod waiting;

pub use crate::domain::AuditEntry;
pub use change::{Actor, Audit, AuditPage};
pub use copies::{BackupLag, BackupReport, Copies, CopyMade, ImageCopy};
pub use downloads::{AddedLog, CountedLog, CountedRequest, DownloadCount, Downloads};
pub use following::{Following, Offered, Standing};
pub use leading::Leading;
pub use postgres::PostgresCatalogue;
pub use purges::{Acceptance, AskedPurge, PurgeCounts, Purges};
pub use rebuild::Rebuild;
pub use removal::{Removal, Removed, RemovedAt};
pub use secrets::Secrets;
pub use sqlite::SqliteCatalogue;
pub use stored::shown_settings;
pub use upload::{Locker, ResumableUpload, UploadKind, UploadLock, UploadProgress, is_of_upload};
pub use waiting::{Setback, Waiting, WaitingPromotions};

/// The right to write one key of the bucket, held under a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// UUID version 7; becomes the image's id.
    pub id: Uuid,
    /// The product.
    pub product: ProductName,
    /// The version being published.
    pub version: Version,
    /// The file name: with product and version it is the key.
    pub filename: FileName,
    /// The hardware that the image will name; empty = all.
    pub hardware: BTreeSet<Hardware>,
    /// The replica that holds it (a random id that lives in its data directory).
    pub holder: Uuid,
}

/// The answer to [`Catalogue::reserve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// It is the caller's now.
    Granted,
    /// Another reservation covers the same key or hardware.
    Held {
        /// Whose.
        by: Reservation,
        /// Its lease has run out: it may be claimed.
        expired: bool,
    },
    /// The product has changed since the caller read it (or is gone): read and judge again.
    Stale,
}

/// The answer to a conditional change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written<T> {
    /// Committed.
    Done(T),
    /// The product has changed since the caller read it; nothing was written.
    Stale,
    /// The reservation is no longer the caller's; nothing was written.
    Lost,
}

/// What a new image adds to the catalogue.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// The reservation that is being fulfilled; its id becomes the image's.
    pub reservation: Reservation,
    /// The image; `id`, `filename` and `hardware` equal the reservation's.
    pub image: Image,
    /// The release's notes; `None` leaves those of an existing release.
    pub notes: Option<String>,
    /// How devices come to the release; what is set here is set on an existing release too, the rest of it stays.
    pub path: UpgradePath,
}

/// A change of what a channel offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promote {
    /// Where.
    pub channel: ChannelName,
    /// The images that become promoted (those that are already stay as they are).
    pub images: Vec<Uuid>,
    /// The images whose promotion is withdrawn, because a downgrade overrides them; that it was there is kept.
    pub withdraw: Vec<Uuid>,
    /// Only ask for it: the promotion waits until the images were fetched back through the CDN, and nothing is withdrawn
    /// before. What waited itself and is withdrawn waits no longer.
    pub pending: bool,
    /// Kept with a pending promotion, to judge it again: devices may be left without a way to the highest offer.
    pub allow_stranding: bool,
    /// Kept with a pending promotion: why a rule is overridden.
    pub reason: Option<String>,
    /// The images that wait for the channel no longer, though they are neither promoted nor withdrawn.
    pub ends: Vec<Uuid>,
}

impl Promote {
    /// A promotion that takes effect at once.
    pub fn new(channel: ChannelName, images: Vec<Uuid>, withdraw: Vec<Uuid>) -> Self {
        Self {
            channel,
            images,
            withdraw,
            pending: false,
            allow_stranding: false,
            reason: None,
            ends: Vec::new(),
        }
    }
}

/// A change of what a release says of itself.
#[derive(Debug, Clone)]
pub enum Description {
    /// Its notes.
    Notes(Option<String>),
    /// What it fixes.
    Security(Option<Security>),
    /// Adds a document, or replaces the one of the same name.
    Attach(Attachment, Bytes),
    /// Removes a document.
    Detach(FileName),
}

/// One page of what changed, see [`Catalogue::changes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Products that changed after the asked revision, in the order of their last change. Without what their images say
    /// of themselves, which no check needs and which is most of what is stored.
    pub products: Vec<ProductState>,
    /// Everything up to this revision has been told once this page is applied.
    pub revision: Revision,
    /// There is more: ask again with `revision`.
    pub more: bool,
}

/// What a [`Listener`] hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Something was committed.
    Changed,
    /// The connection was lost, and is up again: something may have been missed.
    Reconnected,
}

/// A stream of wake-ups.
#[async_trait]
pub trait Listener: Send {
    /// Waits for the next wake-up.
    ///
    /// # Errors
    /// When the connection is gone and could not be made again; call again after a pause.
    async fn next(&mut self) -> Result<Heard>;
}

/// The port. See the module's head for the rules. What has rules of its own is a trait of its own, in a file that states
/// them: [`Copies`], [`Downloads`], [`Following`], [`Leading`], [`Rebuild`], [`Removal`], [`Secrets`].
///
/// Every method fails with kind `Unavailable` and code `catalogue-unavailable` when the database cannot be
/// reached or does not answer in time, and with kind `Internal` on anything else that is unexpected. A change whose
/// answer was lost may have been committed all the same. A text with a NUL character (notes, a reason, the audit
/// entry), which Postgres cannot store, is refused with kind `Malformed` and code `text-has-nul`.
#[async_trait]
pub trait Catalogue:
    Copies
    + Downloads
    + Following
    + Leading
    + Purges
    + Rebuild
    + Removal
    + Secrets
    + WaitingPromotions
    + Send
    + Sync
    + 'static
{
    /// Brings the schema up to date; safe to run on many replicas at once. Returns how many migrations it ran.
    async fn migrate(&self) -> Result<usize>;

    /// How many migrations are missing; 0 = the schema is up to date.
    ///
    /// Fails with kind `Internal` and code `schema-newer` when the database was migrated by a newer program.
    async fn pending_migrations(&self) -> Result<usize>;

    /// The latest revision.
    async fn revision(&self) -> Result<Revision>;

    /// Creates the product, or replaces its settings; equal settings change nothing (no revision, no audit entry).
    /// Returns the product and whether it was created. `audit.action` is replaced by `product.create` or
    /// `product.update`, and what it shows by the settings.
    async fn put_product(
        &self,
        name: &ProductName,
        settings: &ProductSettings,
        audit: &Audit,
    ) -> Result<(Product, bool)>;

    /// All products, by name.
    async fn products(&self) -> Result<Vec<Product>>;

    /// All that is known of a product.
    async fn product(&self, name: &ProductName) -> Result<Option<ProductState>>;

    /// The products that changed after `since`, at most `limit` of them (at least 1).
    async fn changes(&self, since: Revision, limit: u32) -> Result<Changes>;

    /// Takes a reservation for `lease`, if the product's revision is still `judged_at` and nobody holds one
    /// that covers the same file name or hardware of that version. All hardware and a named one do not meet. The
    /// very same reservation again is granted again, so a call whose answer was lost may be repeated.
    async fn reserve(
        &self,
        reservation: &Reservation,
        judged_at: Revision,
        lease: Duration,
    ) -> Result<Reserved>;

    /// Extends the lease from now; `false` = it is no longer the holder's.
    async fn renew(&self, reservation: &Reservation, lease: Duration) -> Result<bool>;

    /// Takes over a reservation whose lease has run out; `false` = it has ended, or somebody else did.
    /// After `true`, the reservation is held by `holder`.
    async fn claim(&self, reservation: Uuid, holder: Uuid, lease: Duration) -> Result<bool>;

    /// Ends a reservation without publishing; only its holder's call has an effect.
    async fn release(&self, reservation: &Reservation) -> Result<()>;

    /// All reservations, with whether their lease has run out.
    async fn reservations(&self) -> Result<Vec<(Reservation, bool)>>;

    /// Ends the leases (not the reservations) of an earlier life of this replica; returns how many.
    async fn expire_leases_of(&self, holder: Uuid) -> Result<u64>;

    /// Takes the upload's reservation, as [`Self::reserve`] does, with the upload's lifetime as its lease, and remembers
    /// the upload. The reservation's holder must be the upload itself. What the upload says of its expiry and lock is
    /// not looked at.
    async fn begin_upload(
        &self,
        upload: &ResumableUpload,
        judged_at: Revision,
        lifetime: Duration,
    ) -> Result<Reserved>;

    /// An upload that is under way; `None` = it was published, ended, has expired, or never was.
    async fn upload(&self, id: Uuid) -> Result<Option<ResumableUpload>>;

    /// All uploads under way, oldest first; also those that have expired and were not cleaned up yet.
    async fn uploads(&self) -> Result<Vec<ResumableUpload>>;

    /// Takes the lock of an upload for `lease`, if nobody holds it, and puts the upload's end off to `lifetime` from now.
    async fn lock_upload(
        &self,
        id: Uuid,
        locker: Locker,
        lease: Duration,
        lifetime: Duration,
    ) -> Result<UploadLock>;

    /// Extends lock and upload from now, and keeps its progress if there is any; `false` = the lock is no longer the
    /// caller's, and nothing was written.
    async fn keep_upload(
        &self,
        id: Uuid,
        locker: Locker,
        progress: Option<&UploadProgress>,
        lease: Duration,
        lifetime: Duration,
    ) -> Result<bool>;

    /// Replaces what was declared; `false` = there is no such upload.
    async fn declare_upload(&self, id: Uuid, declared: &serde_json::Value) -> Result<bool>;

    /// Gives the lock back; only its holder's call has an effect.
    async fn unlock_upload(&self, id: Uuid, locker: Locker) -> Result<()>;

    /// Makes the reservation of an upload that is to end a replica's own, under `lease`: from then on nobody can go on
    /// with the upload, and the replica must clean up. `false` = the lock is no longer the caller's.
    async fn take_upload(&self, id: Uuid, locker: Locker, holder: Uuid, lease: Duration) -> Result<bool>;

    /// The product of an image; `None` = there is no such image.
    async fn product_of_image(&self, image: Uuid) -> Result<Option<ProductName>>;

    /// Adds an image (and its release, if it is the first of that version), promotes it if asked, writes the
    /// audit entry and ends the reservation. Returns the product as it is now. When both are true, the answer is
    /// [`Written::Lost`] and not [`Written::Stale`].
    async fn publish(
        &self,
        new: &NewImage,
        promote: Option<&Promote>,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>>;

    /// Changes what a channel offers. Returns the product as it is now.
    async fn promote(
        &self,
        product: &ProductName,
        promote: &Promote,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>>;

    /// Recalls a release. Recalling it again keeps time and reason, and sets the replacement if one is named that is
    /// not the one that it has; else it changes nothing. Returns the product as it is now.
    ///
    /// Fails with kind `NotFound` and code `no-such-release` when the product has no such release.
    async fn recall(
        &self,
        product: &ProductName,
        version: &Version,
        reason: &str,
        replacement: Option<&Version>,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>>;

    /// Changes how devices come to a release. Returns the product as it is now.
    ///
    /// Fails with kind `NotFound` and code `no-such-release` when the product has no such release.
    async fn set_path(
        &self,
        product: &ProductName,
        version: &Version,
        path: &UpgradePath,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>>;

    /// Changes what a release says of itself. The caller has judged that it is a change. Returns the product as it is now.
    ///
    /// Fails with kind `NotFound` and code `no-such-release` when the product has no such release.
    async fn describe(
        &self,
        product: &ProductName,
        version: &Version,
        description: &Description,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>>;

    /// A document of a release, with its content.
    async fn attachment(
        &self,
        product: &ProductName,
        version: &Version,
        name: &FileName,
    ) -> Result<Option<(Attachment, Bytes)>>;

    /// Which of these keys (`product/version/filename`) belong to an image.
    async fn known_keys(&self, keys: &[String]) -> Result<BTreeSet<String>>;

    /// The newest audit entries of a product, newest first.
    async fn audit(&self, product: &ProductName, limit: u32) -> Result<Vec<AuditEntry>>;

    /// The audit entries of all products behind that revision, oldest first, at most `limit` (at least 1).
    async fn audit_after(&self, after: Revision, limit: u32) -> Result<AuditPage>;

    /// Starts to listen for changes.
    async fn listen(&self) -> Result<Box<dyn Listener>>;
}

/// Makes sure that the schema is what this program needs.
///
/// # Errors
/// With `migrate` off and migrations missing: kind `Internal`, code `schema-outdated`; or what the catalogue fails with.
pub async fn prepare(catalogue: &dyn Catalogue, migrate: bool) -> Result<()> {
    let pending = catalogue.pending_migrations().await?;
    if pending == 0 {
        return Ok(());
    }
    if !migrate {
        let message = format!("the catalogue's schema lacks {pending} migrations: run `firmament migrate`");
        return Err(Error::new(Kind::Internal, "schema-outdated", message));
    }
    let ran = catalogue.migrate().await?;
    if ran > 0 {
        tracing::info!(migrations = ran, "brought the catalogue's schema up to date");
    }
    Ok(())
}
