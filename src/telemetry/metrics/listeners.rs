//! How the two listeners are, and whom they turn away.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

/// One listener's.
#[derive(Debug, Clone, Default)]
pub struct ListenerMetrics {
    /// Connections that have a place.
    pub open: Gauge,
    /// How many times longer than usual callers are told to wait.
    pub stretch: Gauge,
    /// Connections that were told 429, or closed, since there was no place.
    pub refused: Counter,
    /// Connections that ended so that another could have their place.
    pub displaced: Counter,
    /// Requests of clients that asked more than they may.
    pub limited: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: Family<ListenerLabel, Gauge>,
    stretch: Family<ListenerLabel, Gauge>,
    refused: Family<ListenerLabel, Counter>,
    displaced: Family<ListenerLabel, Counter>,
    limited: Family<ListenerLabel, Counter>,
}

impl Listeners {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Connections by listener", self.open.clone());
        registry.register(
            "stretch",
            "How many times longer than usual callers are told to wait until they ask again, by listener: 1 to 8, by the load",
            self.stretch.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that were told 429, or closed, since max_connections were busy",
            self.refused.clone(),
        );
        registry.register(
            "connections_displaced",
            "Idle connections that were closed so that a new one could have their place",
            self.displaced.clone(),
        );
        registry.register(
            "requests_limited",
            "Requests answered 429 since their client asks more than rate_limit lets it",
            self.limited.clone(),
        );
    }

    pub fn of(&self, listener: &'static str) -> ListenerMetrics {
        let label = ListenerLabel { listener };
        ListenerMetrics {
            open: self.open.get_or_create(&label).clone(),
            stretch: self.stretch.get_or_create(&label).clone(),
            refused: self.refused.get_or_create(&label).clone(),
            displaced: self.displaced.get_or_create(&label).clone(),
            limited: self.limited.get_or_create(&label).clone(),
        }
    }
}
