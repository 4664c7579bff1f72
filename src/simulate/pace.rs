//! How fast a run may ask and fetch: token buckets, of checks and of bytes. They are given the time and wait for nobody.

use std::time::Duration;

/// What may be sent at once after a pause, in seconds of the rate: timers are no finer than a few milliseconds.
const BURST: f64 = 0.02;

/// So many checks per second, and no more.
#[derive(Debug, Clone)]
pub struct Pace {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Duration,
}

impl Pace {
    /// A full bucket at the time 0.
    pub fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        let burst = (per_second * BURST).max(1.0);
        Self { per_second, burst, tokens: burst, at: Duration::ZERO }
    }

    /// The most that is sent at once.
    pub fn burst(&self) -> f64 {
        self.burst
    }

    /// Takes leave to send one check, if there is any.
    pub fn take(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.burst);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }

    /// When there will be leave for one.
    pub fn ready_at(&self) -> Duration {
        self.at + Duration::from_secs_f64(((1.0 - self.tokens) / self.per_second).max(0.0))
    }
}

/// So many bytes per second, and no more: bytes are taken before they are asked for, and may come once they are earned.
#[derive(Debug, Clone)]
pub struct Bytes {
    per_second: f64,
    /// When all that was taken is earned.
    earned: Duration,
}

impl Bytes {
    /// An empty bucket at the time 0.
    pub fn new(per_second: u64) -> Self {
        Self { per_second: per_second.max(1) as f64, earned: Duration::ZERO }
    }

    /// Takes bytes; says when they may come. Whoever takes next waits for them, too.
    pub fn take(&mut self, now: Duration, bytes: u64) -> Duration {
        let saved = now.saturating_sub(Duration::from_secs_f64(BURST));
        self.earned = self.earned.max(saved) + Duration::from_secs_f64(bytes as f64 / self.per_second);
        self.earned.max(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_stretch_of_time_has_more_than_the_rate(
            per_second in 1_u32..5000, steps in prop::collection::vec((0_u64..200_000, 1_usize..200), 1..60),
        ) {
            let mut pace = Pace::new(per_second);
            let mut now = Duration::ZERO;
            let mut taken = Vec::new();
            for (micros, tries) in steps {
                now += Duration::from_micros(micros);
                taken.extend((0..tries).filter(|_| pace.take(now)).map(|_| now));
            }
            // From any one of them to any later one: the place in the row, less what the rate allows until then.
            let mut lowest = f64::INFINITY;
            for (place, at) in taken.iter().enumerate() {
                let ahead = place as f64 - at.as_secs_f64() * f64::from(per_second);
                lowest = lowest.min(ahead);
                prop_assert!(ahead - lowest + 1.0 <= pace.burst() + 1e-6);
            }
        }

        #[test]
        fn no_stretch_of_time_has_more_bytes_than_the_rate(
            per_second in 1_000_u32..1_000_000, steps in prop::collection::vec((0_u64..200_000, 1_u32..100_000), 1..60),
        ) {
            let mut bytes = Bytes::new(per_second.into());
            let mut now = Duration::ZERO;
            let mut came: Vec<(f64, f64)> = Vec::new();
            for (micros, wanted) in steps {
                now += Duration::from_micros(micros);
                let at = bytes.take(now, wanted.into());
                prop_assert!(at >= now);
                came.push((at.as_secs_f64(), wanted.into()));
            }
            prop_assert!(came.is_sorted_by(|one, next| one.0 <= next.0));
            for from in 0..came.len() {
                // The first was earned before the stretch; the others within it, and what a pause saved.
                let others: f64 = came[from + 1..].iter().map(|(_, wanted)| wanted).sum();
                let stretch = came[came.len() - 1].0 - came[from].0;
                prop_assert!(others <= (stretch + BURST) * f64::from(per_second) + 1.0);
            }
        }

        #[test]
        fn whoever_waits_as_told_is_served(per_second in 1_u32..100_000) {
            let mut pace = Pace::new(per_second);
            let mut now = Duration::ZERO;
            let count = per_second.min(1000) + 10;
            for _ in 0..count {
                // The nanosecond is the rounding of a duration.
                now = now.max(pace.ready_at() + Duration::from_nanos(1));
                prop_assert!(pace.take(now));
            }
            let wanted = (f64::from(count) - pace.burst()).max(0.0) / f64::from(per_second);
            prop_assert!((now.as_secs_f64() - wanted).abs() <= 2.0 / f64::from(per_second) + 1e-3);
        }
    }
}
