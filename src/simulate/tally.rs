//! Counts what a run sees, in a size that does not grow with it.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::{
    fleet::Fleet,
    report::{Adoption, Checks, Downloads, Fault, Latency, Live, Point, Running, Summary},
};

/// The longest latency that is told apart from others, in microseconds: more than any time-out.
const LONGEST: u64 = 60_000_000;
/// How long a latency counts as recent.
const RECENT: Duration = Duration::from_secs(4);
/// How many different faults are kept.
const FAULTS: usize = 20;
/// How many points of the adoption's course are kept; then every other one is dropped.
const POINTS: usize = 240;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 200: newer firmware.
    Update,
    /// 204: nothing newer.
    UpToDate,
    /// 429: too busy.
    Busy,
    /// Another 4xx, or a redirect.
    Refused,
    /// 5xx, or an answer that makes no sense.
    ServerError,
    /// None in time.
    NoAnswer,
}

/// The counters of a run.
#[derive(Debug)]
pub struct Tally {
    /// Checks.
    pub checks: Checks,
    /// Downloads.
    pub downloads: Downloads,
    latency: Histogram<u64>,
    recent: [Histogram<u64>; 2],
    turned: Duration,
    latest: Duration,
    faults: BTreeMap<String, u64>,
    timeline: Vec<Point>,
    step: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, LONGEST, 2).expect("the bounds are a range and 2 is a precision")
        };
        Self {
            checks: Checks::default(),
            downloads: Downloads::default(),
            latency: histogram(),
            recent: [histogram(), histogram()],
            turned: Duration::ZERO,
            latest: Duration::ZERO,
            faults: BTreeMap::new(),
            timeline: Vec::new(),
            step: Duration::from_millis(250),
        }
    }
}

impl Tally {
    /// A check was sent, so long after its time.
    pub fn sent(&mut self, late: Duration) {
        self.checks.sent += 1;
        self.latest = self.latest.max(late);
    }

    /// A check came to this.
    pub fn answered(&mut self, kind: Kind, latency: Duration) {
        let count = match kind {
            Kind::Update => &mut self.checks.update,
            Kind::UpToDate => &mut self.checks.up_to_date,
            Kind::Busy => &mut self.checks.busy,
            Kind::Refused => &mut self.checks.refused,
            Kind::ServerError => &mut self.checks.server_error,
            Kind::NoAnswer => &mut self.checks.no_answer,
        };
        *count += 1;
        if matches!(kind, Kind::Refused | Kind::ServerError | Kind::NoAnswer) {
            self.checks.failed += 1;
        }
        if kind != Kind::NoAnswer {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST);
            self.latency.saturating_record(micros);
            self.recent[0].saturating_record(micros);
        }
    }

    /// Something went wrong.
    pub fn fault(&mut self, what: String) {
        if let Some(count) = self.faults.get_mut(&what) {
            *count += 1;
        } else if self.faults.len() < FAULTS {
            self.faults.insert(what, 1);
        }
    }

    /// Notes where the fleet is, now and then.
    pub fn observe(&mut self, now: Duration, fleet: &Fleet) {
        if now >= self.turned + RECENT / 2 {
            self.turned = now;
            self.recent.swap(0, 1);
            self.recent[0].reset();
        }
        let last = self.timeline.last().map(|point| point.seconds);
        if last.is_none_or(|last| now.as_secs_f64() >= last + self.step.as_secs_f64()) {
            let (devices, of) = fleet.adoption();
            self.timeline.push(Point {
                seconds: millis(now) / 1000.0,
                checks: self.checks.sent,
                adopted: share(devices, of),
            });
        }
        if self.timeline.len() >= POINTS {
            self.step *= 2;
            let mut index = 0;
            self.timeline.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// Of the last seconds.
    pub fn recent(&self) -> Latency {
        let mut both = self.recent[0].clone();
        both.add(&self.recent[1]).expect("both have the same bounds");
        percentiles(&both)
    }

    /// All that was counted, and the fleet as it is.
    pub fn summary(&self, now: Duration, fleet: &Fleet) -> Summary {
        let (devices, of) = fleet.adoption();
        let running = |(product, version, devices): (&_, &_, u32)| Running {
            product: format!("{product}"),
            version: format!("{version}"),
            devices,
        };
        Summary {
            server: String::new(),
            devices: fleet.len(),
            speed: 1.0,
            rate: 0,
            download_rate: 0,
            seconds: millis(now) / 1000.0,
            seconds_allowed: 0.0,
            ended: None,
            checks: self.checks,
            checks_per_second: round(self.checks.sent as f64 / now.as_secs_f64().max(1e-3)),
            latest_by_ms: millis(self.latest),
            latency_ms: percentiles(&self.latency),
            downloads: self.downloads,
            versions: fleet.census().into_iter().map(running).collect(),
            adoption: (of > 0).then(|| Adoption { devices, of, share: share(devices, of) }),
            timeline: self.timeline.clone(),
            faults: self
                .faults
                .iter()
                .map(|(what, count)| Fault { what: what.clone(), count: *count })
                .collect(),
            live: Live { latency: self.recent(), ..Live::default() },
        }
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Latency {
    let at = |quantile: f64| round(histogram.value_at_quantile(quantile) as f64 / 1000.0);
    Latency {
        mean: round(histogram.mean() / 1000.0),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
    }
}

fn share(part: u32, of: u32) -> f64 {
    if of == 0 { 0.0 } else { (f64::from(part) / f64::from(of) * 10_000.0).floor() / 10_000.0 }
}

fn millis(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1000.0)
}

/// To three places.
fn round(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{name::ProductName, version::Version},
        simulate::{fleet::Plan, mix::Mix},
    };

    fn fleet() -> Fleet {
        let plan = Plan {
            devices: 3,
            products: vec![ProductName::parse("p").expect("a name")],
            versions: Mix::of(Version::parse("1.0.0").expect("a version")),
            hardware: Mix::of(None),
            interval: Duration::from_secs(1),
            install: Duration::ZERO,
            speed: 1.0,
            together: true,
        };
        Fleet::new(&plan, fastrand::Rng::with_seed(1))
    }

    #[test]
    fn answers_are_counted_and_timed() {
        let mut tally = Tally::default();
        for millis in 1..=100 {
            tally.sent(Duration::from_millis(millis));
            tally.answered(Kind::UpToDate, Duration::from_millis(millis));
        }
        for kind in [Kind::Update, Kind::Busy, Kind::Refused, Kind::ServerError, Kind::NoAnswer] {
            tally.sent(Duration::ZERO);
            tally.answered(kind, Duration::from_millis(50));
        }
        let summary = tally.summary(Duration::from_secs(10), &fleet());
        let checks = summary.checks;
        assert_eq!((checks.sent, checks.up_to_date, checks.failed), (105, 100, 3));
        assert_eq!((summary.checks_per_second, summary.latest_by_ms), (10.5, 100.0));
        let near = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.02;
        let Latency { p50, p90, p99, max, .. } = summary.latency_ms;
        assert!(near(p50, 50.0) && near(p90, 89.5) && near(p99, 99.0) && near(max, 100.0), "{summary:?}");
        assert_eq!(summary.adoption, None);
        let document = serde_json::to_value(&summary).expect("numbers and texts");
        assert_eq!(document["versions"][0]["devices"], 3);
        assert!(document.get("live").is_none());
    }

    #[test]
    fn a_long_run_stays_small() {
        let (mut tally, fleet) = (Tally::default(), fleet());
        for second in 0..100_000 {
            tally.observe(Duration::from_secs(second), &fleet);
            tally.fault(format!("fault {second}"));
        }
        let summary = tally.summary(Duration::from_secs(100_000), &fleet);
        assert!((POINTS / 4..POINTS).contains(&summary.timeline.len()), "{}", summary.timeline.len());
        assert!(summary.timeline.is_sorted_by(|a, b| a.seconds < b.seconds));
        assert_eq!(summary.faults.len(), FAULTS);
    }

    #[test]
    fn recent_latencies_are_forgotten() {
        let (mut tally, fleet) = (Tally::default(), fleet());
        tally.answered(Kind::UpToDate, Duration::from_millis(500));
        tally.observe(Duration::from_secs(2), &fleet);
        assert!(tally.recent().max > 400.0);
        tally.observe(Duration::from_secs(4), &fleet);
        assert_eq!(tally.recent().max, 0.0);
    }
}
