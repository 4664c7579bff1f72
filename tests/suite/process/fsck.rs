//! What differs between catalogue and bucket is found, by kind.

use firmament::{
    bucket::ObjectKey,
    domain::{FileName, ProductName, Version},
};

use super::disaster::{bucket_of, operate, told};
use crate::harness::{Backend, Server, content, product_name};

/// Puts an object under a key as somebody does who knows nothing of us.
async fn put_by_hand(backend: &Backend, key: &str, bytes: &[u8]) {
    let s3 = backend.stores().s3();
    let mut curl = tokio::process::Command::new("curl");
    let user =
        format!("{}:{}", s3.access_key_id, secrecy::ExposeSecret::expose_secret(&s3.secret_access_key));
    // From a file: what curl reads from a pipe it sends in chunks, which no S3 store takes.
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("object");
    std::fs::write(&file, bytes).expect("written");
    curl.args(["--silent", "--show-error", "--fail", "--user", &user, "--upload-file"]).arg(&file);
    curl.args(["--aws-sigv4", &format!("aws:amz:{}:s3", s3.region)]);
    curl.args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
    let put = curl.arg(format!("{}/{}/{key}", s3.endpoint, s3.name)).status().await;
    assert!(put.expect("curl can be run").success(), "curl put {key}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsck_finds_every_kind_of_difference() {
    let backend = Backend::with_own_bucket().await;
    let product = product_name();
    let server = Server::start(&backend).await;
    let publisher = server.publisher();
    publisher.create(&product).await;
    for minor in 0..6 {
        publisher.upload(&product, &format!("1.{minor}.0")).send(content(4000, minor)).await.expect(201);
    }
    told(&backend, &server, &[product.clone(), product.clone()]).await;
    let bucket = bucket_of(&backend, &server).await;
    let home = server.home().clone();
    let key = |minor: u32| format!("{product}/1.{minor}.0/app.bin");
    server.terminate().await;
    bucket.delete(&key(0)).await.expect("removed");
    put_by_hand(&backend, &key(1), b"short").await;
    put_by_hand(&backend, &key(2), &content(4000, 99)).await;
    put_by_hand(&backend, &format!("{product}/9.9.9/stranger.bin"), b"?").await;
    put_by_hand(&backend, "notes.txt", b"?").await;
    let names = bucket.manifests().await.expect("lists");
    for name in &names {
        bucket.remove_manifest(name).await.expect("removed");
    }
    // An upload that somebody began and left.
    let parsed = ObjectKey::image(
        &ProductName::parse(&product).expect("valid"),
        &Version::parse("7.0.0").expect("valid"),
        &FileName::parse("app.bin").expect("valid"),
    );
    let facts = firmament::bucket::ObjectFacts {
        product: ProductName::parse(&product).expect("valid"),
        version: Version::parse("7.0.0").expect("valid"),
        filename: FileName::parse("app.bin").expect("valid"),
        hardware: Default::default(),
        created_at: chrono::Utc::now(),
    };
    bucket.begin_direct(&parsed, &facts).await.expect("begun");
    let found = operate(&backend, home.path(), &["fsck", "--json"]).await.expect(1).json();
    let all: Vec<(String, String)> = found["differences"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|each| {
            (
                each["kind"].as_str().expect("a text").to_owned(),
                each["what"].as_str().expect("a text").to_owned(),
            )
        })
        .collect();
    let has = |kind: &str, what: &str| all.contains(&(kind.to_owned(), what.to_owned()));
    assert!(has("row-without-object", &key(0)), "{all:?}");
    assert!(has("size", &key(1)) && has("etag", &key(1)) && has("metadata", &key(1)), "{all:?}");
    assert!(has("metadata", &key(2)) && has("etag", &key(2)), "{all:?}");
    assert!(has("object-without-row", &format!("{product}/9.9.9/stranger.bin")), "{all:?}");
    assert!(has("object-without-row", "notes.txt"), "{all:?}");
    assert!(has("manifest-missing", &product) && has("unfinished-upload", parsed.as_str()), "{all:?}");
    assert!(!all.iter().any(|(_, what)| *what == key(3) || *what == key(4) || *what == key(5)), "{all:?}");
    let text = operate(&backend, home.path(), &["fsck", "--repair"]).await.expect(1);
    assert!(text.stdout.contains("1 repaired"), "{}", text.stdout);
    assert_eq!(bucket.manifests().await.expect("lists").len(), 1);
}
