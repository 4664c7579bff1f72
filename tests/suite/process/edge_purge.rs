//! What is taken back leaves nothing at the edge that it could give out: not while the service is away, not of a product
//! that is private now.

use http::Method;
use serde_json::Value;

use super::edge_akamai::purging;
use crate::harness::{
    Answer, Backend, Edge, Publisher, Server, client::fetch, content, eventually, product_name,
};

/// An edge before the bucket and before the device listener of a server, which purges it.
async fn both(backend: &Backend) -> (Edge, Server) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let service = format!("127.0.0.1:{}", free.expect("a port").port());
    let edge = Edge::before(backend.stores()).set("SERVICE", &format!("http://{service}")).start().await;
    let server = purging(&edge, backend)
        .set("DEVICE__LISTEN", &service)
        .set("DEVICE__CACHE_LIFETIME", "1h")
        .set("CDN__PURGE__CHECKS", "tag")
        .start()
        .await;
    (edge, server)
}

/// How many purges had this action and named this object.
fn purged(edge: &Edge, action: &str, object: &str) -> usize {
    let names =
        |purge: &Value| purge["objects"].as_array().is_some_and(|all| all.iter().any(|one| one == object));
    edge.purges().iter().filter(|purge| purge["action"] == action && names(purge)).count()
}

/// A check through the edge.
async fn check(edge: &Edge, product: &str) -> Answer {
    fetch(Method::GET, &format!("{}/v1/check?product={product}&version=0.1.0", edge.url()), &[]).await
}

async fn publish(edge: &Edge, publisher: &Publisher, product: &str, version: &str, seed: u64) {
    let tag = format!("c-{product}");
    let before = purged(edge, "invalidate", &tag);
    publisher.upload(product, version).channel("stable").send(content(1000, seed)).await.expect(201);
    eventually("the purge of the publish", async || {
        (purged(edge, "invalidate", &tag) > before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_taken_back_is_not_given_out_while_the_service_is_away() {
    let backend = Backend::production().await;
    let (edge, server) = both(&backend).await;
    let (recalled, noted, publisher) = (product_name(), product_name(), server.publisher());
    for (product, seed) in [(&recalled, 980), (&noted, 981)] {
        publisher.create(product).await;
        publish(&edge, &publisher, product, "1.0.0", seed).await;
        eventually("the answer at the edge", async || {
            (check(&edge, product).await.status == 200).then_some(())
        })
        .await;
    }
    let (deleted, invalidated) = (format!("c-{recalled}"), format!("c-{noted}"));
    publisher.recall(&recalled, "1.0.0").await.expect(200);
    let path = format!("/v1/products/{noted}/releases/1.0.0/notes");
    let before = purged(&edge, "invalidate", &invalidated);
    publisher.request(Method::PUT, &path, Some(r#"{"notes":"quieter"}"#)).await.expect(200);
    eventually("both purges", async || {
        let both =
            purged(&edge, "delete", &deleted) > 0 && purged(&edge, "invalidate", &invalidated) > before;
        both.then_some(())
    })
    .await;
    // It is told with the recall.
    let recall = eventually("the CDN's word", async || {
        let release = super::edge_akamai::release(&server, &recalled, "1.0.0").await;
        let purges = release["purges"].as_array().cloned().unwrap_or_default();
        purges.into_iter().find(|purge| purge["object"] == deleted && purge["purge_id"].is_string())
    })
    .await;
    assert_eq!((&recall["action"], &recall["kind"]), (&"delete".into(), &"tag".into()), "{recall}");
    server.terminate().await;
    assert_eq!(check(&edge, &noted).await.expect(200).json()["version"], "1.0.0", "stale is good enough");
    assert_eq!(check(&edge, &recalled).await.status, 502, "nothing is better than a recalled release");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_becomes_private_leaves_nothing_at_the_edge() {
    let backend = Backend::production().await;
    let (edge, server) = both(&backend).await;
    let (product, publisher) = (product_name(), server.publisher());
    let set = async |access: &str| {
        let settings = format!(r#"{{"delivery":{{"access":"{access}"}}}}"#);
        let path = format!("/v1/products/{product}");
        publisher.request(Method::PUT, &path, Some(&settings)).await
    };
    set("public").await.expect(201);
    let mut urls = Vec::new();
    for (version, seed) in [("1.0.0", 982), ("1.1.0", 983)] {
        publish(&edge, &publisher, &product, version, seed).await;
        let offer = eventually("the offer", async || {
            server.device().offer(&product, "0.1.0").await.filter(|offer| offer.version == version)
        })
        .await;
        assert!(!offer.url.contains('?'), "public: {}", offer.url);
        fetch(Method::GET, &offer.url, &[]).await.expect(200);
        urls.push(offer.url);
    }
    assert!(check(&edge, &product).await.expect(200).header("cache-control").starts_with("public"));
    let kept = edge.origin_requests().len();
    for url in &urls {
        fetch(Method::GET, url, &[]).await.expect(200);
    }
    check(&edge, &product).await.expect(200);
    assert_eq!(edge.origin_requests().len(), kept, "the edge has all of it");

    set("private").await.expect(200);
    eventually("the purges", async || {
        let images = urls.iter().all(|url| purged(&edge, "delete", url) == 1);
        (images && purged(&edge, "delete", &format!("c-{product}")) == 1).then_some(())
    })
    .await;
    let answer = check(&edge, &product).await.expect(200);
    assert_eq!(answer.header("cache-control"), "private, no-store");
    let link = answer.json()["url"].as_str().expect("a link").to_owned();
    let (plain, _) = link.split_once('?').expect("a token");
    assert_eq!(plain, urls[1]);
    let before = edge.origin_requests().len();
    fetch(Method::GET, &link, &[]).await.expect(200);
    assert_eq!(edge.origin_requests().len(), before + 1, "no copy of the public days");
    let listed = server.command(&["purges", "--product", &product]).await.expect(0);
    for object in &urls {
        assert!(listed.stdout.contains(object.as_str()), "{}", listed.stdout);
    }
}
