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

/// Connects until this many connections have asked a question and been kept.
async fn hold(base: &str, count: usize) -> Vec<Raw> {
    let mut held = Vec::new();
    while held.len() < count {
        let raw = eventually("a place", async || {
            let mut raw = Raw::connect(base).await;
            let answer = ask(&mut raw, "/livez").await;
            if !answer.contains(" 200 ") {
                return None;
            }
            raw.next_bytes(length_of_body(&answer)).await;
            Some(raw)
        });
        held.push(raw.await);
    }
    held
}

async fn ask(raw: &mut Raw, path: &str) -> String {
    raw.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
    raw.head().await
}

/// The connections of the harness's own readiness probes may not be counted as closed yet.
async fn nobody_connected(server: &Server) {
    eventually("nobody", async || {
        let open = server.publisher().metric("firmament_connections{listener=\"device\"}").await;
        (open == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_told_429_and_health_is_answered() {
    let server = Server::builder(&Backend::Embedded)
        .set("DEVICE__MAX_CONNECTIONS", "4")
        .set("DEVICE__MAX_DOWNLOADS", "4")
        .set("DEVICE__POLL_INTERVAL", "1000s")
        .start()
        .await;
    let (publisher, base) = (server.publisher(), server.device().base);
    publisher.create("p").await;
    // More than the buffers of a connection hold: who is being answered gives way to nobody.
    let image = content(30_000_000, 92);
    publisher.upload("p", "1.0.0").channel("stable").send(image.clone()).await.expect(201);
    eventually("the offer", async || server.device().offer("p", "0.1.0").await).await;
    nobody_connected(&server).await;
    let mut busy = join_all((0..4).map(|_| Raw::connect(&base))).await;
    for raw in &mut busy {
        assert!(ask(raw, "/v1/download/p/1.0.0/app.bin").await.starts_with("HTTP/1.1 200 "));
    }
    // Longer than anybody is left alone.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for (path, status) in
        [("/livez", " 200 "), ("/readyz", " 200 "), ("/v1/check?product=p&version=0.1.0", " 429 ")]
    {
        let mut raw = Raw::connect(&base).await;
        raw.say(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let answer = raw.rest().await;
        let lower = answer.to_lowercase();
        assert!(answer.contains(status) && lower.contains("\r\nconnection: close\r\n"), "{path}: {answer}");
        assert_eq!(lower.contains("\r\nretry-after: "), status == " 429 ", "{path}: {answer}");
    }
    let answer = Raw::connect(&base).await.rest().await;
    assert!(
        answer.starts_with("HTTP/1.1 429 ") && answer.contains("Retry-After: "),
        "asked nothing: {answer}"
    );
    // Those who are turned away come again at other times, and not sooner than others ask.
    let mut delays = BTreeSet::new();
    for _ in 0..20 {
        let mut raw = Raw::connect(&base).await;
        raw.say("GET /v1/check?product=p&version=0.1.0 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = raw.rest().await.to_lowercase();
        let delay = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")).expect("says when");
        delays.insert(delay.trim().parse::<u32>().expect("seconds"));
    }
    assert!(delays.len() > 5 && delays.iter().all(|delay| (500..=16_000).contains(delay)), "{delays:?}");
    let metric = async |name: &str| publisher.metric(&format!("{name}{{listener=\"device\"}}")).await;
    assert_eq!(metric("firmament_connections").await, 4.0);
    assert_eq!(metric("firmament_connections_refused_total").await, 22.0);
    assert_eq!(metric("firmament_connections_displaced_total").await, 0.0);
    assert!(metric("firmament_stretch").await >= 4.0);
    // A place that is given back is taken again.
    assert!(busy.remove(0).next_bytes(image.len()).await == image, "not the image");
    drop(busy);
    hold(&base, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_lock_nobody_out() {
    let server = Server::builder(&Backend::Embedded).set("DEVICE__MAX_CONNECTIONS", "3").start().await;
    let (publisher, base) = (server.publisher(), server.device().base);
    nobody_connected(&server).await;
    let mut held = hold(&base, 2).await;
    held.push(Raw::connect(&base).await);
    // All are new yet: nobody has to give way.
    let check = "/v1/check?product=a&version=1.0.0";
    let mut raw = Raw::connect(&base).await;
    assert!(ask(&mut raw, check).await.contains(" 429 "));
    eventually("somebody gives way", async || {
        let answer = ask(&mut Raw::connect(&base).await, check).await;
        (answer.contains(" 404 ") && answer.contains("\r\nconnection: close\r\n")).then_some(())
    })
    .await;
    let displaced = publisher.metric("firmament_connections_displaced_total{listener=\"device\"}").await;
    assert_eq!(displaced, 1.0);
    let ends = held.iter_mut().map(|raw| Box::pin(raw.rest()));
    let (rest, ..) = futures_util::future::select_all(ends).await;
    assert_eq!(rest, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_open_files_is_raised_and_one_that_is_too_low_is_said() {
    let connections = async |server: &Server| {
        let base = server.device().base;
        let mut held = join_all((0..200).map(|_| Raw::connect(&base))).await;
        for raw in &mut held {
            assert!(ask(raw, "/livez").await.contains(" 200 "));
        }
    };
    let builder = || Server::builder(&Backend::Embedded).set("DEVICE__MAX_CONNECTIONS", "300");
    let server = builder().open_files(128, 4000).start().await;
    connections(&server).await;
    server.logged("limit of open files raised").await;
    let server = builder().open_files(128, 400).start().await;
    server.logged("open files are limited below what max_connections").await;
    connections(&server).await;
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
    let refused = device.get(path).await;
    refused.problem(429);
    assert!(!refused.header("retry-after").is_empty());
    // A check is never a download's victim.
    device.check("product=p&version=0.1.0").await.expect(200);
    drop(slow);
    eventually("a free place", async || (device.get(path).await.status == 200).then_some(())).await;
}
