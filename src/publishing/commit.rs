//! The last steps of a publish: one transaction, judged on what is true at that moment.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    ATTEMPTS, Publication, Published, Publishing,
    change::{promotion_details, verdict},
    crash, failure,
    intake::Taken,
    offering::confirmed,
    too_contended,
};
use crate::{
    bucket::StoredObject,
    catalogue::{Audit, NewImage, Promote, Reservation, Written},
    domain::{Action, Image, ProductState, Shown},
    error::{Error, Kind, Result},
    version_check::{self, Judgement, Known, Offering, Reason},
};

/// How long a commit is tried again while the database is away.
const PATIENCE: Duration = Duration::from_secs(15);

impl Publishing {
    /// Steps 6 and 7: one transaction, judged on what is true at that moment.
    pub(super) async fn commit(
        &self,
        request: &Publication,
        reservation: &Reservation,
        began: DateTime<Utc>,
        stored: StoredObject,
        taken: Taken,
    ) -> Result<Published> {
        let candidate = &request.candidate;
        let new = NewImage {
            reservation: reservation.clone(),
            image: Image {
                id: reservation.id,
                filename: reservation.filename.clone(),
                hardware: reservation.hardware.clone(),
                size: stored.size,
                digests: taken.digests,
                etag: stored.etag,
                created_at: began,
                facts: Some(Arc::new(taken.arrived.report.facts.clone())),
                signature: candidate.signature.as_ref().map(|signature| signature.text()),
                removed_at: None,
            },
            notes: request.notes.clone(),
            path: candidate.path.clone(),
        };
        let patience = Instant::now() + PATIENCE;
        // Whether a commit was sent whose answer we do not have.
        let mut unanswered = false;
        let mut warnings = Vec::new();
        loop {
            let attempt = async {
                let state = self.product(&request.product).await?;
                if unanswered && state.image(reservation.id).is_some() {
                    return Ok(Written::Done(state));
                }
                let known = Known::Arrived(&taken.arrived);
                let Judgement { admission, warnings: told } =
                    version_check::judge(&state, candidate, known, self.limits);
                admission.map_err(failure::refusal)?;
                warnings = told;
                let promote = match &candidate.channel {
                    Some(channel) => {
                        let (version, path) = (&candidate.version, &candidate.path);
                        let offering = Offering { version, path, channel, images: &[&new.image] };
                        let withdraw =
                            version_check::promote(&state, &offering, &candidate.consent, self.limits)
                                .map_err(Error::refused)?
                                .withdraw;
                        let (channel, images) = (channel.clone(), vec![reservation.id]);
                        let promote = Promote::new(channel, images, withdraw);
                        let promote = confirmed(promote, &candidate.consent);
                        Some(Promote { pending: self.gated, ..promote })
                    }
                    None => None,
                };
                let withdrawn = promote.as_ref().map_or(&[][..], |promote| &promote.withdraw);
                let audit = Audit {
                    actor: request.actor.clone(),
                    action: Action::ImagePublish,
                    version: Some(candidate.version.clone()),
                    channel: candidate.channel.clone(),
                    details: publish_details(request, withdrawn, &warnings, promote.as_ref()),
                    verdict: verdict(&candidate.consent, withdrawn, &warnings),
                    ..Audit::default()
                };
                let shown = Shown {
                    release: Some(candidate.version.clone()),
                    image: Some(reservation.id),
                    channels: candidate.channel.iter().cloned().collect(),
                    ..Shown::default()
                };
                let audit = audit.showing(shown, &state);
                unanswered = true;
                let written =
                    self.catalogue.publish(&new, promote.as_ref(), state.product.revision, &audit).await?;
                unanswered = false;
                Ok(written)
            };
            let attempt: Result<Written<ProductState>> = attempt.await;
            match attempt {
                Ok(Written::Done(state)) => {
                    crash::point("committed");
                    self.changed.notify_one();
                    tracing::info!(
                        product = %request.product, version = %candidate.version, filename = %candidate.filename,
                        channel = candidate.channel.as_ref().map(tracing::field::display), size = stored.size,
                        actor = %request.actor, "published"
                    );
                    return Ok(Published { state, image: reservation.id, created: true, warnings });
                }
                Ok(Written::Stale) => {}
                // Also when an attempt whose answer was lost took effect only after the next had looked.
                Ok(Written::Lost) => match self.product(&request.product).await? {
                    state if state.image(reservation.id).is_some() => {
                        self.changed.notify_one();
                        return Ok(Published { state, image: reservation.id, created: true, warnings });
                    }
                    _ => return Err(failure::lost()),
                },
                Err(error) if error.kind() == Kind::Unavailable && Instant::now() < patience => {
                    tracing::warn!(
                        cause = error.cause(),
                        "the catalogue does not answer at commit; trying again"
                    );
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(error) if error.kind() == Kind::Unavailable && unanswered => {
                    return Err(failure::commit_unknown(error));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The very image is there: offers it where the publisher asks, if it is not yet.
    pub(super) async fn offer_again(
        &self,
        request: &Publication,
        state: ProductState,
        image: Uuid,
    ) -> Result<Published> {
        let mut state = state;
        let mut warnings = Vec::new();
        if let Some(channel) = &request.candidate.channel {
            let mut attempts = 0;
            // What waits was asked for already: a repeated publish changes nothing of it.
            let asked = |state: &ProductState| {
                state.is_promoted(image, channel) || self.gated && state.is_pending(image, channel)
            };
            while !asked(&state) {
                let candidate = &request.candidate;
                let (_, stored) =
                    state.image(image).ok_or_else(|| Error::internal("an image that was there is gone"))?;
                let (version, path) = (&candidate.version, &candidate.path);
                let offering = Offering { version, path, channel, images: &[stored] };
                let planned = self.planned(&state, &offering, &candidate.consent, &request.actor)?;
                warnings = planned.1;
                let Some((change, audit)) = planned.0 else { break };
                let revision = state.product.revision;
                let written = self.catalogue.promote(&request.product, &change, revision, &audit).await;
                let written = written.map_err(|error| match error.kind() {
                    Kind::Unavailable => failure::commit_unknown(error),
                    _ => error,
                });
                match written? {
                    Written::Done(now) => {
                        self.changed.notify_one();
                        state = now;
                        break;
                    }
                    _ if attempts >= ATTEMPTS => return Err(too_contended()),
                    _ => state = self.product(&request.product).await?,
                }
                attempts += 1;
            }
        }
        Ok(Published { state, image, created: false, warnings })
    }
}

/// What the audit log keeps of a publish.
fn publish_details(
    request: &Publication,
    withdrawn: &[Uuid],
    warnings: &[Reason],
    promote: Option<&Promote>,
) -> serde_json::Value {
    let candidate = &request.candidate;
    let pending = promote.is_some_and(|promote| promote.pending);
    let mut details = promotion_details(&candidate.consent, withdrawn, pending);
    if let Some(details) = details.as_object_mut() {
        if candidate.path.floor {
            details.insert("floor".into(), true.into());
        }
        if let Some(lowest) = &candidate.path.upgrade_from {
            details.insert("upgrade_from".into(), lowest.to_string().into());
        }
        if !warnings.is_empty() {
            details.insert("warnings".into(), warnings.iter().map(|warning| warning.code.as_ref()).collect());
        }
    }
    details
}
