//! The way through a CDN edge: nginx that caches fragments and checks Akamai's tokens, before the private bucket of the
//! real gateway, with a Fast Purge API that checks signatures by Akamai's own library.

use futures_util::future::join_all;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::harness::{
    Answer, Backend, Edge, Server, client::fetch, content, eventually, product_name, server::Builder,
};

pub(super) const TOKEN_KEY: &str = "00112233445566778899aabbccddeeff";
/// A fragment of the edge, in bytes.
const FRAGMENT: usize = 2 * 1024 * 1024;

/// A server whose devices download from this edge, with tokens.
pub(super) fn behind(edge: &Edge, backend: &Backend) -> Builder {
    Server::builder(backend)
        .set("CDN__BASE_URL", edge.url())
        .set("CDN__TOKEN__KIND", "akamai")
        .set("CDN__TOKEN__KEY", TOKEN_KEY)
}

/// The same, and it purges this edge.
pub(super) fn purging(edge: &Edge, backend: &Backend) -> Builder {
    let [client_token, client_secret, access_token] = edge.account();
    behind(edge, backend)
        .set("CDN__PURGE__KIND", "akamai")
        .set("CDN__PURGE__HOST", edge.purge_url())
        .set("CDN__PURGE__CLIENT_TOKEN", client_token)
        .set("CDN__PURGE__CLIENT_SECRET", client_secret)
        .set("CDN__PURGE__ACCESS_TOKEN", access_token)
}

async fn tokens(backend: &Backend) -> Edge {
    Edge::before(backend.stores()).set("TOKEN_KEY", TOKEN_KEY).start().await
}

/// A link as a device was given it long ago.
fn outdated(link: &str) -> String {
    let (url, _) = link.split_once('?').expect("a token");
    let path = url.splitn(4, '/').nth(3).expect("a path");
    let fields = format!("exp=1000000000~acl=/{path}");
    let key = hex::decode(TOKEN_KEY).expect("hex");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    mac.update(fields.as_bytes());
    format!("{url}?hdnts={fields}~hmac={}", hex::encode(mac.finalize().into_bytes()))
}

/// A release as publishers see it.
pub(super) async fn release(server: &Server, product: &str, version: &str) -> Value {
    server.publisher().get(&format!("/v1/products/{product}/releases/{version}")).await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_downloads_from_the_edge_with_its_token_and_nobody_without() {
    let backend = Backend::production().await;
    let edge = tokens(&backend).await;
    let server = behind(&edge, &backend).start().await;
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
    assert_eq!(before, image.len().div_ceil(FRAGMENT), "one for each fragment");
    let part = fetch(Method::GET, &url, &[("range", "bytes=2000000-2999999")]).await.expect(206);
    assert_eq!(part.body, image.slice(2_000_000..3_000_000));
    assert_eq!(edge.origin_requests().len(), before, "from the cache");

    let (plain, token) = url.split_once('?').expect("a token");
    fetch(Method::GET, plain, &[]).await.expect(403);
    let widened = token.replace(&format!("/{product}/1.0.0/app.bin"), "/*");
    assert_ne!(widened, token);
    fetch(Method::GET, &format!("{plain}?{widened}"), &[]).await.expect(403);
    // The lines come when a request has ended: the edge knows why it has refused.
    eventually("the edge's log", async || {
        let log = std::fs::read_to_string(edge.access_log()).ok()?;
        (log.contains("\"token\":\"absent\"") && log.contains("\"token\":\"forged\"")).then_some(())
    })
    .await;
}

/// The life of a release: the gate, the check, downloads, an outdated token, the recall and the purge.
#[tokio::test(flavor = "multi_thread")]
async fn from_the_gate_to_the_purge() {
    const SIZE: usize = 64 * 1024 * 1024;
    const RANGES: usize = 200;
    let backend = Backend::production().await;
    let edge = tokens(&backend).await;
    // A sample, so that the gate leaves nearly all of the image cold.
    let server = purging(&edge, &backend)
        .set("CDN__VERIFY_BEFORE_OFFER", "sample")
        .set("CDN__SAMPLE_ABOVE", "1MiB")
        .start()
        .await;
    let (product, publisher, device) = (product_name(), server.publisher(), server.device());
    publisher.create(&product).await;
    let image = content(SIZE, 951);
    let stored = publisher.upload(&product, "1.0.0").channel("stable").send(image.clone()).await.expect(201);
    assert_eq!(stored.json()["pending"][0]["channel"], "stable", "{:?}", stored.json());
    let offer = eventually("the gate", async || device.offer(&product, "0.1.0").await).await;
    let gated = edge.origin_requests().len();
    assert!((1..=9).contains(&gated), "{gated} fragments for the gate's ranges");

    // All at once on what is nearly cold: each fragment is fetched once, and those of the gate are there already.
    let fragments = SIZE / FRAGMENT;
    let ranges = (0..RANGES).map(|at| {
        let (first, url, image) = (at * (SIZE / RANGES), offer.url.clone(), image.clone());
        async move {
            let last = first + 99_999;
            let range = format!("bytes={first}-{last}");
            let part = fetch(Method::GET, &url, &[("range", &range)]).await.expect(206);
            assert!(part.body == image.slice(first..=last), "{range}");
        }
    });
    join_all(ranges).await;
    let fetched = edge.origin_requests();
    let distinct: std::collections::BTreeSet<String> =
        fetched.iter().map(|one| one["range"].to_string()).collect();
    assert_eq!(fetched.len(), distinct.len(), "no fragment is fetched twice");
    assert!(fetched.len() <= fragments, "{} of {fragments} fragments", fetched.len());

    // A device that stood still for a day: its link is refused, it asks again, and goes on where it was.
    let half = SIZE / 2 + 12_345;
    let mut file = fetch(Method::GET, &offer.url, &[("range", &format!("bytes=0-{}", half - 1))])
        .await
        .expect(206)
        .body
        .to_vec();
    let rest = format!("bytes={half}-");
    fetch(Method::GET, &outdated(&offer.url), &[("range", &rest)]).await.expect(403);
    let fresh = device.offer(&product, "0.1.0").await.expect("still offered");
    let answer = fetch(Method::GET, &fresh.url, &[("range", &rest)]).await.expect(206);
    assert_eq!(answer.header("content-range"), format!("bytes {half}-{}/{SIZE}", SIZE - 1));
    file.extend_from_slice(&answer.body);
    assert_eq!(hex::encode(Sha256::digest(&file)), fresh.sha256);

    let before = edge.origin_requests().len();
    fetch(Method::GET, &fresh.url, &[("range", "bytes=0-9")]).await.expect(206);
    assert_eq!(edge.origin_requests().len(), before, "the edge has a copy");
    publisher.recall(&product, "1.0.0").await.expect(200);
    let purges =
        eventually("the purge", async || Some(edge.purges()).filter(|purges| !purges.is_empty())).await;
    let (plain, _) = fresh.url.split_once('?').expect("a token");
    assert_eq!((&purges[0]["action"], &purges[0]["type"]), (&"delete".into(), &"url".into()), "{purges:?}");
    assert_eq!(purges[0]["objects"], serde_json::json!([plain]));
    assert_eq!(purges[0]["files"], fragments, "all of them");
    fetch(Method::GET, &fresh.url, &[("range", "bytes=0-9")]).await.expect(206);
    assert_eq!(edge.origin_requests().len(), before + 1, "the edge has no copy any more");

    // It has one again: so would the edge of a device that was told just before. That is deleted once more.
    let again = eventually("the second purge", async || edge.purges().get(1).cloned()).await;
    assert_eq!((&again["objects"], &again["files"]), (&purges[0]["objects"], &1.into()), "{again}");
    fetch(Method::GET, &fresh.url, &[("range", "bytes=0-9")]).await.expect(206);
    assert_eq!(edge.origin_requests().len(), before + 2, "the edge has no copy once more");

    let purge = eventually("the CDN's word", async || {
        let purge = release(&server, &product, "1.0.0").await["purges"][0].clone();
        purge["purge_id"].is_string().then_some(purge)
    })
    .await;
    assert!(["accepted", "done"].contains(&purge["state"].as_str().expect("a word")), "{purge}");
    assert!(purge["asked_at"].is_string() && purge["estimated_done_at"].is_string(), "{purge}");
    let listed = server.command(&["purges", "--product", &product]).await.expect(0);
    assert!(listed.stdout.contains("delete url") && listed.stdout.contains(plain), "{}", listed.stdout);
    let told = server.command(&["releases", "--product", &product, "--version", "1.0.0"]).await.expect(0);
    assert!(told.stdout.contains(&format!("CDN: delete {plain}")), "{}", told.stdout);
    assert_eq!(publisher.metric("firmament_purges{state=\"asked\"}").await, 0.0);
    assert_eq!(publisher.metric("firmament_pending_promotions").await, 0.0);
}

/// Check answers that the edge keeps are current within seconds of a change, whatever their lifetime.
#[tokio::test(flavor = "multi_thread")]
async fn cached_check_answers_are_purged_by_their_tag() {
    let backend = Backend::production().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    let service = format!("127.0.0.1:{port}");
    let edge = Edge::before(backend.stores()).set("SERVICE", &format!("http://{service}")).start().await;
    let server = purging(&edge, &backend)
        .set("DEVICE__LISTEN", &service)
        .set("DEVICE__CACHE_LIFETIME", "1h")
        .set("CDN__PURGE__CHECKS", "tag")
        .start()
        .await;
    let (product, publisher) = (product_name(), server.publisher());
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 955)).await.expect(201);
    eventually("the offer", async || server.device().offer(&product, "0.1.0").await).await;
    let question = format!("/v1/check?product={product}&version=0.1.0");
    let through = async || -> Answer { fetch(Method::GET, &format!("{}{question}", edge.url()), &[]).await };
    // The publish itself is purged a little later; only then is what the edge keeps kept.
    eventually("the purge of the publish", async || (!edge.purges().is_empty()).then_some(())).await;
    assert_eq!(through().await.expect(200).json()["version"], "1.0.0");
    let asked = edge.origin_requests().len();
    let kept = through().await.expect(200);
    assert_eq!(
        (edge.origin_requests().len(), kept.header("edge-cache-tag")),
        (asked, ""),
        "kept, and the tag taken off"
    );
    let direct = server.device().get(&question).await;
    assert_eq!(direct.header("edge-cache-tag"), format!("c-{product}"));
    let personal = server.device().get(&format!("{question}&device=d1")).await;
    assert_eq!(personal.header("edge-cache-tag"), "", "what no cache keeps needs no tag");

    publisher.upload(&product, "1.1.0").channel("stable").send(content(1000, 956)).await.expect(201);
    eventually("the new release at the edge", async || {
        (through().await.json()["version"] == "1.1.0").then_some(())
    })
    .await;
    publisher.recall(&product, "1.1.0").await.expect(200);
    eventually("the recall at the edge", async || {
        (through().await.json()["version"] == "1.0.0").then_some(())
    })
    .await;
    // An ordinary promotion lets the edge ask again; what is taken back is gone.
    let tag = serde_json::json!([format!("c-{product}")]);
    let purges = edge.purges();
    let of_answers = purges.iter().filter(|purge| purge["objects"] == tag);
    let actions: Vec<&str> = of_answers.filter_map(|purge| purge["action"].as_str()).collect();
    assert_eq!(actions.last(), Some(&"delete"), "{purges:?}");
    assert!(actions[..actions.len() - 1].iter().all(|action| *action == "invalidate"), "{purges:?}");
}

/// One object that the account may not purge does not keep the others from being purged.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_object_fails_alone() {
    let backend = Backend::production().await;
    let edge = tokens(&backend).await;
    let server = purging(&edge, &backend)
        .set("CDN__PURGE__BY", "cpcode")
        .set("CDN__PURGE__CPCODES", "11, 12345, 13, 14")
        .start()
        .await;
    let (product, publisher) = (product_name(), server.publisher());
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").send(content(1000, 957)).await.expect(201);
    publisher.recall(&product, "1.0.0").await.expect(200);
    let purges = eventually("all are judged", async || {
        let release = release(&server, &product, "1.0.0").await;
        let purges = release["purges"].as_array().cloned().unwrap_or_default();
        (purges.len() == 4 && purges.iter().all(|purge| purge["state"] != "asked")).then_some(purges)
    })
    .await;
    for purge in &purges {
        let (object, state) = (&purge["object"], &purge["state"]);
        if object == "12345" {
            assert_ne!(state, "failed", "{purge}");
        } else {
            assert!(state == "failed" && purge["last_error"].to_string().contains("403"), "{purge}");
        }
    }
    assert_eq!(edge.purges().len(), 1, "{:?}", edge.purges());
    server.logged("refuses to purge").await;
    eventually("the metric", async || {
        (publisher.metric("firmament_purges{state=\"failed\"}").await == 3.0).then_some(())
    })
    .await;
    let listed = server.command(&["purges", "--product", &product]).await.expect(0);
    assert!(listed.stderr.contains("failed 11: status 403: unauthorized cpcode"), "{}", listed.stderr);
}

/// A client without the right to purge: no object is to blame, and all are purged soon after it has been given.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_the_grant_waits_for_it() {
    let backend = Backend::production().await;
    let edge = tokens(&backend).await;
    edge.grant(false);
    let server = purging(&edge, &backend).start().await;
    let (product, publisher) = (product_name(), server.publisher());
    publisher.create(&product).await;
    for (at, filename) in ["a.bin", "b.bin", "c.bin"].into_iter().enumerate() {
        let image = content(1000, 960 + at as u64);
        let hardware = ["x1", "x2", "x3"][at];
        publisher
            .upload(&product, "1.0.0")
            .filename(filename)
            .hardware(hardware)
            .send(image)
            .await
            .expect(201);
    }
    publisher.recall(&product, "1.0.0").await.expect(200);
    let purges = eventually("the refusal", async || {
        let release = release(&server, &product, "1.0.0").await;
        let purges = release["purges"].as_array().cloned().unwrap_or_default();
        purges.iter().any(|purge| purge["last_error"].is_string()).then_some(purges)
    })
    .await;
    assert_eq!(purges.len(), 3, "{purges:?}");
    for purge in &purges {
        assert_eq!(purge["state"], "asked", "{purge}");
        assert!(purge["last_error"].to_string().contains("grant"), "{purge}");
    }
    edge.grant(true);
    eventually("the purge", async || (!edge.purges().is_empty()).then_some(())).await;
    assert_eq!(edge.purges()[0]["objects"].as_array().map(Vec::len), Some(3));
    let refusals = edge.refusals();
    assert!(refusals.len() <= 2, "it does not look for a bad object: {refusals:?}");
}

/// An account that has used up what it may, and whose clock is an hour ahead of ours.
#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_limits_and_clock_are_respected() {
    let backend = Backend::production().await;
    let edge = Edge::before(backend.stores()).set("PURGE_CLOCK", "3600");
    let edge = edge.set("TOKEN_KEY", TOKEN_KEY).start().await;
    edge.limit(Some(1));
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("edgerc");
    let text = std::fs::read_to_string(edge.edgerc()).expect("readable");
    std::fs::write(&file, text.replace("[default]", "[ccu]").replace("host = ", "host = http://"))
        .expect("writable");
    let server = behind(&edge, &backend)
        .set("CDN__PURGE__KIND", "akamai")
        .set("CDN__PURGE__EDGERC", &file.display().to_string())
        .set("CDN__PURGE__SECTION", "ccu")
        .start()
        .await;
    let (product, publisher) = (product_name(), server.publisher());
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").send(content(1000, 958)).await.expect(201);
    publisher.recall(&product, "1.0.0").await.expect(200);
    let limited = async |count: usize| {
        eventually("429", async || {
            let refusals = edge.refusals().into_iter().filter(|refusal| refusal["status"] == 429);
            let times: Vec<f64> = refusals.map(|refusal| refusal["time"].as_f64().expect("a time")).collect();
            (times.len() >= count).then_some(times)
        })
        .await
    };
    limited(1).await;
    edge.limit(Some(12));
    let times = limited(2).await;
    // Never less than 5 seconds, as Akamai asks.
    assert!(times[1] - times[0] >= 5.0, "{times:?}");
    let times = limited(3).await;
    assert!(times[2] - times[1] >= 12.0, "{times:?}");
    let purge = release(&server, &product, "1.0.0").await["purges"][0].clone();
    assert!(purge["state"] == "asked" && purge["last_error"].to_string().contains("429"), "{purge}");
    edge.limit(None);
    eventually("the purge", async || (edge.purges().len() == 1).then_some(())).await;
    server.logged("takes our clock for wrong").await;
}

/// Killed at each place between a recall and the CDN's confirmation, the next life purges.
#[tokio::test(flavor = "multi_thread")]
async fn a_recall_is_purged_though_the_process_is_killed() {
    let backend = Backend::production().await;
    let edge = tokens(&backend).await;
    for (at, point) in firmament::publishing::crash::PURGE_POINTS.into_iter().enumerate() {
        let server = purging(&edge, &backend).crash_at(point).start().await;
        let (product, publisher) = (product_name(), server.publisher());
        publisher.create(&product).await;
        publisher.upload(&product, "1.0.0").send(content(1000, 970 + at as u64)).await.expect(201);
        let asked = tokio::spawn(async move {
            let path = format!("{}/v1/products/{product}/releases/1.0.0/recall", publisher.base);
            let request =
                http::Request::post(path).header("authorization", format!("Bearer {}", publisher.token));
            let body = crate::harness::client::whole(bytes::Bytes::from_static(br#"{"reason":"it bricks"}"#));
            // Its answer may be lost.
            let _ = crate::harness::client::send(request.body(body).expect("valid")).await;
            product
        });
        let home = server.home().clone();
        server.wait_for_crash().await;
        let product = asked.await.expect("no panic");
        let next = purging(&edge, &backend).at_home_of(&home).start().await;
        let purge = eventually(point, async || {
            let purge = release(&next, &product, "1.0.0").await["purges"][0].clone();
            purge["accepted_at"].is_string().then_some(purge)
        })
        .await;
        // With it may go the second purge of the release before.
        let object = &purge["object"];
        assert!(object.is_string(), "{purge}");
        let names_it = |sent: &Value| sent["objects"].as_array().is_some_and(|all| all.contains(object));
        assert!(edge.purges().iter().any(names_it), "{point}");
    }
}
