//! `firmament simulate` against a real server: what it says fits what the server has counted.

use crate::harness::{Backend, Server, command::run, content, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_reaches_a_whole_fleet() {
    let server = Server::builder(&Backend::Embedded).set("DEVICE__POLL_INTERVAL", "60s").start().await;
    let publisher = server.publisher();
    publisher.create("p").await;
    publisher.upload("p", "1.2.0").channel("stable").send(content(1000, 1)).await.expect(201);
    eventually("1.2.0", async || server.device().offer("p", "1.0.0").await).await;
    let checks = async |answer: &str| {
        publisher.metric(&format!("firmament_checks_total{{answer=\"{answer}\"}}")).await as u64
    };
    let before = (checks("update").await, checks("up_to_date").await);

    let words = "simulate --product p --version 1.3.0=70,1.2.0=30 --devices 500 --rate 600 --speed 60 --for 100s \
                 --install 20s --until 1.4.0 --fail-on-error --json";
    let arguments: Vec<&str> = words.split_whitespace().collect();
    let publish = async {
        eventually("the fleet asks", async || (checks("up_to_date").await > before.1 + 400).then_some(()))
            .await;
        let upload = publisher.upload("p", "1.4.0").channel("stable");
        upload.send(content(50_000, 2)).await.expect(201);
    };
    let (outcome, ()) = tokio::join!(server.command(&arguments), publish);
    let outcome = outcome.expect(0);
    let summary = outcome.json();

    assert_eq!(summary["ended"], "until", "{summary}");
    assert_eq!(summary["adoption"]["share"], 1.0, "{summary}");
    assert_eq!(summary["versions"].as_array().map(Vec::len), Some(1), "{summary}");
    assert_eq!(
        (&summary["versions"][0]["version"], &summary["versions"][0]["devices"]),
        (&"1.4.0".into(), &500.into())
    );
    let number = |name: &str| summary.pointer(name).and_then(serde_json::Value::as_u64).expect(name);
    assert_eq!(number("/checks/failed") + number("/checks/busy"), 0, "{summary}");
    assert_eq!((number("/downloads/verified"), number("/downloads/bytes")), (500, 500 * 50_000), "{summary}");
    assert_eq!(publisher.metric("firmament_download_bytes_total").await as u64, 500 * 50_000);
    // The first look, before the run, is one more.
    let counted = (checks("update").await - before.0, checks("up_to_date").await - before.1 - 1);
    assert_eq!(counted, (number("/checks/update"), number("/checks/up_to_date")), "{summary}");
    assert_eq!(number("/checks/sent"), counted.0 + counted.1, "{summary}");
    // They are told 54 to 66 seconds, and live 60 times as fast.
    let seconds = summary["seconds"].as_f64().expect("seconds");
    let most = 500.0 * (seconds / 0.9 + 1.0);
    assert!((number("/checks/sent") as f64) < most, "more than {most}: {summary}");
    let shares: Vec<_> =
        summary["timeline"].as_array().into_iter().flatten().map(|point| point["adopted"].as_f64()).collect();
    assert!(shares.is_sorted() && shares.len() > 3, "{shares:?}");
    assert!(outcome.stderr.contains("nothing newer"), "no lines: {}", outcome.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_when_to_ask_again_and_the_caller_how_fast_at_most() {
    let server = Server::builder(&Backend::Embedded).set("DEVICE__POLL_INTERVAL", "1000s").start().await;
    server.publisher().create("p").await;
    let simulate = async |more: &str| {
        let words = format!("simulate --product p --version 1.0.0 --devices 120 --json --for 3s {more}");
        server.command(&words.split_whitespace().collect::<Vec<_>>()).await.expect(0).json()
    };
    // Whatever they did before, each asks once and then waits as told.
    for more in ["--interval 1s --rate 1000", "--power-cut --rate 1000 --new-connections"] {
        let summary = simulate(more).await;
        assert_eq!(
            (&summary["checks"]["sent"], &summary["checks"]["failed"]),
            (&120.into(), &0.into()),
            "{summary}"
        );
    }
    // All want to ask at once, and may not.
    let summary = simulate("--power-cut --rate 20").await;
    let sent = summary["checks"]["sent"].as_u64().expect("a count");
    assert!((20..=61).contains(&sent), "{summary}");
    assert!(summary["latest_by_ms"].as_f64().is_some_and(|late| late > 1000.0), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_and_others_servers_left_alone() {
    let server = Server::builder(&Backend::Embedded).set("DEVICE__POLL_INTERVAL", "10s").start().await;
    let publisher = server.publisher();
    publisher.create("p").await;
    publisher.upload("p", "1.0.0").channel("stable").send(content(1000, 3)).await.expect(201);
    eventually("1.0.0", async || server.device().offer("p", "0.1.0").await).await;
    let home = server.home().clone();
    let device = server.device().base.clone();
    let simulate = async |server: &str, more: &str| {
        let words = format!("simulate --product p --version 1.0.0 --server {server} {more}");
        run(home.path(), &words.split_whitespace().collect::<Vec<_>>(), &[]).await
    };
    let refused = simulate("http://192.0.2.1:8080", "").await.expect(1);
    assert!(refused.stderr.contains("--i-own-this-server"), "{}", refused.stderr);
    let unknown = simulate(&device, "--product q").await.expect(1);
    assert!(unknown.stderr.contains("no product q"), "{}", unknown.stderr);

    let killing = async {
        let name = "firmament_checks_total{answer=\"up_to_date\"}";
        eventually("the fleet asks", async || (publisher.metric(name).await > 20.0).then_some(())).await;
        server.kill();
    };
    let more = "--devices 100 --rate 100 --speed 10 --for 6s --fail-on-error --json";
    let (outcome, ()) = tokio::join!(simulate(&device, more), killing);
    let summary = outcome.expect(2).json();
    assert!(summary["checks"]["no_answer"].as_u64().is_some_and(|count| count > 0), "{summary}");
    assert!(summary["faults"].to_string().contains("no connection"), "{summary}");
    let gone = simulate(&device, "").await.expect(2);
    assert!(gone.stderr.contains("firmament serve"), "{}", gone.stderr);
}

/// The first look, too, asks the addresses that were judged, and no proxy that the environment names.
#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_comes_between() {
    let server = Server::builder(&Backend::Embedded).start().await;
    server.publisher().create("p").await;
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let asked_at = proxy.local_addr().expect("bound");
    let asked = tokio::spawn(async move { proxy.accept().await.map(drop) });
    // Loopback by its address only: by its text it might be anywhere.
    let url = server.device().base.replace("127.0.0.1", "127.1");
    let words = format!("simulate --product p --version 1.0.0 --devices 1 --for 100ms --server {url}");
    let proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        .map(|name| (name.to_owned(), format!("http://{asked_at}")));
    run(server.home().path(), &words.split_whitespace().collect::<Vec<_>>(), &proxies).await.expect(0);
    assert!(!asked.is_finished(), "the proxy was asked");
}

/// As many as want to ask more than they may: told to come back, and counted so; nothing fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_beyond_the_limit_is_told_to_wait_and_nobody_fails() {
    let server = Server::builder(&Backend::Embedded)
        .set("DEVICE__POLL_INTERVAL", "2s")
        .set("DEVICE__RATE_LIMIT__PER_SECOND", "40")
        .set("DEVICE__RATE_LIMIT__BURST", "40")
        .start()
        .await;
    server.publisher().create("p").await;
    let watched = async {
        let mut looks = 0;
        loop {
            let (status, health) = server.device().ready().await;
            assert_eq!(status, 200, "after {looks} looks: {health}");
            looks += 1;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let words = "simulate --product p --version 1.0.0 --devices 400 --rate 1000 --power-cut --for 5s --fail-on-error --json";
    let words: Vec<&str> = words.split_whitespace().collect();
    let outcome = tokio::select! {
        outcome = server.command(&words) => outcome.expect(0),
        () = watched => unreachable!("it looks for ever"),
    };
    let summary = outcome.json();
    let number = |name: &str| summary["checks"][name].as_u64().expect(name);
    let seconds = summary["seconds"].as_f64().expect("seconds") + 1.0;
    assert!(number("busy") > 100, "{summary}");
    assert!((number("up_to_date") as f64) <= 40.0 * (seconds + 1.0), "{summary}");
    assert_eq!((number("failed"), number("sent")), (0, number("busy") + number("up_to_date")), "{summary}");
    // Whoever was refused waited as it was told: at least a second.
    assert!((number("sent") as f64) <= 400.0 * (seconds + 1.0), "{summary}");
}

/// However many devices want how much of an image: the caller's bytes per second are not passed.
#[tokio::test(flavor = "multi_thread")]
async fn downloads_share_the_bytes_per_second() {
    const RATE: u64 = 1 << 20;
    // What the two sockets of a connection may hold without being read, generously.
    const ON_THE_WAY: u64 = 5 << 20;
    let server = Server::builder(&Backend::Embedded).start().await;
    let publisher = server.publisher();
    for (product, size) in [("small", 50_000), ("large", 30 << 20)] {
        publisher.create(product).await;
        publisher.upload(product, "1.0.0").channel("stable").send(content(size, 4)).await.expect(201);
        eventually("the offer", async || server.device().offer(product, "0.1.0").await).await;
    }
    let simulate = async |words: &str| {
        let words = format!(
            "simulate --version 0.1.0 --rate 1000 --power-cut --install 0s --for 3s --download-rate 1MiB --json {words}"
        );
        let summary = server.command(&words.split_whitespace().collect::<Vec<_>>()).await.expect(0).json();
        let bytes = summary["downloads"]["bytes"].as_u64().expect("a count");
        (bytes, summary["seconds"].as_f64().expect("seconds"), summary)
    };
    let (bytes, seconds, summary) = simulate("--product small --devices 500").await;
    assert!(bytes > 0 && bytes as f64 <= (seconds + 0.1) * RATE as f64 + 1.0, "{summary}");
    let before = publisher.metric("firmament_download_bytes_total").await as u64;
    let (_, seconds, summary) = simulate("--product large --devices 3 --download-bytes 64MiB").await;
    let sent = publisher.metric("firmament_download_bytes_total").await as u64 - before;
    let most = ((seconds + 0.1) * RATE as f64) as u64 + 3 * ON_THE_WAY;
    assert!(sent > 0 && sent <= most, "{sent} of at most {most}: {summary}");
    let few =
        server.command(&["simulate", "--product", "p", "--version", "1.0.0", "--download-rate", "1k"]).await;
    assert!(few.expect(1).stderr.contains("64KiB"));
}
