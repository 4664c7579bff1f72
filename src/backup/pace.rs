//! The bandwidth limit: how many bytes a second may pass through this process for the backup.
//!
//! Every piece of bytes waits for its turn before it is sent on; a turn lasts as long as the piece would take at the
//! limit. So the rate holds over any time that is longer than a piece's, with any number of copies at once. What a store
//! copies within itself does not pass through here and is not counted.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// A bandwidth limit.
pub struct Pace {
    /// Bytes a second.
    limit: Option<u64>,
    /// When the next turn begins.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// A limit in bytes a second; `None` = none.
    pub fn new(limit: Option<u64>) -> Self {
        Self { limit: limit.map(|limit| limit.max(1)), next: Mutex::default() }
    }

    /// Waits for the turn of so many bytes to be over.
    pub async fn take(&self, bytes: usize) {
        if let Some(until) = self.turn(bytes, Instant::now()) {
            sleep_until(until).await;
        }
    }

    /// When the turn of so many bytes is over; `None` = at once.
    fn turn(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let turn = Duration::from_secs_f64(bytes as f64 / self.limit? as f64);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let end = next.map_or(now, |next| next.max(now)) + turn;
        *next = Some(end);
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_each_other_and_a_pause_is_not_made_up_for() {
        let (pace, now) = (Pace::new(Some(1_000_000)), Instant::now());
        // All ask at once.
        for count in 1..=50 {
            let end = pace.turn(100_000, now).expect("a limit");
            assert_eq!((end - now).as_millis(), 100 * count);
        }
        let later = now + Duration::from_secs(60);
        let end = pace.turn(1_000_000, later).expect("a limit");
        assert_eq!((end - later).as_millis(), 1000);
        assert_eq!(Pace::new(None).turn(usize::MAX, now), None);
    }
}
