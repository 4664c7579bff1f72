//! A publish that is killed, as by `kill -9`, at each of its steps: what is left is put right, by the retry or without.

use firmament::publishing::crash::POINTS;
use futures_util::future::join_all;
use sha2::{Digest as _, Sha256};

use crate::harness::{
    Backend, Server, client, content, eventually, on_both, product_name,
    stores::{DATABASE_PASSWORD, Traces},
};

/// More than two parts of a multipart upload.
const SIZE: usize = 20 * 1024 * 1024;
/// From here on, the image is the world's.
const COMMITTED: [&str; 2] = ["committed", "answered"];

on_both!(a_crash_is_mended_by_the_retry, a_crash_is_mended_without_a_retry);

async fn a_crash_is_mended_by_the_retry(backend: Backend) {
    // Four at a time: each has a server of its own, which hashes and stores 20 MiB twice.
    for points in POINTS.chunks(4) {
        join_all(points.iter().map(|point| retry_after(&backend, point))).await;
    }
}

async fn a_crash_is_mended_without_a_retry(backend: Backend) {
    for points in POINTS.chunks(4) {
        join_all(points.iter().map(|point| wait_after(&backend, point))).await;
    }
}

/// A server of this backend whose upload has crashed at the point; returns its home.
async fn crashed(backend: &Backend, point: &str, product: &str, image: &bytes::Bytes) -> Server {
    let server = Server::builder(backend).crash_at(point).start().await;
    let publisher = server.publisher();
    publisher.create(product).await;
    let upload = publisher.upload(product, "1.0.0").channel("stable");
    let answer = client::send(upload.request(client::whole(image.clone()))).await;
    assert!(answer.is_err(), "{point}: the server answered {answer:?}");
    let home = server.home().clone();
    server.wait_for_crash().await;
    Server::builder(backend).at_home_of(&home).start().await
}

async fn retry_after(backend: &Backend, point: &str) {
    let (product, image) = (product_name(), content(SIZE, 1));
    let server = crashed(backend, point, &product, &image).await;
    let upload = server.publisher().upload(&product, "1.0.0").channel("stable");
    let answer = upload.send(image.clone()).await;
    let expected = if COMMITTED.contains(&point) { 200 } else { 201 };
    assert_eq!(answer.status, expected, "{point}: {:?}", answer.body);

    let device = server.device();
    let offer = eventually("the offer", async || device.offer(&product, "0.1.0").await).await;
    let got = client::fetch(http::Method::GET, &offer.url, &[]).await.expect(200);
    assert_eq!(hex::encode(Sha256::digest(&got.body)), offer.sha256, "{point}");
    assert_eq!(got.body, image, "{point}");
    let clean = Traces::just(&[format!("{product}/1.0.0/app.bin")]);
    eventually(&format!("one object after {point}"), async || {
        (server.traces(&product).await == clean).then_some(())
    })
    .await;
}

async fn wait_after(backend: &Backend, point: &str) {
    let (product, image) = (product_name(), content(SIZE, 2));
    let server = crashed(backend, point, &product, &image).await;
    let clean = match COMMITTED.contains(&point) {
        true => Traces::just(&[format!("{product}/1.0.0/app.bin")]),
        false => Traces::default(),
    };
    eventually(&format!("nothing half done after {point}"), async || {
        (server.traces(&product).await == clean).then_some(())
    })
    .await;
    let offered = server.device().offer(&product, "0.1.0").await.is_some();
    assert_eq!(offered, COMMITTED.contains(&point), "{point}");
}

/// Not a crash, but the same stores: the harness really puts a password where the log could show it.
#[tokio::test(flavor = "multi_thread")]
async fn the_harness_hides_a_password_in_the_settings() {
    let backend = Backend::production().await;
    assert!(backend.stores().database_url().contains(DATABASE_PASSWORD));
}
