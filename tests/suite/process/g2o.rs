//! The CDN's signature on requests, by the edge: who came through it, and whose request it is.

use http::Method;

use crate::harness::{Backend, Edge, Server, client::fetch, content, eventually, product_name};

const KEY: &str = "0123456789abcdefghijklmn";

#[tokio::test(flavor = "multi_thread")]
async fn only_the_cdn_is_believed_and_only_it_may_ask_where_that_is_required() {
    let backend = Backend::production().await;
    for required in ["true", "false"] {
        let server = Server::builder(&backend)
            .set("DEVICE__PUBLIC_URL", "https://fw.example.com")
            .set("DEVICE__G2O__REQUIRED", required)
            .set("DEVICE__G2O__KEYS__K1", KEY)
            .set("DEVICE__RATE_LIMIT__PER_SECOND", "0.001")
            .set("DEVICE__RATE_LIMIT__BURST", "30")
            .start()
            .await;
        let authority = server.device().base.clone();
        let edge = async |key: &str| {
            let edge = Edge::before(backend.stores()).set("SERVICE", &authority);
            edge.set("G2O_KEY", key).set("G2O_NONCE", "k1").start().await
        };
        let (signing, forging) = (edge(KEY).await, edge("nmlkjihgfedcba9876543210").await);
        let (product, publisher) = (product_name(), server.publisher());
        publisher.create(&product).await;
        publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 995)).await.expect(201);
        // The query is part of what is signed, as it was sent.
        let check = format!("/v1/check?product={product}&version=0.1.0&device=a%20b");
        eventually("the offer", async || {
            (fetch(Method::GET, &format!("{}{check}", signing.url()), &[]).await.status == 200).then_some(())
        })
        .await;
        let direct = server.device().get(&check).await;
        let forged = fetch(Method::GET, &format!("{}{check}", forging.url()), &[]).await;
        if required == "true" {
            assert_eq!(direct.problem(403).kind, "urn:firmament:problem:not-through-cdn");
            assert_eq!(forged.status, 403);
        } else {
            assert_eq!((direct.status, forged.status), (200, 200));
        }
        for path in ["/livez", "/readyz"] {
            server.device().get(path).await.expect(200);
        }
        if required == "false" {
            // Who asks directly is known by its address, whatever it says of another.
            let forwarded = [("true-client-ip", "198.51.100.9")];
            let answers = async || server.device().request(Method::GET, &check, &forwarded).await.status;
            eventually("the limit", async || (answers().await == 429).then_some(())).await;
        }
    }
}
