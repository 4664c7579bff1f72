//! S3 alone, on the real gateway: headers, paging, address styles, refusals.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use firmament::{
    bucket::{PART_SIZE, PartBudget, S3Limits, S3Settings},
    error::Kind,
};

use super::store::{Store, content, digests, plain_client, settings};

#[tokio::test(flavor = "multi_thread")]
async fn others_find_the_headers_and_metadata_that_they_read() {
    let store = Store::s3();
    for (filename, size) in [("small.bin", 100), ("large.bin", PART_SIZE + 100)] {
        let (bytes, key) = (content(size), store.key(filename));
        let stored = store.store(filename, &bytes).await.expect("stored");
        let settings = settings();
        let answer = plain_client(&settings).head_object().bucket(settings.name).key(key.as_str()).send();
        let answer = answer.await.expect("there");
        assert_eq!(answer.content_type(), Some("application/octet-stream"));
        assert_eq!(answer.cache_control(), Some("public, max-age=31536000, immutable"));
        assert_eq!(
            answer.content_disposition(),
            Some(format!("attachment; filename=\"{filename}\"").as_str())
        );
        let is_multipart = answer.e_tag().expect("tagged").contains("-2");
        assert_eq!(is_multipart, size > PART_SIZE);

        let metadata = answer.metadata().expect("some");
        let created_at = stored.facts.expect("ours").created_at;
        assert_eq!(
            metadata["mtime"],
            format!("{}.{:06}000", created_at.timestamp(), created_at.timestamp_subsec_micros())
        );
        assert_eq!(metadata["md5chksum"], BASE64.encode(digests(&bytes).md5));
        assert_eq!(metadata["sha256"], hex::encode(digests(&bytes).sha256));
        assert_eq!(metadata["firmament-hardware"], "rev-a,revB");
        assert_eq!((&*metadata["mode"], &*metadata["uid"], &*metadata["gid"]), ("33188", "0", "0"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_go_on_page_by_page() {
    let limits = S3Limits { page: 2, ..S3Limits::default() };
    let store = Store::s3_with(&settings(), limits, &PartBudget::default());
    let mut uploads = Vec::new();
    // More than a page of one key, so that pages end between uploads of a key too, and more than one key.
    for filename in ["a", "a", "a", "a", "a", "b"] {
        let mut upload = store.write(filename, &content(PART_SIZE + 1)).await;
        upload.flush().await.expect("flushed");
        uploads.push(upload);
    }
    assert_eq!(store.unfinished(&store.key("a")).await, 5);
    let all = store.bucket.unfinished_uploads(None).await.expect("listed");
    let ours = all.iter().filter(|upload| upload.key.starts_with(store.product.as_str()));
    assert_eq!(ours.count(), 6);
    for upload in uploads {
        upload.abort().await.expect("aborted");
    }

    for filename in ["a", "b", "c"] {
        store.store(filename, b"bytes").await.expect("stored");
    }
    let page = store.bucket.list(Some(&format!("{}/", store.product))).await.expect("listed");
    assert_eq!(page.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_in_the_host_name_work() {
    let path_style = settings();
    let (_, port) = path_style.endpoint.rsplit_once(':').expect("the test gateway has a port");
    let endpoint = format!("http://s3.localhost:{port}");
    let virtual_host = S3Settings { endpoint, path_style: false, ..path_style };
    let store = Store::s3_with(&virtual_host, S3Limits::default(), &PartBudget::default());
    store.bucket.probe().await.expect("good");
    let bytes = content(PART_SIZE + 1);
    store.store("a.bin", &bytes).await.expect("stored");
    assert!(store.read(&store.key("a.bin")).await == bytes, "other bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_object_has_no_facts() {
    let store = Store::s3();
    let (settings, key) = (settings(), store.key("a.bin"));
    let put = plain_client(&settings).put_object().bucket(settings.name).key(key.as_str());
    put.body(Bytes::from_static(b"bytes").into()).send().await.expect("put");
    let object = store.bucket.head(key.as_str()).await.expect("asked").expect("there");
    assert_eq!((object.size, object.facts, object.sha256), (5, None, None));
}

/// A process that stood still sends its small object after the next holder of the key has stored another.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_object_that_comes_late_replaces_nothing() {
    let store = Store::s3();
    let late = store.write("a.bin", b"late").await;
    let stored = store.store("a.bin", b"in time").await.expect("stored");
    late.finish(4, &digests(b"late"), &|| Ok(())).await.expect_err("the key is taken");
    let key = store.key("a.bin");
    assert_eq!(store.bucket.head(key.as_str()).await.expect("asked"), Some(stored));
    assert!(store.read(&key).await == b"in time", "other bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn part_buffers_are_bounded_and_come_back() {
    let budget = PartBudget::default();
    let all = budget.available();
    let store = Store::s3_with(&settings(), S3Limits::default(), &budget);
    let bytes = content(PART_SIZE * 4);
    // More buffers are wanted at once than there are: who waits must get one in the end.
    let uploads = (0..8).map(|number| {
        let (store, bytes) = (&store, &bytes);
        async move { store.store(&format!("{number}.bin"), bytes).await.expect("stored") }
    });
    let stored = futures_util::future::join_all(uploads).await;
    assert!(stored.iter().all(|object| object.etag == stored[0].etag));
    drop(store.write("dropped.bin", &bytes).await);
    store.becomes_clean(&store.key("dropped.bin")).await;
    for _ in 0..100 {
        if budget.available() == all {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{} of {all} buffers came back", budget.available());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_says_what_is_wrong() {
    let good = settings();
    let refused = [
        (S3Settings { name: "no-such-bucket".into(), ..good.clone() }, "has no bucket \"no-such-bucket\""),
        (S3Settings { access_key_id: "WRONG".into(), ..good.clone() }, "does not know the access key id"),
        (
            S3Settings { secret_access_key: "wrong".to_owned().into(), ..good.clone() },
            "check the bucket's secret access key",
        ),
    ];
    for (settings, expected) in refused {
        let store = Store::s3_with(&settings, S3Limits::default(), &PartBudget::default());
        let error = store.bucket.probe().await.expect_err(expected);
        assert!(error.message().contains(expected), "{}", error.message());
        assert_eq!((error.kind(), error.code()), (Kind::Internal, "bucket-misconfigured"));

        // The other requests tell their callers less, and the log all.
        let error = store.store("a.bin", b"bytes").await.expect_err(expected);
        assert_eq!((error.kind(), error.code()), (Kind::Internal, "bucket-misconfigured"));
        assert!(!error.message().contains(&settings.name) && error.cause().contains("status 40"));
    }
}
