//! What a channel of a product has of its own.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{CacheLifetime, PollInterval, Rhythm};

/// What may be set on a channel; what is absent is the product's, and else the server's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelSettings {
    /// When its devices should ask again, from 1 second to 30 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "1m")]
    pub poll_interval: Option<PollInterval>,
    /// How long shared caches may keep its answers, from 0 seconds to 7 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10s")]
    pub cache_lifetime: Option<CacheLifetime>,
}

impl From<Rhythm> for ChannelSettings {
    fn from(Rhythm { poll_interval, cache_lifetime }: Rhythm) -> Self {
        Self { poll_interval, cache_lifetime }
    }
}

impl From<ChannelSettings> for Rhythm {
    fn from(ChannelSettings { poll_interval, cache_lifetime }: ChannelSettings) -> Self {
        Self { poll_interval, cache_lifetime }
    }
}
