//! Reads an object back from the bucket, once, in bounded memory, and learns all that must be known of its bytes.

use crate::{
    bucket::Unsealed,
    domain::Digests,
    error::Result,
    publishing::{Publishing, digest::Hasher, failure},
};

impl Publishing {
    /// The object's size and digests, as the bucket gives its bytes.
    pub(super) async fn examine(&self, object: &Unsealed) -> Result<(u64, Digests)> {
        let mut hasher = Hasher::default();
        let mut bytes = object.read().await?;
        loop {
            let next = tokio::select! {
                next = bytes.next() => next?,
                () = self.abort.cancelled() => return Err(failure::stopping()),
            };
            let Some(next) = next else { return Ok(hasher.finish()) };
            hasher.update(&next);
        }
    }
}
