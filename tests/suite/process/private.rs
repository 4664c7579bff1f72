//! Private products: links that end, and devices that say who they are.

use http::Method;
use serde_json::Value;

use crate::harness::{Answer, Backend, Publisher, Server, content, eventually, product_name};

async fn set(publisher: &Publisher, product: &str, settings: &str) -> Answer {
    publisher.request(Method::PUT, &format!("/v1/products/{product}"), Some(settings)).await
}

const PRIVATE: &str = r#"{"delivery":{"access":"private"}}"#;
const AUTHENTICATED: &str = r#"{"delivery":{"access":"private","authenticate_devices":true}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_private_products_image_needs_a_link_that_was_given_out() {
    let server = Server::start(&Backend::Embedded).await;
    let (publisher, device) = (server.publisher(), server.device());
    let image = content(300_000, 970);
    let mut links = Vec::new();
    for (product, settings) in [("open", "{}"), ("closed", PRIVATE)] {
        set(&publisher, product, settings).await.expect(201);
        publisher.upload(product, "1.0.0").channel("stable").send(image.clone()).await.expect(201);
        let offer = eventually("the offer", async || device.offer(product, "0.1.0").await).await;
        assert_eq!(offer.url_expires_at.is_some(), product == "closed");
        links.push(offer.url);
    }
    let path = |url: &str| url.strip_prefix(&device.base).expect("on this listener").to_owned();
    let (open, closed) = (path(&links[0]), path(&links[1]));
    assert_eq!(device.get(&open).await.expect(200).body, image);
    assert!(device.get(&open).await.header("cache-control").starts_with("public"));

    let whole = device.get(&closed).await.expect(200);
    assert_eq!(
        (whole.body, whole.headers["cache-control"].to_str().ok()),
        (image, Some("private, no-store"))
    );
    let (bare, seal) = closed.split_once("?c=").expect("a seal");
    let refused = device.get(bare).await;
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    refused.problem(401);
    let (first, rest) = seal.split_at(1);
    let forged = if first == "A" { "B" } else { "A" };
    for other in [format!("{bare}?c={forged}{rest}"), format!("{bare}?c="), format!("{bare}?c={seal}x")] {
        assert_eq!(device.get(&other).await.problem(403).kind, "urn:firmament:problem:link-ended");
    }
    // A seal is for one image.
    let upload = publisher.upload("closed", "1.1.0").send(content(1000, 971)).await.expect(201).json();
    let other = path(upload["url"].as_str().expect("a link"));
    let (other, _) = other.split_once('?').expect("a seal");
    device.get(&format!("{other}?c={seal}")).await.problem(403);
    // And it is for nobody's cache.
    let check = device.check("product=closed&version=0.1.0").await.expect(200);
    assert_eq!(check.header("cache-control"), "private, no-store");
    assert_eq!(check.header("etag"), "");
    let nothing = device.check("product=closed&version=9.0.0").await.expect(204);
    assert_eq!(nothing.header("cache-control"), "private, no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_show_a_credential_and_secrets_are_changed_without_shutting_them_out() {
    for backend in [Backend::Embedded, Backend::production().await] {
        let server = Server::start(&backend).await;
        let (publisher, device) = (server.publisher(), server.device());
        let product = product_name();
        let command = async |line: &str| {
            let line = line.replace("PRODUCT", &product);
            server.command(&line.split_whitespace().collect::<Vec<_>>()).await
        };
        command("product create PRODUCT --access private --authenticate-devices").await.expect(0);
        publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 972)).await.expect(201);
        let credential = |outcome: String| outcome.trim().to_owned();
        let of_old =
            credential(command("device credential --product PRODUCT --device SN-1").await.expect(0).stdout);
        assert_eq!(of_old.len(), 43, "{of_old}");
        let shown = async |bearer: Option<&str>, query: &str| {
            let bearer = bearer.map(|bearer| format!("Bearer {bearer}"));
            let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
            let path = format!("/v1/check?product={product}&version=0.1.0{query}");
            device.request(Method::GET, &path, &headers).await
        };
        eventually("the offer", async || {
            (shown(Some(&of_old), "&device=SN-1").await.status == 200).then_some(())
        })
        .await;
        let offer = shown(Some(&of_old), "&device=SN-1").await;
        assert_eq!(offer.header("cache-control"), "private, no-store");
        assert_eq!(offer.header("etag"), "");
        for (bearer, query) in [
            (None, "&device=SN-1"),
            (None, ""),
            (Some(of_old.as_str()), "&device=SN-2"),
            (Some(of_old.as_str()), ""),
            (Some(&of_old[1..]), "&device=SN-1"),
        ] {
            let refused = shown(bearer, query).await;
            assert_eq!(refused.header("www-authenticate"), "Bearer", "{bearer:?} {query}");
            assert_eq!(refused.header("cache-control"), "no-store");
            assert_eq!(refused.problem(401).kind, "urn:firmament:problem:device-credential");
        }
        let check = format!("check --product PRODUCT --version 0.1.0 --device SN-1 --credential {of_old}");
        command(&check).await.expect(0);
        command("check --product PRODUCT --version 0.1.0 --device SN-1").await.expect(1);

        // A new secret: both count, until the old one is ended.
        let secret = credential(command("product device-secret PRODUCT --rotate").await.expect(0).stdout);
        assert_eq!(secret.len(), 64, "{secret}");
        let again = command("product device-secret PRODUCT --rotate").await.expect(1);
        assert!(again.stderr.contains("--retire"), "{}", again.stderr);
        let file = server.home().path().join("secret");
        std::fs::write(&file, &secret).expect("written");
        let line =
            format!("device credential --product PRODUCT --device SN-1 --secret-file {}", file.display());
        let of_new = credential(command(&line).await.expect(0).stdout);
        assert_ne!(of_new, of_old);
        eventually("the new one", async || {
            (shown(Some(&of_new), "&device=SN-1").await.status == 200).then_some(())
        })
        .await;
        assert_eq!(shown(Some(&of_old), "&device=SN-1").await.status, 200);
        command("product device-secret PRODUCT --retire").await.expect(0);
        eventually("the old one's end", async || {
            (shown(Some(&of_old), "&device=SN-1").await.status == 401).then_some(())
        })
        .await;
        assert_eq!(shown(Some(&of_new), "&device=SN-1").await.status, 200);

        // It is told to nobody else.
        let shown_to_readers = [format!("/v1/products/{product}"), format!("/v1/products/{product}/audit")];
        for path in shown_to_readers {
            let text = String::from_utf8(publisher.get(&path).await.expect(200).body.to_vec()).expect("text");
            assert!(!text.contains(&secret), "{path}");
            assert!(path.ends_with("audit") == text.contains("product.device-secret"), "{text}");
        }
        assert!(server.log().iter().all(|line| !line.contains(&secret)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_private_only_where_links_can_end() {
    let backend = Backend::production().await;
    let plain = Server::builder(&backend).set("CDN__BASE_URL", "https://fw.example.com").start().await;
    let product = product_name();
    let refused = set(&plain.publisher(), &product, PRIVATE).await;
    assert_eq!(refused.reasons(422), ["access-unenforceable"]);
    plain.publisher().get(&format!("/v1/products/{product}")).await.expect(404);
    for wrong in [
        r#"{"delivery":{"authenticate_devices":true}}"#,
        r#"{"delivery":{"access":"secret"}}"#,
        r#"{"delivery":{"url":{"max_length":3}}}"#,
        r#"{"delivery":{"acess":"private"}}"#,
    ] {
        set(&plain.publisher(), &product, wrong).await.problem(400);
    }

    // With tokens it is, and a public product beside it has none.
    let signing = Server::builder(&backend)
        .set("CDN__BASE_URL", "https://fw.example.com")
        .set("CDN__TOKEN__KIND", "akamai")
        .set("CDN__TOKEN__KEY", "00112233445566778899aabbccddeeff")
        .set("CDN__TOKEN__SALT", "0123456789abcdef")
        .set("CDN__TOKEN__CLOCK_SKEW", "5m")
        .start()
        .await;
    let publisher = signing.publisher();
    for (access, has_token) in [("private", true), ("public", false)] {
        let product = product_name();
        set(&publisher, &product, &format!(r#"{{"delivery":{{"access":"{access}"}}}}"#)).await.expect(201);
        let stored = publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 973)).await;
        let stored: Value = stored.expect(201).json();
        let offer = eventually("the offer", async || signing.device().offer(&product, "0.1.0").await).await;
        assert_eq!(offer.url.contains("?hdnts=st="), has_token, "{}", offer.url);
        assert_eq!(stored["url"], offer.url.as_str());
    }
    let product = product_name();
    set(&publisher, &product, AUTHENTICATED).await.expect(201);
    publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 974)).await.expect(201);
    eventually("the refusal", async || {
        let answer = signing.device().check(&format!("product={product}&version=0.1.0")).await;
        (answer.status == 401).then_some(())
    })
    .await;
}
