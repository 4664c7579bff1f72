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
