//! What was lost comes back: the catalogue from the bucket alone, or from the backup.

use std::{collections::BTreeMap, path::Path};

use firmament::{
    bucket::{Bucket, PartBudget, S3Bucket, S3Limits},
    domain::ProductName,
};

use crate::harness::{
    Backend, Publisher, Server,
    backup::Place,
    command::{Outcome, run},
    content, eventually, product_name,
    stores::create_bucket,
};

/// Two products with something of everything that changes an answer.
async fn fill(publisher: &Publisher, products: &[String; 2]) {
    let [one, two] = products;
    let body = r#"{"hardware":["a","b"],"retention":{"keep_newest":1}}"#;
    publisher.request(http::Method::PUT, &format!("/v1/products/{one}"), Some(body)).await.expect(201);
    publisher.create(two).await;
    let upload = |version: &str, hardware: &str, seed: u64| {
        let upload = publisher.upload(one, version).filename(&format!("{hardware}.bin")).hardware(hardware);
        (upload, content(5000 + seed as usize, seed))
    };
    for (seed, version) in ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "2.0.0"].iter().enumerate() {
        for (at, hardware) in ["a", "b"].iter().enumerate() {
            let (upload, bytes) = upload(version, hardware, (seed * 2 + at) as u64);
            let upload = match *version {
                "1.1.0" => upload.query("floor", "true"),
                "2.0.0" => upload.query("upgrade_from", "1.1.0").query("notes", "new \"radio\""),
                _ => upload,
            };
            upload.channel(if *version == "1.3.0" { "beta" } else { "stable" }).send(bytes).await.expect(201);
        }
    }
    let body = r#"{"reason":"it bricks","replacement":"1.1.0","allow_stranding":true}"#;
    let path = format!("/v1/products/{one}/releases/1.3.0/recall");
    publisher.request(http::Method::POST, &path, Some(body)).await.expect(200);
    // More than one part, so that its tag is a multipart one.
    publisher.upload(two, "3.0.0").channel("stable").send(content(9 << 20, 77)).await.expect(201);
    publisher.upload(two, "3.1.0-rc.1").channel("beta").send(content(100, 78)).await.expect(201);
    publisher.upload(two, "4.0.0").send(content(100, 79)).await.expect(201);
    // A downgrade that withdraws, and an image that is removed for good.
    let path = format!("/v1/products/{one}/channels/stable");
    let body = r#"{"version":"1.2.0","allow_downgrade":true,"reason":"the radio"}"#;
    publisher.request(http::Method::PUT, &path, Some(body)).await.expect(200);
    publisher.request(http::Method::POST, &format!("/v1/products/{one}/prune"), None).await.expect(200);
}

/// Every answer over the catalogue: product, hardware, channel, version. Links apart, which carry times and hosts.
async fn answers(server: &Server, products: &[String; 2]) -> BTreeMap<String, String> {
    let device = server.device();
    let mut all = BTreeMap::new();
    for product in products {
        for channel in ["stable", "beta", "none"] {
            for hardware in ["", "a", "b", "c"] {
                for version in [
                    "0.9.0",
                    "1.0.0",
                    "1.1.0",
                    "1.1.5",
                    "1.2.0",
                    "1.3.0",
                    "2.0.0",
                    "3.0.0",
                    "3.1.0-rc.1",
                    "4.0.0",
                ] {
                    let mut query = format!("product={product}&channel={channel}&version={version}");
                    if !hardware.is_empty() {
                        query.push_str(&format!("&hardware={hardware}"));
                    }
                    let answer = device.check(&query).await;
                    let mut text = answer.status.to_string();
                    if answer.status == 200 {
                        let mut document = answer.json();
                        document.as_object_mut().expect("an object").remove("url");
                        text.push_str(&document.to_string());
                    }
                    all.insert(query, text);
                }
            }
        }
    }
    assert!(
        all.values().any(|text| text.starts_with("200")) && all.values().any(|text| text.starts_with("204"))
    );
    all
}

/// All that publishers see, without what is the new catalogue's own.
async fn shown(publisher: &Publisher, products: &[String; 2]) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    for product in products {
        for path in ["", "/releases"] {
            let mut document =
                publisher.get(&format!("/v1/products/{product}{path}")).await.expect(200).json();
            strip(&mut document);
            all.push(document);
        }
    }
    all
}

fn strip(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.remove("url");
            fields.remove("revision");
            fields.values_mut().for_each(strip);
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Runs a server command on these stores.
pub(super) async fn operate(backend: &Backend, home: &Path, arguments: &[&str]) -> Outcome {
    run(home, arguments, &backend.environment()).await
}

pub(super) async fn bucket_of(backend: &Backend, server: &Server) -> Bucket {
    backend.bucket(&server.data_dir()).await
}

/// Waits until the manifests tell the newest state of these products, and the snapshot too.
pub(super) async fn told(backend: &Backend, server: &Server, products: &[String; 2]) {
    let bucket = bucket_of(backend, server).await;
    let catalogue = backend.catalogue(&server.data_dir()).await;
    for product in products {
        let name = ProductName::parse(product).expect("valid");
        eventually("the manifest is written", async || {
            let revision = catalogue.product(&name).await.expect("answers").expect("there").product.revision;
            let names = bucket.manifests().await.expect("lists");
            names
                .iter()
                .any(|manifest| manifest.product == name && manifest.revision == revision)
                .then_some(())
        })
        .await;
    }
    let revision = catalogue.revision().await.expect("answers").0 as f64;
    eventually("the snapshot is new", async || {
        (server.publisher().metric("firmament_snapshot_revision").await >= revision).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_is_rebuilt_from_the_bucket_on_postgres_and_s3() {
    let backend = Backend::with_own_bucket().await;
    let products = [product_name(), product_name()];
    let server = Server::start(&backend).await;
    fill(&server.publisher(), &products).await;
    told(&backend, &server, &products).await;
    let before = (answers(&server, &products).await, shown(&server.publisher(), &products).await);
    let home = server.home().clone();
    let same = operate(&backend, home.path(), &["fsck", "--json"]).await.expect(0).json();
    assert_eq!((&same["found"], &same["products"]), (&0.into(), &2.into()), "{same}");
    server.terminate().await;
    // The database and the machine are lost.
    let anew = backend.after_losing_the_database().await;
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let dry =
        operate(&anew, elsewhere.path(), &["catalogue", "rebuild", "--from", "bucket", "--dry-run"]).await;
    assert!(dry.expect(0).stdout.contains("would rebuild 2 products"));
    let done =
        operate(&anew, elsewhere.path(), &["catalogue", "rebuild", "--from", "bucket", "--deep"]).await;
    let done = done.expect(0);
    assert!(done.stdout.contains("rebuilt 2 products"), "{}", done.stdout);
    assert!(done.stdout.contains("not known: the audit log"), "{}", done.stdout);
    let again =
        operate(&anew, elsewhere.path(), &["catalogue", "rebuild", "--from", "bucket"]).await.expect(0);
    assert!(again.stdout.contains("2 products were there"), "{}", again.stdout);
    let server = Server::start(&anew).await;
    assert_eq!(answers(&server, &products).await, before.0);
    assert_eq!(shown(&server.publisher(), &products).await, before.1);
    server.command(&["audit", "verify"]).await.expect(0);
    told(&anew, &server, &products).await;
    operate(&anew, server.home().path(), &["fsck", "--deep"]).await.expect(0);
    // And life goes on.
    server
        .publisher()
        .upload(&products[1], "5.0.0")
        .channel("stable")
        .send(content(10, 80))
        .await
        .expect(201);
    let refused = server.publisher().upload(&products[0], "1.0.0").filename("a.bin").hardware("a");
    assert!(refused.send(content(5000, 0)).await.problem(409).detail.contains("removed for good"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_is_rebuilt_from_the_directory_on_sqlite() {
    let backend = Backend::Embedded;
    let products = [product_name(), product_name()];
    let server = Server::start(&backend).await;
    fill(&server.publisher(), &products).await;
    told(&backend, &server, &products).await;
    let before = (answers(&server, &products).await, shown(&server.publisher(), &products).await);
    let home = server.home().clone();
    operate(&backend, home.path(), &["fsck"]).await.expect(0);
    let data = server.data_dir();
    server.terminate().await;
    let full = operate(&backend, home.path(), &["catalogue", "rebuild", "--from", "bucket"]).await.expect(0);
    assert!(full.stdout.contains("2 products were there"), "nothing is lost yet: {}", full.stdout);
    for file in ["catalogue.sqlite", "catalogue.sqlite-wal", "catalogue.sqlite-shm", "snapshot"] {
        let _ = std::fs::remove_file(data.join(file));
    }
    operate(&backend, home.path(), &["catalogue", "rebuild", "--from", "bucket", "--deep"]).await.expect(0);
    let server = Server::builder(&backend).at_home_of(&home).start().await;
    assert_eq!(answers(&server, &products).await, before.0);
    assert_eq!(shown(&server.publisher(), &products).await, before.1);
    told(&backend, &server, &products).await;
    operate(&backend, home.path(), &["fsck", "--deep"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_manifests_the_images_come_back_and_are_offered_to_nobody() {
    let backend = Backend::with_own_bucket().await;
    let products = [product_name(), product_name()];
    let server = Server::start(&backend).await;
    let publisher = server.publisher();
    publisher.create(&products[0]).await;
    publisher.upload(&products[0], "1.0.0").channel("stable").send(content(5000, 1)).await.expect(201);
    publisher.upload(&products[0], "2.0.0").channel("stable").send(content(9 << 20, 2)).await.expect(201);
    let before = publisher.get(&format!("/v1/products/{}/releases", products[0])).await.json();
    let only = [products[0].clone(), products[0].clone()];
    told(&backend, &server, &only).await;
    let bucket = bucket_of(&backend, &server).await;
    server.terminate().await;
    for name in bucket.manifests().await.expect("lists") {
        bucket.remove_manifest(&name).await.expect("removed");
    }
    let anew = backend.after_losing_the_database().await;
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let done =
        operate(&anew, elsewhere.path(), &["catalogue", "rebuild", "--from", "bucket", "--json"]).await;
    let done = done.expect(0).json();
    assert_eq!((&done["without_manifest"], &done["images"]), (&2.into(), &2.into()), "{done}");
    assert!(done["not_known"].to_string().contains("channels, recalls"), "{done}");
    let server = Server::start(&anew).await;
    assert_eq!(server.device().offer(&products[0], "0.1.0").await, None);
    let after = server.publisher().get(&format!("/v1/products/{}/releases", products[0])).await.json();
    for field in ["sha256", "sha1", "md5", "size", "etag", "created_at", "facts", "filename", "hardware"] {
        for release in 0..2 {
            let of = |document: &serde_json::Value| document["releases"][release]["images"][0][field].clone();
            assert_eq!(of(&after), of(&before), "{field}");
        }
    }
    server.publisher().promote(&products[0], "2.0.0", "stable").await.expect(200);
    eventually("it is offered", async || {
        let offer = server.device().offer(&products[0], "0.1.0").await?;
        (offer.version == "2.0.0").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_rebuild_is_repeated_and_a_catalogue_that_went_on_is_refused() {
    let backend = Backend::Embedded;
    let products = [product_name(), product_name()];
    let server = Server::start(&backend).await;
    for product in &products {
        server.publisher().create(product).await;
        let upload = server.publisher().upload(product, "1.0.0").channel("stable");
        upload.send(content(5000, 3)).await.expect(201);
    }
    told(&backend, &server, &products).await;
    let (home, data) = (server.home().clone(), server.data_dir());
    server.terminate().await;
    let bucket = backend.bucket(&data).await;
    // The first has no manifest. The second is not there at first: a rebuild that is interrupted has not come to it.
    let mut second = None;
    for name in bucket.manifests().await.expect("lists") {
        let newest = bucket.manifest(&name).await.expect("whole").expect("there");
        if name.product.as_str() == products[1]
            && second.as_ref().is_none_or(|(other, _)| name.revision > *other)
        {
            second = Some((name.revision, newest));
        }
        bucket.remove_manifest(&name).await.expect("removed");
    }
    let (there, aside) = (data.join("bucket/objects").join(&products[1]), data.join("aside"));
    std::fs::rename(&there, &aside).expect("moved");
    for file in ["catalogue.sqlite", "catalogue.sqlite-wal", "catalogue.sqlite-shm", "snapshot"] {
        let _ = std::fs::remove_file(data.join(file));
    }
    let rebuild =
        async || operate(&backend, home.path(), &["catalogue", "rebuild", "--from", "bucket"]).await;
    let first = rebuild().await.expect(0);
    assert!(first.stdout.contains("rebuilt 1 products"), "{}", first.stdout);
    std::fs::rename(&aside, &there).expect("moved");
    bucket.put_manifest(&second.expect("found").1).await.expect("written");
    let repeated = rebuild().await.expect(0);
    assert!(repeated.stdout.contains("rebuilt 1 products"), "{}", repeated.stdout);
    assert!(repeated.stdout.contains("1 products were there"), "{}", repeated.stdout);
    let revision =
        async || backend.catalogue(&data).await.revision().await.expect("the catalogue can be read");
    let before = revision().await;
    // What is there is left as it is.
    let again = rebuild().await.expect(0);
    assert!(again.stdout.contains("2 products were there"), "{}", again.stdout);
    assert_eq!(revision().await, before);
    let server = Server::builder(&backend).at_home_of(&home).start().await;
    assert_eq!(
        server.device().offer(&products[0], "0.1.0").await,
        None,
        "no manifest told that it is offered"
    );
    assert!(server.device().offer(&products[1], "0.1.0").await.is_some());
    // Somebody works with it, and the bucket knows nothing of that.
    server.publisher().promote(&products[0], "1.0.0", "stable").await.expect(200);
    told(&backend, &server, &products).await;
    server.terminate().await;
    for name in bucket.manifests().await.expect("lists") {
        bucket.remove_manifest(&name).await.expect("removed");
    }
    let refused = rebuild().await.expect(1);
    assert!(refused.stderr.contains("the catalogue is not empty"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_manifest_ends_the_rebuild_unless_an_older_one_is_allowed() {
    let backend = Backend::Embedded;
    let product = product_name();
    let server = Server::start(&backend).await;
    let publisher = server.publisher();
    publisher.create(&product).await;
    let only = [product.clone(), product.clone()];
    for version in ["1.0.0", "1.1.0"] {
        publisher
            .upload(&product, version)
            .channel("stable")
            .send(content(500, version.len() as u64 + u64::from(version == "1.1.0")))
            .await
            .expect(201);
        told(&backend, &server, &only).await;
    }
    let (home, data) = (server.home().clone(), server.data_dir());
    let newest =
        bucket_of(&backend, &server).await.manifests().await.expect("lists").pop().expect("there is one");
    server.terminate().await;
    let path = data.join("bucket/manifests").join(newest.to_string());
    let mut bytes = std::fs::read(&path).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&path, bytes).expect("damaged");
    let found = operate(&backend, home.path(), &["fsck"]).await.expect(1);
    assert!(found.stdout.contains("manifest-damaged"), "{}", found.stdout);
    for file in ["catalogue.sqlite", "catalogue.sqlite-wal", "catalogue.sqlite-shm", "snapshot"] {
        let _ = std::fs::remove_file(data.join(file));
    }
    let refused =
        operate(&backend, home.path(), &["catalogue", "rebuild", "--from", "bucket"]).await.expect(1);
    assert!(refused.stderr.contains("--allow-older"), "{}", refused.stderr);
    let older = ["catalogue", "rebuild", "--from", "bucket", "--allow-older"];
    let done = operate(&backend, home.path(), &older).await.expect(1);
    assert!(
        done.stdout.contains("problem: ") && done.stdout.contains("rebuilt 1 products"),
        "{}",
        done.stdout
    );
    assert!(done.stdout.contains("1 images are in no manifest"), "{}", done.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_and_bucket_come_back_from_the_backup() {
    let backend = Backend::with_own_bucket().await;
    let mut second = backend.stores().s3().clone();
    second.name = format!("{}-backup", second.name);
    create_bucket(&second).await;
    let place = Place::same_store().set("BACKUP__NAME", &second.name);
    let products = [product_name(), product_name()];
    let server = place.on(Server::builder(&backend)).start().await;
    fill(&server.publisher(), &products).await;
    told(&backend, &server, &products).await;
    let before = (answers(&server, &products).await, shown(&server.publisher(), &products).await);
    place.command(&backend, &server, &["sync"]).await.expect(0);
    let home = server.home().clone();
    let fsck = async |backend: &Backend, code: i32| {
        let environment = place.environment(backend);
        let fsck = async || run(home.path(), &["fsck", "--json"], &environment).await;
        // The manifests of the last changes may still be on their way.
        eventually("fsck ends as it should", async || (fsck().await.code == Some(code)).then_some(())).await;
        fsck().await.json()
    };
    assert_eq!(fsck(&backend, 0).await["backup"], true);
    let copies = Bucket::S3(
        S3Bucket::new(&second, S3Limits::default(), &PartBudget::default()).expect("the settings are valid"),
    );
    eventually("the manifests are in the backup", async || {
        let names = copies.manifests().await.expect("lists");
        products.iter().all(|product| names.iter().any(|name| name.product.as_str() == product)).then_some(())
    })
    .await;
    server.terminate().await;
    let anew = Backend::with_own_bucket().await;
    let environment = place.environment(&anew);
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let from = ["catalogue", "rebuild", "--from", "backup"];
    run(elsewhere.path(), &from, &environment).await.expect(0);
    let server = Server::start(&anew).await;
    place.command(&anew, &server, &["restore"]).await.expect(0);
    assert_eq!(answers(&server, &products).await, before.0);
    assert_eq!(shown(&server.publisher(), &products).await, before.1);
    let (bucket, key) = (bucket_of(&anew, &server).await, format!("{}/3.0.0/app.bin", products[1]));
    assert_eq!(bucket.head(&key).await.expect("answers").expect("it is back").size, 9 << 20);
    told(&anew, &server, &products).await;
    fsck(&anew, 0).await;
    server.terminate().await;
    copies.delete(&key).await.expect("removed");
    let found = fsck(&anew, 1).await;
    assert_eq!(found["counts"], serde_json::json!({"backup-missing": 1}), "{found}");
}
