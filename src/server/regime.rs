//! What all connections of a listener go by: its clock, and how much room there is.
//!
//! Both change once a second or with a new connection, and are looked at with each request; so they are numbers that are read
//! without a lock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use super::{IDLE_TIMEOUT, IDLE_TIMEOUT_IF_FEW, IDLE_TIMEOUT_IF_SCARCE};
use crate::telemetry::ListenerMetrics;

/// Below so many free places in a hundred there are few.
const FEW: usize = 25;
/// Below so many they are scarce.
const SCARCE: usize = 10;

pub(super) struct Regime {
    /// Seconds since the listener began, as of the last tick.
    clock: AtomicU32,
    /// In seconds.
    idle_limit: AtomicU32,
    scarce: AtomicBool,
    leaving: AtomicBool,
    /// How many times longer than usual callers should wait.
    pub stretch: Arc<AtomicU32>,
    pub metrics: ListenerMetrics,
}

impl Regime {
    pub fn new(metrics: ListenerMetrics) -> Self {
        Self {
            clock: AtomicU32::new(0),
            idle_limit: AtomicU32::new(seconds(IDLE_TIMEOUT)),
            scarce: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            stretch: Arc::default(),
            metrics,
        }
    }

    /// The time, in seconds.
    pub fn now(&self) -> u32 {
        self.clock.load(Ordering::Relaxed)
    }

    /// A second is over: it is so long since the listener began, and this came so much too late.
    pub fn tick(&self, since_began: Duration, late: Duration, free: usize, places: usize) {
        self.clock.store(seconds(since_began), Ordering::Relaxed);
        self.room(free, places);
        let stretch = stretch(late, free, places);
        self.stretch.store(stretch, Ordering::Relaxed);
        self.metrics.stretch.set(stretch.into());
    }

    /// So many of the places are free.
    pub fn room(&self, free: usize, places: usize) {
        let percent = percent(free, places);
        let limit = match percent {
            0..SCARCE => IDLE_TIMEOUT_IF_SCARCE,
            SCARCE..FEW => IDLE_TIMEOUT_IF_FEW,
            _ => IDLE_TIMEOUT,
        };
        self.idle_limit.store(seconds(limit), Ordering::Relaxed);
        self.scarce.store(percent < SCARCE, Ordering::Relaxed);
    }

    /// The process is about to end.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// How long a connection is kept between two requests at the moment, in seconds.
    pub fn idle_limit(&self) -> u32 {
        self.idle_limit.load(Ordering::Relaxed)
    }

    /// Whether each answer is to be its connection's last.
    pub fn is_parting(&self) -> bool {
        self.scarce.load(Ordering::Relaxed) || self.leaving.load(Ordering::Relaxed)
    }
}

pub(super) fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX / 2)
}

fn percent(free: usize, places: usize) -> usize {
    free * 100 / places.max(1)
}

/// How much load there is, as how many times longer callers should wait. Two signs: the loop comes late to what is due,
/// so that all else waits as long; or few places are left.
fn stretch(late: Duration, free: usize, places: usize) -> u32 {
    let by_delay = match late.as_millis() {
        0..100 => 1,
        100..250 => 2,
        250..1000 => 4,
        _ => 8,
    };
    let by_places = match percent(free, places) {
        0..SCARCE => 4,
        SCARCE..FEW => 2,
        _ => 1,
    };
    by_delay.max(by_places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewer_places_are_free_the_sooner_connections_end() {
        let regime = Regime::new(ListenerMetrics::default());
        let seen = |free| {
            regime.tick(Duration::from_secs(7), Duration::ZERO, free, 1000);
            (regime.idle_limit(), regime.is_parting(), regime.stretch.load(Ordering::Relaxed))
        };
        assert_eq!([1000, 250].map(seen), [(75, false, 1); 2]);
        assert_eq!([249, 100].map(seen), [(15, false, 2); 2]);
        assert_eq!([99, 0].map(seen), [(5, true, 4); 2]);
        assert_eq!((seen(1000), regime.now()), ((75, false, 1), 7), "and it goes back");
        regime.leave();
        assert_eq!(seen(1000), (75, true, 1));
    }

    #[test]
    fn what_is_due_comes_late_when_there_is_much_to_do() {
        let late = |millis| stretch(Duration::from_millis(millis), 1000, 1000);
        assert_eq!([0, 99, 100, 250, 999, 1000].map(late), [1, 1, 2, 4, 4, 8]);
    }
}
