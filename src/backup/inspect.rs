//! Whether an object is what it has to be: by its description, or by its bytes.

use sha2::{Digest as _, Sha256};

use super::{Backup, Side};
use crate::{
    bucket::{Bucket, OBJECT_MISSING, Original, StoredObject},
    error::Result,
};

/// Above this size (S3's limit for a copy, see `bucket::s3`) an object may lack the digests in its metadata.
const LARGEST_WITH_DIGESTS: u64 = 5 << 30;

/// What was found where an object has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is right, as far as was looked.
    Good,
    /// Nothing.
    Missing,
    /// Something else; what is wrong with it.
    Damaged(String),
}

impl Found {
    /// What is wrong, in words; `None` = nothing.
    pub fn damage(&self) -> Option<&str> {
        match self {
            Self::Good => None,
            Self::Missing => Some("missing"),
            Self::Damaged(why) => Some(why),
        }
    }
}

/// What is wrong with an object by its description. The entity tag is another matter, see [`other_tag`].
pub(super) fn damage(original: &Original, found: &StoredObject) -> Option<String> {
    let Original { key, facts, size, digests, .. } = original;
    if found.size != *size {
        return Some(format!("it has {} bytes instead of {size}", found.size));
    }
    match found.sha256 {
        Some(sha256) if sha256 == digests.sha256 => {}
        None if *size > LARGEST_WITH_DIGESTS => {}
        Some(sha256) => {
            let (states, published) = (hex::encode(sha256), hex::encode(digests.sha256));
            return Some(format!("its metadata state SHA-256 {states} instead of {published}"));
        }
        None => return Some("its metadata state no SHA-256".to_owned()),
    }
    if found.facts.as_ref() != Some(facts) {
        return Some("its metadata are of another image".to_owned());
    }
    for (name, states, wanted) in [
        ("content type", &found.content_type, key.content_type()),
        ("cache rule", &found.cache_control, key.cache_control()),
    ] {
        if states.as_deref() != Some(wanted) {
            return Some(format!("its {name} is {states:?} instead of {wanted:?}"));
        }
    }
    None
}

/// An object's entity tag, if it is not the one that it has to have there; then ranges of it must not be mixed with those
/// of the other bucket, but its bytes may be right.
pub(super) fn other_tag<'a>(
    bucket: &Bucket,
    original: &Original,
    found: &'a StoredObject,
) -> Option<&'a str> {
    let wanted = match bucket {
        Bucket::S3(_) => original.s3_etag(),
        Bucket::Directory(_) => Some(&*original.etag),
    };
    wanted.is_some_and(|wanted| wanted != found.etag).then_some(&*found.etag)
}

impl Backup {
    /// Looks at an object's description.
    pub(super) async fn look(
        &self,
        side: Side,
        original: &Original,
    ) -> Result<(Found, Option<StoredObject>)> {
        let found = self.side(side).head(original.key.as_str()).await?;
        let verdict = match &found {
            None => Found::Missing,
            Some(found) => damage(original, found).map_or(Found::Good, Found::Damaged),
        };
        Ok((verdict, found))
    }

    /// Reads an object to its end. Bytes that are wrong are read once more: it may have been the way.
    pub(super) async fn read(
        &self,
        side: Side,
        original: &Original,
    ) -> Result<(Found, Option<StoredObject>)> {
        let (mut wrong, mut stored) = (None, None);
        for _ in 0..2 {
            let (found, described) = self.look(side, original).await?;
            if found != Found::Good {
                return Ok((found, described));
            }
            stored = described;
            match self.hash(side, original).await {
                Ok(sha256) if sha256 == original.digests.sha256 => return Ok((Found::Good, stored)),
                Ok(sha256) => wrong = Some(hex::encode(sha256)),
                Err(error) if error.code() == OBJECT_MISSING => return Ok((Found::Missing, None)),
                Err(error) => return Err(error),
            }
        }
        let (read, published) = (wrong.unwrap_or_default(), hex::encode(original.digests.sha256));
        Ok((Found::Damaged(format!("the SHA-256 of its bytes is {read} instead of {published}")), stored))
    }

    async fn hash(&self, side: Side, original: &Original) -> Result<[u8; 32]> {
        let mut bytes = self.side(side).read(&original.key, original.size, 0).await?;
        let mut sha256 = Sha256::new();
        while let Some(piece) = bytes.next().await? {
            self.pace.take(piece.len()).await;
            self.meter.passed(piece.len());
            sha256.update(&piece);
        }
        Ok(sha256.finalize().into())
    }
}
