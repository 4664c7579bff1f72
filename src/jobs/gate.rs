//! Offers what was promoted once it was fetched back through the CDN.
//!
//! # Flow
//! Promotions that wait are tried by channel and release: each image is fetched as [`crate::cdn::gate`] says, and when all
//! of them are as they should be, one transaction offers them (an audit entry `channel.offer`, a revision). Until then no
//! check tells of any of them. When one is not, all wait on, with the reason, and are tried again after a while that
//! doubles each time.
//!
//! # Invariants
//! - What was recalled or withdrawn meanwhile is not offered: those changes end the waiting. The rules were asked when it was
//!   promoted; the offer only makes sure that the product has not changed since it was read.
//! - One replica does it, by a lease; two at once would fetch twice, and one of them finds nothing left to offer.
//!
//! With the gate switched off, what still waits is offered without being fetched.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::Utc;
use uuid::Uuid;

use super::{Reconciler, awake::Awake, earlier_life};
use crate::{
    bucket::ObjectKey,
    catalogue::{Audit, Promote, Waiting, Written},
    cdn::{
        Links, ShortLinks, Terms, UNSIGNABLE,
        gate::{Expected, Gate, Part, RANGE},
    },
    domain::{Action, ChannelName, Image, Product, ProductName, ProductState, Shown, Version},
    error::Result,
    publishing::Publishing,
    telemetry::Metrics,
};

/// The duty's name.
const DUTY: &str = "gate";
/// How long this replica leads without saying so again.
const LEASE: Duration = Duration::from_secs(60);
/// How often it looks, though nothing has changed.
const LOOK: Duration = Duration::from_secs(2);
/// The same while the gate is off.
const LOOK_WHILE_OFF: Duration = Duration::from_secs(600);
/// The first pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Who offers, in the audit log.
const ACTOR: &str = "gate";

/// The reconciler.
pub struct GateJob {
    publishing: Arc<Publishing>,
    /// The holder id of the process that used this data directory before: it is dead, so its lead need not run out.
    earlier_life: Option<Uuid>,
    links: Arc<Links>,
    short: Arc<ShortLinks>,
    gate: Option<Arc<Gate>>,
    metrics: Arc<Metrics>,
    awake: Awake,
}

/// Images of one release that wait for one channel.
type Group = (ProductName, ChannelName, Version);

impl GateJob {
    /// A reconciler that fetches by these links; without a gate, what waits is offered at once.
    pub fn new(
        publishing: Arc<Publishing>,
        earlier_life: Option<Uuid>,
        (links, short): (Arc<Links>, Arc<ShortLinks>),
        gate: Option<Gate>,
        metrics: Arc<Metrics>,
        awake: Awake,
    ) -> Self {
        Self { publishing, earlier_life, links, short, gate: gate.map(Arc::new), metrics, awake }
    }
}

#[async_trait]
impl Reconciler for GateJob {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn period(&self) -> Duration {
        Duration::from_millis(500)
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        let sleeps = self.gate.is_none() && !self.awake.is_over();
        if sleeps || !self.awake.is_time() {
            return Ok(None);
        }
        self.awake.rest(if self.gate.is_some() { LOOK } else { LOOK_WHILE_OFF });
        let catalogue = &self.publishing.catalogue;
        earlier_life::stop_leading(&mut self.earlier_life, DUTY, &**catalogue).await?;
        let waiting = catalogue.waiting().await?;
        self.metrics.pending_promotions.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        if waiting.is_empty() || !catalogue.lead(DUTY, self.publishing.holder, LEASE).await? {
            return Ok(None);
        }
        let (mut offered, mut failed) = (0, 0);
        let mut trouble = None;
        for (group, attempts) in self.due_groups(&waiting).await? {
            if !catalogue.lead(DUTY, self.publishing.holder, LEASE).await? {
                break;
            }
            match self.offer(&group, attempts).await {
                Ok(true) => offered += 1,
                Ok(false) => failed += 1,
                // One release must not keep those behind it from being tried.
                Err(error) => trouble = Some(error),
            }
        }
        let left = catalogue.waiting().await?.len();
        self.metrics.pending_promotions.set(i64::try_from(left).unwrap_or(i64::MAX));
        let did = (offered + failed > 0).then(|| format!("offered {offered} releases, {failed} wait on"));
        trouble.map_or(Ok(did), Err)
    }
}

impl GateJob {
    /// What is due, by channel and release, with the most attempts that one of its images had.
    async fn due_groups(&self, waiting: &[Waiting]) -> Result<BTreeMap<Group, u32>> {
        let mut groups = BTreeMap::new();
        let mut states: BTreeMap<&ProductName, Option<ProductState>> = BTreeMap::new();
        for one in waiting.iter().filter(|one| one.due) {
            if !states.contains_key(&one.product) {
                states.insert(&one.product, self.publishing.catalogue.product(&one.product).await?);
            }
            let state = states.get(&one.product).and_then(Option::as_ref);
            if let Some((release, _)) = state.and_then(|state| state.image(one.image)) {
                let group = (one.product.clone(), one.channel.clone(), release.version.clone());
                let attempts: &mut u32 = groups.entry(group).or_default();
                *attempts = one.attempts.max(*attempts);
            }
        }
        Ok(groups)
    }

    /// Fetches a group's images, and offers them if they are as they should be; says whether they are.
    async fn offer(&self, group: &Group, attempts: u32) -> Result<bool> {
        let (product, channel, version) = group;
        let mut verified = BTreeSet::new();
        loop {
            let state = self.publishing.product(product).await?;
            let Some(release) = state.release(version) else { return Ok(true) };
            let pending = |image: &&Image| state.is_pending(image.id, channel);
            let images: Vec<&Image> = release.images.iter().filter(pending).collect();
            if images.is_empty() {
                return Ok(true);
            }
            for image in &images {
                // Also after somebody else has changed the product: an image never changes.
                if !verified.contains(&image.id)
                    && let Err(why) = self.verify(&state.product, version, image).await?
                {
                    let ids: Vec<Uuid> = images.iter().map(|image| image.id).collect();
                    self.keep_waiting(group, &ids, image, &why, attempts).await?;
                    return Ok(false);
                }
                verified.insert(image.id);
            }
            let ids: Vec<Uuid> = images.iter().map(|image| image.id).collect();
            let of_group =
                state.pending.iter().filter(|one| one.channel == *channel && ids.contains(&one.image));
            let withdraw: BTreeSet<Uuid> = of_group.flat_map(|one| one.withdraw.iter().copied()).collect();
            let audit = Audit {
                actor: ACTOR.into(),
                action: Action::ChannelOffer,
                version: Some(version.clone()),
                channel: Some(channel.clone()),
                details: serde_json::json!({ "verified": self.gate.is_some() }),
                ..Audit::default()
            };
            let shown = Shown { channels: BTreeSet::from([channel.clone()]), ..Shown::default() };
            let audit = audit.showing(shown, &state);
            let promote = Promote {
                channel: channel.clone(),
                images: ids,
                withdraw: withdraw.into_iter().collect(),
                pending: false,
            };
            let revision = state.product.revision;
            let written = self.publishing.catalogue.promote(product, &promote, revision, &audit).await?;
            if let Written::Done(_) = written {
                self.publishing.changed.notify_one();
                tracing::info!(%product, %version, %channel, "offered, as the CDN serves it");
                return Ok(true);
            }
        }
    }

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
            let bytes = match self.read(&expected, at).await {
                Ok(bytes) => bytes,
                Err(error) => return Ok(Err(format!("the bucket's own object cannot be read: {error}"))),
            };
            if bytes.len() as u64 != RANGE.min(expected.size - at) {
                return Ok(Err(format!("the bucket's own object ends early, in the range from {at} on")));
            }
            parts.push(Part { at, bytes });
        }
        let secrets = product.device_secrets.to_bytes();
        let terms = Terms::of(product, &secrets);
        // The host matters to links of the device listener alone, which are no CDN's.
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

    async fn keep_waiting(
        &self,
        group: &Group,
        images: &[Uuid],
        bad: &Image,
        why: &str,
        attempts: u32,
    ) -> Result<()> {
        let (product, channel, version) = group;
        let pause = FIRST_PAUSE.saturating_mul(1 << attempts.min(10)).min(LONGEST_PAUSE);
        let why = format!("{}: {why}", bad.filename);
        // The first failure is loud; those after it are in the release and the metrics.
        if attempts == 0 {
            tracing::error!(%product, %version, %channel, why, again = ?pause, "not offered yet: the CDN does not serve it as it should");
        } else {
            tracing::debug!(%product, %version, %channel, why, attempts, again = ?pause, "still not offered");
        }
        self.metrics.gate_failures.inc();
        self.publishing.catalogue.keep_waiting(product, channel, images, &why, pause).await
    }
}
