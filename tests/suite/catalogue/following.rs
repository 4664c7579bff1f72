//! Following what checks are answered from.

use std::sync::Arc;

use firmament::{
    catalogue::{Catalogue, Written},
    domain::{AuditHash, ProductOffers, ProductState, Revision, UpgradePath},
};
use uuid::Uuid;

use super::{
    audit, new_image, new_product, product_name, promote, publish, reservation, revision_of, state_of,
    version,
};

/// Publishes an image for some hardware and promotes it; returns its id.
async fn offer(
    catalogue: &Arc<dyn Catalogue>,
    product: &firmament::domain::Product,
    release: &str,
    hardware: &[&str],
    channel: &str,
) -> Uuid {
    let file = format!("{}.bin", if hardware.is_empty() { "all".into() } else { hardware.join("-") });
    let new = new_image(&reservation(product, release, &file, hardware), Some("notes"));
    publish(catalogue, &new, Some(&promote(channel, &[new.image.id], &[]))).await;
    new.image.id
}

async fn recall(catalogue: &Arc<dyn Catalogue>, name: &str, release: &str, replacement: Option<&str>) {
    let (name, release) = (product_name(name), version(release));
    let replacement = replacement.map(version);
    let at = revision_of(catalogue, &name).await;
    let done = catalogue.recall(&name, &release, "bad", replacement.as_ref(), at, &audit("x")).await;
    assert!(matches!(done, Ok(Written::Done(_))), "{done:?}");
}

/// What the catalogue tells of one product, and all of it.
async fn told(catalogue: &Arc<dyn Catalogue>, name: &str) -> (ProductState, ProductState) {
    let page = catalogue.offered(Revision(0), 100).await.expect("works");
    let told = page.products.into_iter().find(|state| state.product.name.as_str() == name);
    (told.expect("it changed"), state_of(catalogue, &product_name(name)).await)
}

fn images(state: &ProductState) -> usize {
    state.releases.iter().map(|release| release.images.len()).sum()
}

/// However a product came to be: packed for checks, what is told of it is the same as all of it.
pub async fn a_page_holds_what_is_offered_and_no_more(catalogue: Arc<dyn Catalogue>) {
    let same = async |name: &str, expected: usize| {
        let (told, whole) = told(&catalogue, name).await;
        let packed = |state: &ProductState| ProductOffers::of(state).as_bytes().to_vec();
        assert_eq!(packed(&told), packed(&whole), "{name}");
        assert_eq!(images(&told), expected, "{name} of {}", images(&whole));
        assert_eq!(told.product, whole.product);
    };
    new_product(&catalogue, "empty").await;
    same("empty", 0).await;

    let plain = new_product(&catalogue, "plain").await;
    for release in ["1.9.0", "1.10.0-rc.1", "1.10.0", "1.2.0"] {
        for hardware in [&["a"] as &[&str], &["b", "c"], &[]] {
            offer(&catalogue, &plain, release, hardware, "stable").await;
        }
    }
    offer(&catalogue, &plain, "1.11.0", &["a"], "beta").await;
    offer(&catalogue, &plain, "0.1.0", &["old"], "stable").await;
    let unpromoted = new_image(&reservation(&plain, "9.0.0", "x.bin", &["a"]), None);
    publish(&catalogue, &unpromoted, None).await;
    same("plain", 5).await;
    // The highest is recalled: the one below it counts. All of beta is recalled: it is a channel all the same.
    recall(&catalogue, "plain", "1.10.0", None).await;
    recall(&catalogue, "plain", "1.11.0", None).await;
    same("plain", 4).await;
    let (told, _) = told(&catalogue, "plain").await;
    assert!(ProductOffers::of(&told).channel("beta").expect("still there").all().is_empty());

    let withdrawn = new_product(&catalogue, "withdrawn").await;
    let kept = offer(&catalogue, &withdrawn, "1.0.0", &[], "stable").await;
    let over = offer(&catalogue, &withdrawn, "2.0.0", &[], "stable").await;
    let at = revision_of(&catalogue, &withdrawn.name).await;
    let back = promote("stable", &[kept], &[over]);
    let done = catalogue.promote(&withdrawn.name, &back, at, &audit("x")).await.expect("works");
    assert!(matches!(done, Written::Done(_)));
    same("withdrawn", 1).await;

    for name in ["floor", "lowest", "replaced"] {
        let product = new_product(&catalogue, name).await;
        for release in ["1.0.0", "1.5.0", "2.0.0"] {
            offer(&catalogue, &product, release, &["a"], "stable").await;
            offer(&catalogue, &product, release, &[], "stable").await;
        }
        let path = match name {
            "floor" => UpgradePath { floor: true, upgrade_from: None },
            _ => UpgradePath { floor: false, upgrade_from: Some(version("1.5.0")) },
        };
        let at = revision_of(&catalogue, &product.name).await;
        match name {
            "replaced" => recall(&catalogue, name, "2.0.0", Some("1.0.0")).await,
            "floor" => {
                let done = catalogue.set_path(&product.name, &version("1.5.0"), &path, at, &audit("x")).await;
                assert!(matches!(done, Ok(Written::Done(_))), "{done:?}");
            }
            _ => {
                let done = catalogue.set_path(&product.name, &version("2.0.0"), &path, at, &audit("x")).await;
                assert!(matches!(done, Ok(Written::Done(_))), "{done:?}");
            }
        }
        same(name, 6).await;
    }
}

pub async fn pages_are_marked_and_in_order(catalogue: Arc<dyn Catalogue>) {
    let start = catalogue.standing(Revision(0)).await.expect("works");
    assert_eq!((start.revision, start.hash), (Revision(0), None));
    for name in ["d", "c", "b", "a", "e"] {
        let product = new_product(&catalogue, name).await;
        offer(&catalogue, &product, "1.0.0", &[], "stable").await;
    }
    let hash_at = async |at: Revision| catalogue.standing(at).await.expect("works").hash;
    let last = catalogue.revision().await.expect("works");
    for limit in [0, 1, 3, 5, u32::MAX] {
        let (mut names, mut since, mut hash) = (Vec::new(), Revision(0), None);
        loop {
            let page = catalogue.offered(since, limit).await.expect("works");
            assert_eq!(page.before, hash, "it goes on from the page before");
            assert_eq!(page.hash, hash_at(page.revision).await);
            assert!(page.hash.is_some());
            let mut told: Vec<_> = page.products.iter().map(|state| &state.product).collect();
            told.sort_by_key(|product| product.revision);
            assert!(told.iter().all(|product| product.revision > since && product.revision <= page.revision));
            names.extend(told.iter().map(|product| product.name.to_string()));
            (since, hash) = (page.revision, page.hash);
            if !page.more {
                break;
            }
        }
        assert_eq!(names.join(""), "dcbae", "limit {limit}");
        assert_eq!(since, last);
    }
    let beyond = catalogue.standing(Revision(last.0 + 1)).await.expect("works");
    assert_eq!((beyond.revision, beyond.hash), (last, None));
    let newest = catalogue.audit_after(Revision(last.0 - 1), 1).await.expect("works").entries.remove(0);
    assert_eq!(hash_at(last).await, newest.link.map(|link| link.hash));
}

/// Two catalogues at the same revision are told apart, also when the same was done to both.
pub async fn another_history_has_another_hash(catalogue: Arc<dyn Catalogue>) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let other: Arc<dyn Catalogue> = Arc::new(super::sqlite(&folder).await);
    let mut hashes: Vec<AuditHash> = Vec::new();
    for catalogue in [&catalogue, &other] {
        new_product(catalogue, "p").await;
        let standing = catalogue.standing(Revision(1)).await.expect("works");
        assert_eq!(standing.revision, Revision(1));
        hashes.push(standing.hash.expect("linked"));
    }
    assert_ne!(hashes[0], hashes[1]);
}
