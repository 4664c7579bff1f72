//! The account's token buckets, as Akamai documents them: so many at once, so many come back each second. A request takes
//! one of its own bucket and one for each object of that kind's, all or nothing. Pure: the time comes from outside.

use std::time::{Duration, Instant};

use crate::domain::purge::PurgeKind;

/// How many at once, and how many each second.
struct Rate {
    burst: f64,
    refill: f64,
}

const REQUESTS: Rate = Rate { burst: 100.0, refill: 50.0 };
const URLS: Rate = Rate { burst: 10_000.0, refill: 200.0 };
const TAGS: Rate = Rate { burst: 5_000.0, refill: 500.0 / 60.0 };
const CPCODES: Rate = Rate { burst: 300.0, refill: 30.0 / 60.0 };

struct Bucket {
    rate: Rate,
    left: f64,
}

/// All buckets of an account.
pub(super) struct Limits {
    requests: Bucket,
    urls: Bucket,
    tags: Bucket,
    cpcodes: Bucket,
    filled_at: Instant,
    /// The account itself has said so.
    not_before: Instant,
}

/// The most objects of one request.
pub(super) fn burst(kind: PurgeKind) -> usize {
    match kind {
        PurgeKind::Url => 10_000,
        PurgeKind::Tag => 5_000,
        PurgeKind::Cpcode => 300,
    }
}

impl Bucket {
    fn full(rate: Rate) -> Self {
        Self { left: rate.burst, rate }
    }

    /// How long until it has so many.
    fn lacks(&self, count: f64) -> Duration {
        let missing = (count.min(self.rate.burst) - self.left).max(0.0);
        Duration::from_secs_f64(missing / self.rate.refill)
    }
}

impl Limits {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            requests: Bucket::full(REQUESTS),
            urls: Bucket::full(URLS),
            tags: Bucket::full(TAGS),
            cpcodes: Bucket::full(CPCODES),
            filled_at: now,
            not_before: now,
        }
    }

    /// Takes what a request needs, or says how long to wait.
    pub(super) fn take(&mut self, kind: PurgeKind, objects: usize, now: Instant) -> Result<(), Duration> {
        if let Some(wait) = self.not_before.checked_duration_since(now).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.filled_at = now;
        for bucket in [&mut self.requests, &mut self.urls, &mut self.tags, &mut self.cpcodes] {
            bucket.left = (bucket.left + passed * bucket.rate.refill).min(bucket.rate.burst);
        }
        let of_kind = match kind {
            PurgeKind::Url => &mut self.urls,
            PurgeKind::Tag => &mut self.tags,
            PurgeKind::Cpcode => &mut self.cpcodes,
        };
        #[expect(clippy::cast_precision_loss, reason = "a request has at most thousands")]
        let count = objects as f64;
        let wait = self.requests.lacks(1.0).max(of_kind.lacks(count));
        if !wait.is_zero() {
            return Err(wait);
        }
        self.requests.left -= 1.0;
        of_kind.left -= count;
        Ok(())
    }

    /// Nothing before then.
    pub(super) fn wait(&mut self, until: Instant) {
        self.not_before = self.not_before.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_it_trickles() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let mut limits = Limits::new(start);
        assert_eq!(limits.take(PurgeKind::Cpcode, 300, start), Ok(()));
        assert_eq!(limits.take(PurgeKind::Cpcode, 1, start), Err(Duration::from_secs(2)));
        assert_eq!(limits.take(PurgeKind::Tag, 5000, start), Ok(()), "other kinds have their own");
        assert_eq!(limits.take(PurgeKind::Cpcode, 1, after(2)), Ok(()));
        assert!(limits.take(PurgeKind::Cpcode, 1, after(2)).is_err(), "a denied request takes nothing");
        assert_eq!(limits.take(PurgeKind::Cpcode, 300, after(4000)), Ok(()), "never more than a burst");
        assert!(limits.take(PurgeKind::Cpcode, 1, after(4000)).is_err());
    }

    #[test]
    fn requests_have_a_bucket_of_their_own() {
        let start = Instant::now();
        let mut limits = Limits::new(start);
        for _ in 0..100 {
            assert_eq!(limits.take(PurgeKind::Url, 1, start), Ok(()));
        }
        assert_eq!(limits.take(PurgeKind::Url, 1, start), Err(Duration::from_millis(20)));
    }

    #[test]
    fn what_the_account_says_counts() {
        let start = Instant::now();
        let mut limits = Limits::new(start);
        limits.wait(start + Duration::from_secs(7));
        assert_eq!(limits.take(PurgeKind::Url, 1, start), Err(Duration::from_secs(7)));
        assert_eq!(limits.take(PurgeKind::Url, 1, start + Duration::from_secs(7)), Ok(()));
    }
}
