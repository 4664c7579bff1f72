//! A publisher that goes away in the middle of an upload: nothing of it stays, and the retry succeeds.

use crate::harness::{Backend, Raw, Server, content, eventually, on_both, product_name, stores::Traces};

/// The declared length; half of it is sent.
const SIZE: usize = 20 * 1024 * 1024;

on_both!(a_closed_connection_leaves_nothing, a_reset_connection_leaves_nothing);

async fn a_closed_connection_leaves_nothing(backend: Backend) {
    vanish(backend, drop).await;
}

async fn a_reset_connection_leaves_nothing(backend: Backend) {
    vanish(backend, Raw::reset).await;
}

async fn vanish(backend: Backend, go: impl FnOnce(Raw)) {
    let server = Server::start(&backend).await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    let image = content(SIZE, 3);
    let target = publisher.upload(&product, "1.0.0").channel("stable").target();
    let mut raw = Raw::connect(&publisher.base).await;
    raw.say(&format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: {SIZE}\r\n\r\n",
        publisher.token
    ))
    .await;
    assert!(raw.send(&image[..SIZE / 2]).await, "the server reads");
    eventually("the upload is under way", async || {
        (publisher.metric("firmament_upload_bytes_total").await >= (SIZE / 2) as f64).then_some(())
    })
    .await;
    assert_eq!(server.traces(&product).await.reservations, 1);
    go(raw);

    eventually("nothing stays", async || (server.traces(&product).await == Traces::default()).then_some(()))
        .await;
    eventually("no upload is counted", async || {
        (publisher.metric("firmament_uploads_in_flight").await == 0.0).then_some(())
    })
    .await;
    publisher.upload(&product, "1.0.0").channel("stable").send(image).await.expect(201);
    let clean = Traces::just(&[format!("{product}/1.0.0/app.bin")]);
    assert_eq!(server.traces(&product).await, clean);
}
