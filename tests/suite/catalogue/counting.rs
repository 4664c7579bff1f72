//! How often images were downloaded.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use firmament::catalogue::{Catalogue, CountedLog, DownloadCount};
use firmament::domain::FileName;
use tokio::task::JoinSet;

use super::{a_time, new_product, product_name, revision_of, version};

fn day(of_month: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, of_month).expect("a day")
}

fn count(product: &str, version_text: &str, of_month: u32, completed: u64) -> DownloadCount {
    DownloadCount {
        product: product_name(product),
        version: version(version_text),
        filename: FileName::parse("app.bin").expect("valid"),
        day: day(of_month),
        completed,
        partial: 2 * completed,
        bytes: 5_000_000_000 * completed,
        edge_bytes: 4_000_000_000 * completed,
    }
}

fn log(key: &str, modified_at: DateTime<Utc>, counts: &[DownloadCount]) -> CountedLog {
    CountedLog { key: key.to_owned(), modified_at, counts: counts.to_vec() }
}

async fn uncounted(catalogue: &Arc<dyn Catalogue>, keys: &[&str]) -> BTreeSet<String> {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    catalogue.uncounted_logs(&keys).await.expect("works")
}

pub async fn a_log_counts_once_and_adds_up(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let before = revision_of(&catalogue, &product.name).await;
    assert_eq!(uncounted(&catalogue, &["a", "b"]).await.len(), 2);
    let first = log("a", a_time(), &[count("p", "1.0.0", 3, 1), count("p", "1.0.0", 4, 7)]);
    assert!(catalogue.count_log(&first).await.expect("works"));
    assert!(!catalogue.count_log(&first).await.expect("works"), "it was counted");
    let again = log("a", Utc::now(), &[count("p", "1.0.0", 3, 100)]);
    assert!(!catalogue.count_log(&again).await.expect("works"), "whatever it says now");
    assert!(catalogue.count_log(&log("b", a_time(), &[count("p", "1.0.0", 3, 2)])).await.expect("works"));
    let found = catalogue.downloads(&product.name, day(1)).await.expect("works");
    assert_eq!(found, [count("p", "1.0.0", 3, 3), count("p", "1.0.0", 4, 7)]);
    assert_eq!(uncounted(&catalogue, &["a", "c", "b"]).await, BTreeSet::from(["c".to_owned()]));
    assert!(catalogue.count_log(&log("empty", a_time(), &[])).await.expect("works"));
    assert_eq!(uncounted(&catalogue, &["empty"]).await.len(), 0);
    assert_eq!(revision_of(&catalogue, &product.name).await, before, "no check could see a change");
}

pub async fn many_that_count_one_log_add_it_once(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mut calls = JoinSet::new();
    for index in 0..16 {
        let catalogue = Arc::clone(&catalogue);
        // Other logs of the same images at the same time, in another order.
        let mut counts = [count("p", "1.0.0", 3, 1), count("p", "1.1.0", 3, 1), count("p", "1.2.0", 4, 1)];
        if index % 2 == 0 {
            counts.reverse();
        }
        calls.spawn(async move {
            let own = catalogue.count_log(&log(&format!("own-{index}"), a_time(), &counts)).await;
            assert!(own.expect("works"));
            catalogue.count_log(&log("shared", a_time(), &counts)).await.expect("works")
        });
    }
    let counted = calls.join_all().await.into_iter().filter(|counted| *counted).count();
    assert_eq!(counted, 1);
    let found = catalogue.downloads(&product.name, day(1)).await.expect("works");
    assert_eq!(found, [count("p", "1.0.0", 3, 17), count("p", "1.1.0", 3, 17), count("p", "1.2.0", 4, 17)]);
}

pub async fn counts_stay_with_their_product_and_day(catalogue: Arc<dyn Catalogue>) {
    let (one, other) = (new_product(&catalogue, "one").await, new_product(&catalogue, "other").await);
    let counts =
        [count("one", "1.0.0", 3, 1), count("other", "1.0.0", 3, 5), count("unknown", "1.0.0", 3, 9)];
    assert!(catalogue.count_log(&log("a", a_time(), &counts)).await.expect("works"));
    assert_eq!(catalogue.downloads(&one.name, day(3)).await.expect("works"), [count("one", "1.0.0", 3, 1)]);
    assert_eq!(catalogue.downloads(&one.name, day(4)).await.expect("works"), []);
    assert_eq!(
        catalogue.downloads(&other.name, day(1)).await.expect("works"),
        [count("other", "1.0.0", 3, 5)]
    );
    assert_eq!(catalogue.downloads(&product_name("unknown"), day(1)).await.expect("works"), []);
}

pub async fn forgotten_logs_are_uncounted_and_their_counts_stay(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let now = a_time();
    for (key, age) in [("old", 10), ("new", 1)] {
        let log = log(key, now - TimeDelta::days(age), &[count("p", "1.0.0", 3, 1)]);
        assert!(catalogue.count_log(&log).await.expect("works"));
    }
    assert_eq!(catalogue.forget_logs(now - TimeDelta::days(5)).await.expect("works"), 1);
    assert_eq!(uncounted(&catalogue, &["old", "new"]).await, BTreeSet::from(["old".to_owned()]));
    let found = catalogue.downloads(&product.name, day(1)).await.expect("works");
    assert_eq!(found, [count("p", "1.0.0", 3, 2)]);
}
