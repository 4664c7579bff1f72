//! What a device is told.

use http::Method;

use crate::harness::{Backend, Server, content, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn hardware_channel_and_version_decide() {
    let server = Server::start(&Backend::Embedded).await;
    let (publisher, device) = (server.publisher(), server.device());
    publisher.create("p").await;
    publisher.create("empty").await;
    let publish = async |version: &str, hardware: &[&str], channel: &str, seed: u64| {
        let mut upload = publisher.upload("p", version).filename(&format!("f{seed}.bin")).channel(channel);
        for hardware in hardware {
            upload = upload.hardware(hardware);
        }
        upload.send(content(1000, seed)).await.expect(201);
    };
    publish("1.0.0", &[], "stable", 40).await;
    publish("1.1.0", &["rev-a"], "stable", 41).await;
    publish("1.1.0", &["rev-b", "rev-c"], "stable", 42).await;
    publish("2.0.0-rc.1", &[], "beta", 43).await;
    publish("2.0.0-rc.2", &["rev-x"], "special", 44).await;
    eventually("all of it", async || {
        let answer = device.check("product=p&version=1.0.0&channel=special&hardware=rev-x").await;
        (answer.status == 200).then_some(())
    })
    .await;

    for (query, expected) in [
        ("version=0.9.0", Some("1.0.0 f40.bin")),
        ("version=1.0.0", None),
        ("version=1.0.0-rc.1", Some("1.0.0 f40.bin")),
        ("version=v0.9.0", Some("1.0.0 f40.bin")),
        ("version=0.9.0%2Bbuild.7", Some("1.0.0 f40.bin")),
        ("version=1.0.0%2Bbuild.7", None),
        ("version=1.0.0&hardware=rev-a", Some("1.1.0 f41.bin")),
        ("version=1.0.0&hardware=rev-c", Some("1.1.0 f42.bin")),
        ("version=0.1.0&hardware=rev-z", Some("1.0.0 f40.bin")),
        ("version=0.1.0&hardware=REV-A", Some("1.0.0 f40.bin")),
        ("version=0.1.0&hardware=", Some("1.0.0 f40.bin")),
        ("version=9.0.0", None),
        ("version=1.9.0&channel=beta", Some("2.0.0-rc.1 f43.bin")),
        ("version=1.9.0&channel=special", None),
        ("version=1.9.0&channel=special&hardware=rev-x", Some("2.0.0-rc.2 f44.bin")),
        ("version=0.9.0&device=serial-1", Some("1.0.0 f40.bin")),
        ("version=0.9.0&unknown=1", Some("1.0.0 f40.bin")),
    ] {
        let answer = device.check(&format!("product=p&{query}")).await;
        let given = (answer.status == 200).then(|| {
            let offer = answer.json();
            format!("{} {}", offer["version"], offer["filename"]).replace('"', "")
        });
        assert_eq!(given.as_deref(), expected, "{query}");
        if expected.is_none() {
            assert_eq!((answer.status, answer.body.len()), (204, 0), "{query}");
        }
    }
    for query in [
        "product=p",
        "version=1.0.0",
        "product=&version=1.0.0",
        "product=p&version=1.0",
        "product=p&version=01.0.0",
        "product=P&version=1.0.0",
        "product=p&product=p&version=1.0.0",
        "product=p&version=1.0.0&version=2.0.0",
        "product=p&version=1.0.0&hardware=a%20b",
        "product=p&version=1.0.0&hardware=a&hardware=b",
        "product=p&version=1.0.0&channel=Stable",
        &format!("product=p&version=1.0.0&device={}", "x".repeat(129)),
    ] {
        device.check(query).await.problem(400);
    }
    device.check("product=nobody&version=1.0.0").await.problem(404);
    device.check("product=p&version=1.0.0&channel=nightly").await.problem(404);
    // A product has the channel `stable` from its first day.
    device.check("product=empty&version=1.0.0").await.expect(204);
    device.check("product=empty&version=1.0.0&channel=beta").await.problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_when_to_ask_again_and_who_may_keep_them() {
    let server = Server::builder(&Backend::Embedded).set("DEVICE__POLL_INTERVAL", "1000s").start().await;
    let (publisher, device) = (server.publisher(), server.device());
    publisher.create("p").await;
    publisher.upload("p", "1.0.0").channel("stable").send(content(1000, 45)).await.expect(201);
    eventually("the offer", async || device.offer("p", "0.9.0").await).await;
    let mut delays = std::collections::BTreeSet::new();
    for version in ["0.9.0", "1.0.0"] {
        for _ in 0..20 {
            let answer = device.check(&format!("product=p&version={version}")).await;
            let delay: u64 = answer.header("retry-after").parse().expect("seconds");
            assert!((900..=1100).contains(&delay), "{delay}");
            delays.insert(delay);
            assert!(answer.header("cache-control").starts_with("public, max-age="));
            assert!(!answer.headers.contains_key("vary"), "{:?}", answer.headers);
        }
        let own = format!("product=p&version={version}&device=serial-1");
        let first = device.check(&own).await;
        assert_eq!(first.header("cache-control"), "private, no-store");
        assert_eq!(device.check(&own).await.header("retry-after"), first.header("retry-after"));
        let path = format!("/v1/check?{own}");
        let head = device.request(Method::HEAD, &path, &[]).await.expect(first.status);
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-length"), first.header("content-length"));
        assert_eq!(head.header("content-type"), first.header("content-type"));
    }
    assert!(delays.len() > 5, "a fleet would ask in step: {delays:?}");
    let refused = device.check("product=nobody&version=1.0.0").await;
    assert_eq!(refused.header("cache-control"), "no-store");
    let checks = publisher.metric("firmament_checks_total{answer=\"up_to_date\"}").await;
    assert!(checks >= 22.0, "{checks}");
    for base in [&publisher.base, &device.base] {
        for path in ["/livez", "/readyz"] {
            let answer = crate::harness::client::fetch(Method::GET, &format!("{base}{path}"), &[]).await;
            assert_eq!(answer.expect(200).json()["status"], "ok");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_all_has_a_tag_and_one_that_is_known_is_not_sent_again() {
    let server = Server::start(&Backend::Embedded).await;
    let (publisher, device) = (server.publisher(), server.device());
    publisher.create("p").await;
    publisher.upload("p", "1.0.0").channel("stable").send(content(1000, 46)).await.expect(201);
    eventually("the offer", async || device.offer("p", "0.9.0").await).await;
    let ask = async |query: &str, tag: Option<&str>| {
        let headers: Vec<_> = tag.into_iter().map(|tag| ("if-none-match", tag)).collect();
        device.request(Method::GET, &format!("/v1/check?product=p&{query}"), &headers).await
    };
    let first = ask("version=0.9.0", None).await.expect(200);
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
    assert!(first.header("cache-control").contains("stale-if-error="));
    assert_eq!(ask("version=0.8.0", None).await.header("etag"), tag, "the same answer");
    for known in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
        let again = ask("version=0.9.0", Some(&known)).await.expect(304);
        assert!(again.body.is_empty() && again.header("etag") == tag, "{:?}", again.headers);
        assert!(again.headers.contains_key("retry-after") && again.headers.contains_key("cache-control"));
    }
    ask("version=0.9.0", Some("\"other\"")).await.expect(200);
    let own = ask("version=0.9.0&device=serial-1", Some(&tag)).await.expect(200);
    assert!(!own.headers.contains_key("etag"));
    publisher.upload("p", "1.1.0").channel("stable").send(content(1000, 47)).await.expect(201);
    eventually("another tag", async || {
        let answer = ask("version=0.9.0", Some(&tag)).await;
        (answer.status == 200 && answer.header("etag") != tag).then_some(())
    })
    .await;
}

/// What the README says of the smallest check: all bytes of HTTP, both ways.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_small_on_the_wire() {
    let settings = [("CDN__BASE_URL", "https://fw.example.com")];
    let builder = Server::builder(&Backend::Embedded).set(settings[0].0, settings[0].1);
    let server = builder.start().await;
    server.publisher().create("thermo-x").await;
    let upload = server.publisher().upload("thermo-x", "1.4.0").channel("stable");
    upload.send(content(1000, 48)).await.expect(201);
    eventually("the offer", async || server.device().offer("thermo-x", "1.3.0").await).await;
    let bytes = async |version: &str| {
        let request = format!(
            "GET /v1/check?product=thermo-x&version={version} HTTP/1.1\r\nHost: fw.example.com\r\n\r\n"
        );
        let mut raw = crate::harness::Raw::connect(&server.device().base).await;
        raw.say(&request).await;
        let head = raw.head().await;
        let body = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body: usize = body.map_or(0, |length| length.trim().parse().expect("a number"));
        println!("{version}: {} + {} + {body}\n{head}", request.len(), head.len());
        request.len() + head.len() + body
    };
    let (nothing, offer) = (bytes("1.4.0").await, bytes("1.3.0").await);
    assert!(nothing <= 300 && offer <= 700, "{nothing} and {offer} bytes");
}
