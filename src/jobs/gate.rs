//! Offers what was promoted once it was fetched back through the CDN.
//!
//! # Flow
//! Promotions that wait are tried by what was asked for together: the rules are asked again, each image is fetched as
//! [`crate::cdn::gate`] says, the rules are asked once more, and one transaction offers the images (an audit entry
//! `channel.offer`, a revision). Until then no check tells of any of them. When one is not served as it should be, all wait
//! on, with the reason, and are tried again after a while that doubles each time. What the rules refuse by now waits no longer:
//! an audit entry `channel.refuse`, and the reason stays with the release. See `gate/opener.rs`.
//!
//! Some are tried at once, those with the fewest attempts first, and each has its time; so an edge that drips holds up
//! what it drips, and nothing else for long.
//!
//! # Invariants
//! - What is offered is decided on the catalogue as it is at the offer ([`crate::version_check::open`]), never by what was
//!   true when it was asked for. What was recalled or withdrawn meanwhile waits no longer.
//! - One replica does it, by a lease that is renewed every few seconds while images are fetched; without it, fetching stops.
//!   Two at once would fetch twice, and one of them finds nothing left to offer.
//!
//! With the gate switched off, what still waits is judged and offered without being fetched.

mod opener;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::task::{Id, JoinSet};
use uuid::Uuid;

use self::opener::{Ended, Opener};
use super::{Reconciler, awake::Awake, earlier_life};
use crate::{
    catalogue::Waiting,
    cdn::{Links, ShortLinks, gate::Gate},
    domain::{ProductName, ProductState},
    error::{Error, Result},
    publishing::{Asked, Publishing},
    telemetry::Metrics,
    version_check::Opening,
};

/// The duty's name.
const DUTY: &str = "gate";
/// How long this replica leads without saying so again.
const LEASE: Duration = Duration::from_secs(60);
/// How often it looks, though nothing has changed; and renews its lease while something waits.
const LOOK: Duration = Duration::from_secs(2);
/// The same while the gate is off.
const LOOK_WHILE_OFF: Duration = Duration::from_secs(600);
/// How many promotions are tried at once.
const AT_ONCE: usize = 4;

/// The reconciler.
pub struct GateJob {
    opener: Arc<Opener>,
    /// The holder id of the process that used this data directory before: it is dead, so its lead need not run out.
    earlier_life: Option<Uuid>,
    awake: Awake,
    /// What is being tried.
    trying: JoinSet<Result<Ended>>,
    asked: HashMap<Id, Asked>,
    /// When the lease was last renewed.
    led: Option<Instant>,
}

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
        let opener = Opener { publishing, links, short, gate: gate.map(Arc::new), metrics };
        Self {
            opener: Arc::new(opener),
            earlier_life,
            awake,
            trying: JoinSet::new(),
            asked: HashMap::new(),
            led: None,
        }
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
        if self.led.is_some_and(|led| led.elapsed() >= LEASE) {
            self.stop();
        }
        let (ended, is_free, trouble) = self.ended();
        let is_on = self.opener.gate.is_some();
        // In this order: what is not asked for its time has not heard of a change.
        let awake = (is_on || self.awake.is_over()) && self.awake.is_time();
        if awake || is_free {
            self.awake.rest(if is_on { LOOK } else { LOOK_WHILE_OFF });
            self.look().await?;
        }
        trouble.map_or(Ok(ended), Err)
    }
}

impl GateJob {
    /// Begins to try what is due, if this replica leads.
    async fn look(&mut self) -> Result<()> {
        let publishing = &self.opener.publishing;
        earlier_life::stop_leading(&mut self.earlier_life, DUTY, &*publishing.catalogue).await?;
        let waiting = self.opener.waiting().await?;
        if waiting.is_empty() && self.trying.is_empty() {
            return Ok(());
        }
        let asked = Instant::now();
        if !publishing.catalogue.lead(DUTY, publishing.holder, LEASE).await? {
            self.stop();
            return Ok(());
        }
        self.led = Some(asked);
        let due = self.due(&waiting).await?;
        for (asked, attempts) in due.into_iter().take(AT_ONCE.saturating_sub(self.trying.len())) {
            let (opener, promotion) = (Arc::clone(&self.opener), asked.clone());
            let task = self.trying.spawn(async move { opener.open(&promotion, attempts).await });
            self.asked.insert(task.id(), asked);
        }
        Ok(())
    }

    /// What is due, not being tried and waiting for nothing else, with the most attempts that one of its images had: the fewest attempts first, of
    /// those the longest waiting.
    async fn due(&self, waiting: &[Waiting]) -> Result<Vec<(Asked, u32)>> {
        let mut due: Vec<(Asked, u32)> = Vec::new();
        let mut states: BTreeMap<&ProductName, Option<ProductState>> = BTreeMap::new();
        for one in waiting.iter().filter(|one| one.due) {
            if !states.contains_key(&one.product) {
                states.insert(&one.product, self.opener.publishing.catalogue.product(&one.product).await?);
            }
            let Some(state) = states.get(&one.product).and_then(Option::as_ref) else { continue };
            let mut pending = state.pending.iter();
            let pending = pending.find(|each| each.image == one.image && each.channel == one.channel);
            let (Some(pending), Some((release, _))) = (pending, state.image(one.image)) else { continue };
            let (product, channel) = (one.product.clone(), one.channel.clone());
            let asked = Asked { product, version: release.version.clone(), channel, at: pending.at };
            if self.asked.values().any(|other| *other == asked) {
                continue;
            }
            match due.iter_mut().find(|(other, _)| *other == asked) {
                Some((_, attempts)) => *attempts = one.attempts.max(*attempts),
                None => due.push((asked, one.attempts)),
            }
        }
        due.sort_by_key(|(_, attempts)| *attempts);
        // Who waits for others takes nobody's turn.
        let mut ready = Vec::new();
        for (asked, attempts) in due {
            let state = states.get(&asked.product).and_then(Option::as_ref);
            match state.map(|state| (state, self.opener.publishing.opening(state, &asked))) {
                Some((state, Some(Opening::Wait(why)))) => {
                    self.opener.wait_for_others(state, &asked, why).await?;
                }
                _ => ready.push((asked, attempts)),
            }
        }
        Ok(ready)
    }

    /// What has ended since the last pass, in words; whether it makes way for others; and the last trouble among it.
    fn ended(&mut self) -> (Option<String>, bool, Option<Error>) {
        let (mut offered, mut waits, mut refused, mut trouble) = (0, 0, 0, None);
        while let Some(joined) = self.trying.try_join_next_with_id() {
            let (id, ended) = match joined {
                Ok((id, ended)) => (id, ended),
                Err(error) if error.is_cancelled() => (error.id(), Ok(Ended::Gone)),
                Err(error) => (error.id(), Err(Error::internal(error))),
            };
            self.asked.remove(&id);
            match ended {
                Ok(Ended::Offered) => offered += 1,
                Ok(Ended::Waits) => waits += 1,
                Ok(Ended::Refused) => refused += 1,
                Ok(Ended::Gone) => {}
                // One release must not keep the others from being tried.
                Err(error) => trouble = Some(error),
            }
        }
        let did = offered + waits + refused > 0;
        let text =
            did.then(|| format!("offered {offered} releases, {waits} wait on, {refused} were refused"));
        (text, offered + refused > 0, trouble)
    }

    /// Stops what is being tried: another replica leads.
    fn stop(&mut self) {
        self.led = None;
        self.trying.abort_all();
    }
}
