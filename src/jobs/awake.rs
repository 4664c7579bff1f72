//! When a reconciler that follows the catalogue has something to look at: after a change, which the snapshot in memory
//! knows of within a second at the latest, and now and then all the same. In between a pass costs nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::snapshot::Current;
use crate::domain::Revision;

/// Tells whether a pass is worth its while.
pub struct Awake {
    current: Arc<Current>,
    seen: Option<Revision>,
    next: Option<Instant>,
}

impl Awake {
    /// Follows this snapshot.
    pub fn new(current: Arc<Current>) -> Self {
        Self { current, seen: None, next: None }
    }

    /// Whether the catalogue has changed since it was said last, or the time of the last [`Self::rest`] is over.
    pub fn is_time(&mut self) -> bool {
        let now = self.current.get().map(|snapshot| snapshot.revision);
        let changed = now.is_some() && now != self.seen;
        let over = self.is_over();
        self.seen = now;
        changed || over
    }

    /// Whether the time of the last [`Self::rest`] is over, whatever has changed.
    pub fn is_over(&self) -> bool {
        self.next.is_none_or(|next| next <= Instant::now())
    }

    /// Nothing to do before then, unless something changes.
    pub fn rest(&mut self, pause: Duration) {
        self.next = Some(Instant::now() + pause);
    }
}
