//! Retention and prune: what goes, what stays, and a publish and a prune at the same moment.

use futures_util::future::join_all;
use http::Method;

use crate::harness::{Backend, Publisher, Server, content, eventually, on_both, product_name};

on_both!(
    what_is_not_kept_goes_for_good,
    a_prune_meets_a_promotion_and_what_is_offered_stays,
    a_publish_and_a_prune_at_the_same_moment_do_not_hurt_each_other,
    only_an_administrator_prunes,
);

async fn keep_newest(publisher: &Publisher, product: &str, count: u32) {
    let body = format!(r#"{{"retention":{{"keep_newest":{count}}}}}"#);
    publisher.request(Method::PUT, &format!("/v1/products/{product}"), Some(&body)).await.expect(200);
}

async fn prune(publisher: &Publisher, product: &str, query: &str) -> serde_json::Value {
    let path = format!("/v1/products/{product}/prune?{query}");
    publisher.request(Method::POST, &path, None).await.expect(200).json()
}

fn versions(list: &serde_json::Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|each| each["version"].as_str().expect("a text")).collect()
}

async fn what_is_not_kept_goes_for_good(backend: Backend) {
    let server = Server::builder(&backend).set("REMOVAL__HOLD", "0s").start().await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    for minor in 0..6 {
        let upload = publisher.upload(&product, &format!("1.{minor}.0")).channel("stable");
        upload.send(content(1000 + minor, minor as u64)).await.expect(201);
    }
    let offered = eventually("the newest is offered", async || {
        server.device().offer(&product, "0.1.0").await.filter(|offer| offer.version == "1.5.0")
    })
    .await;
    // Nothing is said of retention: everything is kept.
    assert_eq!(versions(&prune(&publisher, &product, "").await["removed"]), [""; 0]);
    keep_newest(&publisher, &product, 2).await;
    let told = prune(&publisher, &product, "dry_run=true&running=1.1.0").await;
    assert_eq!(versions(&told["removed"]), ["1.3.0", "1.2.0", "1.0.0"]);
    assert_eq!(versions(&told["kept"]), ["1.5.0", "1.4.0", "1.1.0"]);
    assert_eq!(told["removed_bytes"], 1003 + 1002 + 1000);
    assert_eq!(told["kept"][2]["why"][0]["code"], "running");
    assert_eq!(server.traces(&product).await.objects.len(), 6);
    // By the command.
    let dry =
        server.command(&["prune", "--product", &product, "--dry-run", "--running", "1.1.0"]).await.expect(0);
    assert!(dry.stdout.contains("would go") && dry.stdout.contains("devices still run it"), "{}", dry.stdout);
    let done = server.command(&["prune", "--product", &product, "--running", "1.1.0"]).await.expect(0);
    assert!(done.stdout.contains("3 releases, "), "{}", done.stdout);
    eventually("the objects go", async || (server.traces(&product).await.objects.len() == 3).then_some(()))
        .await;
    let again = prune(&publisher, &product, "running=1.1.0").await;
    assert_eq!(versions(&again["removed"]), [""; 0]);
    // Answers are as before, the listing says what became of the rest, and its key is never used again.
    assert_eq!(server.device().offer(&product, "0.1.0").await, Some(offered));
    let release = publisher.get(&format!("/v1/products/{product}/releases/1.2.0")).await.expect(200).json();
    assert!(release["images"][0]["removed_at"].is_string(), "{release}");
    let refused = publisher.upload(&product, "1.2.0").send(content(1002, 2)).await.problem(409);
    assert!(
        refused.detail.contains("was removed for good") && refused.detail.contains("publish a new version")
    );
    publisher.promote(&product, "1.2.0", "beta").await.problem(409);
    let audit = publisher.get(&format!("/v1/products/{product}/audit")).await.expect(200).json();
    let entry =
        &audit["entries"].as_array().expect("a list").iter().find(|entry| entry["action"] == "image.remove");
    let images = entry.expect("an entry")["details"]["images"].as_array().expect("a list").len();
    assert_eq!(images, 3);
}

async fn only_an_administrator_prunes(backend: Backend) {
    let server = Server::builder(&backend)
        .set("PUBLISHER__TOKENS__CI__TOKEN", "ci-token-of-enough-length")
        .set("PUBLISHER__TOKENS__CI__SCOPES", "publish,read")
        .start()
        .await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    let ci = publisher.with_token("ci-token-of-enough-length");
    let path = format!("/v1/products/{product}/prune?dry_run=true");
    ci.request(Method::POST, &path, None).await.problem(403);
    publisher.request(Method::POST, &format!("/v1/products/{product}/prune?dry=1"), None).await.problem(400);
    let body = r#"{"retention":{"keep_newset":5}}"#;
    let refused =
        publisher.request(Method::PUT, &format!("/v1/products/{product}"), Some(body)).await.problem(400);
    assert!(refused.detail.contains("retention.keep_newset"), "{}", refused.detail);
}

/// As many replicas as the backend can have.
async fn replicas(backend: &Backend) -> Vec<Server> {
    let builder = || Server::builder(backend).set("REMOVAL__HOLD", "0s");
    let mut servers = vec![builder().start().await];
    if backend.is_production() {
        servers.push(builder().start().await);
    }
    servers
}

/// Whatever comes first: what a channel offers in the end has its bytes.
async fn what_is_offered_is_there(server: &Server, product: &str, channel: &str) {
    let state = server.publisher().get(&format!("/v1/products/{product}")).await.expect(200).json();
    let channels = state["channels"].as_array().expect("a list");
    let Some(channel) = channels.iter().find(|each| each["channel"] == channel) else { return };
    let objects = server.traces(product).await.objects;
    for offer in channel["offers"].as_array().expect("a list") {
        let key = format!(
            "{product}/{}/{}",
            offer["version"].as_str().expect("a text"),
            offer["filename"].as_str().expect("a text")
        );
        assert!(objects.contains(&key), "{key} is offered, and there are {objects:?}");
    }
}

async fn a_prune_meets_a_promotion_and_what_is_offered_stays(backend: Backend) {
    let (servers, product) = (replicas(&backend).await, product_name());
    let publishers: Vec<Publisher> = servers.iter().map(Server::publisher).collect();
    publishers[0].create(&product).await;
    keep_newest(&publishers[0], &product, 1).await;
    let (mut promoted, mut pruned) = (0, 0);
    for round in 0..12 {
        let old = format!("1.{round}.0");
        publishers[0].upload(&product, &old).send(content(2000, 500 + round)).await.expect(201);
        // Higher, and stored later: now the old one is kept by nothing.
        let new = format!("1.{round}.1");
        publishers[0]
            .upload(&product, &new)
            .channel("stable")
            .send(content(2000, 600 + round))
            .await
            .expect(201);
        let last = publishers.last().expect("there is one");
        let channel = format!("old-{round}");
        let (path, other) = (format!("/v1/products/{product}/prune"), channel.clone());
        let promotion = async {
            // Not always the same one first.
            tokio::time::sleep(std::time::Duration::from_millis(round % 4)).await;
            last.promote(&product, &old, &other).await
        };
        let (answer, removed) = tokio::join!(promotion, publishers[0].request(Method::POST, &path, None));
        let removed = removed.expect(200).json();
        let gone = versions(&removed["removed"]).contains(&old.as_str());
        match answer.status {
            200 => promoted += 1,
            409 => pruned += 1,
            status => panic!("{status}: {:?}", answer.body),
        }
        // One of both, never both: what was promoted stays, what was removed is not promoted.
        assert_eq!(answer.status == 200, !gone, "{removed}");
        what_is_offered_is_there(&servers[0], &product, &channel).await;
    }
    assert_eq!(promoted + pruned, 12);
}

async fn a_publish_and_a_prune_at_the_same_moment_do_not_hurt_each_other(backend: Backend) {
    let (servers, product) = (replicas(&backend).await, product_name());
    let publishers: Vec<Publisher> = servers.iter().map(Server::publisher).collect();
    publishers[0].create(&product).await;
    keep_newest(&publishers[0], &product, 1).await;
    for round in 0_u64..8 {
        // Four publishes, of which some are larger than a part, and prunes on every replica all the while.
        let publishes = (0_u64..4).map(|at| {
            let publisher = publishers[(at as usize) % publishers.len()].clone();
            let (product, size) = (product.clone(), if at == 0 { 9 << 20 } else { 3000 });
            async move {
                let upload =
                    publisher.upload(&product, &format!("{}.{at}.0", round + 1)).channel(&format!("c{at}"));
                upload.send(content(size, round * 10 + at)).await
            }
        });
        let prunes = (0..8).map(|at| {
            let publisher = publishers[at % publishers.len()].clone();
            let path = format!("/v1/products/{product}/prune");
            async move {
                tokio::time::sleep(std::time::Duration::from_millis(at as u64 * 7)).await;
                publisher.request(Method::POST, &path, None).await.expect(200)
            }
        });
        let (published, _) = tokio::join!(join_all(publishes), join_all(prunes));
        for answer in published {
            answer.expect(201);
        }
        for channel in ["c0", "c1", "c2", "c3"] {
            what_is_offered_is_there(&servers[0], &product, channel).await;
        }
    }
    // Once all is quiet: exactly what is kept is there, and every channel offers its newest.
    let kept = prune(&publishers[0], &product, "").await;
    let mut wanted: Vec<String> =
        versions(&kept["kept"]).iter().map(|version| format!("{product}/{version}/app.bin")).collect();
    wanted.sort();
    eventually("the rest is gone", async || {
        (servers[0].traces(&product).await.objects == wanted).then_some(())
    })
    .await;
    assert_eq!(wanted.len(), 4);
}
