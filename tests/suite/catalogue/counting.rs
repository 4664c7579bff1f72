//! How often images were downloaded.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use firmament::catalogue::{AddedLog, Catalogue, CountedLog, CountedRequest, DownloadCount};
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
    CountedLog { key: key.to_owned(), modified_at, counts: counts.to_vec(), requests: Vec::new(), ends: true }
}

/// A log of one image and day, with these requests: the odd ones complete, the others from the edge.
fn log_of(key: &str, modified_at: DateTime<Utc>, numbers: impl IntoIterator<Item = i64>) -> CountedLog {
    let mut log = log(key, modified_at, &[count("p", "1.0.0", 3, 0)]);
    for number in numbers {
        let odd = number % 2 != 0;
        let request = CountedRequest { number, count: 0, completed: odd, bytes: 10, from_edge: !odd };
        log.counts[0].add(request);
        log.requests.push(request);
    }
    log
}

/// What the requests of such logs add up to.
fn sums([completed, partial, bytes, edge_bytes]: [u64; 4]) -> DownloadCount {
    DownloadCount { completed, partial, bytes, edge_bytes, ..count("p", "1.0.0", 3, 0) }
}

async fn add(catalogue: &Arc<dyn Catalogue>, log: &CountedLog) -> AddedLog {
    catalogue.count_log(log).await.expect("works").expect("it was not counted")
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
    let added = catalogue.count_log(&first).await.expect("works");
    assert_eq!(added, Some(AddedLog { counts: first.counts.clone(), duplicates: 0 }));
    assert_eq!(catalogue.count_log(&first).await.expect("works"), None, "it was counted");
    let again = log("a", Utc::now(), &[count("p", "1.0.0", 3, 100)]);
    assert_eq!(catalogue.count_log(&again).await.expect("works"), None, "whatever it says now");
    add(&catalogue, &log("b", a_time(), &[count("p", "1.0.0", 3, 2)])).await;
    let found = catalogue.downloads(&product.name, day(1)).await.expect("works");
    assert_eq!(found, [count("p", "1.0.0", 3, 3), count("p", "1.0.0", 4, 7)]);
    assert_eq!(uncounted(&catalogue, &["a", "c", "b"]).await, BTreeSet::from(["c".to_owned()]));
    add(&catalogue, &log("empty", a_time(), &[])).await;
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
            assert!(own.expect("works").is_some());
            catalogue.count_log(&log("shared", a_time(), &counts)).await.expect("works").is_some()
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
    add(&catalogue, &log("a", a_time(), &counts)).await;
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
        add(&catalogue, &log).await;
    }
    assert_eq!(catalogue.forget_logs(now - TimeDelta::days(5)).await.expect("works"), 1);
    assert_eq!(uncounted(&catalogue, &["old", "new"]).await, BTreeSet::from(["old".to_owned()]));
    let found = catalogue.downloads(&product.name, day(1)).await.expect("works");
    assert_eq!(found, [count("p", "1.0.0", 3, 2)]);
}

pub async fn a_request_counts_once_in_whatever_log(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let added = add(&catalogue, &log_of("a", a_time(), [1, 2, i64::MIN, i64::MAX])).await;
    assert_eq!(added, AddedLog { counts: vec![sums([2, 2, 40, 20])], duplicates: 0 });
    let mut second = log_of("b", a_time() + TimeDelta::hours(5), [2, 3, i64::MIN]);
    // A line that does not say which request it is of, and one that is there twice.
    second.counts[0].completed += 1;
    second.counts[0].add(second.requests[1]);
    second.requests.push(second.requests[1]);
    let added = add(&catalogue, &second).await;
    assert_eq!(added, AddedLog { counts: vec![sums([2, 0, 10, 0])], duplicates: 3 });
    // All of it was counted.
    let added = add(&catalogue, &log_of("c", a_time(), [3, 1])).await;
    assert_eq!(added, AddedLog { counts: Vec::new(), duplicates: 2 });
    let found = catalogue.downloads(&product.name, day(1)).await.expect("works");
    assert_eq!(found, [sums([4, 2, 50, 20])]);
    assert_eq!(uncounted(&catalogue, &["a", "b", "c"]).await.len(), 0);
}

pub async fn many_that_count_the_same_requests_add_each_once(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mut calls = JoinSet::new();
    for index in 0..16_i64 {
        let catalogue = Arc::clone(&catalogue);
        // Each has half of the next one's, and they take them in different orders.
        let mut log = log_of(&format!("log-{index}"), a_time(), index * 100..index * 100 + 200);
        if index % 2 == 0 {
            log.requests.reverse();
        }
        calls.spawn(async move { add(&catalogue, &log).await.duplicates });
    }
    assert_eq!(calls.join_all().await.into_iter().sum::<u64>(), 15 * 100);
    let found = catalogue.downloads(&product.name, day(1)).await.expect("works");
    assert_eq!(found, [sums([850, 850, 17_000, 8_500])]);
}

pub async fn a_log_in_parts_counts_once_however_often_it_is_begun(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let first = CountedLog { ends: false, ..log_of("a", a_time(), 0..100) };
    let mut last = log_of("a", a_time(), 100..150);
    last.counts[0].completed += 7;
    assert_eq!(add(&catalogue, &first).await.duplicates, 0);
    assert_eq!(uncounted(&catalogue, &["a"]).await.len(), 1, "it has not ended");
    // Whoever counted it is gone, and another begins anew.
    assert_eq!(add(&catalogue, &first).await.duplicates, 100);
    assert_eq!(add(&catalogue, &last).await.duplicates, 0);
    assert_eq!(uncounted(&catalogue, &["a"]).await.len(), 0);
    for part in [&first, &last] {
        assert_eq!(catalogue.count_log(part).await.expect("works"), None);
    }
    let found = catalogue.downloads(&product.name, day(1)).await.expect("works");
    assert_eq!(found, [sums([82, 75, 1500, 750])]);
}

pub async fn forgotten_requests_count_again(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let now = a_time();
    add(&catalogue, &log_of("old", now - TimeDelta::hours(30), 0..10)).await;
    add(&catalogue, &log_of("new", now - TimeDelta::hours(2), 10..14)).await;
    let day_ago = now - TimeDelta::hours(24);
    for forgotten in [7, 3, 0] {
        assert_eq!(catalogue.forget_requests(day_ago, 7).await.expect("works"), forgotten);
    }
    assert_eq!(add(&catalogue, &log_of("again", now, 0..14)).await.duplicates, 4);
    // A request that is met again keeps the time of its first log.
    assert_eq!(catalogue.forget_requests(now - TimeDelta::hours(1), 100).await.expect("works"), 4);
    let found = catalogue.downloads(&product.name, day(1)).await.expect("works");
    assert_eq!(found, [sums([12, 12, 240, 120])]);
}
