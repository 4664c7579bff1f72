//! Reads objects again, at both ends, and heals one end from the other.
//!
//! # Order and pace
//! First the copies that have not been read since they were made, then those that were read longest ago. From half the
//! period on a copy is due, and each pass takes so many of those as are needed to have all read within the other half:
//! so a catalogue that was copied in one night is not read again in one night. Where a pass broke off, the next goes on,
//! as the order is by what was read.
//!
//! # Damage
//! | bucket | backup | what is done |
//! |---|---|---|
//! | right | right | it counts as read |
//! | wrong | right | loud; the bucket's object is replaced by the backup's bytes, hashed on the way |
//! | right | wrong | loud; the same the other way round |
//! | wrong | wrong | loud; nothing is changed until a person has mended one of them |
//! | cannot be read | right | tried again; after some passes like wrong, if the rest of the bucket can be read ([`super::unreadable`]) |
//! | right | cannot be read | the same the other way round |
//! | cannot be read | not right | tried again, for ever |

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Backup, Side, inspect::Found, original, unreadable::Suspect};
use crate::{
    catalogue::{CopyMade, ImageCopy},
    error::{Error, Result},
};

/// Copies that are read at the same time: one waits for the store while the other is hashed.
const READ_AT_ONCE: usize = 4;
/// At most so many a pass, so that the lead and what is shown stay fresh.
const MOST: u32 = 1000;

/// What a pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Images whose objects were read at both ends.
    pub read: u64,
    /// Objects that were healed.
    pub healed: u64,
    /// Images that are wrong at both ends, in words.
    pub unresolved: Vec<String>,
    /// What could not be read or healed, the last of it.
    pub error: Option<String>,
}

/// How one image was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inspected {
    Good,
    Healed,
    Unresolved(String),
    Unreadable(Box<Suspect>),
}

impl Backup {
    /// One pass: what is damaged, what is unread, and what is due after so much time since the last pass.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub async fn scrub(self: &Arc<Self>, period: Duration, since_last: Duration) -> Result<Scrubbed> {
        let (mut scrubbed, mut suspects) = (Scrubbed::default(), Vec::new());
        self.read_what_waits(period, since_last, &mut scrubbed, &mut suspects).await?;
        self.mend_unreadable(suspects, &mut scrubbed).await?;
        Ok(scrubbed)
    }

    async fn read_what_waits(
        self: &Arc<Self>,
        period: Duration,
        since_last: Duration,
        scrubbed: &mut Scrubbed,
        suspects: &mut Vec<Suspect>,
    ) -> Result<()> {
        let damaged = self.catalogue.damaged(MOST).await?;
        let looked_at: BTreeSet<Uuid> = damaged.iter().map(|image| image.image).collect();
        let healable: Vec<_> = damaged.into_iter().filter(|image| image.copied_at.is_some()).collect();
        self.read_all(healable, scrubbed, suspects).await?;
        let unread = self.catalogue.copies_to_read(None, MOST).await?;
        let more = unread.len() >= MOST as usize;
        let unread = unread.into_iter().filter(|image| !looked_at.contains(&image.image)).collect::<Vec<_>>();
        let some = !unread.is_empty();
        self.read_all(unread, scrubbed, suspects).await?;
        // What is wrong at both ends stays unread, and must not keep the rest from being read.
        if more && some {
            return Ok(());
        }
        let half = TimeDelta::from_std(period / 2).unwrap_or(TimeDelta::MAX);
        let due_before = Utc::now().checked_sub_signed(half).unwrap_or_default();
        // With nothing due this is all that a pass costs.
        let mut due = self.catalogue.copies_to_read(Some(due_before), MOST).await?;
        due.retain(|image| image.verified_at.is_some());
        if due.is_empty() {
            return Ok(());
        }
        let all = self.catalogue.backup_report(due_before).await?.copied;
        let overdue_before = due_before.checked_sub_signed(half).unwrap_or_default();
        let overdue = due.iter().filter(|image| image.verified_at < Some(overdue_before)).count();
        let quota = quota(all, overdue, since_last, period);
        self.read_all(due.into_iter().take(quota).collect(), scrubbed, suspects).await
    }

    async fn read_all(
        self: &Arc<Self>,
        images: Vec<ImageCopy>,
        scrubbed: &mut Scrubbed,
        suspects: &mut Vec<Suspect>,
    ) -> Result<()> {
        let mut reads: JoinSet<Result<Inspected>> = JoinSet::new();
        let mut waiting = images.into_iter();
        loop {
            while reads.len() < READ_AT_ONCE.min(self.transfers)
                && let Some(image) = waiting.next()
            {
                let this = Arc::clone(self);
                reads.spawn(async move { this.inspect(&image).await });
            }
            let Some(done) = reads.join_next().await else { return Ok(()) };
            match done.map_err(Error::internal)? {
                Ok(Inspected::Good) => scrubbed.read += 1,
                Ok(Inspected::Healed) => {
                    scrubbed.read += 1;
                    scrubbed.healed += 1;
                }
                Ok(Inspected::Unresolved(what)) => scrubbed.unresolved.push(what),
                Ok(Inspected::Unreadable(suspect)) => suspects.push(*suspect),
                Err(error) if error.code().starts_with("catalogue-") => return Err(error),
                Err(error) => {
                    let cause = error.cause();
                    scrubbed.error = Some(format!("{error} ({cause})"));
                }
            }
        }
    }

    /// Reads an image's two objects, and heals one that is wrong from one that is right.
    pub(super) async fn inspect(&self, image: &ImageCopy) -> Result<Inspected> {
        let original = original(image);
        let (primary, backup) =
            tokio::join!(self.read(Side::Primary, &original), self.read(Side::Backup, &original));
        self.meter.done(image.size);
        let found = |read: Result<(Found, _)>| read.map(|(found, _)| found);
        let (primary, backup) = match Suspect::of(image, found(primary), found(backup))? {
            Ok(both) => both,
            Err(suspect) => return Ok(Inspected::Unreadable(Box::new(suspect))),
        };
        self.unreadable.forget(image.image);
        if !self.catalogue.inspected(image.image, primary.damage(), backup.damage()).await? {
            // Removed since it was listed: what is gone must not be put back.
            return Ok(Inspected::Good);
        }
        let (bad, damage) = match (&primary, &backup) {
            (Found::Good, Found::Good) => return Ok(Inspected::Good),
            (_, Found::Good) => (Side::Primary, &primary),
            (Found::Good, _) => (Side::Backup, &backup),
            _ => {
                let text = format!(
                    "{} is wrong in the bucket ({}) and in the backup ({})",
                    original.key,
                    primary.damage().unwrap_or_default(),
                    backup.damage().unwrap_or_default()
                );
                tracing::error!("{text}: it cannot be healed; put one of them back by hand");
                return Ok(Inspected::Unresolved(text));
            }
        };
        self.heal(bad, image, damage.damage().unwrap_or_default()).await
    }

    /// Replaces an image's object at one place by the other's bytes, which are hashed on the way.
    pub(super) async fn heal(&self, bad: Side, image: &ImageCopy, damage: &str) -> Result<Inspected> {
        let original = original(image);
        let (key, place) = (&original.key, bad.name());
        tracing::error!(%key, damage, "an object of the {place} is wrong; healing it from the {}", bad.other().name());
        self.stream(bad, &original).await?;
        self.catalogue.copied(&[CopyMade { image: image.image, verified: true }]).await?;
        tracing::warn!(%key, "the object of the {place} is healed");
        Ok(Inspected::Healed)
    }
}

/// How many of those that are due to read now: what is overdue, and else the share of all that half the period has for
/// the time since the last pass.
fn quota(all: u64, overdue: usize, since_last: Duration, period: Duration) -> usize {
    let share = since_last.as_secs_f64() / (period / 2).as_secs_f64().max(1e-3);
    overdue.max((all as f64 * share).ceil() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_read_within_half_the_period_and_few_are_not_read_all_the_time() {
        let (minute, month) = (Duration::from_secs(60), Duration::from_secs(30 * 86400));
        // Half a month has 21,600 minutes.
        for (all, each) in [(1, 1), (21_000, 1), (22_000, 2), (1_000_000, 47)] {
            assert_eq!(quota(all, 0, minute, month), each, "{all}");
            assert!(each as u64 * 21_600 >= all);
        }
        // After an outage, what is overdue comes at once.
        assert_eq!(quota(1_000_000, 900, minute, month), 900);
        assert_eq!(quota(10, 0, minute, Duration::ZERO), 600_000);
    }
}
