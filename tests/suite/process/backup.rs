//! The backup of a running server, and its commands beside one.

use bytes::Bytes;
use firmament::bucket::PART_SIZE;

use crate::{
    bucket::{
        store::settings,
        wire::{self, Answer},
    },
    harness::{
        Backend, Server,
        backup::{Place, backup_settings, complete, damage, get, remove, status},
        content, eventually, product_name,
    },
};

/// Publishes a small image and one of three parts; gives keys and bytes.
pub async fn publish(server: &Server, product: &str) -> Vec<(String, Bytes)> {
    let publisher = server.publisher();
    publisher.create(product).await;
    let mut images = Vec::new();
    for (version, size, seed) in
        [("1.0.0", 100_000, 1), ("1.1.0", 2 * PART_SIZE + 12_345, 2), ("1.2.0", 1, 3)]
    {
        let bytes = content(size, seed);
        let upload = publisher.upload(product, version).hardware("rev-a").channel("stable");
        upload.send(bytes.clone()).await.expect(201);
        images.push((format!("{product}/{version}/app.bin"), bytes));
    }
    images
}

async fn what_is_published_is_copied(backend: Backend, place: Place) {
    let server = place.on(Server::builder(&backend)).start().await;
    let images = publish(&server, &product_name()).await;
    complete(&server).await;
    for (key, bytes) in &images {
        place.holds(&backend, &server, key, bytes).await;
    }
    let status = status(&server).await;
    assert_eq!(status["copied_objects"], 3);
    assert_eq!(status["summary"], "complete: the backup has all 3 objects");
    let publisher = server.publisher();
    eventually("the lag in metrics", async || {
        (publisher.metric("firmament_backup_lag_objects").await == 0.0).then_some(())
    })
    .await;
    assert!(publisher.metric("firmament_backup_last_success_timestamp_seconds").await > 1e9);

    // By the server, and beside it.
    let told = server.command(&["backup", "status"]).await.expect(0).stdout;
    assert!(told.contains("complete: the backup has all 3 objects"), "{told}");
    let told = server.command(&["backup", "sync", "--json"]).await.expect(0).json();
    assert_eq!(told["lag"]["objects"], 0);
    let told = place.command(&backend, &server, &["sync"]).await.expect(0).stdout;
    assert!(told.contains("nothing to do"), "{told}");
    let told = place.command(&backend, &server, &["verify"]).await.expect(0).stdout;
    assert!(told.contains("compared 3 images in bucket and backup: no difference"), "{told}");
    let told = place.command(&backend, &server, &["verify", "--deep", "--json"]).await.expect(0).json();
    assert_eq!((&told["compared"], &told["deep"]), (&3.into(), &true.into()));
    let told = place.command(&backend, &server, &["restore"]).await.expect(0).stdout;
    assert!(told.contains("nothing to restore: the bucket has all 3 objects"), "{told}");
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_a_bucket_of_the_same_store() {
    what_is_published_is_copied(Backend::production().await, Place::same_store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_a_bucket_of_another_store() {
    let (_, gateway) =
        settings().endpoint.split_once("://").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a URL");
    let other = wire::Server::start(gateway, |_| Answer::PassOn).await;
    what_is_published_is_copied(Backend::production().await, Place::at(&other.endpoint())).await;
    let copied_within = other.heads().iter().any(|head| head.contains("x-amz-copy-source"));
    assert!(!copied_within, "another store cannot copy from ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    what_is_published_is_copied(Backend::production().await, Place::directory(directory.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_embedded_default_to_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    what_is_published_is_copied(Backend::Embedded, Place::directory(directory.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_embedded_default_to_a_bucket() {
    what_is_published_is_copied(Backend::Embedded, Place::same_store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_with_nothing_to_do_asks_no_bucket() {
    let gateway = settings().endpoint.trim_start_matches("http://").to_owned();
    let counted = wire::Server::start(gateway, |_| Answer::PassOn).await;
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    publish(&server, &product_name()).await;
    let place = Place::at(&counted.endpoint()).set("BUCKET__ENDPOINT", &counted.endpoint());
    let told = place.command(&backend, &server, &["sync", "--json"]).await.expect(0).json();
    assert_eq!((&told["copied"], &told["adopted"]), (&3.into(), &0.into()));
    let requests = counted.heads().len();
    // Each object: is it in the backup, and the copy.
    assert_eq!(requests, 6, "{:#?}", counted.heads());
    place.command(&backend, &server, &["sync"]).await.expect(0);
    assert_eq!(counted.heads().len(), requests, "nothing to do costs no request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_copies_and_another_takes_over() {
    let (backend, place) = (Backend::production().await, Place::same_store());
    let one = place.on(Server::builder(&backend)).start().await;
    let other = place.on(Server::builder(&backend)).start().await;
    publish(&one, &product_name()).await;
    complete(&other).await;
    let copied =
        async |server: &Server| server.publisher().metric("firmament_backup_copied_objects_total").await;
    let counts = eventually("the copies are counted", async || {
        let counts = (copied(&one).await, copied(&other).await);
        (counts.0 + counts.1 >= 3.0).then_some(counts)
    })
    .await;
    assert!(counts == (3.0, 0.0) || counts == (0.0, 3.0), "{counts:?}");
    one.terminate().await;
    // It has given the lead back.
    publish(&other, &product_name()).await;
    complete(&other).await;
    assert!(copied(&other).await >= 3.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_bucket_lost_is_restored() {
    let (backend, place) = (Backend::production().await, Place::same_store());
    let server = Server::start(&backend).await;
    let images = publish(&server, &product_name()).await;
    place.command(&backend, &server, &["sync"]).await.expect(0);
    for (key, _) in &images {
        remove(&settings(), key).await;
    }
    let told = place.command(&backend, &server, &["verify", "--json"]).await.expect(1).json();
    let differences = told["differences"].as_array().expect("a list");
    assert_eq!(differences.len(), 3, "{told}");
    assert!(differences.iter().all(|one| one["kind"] == "missing" && one["where"] == "bucket"), "{told}");

    let told = place.command(&backend, &server, &["restore", "--dry-run"]).await.expect(0).stdout;
    assert!(told.contains("would restore 3 of 3 objects"), "{told}");
    assert_eq!(get(&settings(), &images[0].0).await, None);
    let told = place.command(&backend, &server, &["restore", "--json"]).await.expect(0).json();
    assert_eq!(told["restored"].as_array().expect("a list").len(), 3, "{told}");
    for (key, bytes) in &images {
        assert!(get(&settings(), key).await.as_ref() == Some(bytes), "{key}");
        place.holds(&backend, &server, key, bytes).await;
    }
    place.command(&backend, &server, &["verify", "--deep"]).await.expect(0);

    // Also what is there, from the backup, byte for byte.
    let told = place.command(&backend, &server, &["restore", "--all"]).await.expect(0).stdout;
    assert!(told.contains("restored 3 of 3 objects"), "{told}");
    // What neither has is told.
    for settings in [settings(), backup_settings()] {
        remove(&settings, &images[0].0).await;
    }
    let told = place.command(&backend, &server, &["restore"]).await.expect(2).stdout;
    assert!(told.contains("could not be restored") && told.contains(&images[0].0), "{told}");
    place.command(&backend, &server, &["verify"]).await.expect(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_backup_the_commands_say_what_to_set() {
    let server = Server::start(&Backend::Embedded).await;
    let told = server.command(&["backup", "status"]).await.expect(1).stderr;
    assert!(told.contains("add [backup] to its settings"), "{told}");
    let told = server.command(&["backup", "verify"]).await.expect(1).stderr;
    assert!(told.contains("the settings name no backup"), "{told}");
    server.publisher().get("/v1/backup").await.problem(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_reaches_the_backup_after_the_hold_only() {
    use firmament::{
        catalogue::Audit,
        domain::{Action, ProductName},
    };

    let (backend, place) = (Backend::production().await, Place::same_store());
    let server = place.on(Server::builder(&backend)).start().await;
    let product = product_name();
    let images = publish(&server, &product).await;
    complete(&server).await;
    let catalogue = backend.catalogue(&server.data_dir()).await;
    let name = ProductName::parse(&product).expect("valid");
    let state = catalogue.product(&name).await.expect("answers").expect("there");
    let ids = state.releases.iter().flat_map(|release| &release.images).map(|image| image.id);
    let ids: Vec<_> = ids.collect();
    let audit = Audit { actor: "tester".into(), action: Action::ImageRemove, ..Audit::default() };
    catalogue.remove(&name, &ids, state.product.revision, &audit).await.expect("removed");
    for (key, _) in &images {
        remove(&settings(), key).await;
    }
    // A pass of the server with the default hold, asked for and seen to have ended.
    server.command(&["backup", "sync"]).await.expect(0);
    let verified = place.command(&backend, &server, &["verify", "--json"]).await.expect(0).json();
    assert_eq!(verified["compared"], 0, "what was removed is not missed");
    for (key, bytes) in &images {
        assert!(place.bytes(key).await.as_ref() == Some(bytes), "{key} is held");
    }
    let home = server.home().clone();
    server.terminate().await;
    let builder = Server::builder(&backend).at_home_of(&home);
    let server = place.clone().set("BACKUP__HOLD", "0s").on(builder).start().await;
    for (key, _) in &images {
        eventually("the copy is deleted", async || place.bytes(key).await.is_none().then_some(())).await;
    }
    server.logged("deleted from the backup").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_restored_beside_its_running_server() {
    let (backend, place) = (Backend::Embedded, Place::same_store());
    let server = place.on(Server::builder(&backend)).start().await;
    let images = publish(&server, &product_name()).await;
    complete(&server).await;
    let bucket = server.data_dir().join("bucket");
    let (lost, bytes) = &images[1];
    std::fs::remove_file(bucket.join("objects").join(lost)).expect("there");
    let other = bucket.join("objects").join(&images[0].0);
    std::fs::write(&other, content(100_000, 99)).expect("writable");
    let told = place.command(&backend, &server, &["restore", "--deep", "--json"]).await.expect(0).json();
    assert_eq!(told["restored"].as_array().expect("a list").len(), 2, "{told}");
    assert!(std::fs::read(&other).expect("there") == images[0].1, "{}", images[0].0);
    let download = server.device().get(&format!("/v1/download/{lost}")).await.expect(200);
    assert!(download.body == bytes, "{lost}");
    place.command(&backend, &server, &["verify", "--deep"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_what_was_published_is_not_copied() {
    let (backend, place) = (Backend::production().await, Place::same_store());
    let server = Server::start(&backend).await;
    let images = publish(&server, &product_name()).await;
    // Other bytes before the first copy, and none at all.
    damage(&settings(), &images[0].0).await;
    remove(&settings(), &images[1].0).await;
    let told = place.command(&backend, &server, &["sync"]).await.expect(2).stderr;
    assert!(told.contains("2 objects could not be copied"), "{told}");
    assert!(told.contains("is damaged") && told.contains("the bucket does not have the object"), "{told}");
    for (key, _) in &images[..2] {
        assert_eq!(place.bytes(key).await, None, "{key}");
    }
    place.holds(&backend, &server, &images[2].0, &images[2].1).await;
}
