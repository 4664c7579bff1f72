//! Reads an upload's body: taken in ([`Intake`]), within its limits, judged on what the image says of itself as soon as
//! it has said it, and given up when it stands still.

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::{Publication, Publishing, crash, failure, intake::Intake};
use crate::{
    bucket::Upload,
    error::{Error, Result},
    version_check::{self, Candidate, Known},
};

/// A body that sends nothing for so long is given up.
const IDLE: Duration = Duration::from_secs(60);

impl Publishing {
    /// Reads the body to its end, within the limits.
    pub(super) async fn read<S, E>(
        &self,
        request: &Publication,
        largest: u64,
        mut body: S,
        intake: &mut Intake,
        mut upload: Option<&mut Upload>,
    ) -> Result<()>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        // Once: what is said later is judged at the end.
        let mut judged = false;
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(IDLE, body.next()) => next,
                () = self.abort.cancelled() => return Err(failure::stopping()),
            };
            let bytes = match next {
                Ok(None) => break,
                Ok(Some(Ok(bytes))) => bytes,
                Ok(Some(Err(error))) => return Err(failure::body_interrupted().caused_by(error)),
                Err(_) => {
                    return Err(
                        failure::body_interrupted().caused_by(format!("no byte for {} s", IDLE.as_secs()))
                    );
                }
            };
            if bytes.is_empty() {
                continue;
            }
            let first = intake.size() == 0;
            intake.update(&bytes);
            self.metrics.upload_bytes.inc_by(bytes.len() as u64);
            if intake.size() > largest {
                return self.too_large(request, intake.size()).await;
            }
            if !judged && let Some(facts) = intake.so_far() {
                judged = true;
                let state = self.product(&request.product).await?;
                let known = Known::Underway(facts);
                let judgement = version_check::judge(&state, &request.candidate, known, self.limits);
                judgement.admission.map_err(failure::refusal)?;
            }
            if let Some(upload) = upload.as_deref_mut() {
                upload.write(bytes).await?;
            }
            if first {
                crash::point("first-bytes");
            }
        }
        match request.candidate.size {
            Some(declared) if declared != intake.size() => {
                Err(failure::body_interrupted().caused_by(format!("{} of {declared} bytes", intake.size())))
            }
            _ => Ok(()),
        }
    }

    /// A body without a declared length grew past the limit: the rules say it in their words.
    async fn too_large(&self, request: &Publication, size: u64) -> Result<()> {
        let state = self.product(&request.product).await?;
        let candidate = Candidate { size: Some(size), sha256: None, ..request.candidate.clone() };
        version_check::admit(&state, &candidate, self.limits).map_err(failure::refusal)?;
        Err(Error::internal("the limit that the body broke refuses nothing"))
    }
}
