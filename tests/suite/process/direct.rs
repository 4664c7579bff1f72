//! Direct uploads: parts straight to the bucket.

use bytes::Bytes;
use firmament::api::DirectView;
use http::{Method, Request};
use sha2::{Digest as _, Sha256};

use crate::harness::{
    Answer, Backend, Publisher, Server,
    client::{fetch, send, whole},
    content, eventually, product_name,
    stores::Traces,
};

const MIB: usize = 1024 * 1024;

async fn begin(publisher: &Publisher, product: &str, image: &[u8]) -> Answer {
    let (size, sha256) = (image.len(), hex::encode(Sha256::digest(image)));
    let query = format!("filename=app.bin&channel=stable&size={size}&sha256={sha256}");
    let path = format!("/v1/products/{product}/releases/1.0.0/images/direct?{query}");
    publisher.request(Method::POST, &path, None).await
}

async fn put(url: &str, bytes: Bytes) -> Answer {
    send(Request::put(url).body(whole(bytes)).expect("a valid request")).await.expect("an answer")
}

async fn complete(publisher: &Publisher, view: &DirectView) -> Answer {
    publisher.request(Method::POST, &format!("/v1/uploads/{}/complete", view.id), None).await
}

fn part(image: &Bytes, view: &DirectView, index: usize) -> Bytes {
    let part = &view.missing[index];
    let begin = (part.number as usize - 1) * view.part_size as usize;
    image.slice(begin..begin + part.size as usize)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_go_to_the_bucket_and_become_an_image() {
    let backend = Backend::production().await;
    let (server, other) = tokio::join!(Server::start(&backend), Server::start(&backend));
    let (publisher, product, image) = (server.publisher(), product_name(), content(20 * MIB + 5, 440));
    publisher.create(&product).await;
    let view: DirectView = begin(&publisher, &product, &image).await.expect(201).read();
    assert_eq!((view.parts, view.missing.len()), (3, 3));
    // A URL takes one part of its length, and nothing else.
    assert!(put(&view.missing[0].url, image.slice(..10)).await.status >= 400);
    assert!(
        put(&view.missing[0].url.replace("partNumber=1", "partNumber=2"), part(&image, &view, 0))
            .await
            .status
            >= 400
    );
    for index in [2, 0] {
        put(&view.missing[index].url, part(&image, &view, index)).await.expect(200);
    }
    let problem = complete(&publisher, &view).await.problem(409);
    assert!(problem.kind.ends_with(":parts-missing"), "{problem:?}");
    // The same request again, at another replica: what is missing.
    let again: DirectView = begin(&other.publisher(), &product, &image).await.expect(201).read();
    assert_eq!((again.id, again.missing.len(), again.missing[0].number), (view.id, 1, 2));
    put(&again.missing[0].url, part(&image, &again, 0)).await.expect(200);
    let stored = complete(&other.publisher(), &again).await.expect(201).json();
    assert_eq!(stored["sha256"], hex::encode(Sha256::digest(&image)));
    assert_eq!(complete(&publisher, &view).await.expect(200).json()["key"], stored["key"]);
    let there: DirectView = begin(&publisher, &product, &image).await.expect(200).read();
    assert!(there.image.is_some() && there.missing.is_empty());
    let device = server.device();
    let offer = eventually("the offer", async || device.offer(&product, "0.1.0").await).await;
    assert_eq!(fetch(Method::GET, &offer.url, &[]).await.expect(200).body, image);
    let clean = Traces::just(&[format!("{product}/1.0.0/app.bin")]);
    assert_eq!(server.traces(&product).await, clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_client_sent_is_not_believed() {
    let backend = Backend::production().await;
    let server = Server::builder(&backend).set("PUBLISHER__UPLOAD_LIFETIME", "8s").start().await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(9 * MIB, 441));
    publisher.create(&product).await;
    let view: DirectView = begin(&publisher, &product, &image).await.expect(201).read();
    let other = content(9 * MIB, 442);
    for index in 0..2 {
        put(&view.missing[index].url, part(&other, &view, index)).await.expect(200);
    }
    assert_eq!(complete(&publisher, &view).await.reasons(422), ["digest-mismatch"]);
    assert_eq!(server.traces(&product).await, Traces::default());
    complete(&publisher, &view).await.problem(404);
    // One that nobody goes on with leaves nothing either.
    let view: DirectView = begin(&publisher, &product, &image).await.expect(201).read();
    put(&view.missing[0].url, part(&image, &view, 0)).await.expect(200);
    assert_eq!(server.traces(&product).await.unfinished, 1);
    eventually("nothing stays", async || (server.traces(&product).await == Traces::default()).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_takes_no_parts() {
    let server = Server::start(&Backend::Embedded).await;
    server.publisher().create("p").await;
    let problem = begin(&server.publisher(), "p", b"image").await.problem(409);
    assert!(problem.kind.ends_with(":direct-without-s3"), "{problem:?}");
    let product = "p".to_owned();
    assert_eq!(server.traces(&product).await.reservations, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_sends_parts_side_by_side() {
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(41 * MIB, 443));
    publisher.create(&product).await;
    std::fs::write(server.home().path().join("app.bin"), &image).expect("writable");
    // Another run got so far before it was killed.
    let view: DirectView = begin(&publisher, &product, &image).await.expect(201).read();
    put(&view.missing[3].url, part(&image, &view, 3)).await.expect(200);
    let arguments = [
        "publish",
        "app.bin",
        "--product",
        &product,
        "--version",
        "1.0.0",
        "--channel",
        "stable",
        "--direct",
    ];
    let outcome = server.command(&arguments).await.expect(0);
    assert!(outcome.stdout.contains("stored ") && outcome.stderr.contains("going on after"), "{outcome:?}");
    let device = server.device();
    let offer = eventually("the offer", async || device.offer(&product, "0.1.0").await).await;
    assert_eq!(fetch(Method::GET, &offer.url, &[]).await.expect(200).body, image);
    assert_eq!(publisher.metric("firmament_upload_bytes_total").await, 0.0);
    let again = server.command(&arguments).await.expect(0);
    assert!(again.stdout.contains("is stored already"), "{again:?}");
}
