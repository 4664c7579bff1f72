//! What asks something of the CDN, made of the settings.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    cdn::{
        Links, ShortLinks,
        gate::Gate,
        purge::{FastPurge, Network, Plan},
    },
    config::{
        PurgeInterface, PurgeNetwork, PurgeSettings, Settings, VERIFY_WITHIN, VerifyBeforeOffer, whole_up_to,
    },
    error::Result,
    jobs::{awake::Awake, gate::GateJob, purge::PurgeJob, snapshot::Current},
    publishing::Publishing,
    telemetry::Metrics,
};

/// The client that purges, and what it purges.
///
/// # Errors
/// When the credentials cannot be read.
pub(super) fn purger(purge: &PurgeSettings, settings: &Settings) -> Result<(FastPurge, Plan)> {
    let base = settings.cdn.as_ref().map_or("", |cdn| cdn.base_url.trim_end_matches('/'));
    let network = match purge.network {
        PurgeNetwork::Production => Network::Production,
        PurgeNetwork::Staging => Network::Staging,
    };
    match purge.kind {
        PurgeInterface::Akamai => Ok((FastPurge::new(purge.credentials()?, network), purge.plan(base))),
    }
}

/// The gate before an offer; `None` = promotions are offered at once.
pub(super) fn gate(settings: &Settings) -> Option<Gate> {
    let cdn = settings.cdn.as_ref()?;
    if cdn.verify_before_offer == VerifyBeforeOffer::Off {
        return None;
    }
    let whole_up_to = whole_up_to(cdn.verify_before_offer, cdn.sample_above);
    Some(Gate::new(whole_up_to, cdn.prewarm, cdn.verify_within.unwrap_or(VERIFY_WITHIN)))
}

/// The reconcilers: the one at the gate, and the one that purges, if there is something to purge.
pub(super) fn jobs(
    (publishing, earlier_life, metrics): (Arc<Publishing>, Option<Uuid>, Arc<Metrics>),
    links: (Arc<Links>, Arc<ShortLinks>),
    gate: Option<Gate>,
    purger: Option<(FastPurge, Plan)>,
    current: &Arc<Current>,
) -> (GateJob, Option<PurgeJob>) {
    let awake = || Awake::new(Arc::clone(current));
    let purge = purger.map(|(client, plan)| {
        let (catalogue, holder) = (Arc::clone(&publishing.catalogue), publishing.holder);
        PurgeJob::new(catalogue, (holder, earlier_life), client, plan, Arc::clone(&metrics), awake())
    });
    (GateJob::new(publishing, earlier_life, links, gate, metrics, awake()), purge)
}
