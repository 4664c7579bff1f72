//! The secrets that a product's devices are known by.

use std::sync::Arc;

use firmament::{
    catalogue::{Catalogue, Written},
    domain::{DeviceSecrets, ProductSettings, Revision},
};
use serde_json::json;

use super::{audit, new_product, product_name};

pub(super) async fn device_secrets_come_back_exactly_and_are_not_told(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "a").await;
    assert_eq!(product.device_secrets, DeviceSecrets::default());
    let secrets = DeviceSecrets::new([[0xab; 32], [0; 32]]);
    let put = catalogue
        .put_device_secrets(&product.name, &secrets, product.revision, &audit("product.device-secret"))
        .await;
    let Ok(Written::Done(state)) = put else { panic!("{put:?}") };
    assert_eq!(state.product.device_secrets, secrets);
    assert_eq!(state.product.revision, Revision(product.revision.0 + 1));
    let told = catalogue.changes(product.revision, 10).await.expect("works").products;
    assert_eq!(told[0].product.device_secrets, secrets);
    assert_eq!(catalogue.products().await.expect("works")[0].device_secrets, secrets);

    // Other settings leave them alone.
    let settings = ProductSettings { max_image_bytes: Some(7), ..ProductSettings::default() };
    let (changed, _) = catalogue.put_product(&product.name, &settings, &audit("")).await.expect("works");
    assert_eq!(changed.device_secrets, secrets);

    for entry in catalogue.audit(&product.name, 10).await.expect("works") {
        let all = json!([entry.details, entry.before, entry.after]).to_string();
        assert!(!all.contains("abab") && !all.contains("171,171"), "{all}");
    }
    let none = DeviceSecrets::default();
    let put = catalogue.put_device_secrets(&product.name, &none, changed.revision, &audit("x")).await;
    let Ok(Written::Done(state)) = put else { panic!("{put:?}") };
    assert_eq!(state.product.device_secrets, none);
}

pub(super) async fn device_secrets_judged_on_old_facts_are_stale(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "a").await;
    let secrets = DeviceSecrets::new([[1; 32]]);
    for (name, revision) in [("a", Revision(product.revision.0 - 1)), ("b", product.revision)] {
        let put = catalogue.put_device_secrets(&product_name(name), &secrets, revision, &audit("x")).await;
        assert_eq!(put.expect("works"), Written::Stale);
    }
    let state = catalogue.product(&product.name).await.expect("works").expect("there");
    assert_eq!(state.product, product);
}
