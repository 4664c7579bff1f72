//! Downloads are counted from the CDN's logs in a real bucket.

use std::io::Write as _;

use aws_sdk_s3::primitives::ByteStream;
use chrono::{Days, Utc};
use flate2::{Compression, write::GzEncoder};
use http::Method;
use serde_json::{Value, json};

use crate::bucket::store::plain_client;
use crate::harness::{
    Backend, Edge, Server, client::fetch, content, eventually, product_name, server::Builder,
};

/// What must be kept nowhere.
const PRIVATE: &str = "hmac=5ec2e7";

/// A folder of logs in the test bucket.
struct Logs {
    client: aws_sdk_s3::Client,
    bucket: String,
    prefix: String,
}

impl Logs {
    fn of(backend: &Backend) -> Self {
        let s3 = backend.stores().s3();
        let prefix = format!(".firmament/logs/{}/", uuid::Uuid::now_v7().simple());
        Self { client: plain_client(s3), bucket: s3.name.clone(), prefix }
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) {
        let key = format!("{}{name}", self.prefix);
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(ByteStream::from(bytes));
        put.send().await.expect("the bucket takes it");
    }

    fn server(&self, backend: &Backend) -> Builder {
        Server::builder(backend)
            .set("CDN__BASE_URL", "https://fw.example.com")
            .set("CDN__LOGS__PREFIX", &self.prefix)
            .set("CDN__LOGS__INTERVAL", "1s")
    }
}

/// A line as DataStream 2 writes it, with what is private in it.
fn line(request: &str, path: &str, changes: Value) -> String {
    let mut line = json!({
        "version": 1, "streamId": "12345", "cp": "123456", "reqId": request,
        "reqTimeSec": format!("{}.171", Utc::now().timestamp() / 86_400 * 86_400 + 60),
        "bytes": "1000", "cliIP": "198.51.100.28", "statusCode": "206", "proto": "HTTPS", "reqHost": "fw.example.com",
        "reqMethod": "GET", "reqPath": path, "queryStr": format!("hdnts=exp=1~{PRIVATE}"), "UA": "agent%2F1",
        "lastByte": "1", "cacheStatus": "1", "customField": PRIVATE,
    });
    for (name, value) in changes.as_object().expect("an object") {
        line[name] = value.clone();
    }
    format!("{line}\n")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("into memory");
    encoder.finish().expect("into memory")
}

async fn downloads(server: &Server, product: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["downloads", "--product", product, "--json"];
    arguments.extend(more);
    server.command(&arguments).await.expect(0).json()
}

/// Waits until so many complete downloads are counted.
async fn counted(server: &Server, product: &str, completed: u64) -> Value {
    eventually("the counts", async || {
        let list = downloads(server, product, &[]).await;
        let all = list["downloads"].as_array().expect("a list");
        let sum: u64 = all.iter().map(|count| count["completed"].as_u64().expect("a number")).sum();
        assert!(sum <= completed, "counted too much: {list}");
        (sum == completed).then_some(list)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_counted_once_by_day_and_image_and_keep_nothing_private() {
    let backend = Backend::production().await;
    let logs = Logs::of(&backend);
    let server = logs.server(&backend).start().await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    for (minor, version) in ["1.0.0", "1.1.0"].into_iter().enumerate() {
        publisher.upload(&product, version).send(content(1000, 900 + minor as u64)).await.expect(201);
    }
    let (old, new) = (format!("/{product}/1.0.0/app.bin"), format!("/{product}/1.1.0/app.bin"));
    let yesterday = Utc::now().date_naive() - Days::new(1);
    let at_noon = yesterday.and_hms_opt(12, 0, 0).expect("noon").and_utc().timestamp();

    // Doubles, other methods and statuses, unknown paths, numbers, what is missing, what is broken.
    let first = [
        line("a", &new, json!({})),
        line("a", &new, json!({})),
        line("b", &new, json!({ "lastByte": "0", "cacheStatus": "0", "bytes": 500 })),
        line("c", &new, json!({ "reqMethod": "HEAD" })),
        line("d", &new, json!({ "statusCode": "403" })),
        line("e", &new, json!({ "statusCode": 200, "lastByte": 1, "bytes": "-" })),
        line("f", "/v1/check", json!({ "statusCode": "200" })),
        line("g", &format!("/{product}/9.9.9/app.bin"), json!({})),
        line("h", &format!("{old}?hdnts={PRIVATE}"), json!({ "reqTimeSec": at_noon })),
        format!("{{\"reqPath\":\"{old}\"}}\nnonsense {PRIVATE}\n"),
    ];
    logs.put("2026/11/23/ak-1-1-x.gz", gzip(&first.concat())).await;
    let list = counted(&server, &product, 3).await;
    assert_eq!(list["counting"], true);
    let today = Utc::now().date_naive().to_string();
    assert_eq!(
        list["downloads"],
        json!([
            { "day": yesterday.to_string(), "version": "1.0.0", "filename": "app.bin", "completed": 1, "partial": 0,
              "bytes": 1000, "edge_bytes": 1000 },
            { "day": today, "version": "1.1.0", "filename": "app.bin", "completed": 2, "partial": 1,
              "bytes": 1500, "edge_bytes": 1000 },
        ])
    );
    let only = downloads(&server, &product, &["--version", "1.0.0"]).await;
    assert_eq!(only["downloads"].as_array().map(Vec::len), Some(1));
    let day = downloads(&server, &product, &["--days", "1"]).await;
    assert_eq!(day["downloads"][0]["version"], "1.1.0");
    let shown = server.command(&["downloads", "--product", &product]).await.expect(0);
    assert!(shown.stderr.contains("not for billing"), "{}", shown.stderr);
    assert_eq!(shown.stdout.lines().count(), 3, "{}", shown.stdout);

    let metrics = publisher.get("/metrics").await.expect(200);
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for line in [
        format!("firmament_cdn_downloads_total{{product=\"{product}\",outcome=\"completed\"}} 3"),
        format!("firmament_cdn_download_bytes_total{{product=\"{product}\",from=\"origin\"}} 500"),
        "firmament_cdn_log_lines_total{kind=\"counted\"} 4".to_owned(),
        "firmament_cdn_log_lines_total{kind=\"unknown\"} 2".to_owned(),
        "firmament_cdn_log_lines_total{kind=\"ignored\"} 2".to_owned(),
        "firmament_cdn_log_lines_total{kind=\"duplicate\"} 1".to_owned(),
        "firmament_cdn_log_lines_total{kind=\"broken\"} 2".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    let status = publisher.get("/v1/status").await.expect(200).json().to_string();
    assert!(status.contains("counted 1 logs: 4 deliveries, 2 of unknown paths"), "{status}");

    // Doubled in another object, which is not compressed; and a key that sorts before all that were counted.
    let second = [line("a", &new, json!({})), line("i", &new, json!({}))].concat();
    logs.put("2026/11/22/ak-0-1-x", second.into_bytes()).await;
    counted(&server, &product, 4).await;
    // An object that was counted is not looked at again, whatever is in it now.
    logs.put("2026/11/23/ak-1-1-x.gz", line("j", &new, json!({})).into_bytes()).await;
    logs.put("2026/11/24/ak-1-1-x.gz", line("k", &new, json!({})).into_bytes()).await;
    counted(&server, &product, 5).await;

    // A second replica, and the first one's next life, count nothing twice; an object that cannot be unpacked holds up none.
    let home = server.home().clone();
    let lines = server.log();
    server.terminate().await;
    assert!(lines.iter().all(|line| !line.contains(PRIVATE) && !line.contains("198.51.100.28")));
    logs.put("2026/11/24/ak-2-1-x.gz", vec![0x1f, 0x8b, 8, 0, 0]).await;
    let [one, other] =
        [logs.server(&backend).at_home_of(&home).start().await, logs.server(&backend).start().await];
    logs.put("2026/11/24/ak-3-1-x.gz", gzip(&line("l", &old, json!({})))).await;
    counted(&one, &product, 6).await;
    // What another life or another replica has counted is doubled now, in one more object.
    let doubled = [line("l", &old, json!({})), line("a", &new, json!({})), line("m", &old, json!({}))];
    logs.put("2026/11/24/ak-4-1-x", doubled.concat().into_bytes()).await;
    counted(&one, &product, 7).await;
    let token = ["--server", &other.publisher().base, "--token", &other.publisher().token].map(str::to_owned);
    let token: Vec<&str> = token.iter().map(String::as_str).collect();
    let list = downloads(&other, &product, &token).await;
    assert_eq!(list["downloads"].as_array().map(Vec::len), Some(3), "{list}");
}

/// Each log repeats half of the one before it, as when the CDN is told that a delivery failed that did not.
#[tokio::test(flavor = "multi_thread")]
async fn doubled_lines_count_once_however_often_the_reader_is_killed() {
    const LOGS: u64 = 24;
    let backend = Backend::production().await;
    let logs = Logs::of(&backend);
    let mut server = logs.server(&backend).start().await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").send(content(1000, 970)).await.expect(201);
    let path = format!("/{product}/1.0.0/app.bin");
    for log in 0..LOGS {
        let requests = (log * 100)..(log * 100 + 200);
        let text: String = requests.map(|request| line(&format!("r{request}"), &path, json!({}))).collect();
        // Not in the order of their times.
        logs.put(&format!("{:02}.gz", log * 7 % LOGS), gzip(&text)).await;
    }
    let all = LOGS * 100 + 100;
    let sum = |list: &Value| list["downloads"][0]["completed"].as_u64().unwrap_or(0);
    let mut before = 0;
    for _ in 0..6 {
        before = eventually("progress", async || {
            let now = sum(&downloads(&server, &product, &[]).await);
            (now > before || now == all).then_some(now)
        })
        .await;
        let home = server.home().clone();
        server.kill();
        server = logs.server(&backend).at_home_of(&home).start().await;
    }
    let list = counted(&server, &product, all).await;
    assert_eq!(list["downloads"][0]["bytes"], 1000 * all, "{list}");
    // What was delivered before all these lives, after them.
    let text: String = (0..all + 1).map(|request| line(&format!("r{request}"), &path, json!({}))).collect();
    logs.put("again.gz", gzip(&text)).await;
    counted(&server, &product, all + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edges_own_log_is_counted() {
    const TOKEN_KEY: &str = "00112233445566778899aabbccddeeff";
    let backend = Backend::production().await;
    let logs = Logs::of(&backend);
    let edge = Edge::before(backend.stores()).set("TOKEN_KEY", TOKEN_KEY).start().await;
    let server = logs
        .server(&backend)
        .set("CDN__BASE_URL", edge.url())
        .set("CDN__TOKEN__KIND", "akamai")
        .set("CDN__TOKEN__KEY", TOKEN_KEY)
        .start()
        .await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").channel("stable").send(content(3_000_000, 960)).await.expect(201);
    let offer = eventually("the offer", async || server.device().offer(&product, "0.1.0").await).await;
    fetch(Method::GET, &offer.url, &[]).await.expect(200);
    // A device that resumes: the first range is partial, the last one completes.
    fetch(Method::GET, &offer.url, &[("range", "bytes=0-999999")]).await.expect(206);
    fetch(Method::GET, &offer.url, &[("range", "bytes=1000000-")]).await.expect(206);
    fetch(Method::GET, offer.url.split('?').next().expect("a path"), &[]).await.expect(403);
    let log = eventually("the edge's log", async || {
        let log = std::fs::read_to_string(edge.access_log()).ok()?;
        (log.lines().filter(|line| line.contains(&product)).count() == 4).then_some(log)
    })
    .await;
    logs.put("2026/11/24/edge.gz", gzip(&log)).await;
    let list = counted(&server, &product, 2).await;
    let [count] = list["downloads"].as_array().expect("a list").as_slice() else { panic!("{list}") };
    assert_eq!((&count["completed"], &count["partial"]), (&json!(2), &json!(1)), "{list}");
    assert_eq!(count["bytes"], 6_000_000, "{list}");
    // The first download filled the cache that served the two ranges.
    assert_eq!(count["edge_bytes"], 3_000_000, "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_logs_says_so() {
    let server = Server::start(&Backend::Embedded).await;
    server.publisher().create("p").await;
    let shown = server.command(&["downloads", "--product", "p"]).await.expect(0);
    assert!(shown.stdout.starts_with("no downloads since "), "{}", shown.stdout);
    assert!(shown.stderr.contains("set [cdn.logs]"), "{}", shown.stderr);
    server.command(&["downloads", "--product", "unknown"]).await.expect(1);
    server.publisher().get("/v1/products/p/downloads?days=0").await.expect(400);
    server.publisher().get("/v1/products/p/downloads?version=x").await.expect(400);
}
