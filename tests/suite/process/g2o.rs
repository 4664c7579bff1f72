//! The CDN's signature on requests, by the edge: who came through it, and whose request it is.

use http::Method;
use tokio::process::Command;

use crate::harness::{Backend, Edge, Server, client::fetch, content, eventually, product_name};

const KEY: &str = "0123456789abcdefghijklmn";
/// More than the burst that a client may ask.
const MANY: u16 = 100;

/// Asks from an address of this machine, which is a client's as the edge sees it; gives the status.
async fn ask_from(address: &str, url: &str) -> u16 {
    let arguments =
        ["-sS", "--noproxy", "*", "--interface", address, "-o", "/dev/null", "-w", "%{http_code}"];
    let asked = Command::new("curl").args(arguments).arg(url).output().await;
    let output = asked.expect("curl is there; tests/run installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).parse().expect("a status")
}

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
        let signed = format!("{}{check}", signing.url());
        eventually("the offer", async || (ask_from("127.0.0.9", &signed).await == 200).then_some(())).await;
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
            // Who asks directly is known by its address, and not by one of the many that it names.
            let mut unsigned = 0;
            for at in 1..=MANY {
                let named = format!("198.51.100.{at}");
                let forwarded = [("true-client-ip", named.as_str())];
                unsigned = server.device().request(Method::GET, &check, &forwarded).await.status;
                if unsigned == 429 {
                    break;
                }
            }
            assert_eq!(unsigned, 429, "one client asked too much");
            // Whom the CDN names is believed: each has its own limit, though all come by the same edge.
            for address in ["127.0.0.2", "127.0.0.3"] {
                assert_eq!(ask_from(address, &signed).await, 200, "{address}");
            }
            let mut last = 0;
            for _ in 0..MANY {
                last = ask_from("127.0.0.2", &signed).await;
                if last == 429 {
                    break;
                }
            }
            assert_eq!(last, 429, "one client asked too much");
            assert_eq!(ask_from("127.0.0.3", &signed).await, 200);
            // Behind a wrong signature, whoever asks is the edge, which comes from the address that is used up.
            assert_eq!(ask_from("127.0.0.3", &format!("{}{check}", forging.url())).await, 429);
        }
    }
}
