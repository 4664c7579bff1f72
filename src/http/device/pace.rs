//! When devices ask again and caches do, as the values of fields, made once.
//!
//! Interval and lifetime are the channel's, the product's or the server's ([`Rhythm`]). `Retry-After` is the interval, spread
//! by a tenth either way, so that a fleet that was switched on together drifts apart: by the device's id if it says one,
//! so that each keeps a rhythm of its own, or else at random. Errors say it too (`Pace::after`): a device that has
//! nothing but a mistake to send must not send it more often than others their questions. Under load the interval is stretched, up to
//! [`MOST_STRETCH`] times: a server that is asked too much asks to be asked less.
//!
//! `Cache-Control`: an answer that names no device is the same for all, as long as its link lives, and may be given
//! out while this server cannot be reached. One that names a device is kept by nobody; one whose link begins with the word of
//! who asked ([`crate::cdn::Base`]), by nobody else.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::http::header;

use self::known::Known;
use crate::{
    domain::{CacheLifetime, PollInterval, Rhythm},
    http::{later::Later, reply::Reply},
};

mod known;

/// How many different values `Retry-After` has, at most.
const RHYTHMS: u64 = 256;
/// How many times the interval is stretched at most.
pub const MOST_STRETCH: u32 = 8;
/// In how many seconds, more or less, a replica that has just started knows what to answer.
const SOON: Duration = Duration::from_secs(10);
/// How long caches may give out an answer while this server cannot be reached.
const STALE_IF_ERROR: Duration = Duration::from_secs(86_400);

/// How often to ask.
pub struct Pace {
    /// What holds where product and channel set nothing, in seconds.
    poll_interval: u32,
    cache_lifetime: u32,
    /// By the interval, already stretched.
    retry_after: Known<Box<[String]>>,
    /// By the lifetime.
    cache_control: Known<String>,
    stretch: Arc<AtomicU32>,
    /// For those for whom there is no room.
    later: Arc<Later>,
    /// For those who come before there is anything to say.
    soon: Later,
}

/// Who may keep an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nobody.
    ByNobody,
    /// Who asked, if it asks each time whether it is still true.
    ForAsker,
    /// Everybody, but no longer than this, which is how long its link lives; `None` = for ever.
    ByCaches(Option<Duration>),
}

impl Pace {
    /// Devices ask every `poll_interval`, more or less, times what `stretch` says at the moment (1 = as it is); shared caches
    /// keep an answer for `cache_lifetime`; where product and channel set nothing else.
    pub fn new(poll_interval: Duration, cache_lifetime: Duration, stretch: Arc<AtomicU32>) -> Self {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Self {
            poll_interval: seconds(poll_interval),
            cache_lifetime: seconds(cache_lifetime),
            retry_after: Known::default(),
            cache_control: Known::default(),
            later: Arc::new(Later::new(poll_interval, Arc::clone(&stretch))),
            soon: Later::new(SOON, Arc::clone(&stretch)),
            stretch,
        }
    }

    /// Adds `Retry-After` and `Cache-Control` to an answer.
    pub(super) fn say_when(&self, reply: &mut dyn Reply, rhythm: Rhythm, device: Option<&str>, kept: Kept) {
        let lifetime = rhythm.cache_lifetime.map_or(self.cache_lifetime, CacheLifetime::get);
        let say = |value: &str| reply.field(header::RETRY_AFTER, value);
        self.with_retry_after(self.interval(rhythm), device, say);
        let mut cache = |value: &str| reply.field(header::CACHE_CONTROL, value);
        match kept {
            Kept::ByNobody => cache("private, no-store"),
            Kept::ForAsker => cache("private, no-cache"),
            Kept::ByCaches(None) => {
                let make = || cache_control(Duration::from_secs(lifetime.into()), STALE_IF_ERROR);
                match self.cache_control.get(lifetime, make) {
                    Some(known) => cache(known),
                    None => cache(&make()),
                }
            }
            Kept::ByCaches(Some(left)) => {
                let lifetime = Duration::from_secs(lifetime.into()).min(left);
                cache(&cache_control(lifetime, STALE_IF_ERROR.min(left - lifetime)));
            }
        }
    }

    /// When those come again for whom there is no room.
    pub fn later(&self) -> Arc<Later> {
        Arc::clone(&self.later)
    }

    /// When those come again who came before there was anything to say.
    pub(super) fn soon(&self) -> Duration {
        self.soon.pick().wait()
    }

    /// When to ask again, for an answer that says it in its own way, such as an error.
    pub(super) fn after(&self, rhythm: Rhythm, device: Option<&str>) -> Duration {
        let mut seconds = 0;
        self.with_retry_after(self.interval(rhythm), device, |value| {
            seconds = value.parse().unwrap_or_default()
        });
        Duration::from_secs(seconds)
    }

    /// The interval as it is stretched at the moment, in seconds.
    fn interval(&self, rhythm: Rhythm) -> u32 {
        let stretch = self.stretch.load(Ordering::Relaxed).clamp(1, MOST_STRETCH);
        let interval = rhythm.poll_interval.map_or(self.poll_interval, PollInterval::get);
        interval.saturating_mul(stretch)
    }

    fn with_retry_after(&self, interval: u32, device: Option<&str>, mut say: impl FnMut(&str)) {
        let index = |count: usize| match device {
            Some(device) => {
                let mut hasher = DefaultHasher::new();
                device.hash(&mut hasher);
                usize::try_from(hasher.finish() % count as u64).unwrap_or_default()
            }
            None => fastrand::usize(..count),
        };
        let make = || rhythms(Duration::from_secs(interval.into()));
        let mut say = |values: &[String]| say(&values[index(values.len())]);
        match self.retry_after.get(interval, make) {
            Some(known) => say(known),
            None => say(&make()),
        }
    }
}

/// The interval from a tenth less to a tenth more.
fn rhythms(interval: Duration) -> Box<[String]> {
    let seconds = interval.as_secs();
    let spread = seconds / 5;
    let count = (spread + 1).min(RHYTHMS);
    let value = |index: u64| {
        let offset = if count > 1 { index * spread / (count - 1) } else { 0 };
        (seconds - spread / 2 + offset).max(1).to_string()
    };
    (0..count).map(value).collect()
}

fn cache_control(lifetime: Duration, stale_if_error: Duration) -> String {
    let (lifetime, stale) = (lifetime.as_secs(), stale_if_error.as_secs());
    format!("public, max-age={lifetime}, stale-if-error={stale}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::reply::Whole;

    fn said(pace: &Pace, device: Option<&str>, left: Option<u64>) -> (u64, String) {
        said_of(pace, Rhythm::default(), device, left)
    }

    fn said_of(pace: &Pace, rhythm: Rhythm, device: Option<&str>, left: Option<u64>) -> (u64, String) {
        let mut answer = Whole::default();
        let kept = match device {
            Some(_) => Kept::ByNobody,
            None => Kept::ByCaches(left.map(Duration::from_secs)),
        };
        pace.say_when(&mut answer, rhythm, device, kept);
        let answer = answer.into_response();
        let text = |name| answer.headers()[name].to_str().expect("ASCII").to_owned();
        (text(header::RETRY_AFTER).parse().expect("seconds"), text(header::CACHE_CONTROL))
    }

    #[test]
    fn a_fleet_is_spread_and_a_device_keeps_its_rhythm() {
        let pace = Pace::new(Duration::from_secs(300), Duration::from_secs(60), Arc::default());
        let all: Vec<u64> = (0..2000).map(|n| said(&pace, Some(&format!("d{n}")), None).0).collect();
        assert_eq!((all.iter().min(), all.iter().max()), (Some(&270), Some(&330)));
        assert_eq!(said(&pace, Some("a"), None), said(&pace, Some("a"), None));
        assert!((270..=330).contains(&said(&pace, None, None).0));
        let quick = Pace::new(Duration::from_secs(1), Duration::from_secs(60), Arc::default());
        assert_eq!(said(&quick, None, None).0, 1);
    }

    #[test]
    fn load_stretches_the_interval() {
        let stretch = Arc::new(AtomicU32::new(1));
        let pace = Pace::new(Duration::from_secs(300), Duration::from_secs(60), Arc::clone(&stretch));
        stretch.store(4, Ordering::Relaxed);
        assert!((1080..=1320).contains(&said(&pace, Some("a"), None).0));
        stretch.store(1000, Ordering::Relaxed);
        assert!((2160..=2640).contains(&said(&pace, Some("a"), None).0));
    }

    #[test]
    fn caches_keep_no_answer_longer_than_its_link_lives() {
        let pace = Pace::new(Duration::from_secs(300), Duration::from_secs(60), Arc::default());
        assert_eq!(said(&pace, Some("a"), None).1, "private, no-store");
        assert_eq!(said(&pace, None, None).1, "public, max-age=60, stale-if-error=86400");
        assert_eq!(said(&pace, None, Some(90_000)).1, "public, max-age=60, stale-if-error=86400");
        assert_eq!(said(&pace, None, Some(100)).1, "public, max-age=60, stale-if-error=40");
        assert_eq!(said(&pace, None, Some(30)).1, "public, max-age=30, stale-if-error=0");
    }

    #[test]
    fn what_is_set_goes_before_the_servers_value_and_is_stretched_and_spread_too() {
        let stretch = Arc::new(AtomicU32::new(1));
        let pace = Pace::new(Duration::from_secs(300), Duration::from_secs(60), Arc::clone(&stretch));
        let rhythm = |interval, lifetime| Rhythm {
            poll_interval: PollInterval::new(interval),
            cache_lifetime: CacheLifetime::new(lifetime),
        };
        let hourly = rhythm(3600, 10);
        let all: Vec<u64> =
            (0..2000).map(|n| said_of(&pace, hourly, Some(&format!("d{n}")), None).0).collect();
        assert_eq!((all.iter().min(), all.iter().max()), (Some(&3240), Some(&3960)));
        assert_eq!(said_of(&pace, hourly, None, None).1, "public, max-age=10, stale-if-error=86400");
        assert_eq!(said_of(&pace, hourly, None, Some(100)).1, "public, max-age=10, stale-if-error=90");
        assert_eq!(said_of(&pace, rhythm(0, 0), None, None).1, "public, max-age=0, stale-if-error=86400");
        assert!((270..=330).contains(&said_of(&pace, rhythm(0, 10), None, None).0));
        stretch.store(2, Ordering::Relaxed);
        assert!((6480..=7920).contains(&said_of(&pace, hourly, Some("a"), None).0));
        // More different times than are kept: slower, and as right.
        for interval in 1..2000 {
            let (after, _) = said_of(&pace, rhythm(interval, interval), Some("a"), None);
            let interval = u64::from(interval) * 2;
            assert!((interval * 9 / 10..=interval * 11 / 10 + 1).contains(&after), "{interval}: {after}");
        }
    }
}
