//! Requests that are refused before any use case: by form, token, path or method; always a problem document.

use http::Method;

use crate::harness::{
    Backend, Raw, Server,
    client::{fetch, send, whole},
    content, eventually,
};

const CI: &str = "ci-token-0123456789";
const READER: &str = "reader-token-0123456789";

#[tokio::test(flavor = "multi_thread")]
async fn malformed_uploads_are_400_and_say_why() {
    let server = Server::start(&Backend::Embedded).await;
    let publisher = server.publisher();
    publisher.create("p").await;
    let image = content(1000, 20);
    let upload = |version: &str| publisher.upload("p", version);
    let cases = [
        (upload("1.0"), "1.0"),
        (upload("latest"), "latest"),
        (upload("1.0.0").filename("../x"), "../x"),
        (upload("1.0.0").filename(""), "filename"),
        (upload("1.0.0").query("filename", "b.bin"), "filename"),
        (upload("1.0.0").hardware("rev a"), "rev a"),
        (upload("1.0.0").channel("Stable"), "Stable"),
        (upload("1.0.0").query("chanel", "stable"), "chanel"),
        (upload("1.0.0").query("allow_downgrade", "yes"), "allow_downgrade"),
        (upload("1.0.0").query("notes", "a\0b"), "NUL"),
        (upload("1.0.0").header("repr-digest", "sha-256=abc"), "Repr-Digest"),
        (upload("1.0.0").header("content-type", "multipart/form-data; boundary=x"), "--data-binary"),
        (upload("1.0.0").header("content-encoding", "gzip"), "Content-Encoding"),
        (upload("1.0.0").header("content-range", "bytes 0-999/2000"), "range"),
    ];
    for (upload, word) in cases {
        let detail = upload.send(image.clone()).await.problem(400).detail;
        assert!(detail.contains(word), "{word}: {detail}");
    }
    publisher.upload("P!", "1.0.0").send(image.clone()).await.problem(400);
    publisher.upload("other", "1.0.0").send(image).await.problem(404);
    assert_eq!(server.traces("p").await, crate::harness::stores::Traces::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_needed_known_and_may_do_what_it_may() {
    let server = Server::builder(&Backend::Embedded)
        .set("PUBLISHER__TOKEN", "first-token-0123456789")
        .set("PUBLISHER__TOKENS__CI__TOKEN", CI)
        .set("PUBLISHER__TOKENS__CI__SCOPES", "publish")
        .set("PUBLISHER__TOKENS__CI__PRODUCTS", "p")
        .set("PUBLISHER__TOKENS__READER__TOKEN", READER)
        .set("PUBLISHER__TOKENS__READER__SCOPES", "read")
        .start()
        .await;
    assert!(!server.data_dir().join("publisher.token").exists(), "no second token is made");
    let publisher = server.publisher();
    let (ci, reader) = (publisher.with_token(CI), publisher.with_token(READER));
    publisher.create("p").await;
    publisher.create("q").await;
    let image = content(1000, 21);

    let answer = publisher.with_token("").upload("p", "1.0.0").send(image.clone()).await;
    assert!(answer.problem(401).detail.contains("Authorization"));
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    for token in ["wrong", "first-token-012345678", "FIRST-TOKEN-0123456789"] {
        publisher.with_token(token).get("/v1/products").await.problem(401);
        publisher.with_token(token).upload("p", "1.0.0").send(image.clone()).await.problem(401);
    }
    let products = format!("{}/v1/products", publisher.base);
    fetch(Method::GET, &products, &[("authorization", "Basic eDp5")]).await.problem(401);
    let query = format!("/v1/products?access_token={CI}");
    publisher.with_token("").get(&query).await.problem(401);

    ci.upload("p", "1.0.0").channel("stable").send(image.clone()).await.expect(201);
    assert!(ci.upload("q", "1.0.0").send(image.clone()).await.problem(403).detail.contains('q'));
    ci.request(Method::PUT, "/v1/products/r", Some("{}")).await.problem(403);
    ci.get("/v1/products/p/releases").await.problem(403);
    reader.get("/v1/products/p/releases").await.expect(200);
    reader.get("/v1/status").await.expect(200);
    reader.upload("p", "1.1.0").send(image).await.problem(403);
    reader.promote("p", "1.0.0", "beta").await.problem(403);
    reader.recall("p", "1.0.0").await.problem(403);
    let audit = publisher.get("/v1/products/p/audit").await.expect(200).json();
    assert_eq!(audit["entries"][0]["actor"], "ci");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_error_is_a_problem_document_too() {
    let server = Server::start(&Backend::Embedded).await;
    let (publisher, device) = (server.publisher(), server.device());
    publisher.create("p").await;
    for base in [&publisher.base, &device.base] {
        for (method, path, status) in [
            (Method::GET, "/", 404),
            (Method::GET, "/v2/check", 404),
            (Method::DELETE, "/livez", 405),
            (Method::POST, "/openapi.json", 405),
            (Method::GET, "/v1/../livez", 400),
            (Method::GET, "/%2e%2e/livez", 400),
        ] {
            let answer = fetch(method, &format!("{base}{path}"), &[]).await;
            answer.problem(status);
            assert_eq!(answer.header("allow").is_empty(), status != 405, "{path}");
        }
    }
    device.request(Method::POST, "/v1/check?product=p&version=1.0.0", &[]).await.problem(405);
    let put = async |body: &str| publisher.request(Method::PUT, "/v1/products/p", Some(body)).await;
    for body in [
        "",
        "{",
        "7",
        "[]",
        "null",
        r#"{"hardwares":[]}"#,
        r#"{"hardware":[""]}"#,
        r#"{"max_image_bytes":0}"#,
        r#"{"poll_interval":300}"#,
        r#"{"poll_interval":"0s"}"#,
        r#"{"cache_lifetime":"8days"}"#,
        r#"{"channel_settings":{"Beta":{}}}"#,
        r#"{"channel_settings":{"beta":{"poll":"1m"}}}"#,
    ] {
        put(body).await.problem(400);
    }
    assert!(put(r#"{"hardwares":[]}"#).await.problem(400).detail.contains("hardwares"));
    let told = put(r#"{"channel_settings":{"beta":{"poll_interval":"soon"}}}"#).await.problem(400).detail;
    assert!(told.contains("poll_interval \"soon\"") && told.contains("from 1s to 30days"), "{told}");
    put(&format!(r#"{{"hardware":["{}"]}}"#, "x".repeat(2_000_000))).await.problem(413);
    // curl's `-d` says that its body is a form; it is JSON all the same.
    let form = http::Request::put(format!("{}/v1/products/p", publisher.base))
        .header("authorization", format!("Bearer {}", publisher.token))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(whole("{}"))
        .expect("a request");
    send(form).await.expect("an answer").expect(200);
    publisher.promote("p", "9.9.9", "stable").await.problem(404);
    publisher.recall("p", "9.9.9").await.problem(404);
    publisher.recall("nobody", "1.0.0").await.problem(404);
    publisher.get("/v1/products/nobody/releases").await.problem(404);
    let recall = "/v1/products/p/releases/1.0.0/recall";
    publisher.request(Method::POST, recall, Some(r#"{"reason":" "}"#)).await.problem(400);
    publisher.request(Method::POST, recall, Some("{}")).await.problem(400);

    // An id of the caller's is repeated; one that would spoil the log is not.
    let url = format!("{}/v1/products", publisher.base);
    let named = fetch(Method::GET, &url, &[("x-request-id", "build-77")]).await;
    assert_eq!(named.header("x-request-id"), "build-77");
    assert_eq!(named.problem(401).request_id.as_deref(), Some("build-77"));
    let odd = fetch(Method::GET, &url, &[("x-request-id", "a b\"c")]).await;
    assert!(!odd.header("x-request-id").contains('"') && odd.header("x-request-id").len() > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_device_listener_has_no_publisher_route() {
    let server = Server::start(&Backend::Embedded).await;
    let (mut publisher, device) = (server.publisher(), server.device());
    publisher.create("p").await;
    publisher.base = device.base.clone();
    publisher.upload("p", "1.0.0").send(content(1000, 22)).await.problem(404);
    for path in ["/v1/products", "/v1/products/p", "/metrics", "/v1/status", "/v1/products/p/audit"] {
        publisher.get(path).await.problem(404);
    }
    publisher.request(Method::PUT, "/v1/products/q", Some("{}")).await.problem(404);
    let document = device.get("/openapi.json").await.expect(200).json();
    assert!(document["paths"]["/v1/check"].is_object() && document["paths"]["/v1/products"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_comes_before_100_continue() {
    let server = Server::start(&Backend::Embedded).await;
    let publisher = server.publisher();
    publisher.create("p").await;
    let image = content(500_000, 23);
    publisher.upload("p", "2.0.0").channel("stable").send(image.clone()).await.expect(201);
    let head = |token: &str, version: &str| {
        let target = publisher.upload("p", version).channel("stable").target();
        format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n\
             Content-Length: {}\r\n\r\n",
            image.len()
        )
    };
    for (token, version, status) in [
        (publisher.token.as_str(), "1.0.0", " 422 "),
        ("wrong", "3.0.0", " 401 "),
        (publisher.token.as_str(), "x", " 400 "),
    ] {
        let mut raw = Raw::connect(&publisher.base).await;
        raw.say(&head(token, version)).await;
        let answer = raw.head().await;
        assert!(answer.starts_with("HTTP/1.1") && answer.contains(status), "{answer}");
    }
    let mut raw = Raw::connect(&publisher.base).await;
    raw.say(&head(&publisher.token, "3.0.0")).await;
    let invitation = raw.head().await;
    assert!(invitation.starts_with("HTTP/1.1 100 "), "{invitation}");
    assert!(raw.send(&content(500_000, 24)).await);
    assert!(raw.head().await.starts_with("HTTP/1.1 201 "));
    eventually("offered", async || server.device().offer("p", "2.0.0").await).await;
}
