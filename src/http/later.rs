//! When those come again who were turned away for want of room: each at another time.
//!
//! Who is refused because too many ask must come back neither soon nor with all others, or the next moment is as full as
//! this one. So each is told a time that is picked at random, between half of the interval at which they ask anyway and
//! twice that, and longer by as much as the load stretches it. All texts are made beforehand: a refusal costs one random
//! number.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// How many different times there are for each stretch.
const TIMES: u32 = 128;
/// By how much times are stretched: as often as doubled.
const DOUBLINGS: u32 = 3;

/// How far times are stretched at most, in seconds, if the interval is not longer: a moment of load must not silence a fleet
/// for days.
const LONGEST: u32 = 3600;

/// The times.
pub struct Later {
    stretch: Arc<AtomicU32>,
    /// By how often the interval is doubled.
    told: Box<[Box<[Told]>]>,
}

/// One time, in the forms in which it is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    seconds: u32,
    value: String,
    answer: String,
}

impl Told {
    fn new(seconds: u32) -> Self {
        let answer = format!(
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: {seconds}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        Self { seconds, value: seconds.to_string(), answer }
    }

    /// How long to wait.
    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// The value of `Retry-After`.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// A whole answer, 429, for whom is not even listened to.
    pub fn answer(&self) -> &[u8] {
        self.answer.as_bytes()
    }
}

impl Later {
    /// For those who come every `interval`, times what `stretch` says at the moment (1 to 8, in powers of two).
    pub fn new(interval: Duration, stretch: Arc<AtomicU32>) -> Self {
        let interval = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX);
        let bound = interval.saturating_mul(2).max(LONGEST);
        let told = |doubled: u32| {
            let interval = interval.saturating_mul(1 << doubled);
            let (least, most) = ((interval / 2).max(1), interval.saturating_mul(2).max(2));
            let (least, most) = (least.min(bound / 4), most.min(bound));
            (0..TIMES).map(|at| Told::new(between(least, most, at))).collect()
        };
        Self { stretch, told: (0..=DOUBLINGS).map(told).collect() }
    }

    /// The time for the next one.
    pub fn pick(&self) -> &Told {
        let doubled = self.stretch.load(Ordering::Relaxed).clamp(1, 1 << DOUBLINGS).ilog2();
        let told = &self.told[doubled as usize];
        &told[fastrand::usize(..told.len())]
    }
}

/// Step `at` of [`TIMES`] on the way from `least` to `most`.
fn between(least: u32, most: u32, at: u32) -> u32 {
    let way = u64::from(most - least) * u64::from(at) / u64::from(TIMES - 1);
    least.saturating_add(u32::try_from(way).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn picked(later: &Later) -> BTreeSet<u32> {
        (0..4000).map(|_| later.pick().seconds).collect()
    }

    #[test]
    fn times_are_many_and_grow_with_the_interval_and_the_load() {
        let stretch = Arc::new(AtomicU32::new(0));
        let later = Later::new(Duration::from_secs(300), Arc::clone(&stretch));
        for (said, times) in [(0, 1), (1, 1), (2, 2), (4, 4), (8, 8), (1000, 8)] {
            stretch.store(said, Ordering::Relaxed);
            let picked = picked(&later);
            assert!(picked.len() > 100, "{picked:?}");
            let times = (150 * times).min(900)..=(600 * times).min(3600);
            assert!(picked.iter().all(|seconds| times.contains(seconds)), "{picked:?}");
        }
        assert_eq!(picked(&Later::new(Duration::from_secs(1), Arc::default())), BTreeSet::from([1, 2]));
        let daily = Later::new(Duration::from_secs(86_400), Arc::new(AtomicU32::new(8)));
        assert!(picked(&daily).iter().all(|seconds| (43_200..=172_800).contains(seconds)));
        picked(&Later::new(Duration::MAX, Arc::new(AtomicU32::new(8))));
    }

    #[test]
    fn all_forms_say_the_same() {
        let told = Told::new(7);
        assert_eq!((told.wait(), told.value()), (Duration::from_secs(7), "7"));
        let text = std::str::from_utf8(told.answer()).expect("text");
        assert!(text.contains("\r\nRetry-After: 7\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }
}
