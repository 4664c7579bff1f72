//! The end: what is under way is finished, or undone; never cut in half.

use bytes::Bytes;

use crate::harness::{
    Backend, Raw, Server,
    client::{self, trickle},
    content, eventually, on_both, product_name,
    stores::Traces,
};

const SIZE: usize = 20 * 1024 * 1024;

on_both!(an_upload_is_finished, an_upload_that_does_not_end_is_undone);

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let mut server = Server::builder(&Backend::Embedded).set("SHUTDOWN__DELAY", "60s").start().await;
    server.signal("TERM");
    server.logged("draining").await;
    let began = std::time::Instant::now();
    server.signal("INT");
    let status = server.wait().await;
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    assert_eq!(status.code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_ends_soon() {
    let mut server = Server::start(&Backend::Embedded).await;
    // A connection that is kept alive is closed once it is idle.
    let mut kept = Raw::connect(&server.device().base).await;
    kept.say("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(kept.head().await.contains(" 200 "));
    let began = std::time::Instant::now();
    server.signal("INT");
    assert_eq!(server.wait().await.code(), Some(0));
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    assert!(!server.data_dir().join("listeners.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_end_each_answer_is_the_last_of_its_connection() {
    let server = Server::builder(&Backend::Embedded).set("SHUTDOWN__DELAY", "60s").start().await;
    server.publisher().create("p").await;
    server.publisher().upload("p", "1.0.0").channel("stable").send(content(1000, 73)).await.expect(201);
    eventually("the offer", async || server.device().offer("p", "0.1.0").await).await;
    let (device, publisher) = (server.device().base, server.publisher().base);
    let check = "/v1/check?product=p&version=0.1.0";
    let say = async |raw: &mut Raw, path: &str| {
        raw.say(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    };
    let mut kept = Vec::new();
    for (base, before, after) in
        [(&device, check, check), (&device, "/livez", check), (&publisher, "/livez", "/readyz")]
    {
        let mut raw = Raw::connect(base).await;
        say(&mut raw, before).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("connection: close"), "{before}: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        raw.next_bytes(length.trim().parse().expect("a number")).await;
        kept.push((raw, after));
    }
    server.signal("TERM");
    server.logged("draining").await;
    for path in [check, "/livez", "/v1/none"] {
        kept.push((Raw::connect(&device).await, path));
    }
    for (mut raw, path) in kept {
        say(&mut raw, path).await;
        let answer = raw.rest().await;
        assert_eq!(answer.matches("connection: close\r\n").count(), 1, "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_request_that_comes_late_is_answered() {
    let mut server = Server::start(&Backend::Embedded).await;
    let mut raws = Vec::new();
    for path in ["/v1/check?product=none&version=1.0.0", "/livez", "/v1/none"] {
        raws.push((Raw::connect(&server.device().base).await, path));
    }
    eventually("they are accepted", async || {
        let open = server.publisher().metric("firmament_connections{listener=\"device\"}").await;
        (open >= 3.0).then_some(())
    })
    .await;
    server.signal("TERM");
    server.logged("draining").await;
    eventually("nobody listens any more", async || {
        let address = server.device().base.replace("http://", "");
        tokio::net::TcpStream::connect(address).await.err()
    })
    .await;
    for (raw, path) in &mut raws {
        raw.say(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let answer = raw.rest().await;
        assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{path}: {answer}");
    }
    assert_eq!(server.wait().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_finished() {
    let mut server = Server::start(&Backend::Embedded).await;
    let (publisher, device) = (server.publisher(), server.device());
    publisher.create("p").await;
    let image = content(30_000_000, 72);
    publisher.upload("p", "1.0.0").channel("stable").send(image.clone()).await.expect(201);
    let mut slow = Raw::connect(&device.base).await;
    slow.say("GET /v1/download/p/1.0.0/app.bin HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(slow.head().await.starts_with("HTTP/1.1 200 "));
    server.signal("TERM");
    server.logged("draining").await;
    assert!(slow.next_bytes(image.len()).await == image, "not the image");
    drop(slow);
    assert_eq!(server.wait().await.code(), Some(0));
}

async fn an_upload_is_finished(backend: Backend) {
    let mut server = Server::builder(&backend).set("SHUTDOWN__DELAY", "2s").start().await;
    let (publisher, device, product) = (server.publisher(), server.device(), product_name());
    publisher.create(&product).await;
    let image = content(SIZE, 70);
    let (sender, body) = trickle();
    let upload = publisher.upload(&product, "1.0.0").channel("stable");
    let upload = tokio::spawn(client::send(upload.request(body)));
    let (first, rest) = image.split_at(SIZE / 2);
    sender.send(Bytes::copy_from_slice(first)).await.expect("the server reads");
    eventually("the upload is under way", async || {
        (publisher.metric("firmament_upload_bytes_total").await > 0.0).then_some(())
    })
    .await;
    server.signal("TERM");
    eventually("not ready", async || {
        let (status, health) = device.ready().await;
        (status == 503 && health["status"] == "draining").then_some(())
    })
    .await;
    // Load balancers need a while to notice; until then, checks are answered.
    device.check("product=nobody&version=1.0.0").await.problem(404);
    eventually("no new connections", async || {
        let (_, address) = device.base.split_once("://").expect("a URL");
        tokio::net::TcpStream::connect(address).await.err()
    })
    .await;
    for piece in rest.chunks(1 << 20) {
        sender.send(Bytes::copy_from_slice(piece)).await.expect("the server still reads");
    }
    drop(sender);
    upload.await.expect("no panic").expect("an answer").expect(201);
    assert_eq!(server.wait().await.code(), Some(0));
    let clean = Traces::just(&[format!("{product}/1.0.0/app.bin")]);
    assert_eq!(server.traces(&product).await, clean);
    let again = Server::builder(&backend).at_home_of(server.home()).start().await;
    let offer = again.device().offer(&product, "0.1.0").await.expect("an offer");
    let got = client::fetch(http::Method::GET, &offer.url, &[]).await.expect(200);
    assert_eq!(got.body, image);
}

async fn an_upload_that_does_not_end_is_undone(backend: Backend) {
    let mut server = Server::builder(&backend).set("SHUTDOWN__LIMIT", "2s").start().await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    let (sender, body) = trickle();
    let upload = tokio::spawn(client::send(publisher.upload(&product, "1.0.0").request(body)));
    sender.send(content(SIZE, 71)).await.expect("the server reads");
    eventually("the upload is under way", async || {
        (server.traces(&product).await.unfinished > 0).then_some(())
    })
    .await;
    server.signal("TERM");
    assert_eq!(server.wait().await.code(), Some(0));
    let told = upload.await.expect("no panic").expect("an answer");
    assert!(told.problem(429).detail.contains("stopping"));
    assert_eq!(server.traces(&product).await, Traces::default());
    drop(sender);
}
