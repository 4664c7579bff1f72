//! Making a lost catalogue anew, product by product.

use firmament::domain::{Recall, Security, Severity};

use super::*;

/// What a manifest may tell: something of everything.
async fn told(catalogue: &Arc<dyn Catalogue>) -> ProductState {
    let product = new_product(catalogue, "from").await;
    let first = new_image(&reservation(&product, "1.0.0", "a.bin", &["rev-a"]), Some("notes"));
    publish(catalogue, &first, Some(&promote("stable", &[first.image.id], &[]))).await;
    let second = new_image(&reservation(&product, "1.1.0", "b.bin", &[]), None);
    let mut state =
        publish(catalogue, &second, Some(&promote("stable", &[second.image.id], &[first.image.id]))).await;
    // Under another name and with other ids, as the tables of the other are there still.
    state.product.name = product_name("to");
    state.product.id = Uuid::now_v7();
    state.product.settings.max_image_bytes = Some(5);
    let mut ids = std::collections::BTreeMap::new();
    for release in &mut state.releases {
        release.id = Uuid::now_v7();
        for image in &mut release.images {
            let id = Uuid::now_v7();
            ids.insert(image.id, id);
            image.id = id;
        }
    }
    for promotion in state.promotions.iter_mut().chain(&mut state.withdrawn) {
        promotion.image = ids[&promotion.image];
    }
    let at = DateTime::from_timestamp_micros(1_700_000_000_000_042).expect("in range");
    let [one, two] = &mut state.releases[..] else { panic!("two releases") };
    one.recall = Some(Recall { at, reason: "bad".into(), replacement: Some(two.version.clone()) });
    one.images[0].removed_at = Some(at);
    two.floor = true;
    two.upgrade_from = Some(version("0.9.0"));
    two.security = Some(Security { severity: Severity::High, cves: BTreeSet::new() });
    state
}

pub async fn a_product_comes_back_as_it_was_told(catalogue: Arc<dyn Catalogue>) {
    let mut state = told(&catalogue).await;
    let before = catalogue.revision().await.expect("works");
    let above = Revision(before.0 + 1000);
    assert!(catalogue.restore(&state, above, &audit("catalogue.rebuild")).await.expect("works"));
    let now = state_of(&catalogue, &state.product.name).await;
    assert!(now.product.revision > above, "{:?}", now.product.revision);
    assert_eq!(catalogue.revision().await.expect("works"), now.product.revision);
    state.product.revision = now.product.revision;
    assert_eq!(now, state);
    // Whoever follows the changes is told, and what is told is in the audit log.
    let changes = catalogue.changes(above, 10).await.expect("works");
    assert_eq!(changes.products, [without_facts(now.clone())]);
    let entry = catalogue.audit(&state.product.name, 1).await.expect("works").remove(0);
    assert_eq!((entry.action.as_str(), entry.revision), ("catalogue.rebuild", now.product.revision));
    // A removed image wants no copy: the backup's would be put back into the bucket.
    let wanted = catalogue.uncopied(None, 10).await.expect("works");
    let removed = state.releases[0].images[0].id;
    assert!(wanted.iter().all(|copy| copy.image != removed) && !wanted.is_empty(), "{wanted:?}");
    // Its removed image still has an object, as far as anybody knows.
    assert_eq!(catalogue.removed(None, 10).await.expect("works").len(), 1);
}

pub async fn a_product_that_is_there_is_left_alone(catalogue: Arc<dyn Catalogue>) {
    let mut state = told(&catalogue).await;
    assert!(catalogue.restore(&state, Revision(0), &audit("catalogue.rebuild")).await.expect("works"));
    let revision = catalogue.revision().await.expect("works");
    let now = state_of(&catalogue, &state.product.name).await;
    state.releases.clear();
    assert!(!catalogue.restore(&state, Revision(9000), &audit("catalogue.rebuild")).await.expect("works"));
    assert_eq!(state_of(&catalogue, &state.product.name).await, now);
    assert_eq!(catalogue.revision().await.expect("works"), revision, "nothing was changed");
}
