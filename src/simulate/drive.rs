//! The loop of a run: takes what is due from the fleet, asks, and tells the fleet what came.

use std::{
    collections::VecDeque,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use ::http::StatusCode;
use tokio::{task::JoinSet, time::sleep_until};

use super::{
    download::{Fetched, Image, Throttle, fetch},
    fleet::{self, Fleet, Got, Serial, Told},
    http::{ANSWER, Answer, Listener, Why},
    pace::Pace,
    report::{Ended, Summary},
    tally::{Kind, Tally},
};
use crate::{
    api::CheckAnswer,
    domain::{name::ChannelName, version::Version},
};

/// How often whoever watches is shown something.
const TICK: Duration = Duration::from_millis(250);
/// How long a run that was interrupted waits for answers.
const IN_A_HURRY: Duration = Duration::from_secs(1);

/// A run.
#[derive(Debug)]
pub struct Plan {
    /// Who asks.
    pub fleet: fleet::Plan,
    /// On which channel; `None` = they do not say.
    pub channel: Option<ChannelName>,
    /// What their ids begin with; `None` = they do not say.
    pub device_prefix: Option<String>,
    /// The most checks per second.
    pub rate: u32,
    /// How long it runs.
    pub allowed: Duration,
    /// It ends when all run this.
    pub until: Option<Version>,
    /// The most checks under way at once.
    pub connections: usize,
    /// The most bytes of an image; 0 = no downloads.
    pub download_bytes: u64,
    /// The most bytes of images per second, all downloads together; see [`Throttle::RANGE`].
    pub download_rate: u64,
    /// Makes runs alike.
    pub seed: Option<u64>,
}

/// What a task brings back.
enum Event {
    Answered { serial: Serial, latency: Duration, outcome: Result<Answer, Why> },
    Fetched { serial: Serial, fetched: Fetched, bytes: u64 },
}

struct Run<'a> {
    plan: &'a Plan,
    listener: Arc<Listener>,
    began: Instant,
    fleet: Fleet,
    pace: Pace,
    throttle: Arc<Throttle>,
    tally: Tally,
    tasks: JoinSet<Event>,
    asking: usize,
    fetching: usize,
    queue: VecDeque<(Serial, Image)>,
}

/// Runs until the time is over, the version is everywhere, or `stop`; shows `observe` how it goes.
pub async fn run(
    plan: &Plan,
    listener: Listener,
    mut observe: impl FnMut(&Summary),
    stop: impl Future<Output = ()>,
) -> Summary {
    let random = plan.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    let mut run = Run {
        plan,
        listener: Arc::new(listener),
        fleet: Fleet::new(&plan.fleet, random),
        // After the fleet is made, which takes a while when it is large.
        began: Instant::now(),
        pace: Pace::new(plan.rate),
        throttle: Arc::new(Throttle::new(plan.download_rate)),
        tally: Tally::default(),
        tasks: JoinSet::new(),
        asking: 0,
        fetching: 0,
        queue: VecDeque::new(),
    };
    tokio::pin!(stop);
    let mut tick = Duration::ZERO;
    let ended = loop {
        let now = run.began.elapsed();
        run.fleet.settle(now);
        if now >= tick {
            tick = now + TICK;
            run.tally.observe(now, &run.fleet);
            observe(&run.summary(now, None));
        }
        if plan.until.as_ref().is_some_and(|version| run.fleet.running(version) == plan.fleet.devices) {
            break Ended::Until;
        }
        if now >= plan.allowed {
            break Ended::Time;
        }
        run.send(now);
        let wake = run.next_event().min(tick).min(plan.allowed);
        tokio::select! {
            () = &mut stop => break Ended::Interrupted,
            Some(event) = run.tasks.join_next() => run.take(event),
            () = sleep_until((run.began + wake).into()) => {}
        }
    };
    let now = run.began.elapsed();
    run.drain(if ended == Ended::Interrupted { IN_A_HURRY } else { ANSWER }).await;
    run.tally.observe(now, &run.fleet);
    run.summary(now, Some(ended))
}

impl Run<'_> {
    /// Sends what is due and allowed.
    fn send(&mut self, now: Duration) {
        while self.asking < self.plan.connections
            && self.fleet.next_check().is_some_and(|due| due <= now)
            && self.pace.take(now)
        {
            let Some((serial, due)) = self.fleet.take_check(now) else { break };
            self.tally.sent(now - due);
            self.asking += 1;
            let (path, listener) = (self.path(serial), Arc::clone(&self.listener));
            self.tasks.spawn(async move {
                let began = Instant::now();
                let outcome = listener.ask(&path).await;
                Event::Answered { serial, latency: began.elapsed(), outcome }
            });
        }
        // The others wait for their turn.
        while self.fetching < self.throttle.downloads()
            && let Some((serial, image)) = self.queue.pop_front()
        {
            self.fetching += 1;
            let (listener, limit) = (Arc::clone(&self.listener), self.plan.download_bytes);
            let throttle = Arc::clone(&self.throttle);
            self.tasks.spawn(async move {
                let (fetched, bytes) = fetch(listener.reach(), &throttle, &image, limit).await;
                Event::Fetched { serial, fetched, bytes }
            });
        }
    }

    /// When there is something to do that no task brings.
    fn next_event(&self) -> Duration {
        let room = self.asking < self.plan.connections;
        let check = self.fleet.next_check().filter(|_| room).map(|due| due.max(self.pace.ready_at()));
        let boot = self.fleet.next_boot();
        check.into_iter().chain(boot).min().unwrap_or(Duration::MAX)
    }

    /// What a device asks. None of its parts needs an escape in a query: see the names' and versions' alphabets.
    fn path(&self, serial: Serial) -> String {
        let asked = self.fleet.question(serial);
        let mut path = format!("/v1/check?product={}&version={}", asked.product, asked.version);
        if let Some(hardware) = asked.hardware {
            path.push_str(&format!("&hardware={hardware}"));
        }
        if let Some(channel) = &self.plan.channel {
            path.push_str(&format!("&channel={channel}"));
        }
        if let Some(prefix) = &self.plan.device_prefix {
            path.push_str(&format!("&device={prefix}{serial:06}"));
        }
        path
    }

    fn take(&mut self, event: Result<Event, tokio::task::JoinError>) {
        let now = self.began.elapsed();
        match event.expect("the tasks do not panic, and are not aborted while the run lasts") {
            Event::Answered { serial, latency, outcome } => {
                self.asking -= 1;
                let retry_after = outcome.as_ref().ok().and_then(|answer| answer.retry_after);
                let (kind, told, image) = match outcome.map(understand) {
                    Ok(Ok(understood)) => understood,
                    Ok(Err((kind, why))) => {
                        self.tally.fault(why);
                        (kind, Told::Failed, None)
                    }
                    Err(why) => {
                        self.tally.fault(why);
                        (Kind::NoAnswer, Told::Failed, None)
                    }
                };
                self.tally.answered(kind, latency);
                if self.fleet.answered(now, serial, &told, retry_after) {
                    self.want(now, serial, image);
                }
            }
            Event::Fetched { serial, fetched, bytes } => {
                self.fetching -= 1;
                self.tally.downloads.bytes += bytes;
                self.fetched(now, serial, fetched);
            }
        }
    }

    fn want(&mut self, now: Duration, serial: Serial, image: Option<Image>) {
        match image.filter(|_| self.plan.download_bytes > 0) {
            Some(image) => self.queue.push_back((serial, image)),
            None => {
                self.tally.downloads.skipped += 1;
                self.fleet.fetched(now, serial, Got::Image);
            }
        }
    }

    fn fetched(&mut self, now: Duration, serial: Serial, fetched: Fetched) {
        let downloads = &mut self.tally.downloads;
        let (count, got, why) = match fetched {
            Fetched::Verified => (&mut downloads.verified, Got::Image, None),
            Fetched::Partial => (&mut downloads.partial, Got::Image, None),
            // As if the device had it from there: the run is about the checks.
            Fetched::Skipped(why) => (&mut downloads.skipped, Got::Image, Some(why)),
            Fetched::Busy(wait) => (&mut downloads.busy, Got::Busy(wait), None),
            Fetched::Failed(why) => (&mut downloads.failed, Got::Failed, Some(why)),
        };
        *count += 1;
        why.into_iter().for_each(|why| self.tally.fault(why));
        self.fleet.fetched(now, serial, got);
    }

    /// Waits for the answers to what was asked; downloads are dropped.
    async fn drain(&mut self, patience: Duration) {
        let waited = tokio::time::timeout(patience, async {
            while self.asking > 0
                && let Some(event) = self.tasks.join_next().await
            {
                self.take(event);
            }
        });
        if waited.await.is_err() {
            self.tally.fault("checks were under way when the run ended".to_owned());
        }
    }

    fn summary(&self, now: Duration, ended: Option<Ended>) -> Summary {
        let mut summary = self.tally.summary(now, &self.fleet);
        summary.server = self.listener.to_string();
        summary.speed = self.plan.fleet.speed;
        summary.rate = self.plan.rate;
        summary.download_rate = self.plan.download_rate;
        summary.seconds_allowed = self.plan.allowed.as_secs_f64();
        summary.ended = ended;
        summary.live.asking = self.asking;
        summary.live.fetching = self.fetching;
        summary.live.queued = self.queue.len();
        summary
    }
}

/// What an answer says, or what is wrong with it.
fn understand(answer: Answer) -> Result<(Kind, Told, Option<Image>), (Kind, Why)> {
    match answer.status {
        StatusCode::NO_CONTENT => Ok((Kind::UpToDate, Told::Nothing, None)),
        StatusCode::TOO_MANY_REQUESTS => Ok((Kind::Busy, Told::Busy, None)),
        StatusCode::OK => {
            let senseless = |why: String| (Kind::ServerError, format!("an offer makes no sense: {why}"));
            let offer: CheckAnswer =
                serde_json::from_slice(&answer.body).map_err(|error| senseless(error.to_string()))?;
            let version = Version::parse(&offer.version).map_err(|error| senseless(error.to_string()))?;
            let image = Image { url: offer.url, size: offer.size, sha256: offer.sha256 };
            Ok((Kind::Update, Told::Offer(version), Some(image)))
        }
        status if status.is_server_error() => {
            Err((Kind::ServerError, format!("a check is answered {status}")))
        }
        status => Err((Kind::Refused, format!("a check is answered {status}"))),
    }
}
