//! The gate: what was promoted is offered once the CDN serves it as it should, and not before.

use http::Method;

use super::edge_akamai::{TOKEN_KEY, behind, release};
use crate::harness::{Backend, Edge, Server, client::fetch, content, eventually, product_name};

/// A property that asks for no token: the gate says so, and nothing is offered until it does.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_cdn_serves_wrongly_is_not_offered() {
    let backend = Backend::production().await;
    let open = Edge::before(backend.stores()).set("CACHE_CONTROL", "max-age=60").start().await;
    let port = open.url().rsplit_once(':').expect("a port").1.to_owned();
    let server = behind(&open, &backend).set("CDN__VERIFY_BEFORE_OFFER", "whole").start().await;
    let (product, publisher, device) = (product_name(), server.publisher(), server.device());
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").send(content(300_000, 952)).await.expect(201);
    let promoted = publisher.promote(&product, "1.0.0", "stable").await.expect(200).json();
    assert_eq!(promoted["offers"], serde_json::json!([]));
    assert_eq!(promoted["pending"][0]["version"], "1.0.0", "{promoted}");
    let again = publisher.promote(&product, "1.0.0", "stable").await.expect(200).json();
    assert_eq!(again["pending"][0]["since"], promoted["pending"][0]["since"], "asking again changes nothing");
    let why = async |word: &str| {
        eventually(word, async || {
            let release = release(&server, &product, "1.0.0").await;
            let pending = &release["images"][0]["pending"][0];
            pending["last_error"].as_str().filter(|why| why.contains(word)).map(ToOwned::to_owned)
        })
        .await
    };
    assert!(why("Cache-Control").await.contains("max-age=60"));
    let check = format!("product={product}&version=0.1.0");
    device.check(&check).await.expect(204);
    assert!(publisher.metric("firmament_gate_failures_total").await >= 1.0);
    assert_eq!(publisher.metric("firmament_pending_promotions").await, 1.0);
    let listed = server.command(&["releases", "--product", &product]).await.expect(0);
    assert!(
        listed.stdout.contains("stable (pending)") && listed.stderr.contains("Cache-Control"),
        "{listed:?}"
    );

    // The next mistake: the token is not asked for.
    drop(open);
    let open = Edge::before(backend.stores()).set("PORT", &port).start().await;
    assert!(why("without a token").await.contains("206"), "a range is enough to tell");
    device.check(&check).await.expect(204);
    // A lower version would be overridden as soon as the waiting one is offered.
    publisher.upload(&product, "0.9.0").send(content(300_000, 953)).await.expect(201);
    assert_eq!(publisher.promote(&product, "0.9.0", "stable").await.reasons(422), ["version-not-newer"]);

    drop(open);
    let _edge = Edge::before(backend.stores()).set("PORT", &port).set("TOKEN_KEY", TOKEN_KEY).start().await;
    let offer = eventually("the offer", async || device.offer(&product, "0.1.0").await).await;
    assert_eq!(offer.version, "1.0.0");
    assert!(release(&server, &product, "1.0.0").await["images"][0]["pending"].is_null());
    let audit = publisher.get(&format!("/v1/products/{product}/audit")).await.expect(200).json();
    assert_eq!(audit["entries"][0]["action"], "channel.offer", "{audit}");
}

/// What was recalled while it waited is never offered.
#[tokio::test(flavor = "multi_thread")]
async fn a_recall_ends_the_waiting() {
    let backend = Backend::production().await;
    // Port 9 answers nobody.
    let server = Server::builder(&backend)
        .set("CDN__BASE_URL", "http://127.0.0.1:9")
        .set("CDN__VERIFY_BEFORE_OFFER", "whole")
        .start()
        .await;
    let (product, publisher) = (product_name(), server.publisher());
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 954)).await.expect(201);
    eventually("an attempt", async || {
        let release = release(&server, &product, "1.0.0").await;
        release["images"][0]["pending"][0]["last_error"]
            .as_str()
            .map(|why| assert!(why.contains("answer"), "{why}"))
    })
    .await;
    let recalled = publisher.recall(&product, "1.0.0").await.expect(200).json();
    assert!(recalled["images"][0]["pending"].is_null(), "{recalled}");
    server.device().check(&format!("product={product}&version=0.1.0")).await.expect(204);
}

/// The gate looks at what it is given, be it this server's own listener; and switched off, it holds nothing back.
#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_default_has_a_gate_too() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    let listen = format!("127.0.0.1:{port}");
    let lost = Server::builder(&Backend::Embedded)
        .set("CDN__BASE_URL", "http://127.0.0.1:9")
        .set("CDN__VERIFY_BEFORE_OFFER", "whole")
        .start()
        .await;
    let (publisher, home) = (lost.publisher(), lost.home().clone());
    publisher.create("p").await;
    publisher.upload("p", "1.0.0").channel("stable").send(content(1000, 980)).await.expect(201);
    let file = home.path().join("a.bin");
    std::fs::write(&file, content(1000, 981)).expect("writable");
    let path = file.display().to_string();
    let told = lost
        .command(&["publish", &path, "--product", "p", "--version", "1.1.0", "--channel", "stable"])
        .await;
    let told = told.expect(0);
    assert!(told.stdout.contains("stable offers nothing yet\npending: 1.0.0 (app.bin)"), "{}", told.stdout);
    assert!(told.stdout.contains("pending: 1.1.0 (a.bin)"), "{}", told.stdout);
    assert!(lost.device().offer("p", "0.1.0").await.is_none());
    lost.terminate().await;

    let off = Server::builder(&Backend::Embedded).at_home_of(&home).start().await;
    let offer = eventually("what waited", async || {
        off.device().offer("p", "0.1.0").await.filter(|offer| offer.version == "1.1.0")
    })
    .await;
    fetch(Method::GET, &offer.url, &[]).await.expect(200);
    off.terminate().await;

    let own = Server::builder(&Backend::Embedded)
        .at_home_of(&home)
        .set("DEVICE__LISTEN", &listen)
        .set("CDN__BASE_URL", &format!("http://{listen}/v1/download"))
        .set("CDN__VERIFY_BEFORE_OFFER", "sample")
        .set("CDN__SAMPLE_ABOVE", "64KiB")
        .set("CDN__PREWARM", "true")
        .start()
        .await;
    let image = content(3_000_000, 982);
    let before = own.publisher().metric("firmament_download_bytes_total").await;
    own.publisher().upload("p", "2.0.0").channel("stable").send(image.clone()).await.expect(201);
    let offer = eventually("the gate", async || {
        own.device().offer("p", "0.1.0").await.filter(|offer| offer.version == "2.0.0")
    })
    .await;
    let fetched = own.publisher().metric("firmament_download_bytes_total").await - before;
    assert!(fetched > 3_000_000.0, "{fetched}: eight ranges, and all of it to warm the edge");
    assert_eq!(fetch(Method::GET, &offer.url, &[]).await.expect(200).body, image);
}
