//! The commands of operators: migrate, check-config, openapi, and what a start says when it cannot be.

use crate::harness::{Backend, Server, command::run, content, eventually, server::shows_no_secret};

#[tokio::test(flavor = "multi_thread")]
async fn migrations_run_once_and_can_be_left_to_the_operator() {
    let backend = Backend::production().await;
    let refused = Server::builder(&backend).argument("--no-migrate").run_to_end().await.expect(2);
    assert!(refused.stderr.contains("run `firmament migrate`"), "{}", refused.stderr);
    let home = tempfile::tempdir().expect("a temporary directory");
    let environment = backend.environment();
    let migrate = async || run(home.path(), &["migrate"], &environment).await.expect(0);
    let first = migrate().await;
    assert!(first.stdout.starts_with("ran "), "{}", first.stdout);
    let second = migrate().await;
    assert_eq!(second.stdout, "the catalogue's schema is up to date\n");
    let server = Server::builder(&backend).argument("--no-migrate").start().await;
    server.publisher().create("p").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_names_what_is_wrong_and_hides_what_is_secret() {
    let backend = Backend::production().await;
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut environment = backend.environment();
    for (key, value) in [
        ("PUBLISHER__TOKEN", "first-token-0123456789"),
        ("PUBLISHER__TOKENS__CI__TOKEN", "ci-token-0123456789"),
        ("PUBLISHER__TOKENS__CI__SCOPES", "publish,read"),
        ("CDN__BASE_URL", "https://fw.example.com"),
        ("CDN__TOKEN__KIND", "akamai"),
        ("CDN__TOKEN__KEY", "00112233445566778899aabbccddeeff"),
    ] {
        environment.push((format!("FIRMAMENT__{key}"), value.to_owned()));
    }
    let fine = run(home.path(), &["check-config"], &environment).await.expect(0);
    assert!(fine.stdout.contains("https://fw.example.com"), "{}", fine.stdout);
    let mut secrets = backend.secrets();
    secrets.extend(
        ["first-token-0123456789", "ci-token-0123456789", "00112233445566778899aabbccddeeff"].map(Into::into),
    );
    shows_no_secret(&[fine.stdout, fine.stderr], &secrets);

    let set = |key: &str, value: &str| vec![(format!("FIRMAMENT__{key}"), value.to_owned())];
    for (environment, word) in [
        (set("PUBLISHER__LISTN", "127.0.0.1:1"), "listn"),
        (set("PUBLISHER__LISTEN", "nowhere"), "publisher.listen"),
        (set("DEVICE__POLL_INTERVAL", "often"), "poll_interval"),
        (set("PUBLISHER__TOKEN", "short"), "publisher.token"),
        (set("BUCKET__NAME", "alone"), "bucket"),
        (set("CATALOGUE__URL", "mysql://x"), "catalogue.url"),
    ] {
        let wrong = run(home.path(), &["check-config"], &environment).await.expect(1);
        assert!(wrong.stderr.contains(word), "{word}: {}", wrong.stderr);
        let refused = run(home.path(), &["serve"], &environment).await.expect(1);
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    let file = home.path().join("settings.toml");
    std::fs::write(&file, "[device.g2o]\nkeys = { k1 = \"0123456789abcdefghijklmn\" }\n").expect("writable");
    let warned = run(home.path(), &["check-config", "--config", "settings.toml"], &[]).await.expect(0);
    assert!(warned.stderr.contains("warning: device.public_url is not set"), "{}", warned.stderr);
    std::fs::write(&file, "[publisher]\nlisten = \"127.0.0.1:0\"\nmax_upload = 3\n").expect("writable");
    let wrong = run(home.path(), &["check-config", "--config", "settings.toml"], &[]).await.expect(1);
    assert!(wrong.stderr.contains("max_upload"), "{}", wrong.stderr);
    std::fs::write(&file, "[publisher\n").expect("writable");
    let wrong = run(home.path(), &["check-config", "--config", "settings.toml"], &[]).await.expect(1);
    assert!(wrong.stderr.contains("settings.toml") && wrong.stderr.contains("line 1"), "{}", wrong.stderr);
    run(home.path(), &["check-config", "--config", "missing.toml"], &[]).await.expect(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_prints_both_documents() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let publisher = run(home.path(), &["openapi"], &[]).await.expect(0).json();
    assert_eq!(run(home.path(), &["openapi", "publisher"], &[]).await.expect(0).json(), publisher);
    let device = run(home.path(), &["openapi", "device"], &[]).await.expect(0).json();
    assert!(publisher["paths"]["/v1/products/{product}/releases/{version}/images"]["post"].is_object());
    assert!(device["paths"]["/v1/check"]["get"].is_object());
    run(home.path(), &["openapi", "both"], &[]).await.expect(1);
    let server = Server::start(&Backend::Embedded).await;
    let served = server.publisher().with_token("").get("/openapi.json").await.expect(200).json();
    assert_eq!(served, publisher);
    assert_eq!(server.device().get("/openapi.json").await.expect(200).json(), device);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let refused = Server::builder(&Backend::Embedded).set("DEVICE__LISTEN", &address);
    let refused = refused.run_to_end().await.expect(2);
    assert!(
        refused.stderr.contains(&address) && refused.stderr.contains("device.listen"),
        "{}",
        refused.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_log_line_is_one_json_object() {
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    let publisher = server.publisher();
    let product = crate::harness::product_name();
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 80)).await.expect(201);
    publisher.with_token("wrong").get("/v1/products").await.problem(401);
    publisher.upload(&product, "0.1.0").channel("stable").send(content(1000, 81)).await.problem(422);
    eventually("the offer", async || server.device().offer(&product, "0.1.0").await).await;
    server.signal("TERM");
    server.logged("\"ended\"").await;
    let log = server.log();
    assert!(log.len() > 10, "{log:?}");
    for line in &log {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string());
    }
    let published = log.iter().find(|line| line.contains("\"published\"")).expect("a line for the publish");
    assert!(published.contains(&product) && published.contains("\"actor\":\"publisher\""), "{published}");
    // That no line has a secret is seen when the server is dropped.
}
