//! Reads an object back from the bucket, once, in bounded memory, and learns all that must be known of its bytes.

use crate::{
    bucket::Unsealed,
    domain::Policy,
    error::Result,
    publishing::{
        Publishing, failure,
        intake::{Intake, Taken},
    },
    version_check::Candidate,
};

impl Publishing {
    /// What the object is, as the bucket gives its bytes: size, digests, and what it says of itself.
    pub(super) async fn examine(
        &self,
        object: &Unsealed,
        policy: &Policy,
        candidate: &Candidate,
    ) -> Result<Taken> {
        let mut intake = Intake::new(policy, candidate);
        let mut bytes = object.read().await?;
        loop {
            let next = tokio::select! {
                next = bytes.next() => next?,
                () = self.abort.cancelled() => return Err(failure::stopping()),
            };
            let Some(next) = next else { return Ok(intake.finish()) };
            intake.update(&next);
        }
    }
}
