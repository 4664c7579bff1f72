//! A publish that stores nothing: the whole verdict, from the first bytes where possible.
//!
//! The same rules on the same facts as a real publish, on the product as it is now; nothing is reserved, nothing is
//! written, and the bucket is not asked. So it does not see another upload of the same key that is under way, nor an
//! object in the bucket that the catalogue does not know.

use std::error::Error as StdError;

use bytes::Bytes;
use futures_util::Stream;

use super::{Publication, Publishing, failure, intake::Intake};
use crate::{
    domain::{Facts, ProductState},
    error::{Error, Kind, Result},
    version_check::{self, Admission, Judgement, Known, Refusal, rule},
};

/// How much was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// What is declared.
    Declared,
    /// What the image said in its first bytes.
    Underway,
    /// All of it.
    Image,
}

/// What would become of a publish.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// How much was judged.
    pub judged: Judged,
    /// The verdict and the warnings.
    pub judgement: Judgement,
    /// How many bytes were read.
    pub size: u64,
    /// Of all of them, if all were read.
    pub sha256: Option<[u8; 32]>,
    /// What the image says of itself, as far as it was read.
    pub facts: Option<Facts>,
}

impl Verdict {
    /// The status that a publish would be answered with.
    pub fn status(&self) -> u16 {
        match &self.judgement.admission {
            Ok(Admission::New) => 201,
            Ok(Admission::Occupied(_) | Admission::Same(_)) => 200,
            Err(Refusal::Conflict(_)) => 409,
            Err(Refusal::Rules(reasons))
                if reasons.iter().any(|reason| reason.code == rule::IMAGE_TOO_LARGE) =>
            {
                413
            }
            Err(Refusal::Rules(_)) => 422,
        }
    }
}

impl Publishing {
    /// Judges a publish without doing it. Without a body, only what is declared is judged.
    ///
    /// # Errors
    /// `NotFound` for the product, `Interrupted` when the body ends early, `Busy` when too much is under way; or what the
    /// catalogue fails with. A refusal is no error here.
    pub async fn try_out<S, E>(&self, request: &Publication, body: Option<S>) -> Result<Verdict>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let _permit = self.permit()?;
        let state = self.product(&request.product).await?;
        let verdict = |judged, judgement| Verdict { judged, judgement, size: 0, sha256: None, facts: None };
        let declared = version_check::judge(&state, &request.candidate, Known::Declared, self.limits);
        let Some(body) = body else { return Ok(verdict(Judged::Declared, declared)) };
        if !matches!(declared.admission, Ok(Admission::New | Admission::Occupied(_))) {
            return Ok(verdict(Judged::Declared, declared));
        }
        let largest = self.limits.max_image_bytes;
        let largest = largest.min(state.product.settings.max_image_bytes.unwrap_or(u64::MAX));
        let mut intake = Intake::new(&state.product.settings.policy, &request.candidate);
        match self.read(request, largest, body, &mut intake, None).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), Kind::Refused | Kind::TooLarge | Kind::Conflict) => {
                return Ok(self.refused_underway(&state, request, &intake, &error));
            }
            Err(error) => return Err(error),
        }
        let taken = intake.finish();
        let state = self.product(&request.product).await?;
        let known = Known::Arrived(&taken.arrived);
        Ok(Verdict {
            judged: Judged::Image,
            judgement: version_check::judge(&state, &request.candidate, known, self.limits),
            size: taken.arrived.size,
            sha256: Some(taken.arrived.sha256),
            facts: Some(taken.arrived.report.facts.clone()),
        })
    }

    fn refused_underway(
        &self,
        state: &ProductState,
        request: &Publication,
        intake: &Intake,
        error: &Error,
    ) -> Verdict {
        let facts = intake.so_far().cloned();
        let warnings = facts.as_ref().map_or_else(Vec::new, |facts| {
            version_check::judge(state, &request.candidate, Known::Underway(facts), self.limits).warnings
        });
        let refusal = match error.kind() {
            Kind::Conflict => Refusal::Conflict(error.message().to_owned()),
            _ => Refusal::Rules(error.reasons().to_vec()),
        };
        Verdict {
            judged: Judged::Underway,
            judgement: Judgement { admission: Err(refusal), warnings },
            size: intake.size(),
            sha256: None,
            facts,
        }
    }

    /// The right to take a body in.
    pub(super) fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        self.uploads.try_acquire().map_err(|_| failure::too_many_uploads())
    }
}
