//! Who gives way when all places are taken.
//!
//! The connections of which nothing was heard for longest, if that is [`GRACE`] or more: waiting for their next request, or not
//! having asked anything yet, or not reading their answer. One whose request is being answered by the router never gives
//! way, nor does a new one within its first seconds. Who gives way ends when nothing more has come, and at the next second
//! in any case.
//!
//! Looking for them is a look at every connection. So some are chosen at once, one in a hundred of the places, for as many
//! newcomers to come; and when there were none, there is no second look within the same second.

use std::{
    cmp::Reverse,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use super::connection::Connection;

/// How long, in seconds, a connection is not disturbed after its last sign: a handshake or a request may be on its way.
pub(super) const GRACE: u32 = 3;
/// How many give way at once: one in so many.
const ONE_IN: usize = 100;

/// Who is coming and going.
#[derive(Default)]
pub(super) struct Room {
    /// How many were told to give way and have not ended yet.
    leaving: AtomicUsize,
    /// How many wait for such a place.
    waiting: AtomicUsize,
    /// The second after the one in which there was nobody to be found; 0 = that never was.
    not_before: AtomicU32,
}

impl Room {
    /// Has connections give way, if it needs more than are about to end. Returns how many were told now, and whether there
    /// will be room for one more.
    pub fn make<'c>(
        &self,
        connections: impl Iterator<Item = &'c Arc<Connection>>,
        now: u32,
        places: usize,
    ) -> (usize, bool) {
        if self.leaving.load(Ordering::Relaxed) > self.waiting.load(Ordering::Relaxed) {
            return (0, true);
        }
        if now < self.not_before.load(Ordering::Relaxed) {
            return (0, false);
        }
        let silence = |connection: &'c Arc<Connection>| Some((connection.silence(now)?, connection));
        let mut spare: Vec<_> =
            connections.filter_map(silence).filter(|(silence, _)| *silence >= GRACE).collect();
        let some = (places / ONE_IN).max(1);
        if spare.len() > some {
            spare.select_nth_unstable_by_key(some, |(silence, _)| Reverse(*silence));
            spare.truncate(some);
        }
        self.leaving.fetch_add(spare.len(), Ordering::Relaxed);
        spare.iter().for_each(|(_, connection)| connection.give_way());
        if spare.is_empty() {
            self.not_before.store(now + 1, Ordering::Relaxed);
        }
        (spare.len(), !spare.is_empty())
    }

    /// One that gave way has ended.
    pub fn left(&self) {
        let less = |leaving: usize| Some(leaving.saturating_sub(1));
        // The function never says no.
        let _ = self.leaving.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Nobody ended in time for one that waited: those who were told do not count any more, and others are looked for.
    pub fn in_vain(&self) {
        self.leaving.store(0, Ordering::Relaxed);
    }

    /// One more waits for a place.
    pub fn wait(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// It waits no longer.
    pub fn waited(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{server::regime::Regime, telemetry::ListenerMetrics};

    #[test]
    fn the_longest_silent_give_way_and_nobody_within_the_grace() {
        let regime = Arc::new(Regime::new(ListenerMetrics::default()));
        let at = |second| regime.tick(Duration::from_secs(second), Duration::ZERO, 0, 3);
        let new = || Arc::new(Connection::new(Arc::clone(&regime)));
        let connections = [0, 1, 2].map(|second| {
            at(second);
            new()
        });
        let room = Room::default();
        let gave_way = || connections.iter().map(|connection| connection.gave_way()).collect::<Vec<_>>();
        assert_eq!(room.make(connections.iter(), 2, 3), (0, false), "all are new");
        connections[0].progress();
        assert_eq!(room.make(connections.iter(), 2, 3), (0, false), "no second look");
        assert_eq!(room.make(connections.iter(), 5, 3), (1, true));
        assert_eq!(gave_way(), [false, true, false]);
        assert_eq!(room.make(connections.iter(), 5, 3), (0, true), "its place is nobody's yet");
        room.wait();
        assert_eq!(room.make(connections.iter(), 5, 3), (1, true));
        assert_eq!(
            gave_way().iter().filter(|gave_way| **gave_way).count(),
            2,
            "one that gave way is not counted twice"
        );
        room.waited();
        assert_eq!(room.make(connections.iter(), 5, 3), (0, true), "two are leaving");
        room.in_vain();
        assert_eq!(room.make(connections.iter(), 5, 3), (1, true));
        assert_eq!(gave_way(), [true; 3]);
        (0..3).for_each(|_| room.left());
        assert_eq!(room.leaving.load(Ordering::Relaxed), 0, "and not below");
    }
}
