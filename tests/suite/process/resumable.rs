//! Resumable uploads by tus 1.0.

use bytes::Bytes;
use http::{Method, Request};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::harness::{
    Backend, Server,
    client::{fetch, send, trickle, whole},
    content, eventually, on_both, product_name,
    stores::Traces,
    tus::{Creation, Tus, offset},
};

const MIB: usize = 1024 * 1024;

on_both!(
    pieces_of_any_size_become_an_image,
    an_image_of_one_piece_comes_with_its_creation,
    a_size_may_be_said_late,
    a_damaged_piece_is_not_kept,
    an_ended_upload_leaves_nothing,
    what_is_refused_at_once_is_refused_at_creation,
    what_is_refused_at_the_end_leaves_nothing,
    the_same_image_finds_its_upload,
    an_unfinished_upload_is_in_the_way_of_other_bytes,
    one_of_two_writers_is_told_to_wait,
    an_upload_that_nobody_continues_leaves_nothing,
    an_upload_whose_bytes_are_gone_ends,
    the_protocol_is_kept,
);

/// The image that all devices are offered.
async fn offered(server: &Server, product: &str) -> Bytes {
    let device = server.device();
    let offer = eventually("the offer", async || device.offer(product, "0.1.0").await).await;
    let got = fetch(Method::GET, &offer.url, &[]).await.expect(200);
    assert_eq!(hex::encode(Sha256::digest(&got.body)), offer.sha256);
    got.body
}

fn stored(product: &str) -> Traces {
    Traces::just(&[format!("{product}/1.0.0/app.bin")])
}

async fn pieces_of_any_size_become_an_image(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(20 * MIB + 17, 400));
    publisher.create(&product).await;
    let creation = Creation::of(&publisher, &product, "1.0.0", &image);
    let creation = creation.metadata("channel", "stable").metadata("hardware", "").metadata("notes", "é");
    let answer = creation.send("").await.expect(201);
    assert!(answer.header("upload-expires").ends_with("GMT"), "{:?}", answer.headers);
    let tus = Tus::at(&publisher, &answer);
    let mut at = 0;
    // Below a part, over its edge, to its edge, nothing at all, and the rest.
    for piece in [3 * MIB, 6 * MIB, 7 * MIB, 0, 1] {
        let answer = tus.patch(at, image.slice(at..at + piece)).await.expect(204);
        at += piece;
        assert_eq!(offset(&answer), at);
        assert_eq!(tus.offset().await, at);
        assert!(tus.pieces(&server).await <= 1);
    }
    assert_eq!(server.traces(&product).await.images, 0);
    assert!(server.device().offer(&product, "0.1.0").await.is_none());
    let answer = tus.patch(at, image.slice(at..)).await.expect(204);
    assert_eq!(offset(&answer), image.len());
    assert_eq!(answer.header("location"), format!("/v1/products/{product}/releases/1.0.0"));

    assert_eq!(offered(&server, &product).await, image);
    assert_eq!(server.traces(&product).await, stored(&product));
    assert_eq!(tus.pieces(&server).await, 0);
    let head = tus.ask(Method::HEAD).await.expect(200);
    assert_eq!(
        (offset(&head), head.header("upload-length")),
        (image.len(), image.len().to_string().as_str())
    );
    // A client that did not hear of the end asks once more.
    tus.patch(image.len(), "").await.expect(204);
    tus.patch(0, image.slice(..10)).await.problem(409);
    tus.ask(Method::DELETE).await.problem(409);
    let view = publisher.get(&format!("/v1/uploads/{}", tus.id)).await.expect(200).json();
    assert_eq!(
        (&view["state"], &view["image"]["sha1"]),
        (&"published".into(), &hex::encode(Sha1::digest(&image)).into())
    );
    let audit = publisher.get(&format!("/v1/products/{product}/audit")).await.expect(200).json();
    assert_eq!(audit["entries"][0]["action"], "image.publish");
    // The very same image in one request is there already.
    publisher.upload(&product, "1.0.0").channel("stable").send(image).await.expect(200);
}

async fn an_image_of_one_piece_comes_with_its_creation(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(100_000, 401));
    publisher.create(&product).await;
    let creation = || Creation::of(&publisher, &product, "1.0.0", &image).metadata("channel", "stable");
    let creation = creation().header("content-type", "application/offset+octet-stream");
    let answer = creation.send(image.clone()).await.expect(201);
    assert_eq!(offset(&answer), image.len());
    assert_eq!(offered(&server, &product).await, image);
    // The image is found again, and so is its upload.
    let again = Creation::of(&publisher, &product, "1.0.0", &image).send("").await.expect(201);
    assert_eq!((again.header("location"), offset(&again)), (answer.header("location"), image.len()));
    let unknown = Creation::of(&publisher, &product, "1.0.0", &image).metadata("sha256", "").send("").await;
    assert!(unknown.problem(409).detail.contains("sha256"));
    assert_eq!(server.traces(&product).await, stored(&product));
}

async fn a_size_may_be_said_late(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(9 * MIB, 402));
    publisher.create(&product).await;
    let creation = Creation::of(&publisher, &product, "1.0.0", &image).metadata("channel", "stable");
    let tus = creation.header("upload-length", "").header("upload-defer-length", "1").begin().await;
    tus.patch(0, image.clone()).await.expect(204);
    let head = tus.ask(Method::HEAD).await.expect(200);
    assert_eq!((offset(&head), head.header("upload-defer-length")), (image.len(), "1"));
    let size = image.len().to_string();
    let less = tus.piece(image.len(), &[("upload-length", "5")], whole(""));
    send(less).await.expect("an answer").problem(400);
    let last = tus.piece(image.len(), &[("upload-length", &size)], whole(""));
    assert_eq!(offset(&send(last).await.expect("an answer").expect(204)), image.len());
    assert_eq!(offered(&server, &product).await, image);
}

async fn a_damaged_piece_is_not_kept(backend: Backend) {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(20 * MIB, 403));
    publisher.create(&product).await;
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).metadata("channel", "stable").begin().await;
    let sums: [fn(&[u8]) -> String; 3] = [
        |bytes| format!("sha1 {}", BASE64_STANDARD.encode(Sha1::digest(bytes))),
        |bytes| format!("sha256 {}", BASE64_STANDARD.encode(Sha256::digest(bytes))),
        |bytes| format!("md5 {}", BASE64_STANDARD.encode(md5::Md5::digest(bytes))),
    ];
    let ends = [2 * MIB, 19 * MIB, 20 * MIB];
    for (sum, end) in sums.into_iter().zip(ends) {
        let at = tus.offset().await;
        let piece = image.slice(at..end);
        let sum = sum(&piece);
        let mut damaged = piece.to_vec();
        damaged[0] ^= 1;
        let answer = send(tus.piece(at, &[("upload-checksum", &sum)], whole(damaged))).await;
        answer.expect("an answer").problem(460);
        assert_eq!(tus.offset().await, at);
        let answer = send(tus.piece(at, &[("upload-checksum", &sum)], whole(piece))).await;
        assert_eq!(offset(&answer.expect("an answer").expect(204)), end);
    }
    let answer = send(tus.piece(0, &[("upload-checksum", "crc32 AAAA")], whole("x"))).await;
    answer.expect("an answer").problem(400);
    assert_eq!(offered(&server, &product).await, image);
    assert_eq!(server.traces(&product).await, stored(&product));
}

async fn an_ended_upload_leaves_nothing(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(20 * MIB, 404));
    publisher.create(&product).await;
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).begin().await;
    tus.patch(0, image.slice(..11 * MIB)).await.expect(204);
    let traces = server.traces(&product).await;
    assert_eq!((traces.reservations, traces.unfinished), (1, 1));
    tus.ask(Method::DELETE).await.expect(204);
    assert_eq!(server.traces(&product).await, Traces::default());
    assert_eq!(tus.pieces(&server).await, 0);
    assert_eq!(tus.ask(Method::HEAD).await.status, 404);
    tus.patch(11 * MIB, "x").await.problem(404);
    tus.ask(Method::DELETE).await.problem(404);
    publisher.upload(&product, "1.0.0").send(image).await.expect(201);
}

async fn what_is_refused_at_once_is_refused_at_creation(backend: Backend) {
    let server = Server::builder(&backend).set("PUBLISHER__MAX_IMAGE_BYTES", "1000").start().await;
    let (publisher, product) = (server.publisher(), product_name());
    let of = |size: usize, seed| content(size, seed);
    Creation::of(&publisher, &product, "1.0.0", &of(10, 0)).send("").await.problem(404);
    publisher.create(&product).await;
    publisher.upload(&product, "2.0.0").channel("stable").send(of(10, 1)).await.expect(201);
    let refused = async |version: &str, bytes: Bytes, channel: &str| {
        let creation = Creation::of(&publisher, &product, version, &bytes).metadata("channel", channel);
        creation.send("").await
    };
    assert_eq!(refused("1.0.0", of(10, 2), "stable").await.reasons(422), ["version-not-newer"]);
    assert_eq!(refused("3.0.0", of(10, 1), "").await.reasons(422), ["same-bytes"]);
    assert_eq!(refused("3.0.0+1", of(10, 3), "").await.reasons(422), ["version-build-metadata"]);
    assert_eq!(refused("3.0.0", of(1001, 4), "").await.reasons(413), ["image-too-large"]);
    assert_eq!(refused("3.0.0", of(0, 5), "").await.reasons(422), ["image-empty"]);
    refused("2.0.0", of(10, 6), "").await.problem(409);
    assert_eq!(server.traces(&product).await.reservations, 0);
}

async fn what_is_refused_at_the_end_leaves_nothing(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(9 * MIB, 405));
    publisher.create(&product).await;
    let other = hex::encode(Sha256::digest(b"other"));
    let creation = Creation::of(&publisher, &product, "1.0.0", &image).metadata("sha256", &other);
    let tus = creation.begin().await;
    tus.patch(0, image.slice(..9_000_000)).await.expect(204);
    assert_eq!(tus.patch(9_000_000, image.slice(9_000_000..)).await.reasons(422), ["digest-mismatch"]);
    assert_eq!(server.traces(&product).await, Traces::default());
    assert_eq!(tus.pieces(&server).await, 0);
    assert_eq!(tus.ask(Method::HEAD).await.status, 404);
    // The channel has moved on while the bytes were on their way.
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).metadata("channel", "stable").begin().await;
    tus.patch(0, image.slice(..9_000_000)).await.expect(204);
    publisher.upload(&product, "1.1.0").channel("stable").send(content(1000, 406)).await.expect(201);
    assert_eq!(tus.patch(9_000_000, image.slice(9_000_000..)).await.reasons(422), ["version-not-newer"]);
    let clean = Traces::just(&[format!("{product}/1.1.0/app.bin")]);
    assert_eq!(server.traces(&product).await, clean);
}

async fn the_same_image_finds_its_upload(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(9 * MIB, 407));
    publisher.create(&product).await;
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).begin().await;
    tus.patch(0, image.slice(..5000)).await.expect(204);
    let again = Creation::of(&publisher, &product, "1.0.0", &image).metadata("channel", "stable");
    let again = again.send("").await.expect(201);
    assert_eq!((Tus::at(&publisher, &again).id, offset(&again)), (tus.id.clone(), 5000));
    tus.finish(&image, 4 * MIB).await;
    // What was said last counts.
    assert_eq!(offered(&server, &product).await, image);
}

async fn an_unfinished_upload_is_in_the_way_of_other_bytes(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(1000, 408));
    publisher.create(&product).await;
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).begin().await;
    let other = content(1000, 409);
    // Nobody has sent a byte: it may be one whose creation was never answered.
    let instead = Creation::of(&publisher, &product, "1.0.0", &other).begin().await;
    assert_ne!(instead.id, tus.id);
    assert_eq!(tus.ask(Method::HEAD).await.status, 404);
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).begin().await;
    tus.patch(0, image.slice(..10)).await.expect(204);
    let problem = Creation::of(&publisher, &product, "1.0.0", &other).send("").await.problem(409);
    assert!(problem.kind.ends_with(":upload-unfinished") && problem.detail.contains(&tus.id), "{problem:?}");
    let problem = publisher.upload(&product, "1.0.0").send(other.clone()).await.problem(409);
    assert!(problem.kind.ends_with(":upload-unfinished"), "{problem:?}");
    tus.ask(Method::DELETE).await.expect(204);
    publisher.upload(&product, "1.0.0").send(other).await.expect(201);
}

async fn one_of_two_writers_is_told_to_wait(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(3 * MIB, 410));
    publisher.create(&product).await;
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).begin().await;
    let (sender, body) = trickle();
    let first = tokio::spawn(send(tus.piece(0, &[], body)));
    sender.send(image.slice(..MIB)).await.expect("the server reads");
    eventually("the first writes", async || {
        (publisher.metric("firmament_upload_bytes_total").await >= MIB as f64).then_some(())
    })
    .await;
    let second = tokio::spawn({
        let (tus, image) = (tus.clone(), image.clone());
        async move { tus.patch(0, image).await }
    });
    // The first goes on all the while.
    let mut at = MIB;
    while !second.is_finished() {
        sender.send(image.slice(at..at + 1000)).await.expect("the server reads");
        at += 1000;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    let told = second.await.expect("no panic");
    told.problem(423);
    assert!(!told.header("retry-after").is_empty());
    drop(sender);
    let answer = first.await.expect("no panic").expect("an answer").expect(204);
    assert_eq!(offset(&answer), at);
    tus.finish(&image, MIB).await;
}

async fn an_upload_that_nobody_continues_leaves_nothing(backend: Backend) {
    let server = Server::builder(&backend).set("PUBLISHER__UPLOAD_LIFETIME", "3s").start().await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(20 * MIB, 411));
    publisher.create(&product).await;
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).begin().await;
    tus.patch(0, image.slice(..11 * MIB)).await.expect(204);
    eventually("nothing stays", async || {
        let nothing = server.traces(&product).await == Traces::default() && tus.pieces(&server).await == 0;
        nothing.then_some(())
    })
    .await;
    assert_eq!(tus.ask(Method::HEAD).await.status, 404);
}

async fn an_upload_whose_bytes_are_gone_ends(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(20 * MIB, 413));
    publisher.create(&product).await;
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).begin().await;
    tus.patch(0, image.slice(..9 * MIB)).await.expect(204);
    // As a rule of the bucket would, that aborts what is unfinished for days.
    let (bucket, key) = (server.bucket().await, format!("{product}/1.0.0/app.bin"));
    for upload in bucket.unfinished_uploads(Some(&key)).await.expect("listed") {
        bucket.abort_upload(&upload).await.expect("aborted");
    }
    let problem = tus.patch(9 * MIB, image.slice(9 * MIB..)).await.problem(404);
    assert!(problem.kind.ends_with(":upload-lost"), "{problem:?}");
    assert_eq!(tus.ask(Method::HEAD).await.status, 404);
    let again = Creation::of(&publisher, &product, "1.0.0", &image).begin().await;
    again.finish(&image, 10 * MIB).await;
    assert_eq!(server.traces(&product).await, stored(&product));
}

async fn the_protocol_is_kept(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(1000, 412));
    publisher.create(&product).await;
    let url = format!("{}/v1/uploads", publisher.base);
    let options = publisher.request(Method::OPTIONS, "/v1/uploads", None).await.expect(204);
    assert_eq!(options.header("tus-version"), "1.0.0");
    for extension in ["creation", "creation-with-upload", "expiration", "checksum", "termination"] {
        assert!(options.header("tus-extension").split(',').any(|known| known == extension), "{extension}");
    }
    assert_eq!(options.header("tus-checksum-algorithm"), "sha1,sha256,md5");
    let creation = || Creation::of(&publisher, &product, "1.0.0", &image);
    creation().header("upload-defer-length", "1").send("").await.problem(400);
    creation().metadata("chanel", "stable").send("").await.problem(400);
    let tus = creation().begin().await;
    let without = Request::head(format!("{url}/{}", tus.id))
        .header("authorization", format!("Bearer {}", publisher.token));
    let answer = send(without.body(whole("")).expect("valid")).await.expect("an answer");
    assert_eq!((answer.status, answer.header("tus-version")), (412, "1.0.0"));
    fetch(Method::GET, &format!("{url}/{}", tus.id), &[]).await.problem(401);
    let wrong =
        tus.request(Method::PATCH, &[("upload-offset", "0"), ("content-type", "text/plain")], whole("x"));
    send(wrong).await.expect("an answer").problem(415);
    let problem = tus.patch(5, "x").await.problem(409);
    assert!(problem.detail.contains("go on from 0"), "{problem:?}");
    tus.patch(0, content(1001, 1)).await.problem(413);
    let head = tus.ask(Method::HEAD).await.expect(200);
    assert_eq!((head.header("tus-resumable"), head.header("cache-control")), ("1.0.0", "no-store"));
    assert!(head.header("upload-metadata").contains("filename "), "{:?}", head.headers);
    let overridden = [
        ("upload-offset", "0"),
        ("content-type", "application/offset+octet-stream"),
        ("x-http-method-override", "PATCH"),
    ];
    let overridden = tus.request(Method::POST, &overridden, whole(image.clone()));
    assert_eq!(offset(&send(overridden).await.expect("an answer").expect(204)), 1000);
    assert_eq!(server.traces(&product).await, stored(&product));
}
