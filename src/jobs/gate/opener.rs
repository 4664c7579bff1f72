//! Opens the gate for one promotion: asks the rules, fetches the images, asks the rules again, offers.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use chrono::Utc;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    bucket::ObjectKey,
    catalogue::{Audit, Setback, Waiting},
    cdn::{
        Links, ShortLinks, Terms, UNSIGNABLE,
        gate::{Expected, Gate, Part, RANGE},
    },
    domain::{Action, Image, Product, ProductState, Version},
    error::Result,
    publishing::{Asked, Publishing},
    telemetry::Metrics,
    version_check::{Offer, Opening},
};

/// The first pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Who offers and refuses, in the audit log.
const ACTOR: &str = "gate";

/// How it ended.
pub(super) enum Ended {
    /// Its images are offered.
    Offered,
    /// They wait on.
    Waits,
    /// The rules refuse them by now.
    Refused,
    /// They did not wait any more.
    Gone,
}

/// What is needed to open the gate.
pub(super) struct Opener {
    pub publishing: Arc<Publishing>,
    pub links: Arc<Links>,
    pub short: Arc<ShortLinks>,
    pub gate: Option<Arc<Gate>>,
    pub metrics: Arc<Metrics>,
}

impl Opener {
    /// All that waits; their number is shown.
    pub(super) async fn waiting(&self) -> Result<Vec<Waiting>> {
        let waiting = self.publishing.catalogue.waiting().await?;
        self.metrics.pending_promotions.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        Ok(waiting)
    }

    /// Fetches what was asked for, and offers it if it is as it should be and the rules still allow it.
    pub(super) async fn open(&self, asked: &Asked, attempts: u32) -> Result<Ended> {
        let Asked { product, version, channel, .. } = asked;
        let mut verified: BTreeSet<Uuid> = BTreeSet::new();
        loop {
            let state = self.publishing.product(product).await?;
            let offer = match self.publishing.opening(&state, asked) {
                None => return Ok(Ended::Gone),
                Some(Opening::Wait(why)) => {
                    self.wait_for_others(&state, asked, why).await?;
                    return Ok(Ended::Waits);
                }
                Some(Opening::Refuse(reasons)) => {
                    let audit = audit(Action::ChannelRefuse, serde_json::Value::Null);
                    if !self.publishing.refuse(&state, asked, &reasons, audit).await? {
                        continue;
                    }
                    self.metrics.gate_refusals.inc();
                    let why = reasons.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>();
                    tracing::error!(%product, %version, %channel, ?why, "not offered: the rules refuse it by now");
                    self.waiting().await?;
                    return Ok(Ended::Refused);
                }
                Some(Opening::Offer(offer)) => offer,
            };
            // Also after somebody else has changed the product: an image never changes.
            let fetched = verified.len();
            for id in &offer.images {
                let Some((_, image)) = state.image(*id).filter(|_| !verified.contains(id)) else { continue };
                if let Err(why) = self.verify(&state.product, version, image).await? {
                    self.keep_waiting(asked, &offer, image, &why, attempts).await?;
                    return Ok(Ended::Waits);
                }
                verified.insert(*id);
            }
            if verified.len() > fetched {
                // It took its time: what was allowed before need not be now.
                continue;
            }
            let audit = audit(Action::ChannelOffer, serde_json::json!({ "verified": self.gate.is_some() }));
            if self.publishing.offer(&state, asked, &offer, audit).await? {
                let (beneath, withdrawn) = (offer.beneath.len(), offer.withdraw.len());
                tracing::info!(%product, %version, %channel, beneath, withdrawn, "offered, as the CDN serves it");
                self.waiting().await?;
                return Ok(Ended::Offered);
            }
        }
    }

    /// Compares what the CDN serves with the image; without a gate there is nothing to compare.
    async fn verify(
        &self,
        product: &Product,
        version: &Version,
        image: &Image,
    ) -> Result<std::result::Result<(), String>> {
        let Some(gate) = &self.gate else { return Ok(Ok(())) };
        let key = ObjectKey::image(&product.name, version, &image.filename);
        let expected = Expected { key, size: image.size, sha256: image.digests.sha256 };
        let mut parts = Vec::new();
        for at in gate.ranges(&expected) {
            let bytes = match timeout(gate.within(), self.read(&expected, at)).await {
                Ok(Ok(bytes)) => bytes,
                Err(_) => return Ok(Err("the bucket's own object cannot be read: it takes too long".into())),
                Ok(Err(error)) => return Ok(Err(format!("the bucket's own object cannot be read: {error}"))),
            };
            if bytes.len() as u64 != RANGE.min(expected.size - at) {
                return Ok(Err(format!("the bucket's own object ends early, in the range from {at} on")));
            }
            parts.push(Part { at, bytes });
        }
        // The host matters to links of the device listener alone, which are no CDN's.
        let secrets = product.device_secrets.to_bytes();
        let terms = Terms::of(product, &secrets);
        let (mut url, key) = (String::new(), expected.key.as_str());
        match self.links.write_on(&mut url, &terms, &self.short, key, Utc::now(), "localhost") {
            Ok(_) => gate.verify(&expected, url, parts).await,
            Err(error) if error.code() == UNSIGNABLE => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// A part of the image as the bucket has it.
    async fn read(&self, image: &Expected, at: u64) -> Result<Bytes> {
        let length = usize::try_from(RANGE.min(image.size - at)).unwrap_or(usize::MAX);
        let mut reader = self.publishing.bucket.read(&image.key, image.size, at).await?;
        let mut bytes = BytesMut::with_capacity(length);
        while bytes.len() < length {
            let Some(more) = reader.next().await? else { break };
            bytes.extend_from_slice(&more[..more.len().min(length - bytes.len())]);
        }
        Ok(bytes.freeze())
    }

    /// It was not fetched, since others go before it; it is looked at again with the next pass.
    pub(super) async fn wait_for_others(
        &self,
        state: &ProductState,
        asked: &Asked,
        why: String,
    ) -> Result<()> {
        let Asked { product, version, channel, at } = asked;
        let of_ask = state.pending.iter().filter(|one| {
            let of_release = state.image(one.image).is_some_and(|(release, _)| release.version == *version);
            of_release && one.channel == *channel && one.at == *at
        });
        let images: Vec<Uuid> =
            of_ask.filter(|one| one.last_error.as_ref() != Some(&why)).map(|one| one.image).collect();
        if images.is_empty() {
            return Ok(());
        }
        tracing::info!(%product, %version, %channel, why, "not offered yet");
        let setback = Setback { error: why, delay: Duration::ZERO, tried: false };
        self.publishing.catalogue.keep_waiting(product, channel, &images, &setback).await
    }

    async fn keep_waiting(
        &self,
        asked: &Asked,
        offer: &Offer,
        bad: &Image,
        why: &str,
        attempts: u32,
    ) -> Result<()> {
        let Asked { product, version, channel, .. } = asked;
        let pause = FIRST_PAUSE.saturating_mul(1 << attempts.min(10)).min(LONGEST_PAUSE);
        let why = format!("{}: {why}", bad.filename);
        // The first failure is loud; those after it are in the release and the metrics.
        if attempts == 0 {
            tracing::error!(%product, %version, %channel, why, again = ?pause, "not offered yet: the CDN does not serve it as it should");
        } else {
            tracing::debug!(%product, %version, %channel, why, attempts, again = ?pause, "still not offered");
        }
        self.metrics.gate_failures.inc();
        let setback = Setback { error: why, delay: pause, tried: true };
        self.publishing.catalogue.keep_waiting(product, channel, &offer.images, &setback).await
    }
}

fn audit(action: Action, details: serde_json::Value) -> Audit {
    Audit { actor: ACTOR.into(), action, details, ..Audit::default() }
}
