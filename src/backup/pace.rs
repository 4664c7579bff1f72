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

    /// Waits for the turn of so many bytes.
    pub async fn take(&self, bytes: usize) {
        let Some(limit) = self.limit else { return };
        let turn = Duration::from_secs_f64(bytes as f64 / limit as f64);
        let begin = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let begin = next.map_or(now, |next| next.max(now));
            *next = Some(begin + turn);
            begin
        };
        sleep_until(begin + turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_that_take_together_keep_the_limit() {
        let pace = Pace::new(Some(1_000_000));
        let began = Instant::now();
        futures_util::future::join_all((0..10).map(|_| async {
            for _ in 0..5 {
                pace.take(100_000).await;
            }
        }))
        .await;
        let took = began.elapsed().as_secs_f64();
        assert!((5.0..5.1).contains(&took), "{took}");
        // A pause is not made up for.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        pace.take(1_000_000).await;
        assert!(began.elapsed() >= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nobody_waits() {
        let began = Instant::now();
        Pace::new(None).take(usize::MAX).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
