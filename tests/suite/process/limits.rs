//! Connections that do harm, by intent or by accident.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use crate::harness::{
    Backend, Raw, Server,
    client::{send, trickle},
    content, eventually,
};

/// The first request has to be there after 10 s.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_request_are_closed() {
    let server = Server::start(&Backend::Embedded).await;
    let began = Instant::now();
    let listeners = [server.device().base, server.publisher().base];
    join_all(listeners.iter().map(|base| async move {
        let silent = async {
            let mut raw = Raw::connect(base).await;
            raw.rest().await;
        };
        let half = async {
            let mut raw = Raw::connect(base).await;
            raw.say("GET /livez HTTP/1.1\r\nHost:").await;
            raw.rest().await;
        };
        let dripping = async {
            let mut raw = Raw::connect(base).await;
            raw.say("GET /livez HTTP/1.1\r\nHost: a\r\nX-Drip: ").await;
            while raw.send(b"x").await && began.elapsed() < SOON {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::join!(silent, half, dripping);
    }))
    .await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_told_429() {
    let server = Server::builder(&Backend::Embedded)
        .set("DEVICE__MAX_CONNECTIONS", "5")
        .set("DEVICE__POLL_INTERVAL", "1000s")
        .start()
        .await;
    let base = server.device().base;
    let ask = async |raw: &mut Raw| {
        raw.say("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
        raw.head().await
    };
    let mut held = join_all((0..5).map(|_| Raw::connect(&base))).await;
    for raw in &mut held {
        // The connections of the harness's own readiness probes are closed, though perhaps not yet counted so.
        eventually("a place", async || {
            let answer = ask(raw).await;
            if !answer.contains(" 200 ") {
                *raw = Raw::connect(&base).await;
                return None;
            }
            raw.next_bytes(length_of_body(&answer)).await;
            Some(())
        })
        .await;
    }
    // Those who are turned away come again at other times, and not sooner than others ask.
    let mut delays = BTreeSet::new();
    for _ in 0..20 {
        let answer = Raw::connect(&base).await.rest().await;
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        let delay = answer.lines().find_map(|line| line.strip_prefix("Retry-After: ")).expect("says when");
        delays.insert(delay.trim().parse::<u32>().expect("seconds"));
    }
    assert!(delays.len() > 5 && delays.iter().all(|delay| (500..=16_000).contains(delay)), "{delays:?}");
    // The other listener has its own limit, and a place that is given back is taken again.
    server.publisher().get("/livez").await.expect(200);
    held.pop();
    eventually("a free place", async || {
        let mut raw = Raw::connect(&base).await;
        if !raw.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await {
            return None;
        }
        raw.rest().await.contains(" 200 ").then_some(())
    })
    .await;
}

fn length_of_body(head: &str) -> usize {
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.expect("a length").trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_could_be_read_in_two_ways_are_refused() {
    let server = Server::start(&Backend::Embedded).await;
    let long = "x".repeat(200_000);
    let many: String = (0..100).map(|at| format!("X-{at}: y\r\n")).collect();
    for base in [server.device().base, server.publisher().base] {
        for (request, statuses) in [
            ("GET /livez HTTP/1.1\r\n\r\n".to_owned(), &[400][..]),
            ("GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), &[400]),
            ("GET /livez HTTP/1.1\r\nHost: a/b?c\r\n\r\n".to_owned(), &[400]),
            ("GET /v1/../livez HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[400]),
            ("GET /v1/%2e%2E/livez HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[400]),
            ("GET /v1/./livez HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[400]),
        ] {
            let mut raw = Raw::connect(&base).await;
            raw.say(&request.replacen("\r\n", "\r\nConnection: close\r\n", 1)).await;
            let answer = raw.rest().await;
            let status: u16 = answer.get(9..12).unwrap_or_default().parse().expect("a status");
            assert!(statuses.contains(&status), "{request:?}: {answer}");
            assert!(answer.contains("application/problem+json"), "{request:?}: {answer}");
        }
        let mut raw = Raw::connect(&base).await;
        raw.say("GET /readyz HTTP/1.0\r\n\r\n").await;
        assert!(raw.rest().await.contains(" 200 OK"), "a load balancer's probe");
        // hyper answers these itself, before any of our code, or closes.
        for request in [
            format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("GET /livez HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
            "GET /livez HTTP/1.1\nHost : a\r\n\r\n".to_owned(),
            "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_owned(),
            "BREW\r\n\r\n".to_owned(),
        ] {
            let mut raw = Raw::connect(&base).await;
            raw.send(request.as_bytes()).await;
            let answer = raw.rest().await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{:.80}: {answer}", request);
        }
        // And it goes on.
        let mut raw = Raw::connect(&base).await;
        raw.say("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(raw.rest().await.contains(" 200 "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_is_never_read_as_the_next_request() {
    let server = Server::start(&Backend::Embedded).await;
    let publisher = server.publisher();
    publisher.create("p").await;
    let hidden = "DELETE /hidden HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let target = publisher.upload("p", "1.0.0").target();
    let known = publisher.token.as_str();
    let malformed = "/v1/products/p/releases/x/images";
    for (token, target, status) in
        [("wrong", target.as_str(), "401"), (known, malformed, "400"), (known, "/none", "404")]
    {
        let mut raw = Raw::connect(&publisher.base).await;
        raw.say(&format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n",
            hidden.len()
        ))
        .await;
        raw.send(hidden.as_bytes()).await;
        raw.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let answers = raw.rest().await;
        let starts = answers.match_indices("HTTP/1.1 ");
        let statuses: Vec<&str> = starts.map(|(at, start)| &answers[at + start.len()..][..3]).collect();
        // The connection goes on in step, or is closed.
        assert!(statuses == [status, "200"] || statuses == [status], "{target}: {statuses:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_and_a_download_too_many_are_told_429() {
    let server = Server::builder(&Backend::Embedded)
        .set("PUBLISHER__MAX_UPLOADS", "1")
        .set("DEVICE__MAX_DOWNLOADS", "1")
        .start()
        .await;
    let (publisher, device) = (server.publisher(), server.device());
    publisher.create("p").await;
    // More than the buffers of a connection hold.
    let image = content(30_000_000, 90);
    let (sender, body) = trickle();
    let first = tokio::spawn(send(publisher.upload("p", "1.0.0").channel("stable").request(body)));
    sender.send(image.clone()).await.expect("the server reads");
    eventually("the upload is under way", async || {
        (publisher.metric("firmament_upload_bytes_total").await > 0.0).then_some(())
    })
    .await;
    let refused = publisher.upload("p", "1.1.0").send(content(1000, 91)).await;
    refused.problem(429);
    assert!(!refused.header("retry-after").is_empty());
    drop(sender);
    first.await.expect("no panic").expect("an answer").expect(201);
    eventually("the offer", async || device.offer("p", "0.1.0").await).await;

    let path = "/v1/download/p/1.0.0/app.bin";
    let mut slow = Raw::connect(&device.base).await;
    slow.say(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
    assert!(slow.head().await.starts_with("HTTP/1.1 200 "));
    let mut delays = BTreeSet::new();
    for _ in 0..20 {
        let refused = device.get(path).await;
        refused.problem(429);
        delays.insert(refused.header("retry-after").parse::<u32>().expect("seconds"));
    }
    assert!(delays.len() > 5 && delays.iter().all(|delay| (150..=4800).contains(delay)), "{delays:?}");
    // A check is never a download's victim.
    device.check("product=p&version=0.1.0").await.expect(200);
    drop(slow);
    eventually("a free place", async || (device.get(path).await.status == 200).then_some(())).await;
}
