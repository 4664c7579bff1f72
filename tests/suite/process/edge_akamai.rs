//! The way through a CDN edge: nginx that caches fragments and checks Akamai's tokens, before the private bucket of the
//! real gateway, with a Fast Purge API that checks signatures by Akamai's own library.

use http::Method;

use crate::harness::{Backend, Edge, Server, client::fetch, content, eventually, product_name};

const TOKEN_KEY: &str = "00112233445566778899aabbccddeeff";

#[tokio::test(flavor = "multi_thread")]
async fn a_device_downloads_from_the_edge_with_its_token_and_nobody_without() {
    let backend = Backend::production().await;
    let edge = Edge::before(backend.stores()).set("TOKEN_KEY", TOKEN_KEY).start().await;
    let server = Server::builder(&backend)
        .set("CDN__BASE_URL", edge.url())
        .set("CDN__TOKEN__KIND", "akamai")
        .set("CDN__TOKEN__KEY", TOKEN_KEY)
        .start()
        .await;
    let (product, publisher) = (product_name(), server.publisher());
    publisher.create(&product).await;
    let image = content(5_000_000, 950);
    publisher.upload(&product, "1.0.0").channel("stable").send(image.clone()).await.expect(201);
    let offer = eventually("the offer", async || server.device().offer(&product, "0.1.0").await).await;
    let url = offer.url.clone();
    assert!(url.starts_with(edge.url()), "{url}");

    let whole = fetch(Method::GET, &url, &[]).await.expect(200);
    assert_eq!(whole.body, image);
    let before = edge.origin_requests().len();
    assert_eq!(before, 3, "one for each fragment of 2 MiB");
    let part = fetch(Method::GET, &url, &[("range", "bytes=2000000-2999999")]).await.expect(206);
    assert_eq!(part.body, image.slice(2_000_000..3_000_000));
    assert_eq!(edge.origin_requests().len(), before, "from the cache");

    let (plain, token) = url.split_once('?').expect("a token");
    fetch(Method::GET, plain, &[]).await.expect(403);
    let widened = token.replace(&format!("/{product}/1.0.0/app.bin"), "/*");
    assert_ne!(widened, token);
    fetch(Method::GET, &format!("{plain}?{widened}"), &[]).await.expect(403);
}
