//! Publishing over HTTP: every answer of the contract.

use bytes::Bytes;
use http::Method;
use sha2::{Digest as _, Sha256};

use crate::harness::{
    Backend, Server,
    client::{digest, send, trickle},
    content, on_both, product_name,
    stores::Traces,
};

on_both!(
    a_new_image_is_201_and_its_retry_200,
    what_contradicts_is_409_and_what_the_rules_refuse_is_422,
    a_downgrade_needs_consent_and_a_reason,
    what_is_too_large_is_413,
    a_damaged_body_leaves_nothing,
    a_chunked_body_is_stored,
);

async fn a_new_image_is_201_and_its_retry_200(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    let image = content(1_000_003, 10);
    let upload = publisher.upload(&product, "v1.4.0").hardware("rev-a").hardware("revB");
    let upload = upload.channel("stable").query("notes", "fixes the clock");
    let stored = upload.clone().send(image.clone()).await.expect(201).json();
    let sha256 = hex::encode(Sha256::digest(&image));
    for (field, value) in [
        ("product", product.as_str()),
        ("version", "1.4.0"),
        ("filename", "app.bin"),
        ("sha256", sha256.as_str()),
        ("key", &format!("{product}/1.4.0/app.bin")),
    ] {
        assert_eq!(stored[field], value);
    }
    assert_eq!(stored["size"], 1_000_003);
    assert_eq!(stored["hardware"], serde_json::json!(["rev-a", "revB"]));
    assert_eq!(stored["channels"], serde_json::json!(["stable"]));
    let created = stored["created_at"].as_str().expect("a time");
    assert!(chrono::DateTime::parse_from_rfc3339(created).is_ok(), "{created}");

    let again = upload.clone().send(image.clone()).await.expect(200).json();
    assert_eq!(again["sha256"], stored["sha256"]);
    assert_eq!(again["created_at"], stored["created_at"]);
    let with_digest = upload.clone().header("repr-digest", &digest(&image));
    with_digest.clone().send(image.clone()).await.expect(200);
    // One new channel is no contradiction: the same image is offered there, too.
    let beta = publisher.upload(&product, "1.4.0").hardware("revB").hardware("rev-a").channel("beta");
    let both = beta.send(image.clone()).await.expect(200).json();
    assert_eq!(both["channels"], serde_json::json!(["beta", "stable"]));
    let release = publisher.get(&format!("/v1/products/{product}/releases/1.4.0")).await.expect(200).json();
    assert_eq!(release["notes"], "fixes the clock");
    assert_eq!(release["state"], "published");
    let clean = Traces::just(&[format!("{product}/1.4.0/app.bin")]);
    assert_eq!(server.traces(&product).await, clean);
}

async fn what_contradicts_is_409_and_what_the_rules_refuse_is_422(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product) = (server.publisher(), product_name());
    let create = format!("/v1/products/{product}");
    let known = r#"{"hardware":["rev-a","rev-b"]}"#;
    publisher.request(Method::PUT, &create, Some(known)).await.expect(201);
    let image = content(100_000, 11);
    let first = publisher.upload(&product, "2.0.0").hardware("rev-a").channel("stable");
    first.clone().send(image.clone()).await.expect(201);

    let other = content(100_000, 12);
    first.clone().send(other.clone()).await.problem(409);
    first.clone().header("repr-digest", &digest(&other)).send(other.clone()).await.problem(409);
    let renamed = publisher.upload(&product, "2.0.0").filename("other.bin");
    let detail = renamed.hardware("rev-a").hardware("rev-b").send(other.clone()).await.problem(409).detail;
    assert!(detail.contains("app.bin"), "{detail}");
    publisher.upload(&product, "2.0.0").hardware("rev-b").send(other.clone()).await.problem(409);

    let older = publisher.upload(&product, "1.9.9").hardware("rev-a").hardware("rev-c").channel("stable");
    let refused = older.header("repr-digest", &digest(&image)).send(image.clone()).await;
    let mut reasons = refused.reasons(422);
    reasons.sort();
    assert_eq!(reasons, ["hardware-unknown", "same-bytes", "version-not-newer"]);
    assert!(refused.problem(422).reasons.iter().all(|reason| reason.message.len() > 20));
    let same = publisher.upload(&product, "2.1.0").hardware("rev-a").send(image.clone()).await;
    assert_eq!(same.reasons(422), ["same-bytes"]);
    let meant = publisher.upload(&product, "2.1.0").hardware("rev-a").query("allow_same_bytes", "true");
    meant.send(image.clone()).await.expect(201);
    let build = publisher.upload(&product, "2.2.0%2B7").send(other.clone()).await;
    assert_eq!(build.reasons(422), ["version-build-metadata"]);
    assert_eq!(publisher.upload(&product, "2.2.0").send(Bytes::new()).await.reasons(422), ["image-empty"]);
    publisher.recall(&product, "2.1.0").await.expect(200);
    let recalled = publisher.upload(&product, "2.1.0").filename("b.bin").hardware("rev-b").send(other).await;
    assert_eq!(recalled.reasons(422), ["version-recalled"]);
    let keys = ["2.0.0", "2.1.0"].map(|version| format!("{product}/{version}/app.bin"));
    assert_eq!(server.traces(&product).await, Traces::just(&keys));
}

async fn a_downgrade_needs_consent_and_a_reason(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    publisher.upload(&product, "2.0.0").channel("stable").send(content(1000, 13)).await.expect(201);
    let older = publisher.upload(&product, "1.0.0").channel("stable");
    assert_eq!(older.clone().send(content(1000, 14)).await.reasons(422), ["version-not-newer"]);
    let meant = older.query("allow_downgrade", "true");
    assert_eq!(meant.clone().send(content(1000, 14)).await.reasons(422), ["downgrade-reason-missing"]);
    meant.query("reason", "2.0.0 drains batteries").send(content(1000, 14)).await.expect(201);
    let product_now = publisher.get(&format!("/v1/products/{product}")).await.expect(200).json();
    assert_eq!(product_now["channels"][0]["offers"][0]["version"], "1.0.0");
    let audit = publisher.get(&format!("/v1/products/{product}/audit")).await.expect(200).json();
    let entry = &audit["entries"][0];
    assert_eq!(entry["action"], "image.publish");
    assert_eq!(entry["actor"], "publisher");
    assert_eq!(entry["details"]["reason"], "2.0.0 drains batteries");
    assert_eq!(entry["details"]["downgrade"], true);
}

async fn what_is_too_large_is_413(backend: Backend) {
    let server = Server::builder(&backend).set("PUBLISHER__MAX_IMAGE_BYTES", "12000000").start().await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    let image = content(12_000_001, 15);
    let declared = publisher.upload(&product, "1.0.0").send(image.clone()).await;
    assert_eq!(declared.reasons(413), ["image-too-large"]);
    let (sender, body) = trickle();
    let growing = tokio::spawn(send(publisher.upload(&product, "1.0.0").request(body)));
    for piece in image.chunks(1_000_000) {
        if sender.send(Bytes::copy_from_slice(piece)).await.is_err() {
            break;
        }
    }
    drop(sender);
    let grown = growing.await.expect("no panic").expect("an answer");
    assert_eq!(grown.reasons(413), ["image-too-large"]);
    let own = format!("/v1/products/{product}");
    publisher.request(Method::PUT, &own, Some(r#"{"max_image_bytes":1000}"#)).await.expect(200);
    let small = publisher.upload(&product, "1.0.0").send(content(1001, 16)).await;
    assert_eq!(small.reasons(413), ["image-too-large"]);
    assert_eq!(server.traces(&product).await, Traces::default());
    publisher.upload(&product, "1.0.0").send(content(1000, 16)).await.expect(201);
}

async fn a_damaged_body_leaves_nothing(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    for size in [1000, 9_000_000] {
        let (image, other) = (content(size, 17), content(size, 18));
        let upload = publisher.upload(&product, "1.0.0").header("repr-digest", &digest(&other));
        assert_eq!(upload.send(image).await.reasons(422), ["digest-mismatch"]);
        assert_eq!(server.traces(&product).await, Traces::default());
    }
}

async fn a_chunked_body_is_stored(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    let image = content(9_500_000, 19);
    let (sender, body) = trickle();
    let upload = tokio::spawn(send(publisher.upload(&product, "1.0.0").request(body)));
    for piece in image.chunks(700_001) {
        sender.send(Bytes::copy_from_slice(piece)).await.expect("the server reads");
    }
    drop(sender);
    let stored = upload.await.expect("no panic").expect("an answer").expect(201).json();
    assert_eq!(stored["size"], 9_500_000);
    assert_eq!(stored["sha256"], hex::encode(Sha256::digest(&image)));
}
