//! Following what changes, and migrating.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use firmament::{
    catalogue::{Catalogue, Heard, Written},
    domain::{ProductName, Revision},
};
use tokio::{task::JoinSet, time::timeout};

use super::{
    audit, new_image, new_product, promote, publish, reservation, revision_of, state_of, without_facts,
};

pub async fn pages_tell_everything_in_order(catalogue: Arc<dyn Catalogue>) {
    let empty = catalogue.changes(Revision(0), 10).await.expect("works");
    assert_eq!((empty.products.len(), empty.revision, empty.more), (0, Revision(0), false));
    let mut expected = Vec::new();
    for name in ["d", "c", "b", "a", "e"] {
        let product = new_product(&catalogue, name).await;
        for version in ["1.0.0", "1.1.0"] {
            let new = new_image(&reservation(&product, version, "a.bin", &[]), Some("notes"));
            publish(&catalogue, &new, Some(&promote("stable", &[new.image.id], &[]))).await;
        }
        expected.push(without_facts(state_of(&catalogue, &product.name).await));
    }
    let last = catalogue.revision().await.expect("works");
    // 0 is taken as 1: a page that tells nothing would be asked for again for ever.
    for limit in [0, 1, 3, 5, u32::MAX] {
        let (mut told, mut since) = (Vec::new(), Revision(0));
        loop {
            let page = catalogue.changes(since, limit).await.expect("works");
            assert!(page.products.len() as u64 <= u64::from(limit.max(1)));
            assert_eq!(page.more, told.len() + page.products.len() < expected.len());
            if page.more {
                assert_eq!(Some(page.revision), page.products.last().map(|state| state.product.revision));
            }
            told.extend(page.products);
            since = page.revision;
            if !page.more {
                break;
            }
        }
        assert_eq!(told, expected, "limit {limit}");
        assert_eq!(since, last);
    }
    let nothing = catalogue.changes(Revision(u64::MAX), 1).await.expect("works");
    assert_eq!((nothing.products.len(), nothing.revision), (0, last));
}

pub async fn a_product_that_changed_is_told_once_with_all_it_has(catalogue: Arc<dyn Catalogue>) {
    let first = new_product(&catalogue, "first").await;
    let second = new_product(&catalogue, "second").await;
    let since = catalogue.revision().await.expect("works");
    for version in ["1.0.0", "1.1.0"] {
        publish(&catalogue, &new_image(&reservation(&first, version, "a.bin", &[]), None), None).await;
    }
    let changes = catalogue.changes(since, 10).await.expect("works");
    assert_eq!(changes.products, [without_facts(state_of(&catalogue, &first.name).await)]);
    let all = catalogue.changes(Revision(0), 10).await.expect("works");
    let names: Vec<&ProductName> = all.products.iter().map(|state| &state.product.name).collect();
    assert_eq!(names, [&second.name, &first.name], "in the order of their last change");
}

/// 8 tasks change 4 products, two each; each notes its revisions. Meanwhile a follower applies pages of changes, and
/// has to end with exactly what is there, never having gone back.
pub async fn concurrent_changes_are_serial_and_a_follower_sees_them_all(catalogue: Arc<dyn Catalogue>) {
    const TASKS: usize = 8;
    const CHANGES: usize = 12;
    let mut products = Vec::new();
    for index in 0..TASKS / 2 {
        products.push(new_product(&catalogue, &format!("p{index}")).await);
    }
    let start = catalogue.revision().await.expect("works");
    let end = Revision(start.0 + (TASKS * CHANGES) as u64);

    let follower = tokio::spawn(follow(catalogue.clone(), end));
    let mut writers = JoinSet::new();
    for task in 0..TASKS {
        let (catalogue, product) = (catalogue.clone(), products[task / 2].clone());
        writers.spawn(async move {
            let mut revisions = Vec::new();
            while revisions.len() < CHANGES {
                let judged_at = revision_of(&catalogue, &product.name).await;
                let nothing = promote("stable", &[], &[]);
                let written = catalogue.promote(&product.name, &nothing, judged_at, &audit("x")).await;
                match written.expect("works") {
                    Written::Done(state) => {
                        assert!(state.product.revision > judged_at);
                        revisions.push(state.product.revision);
                    }
                    Written::Stale => {}
                    Written::Lost => panic!("promoting needs no reservation"),
                }
            }
            revisions
        });
    }
    let revisions: Vec<Revision> = writers.join_all().await.into_iter().flatten().collect();
    let distinct: BTreeSet<u64> = revisions.iter().map(|revision| revision.0).collect();
    assert_eq!(distinct, (start.0 + 1..=end.0).collect(), "every revision once, none left out");
    assert_eq!(catalogue.revision().await.expect("works"), end);

    let followed = follower.await.expect("the follower ends");
    let there: BTreeMap<ProductName, Revision> = catalogue
        .products()
        .await
        .expect("works")
        .into_iter()
        .map(|product| (product.name, product.revision))
        .collect();
    assert_eq!(followed, there);
}

async fn follow(catalogue: Arc<dyn Catalogue>, end: Revision) -> BTreeMap<ProductName, Revision> {
    let (mut seen, mut since) = (BTreeMap::new(), Revision(0));
    while since < end {
        let page = catalogue.changes(since, 2).await.expect("works");
        assert!(page.revision >= since, "never back");
        for state in &page.products {
            assert!(state.product.revision > since && state.product.revision <= page.revision);
            seen.insert(state.product.name.clone(), state.product.revision);
        }
        since = page.revision;
        // The rule of the port: whoever has read everything up to a revision misses nothing of it or below.
        for product in catalogue.products().await.expect("works") {
            assert!(
                product.revision > since || page.more || seen.get(&product.name) == Some(&product.revision)
            );
        }
    }
    seen
}

pub async fn a_listener_hears_a_change(catalogue: Arc<dyn Catalogue>) {
    let mut listener = catalogue.listen().await.expect("works");
    let nothing = timeout(Duration::from_millis(200), listener.next()).await;
    assert!(nothing.is_err(), "nothing has changed yet: {nothing:?}");
    // One at a time: the wait that was given up above has lost nothing.
    for name in ["a", "b"] {
        new_product(&catalogue, name).await;
        let heard = timeout(Duration::from_secs(5), listener.next()).await.expect("soon").expect("works");
        assert_eq!(heard, Heard::Changed);
    }
    // What changes nothing wakes nobody.
    new_product(&catalogue, "a").await;
    assert!(timeout(Duration::from_millis(200), listener.next()).await.is_err());
}

pub async fn migrating_again_does_nothing(catalogue: Arc<dyn Catalogue>) {
    assert_eq!(catalogue.pending_migrations().await.expect("works"), 0);
    assert_eq!(catalogue.migrate().await.expect("works"), 0);
}
