//! What a bucket of either kind promises.

use bytes::Bytes;
use firmament::{
    bucket::{PART_SIZE, UnfinishedUpload},
    error::Kind,
};

use super::store::{Store, content, digests};

/// Stores `size` bytes and looks at the object from all sides.
async fn round_trip(store: &Store, size: usize) {
    let (bytes, key) = (content(size), store.key("Thermo_X.bin"));
    let mut upload = store.bucket.begin(&key, &store.facts("Thermo_X.bin")).await.expect("begun");
    for piece in bytes.chunks(300_007) {
        upload.write(Bytes::copy_from_slice(piece)).await.expect("written");
    }
    upload.flush().await.expect("flushed");
    assert_eq!(store.bucket.head(key.as_str()).await.expect("asked"), None, "visible before finish");

    let stored = upload.finish(size as u64, &digests(&bytes), &|| Ok(())).await.expect("finished");
    assert_eq!(stored.size, size as u64);
    assert_eq!(stored.sha256, Some(digests(&bytes).sha256));
    assert!(!stored.etag.is_empty() && !stored.etag.contains('"'), "{}", stored.etag);
    let (facts, expected) = (stored.facts.clone().expect("ours"), store.facts("Thermo_X.bin"));
    assert_eq!((facts.product, facts.version), (expected.product, expected.version));
    assert_eq!((facts.filename, facts.hardware), (expected.filename, expected.hardware));
    assert!(facts.created_at <= expected.created_at);
    assert_eq!(store.bucket.head(key.as_str()).await.expect("asked"), Some(stored));
    assert_eq!(store.unfinished(&key).await, 0);
    assert!(store.read(&key).await == bytes, "other bytes");
}

pub(super) async fn an_empty_object(store: &Store) {
    round_trip(store, 0).await;
}

pub(super) async fn a_small_object(store: &Store) {
    round_trip(store, 70_000).await;
}

pub(super) async fn exactly_one_part(store: &Store) {
    round_trip(store, PART_SIZE).await;
}

pub(super) async fn one_part_and_a_byte(store: &Store) {
    round_trip(store, PART_SIZE + 1).await;
}

pub(super) async fn three_and_a_half_parts(store: &Store) {
    round_trip(store, PART_SIZE * 7 / 2).await;
}

pub(super) async fn abort_leaves_nothing(store: &Store) {
    let key = store.key("a.bin");
    for size in [0, 1, PART_SIZE + 1, PART_SIZE * 3] {
        let upload = store.write("a.bin", &content(size)).await;
        upload.abort().await.expect("aborted");
        assert_eq!(store.unfinished(&key).await, 0, "{size}");
        assert_eq!(store.bucket.head(key.as_str()).await.expect("asked"), None, "{size}");
    }
}

pub(super) async fn drop_leaves_nothing(store: &Store) {
    let key = store.key("a.bin");
    // With parts on their way, after a flush, and while the upload is only just asked for.
    drop(store.write("a.bin", &content(PART_SIZE * 2 + 1)).await);
    let mut flushed = store.write("a.bin", &content(PART_SIZE * 2 + 1)).await;
    flushed.flush().await.expect("flushed");
    drop(flushed);
    let mut asked = store.bucket.begin(&key, &store.facts("a.bin")).await.expect("begun");
    let write = asked.write(Bytes::from(content(PART_SIZE + 1)));
    let _ = tokio::time::timeout(std::time::Duration::from_micros(1), write).await;
    drop(asked);
    // What was asked for last may not be listed yet.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    store.becomes_clean(&key).await;
    assert_eq!(store.bucket.head(key.as_str()).await.expect("asked"), None);
}

pub(super) async fn the_last_of_two_uploads_on_one_key_stays(store: &Store) {
    let key = store.key("a.bin");
    let (first, second) = (content(PART_SIZE + 1), vec![7; PART_SIZE + 9]);
    let (one, two) = (store.write("a.bin", &first).await, store.write("a.bin", &second).await);
    let one = one.finish(first.len() as u64, &digests(&first), &|| Ok(())).await.expect("finished");
    assert_eq!(one.sha256, Some(digests(&first).sha256));
    let two = two.finish(second.len() as u64, &digests(&second), &|| Ok(())).await.expect("finished");
    assert_eq!(store.bucket.head(key.as_str()).await.expect("asked"), Some(two));
    assert!(store.read(&key).await == second, "other bytes");
}

pub(super) async fn unfinished_uploads_are_found_and_aborted(store: &Store) {
    let begun = chrono::Utc::now();
    let (key, longer) = (store.key("a.bin"), store.key("a.bin2"));
    let mut one = store.write("a.bin", &content(PART_SIZE + 1)).await;
    let mut other = store.write("a.bin2", &content(PART_SIZE + 1)).await;
    one.flush().await.expect("flushed");
    other.flush().await.expect("flushed");

    let found = store.bucket.unfinished_uploads(Some(key.as_str())).await.expect("listed");
    let [upload] = &found[..] else { panic!("{found:?}") };
    assert_eq!(upload.key, key.as_str());
    assert!((upload.started_at - begun).num_seconds().abs() < 60, "{upload:?}");
    let all = store.bucket.unfinished_uploads(None).await.expect("listed");
    assert!([&key, &longer].iter().all(|key| all.iter().any(|upload| upload.key == key.as_str())));

    store.bucket.abort_upload(upload).await.expect("aborted");
    store.bucket.abort_upload(upload).await.expect("absent is fine");
    assert_eq!((store.unfinished(&key).await, store.unfinished(&longer).await), (0, 1));
    let size = PART_SIZE + 1;
    let error = one.finish(size as u64, &digests(&content(size)), &|| Ok(())).await.expect_err("was aborted");
    // Ceph takes it for a Complete that goes on elsewhere, and answers 500.
    assert!(error.is_ours(), "{}", error.cause());
    assert_eq!(store.bucket.head(key.as_str()).await.expect("asked"), None);
    other.abort().await.expect("aborted");

    let strange = UnfinishedUpload { key: "../../etc".into(), upload_id: "passwd".into(), ..upload.clone() };
    store.bucket.abort_upload(&strange).await.expect("absent is fine");
}

pub(super) async fn a_size_that_differs_is_refused_and_leaves_nothing(store: &Store) {
    for size in [10, PART_SIZE + 10] {
        let (bytes, key) = (content(size), store.key("a.bin"));
        let upload = store.write("a.bin", &bytes).await;
        let error =
            upload.finish(size as u64 - 1, &digests(&bytes), &|| Ok(())).await.expect_err("a byte too much");
        assert_eq!(error.kind(), Kind::Internal);
        store.becomes_clean(&key).await;
        assert_eq!(store.bucket.head(key.as_str()).await.expect("asked"), None);
    }
}

pub(super) async fn listing_is_ordered_and_goes_on_after_a_key(store: &Store) {
    let names = ["A.bin", "a", "a-b", "a.b", "a_b", "b"];
    for name in names.iter().rev() {
        store.store(name, name.as_bytes()).await.expect("stored");
    }
    let keys: Vec<String> = names.iter().map(|name| store.key(name).to_string()).collect();
    let mut after = format!("{}/", store.product);
    for key in &keys {
        let page = store.bucket.list(Some(&after)).await.expect("listed");
        let next = page.first().expect("one more");
        assert_eq!(next.key, *key);
        assert_eq!(next.size, (key.len() - key.rfind('/').expect("has one") - 1) as u64);
        after = next.key.clone();
    }
    store.bucket.delete(&keys[0]).await.expect("deleted");
    let page = store.bucket.list(Some(&format!("{}/", store.product))).await.expect("listed");
    assert_eq!(page[0].key, keys[1]);
}

pub(super) async fn what_is_absent_is_none_and_can_be_deleted(store: &Store) {
    let object = store.key("a.bin");
    for key in [object.as_str(), "", "a", "../../etc/passwd", "a/../b", "a/1.0.0/.."] {
        if store.is_s3() && key.is_empty() {
            continue;
        }
        assert_eq!(store.bucket.head(key).await.expect(key), None, "{key}");
        store.bucket.delete(key).await.expect(key);
    }
    store.store("a.bin", b"bytes").await.expect("stored");
    store.bucket.delete(object.as_str()).await.expect("deleted");
    assert_eq!(store.bucket.head(object.as_str()).await.expect("asked"), None);
}

pub(super) async fn probing_a_good_bucket(store: &Store) {
    store.bucket.probe().await.expect("good");
}
