//! What the shipped rule tree of the CDN's property keeps from clients. The edge of these tests follows a tree in what it
//! denies, forwards of a query, asks a token for, and in the host by which it asks the device listener; each test also shows,
//! by a tree without the rule in question, what would happen then.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Backend, Edge, Server, client::fetch, content, eventually, product_name};

const RULES: &str = include_str!("../../../docs/akamai/rules.json");

/// The shipped tree, with a value below `/rules` in place of the one at a JSON pointer.
fn with(pointer: &str, value: Value) -> String {
    let mut tree: Value = serde_json::from_str(RULES).expect("JSON");
    *tree.pointer_mut(&format!("/rules{pointer}")).unwrap_or_else(|| panic!("{pointer} is there")) = value;
    tree.to_string()
}

/// An edge that follows a tree.
async fn following(backend: &Backend, rules: &str, settings: &[(&str, &str)]) -> Edge {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("rules.json");
    std::fs::write(&file, rules).expect("writable");
    let builder = Edge::before(backend.stores()).set("RULES", &file.display().to_string());
    settings.iter().fold(builder, |builder, (key, value)| builder.set(key, value)).start().await
}

async fn get(edge: &Edge, path: &str) -> Answer {
    fetch(Method::GET, &format!("{}{path}", edge.url()), &[]).await
}

/// A store answers signed requests to what their query asks for: another header, another document. All devices get the
/// copy that one client's request has made.
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_parameters_do_not_change_what_others_are_sent() {
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    let (product, publisher) = (product_name(), server.publisher());
    publisher.create(&product).await;
    let image = content(10_000, 990);
    publisher.upload(&product, "1.0.0").send(image.clone()).await.expect(201);
    let path = format!("/{product}/1.0.0/app.bin");
    for parameter in ["response-content-encoding=gzip", "response-content-type=text%2Fhtml", "acl"] {
        let token_alone = with("/children/0/behaviors/2/options/parameters", json!(["hdnts"]));
        for (rules, poisoned) in [(token_alone.as_str(), true), (RULES, false)] {
            let edge = following(&backend, rules, &[]).await;
            get(&edge, &format!("{path}?hdnts=x&{parameter}")).await.expect(200);
            let kept = get(&edge, &path).await.expect(200);
            let right = kept.body == image
                && kept.header("content-encoding").is_empty()
                && kept.header("content-type") == "application/octet-stream";
            assert_eq!(right, !poisoned, "{parameter}: {:?}", kept.headers);
            let asked = edge.origin_requests();
            assert_eq!(asked.len(), 1, "the second one is from the cache");
            assert_eq!(asked[0]["query"], if poisoned { parameter } else { "" });
        }
    }
}

/// The edge signs what it asks: an unsigned request to the bucket says nothing, one through the edge would.
#[tokio::test(flavor = "multi_thread")]
async fn neither_the_buckets_list_nor_the_manifests_are_read_through_the_edge() {
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    let (product, publisher) = (product_name(), server.publisher());
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").send(content(1000, 991)).await.expect(201);
    let open = with("/children/3/behaviors/0/options/enabled", json!(false));
    let open = open.replace(r#"["*"]"#, r#"["hdnts"]"#);
    let (open, shipped) = (following(&backend, &open, &[]).await, following(&backend, RULES, &[]).await);
    let list = "/?list-type=2&prefix=.firmament/catalogue/";
    let key = eventually("a manifest", async || {
        // Each look is another question to the edge, or it would be answered from its cache.
        let listed = get(&open, &format!("{list}&x={}", uuid::Uuid::now_v7())).await;
        let text = String::from_utf8_lossy(&listed.body).into_owned();
        Some(text.split("<Key>").nth(1)?.split("</Key>").next()?.to_owned())
    })
    .await;
    get(&open, &format!("/{key}")).await.expect(200);

    let hidden = key.replacen('.', "%2e", 1);
    for path in [
        "/",
        list,
        "//",
        "/.",
        "/x/..",
        &format!("/{key}"),
        &format!("/{hidden}"),
        &format!("//{key}"),
        &format!("/{product}/../{key}"),
        &format!("/{product}/%2e%2e/{hidden}"),
    ] {
        assert_eq!(get(&shipped, path).await.status, 403, "{path}");
    }
    assert_eq!(shipped.origin_requests(), Vec::<Value>::new(), "nobody was asked");
    get(&shipped, &format!("/{product}/1.0.0/app.bin")).await.expect(200);
}

/// The exception of a public product opens no other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_products_exception_opens_no_other_by_dots() {
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    let (open, closed, publisher) = (product_name(), product_name(), server.publisher());
    for product in [&open, &closed] {
        publisher.create(product).await;
        publisher.upload(product, "1.0.0").send(content(1000, 992)).await.expect(201);
    }
    let criterion = "/children/0/children/0/criteria/0/options";
    let exceptions = json!(["/v1/*", "/d/*", format!("/{open}/*")]);
    let shipped = with(&format!("{criterion}/values"), exceptions);
    let mut written: Value = serde_json::from_str(&shipped).expect("JSON");
    written["rules"]["children"][0]["children"][0]["criteria"][0]["options"]["normalize"] = json!(false);
    for (rules, status) in [(shipped, 403), (written.to_string(), 200)] {
        let edge = following(&backend, &rules, &[("TOKEN_KEY", super::edge_akamai::TOKEN_KEY)]).await;
        get(&edge, &format!("/{open}/1.0.0/app.bin")).await.expect(200);
        get(&edge, &format!("/{closed}/1.0.0/app.bin")).await.expect(403);
        for dots in ["..", "%2e%2e", ".%2E", "1/../.."] {
            let answer = get(&edge, &format!("/{open}/{dots}/{closed}/1.0.0/app.bin")).await;
            assert_eq!(answer.status, status, "{dots}");
        }
    }
}

/// The edge asks the listener by the listener's own name, which devices cannot use: the settings know the other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_link_given_out_through_the_edge_leads_back_through_it() {
    const G2O_KEY: &str = "0123456789abcdefghijklmn";
    let backend = Backend::production().await;
    for told in [true, false] {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let listener = socket.local_addr().expect("bound").to_string();
        drop(socket);
        let settings = [
            ("SERVICE", &*format!("http://{listener}")),
            ("TOKEN_KEY", super::edge_akamai::TOKEN_KEY),
            ("G2O_KEY", G2O_KEY),
            ("G2O_NONCE", "k1"),
        ];
        let edge = following(&backend, RULES, &settings).await;
        let builder = super::edge_akamai::behind(&edge, &backend).set("DEVICE__LISTEN", &listener);
        let builder = builder.set("DEVICE__G2O__KEYS__K1", G2O_KEY);
        let builder = if told {
            builder.set("DEVICE__PUBLIC_URL", edge.url()).set("DEVICE__G2O__REQUIRED", "true")
        } else {
            builder
        };
        let server = builder.start().await;
        let (product, publisher) = (product_name(), server.publisher());
        let short = Some(r#"{"delivery":{"link":"short"}}"#);
        publisher.request(Method::PUT, &format!("/v1/products/{product}"), short).await.expect(201);
        let image = content(1000, 993);
        publisher.upload(&product, "1.0.0").channel("stable").send(image.clone()).await.expect(201);
        let url = eventually("the offer", async || {
            // A device of its own, whose answer the edge does not keep.
            let device = uuid::Uuid::now_v7();
            let check = format!("/v1/check?product={product}&version=0.1.0&device={device}");
            let answer = get(&edge, &check).await;
            (answer.status == 200).then(|| answer.json()["url"].as_str().expect("a link").to_owned())
        })
        .await;
        if !told {
            assert!(url.starts_with(&format!("http://{listener}/d/")), "{url}");
            continue;
        }
        let path = url.strip_prefix(edge.url()).expect("through the edge");
        let answer = fetch(Method::GET, &url, &[]).await.expect(302);
        let location = answer.header("location");
        assert!(path.starts_with("/d/") && location.starts_with(edge.url()), "{url} to {location}");
        assert_eq!(fetch(Method::GET, location, &[]).await.expect(200).body, image);
        fetch(Method::GET, &format!("http://{listener}{path}"), &[]).await.problem(403);
    }
}
