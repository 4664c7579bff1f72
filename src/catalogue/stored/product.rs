//! Products and their settings as both databases store them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{count, parsed};
use crate::{
    domain::{
        ChannelName, DeviceSecrets, Hardware, Policy, Product, ProductName, ProductSettings, Retention,
        Revision, Rhythm,
    },
    error::{Error, Result},
};

mod delivery;

use delivery::StoredDelivery;

pub(in crate::catalogue) struct ProductRow {
    pub id: Uuid,
    pub name: String,
    pub settings: serde_json::Value,
    pub device_secrets: Vec<u8>,
    pub created_at: DateTime<Utc>,
    pub revision: i64,
}

/// [`ProductSettings`] as stored. Unlike those, it ignores what it does not know: while replicas are upgraded one by
/// one, the old ones read what the new ones wrote.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredSettings {
    hardware: BTreeSet<Hardware>,
    max_image_bytes: Option<u64>,
    policy: Policy,
    support_end: Option<NaiveDate>,
    retention: Retention,
    #[serde(flatten)]
    rhythm: Rhythm,
    #[serde(rename = "channel_settings", skip_serializing_if = "BTreeMap::is_empty")]
    channels: BTreeMap<ChannelName, Rhythm>,
    #[serde(skip_serializing_if = "is_default")]
    delivery: StoredDelivery,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The settings that a product has when these are put on it.
pub(in crate::catalogue) fn settings_after(
    settings: &ProductSettings,
    existing: Option<&Product>,
) -> ProductSettings {
    existing.map_or_else(|| settings.clone(), |product| settings.after(&product.settings))
}

/// The settings as they are stored.
pub(in crate::catalogue) fn settings(settings: &ProductSettings) -> serde_json::Value {
    let ProductSettings {
        hardware,
        max_image_bytes,
        policy,
        support_end,
        retention,
        rhythm,
        channels,
        delivery,
    } = settings.clone();
    let delivery = delivery.into();
    let stored = StoredSettings {
        hardware,
        max_image_bytes,
        policy,
        support_end,
        retention,
        rhythm,
        channels,
        delivery,
    };
    serde_json::to_value(stored).expect("has only string keys")
}

/// The settings that the audit log shows of `product.create` and `product.update`; `None` = it shows none.
pub fn shown_settings(shown: &serde_json::Value) -> Option<ProductSettings> {
    StoredSettings::deserialize(shown).ok().map(Into::into)
}

impl From<StoredSettings> for ProductSettings {
    fn from(stored: StoredSettings) -> Self {
        let StoredSettings {
            hardware,
            max_image_bytes,
            policy,
            support_end,
            retention,
            rhythm,
            channels,
            delivery,
        } = stored;
        Self {
            hardware,
            max_image_bytes,
            policy,
            support_end,
            retention,
            rhythm,
            channels,
            delivery: delivery.into(),
        }
    }
}

impl ProductRow {
    pub fn into_product(self) -> Result<Product> {
        let stored: StoredSettings = parsed(serde_json::from_value(self.settings))?;
        Ok(Product {
            id: self.id,
            name: parsed(ProductName::parse(&self.name))?,
            settings: stored.into(),
            device_secrets: DeviceSecrets::from_bytes(&self.device_secrets)
                .ok_or_else(|| Error::internal("the stored device secrets have a wrong length"))?,
            created_at: self.created_at,
            revision: Revision(count(self.revision)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_audit_log_shows_is_read_back() {
        let given = json!({
            "hardware": ["a"], "max_image_bytes": 5, "support_end": "2030-01-01", "poll_interval": "5m",
            "channel_settings": {"beta": {"cache_lifetime": "30s"}}, "retention": {"keep_newest": 3},
            "delivery": {"access": "private", "link": "direct", "had_short_links": true, "url": {"max_length": 64, "scheme": "http"}},
        });
        let given: ProductSettings = serde_json::from_value(given).expect("fits");
        for one in [given, ProductSettings::default()] {
            assert_eq!(shown_settings(&settings(&one)), Some(one));
        }
        assert_eq!(shown_settings(&json!(null)), None);
    }
}
