//! What devices take for a URL, and what is refused because they would not take its link.

use http::Method;

use crate::harness::{Backend, Server, backup::Place, content, eventually, product_name};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_modem_would_cut_is_not_published_and_a_short_link_is() {
    let backend = Backend::production().await;
    let server = Server::builder(&backend)
        .set("CDN__BASE_URL", "https://fw.example.com")
        .set("CDN__TOKEN__KIND", "akamai")
        .set("CDN__TOKEN__KEY", "00112233445566778899aabbccddeeff")
        .set("DEVICE__SHORT_URL", "http://203.0.113.7")
        .start()
        .await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    let stored = publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 990)).await;
    let link = stored.expect(201).json()["url"].as_str().expect("a link").to_owned();
    let set = async |delivery: &str| {
        let settings = format!(r#"{{"delivery":{delivery}}}"#);
        publisher.request(Method::PUT, &format!("/v1/products/{product}"), Some(&settings)).await.expect(200)
    };
    // One byte too many, and exactly what fits: the length is that of the link.
    let limit = link.len() - 1;
    let warned = set(&format!(r#"{{"url":{{"max_length":{limit}}}}}"#)).await.json();
    assert_eq!(warned["warnings"][0]["code"], "url-too-long", "{warned}");
    let said = warned["warnings"][0]["message"].as_str().expect("a sentence");
    assert!(said.contains(&format!("{} bytes", link.len())) && said.contains(&limit.to_string()), "{said}");
    let refused = publisher.upload(&product, "1.1.0").send(content(1000, 991)).await;
    assert_eq!(refused.reasons(422), ["url-too-long"]);
    let promoted = publisher.promote(&product, "1.0.0", "beta").await;
    assert_eq!(promoted.reasons(422), ["url-too-long"]);
    let fits = set(&format!(r#"{{"url":{{"max_length":{}}}}}"#, link.len())).await.json();
    assert!(fits.get("warnings").is_none(), "{fits}");
    publisher.promote(&product, "1.0.0", "beta").await.expect(200);

    // Another scheme and an address: the short link has both, what it leads to has neither, and a device has to get there.
    set(r#"{"url":{"scheme":"http","host":"ip"}}"#).await;
    let refused = publisher.upload(&product, "1.1.0").send(content(1000, 991)).await;
    assert_eq!(refused.reasons(422), ["url-scheme", "url-host"]);
    set(r#"{"link":"short","url":{"scheme":"http","host":"ip","max_length":64}}"#).await;
    let refused = publisher.upload(&product, "1.1.0").send(content(1000, 991)).await;
    assert_eq!(refused.reasons(422), ["url-scheme", "url-host"]);
    // The length is that of the short link alone.
    set(r#"{"link":"short","access":"private","url":{"max_length":64}}"#).await;
    publisher.upload(&product, "1.1.0").channel("stable").send(content(1000, 991)).await.expect(201);
    let offer = eventually("the offer", async || {
        server.device().offer(&product, "0.1.0").await.filter(|offer| offer.version == "1.1.0")
    })
    .await;
    assert!(offer.url.starts_with("http://203.0.113.7/d/") && offer.url.len() <= 64, "{}", offer.url);
    assert!(offer.direct_url.expect("beside it").starts_with("https://fw.example.com/"));
}

/// Links may point to the backup on the day when the bucket is away: they have to fit there too.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_too_long_at_the_backup_is_not_published() {
    let backend = Backend::production().await;
    let builder = Server::builder(&backend).set("CDN__BASE_URL", "https://fw.example.com");
    let place = Place::same_store().set("BACKUP__BASE_URL", "https://fw-backup.example.com/");
    let server = place.on(builder).start().await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    let at_backup = format!("https://fw-backup.example.com/{product}/1.0.0/app.bin").len();
    let set = async |limit: usize| {
        let settings = format!(r#"{{"delivery":{{"url":{{"max_length":{limit}}}}}}}"#);
        let path = format!("/v1/products/{product}");
        publisher.request(Method::PUT, &path, Some(&settings)).await.expect(200)
    };
    set(at_backup - 1).await;
    let refused = publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 995)).await;
    let said = String::from_utf8_lossy(&refused.body).into_owned();
    assert_eq!(refused.reasons(422), ["url-too-long"]);
    assert!(said.contains(&format!("{at_backup} bytes")) && said.contains("at the backup"), "{said}");
    set(at_backup).await;
    publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 995)).await.expect(201);
}
