//! Compares both ends with the catalogue and says every difference. It changes no object; what it finds missing or damaged
//! it writes down, so that links and the scrub know.
//!
//! Without reading, it asks for each object's description at both ends. By reading, it hashes the bytes at both ends; that
//! may take long, so where it was broken off the next one goes on: an image counts as read from the verification's
//! beginning on, and that is kept in the catalogue.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    Backup, Side,
    inspect::{Found, other_tag},
    key, original,
};
use crate::{
    catalogue::ImageCopy,
    error::{Error, Result},
};

/// Images that are read from the catalogue at once.
const BATCH: u32 = 1000;

/// How to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// By description.
    Described,
    /// By reading what was not read since that time.
    Deep(DateTime<Utc>),
}

/// One thing that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The object's key.
    pub key: String,
    /// Where.
    pub side: Side,
    /// `missing`, `damaged`, `not-copied` or `etag`.
    pub kind: &'static str,
    /// In words.
    pub what: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Images that were compared.
    pub compared: u64,
    /// What is not as it has to be.
    pub differences: Vec<Difference>,
    /// What could not be compared, in words.
    pub errors: Vec<String>,
}

impl Backup {
    /// Compares everything.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub async fn verify(self: &Arc<Self>, how: Verification) -> Result<Verified> {
        let mut verified = Verified::default();
        let mut after: Option<Uuid> = None;
        loop {
            let batch = self.catalogue.copies(after, BATCH).await?;
            let Some(last) = batch.last() else { return Ok(verified) };
            after = Some(last.image);
            let wanted = batch.into_iter().filter(|image| match how {
                Verification::Described => true,
                Verification::Deep(since) => image.verified_at < Some(since),
            });
            self.verify_batch(wanted.collect(), how, &mut verified).await?;
        }
    }

    async fn verify_batch(
        self: &Arc<Self>,
        batch: Vec<ImageCopy>,
        how: Verification,
        verified: &mut Verified,
    ) -> Result<()> {
        let mut looks: JoinSet<(ImageCopy, Result<Vec<Difference>>)> = JoinSet::new();
        let mut waiting = batch.into_iter();
        loop {
            while looks.len() < self.transfers
                && let Some(image) = waiting.next()
            {
                let this = Arc::clone(self);
                looks.spawn(async move {
                    let found = this.differences(&image, how).await;
                    (image, found)
                });
            }
            let Some(done) = looks.join_next().await else { return Ok(()) };
            let (image, found) = done.map_err(Error::internal)?;
            self.meter.done(image.size);
            match found {
                Ok(found) => {
                    verified.compared += 1;
                    verified.differences.extend(found);
                }
                Err(error) if error.code().starts_with("catalogue-") => return Err(error),
                Err(error) => verified.errors.push(format!("{}: {error} ({})", key(&image), error.cause())),
            }
        }
    }

    async fn differences(&self, image: &ImageCopy, how: Verification) -> Result<Vec<Difference>> {
        let original = original(image);
        let [(primary, in_bucket), (backup, in_backup)] = match how {
            Verification::Described => {
                let (primary, backup) =
                    tokio::join!(self.look(Side::Primary, &original), self.look(Side::Backup, &original));
                [primary?, backup?]
            }
            Verification::Deep(_) => {
                let (primary, backup) =
                    tokio::join!(self.read(Side::Primary, &original), self.read(Side::Backup, &original));
                [primary?, backup?]
            }
        };
        let copied = image.copied_at.is_some();
        let deep = matches!(how, Verification::Deep(_));
        if copied && (deep || primary != Found::Good || backup != Found::Good) {
            // A description that is right does not take back what was found by reading.
            let before = |damage: &Option<String>| damage.clone().filter(|_| !deep);
            let damage_of = |found: &Found, known: &Option<String>| {
                found.damage().map(str::to_owned).or_else(|| before(known))
            };
            let primary = damage_of(&primary, &image.primary_damage);
            let backup = damage_of(&backup, &image.backup_damage);
            self.catalogue.inspected(image.image, primary.as_deref(), backup.as_deref()).await?;
        }
        let mut found = Vec::new();
        for (side, state, stored) in
            [(Side::Primary, &primary, &in_bucket), (Side::Backup, &backup, &in_backup)]
        {
            let kind = match state {
                Found::Good => {
                    if let Some(stored) = stored
                        && let Some(tag) = other_tag(self.side(side), &original, stored)
                    {
                        let what = format!("its entity tag is {tag} instead of {}", original.etag);
                        found.push(Difference { key: original.key.to_string(), side, kind: "etag", what });
                    }
                    continue;
                }
                Found::Missing if side == Side::Backup && !copied => "not-copied",
                Found::Missing => "missing",
                Found::Damaged(_) => "damaged",
            };
            let what = state.damage().unwrap_or_default().to_owned();
            found.push(Difference { key: original.key.to_string(), side, kind, what });
        }
        Ok(found)
    }
}
