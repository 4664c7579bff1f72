//! Two replicas on one database and one bucket.

use std::time::Instant;

use bytes::Bytes;
use http::Method;

use crate::harness::{
    Backend, PATIENCE, Server,
    client::{fetch, send, trickle, whole},
    content, eventually, product_name,
    stores::Traces,
};

const REVISION: &str = "firmament_snapshot_revision";
const LISTENER_LOST: &str = "firmament_catalogue_listener_lost_total";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_one_is_answered_by_the_other() {
    let backend = Backend::production().await;
    let (one, other) = tokio::join!(Server::start(&backend), Server::start(&backend));
    let (publisher, device, product) = (one.publisher(), other.device(), product_name());
    publisher.create(&product).await;
    // The timer alone would need nearly its second each time, as the next publish follows its last pass.
    let mut delays = Vec::new();
    for minor in 0..10u64 {
        let version = format!("1.{minor}.0");
        let upload = publisher.upload(&product, &version).channel("stable");
        upload.send(content(1000, 300 + minor)).await.expect(201);
        let began = Instant::now();
        loop {
            let offer = device.offer(&product, "0.1.0").await;
            if offer.is_some_and(|offer| offer.version == version) {
                break;
            }
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        delays.push(began.elapsed());
    }
    delays.sort();
    assert!(delays[5].as_millis() < 500, "slower than a notification: {delays:?}");

    publisher.promote(&product, "1.9.0", "beta").await.expect(200);
    eventually("promoted", async || {
        let check = format!("product={product}&version=1.0.0&channel=beta");
        (device.check(&check).await.status == 200).then_some(())
    })
    .await;
    publisher.recall(&product, "1.9.0").await.expect(200);
    eventually("recalled", async || {
        let offer = device.offer(&product, "0.1.0").await;
        (offer?.version == "1.8.0").then_some(())
    })
    .await;
    eventually("equal revisions", async || {
        let revisions = (publisher.metric(REVISION).await, other.publisher().metric(REVISION).await);
        (revisions.0 == revisions.1 && revisions.0 > 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_listener_costs_a_second_not_a_change() {
    let backend = Backend::production().await;
    let (one, other) = tokio::join!(Server::start(&backend), Server::start(&backend));
    let (publisher, device, product) = (one.publisher(), other.device(), product_name());
    publisher.create(&product).await;
    let mut connection = backend.stores().database().connection().await;
    for (minor, killed) in ["listeners", "everything"].into_iter().enumerate() {
        let lost = other.publisher().metric(LISTENER_LOST).await;
        let statement = match killed {
            "listeners" => {
                "select pg_terminate_backend(pid) from pg_stat_activity \
                 where datname = current_database() and pid <> pg_backend_pid() and query ilike 'listen %'"
            }
            _ => {
                "select pg_terminate_backend(pid) from pg_stat_activity \
                 where datname = current_database() and pid <> pg_backend_pid()"
            }
        };
        let ended = sqlx::query(statement).fetch_all(&mut connection).await.expect("the role may do this");
        assert!(ended.len() >= 2, "{killed}: {} connections", ended.len());
        let version = format!("1.{minor}.0");
        let answer = eventually("a publish", async || {
            let upload = publisher.upload(&product, &version).channel("stable");
            let answer = upload.send(content(1000, 310 + minor as u64)).await;
            if answer.status == 429 {
                answer.problem(429);
                return None;
            }
            Some(answer)
        })
        .await;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        eventually("offered", async || {
            (device.offer(&product, "0.1.0").await?.version == version).then_some(())
        })
        .await;
        eventually("the loss is counted", async || {
            (other.publisher().metric(LISTENER_LOST).await > lost).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_takes_over_after_a_crash() {
    let backend = Backend::production().await;
    let (one, other) =
        tokio::join!(Server::builder(&backend).crash_at("flushed").start(), Server::start(&backend));
    let product = product_name();
    one.publisher().create(&product).await;
    let image = content(20 * 1024 * 1024, 50);
    let upload = one.publisher().upload(&product, "1.0.0").channel("stable");
    let lost = send(upload.request(whole(image.clone()))).await;
    assert!(lost.is_err());
    one.wait_for_crash().await;
    // The lease of 30 s has to run out: nobody knows that its holder is dead.
    let upload = other.publisher().upload(&product, "1.0.0").channel("stable");
    upload.send(image).await.expect(201);
    let clean = Traces::just(&[format!("{product}/1.0.0/app.bin")]);
    assert_eq!(other.traces(&product).await, clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stood_still_overwrites_nothing() {
    let backend = Backend::production().await;
    let (one, other) = tokio::join!(Server::start(&backend), Server::start(&backend));
    let product = product_name();
    one.publisher().create(&product).await;
    let (late, image) = (content(20 * 1024 * 1024, 51), content(9_000_000, 52));
    let (sender, body) = trickle();
    let upload = one.publisher().upload(&product, "1.0.0").channel("stable");
    let upload = tokio::spawn(send(upload.request(body)));
    let (first, rest) = late.split_at(late.len() - 1000);
    sender.send(Bytes::copy_from_slice(first)).await.expect("the server reads");
    eventually("the upload is under way", async || {
        (one.traces(&product).await.unfinished == 1).then_some(())
    })
    .await;
    one.signal("STOP");
    // Waits until the lease has run out, then removes what the other had begun.
    let taken_over = other.publisher().upload(&product, "1.0.0").channel("stable");
    taken_over.send(image.clone()).await.expect(201);
    one.signal("CONT");
    // It may have given up already, and read no more.
    let _ = sender.send(Bytes::copy_from_slice(rest)).await;
    drop(sender);
    let told = upload.await.expect("no panic").expect("an answer");
    assert!([409, 429].contains(&told.status), "{told:?}");
    told.problem(told.status);

    let clean = Traces::just(&[format!("{product}/1.0.0/app.bin")]);
    eventually("one object", async || (one.traces(&product).await == clean).then_some(())).await;
    for server in [&one, &other] {
        let device = server.device();
        let offer = eventually("the offer", async || device.offer(&product, "0.1.0").await).await;
        assert_eq!(fetch(Method::GET, &offer.url, &[]).await.expect(200).body, image);
    }
    // Its retry learns what has happened meanwhile.
    one.publisher().upload(&product, "1.0.0").channel("stable").send(late).await.problem(409);
}
