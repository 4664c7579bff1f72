//! What a CDN's range cache needs of its origin, be it the bucket or the device listener: one strong entity tag for the
//! same bytes wherever they come from, exact ranges, and nothing that keeps answers out of a cache.

use bytes::Bytes;
use http::Method;

use crate::harness::{Backend, Publisher, Server, client::fetch, content, eventually};

/// Two parts of a multipart upload, and a bit.
const SIZE: usize = 17_000_001;

/// The link that a device is given for the image, which is published unless it is there already.
async fn link(server: &Server, product: &str, image: &Bytes) -> String {
    let publisher: Publisher = server.publisher();
    let put = publisher.request(Method::PUT, &format!("/v1/products/{product}"), Some("{}")).await;
    assert!(matches!(put.status, 200 | 201), "{}", put.status);
    let stored = publisher.upload(product, "1.0.0").channel("stable").send(image.clone()).await;
    assert!(matches!(stored.status, 200 | 201), "{}", stored.status);
    eventually("the offer", async || server.device().offer(product, "0.1.0").await).await.url
}

#[tokio::test(flavor = "multi_thread")]
async fn every_origin_answers_ranges_alike() {
    let (image, product) = (content(SIZE, 990), crate::harness::product_name());
    let backend = Backend::production().await;
    let (one, other, embedded) =
        tokio::join!(Server::start(&backend), Server::start(&backend), Server::start(&Backend::Embedded));
    // One after the other: the second replica is told that it is there already.
    let mut links = Vec::new();
    for server in [&one, &other, &embedded] {
        links.push(link(server, &product, &image).await);
    }
    let mut tags = Vec::new();
    for url in &links {
        let ask = async |fields: &[(&str, &str)]| fetch(Method::GET, url, fields).await;
        let whole = ask(&[]).await.expect(200);
        assert!(whole.body == image, "{url}");
        let tag = whole.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "a strong one: {tag}");
        let last = SIZE - 1;
        for (range, first, end) in [
            ("bytes=0-0".to_owned(), 0, 1),
            ("bytes=0-2097151".to_owned(), 0, 2_097_152),
            ("bytes=8388600-8388700".to_owned(), 8_388_600, 8_388_701),
            (format!("bytes={last}-"), last, SIZE),
            ("bytes=-7".to_owned(), SIZE - 7, SIZE),
            (format!("bytes=16777216-{}", SIZE + 500), 16_777_216, SIZE),
        ] {
            let part = ask(&[("range", &range)]).await.expect(206);
            assert!(part.body == image.slice(first..end), "{range} of {url}");
            assert_eq!(part.header("content-range"), format!("bytes {first}-{}/{SIZE}", end - 1));
            assert_eq!((part.header("etag"), part.header("vary")), (tag.as_str(), ""), "{range} of {url}");
            assert!(part.header("cache-control").contains("immutable"), "{range} of {url}");
        }
        ask(&[("range", &format!("bytes={SIZE}-"))]).await.expect(416);
        let fresh = ask(&[("if-none-match", &tag)]).await.expect(304);
        assert!(fresh.body.is_empty() && fresh.header("vary").is_empty());
        let same = [("range", "bytes=5-9"), ("if-range", tag.as_str())];
        assert_eq!(ask(&same).await.expect(206).body, image.slice(5..10));
        for name in ["vary", "content-encoding"] {
            assert_eq!(whole.header(name), "", "{name} of {url}");
        }
        tags.push(tag);
    }
    assert_eq!(tags[0], tags[1], "the same image has one tag, whichever replica leads to it");
    // The listener is an origin of ours, so the other half of If-Range holds as well; Ceph's gateway ignores it.
    let changed = [("range", "bytes=5-9"), ("if-range", "\"other\"")];
    assert!(fetch(Method::GET, &links[2], &changed).await.expect(200).body == image);
}
