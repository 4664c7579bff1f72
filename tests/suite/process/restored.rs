//! The database comes back from a backup that is older than the bucket: objects without a row may be the last copies
//! of images that were acknowledged, and stay.

use firmament::{
    bucket::{ObjectFacts, ObjectKey},
    domain::{Digests, FileName, ProductName, Version},
};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::harness::{
    Backend, Raw, Server, content, eventually, on_both, product_name,
    stores::Traces,
    tus::{Creation, offset},
};

on_both!(
    a_resumable_upload_of_it_takes_it_as_it_is,
    an_object_without_a_row_stays,
    an_interrupted_publish_of_its_key_does_not_remove_it
);

/// Puts an object into the bucket that no row names.
async fn store(backend: &Backend, server: &Server, product: &str, bytes: &bytes::Bytes) -> String {
    let (version, filename) = ("1.0.0", "app.bin");
    let product = ProductName::parse(product).expect("valid");
    let version = Version::parse(version).expect("valid");
    let filename = FileName::parse(filename).expect("valid");
    let key = ObjectKey::image(&product, &version, &filename);
    let created_at = chrono::Utc::now();
    let facts = ObjectFacts { product, version, filename, hardware: Default::default(), created_at };
    let bucket = backend.bucket(&server.data_dir()).await;
    let mut upload = bucket.begin(&key, &facts).await.expect("begun");
    upload.write(bytes.clone()).await.expect("written");
    let digests = Digests {
        sha256: Sha256::digest(bytes).into(),
        sha1: Sha1::digest(bytes).into(),
        md5: Md5::digest(bytes).into(),
    };
    upload.finish(bytes.len() as u64, &digests, &|| Ok(())).await.expect("stored");
    key.as_str().to_owned()
}

async fn an_object_without_a_row_stays(backend: Backend) {
    let server = Server::start(&backend).await;
    let (product, image) = (product_name(), content(100_000, 95));
    server.publisher().create(&product).await;
    let key = store(&backend, &server, &product, &image).await;
    let home = server.home().clone();
    server.terminate().await;
    let again = Server::builder(&backend).at_home_of(&home).start().await;
    eventually("it is counted", async || {
        (again.publisher().metric("firmament_rowless_objects").await >= 1.0).then_some(())
    })
    .await;
    assert_eq!(again.traces(&product).await.objects, std::slice::from_ref(&key));
    // Other bytes never replace it, not even of the same size.
    again.publisher().upload(&product, "1.0.0").send(content(100_000, 97)).await.expect(409);
    again.publisher().upload(&product, "1.0.0").send(content(99_999, 95)).await.expect(409);
    assert_eq!(again.traces(&product).await.objects, std::slice::from_ref(&key));
    // It is published again, and has its row again.
    again.publisher().upload(&product, "1.0.0").send(image).await.expect(201);
    assert_eq!(again.traces(&product).await, Traces::just(&[key]));
}

async fn a_resumable_upload_of_it_takes_it_as_it_is(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(9_000_000, 98));
    publisher.create(&product).await;
    let key = store(&backend, &server, &product, &image).await;
    let other = content(9_000_000, 99);
    let taken = Creation::of(&publisher, &product, "1.0.0", &other).send("").await.problem(409);
    assert!(taken.kind.ends_with(":key-taken"), "{taken:?}");
    assert_eq!(server.traces(&product).await.reservations, 0);
    // Nothing of it need be sent.
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).metadata("channel", "stable").begin().await;
    tus.ask(http::Method::DELETE).await.expect(204);
    assert_eq!(server.traces(&product).await.objects, std::slice::from_ref(&key));
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).metadata("channel", "stable").begin().await;
    assert_eq!(offset(&tus.patch(0, image.slice(..1)).await.expect(204)), image.len());
    assert_eq!(server.traces(&product).await, Traces::just(&[key]));
}

async fn an_interrupted_publish_of_its_key_does_not_remove_it(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(20_000_000, 96));
    publisher.create(&product).await;
    let key = store(&backend, &server, &product, &image).await;
    let target = publisher.upload(&product, "1.0.0").target();
    let mut raw = Raw::connect(&publisher.base).await;
    raw.say(&format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        publisher.token,
        image.len()
    ))
    .await;
    assert!(raw.send(&image[..10_000_000]).await, "the server reads");
    eventually("the upload is under way", async || {
        (publisher.metric("firmament_upload_bytes_total").await >= 10_000_000.0).then_some(())
    })
    .await;
    drop(raw);
    eventually("the upload is given up", async || {
        let traces = server.traces(&product).await;
        (traces.reservations == 0 && traces.unfinished == 0).then_some(())
    })
    .await;
    assert_eq!(server.traces(&product).await.objects, [key]);
}
