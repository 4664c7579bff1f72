//! Objects that one place lists but cannot read: a bad sector (EIO), a shard of the store that answers 5xx again and again.
//!
//! Such an object is not known to be wrong, so a failed read changes nothing at first: it is tried again in the next pass.
//! It is held to be damaged, and is mended like damage, once all of this is true:
//!
//! - it could not be read in [`TRIES`] passes in a row, while the other place's object was read whole each time and was right;
//! - the place itself is well: no more than [`MOST`] of its objects are in that state, and the [`WITNESSES`] smallest others
//!   that were looked up (fewer if there are fewer, but at least one) can be read whole and are right;
//! - after these it cannot be read once more: so a place that has just come back is not taken for one that was well.
//!
//! Nothing is deleted: the good bytes are hashed on their way, and replace what is there only when they are right. A place
//! that is away, refuses the credentials or is full thus changes nothing at the other, and is told as before.
//!
//! The passes are counted in this process: after a restart, or with another leader, they are counted anew.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::{
    Backup, Side,
    inspect::Found,
    original,
    scrub::{Inspected, Scrubbed},
};
use crate::{
    catalogue::ImageCopy,
    error::{Error, Result},
};

/// In so many passes.
const TRIES: u32 = 3;
/// A place with more such objects is not well.
const MOST: usize = 10;
/// So many others have to be readable.
const WITNESSES: usize = 3;
/// They are the smallest of so many: reading them costs time and money.
const LOOKED_UP: u32 = 100;

/// An object that could not be read, while the other place's was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) side: Side,
    pub(super) image: ImageCopy,
    pub(super) why: String,
}

/// In how many passes in a row which objects could not be read.
#[derive(Debug, Default)]
pub struct Unreadable(Mutex<HashMap<(Side, Uuid), u32>>);

impl Unreadable {
    fn tries(&self) -> MutexGuard<'_, HashMap<(Side, Uuid), u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It could not be read once more; returns how often that is.
    fn again(&self, side: Side, image: Uuid) -> u32 {
        let mut tries = self.tries();
        let tries = tries.entry((side, image)).or_default();
        *tries += 1;
        *tries
    }

    /// It was read at both places, or is wanted no more.
    pub(super) fn forget(&self, image: Uuid) {
        self.tries().retain(|(_, other), _| *other != image);
    }

    fn knows(&self, side: Side, image: Uuid) -> bool {
        self.tries().contains_key(&(side, image))
    }

    fn number(&self, side: Side) -> usize {
        self.tries().keys().filter(|(other, _)| *other == side).count()
    }
}

impl Suspect {
    /// What two reads say, if one place's object is right and the other's could not be read; else the error.
    pub(super) fn of(
        image: &ImageCopy,
        primary: Result<Found>,
        backup: Result<Found>,
    ) -> Result<std::result::Result<(Found, Found), Self>> {
        let (side, error) = match (primary, backup) {
            (Ok(primary), Ok(backup)) => return Ok(Ok((primary, backup))),
            (Err(error), Ok(Found::Good)) => (Side::Primary, error),
            (Ok(Found::Good), Err(error)) => (Side::Backup, error),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        Ok(Err(Self { side, image: image.clone(), why: words(&error) }))
    }
}

fn words(error: &Error) -> String {
    format!("{error} ({})", error.cause())
}

impl Backup {
    /// Mends those that could not be read often enough; the rest is told.
    pub(super) async fn mend_unreadable(
        &self,
        suspects: Vec<Suspect>,
        scrubbed: &mut Scrubbed,
    ) -> Result<()> {
        for Suspect { side, image, why } in suspects {
            let tries = self.unreadable.again(side, image.image);
            let place = side.name();
            let told = format!("{} cannot be read in the {place}: {why}", super::key(&image));
            if tries < TRIES {
                scrubbed.error = Some(told);
                continue;
            }
            if self.unreadable.number(side) > MOST || !self.others_can_be_read(side).await? {
                let text = format!(
                    "{told}; it is not replaced, as other objects of the {place} cannot be read either"
                );
                scrubbed.error = Some(text);
                continue;
            }
            // When a place comes back, what failed just before must not be taken for what alone fails.
            if self.read(side, &original(&image)).await.is_ok() {
                self.unreadable.forget(image.image);
                continue;
            }
            let damage = format!("it could not be read in {tries} passes, at last: {why}");
            let (primary, backup) = match side {
                Side::Primary => (Some(damage.as_str()), None),
                Side::Backup => (None, Some(damage.as_str())),
            };
            if !self.catalogue.inspected(image.image, primary, backup).await? {
                // Removed since it was listed.
                self.unreadable.forget(image.image);
                continue;
            }
            match self.heal(side, &image, &damage).await {
                Ok(healed) => {
                    self.unreadable.forget(image.image);
                    scrubbed.read += 1;
                    scrubbed.healed += u64::from(healed == Inspected::Healed);
                }
                Err(error) if error.code().starts_with("catalogue-") => return Err(error),
                Err(error) => scrubbed.error = Some(words(&error)),
            }
        }
        Ok(())
    }

    /// Whether a place can be read at all: if not, it is the place that is ill, and not its objects.
    async fn others_can_be_read(&self, side: Side) -> Result<bool> {
        let mut others = self.catalogue.copies(None, LOOKED_UP).await?;
        others.retain(|other| {
            let damage = match side {
                Side::Primary => &other.primary_damage,
                Side::Backup => &other.backup_damage,
            };
            other.copied_at.is_some() && damage.is_none() && !self.unreadable.knows(side, other.image)
        });
        others.sort_by_key(|other| other.size);
        others.truncate(WITNESSES);
        for other in &others {
            if !matches!(self.read(side, &original(other)).await, Ok((Found::Good, _))) {
                return Ok(false);
            }
        }
        Ok(!others.is_empty())
    }
}
