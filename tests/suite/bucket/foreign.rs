//! Objects that others write into a bucket.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use chrono::{TimeDelta, Utc};
use firmament::{
    bucket::{PartBudget, S3Bucket, S3Limits},
    error::Kind,
};

use super::store::{plain_client, settings};

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_others_are_listed_in_pages_and_read_whole() {
    let settings = settings();
    let limits = S3Limits { page: 2, attempt: Duration::from_secs(20), ..S3Limits::default() };
    let bucket = S3Bucket::new(&settings, limits, &PartBudget::default()).expect("valid settings");
    let folder = format!(".firmament/logs/{}", uuid::Uuid::now_v7().simple());
    let client = plain_client(&settings);
    for name in ["a/1", "a/2", "a/3", "b", "c"] {
        let put = client.put_object().bucket(&settings.name).key(format!("{folder}/{name}"));
        put.body(ByteStream::from(name.as_bytes().to_vec())).send().await.expect("stored");
    }
    // A neighbour that only begins alike.
    let neighbour = client.put_object().bucket(&settings.name).key(format!("{folder}x"));
    neighbour.body(ByteStream::from_static(b"x")).send().await.expect("stored");

    let prefix = format!("{folder}/");
    let (mut found, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let page = bucket.list_below(&prefix, after.as_deref()).await.expect("listed");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        pages += 1;
        after = Some(last.key.clone());
        found.extend(page);
    }
    let names: Vec<&str> = found.iter().filter_map(|object| object.key.strip_prefix(&prefix)).collect();
    assert_eq!((names, pages), (vec!["a/1", "a/2", "a/3", "b", "c"], 3));
    assert!(found.iter().all(|object| (Utc::now() - object.modified_at).abs() < TimeDelta::minutes(10)));
    assert_eq!((found[0].size, found[3].size), (3, 1));

    let read = bucket.read_whole(&found[0].key, 3).await.expect("read").expect("there");
    assert_eq!(read.as_ref(), b"a/1");
    let too_large = bucket.read_whole(&found[0].key, 2).await.expect_err("larger than allowed");
    assert_eq!(too_large.kind(), Kind::Internal);
    assert_eq!(bucket.read_whole(&format!("{prefix}gone"), 3).await.expect("asked"), None);
}
