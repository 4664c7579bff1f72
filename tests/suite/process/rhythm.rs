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
