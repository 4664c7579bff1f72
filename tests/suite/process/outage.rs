//! Database and bucket away: devices do not notice, publishers are told to come back, and all of it recovers alone.

use bytes::Bytes;
use firmament::jobs::keeper;
use http::Method;

use crate::harness::{
    Backend, Server, Stores,
    client::{fetch, send, trickle},
    content, eventually, product_name,
    stores::Traces,
};

/// How the stores go away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outage {
    /// Connections are reset, new ones refused.
    Cut,
    /// Connections stay open, and nobody answers.
    Hung,
}

impl Outage {
    async fn begin(self, stores: &Stores) {
        match self {
            Self::Cut => {
                stores.postgres_proxy().cut().await;
                stores.s3_proxy().cut().await;
            }
            Self::Hung => {
                stores.postgres_proxy().hang();
                stores.s3_proxy().hang();
            }
        }
    }
}

fn end(stores: &Stores) {
    stores.postgres_proxy().restore();
    stores.s3_proxy().restore();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_the_stores_refuse() {
    outage(Outage::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_the_stores_hang() {
    outage(Outage::Hung).await;
}

async fn outage(kind: Outage) {
    let backend = Backend::behind_proxies().await;
    let stores = backend.stores();
    let (server, second) = tokio::join!(Server::start(&backend), Server::start(&backend));
    let (publisher, device, product) = (server.publisher(), server.device(), product_name());
    publisher.create(&product).await;
    let image = content(100_000, 60);
    publisher.upload(&product, "1.0.0").channel("stable").send(image.clone()).await.expect(201);
    let checks = [format!("product={product}&version=0.1.0"), format!("product={product}&version=1.0.0")];
    let mut before = Vec::new();
    for server in [&server, &second] {
        let device = server.device();
        eventually("the offer", async || device.offer(&product, "0.1.0").await).await;
    }
    for check in &checks {
        let answer = device.check(check).await;
        before.push((answer.status, answer.body));
    }
    assert_eq!((before[0].0, before[1].0), (200, 204));
    let url = device.offer(&product, "0.1.0").await.expect("an offer").url;
    let home = second.home().clone();
    let kept = second.data_dir().join("snapshot");
    eventually("the snapshot on disk", async || {
        // Not the one from before the publish.
        let image = format!("{product}/1.0.0/");
        String::from_utf8_lossy(&std::fs::read(&kept).ok()?).contains(&image).then_some(())
    })
    .await;
    second.kill();

    kind.begin(stores).await;
    let same_answers = async |server: &Server| {
        for (check, before) in checks.iter().zip(&before) {
            let answer = server.device().check(check).await;
            assert_eq!((answer.status, answer.body), *before);
        }
    };
    same_answers(&server).await;
    // A replica that starts now, and a publish that comes now, both have to wait; so they do it side by side.
    let restarted = Server::builder(&backend).at_home_of(&home).start();
    let refused = async {
        let path = format!("/v1/products/{product}");
        let (publish, promotion, recall, settings, read) = tokio::join!(
            publisher.upload(&product, "1.1.0").channel("stable").send(content(1000, 61)),
            publisher.promote(&product, "1.0.0", "beta"),
            publisher.recall(&product, "1.0.0"),
            publisher.request(Method::PUT, &path, Some(r#"{"max_image_bytes":9}"#)),
            publisher.get(&path),
        );
        for answer in [publish, promotion, recall, settings, read] {
            let problem = answer.problem(429);
            assert!(problem.kind.ends_with(":catalogue-unavailable"), "{problem:?}");
            assert!(answer.header("retry-after").parse::<u64>().is_ok(), "{:?}", answer.headers);
        }
    };
    let stale = eventually("stale", async || {
        let (status, health) = device.ready().await;
        assert_eq!(status, 200, "{health}");
        (health["status"] == "stale").then_some(())
    });
    let (restarted, (), ()) = tokio::join!(restarted, refused, stale);
    same_answers(&server).await;
    same_answers(&restarted).await;
    let (status, health) = restarted.device().ready().await;
    assert_eq!((status, &health["status"]), (200, &"stale".into()));
    assert_eq!(health["snapshot_source"], "disk");
    assert_eq!(restarted.publisher().metric("firmament_snapshot_from_disk").await, 1.0);

    end(stores);
    for server in [&server, &restarted] {
        eventually("recovered", async || {
            let (_, health) = server.device().ready().await;
            (health["status"] == "ok" && health["snapshot_source"] == "catalogue").then_some(())
        })
        .await;
        same_answers(server).await;
    }
    assert_eq!(restarted.publisher().metric("firmament_snapshot_from_disk").await, 0.0);
    assert_eq!(fetch(Method::GET, &url, &[]).await.expect(200).body, image);
    eventually("a publish", async || {
        let upload = restarted.publisher().upload(&product, "1.1.0").channel("stable");
        let answer = upload.send(content(1000, 61)).await;
        (answer.status == 201).then_some(())
    })
    .await;
    eventually("offered by both", async || {
        (device.offer(&product, "0.1.0").await?.version == "1.1.0").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_replica_without_a_database_waits_for_it() {
    let backend = Backend::behind_proxies().await;
    let stores = backend.stores();
    stores.postgres_proxy().cut().await;
    let server = Server::builder(&backend).not_ready().start().await;
    let (publisher, device) = (server.publisher(), server.device());
    let (status, health) = device.ready().await;
    assert_eq!((status, &health["status"]), (503, &"starting".into()));
    let check = device.check("product=p&version=1.0.0").await;
    check.problem(429);
    assert!(!check.header("retry-after").is_empty());
    device.get("/livez").await.expect(200);
    assert_eq!(publisher.get("/readyz").await.status, 503);
    stores.postgres_proxy().restore();
    eventually("ready", async || (device.ready().await.0 == 200).then_some(())).await;
    device.check("product=p&version=1.0.0").await.problem(404);
}

/// What is on disk is damaged, or from another version of the program, and the database is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_an_unusable_snapshot_waits_for_the_database() {
    let backend = Backend::behind_proxies().await;
    let stores = backend.stores();
    let server = Server::start(&backend).await;
    let (product, home, kept) = (product_name(), server.home().clone(), server.data_dir().join("snapshot"));
    server.publisher().create(&product).await;
    server.publisher().upload(&product, "1.0.0").channel("stable").send(content(1000, 64)).await.expect(201);
    let whole = eventually("the snapshot on disk", async || {
        let bytes = std::fs::read(&kept).ok()?;
        String::from_utf8_lossy(&bytes).contains(&format!("{product}/1.0.0/")).then_some(bytes)
    })
    .await;
    server.terminate().await;
    let mut flipped = whole.clone();
    *flipped.last_mut().expect("it is not empty") ^= 1;
    let format = b"firmament-snapshot-";
    assert!(whole.starts_with(format));
    let by_another = [&format[..], b"0", &whole[format.len() + 1..]].concat();
    for (unusable, level, word) in [
        (&flipped[..], "ERROR", "checksum does not fit"),
        (&whole[..whole.len() / 2], "ERROR", "checksum does not fit"),
        (&by_another[..], "WARN", "another version of firmament"),
    ] {
        std::fs::write(&kept, unusable).expect("writable");
        stores.postgres_proxy().cut().await;
        let server = Server::builder(&backend).at_home_of(&home).not_ready().start().await;
        let said = server.logged(word).await;
        assert!(said.contains(level), "{said}");
        let device = server.device();
        let (status, health) = device.ready().await;
        assert_eq!((status, &health["status"]), (503, &"starting".into()), "{word}");
        let check = device.check(&format!("product={product}&version=0.1.0")).await;
        check.problem(429);
        assert!(!check.header("retry-after").is_empty());
        assert_eq!(std::fs::read(&kept).expect("there"), unusable, "nothing is written over what nobody has");
        stores.postgres_proxy().restore();
        eventually("ready", async || (device.ready().await.0 == 200).then_some(())).await;
        assert_eq!(device.offer(&product, "0.1.0").await.expect("an offer").version, "1.0.0");
        eventually("a whole snapshot", async || keeper::read(&kept).ok().flatten()).await;
        server.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_goes_away_in_an_upload_leaves_nothing() {
    let backend = Backend::behind_proxies().await;
    let stores = backend.stores();
    let server = Server::start(&backend).await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    let image = content(40 * 1024 * 1024, 62);
    let (sender, body) = trickle();
    let upload = publisher.upload(&product, "1.0.0").channel("stable");
    let upload = tokio::spawn(send(upload.request(body)));
    let (first, rest) = image.split_at(20 * 1024 * 1024);
    for piece in first.chunks(1 << 20) {
        sender.send(Bytes::copy_from_slice(piece)).await.expect("the server reads");
    }
    eventually("an unfinished upload", async || {
        (server.traces(&product).await.unfinished == 1).then_some(())
    })
    .await;
    stores.s3_proxy().cut().await;
    for piece in rest.chunks(1 << 20) {
        if sender.send(Bytes::copy_from_slice(piece)).await.is_err() {
            break;
        }
    }
    drop(sender);
    let answer = upload.await.expect("no panic").expect("an answer");
    answer.problem(429);
    stores.s3_proxy().restore();
    let nothing = Traces::default();
    eventually("nothing stays", async || (server.traces(&product).await == nothing).then_some(())).await;
    publisher.upload(&product, "1.0.0").channel("stable").send(image).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_in_an_upload_leaves_nothing() {
    let backend = Backend::behind_proxies().await;
    let stores = backend.stores();
    let server = Server::start(&backend).await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    let image = content(20 * 1024 * 1024, 63);
    let (sender, body) = trickle();
    let upload = publisher.upload(&product, "1.0.0").channel("stable");
    let upload = tokio::spawn(send(upload.request(body)));
    let (first, rest) = image.split_at(image.len() - 1000);
    sender.send(Bytes::copy_from_slice(first)).await.expect("the server reads");
    eventually("an unfinished upload", async || {
        (server.traces(&product).await.unfinished == 1).then_some(())
    })
    .await;
    stores.postgres_proxy().cut().await;
    sender.send(Bytes::copy_from_slice(rest)).await.expect("the server reads");
    drop(sender);
    let answer = upload.await.expect("no panic").expect("an answer");
    answer.problem(429);
    assert!(!answer.header("retry-after").is_empty());
    stores.postgres_proxy().restore();
    // Without a retry: the reservation's lease runs out, and the reconciler removes what is left.
    let nothing = Traces::default();
    eventually("nothing stays", async || (server.traces(&product).await == nothing).then_some(())).await;
    publisher.upload(&product, "1.0.0").channel("stable").send(image).await.expect(201);
}
