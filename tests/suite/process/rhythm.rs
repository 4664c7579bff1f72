//! How often devices are asked to ask, and how long caches may keep an answer: server, product, channel.

use http::Method;

use crate::harness::{Backend, Device, Server, content, eventually};

/// The lowest and highest `Retry-After` of many answers, and `Cache-Control`, which they share.
async fn told(device: &Device, query: &str) -> (u64, u64, String) {
    let mut delays = Vec::new();
    let mut cache = None;
    for number in 0..200 {
        let own = device.check(&format!("product=p&{query}&device=d{number}")).await;
        delays.push(own.header("retry-after").parse().expect("seconds"));
        let answer = device.check(&format!("product=p&{query}")).await;
        delays.push(answer.header("retry-after").parse().expect("seconds"));
        let control = answer.header("cache-control").to_owned();
        assert_eq!(cache.get_or_insert_with(|| control.clone()), &control);
    }
    let (least, most) = (delays.iter().min(), delays.iter().max());
    (*least.expect("many"), *most.expect("many"), cache.expect("many"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_channel_sets_goes_before_the_product_and_that_before_the_server() {
    let server = Server::builder(&Backend::Embedded).set("DEVICE__POLL_INTERVAL", "1000s").start().await;
    let (publisher, device) = (server.publisher(), server.device());
    publisher.create("p").await;
    for (version, channel, seed) in [("1.0.0", "stable", 870), ("1.1.0", "beta", 871)] {
        publisher.upload("p", version).channel(channel).send(content(1000, seed)).await.expect(201);
    }
    eventually("both", async || {
        let answer = device.check("product=p&version=0.9.0&channel=beta").await;
        (answer.status == 200).then_some(())
    })
    .await;
    let expect = async |query: &str, seconds: u64, lifetime: &str| {
        // An offer and "nothing newer" say the same.
        for version in ["0.9.0", "9.9.9"] {
            let (least, most, cache) = told(&device, &format!("version={version}{query}")).await;
            let bounds = seconds * 9 / 10..=seconds * 11 / 10;
            assert!(bounds.contains(&least) && bounds.contains(&most), "{query}: {least} to {most}");
            assert!(least < most, "a fleet would ask in step");
            assert!(cache.starts_with(&format!("public, max-age={lifetime}, stale-if-error=")), "{cache}");
        }
    };
    expect("", 1000, "60").await;
    expect("&channel=beta", 1000, "60").await;

    let settings = r#"{"poll_interval":"1h","channel_settings":{"beta":{"poll_interval":"1m 40s","cache_lifetime":"0s"},
        "nightly":{"poll_interval":"1s"}}}"#;
    let set = publisher.request(Method::PUT, "/v1/products/p", Some(settings)).await.expect(200).json();
    assert_eq!((set["poll_interval"].as_str(), set["cache_lifetime"].as_str()), (Some("1h"), None));
    eventually("the product's interval", async || {
        let answer = device.check("product=p&version=9.9.9").await;
        (answer.header("retry-after").parse::<u64>().expect("seconds") > 2000).then_some(())
    })
    .await;
    expect("", 3600, "60").await;
    expect("&channel=beta", 100, "0").await;
    device.check("product=p&version=1.0.0&channel=nightly").await.problem(404);

    // The same by the command line, which leaves what is not typed.
    let typed = ["product", "set", "p", "--cache-lifetime", "30s", "--channel-poll-interval", "beta=default"];
    server.command(&typed).await.expect(0);
    let shown = server.command(&["product", "show", "p"]).await.expect(0).stdout;
    let expected = "p: hardware any, devices ask every 1h, caches keep answers for 30s; on beta caches keep answers for 0s; \
                    on nightly devices ask every 1s";
    assert!(shown.starts_with(expected), "{shown}");
    eventually("the product's lifetime", async || {
        let answer = device.check("product=p&version=9.9.9").await;
        answer.header("cache-control").contains("max-age=30,").then_some(())
    })
    .await;
    expect("", 3600, "30").await;
    expect("&channel=beta", 3600, "0").await;
    let wrong = server.command(&["product", "set", "p", "--poll-interval", "31days"]).await;
    assert!(wrong.stderr.contains("from 1s to 30days"), "{}", wrong.stderr);
    wrong.expect(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_says_when_to_ask_again_and_is_spread() {
    let server = Server::builder(&Backend::Embedded).set("DEVICE__POLL_INTERVAL", "1000s").start().await;
    let (publisher, device) = (server.publisher(), server.device());
    publisher.create("p").await;
    publisher.upload("p", "1.0.0").channel("stable").send(content(1000, 872)).await.expect(201);
    let settings = r#"{"delivery":{"access":"private","authenticate_devices":true,"link":"short"},"poll_interval":"1h"}"#;
    publisher.request(Method::PUT, "/v1/products/closed", Some(settings)).await.expect(201);
    publisher.upload("closed", "1.0.0").channel("stable").send(content(1000, 873)).await.expect(201);
    eventually("the offer", async || device.offer("p", "0.1.0").await).await;
    eventually("the private product", async || {
        (device.check("product=closed&version=1.0.0").await.status == 401).then_some(())
    })
    .await;
    let cases = [
        ("/v1/check?product=p", 400, 1000),
        ("/v1/check?product=nobody&version=1.0.0", 404, 1000),
        ("/v1/check?product=p&version=1.0.0&channel=none", 404, 1000),
        ("/v1/check?product=closed&version=1.0.0", 401, 3600),
        ("/v1/download/p/1.0.0/none.bin", 404, 1000),
        ("/v1/download/closed/1.0.0/app.bin", 401, 1000),
        ("/v1/download/closed/1.0.0/app.bin?c=AAAAAAAAAAAAAAAAAAAA", 403, 1000),
        ("/d/00000000000", 404, 1000),
        ("/nowhere", 404, 1000),
        ("/v1/%2e%2e/check", 400, 1000),
    ];
    for (path, status, interval) in cases {
        let mut delays = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let answer = device.get(path).await;
            answer.problem(status);
            let delay: u64 = answer.header("retry-after").parse().expect("seconds");
            assert!((interval * 9 / 10..=interval * 11 / 10).contains(&delay), "{path}: {delay}");
            delays.insert(delay);
        }
        assert!(delays.len() > 5, "{path}: a fleet would ask in step: {delays:?}");
    }
    // One that says who it is keeps its own rhythm.
    let own = "product=p&version=1.0.0&channel=none&device=serial-1";
    let first = device.check(own).await.header("retry-after").to_owned();
    assert_eq!(device.check(own).await.header("retry-after"), first);
    let beyond = [("range", "bytes=5000-")];
    let answer = device.request(Method::GET, "/v1/download/p/1.0.0/app.bin", &beyond).await.expect(416);
    assert!(!answer.header("retry-after").is_empty());
    let answer = device.request(Method::POST, "/v1/check", &[]).await.expect(405);
    assert!(!answer.header("retry-after").is_empty());
    // Health is for balancers, which ask as they are set.
    let answer = device.request(Method::POST, "/livez", &[]).await.expect(405);
    assert!(!answer.headers.contains_key("retry-after"));
}
