//! A resumable upload whose server is killed, as by `kill -9`, at each of its steps: it goes on, or nothing of it stays.

use bytes::Bytes;
use firmament::publishing::crash::UPLOAD_POINTS;
use futures_util::future::join_all;
use http::Method;

use crate::harness::{
    Backend, Server,
    client::{fetch, send, trickle},
    content, eventually, on_both, product_name,
    stores::Traces,
    tus::{Creation, Tus},
};

const MIB: usize = 1024 * 1024;
/// Two whole parts and a short one, as three pieces: the first ends within a part, the second behind one.
const SIZE: usize = 20 * MIB;
const PIECES: [usize; 3] = [3 * MIB, 9 * MIB, SIZE];

on_both!(a_killed_server_costs_no_upload, a_killed_server_leaves_nothing_after_expiry, a_kill_between_parts);

/// An upload whose server was killed at the point, and the server after it.
async fn crashed(
    backend: &Backend,
    point: &str,
    product: &str,
    image: &Bytes,
    lifetime: &str,
) -> (Server, Option<Tus>) {
    let server = Server::builder(backend).crash_at(point).set("PUBLISHER__UPLOAD_LIFETIME", lifetime);
    let server = server.start().await;
    let publisher = server.publisher();
    publisher.create(product).await;
    let home = server.home().clone();
    let tus = match point {
        // Nobody has heard of it.
        "upload-created" => {
            let url = format!("{}/v1/uploads", publisher.base);
            let request = http::Request::post(url)
                .header("authorization", format!("Bearer {}", publisher.token))
                .header("tus-resumable", "1.0.0")
                .header("upload-length", SIZE.to_string())
                .header(
                    "upload-metadata",
                    format!("product {},version MS4wLjA=,filename YXBwLmJpbg==", base64(product)),
                );
            let body = crate::harness::client::whole("");
            assert!(send(request.body(body).expect("valid")).await.is_err());
            None
        }
        _ => {
            let tus =
                Creation::of(&publisher, product, "1.0.0", image).metadata("channel", "stable").begin().await;
            let mut at = 0;
            for end in PIECES {
                let piece = tus.piece(at, &[], crate::harness::client::whole(image.slice(at..end)));
                if send(piece).await.is_err() {
                    break;
                }
                at = end;
            }
            assert!(at < SIZE, "{point}: the server lives");
            Some(tus)
        }
    };
    server.wait_for_crash().await;
    let server = Server::builder(backend).at_home_of(&home).set("PUBLISHER__UPLOAD_LIFETIME", lifetime);
    (server.start().await, tus)
}

fn base64(text: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(text)
}

async fn a_killed_server_costs_no_upload(backend: Backend) {
    for points in UPLOAD_POINTS[1..].chunks(3) {
        join_all(points.iter().map(|point| resume_after(&backend, point))).await;
    }
}

async fn resume_after(backend: &Backend, point: &str) {
    let (product, image) = (product_name(), content(SIZE, 420));
    let (server, tus) = crashed(backend, point, &product, &image, "1h").await;
    let tus = tus.expect("its client knows it").through(&server);
    // The dead server's lock runs out in seconds.
    eventually("it can be gone on with", async || (tus.ask(Method::HEAD).await.status == 200).then_some(()))
        .await;
    let at = tus.offset().await;
    assert!(at >= if point == "upload-part" { 8 * MIB } else { 3 * MIB } && at < SIZE, "{point}: {at}");
    tus.finish(&image, 5 * MIB).await;
    let device = server.device();
    let offer = eventually("the offer", async || device.offer(&product, "0.1.0").await).await;
    assert_eq!(fetch(Method::GET, &offer.url, &[]).await.expect(200).body, image, "{point}");
    let clean = Traces::just(&[format!("{product}/1.0.0/app.bin")]);
    assert_eq!(server.traces(&product).await, clean, "{point}");
    assert_eq!(tus.pieces(&server).await, 0, "{point}");
}

async fn a_killed_server_leaves_nothing_after_expiry(backend: Backend) {
    for points in UPLOAD_POINTS.chunks(3) {
        drop(join_all(points.iter().map(|point| wait_after(&backend, point))).await);
    }
}

/// Returns the server: it may be cleaning for another one of the same stores, and must not be killed meanwhile.
async fn wait_after(backend: &Backend, point: &str) -> Server {
    let (product, image) = (product_name(), content(SIZE, 421));
    let (server, tus) = crashed(backend, point, &product, &image, "4s").await;
    eventually(&format!("nothing stays after {point}"), async || {
        let pieces = match &tus {
            Some(tus) => tus.pieces(&server).await,
            None => 0,
        };
        (server.traces(&product).await == Traces::default() && pieces == 0).then_some(())
    })
    .await;
    assert!(server.device().offer(&product, "0.1.0").await.is_none(), "{point}");
    server
}

/// No place of the program, but any moment while bytes flow.
async fn a_kill_between_parts(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, image) = (server.publisher(), product_name(), content(SIZE, 422));
    publisher.create(&product).await;
    let tus = Creation::of(&publisher, &product, "1.0.0", &image).metadata("channel", "stable").begin().await;
    let (sender, body) = trickle();
    let piece = tokio::spawn(send(tus.piece(0, &[], body)));
    sender.send(image.slice(..11 * MIB)).await.expect("the server reads");
    eventually("it has the bytes", async || {
        (publisher.metric("firmament_upload_bytes_total").await >= (11 * MIB) as f64).then_some(())
    })
    .await;
    let home = server.home().clone();
    server.kill();
    assert!(piece.await.expect("no panic").is_err());
    let server = Server::builder(&backend).at_home_of(&home).start().await;
    let tus = tus.through(&server);
    eventually("it can be gone on with", async || (tus.ask(Method::HEAD).await.status == 200).then_some(()))
        .await;
    tus.finish(&image, 7 * MIB).await;
    let clean = Traces::just(&[format!("{product}/1.0.0/app.bin")]);
    assert_eq!(server.traces(&product).await, clean);
}
