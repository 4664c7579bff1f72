//! Products and their settings.

use std::sync::Arc;

use firmament::{
    catalogue::Catalogue,
    domain::{ChannelName, ProductSettings, Rhythm},
};

use super::{audit, hardware, new_product, product_name};

pub async fn a_product_is_created_updated_or_left_as_it_is(catalogue: Arc<dyn Catalogue>) {
    let name = product_name("thermo-x");
    let settings = ProductSettings {
        hardware: hardware(&["rev-a"]),
        max_image_bytes: Some(1),
        ..ProductSettings::default()
    };
    let before = catalogue.revision().await.expect("works");

    let (created, is_new) = catalogue.put_product(&name, &settings, &audit("x")).await.expect("works");
    assert!(is_new);
    assert_eq!((&created.name, &created.settings), (&name, &settings));
    assert_eq!(created.revision.0, before.0 + 1);
    assert_eq!(catalogue.revision().await.expect("works"), created.revision);

    let (same, is_new) = catalogue.put_product(&name, &settings, &audit("x")).await.expect("works");
    assert_eq!((same, is_new), (created.clone(), false));
    assert_eq!(catalogue.revision().await.expect("works"), created.revision);

    let other = ProductSettings { max_image_bytes: None, ..settings };
    let (updated, is_new) = catalogue.put_product(&name, &other, &audit("x")).await.expect("works");
    assert!(!is_new);
    assert_eq!((updated.id, updated.created_at, &updated.settings), (created.id, created.created_at, &other));
    assert_eq!(updated.revision.0, created.revision.0 + 1);
    let read = catalogue.product(&name).await.expect("works").expect("exists");
    assert_eq!(read.product, updated);

    let actions: Vec<String> =
        catalogue.audit(&name, 10).await.expect("works").into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["product.update", "product.create"]);
}

pub async fn products_are_listed_by_name_and_an_unknown_one_is_none(catalogue: Arc<dyn Catalogue>) {
    assert!(catalogue.products().await.expect("works").is_empty());
    // An order by locale would put `a-b` after `ab`.
    for name in ["b", "ab", "a-b", "0"] {
        new_product(&catalogue, name).await;
    }
    let names: Vec<String> =
        catalogue.products().await.expect("works").iter().map(|product| product.name.to_string()).collect();
    assert_eq!(names, ["0", "a-b", "ab", "b"]);
    assert_eq!(catalogue.product(&product_name("unknown")).await.expect("works"), None);
    assert!(catalogue.audit(&product_name("unknown"), 10).await.expect("works").is_empty());
}

pub async fn settings_come_back_exactly(catalogue: Arc<dyn Catalogue>) {
    let all = [
        ProductSettings::default(),
        ProductSettings {
            hardware: hardware(&["B", "a", "a.1_2-3"]),
            max_image_bytes: Some(u64::MAX),
            policy: serde_json::from_value(serde_json::json!({
                "rules": {"same-bytes": "off"}, "names": {"chip": ["ESP32"]}, "hardware_names": {"a": ["x"]},
                "keys": [{"name": "k", "key": "-----BEGIN"}], "pre_release_channels": ["beta"], "slot_bytes": u64::MAX,
                "maintenance": ["1.2"], "require_signature": true, "version_pattern": "(?P<version>.*)",
            }))
            .expect("fits"),
            support_end: "2031-12-31".parse().ok(),
            rhythm: Rhythm { poll_interval: "15m".parse().ok(), cache_lifetime: "0s".parse().ok() },
            channels: [
                (ChannelName::parse("beta").expect("valid"), Rhythm { poll_interval: "1s".parse().ok(), cache_lifetime: None }),
                (ChannelName::parse("none").expect("valid"), Rhythm::default()),
            ]
            .into(),
            delivery: serde_json::from_value(serde_json::json!({
                "access": "private", "authenticate_devices": true, "link": "short",
                "url": {"max_length": 64, "scheme": "http", "host": "ip"},
            }))
            .expect("fits"),
            retention: firmament::domain::Retention {
                keep_newest: std::num::NonZeroU32::new(7),
                keep_security_for: Some(firmament::domain::retention::DayCount(365)),
            },
        },
    ];
    for (index, settings) in all.iter().enumerate() {
        let name = product_name(&format!("product-{index}"));
        let (put, _) = catalogue.put_product(&name, settings, &audit("x")).await.expect("works");
        let read = catalogue.product(&name).await.expect("works").expect("exists");
        assert_eq!((&put, &put.settings), (&read.product, settings));
    }
}

pub async fn short_links_that_were_given_out_are_remembered(catalogue: Arc<dyn Catalogue>) {
    let name = product_name("thermo-x");
    let settings = |delivery: serde_json::Value| ProductSettings {
        delivery: serde_json::from_value(delivery).expect("fits"),
        ..ProductSettings::default()
    };
    let direct = settings(serde_json::json!({}));
    let put = async |given: &ProductSettings| {
        catalogue.put_product(&name, given, &audit("x")).await.expect("works").0
    };
    assert_eq!(put(&direct).await.settings, direct);
    let short = settings(serde_json::json!({ "link": "short" }));
    assert_eq!(put(&short).await.settings, short);
    let kept = put(&direct).await;
    assert_eq!(kept.settings, settings(serde_json::json!({ "had_short_links": true })));
    assert_eq!(put(&direct).await, kept, "said again, it changes nothing");
    let read = catalogue.product(&name).await.expect("works").expect("exists");
    assert_eq!(read.product, kept);
    assert_eq!(put(&short).await.settings, short);
}
