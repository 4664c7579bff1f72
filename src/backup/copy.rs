//! One object from one place to the other.

use super::{
    Backup, Side,
    inspect::{damage, other_tag},
};
use crate::{
    bucket::{OBJECT_MISSING, Original},
    error::{Error, Kind, Result},
};

/// How an object came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It was there, and right by its description.
    Adopted,
    /// The store copied it; nobody has read the bytes.
    Within,
    /// Its bytes passed through here and were right.
    Streamed,
}

impl Backup {
    /// Makes sure that the object is there. `absent`: it is known not to be.
    ///
    /// Fails with code [`OBJECT_MISSING`] or `object-damaged` when the other place does not have it, or not right.
    pub(super) async fn ensure(&self, to: Side, original: &Original, absent: bool) -> Result<How> {
        let (target, source) = (self.side(to), self.side(to.other()));
        let key = original.key.as_str();
        let found = if absent { None } else { target.head(key).await? };
        match found {
            Some(found)
                if damage(original, &found).is_none() && other_tag(target, original, &found).is_none() =>
            {
                return Ok(How::Adopted);
            }
            // What is there might be right, and the source wrong: only bytes that were seen may replace it.
            Some(_) => {}
            None if target.copies_from(source, original) => {
                let tag = target.copy_within(source, original).await.map_err(|error| match error.code() {
                    OBJECT_MISSING => {
                        let name = to.other().name();
                        let message = format!("the {name} does not have the object {key}");
                        Error::new(Kind::NotFound, OBJECT_MISSING, message)
                    }
                    _ => error,
                })?;
                // The tag is of the bytes, by the store's own record of them; the scrub reads them next.
                if tag.is_some() && tag.as_deref() == original.s3_etag() {
                    return Ok(How::Within);
                }
                if let Some(copy) = target.head(key).await?
                    && damage(original, &copy).is_none()
                    && other_tag(target, original, &copy).is_none()
                {
                    return Ok(How::Within);
                }
                // It is not what was published, and there was nothing before it.
                target.delete(key).await?;
            }
            None => {}
        }
        self.stream(to, original).await?;
        Ok(How::Streamed)
    }

    /// Copies the object through this process; what was there is replaced if the bytes are right, and only then.
    pub(super) async fn stream(&self, to: Side, original: &Original) -> Result<()> {
        let stored = match self.try_stream(to, original).await {
            Err(error) if error.code() == "copy-broken" => self.try_stream(to, original).await?,
            done => done?,
        };
        if let Some(tag) = other_tag(self.side(to), original, &stored) {
            tracing::warn!(
                key = %original.key,
                tag,
                wanted = original.etag,
                "the {} gives the same bytes another entity tag: a CDN must not mix ranges of the two",
                to.name()
            );
        }
        Ok(())
    }

    async fn try_stream(&self, to: Side, original: &Original) -> Result<crate::bucket::StoredObject> {
        let mut copy = self.side(to).receive(original, &self.memory).await?;
        let mut bytes = self.side(to.other()).read(&original.key, original.size, copy.received()).await?;
        while let Some(piece) = bytes.next().await? {
            self.pace.take(piece.len()).await;
            self.meter.passed(piece.len());
            copy.write(piece).await?;
        }
        copy.finish().await
    }
}
