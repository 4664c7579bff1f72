//! The gate's troubles: each fault of an edge, an edge that drips, and what changes while a promotion waits.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::edge_akamai::{TOKEN_KEY, release};
use crate::harness::{
    Backend, Server, content, eventually,
    faulty::{Fault, FaultyEdge},
    server::Builder,
};

fn behind(edge: &FaultyEdge) -> Builder {
    Server::builder(&Backend::Embedded)
        .set("CDN__BASE_URL", &edge.url())
        .set("CDN__TOKEN__KIND", "akamai")
        .set("CDN__TOKEN__KEY", TOKEN_KEY)
        .set("CDN__VERIFY_BEFORE_OFFER", "whole")
}

/// Publishes to `stable` what the edge serves so.
async fn publish(
    server: &Server,
    edge: &FaultyEdge,
    (product, version): (&str, &str),
    fault: Fault,
) -> Bytes {
    let seed = version
        .bytes()
        .chain(product.bytes())
        .fold(960, |seed, byte| seed * 31 % 1_000_003 + u64::from(byte));
    let image = content(300_000, seed);
    edge.serve(product, version, &image, fault);
    server.publisher().upload(product, version).channel("stable").send(image.clone()).await.expect(201);
    image
}

/// The last error of a release's first promotion that waits, once it has this word in it.
async fn waits_because(server: &Server, (product, version): (&str, &str), word: &str) -> String {
    eventually(word, async || {
        let release = release(server, product, version).await;
        let why = release["images"][0]["pending"][0]["last_error"].as_str().map(ToOwned::to_owned);
        why.filter(|why| why.contains(word))
    })
    .await
}

async fn offered(server: &Server, product: &str, version: &str) {
    eventually(version, async || {
        server.device().offer(product, "0.1.0").await.filter(|offer| offer.version == version)
    })
    .await;
}

async fn promote(server: &Server, product: &str, body: Value) -> crate::harness::Answer {
    let path = format!("/v1/products/{product}/channels/stable");
    server.publisher().request(Method::PUT, &path, Some(&body.to_string())).await
}

async fn recall(server: &Server, product: &str, version: &str) {
    server.publisher().recall(product, version).await.expect(200);
}

/// The newest audit entry of a product with this action, of this version.
async fn audited(server: &Server, product: &str, action: &str, version: &str) -> Value {
    let what = format!("{action} of {version}");
    eventually(&what, async || {
        let path = format!("/v1/products/{product}/audit?limit=100");
        let audit = server.publisher().get(&path).await.expect(200).json();
        let entries = audit["entries"].as_array().expect("a list").clone();
        entries.into_iter().find(|entry| entry["action"] == action && entry["version"] == version)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_told_and_nothing_is_offered_until_it_is_mended() {
    let edge = FaultyEdge::start().await;
    let server = behind(&edge).start().await;
    let faults = [
        (Fault::Missing, "with 404"),
        (Fault::Uncacheable, "Cache-Control"),
        (Fault::Varies, "vary: User-Agent"),
        (Fault::WeakTag, "W/"),
        (Fault::WrongByte(299_999), "SHA-256"),
        (Fault::WrongByteOfRange(100_000), "are not those of the bucket"),
        (Fault::Open, "without a token"),
    ];
    let named: Vec<_> = faults.into_iter().enumerate().map(|(at, fault)| (format!("p{at}"), fault)).collect();
    let mut images = Vec::new();
    for (product, (fault, _)) in &named {
        server.publisher().create(product).await;
        images.push(publish(&server, &edge, (product, "1.0.0"), *fault).await);
    }
    for (product, (_, word)) in &named {
        waits_because(&server, (product, "1.0.0"), word).await;
        assert!(server.device().offer(product, "0.1.0").await.is_none(), "{word}");
    }
    // One fault after another: the last one is shown.
    edge.serve("p0", "1.0.0", &images[0], Fault::Varies);
    waits_because(&server, ("p0", "1.0.0"), "vary").await;
    for ((product, _), image) in named.iter().zip(&images) {
        edge.serve(product, "1.0.0", image, Fault::None);
    }
    for (product, _) in &named {
        offered(&server, product, "1.0.0").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_byte_in_the_middle_of_a_large_image_is_found_by_a_sample() {
    let edge = FaultyEdge::start().await;
    let server = behind(&edge)
        .set("CDN__VERIFY_BEFORE_OFFER", "sample")
        .set("CDN__SAMPLE_ABOVE", "64KiB")
        .start()
        .await;
    for (product, at) in [("beginning", 0), ("middle", 1_500_000), ("end", 2_999_999)] {
        let image = content(3_000_000, 990);
        edge.serve(product, "1.0.0", &image, Fault::WrongByteOfRange(at));
        server.publisher().create(product).await;
        server.publisher().upload(product, "1.0.0").channel("stable").send(image).await.expect(201);
        waits_because(&server, (product, "1.0.0"), "are not those of the bucket").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_drips_is_given_up_and_holds_up_nobody_else() {
    let edge = FaultyEdge::start().await;
    let server = behind(&edge).set("CDN__VERIFY_WITHIN", "2s").start().await;
    for product in ["drips", "flows"] {
        server.publisher().create(product).await;
    }
    let image = publish(&server, &edge, ("drips", "1.0.0"), Fault::Drips).await;
    publish(&server, &edge, ("flows", "1.0.0"), Fault::None).await;
    offered(&server, "flows", "1.0.0").await;
    let why = waits_because(&server, ("drips", "1.0.0"), "cdn.verify_within").await;
    assert!(why.contains("within 2s"), "{why}");
    assert!(server.device().offer("drips", "0.1.0").await.is_none());
    edge.serve("drips", "1.0.0", &image, Fault::None);
    offered(&server, "drips", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_higher_of_two_that_wait_stays_whichever_comes_first() {
    let edge = FaultyEdge::start().await;
    let server = behind(&edge).start().await;
    server.publisher().create("p").await;
    let low = publish(&server, &edge, ("p", "1.0.0"), Fault::Missing).await;
    publish(&server, &edge, ("p", "1.1.0"), Fault::None).await;
    offered(&server, "p", "1.1.0").await;
    edge.serve("p", "1.0.0", &low, Fault::None);
    let entry = audited(&server, "p", "channel.offer", "1.0.0").await;
    assert_eq!(entry["details"]["beneath"], json!(["1.1.0"]), "{entry}");
    offered(&server, "p", "1.1.0").await;
    recall(&server, "p", "1.1.0").await;
    offered(&server, "p", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_wait_for_a_floor_do_not_keep_it_from_being_tried() {
    let edge = FaultyEdge::start().await;
    let server = behind(&edge).start().await;
    server.publisher().create("p").await;
    let floor = content(300_000, 961);
    edge.serve("p", "2.0.0", &floor, Fault::Missing);
    let upload = server.publisher().upload("p", "2.0.0").channel("stable").query("floor", "true");
    upload.send(floor.clone()).await.expect(201);
    waits_because(&server, ("p", "2.0.0"), "404").await;
    // More than are tried at once.
    for minor in 1..=5 {
        publish(&server, &edge, ("p", &format!("2.{minor}.0")), Fault::None).await;
    }
    for minor in 1..=5 {
        waits_because(&server, ("p", &format!("2.{minor}.0")), "2.0.0").await;
    }
    edge.serve("p", "2.0.0", &floor, Fault::None);
    offered(&server, "p", "2.0.0").await;
    eventually("the newest, behind the floor", async || {
        server.device().offer("p", "2.0.0").await.filter(|offer| offer.version == "2.5.0")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downgrade_that_waits_withdraws_what_was_seen_and_nothing_since() {
    let edge = FaultyEdge::start().await;
    let server = behind(&edge).start().await;
    server.publisher().create("p").await;
    let low = publish(&server, &edge, ("p", "1.0.0"), Fault::Missing).await;
    waits_because(&server, ("p", "1.0.0"), "404").await;
    publish(&server, &edge, ("p", "2.0.0"), Fault::None).await;
    offered(&server, "p", "2.0.0").await;
    // It waits already, for less.
    let refused = promote(&server, "p", json!({"version": "1.0.0"})).await;
    assert_eq!(refused.reasons(422), ["version-not-newer"]);
    let first = release(&server, "p", "1.0.0").await["images"][0]["pending"][0].clone();
    let body = json!({"version": "1.0.0", "allow_downgrade": true, "reason": "2.0.0 drains batteries"});
    let renewed = promote(&server, "p", body.clone()).await.expect(200).json();
    assert_eq!(renewed["pending"][0]["withdraws"], json!(["2.0.0"]), "{renewed}");
    assert_ne!(renewed["pending"][0]["since"], first["since"], "it is asked for anew");
    let again = promote(&server, "p", body).await.expect(200).json();
    assert_eq!(again["pending"][0]["since"], renewed["pending"][0]["since"], "asking again changes nothing");
    let entry = audited(&server, "p", "channel.promote", "1.0.0").await;
    assert_eq!(entry["details"]["renewed"], true, "{entry}");

    publish(&server, &edge, ("p", "3.0.0"), Fault::None).await;
    offered(&server, "p", "3.0.0").await;
    // A publish that is sent again is answered as one that succeeded, and widens nothing.
    for consent in ["false", "true"] {
        let upload = server.publisher().upload("p", "1.0.0").channel("stable");
        let upload = upload.query("allow_downgrade", consent).query("reason", "sent again");
        upload.send(low.clone()).await.expect(200);
        let waits = release(&server, "p", "1.0.0").await["images"][0]["pending"][0].clone();
        assert_eq!(waits["withdraws"], json!(["2.0.0"]), "{waits}");
    }
    edge.serve("p", "1.0.0", &low, Fault::None);
    let entry = audited(&server, "p", "channel.offer", "1.0.0").await;
    assert_eq!(entry["details"]["beneath"], json!(["3.0.0"]), "{entry}");
    assert_eq!(entry["details"]["withdrawn"].as_array().map(Vec::len), Some(1), "{entry}");
    offered(&server, "p", "3.0.0").await;
    recall(&server, "p", "3.0.0").await;
    offered(&server, "p", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promoting_again_what_a_downgrade_would_withdraw_ends_its_waiting() {
    let edge = FaultyEdge::start().await;
    let server = behind(&edge).start().await;
    server.publisher().create("p").await;
    publish(&server, &edge, ("p", "2.0.0"), Fault::None).await;
    offered(&server, "p", "2.0.0").await;
    let low = content(1000, 991);
    server.publisher().upload("p", "1.0.0").send(low.clone()).await.expect(201);
    let body = json!({"version": "1.0.0", "allow_downgrade": true, "reason": "2.0.0 drains batteries"});
    let asked = promote(&server, "p", body).await.expect(200).json();
    assert_eq!(asked["pending"][0]["withdraws"], json!(["2.0.0"]), "{asked}");
    let told = server
        .command(&["promote", "--version", "2.0.0", "--product", "p", "--channel", "stable"])
        .await
        .expect(0);
    assert!(!told.stdout.contains("pending"), "{}", told.stdout);
    let entry = audited(&server, "p", "channel.promote", "2.0.0").await;
    assert_eq!(entry["details"]["ended"], json!(["1.0.0"]), "{entry}");
    edge.serve("p", "1.0.0", &low, Fault::None);
    assert!(release(&server, "p", "1.0.0").await["images"][0]["pending"].is_null());
    offered(&server, "p", "2.0.0").await;
}

/// The product's devices take shorter links than when it was promoted.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_refuse_by_now_is_not_offered_and_says_why() {
    let edge = FaultyEdge::start().await;
    let server = behind(&edge).start().await;
    let (publisher, product) = (server.publisher(), "/v1/products/p");
    publisher.create("p").await;
    let image = publish(&server, &edge, ("p", "1.0.0"), Fault::Missing).await;
    waits_because(&server, ("p", "1.0.0"), "404").await;
    let short = json!({"delivery": {"url": {"max_length": 60}}}).to_string();
    let told = publisher.request(Method::PUT, product, Some(&short)).await.expect(200).json();
    assert_eq!(told["warnings"][0]["code"], "url-too-long", "also of what waits: {told}");
    edge.serve("p", "1.0.0", &image, Fault::None);
    let entry = audited(&server, "p", "channel.refuse", "1.0.0").await;
    assert_eq!(entry["details"]["reasons"][0]["code"], "url-too-long", "{entry}");
    assert_eq!((&entry["actor"], &entry["channel"]), (&json!("gate"), &json!("stable")), "{entry}");
    let shown = release(&server, "p", "1.0.0").await["images"][0].clone();
    assert!(shown["pending"].is_null(), "{shown}");
    let refused = &shown["refused"][0];
    assert!(
        refused["channel"] == "stable"
            && refused["why"].as_str().is_some_and(|why| why.contains("60 at most")),
        "{shown}"
    );
    let listed = server.command(&["releases", "--product", "p"]).await.expect(0);
    assert!(listed.stderr.contains("1.0.0 was not offered on stable: the link to"), "{listed:?}");
    assert_eq!(publisher.metric("firmament_gate_refusals_total").await, 1.0);
    assert!(server.device().offer("p", "0.1.0").await.is_none());

    assert_eq!(publisher.promote("p", "1.0.0", "stable").await.reasons(422), ["url-too-long"]);
    publisher.request(Method::PUT, product, Some("{}")).await.expect(200);
    publisher.promote("p", "1.0.0", "stable").await.expect(200);
    offered(&server, "p", "1.0.0").await;
    assert!(release(&server, "p", "1.0.0").await["images"][0]["refused"].is_null());
}
