//! A cache before the device listener: nginx, which keeps an answer as long as it may, and asks again then.

use std::time::{Duration, Instant};

use http::Method;
use tempfile::TempDir;
use tokio::process::Child;

use super::edge::{free_port, start};
use crate::harness::{Backend, Publisher, Raw, Server, client::fetch, content, eventually};

/// nginx with a cache.
struct Nginx {
    base: String,
    folder: TempDir,
    _running: Child,
}

impl Nginx {
    /// Before this listener. What it logs of a request: whence the answer came, and what the listener answered.
    async fn start(device: &str) -> Self {
        Self::naming(device, "fw.example.com").await
    }

    /// The same, with that as the host of each request.
    async fn naming(device: &str, host: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a temporary directory"), free_port());
        let here = folder.path().display();
        let config = folder.path().join("nginx.conf");
        // One process: the test kills it, and no worker of it is left.
        let text = format!(
            "daemon off; master_process off; pid {here}/pid; error_log {here}/error.log; events {{}}\n\
             http {{ log_format cache '$upstream_cache_status $upstream_status'; access_log {here}/access.log cache buffer=64k \
             flush=100ms;\n client_body_temp_path {here}/a; fastcgi_temp_path {here}/b; uwsgi_temp_path {here}/c;\n \
             scgi_temp_path {here}/d; proxy_temp_path {here}/e; keepalive_requests 1000000;\n \
             proxy_cache_path {here}/cache keys_zone=checks:1m;\n \
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {device}; proxy_cache checks; proxy_cache_lock on;\n \
             proxy_cache_revalidate on; proxy_set_header Host {host}; }} }} }}\n"
        );
        std::fs::write(&config, text).expect("written");
        let (config, errors) =
            (config.display().to_string(), folder.path().join("start.log").display().to_string());
        let running = start("nginx", &["-c", &config, "-e", &errors], port).await;
        Self { base: format!("http://127.0.0.1:{port}"), folder, _running: running }
    }

    /// How many requests were logged so.
    fn logged(&self, line: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("access.log")).expect("there");
        log.lines().filter(|logged| *logged == line).count()
    }
}

/// How many checks have reached the server.
async fn counted(publisher: &Publisher) -> f64 {
    let of = async |answer: &str| {
        publisher.metric(&format!("firmament_checks_total{{answer=\"{answer}\"}}")).await
    };
    of("update").await + of("up_to_date").await
}

/// The version that is offered; `None` = nothing newer.
async fn offered(base: &str, version: &str) -> Option<String> {
    let url = format!("{base}/v1/check?product=p&version={version}");
    let answer = fetch(Method::GET, &url, &[]).await;
    match answer.status {
        204 => None,
        200 => Some(answer.json()["version"].as_str().expect("a version").to_owned()),
        status => panic!("{version}: {status}"),
    }
}

/// nginx keeps what may be kept: many checks of few questions are few for us.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_in_front_absorbs_the_fleet() {
    const QUESTIONS: usize = 20;
    const CHECKS: usize = 100_000;
    const AT_ONCE: usize = 100;
    let server = Server::builder(&Backend::Embedded)
        .set("DEVICE__PUBLIC_URL", "https://fw.example.com")
        .set("DEVICE__CACHE_LIFETIME", "10m")
        .start()
        .await;
    let publisher = server.publisher();
    publisher.create("p").await;
    publisher.upload("p", "1.0.0").channel("stable").send(content(1000, 901)).await.expect(201);
    eventually("the offer", async || server.device().offer("p", "0.1.0").await).await;
    let nginx = Nginx::start(&server.device().base).await;
    let before = counted(&publisher).await;
    let base = nginx.base.clone();
    let clients = (0..4).map(|_| {
        let base = base.clone();
        tokio::spawn(async move {
            let mut raw = Raw::connect(&base).await;
            for batch in 0..CHECKS / 4 / AT_ONCE {
                // HEAD, so that every answer ends with its header.
                let requests: String = (0..AT_ONCE)
                    .map(|at| {
                        let question = (batch * AT_ONCE + at) % QUESTIONS;
                        // Half of them have something newer.
                        let version = format!("{}.0.{question}", question % 2);
                        format!("HEAD /v1/check?product=p&version={version} HTTP/1.1\r\nHost: a\r\n\r\n")
                    })
                    .collect();
                raw.say(&requests).await;
                for _ in 0..AT_ONCE {
                    let head = raw.head().await;
                    assert!(head.starts_with("HTTP/1.1 20"), "{head}");
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("every check is answered");
    }
    let reached = counted(&publisher).await - before;
    assert!(
        (QUESTIONS as f64..=2.0 * QUESTIONS as f64).contains(&reached),
        "{reached} of {CHECKS} reached us"
    );
}

/// What changes is seen through the cache within a lifetime; and each lifetime costs one request for each question,
/// which is answered 304 where nothing changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_in_front_follows_within_a_lifetime() {
    const QUESTIONS: usize = 20;
    const LIFETIME: Duration = Duration::from_secs(2);
    // nginx counts in whole seconds: what it stores at 0.9 s is good to the end of second 2.
    const KEPT: Duration = Duration::from_secs(3);
    let server = Server::builder(&Backend::Embedded)
        .set("DEVICE__PUBLIC_URL", "https://fw.example.com")
        .set("DEVICE__CACHE_LIFETIME", "2s")
        .start()
        .await;
    let publisher = server.publisher();
    publisher.create("p").await;
    for (version, seed) in [("1.0.0", 902), ("1.1.0", 903)] {
        publisher.upload("p", version).channel("stable").send(content(1000, seed)).await.expect(201);
    }
    let origin = server.device().base;
    let follows = async |version: &str| {
        eventually(version, async || {
            (offered(&origin, "0.1.0").await.as_deref() == Some(version)).then_some(())
        })
        .await;
    };
    follows("1.1.0").await;
    let nginx = Nginx::start(&origin).await;
    // Half of them have something newer.
    let questions: Vec<String> = (0..QUESTIONS).map(|at| format!("{}.0.{at}", at % 2 * 9)).collect();

    // Asks until this much time has passed; whatever was asked after `from` has to be this offer. How many checks were
    // asked, and how many of them reached the server.
    let ask = async |time: Duration, from: Duration, wanted: &str| {
        let before = counted(&publisher).await;
        let (start, mut asked, mut last) = (Instant::now(), 0_usize, false);
        while !last {
            // One more round after the time, however slow they are.
            last = start.elapsed() > time;
            for version in &questions {
                let sent = start.elapsed();
                let offer = offered(&nginx.base, version).await;
                asked += 1;
                if sent >= from {
                    let newer = version.starts_with('0').then_some(wanted);
                    assert_eq!(offer.as_deref(), newer, "{version}, asked {sent:?} after the change");
                }
            }
        }
        let lifetimes = start.elapsed().as_secs_f64() / LIFETIME.as_secs_f64() + 1.0;
        let reached = counted(&publisher).await - before;
        assert!(reached <= lifetimes * QUESTIONS as f64, "{reached} of {asked} in {lifetimes} lifetimes");
        (asked as f64, reached)
    };
    let (asked, reached) = ask(LIFETIME * 4, Duration::ZERO, "1.1.0").await;
    assert!(reached >= 2.0 * QUESTIONS as f64, "{reached}: none was asked for again");
    assert!(asked > 2.0 * reached, "{reached} of {asked}");
    eventually("nginx's log", async || (nginx.logged("REVALIDATED 304") >= QUESTIONS / 2).then_some(()))
        .await;
    assert_eq!(nginx.logged("EXPIRED 200"), 0, "an offer that did not change was sent again");

    publisher.recall("p", "1.1.0").await.expect(200);
    follows("1.0.0").await;
    ask(KEPT + LIFETIME, KEPT, "1.0.0").await;
    publisher.upload("p", "1.2.0").channel("stable").send(content(1000, 904)).await.expect(201);
    follows("1.2.0").await;
    ask(KEPT + LIFETIME, KEPT, "1.2.0").await;
}

/// nginx does not know an answer by the host that was named: who names another one must not have his link given to others.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_in_front_gives_nobodys_word_to_others() {
    let server = Server::start(&Backend::Embedded).await;
    let publisher = server.publisher();
    for (product, settings) in [("p", "{}"), ("q", r#"{"delivery":{"link":"short"}}"#)] {
        publisher.request(Method::PUT, &format!("/v1/products/{product}"), Some(settings)).await.expect(201);
        publisher.upload(product, "1.0.0").channel("stable").send(content(1000, 903)).await.expect(201);
        eventually("the offer", async || server.device().offer(product, "0.1.0").await).await;
    }
    let nginx = Nginx::naming(&server.device().base, "$http_host").await;
    for product in ["p", "q"] {
        let path = format!("/v1/check?product={product}&version=0.1.0");
        let mut raw = Raw::connect(&nginx.base).await;
        raw.say(&format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")).await;
        let evil = raw.rest().await;
        assert!(evil.contains(r#""url":"http://evil.example/"#), "{evil}");
        assert!(evil.contains("private, no-cache"), "{evil}");
        let answer = fetch(Method::GET, &format!("{}{path}", nginx.base), &[]).await.expect(200);
        let url = answer.json()["url"].as_str().expect("a link").to_owned();
        assert!(url.starts_with(&format!("{}/", nginx.base)), "{url}");
        // It still need not be sent twice to one who has it. (nginx takes such conditions off.)
        let ask = async |condition: &str| {
            let mut raw = Raw::connect(&server.device().base).await;
            let fields = format!("Host: fw.example.com\r\nConnection: close\r\n{condition}");
            raw.say(&format!("GET {path} HTTP/1.1\r\n{fields}\r\n")).await;
            raw.rest().await
        };
        let first = ask("").await;
        let tag = first.lines().find_map(|line| line.strip_prefix("etag: ")).expect("has a tag");
        let again = ask(&format!("If-None-Match: {tag}\r\n")).await;
        assert!(again.contains(" 304 ") && again.contains("private, no-cache"), "{again}");
        // Who asks at the address that is listened on is told nothing but that, and what names no link is for all.
        let direct = server.device().get(&path).await.expect(200);
        assert!(direct.header("cache-control").starts_with("public, "), "{:?}", direct.headers);
        let nothing = fetch(Method::GET, &format!("{}{}", nginx.base, path.replace("0.1", "9.1")), &[]).await;
        assert!(nothing.expect(204).header("cache-control").starts_with("public, "));
    }
}
