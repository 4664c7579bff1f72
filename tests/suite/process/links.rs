//! The links that devices get, and the objects that they lead to.

use http::Method;

use crate::bucket::store::plain_client;
use crate::harness::{Backend, Server, client::fetch, content, eventually, product_name};

const AKAMAI_KEY: &str = "00112233445566778899aabbccddeeff";

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_link_gets_the_object_and_its_facts() {
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    let (publisher, device, product) = (server.publisher(), server.device(), product_name());
    publisher.create(&product).await;
    let image = content(9_000_000, 30);
    let upload = publisher.upload(&product, "1.4.0").filename("app-1.4.0.swu").channel("stable");
    let upload = upload.hardware("rev-a").hardware("rev-b");
    let stored = upload.send(image.clone()).await.expect(201).json();
    let check = format!("product={product}&version=1.0.0&hardware=rev-b");
    let offer = eventually("the offer", async || {
        let answer = device.check(&check).await;
        (answer.status == 200).then(|| answer.json())
    })
    .await;
    let url = offer["url"].as_str().expect("a link");
    assert!(url.contains("X-Amz-Signature=") && offer["url_expires_at"].is_string(), "{offer}");
    assert_eq!(device.check(&check).await.json()["url"], url, "a link is stable");
    assert_eq!(stored["url"], url, "a publisher is shown what devices get");

    let whole = fetch(Method::GET, url, &[]).await.expect(200);
    assert_eq!(whole.body, image);
    let part = fetch(Method::GET, url, &[("range", "bytes=8999990-")]).await.expect(206);
    assert_eq!(part.body, image[8_999_990..]);
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    assert!(whole.header("content-disposition").contains("app-1.4.0.swu"));
    assert!(whole.header("cache-control").contains("immutable"), "{}", whole.header("cache-control"));
    assert_eq!(whole.header("etag").trim_matches('"'), stored["etag"]);
    let forged = url.replace("1.4.0", "1.5.0");
    assert_eq!(fetch(Method::GET, &forged, &[]).await.status, 403);

    let s3 = backend.stores().s3();
    let key = stored["key"].as_str().expect("a key");
    let head = plain_client(s3).head_object().bucket(&s3.name).key(key).send().await.expect("there");
    let metadata = head.metadata().expect("has metadata");
    for (name, value) in [
        ("firmament-product", product.as_str()),
        ("firmament-version", "1.4.0"),
        ("firmament-filename", "app-1.4.0.swu"),
        ("firmament-hardware", "rev-a,rev-b"),
        ("sha256", stored["sha256"].as_str().expect("a text")),
    ] {
        assert_eq!(metadata.get(name).map(String::as_str), Some(value), "{metadata:?}");
    }
    assert!(["firmament-created-at", "mtime"].iter().all(|name| metadata.contains_key(*name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cdn_link_is_the_base_and_the_key() {
    let backend = Backend::production().await;
    let server = Server::builder(&backend).set("CDN__BASE_URL", "https://fw.example.com/").start().await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 31)).await.expect(201);
    let offer = eventually("the offer", async || server.device().offer(&product, "0.1.0").await).await;
    assert_eq!(offer.url, format!("https://fw.example.com/{product}/1.0.0/app.bin"));
    assert_eq!(offer.url_expires_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_akamai_link_carries_a_token_and_the_key_is_shown_nowhere() {
    let backend = Backend::production().await;
    let server = Server::builder(&backend)
        .set("CDN__BASE_URL", "https://fw.example.com")
        .set("CDN__TOKEN__KIND", "akamai")
        .set("CDN__TOKEN__KEY", AKAMAI_KEY)
        .start()
        .await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 32)).await.expect(201);
    let offer = eventually("the offer", async || server.device().offer(&product, "0.1.0").await).await;
    let expires = offer.url_expires_at.expect("it expires").timestamp();
    let start = format!(
        "https://fw.example.com/{product}/1.0.0/app.bin?hdnts=exp={expires}~acl=/{product}/1.0.0/app.bin~hmac="
    );
    assert!(offer.url.starts_with(&start), "{}", offer.url);
    assert_eq!(offer.url.len(), start.len() + 64);
    // That no log line has the key is seen when the server is dropped.
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_link_leads_where_the_device_asked_or_where_it_is_told() {
    let server = Server::start(&Backend::Embedded).await;
    let publisher = server.publisher();
    publisher.create("p").await;
    publisher.upload("p", "1.0.0").channel("stable").send(content(1000, 33)).await.expect(201);
    let offer = eventually("the offer", async || server.device().offer("p", "0.1.0").await).await;
    assert_eq!(offer.url, format!("{}/v1/download/p/1.0.0/app.bin", server.device().base));
    let home = server.home().clone();
    server.terminate().await;
    let public = Server::builder(&Backend::Embedded)
        .at_home_of(&home)
        .set("DEVICE__PUBLIC_URL", "https://up.example.com")
        .start()
        .await;
    let offer = public.device().offer("p", "0.1.0").await.expect("from disk or catalogue");
    assert_eq!(offer.url, "https://up.example.com/v1/download/p/1.0.0/app.bin");
}
