//! Objects that are damaged or lost behind our back: healed from the good side, never the other way round.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use firmament::bucket::S3Settings;

use super::backup::publish;
use crate::{
    bucket::{
        store::settings,
        wire::{Answer, Server as Gateway},
    },
    harness::{
        Backend, Server,
        backup::{Place, backup_settings, complete, damage, get, remove, status},
        eventually, product_name,
    },
};

/// Reads everything again every few seconds.
fn quick(place: Place) -> Place {
    place.set("BACKUP__SCRUB_PERIOD", "2s")
}

async fn is_healed(wrong: &S3Settings, right: &S3Settings) {
    let (backend, place) = (Backend::production().await, quick(Place::same_store()));
    let server = place.on(Server::builder(&backend)).start().await;
    let images = publish(&server, &product_name()).await;
    complete(&server).await;
    // One of each: wrong bytes of an object in one part and in several, and one that is gone.
    damage(wrong, &images[0].0).await;
    damage(wrong, &images[1].0).await;
    remove(wrong, &images[2].0).await;
    for (key, bytes) in &images {
        eventually("the object is healed", async || {
            (get(wrong, key).await.as_ref() == Some(bytes)).then_some(())
        })
        .await;
        assert!(get(right, key).await.as_ref() == Some(bytes), "{key} was good");
        place.holds(&backend, &server, key, bytes).await;
    }
    complete(&server).await;
    server.logged("is wrong; healing it").await;
    server.logged("is healed").await;
    eventually("healed objects are counted", async || {
        (server.publisher().metric("firmament_backup_healed_objects_total").await >= 3.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_the_bucket_is_healed_from_the_backup() {
    is_healed(&settings(), &backup_settings()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_the_backup_is_healed_from_the_bucket() {
    is_healed(&backup_settings(), &settings()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_at_both_ends_is_told_and_left() {
    let (backend, place) = (Backend::production().await, quick(Place::same_store()));
    let server = place.on(Server::builder(&backend)).start().await;
    let images = publish(&server, &product_name()).await;
    complete(&server).await;
    let key = &images[0].0;
    // While neither is looked at.
    let home = server.home().clone();
    server.terminate().await;
    damage(&settings(), key).await;
    damage(&backup_settings(), key).await;
    let wrong = get(&settings(), key).await;
    let server = place.on(Server::builder(&backend).at_home_of(&home)).start().await;
    eventually("it is told", async || {
        let status = status(&server).await;
        (status["damaged_in_bucket"] == 1 && status["damaged_in_backup"] == 1).then_some(())
    })
    .await;
    server.logged("it cannot be healed").await;
    assert_eq!(get(&settings(), key).await, wrong);
    assert_eq!(get(&backup_settings(), key).await, wrong);
    // Put back by hand at one end, it is healed at the other.
    firmament_put(key, &images[0].1).await;
    eventually("healed", async || (get(&settings(), key).await.as_ref() == Some(&images[0].1)).then_some(()))
        .await;
}

/// Puts the good bytes back into the backup, with what is there of metadata.
async fn firmament_put(key: &str, bytes: &bytes::Bytes) {
    let settings = backup_settings();
    let about = crate::harness::backup::head(&settings, key).await.expect("there");
    let put = crate::bucket::store::plain_client(&settings).put_object().bucket(&settings.name).key(key);
    put.set_metadata(about.metadata)
        .set_content_type(about.content_type)
        .set_cache_control(about.cache_control)
        .set_content_disposition(about.content_disposition)
        .body(bytes.clone().into())
        .send()
        .await
        .expect("put");
}

/// A gateway before the store that answers 501 to a read of these keys, until something is stored there. The store's client
/// tries what is 500 several times, with pauses; many passes of that would take minutes.
async fn unreadable_until_stored(keys: &[&str]) -> (Gateway, Arc<Mutex<Vec<String>>>) {
    let bad = Arc::new(Mutex::new(keys.iter().map(|key| format!("/{key}")).collect::<Vec<_>>()));
    let list = Arc::clone(&bad);
    let upstream = settings().endpoint.trim_start_matches("http://").to_owned();
    let gateway = Gateway::start(upstream, move |head| {
        let mut list = list.lock().expect("no holder panics");
        let asks = |key: &String| head.lines().next().is_some_and(|line| line.contains(key.as_str()));
        if stores(head) {
            list.retain(|key| !asks(key));
        }
        match head.starts_with("GET ") && list.iter().any(asks) {
            true => Answer::Text(
                "HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
            ),
            false => Answer::PassOn,
        }
    })
    .await;
    (gateway, bad)
}

/// Whether this request makes an object visible.
fn stores(head: &str) -> bool {
    let line = head.lines().next().unwrap_or_default();
    line.starts_with("PUT ") && !line.contains("partNumber=")
        || line.starts_with("POST ") && line.contains("uploadId=")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_bucket_cannot_read_is_replaced_after_some_passes() {
    let backend = Backend::production().await;
    let server = Place::same_store().on(Server::builder(&backend)).start().await;
    let images = publish(&server, &product_name()).await;
    eventually("all is copied", async || (status(&server).await["lag"]["objects"] == 0).then_some(())).await;
    let home = server.home().clone();
    server.terminate().await;
    // One in one part, and one in several.
    let (gateway, bad) = unreadable_until_stored(&[&images[0].0, &images[1].0]).await;
    let place = quick(Place::same_store()).set("BUCKET__ENDPOINT", &gateway.endpoint());
    let server = place.on(Server::builder(&backend).at_home_of(&home)).start().await;
    server.logged("it could not be read in 3 passes").await;
    eventually("replaced", async || bad.lock().expect("no holder panics").is_empty().then_some(())).await;
    complete(&server).await;
    for (key, bytes) in &images {
        assert!(get(&settings(), key).await.as_ref() == Some(bytes), "{key}");
        place.holds(&backend, &server, key, bytes).await;
    }
    let heads = gateway.heads();
    let first = heads.iter().position(|head| stores(head) && head.contains(&images[0].0)).expect("stored");
    let looks = |head: &&String| head.starts_with("HEAD ") && head.contains(&images[0].0);
    let before = heads[..first].iter().filter(looks).count();
    assert!(before >= 3, "it was replaced after {before} looks");
    let deletes = |head: &String| head.starts_with("DELETE ") && head.contains(&images[0].0);
    assert!(!heads.iter().any(deletes), "nothing may be deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_replaced_while_a_whole_bucket_cannot_be_read() {
    let backend = Backend::production().await;
    let server = Place::same_store().on(Server::builder(&backend)).start().await;
    let images = publish(&server, &product_name()).await;
    eventually("all is copied", async || (status(&server).await["lag"]["objects"] == 0).then_some(())).await;
    let home = server.home().clone();
    server.terminate().await;
    let keys: Vec<&str> = images.iter().map(|(key, _)| key.as_str()).collect();
    let (gateway, bad) = unreadable_until_stored(&keys).await;
    let place = quick(Place::same_store()).set("BUCKET__ENDPOINT", &gateway.endpoint());
    let server = place.on(Server::builder(&backend).at_home_of(&home)).start().await;
    // Each pass looks at an object once before it reads it.
    eventually("more passes than are needed", async || {
        let heads = gateway.heads();
        let looks =
            |key: &str| heads.iter().filter(|head| head.starts_with("HEAD ") && head.contains(key)).count();
        keys.iter().all(|key| looks(key) >= 5).then_some(())
    })
    .await;
    let replaced = || {
        let of_an_image = |head: &String| keys.iter().any(|key| head.contains(key));
        gateway.heads().into_iter().find(|head| stores(head) && of_an_image(head))
    };
    assert_eq!(replaced(), None);
    assert_eq!(status(&server).await["damaged_in_bucket"], 0);
    bad.lock().expect("no holder panics").clear();
    complete(&server).await;
    assert_eq!(replaced(), None, "there was nothing to mend");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_directory_cannot_read_is_replaced() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (backend, place) = (Backend::Embedded, quick(Place::directory(folder.path())));
    let server = place.on(Server::builder(&backend)).start().await;
    let images = publish(&server, &product_name()).await;
    complete(&server).await;
    // Opening it fails with ELOOP, for root too.
    let file = folder.path().join("objects").join(&images[0].0);
    std::fs::remove_file(&file).expect("there");
    std::os::unix::fs::symlink(&file, &file).expect("made");
    eventually("replaced", async || {
        (place.bytes(&images[0].0).await.as_ref() == Some(&images[0].1)).then_some(())
    })
    .await;
    server.logged("it could not be read in 3 passes").await;
    complete(&server).await;
}

/// What waits to be read for the first time comes first, and must not keep what is due from being read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_healed_keeps_nothing_else_from_it() {
    let (backend, place) = (Backend::production().await, Place::same_store());
    let server = quick(place.clone()).on(Server::builder(&backend)).start().await;
    let known = publish(&server, &product_name()).await;
    complete(&server).await;
    let home = server.home().clone();
    server.terminate().await;
    // Without a backup in its settings, a server neither copies nor reads; the command only copies.
    let server = Server::builder(&backend).at_home_of(&home).start().await;
    let unread = publish(&server, &product_name()).await;
    place.command(&backend, &server, &["sync"]).await.expect(0);
    server.terminate().await;
    damage(&settings(), &unread[0].0).await;
    damage(&backup_settings(), &unread[0].0).await;
    damage(&backup_settings(), &known[0].0).await;
    let server = quick(place).on(Server::builder(&backend).at_home_of(&home)).start().await;
    eventually("what is due is healed", async || {
        (get(&backup_settings(), &known[0].0).await.as_ref() == Some(&known[0].1)).then_some(())
    })
    .await;
    server.logged("it cannot be healed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_point_to_the_backup_until_the_bucket_is_healed() {
    // The bucket takes no objects while this is set, so that nothing is healed.
    let refusing = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&refusing);
    let gateway = settings().endpoint.trim_start_matches("http://").to_owned();
    let bucket =
        Gateway::start(gateway, move |head| match head.starts_with("PUT ") && flag.load(Ordering::Relaxed) {
            true => Answer::Reset,
            false => Answer::PassOn,
        })
        .await;
    let backend = Backend::production().await;
    let place = quick(Place::same_store())
        .set("BUCKET__ENDPOINT", &bucket.endpoint())
        .set("BACKUP__BASE_URL", "https://fw-backup.example.com/");
    let server = place.on(Server::builder(&backend)).start().await;
    let product = product_name();
    let images = publish(&server, &product).await;
    complete(&server).await;
    let url = async || server.device().offer(&product, "0.9.0&hardware=rev-a").await.expect("an offer").url;
    let key = &images[2].0;
    assert!(url().await.starts_with(&bucket.endpoint()), "presigned at the bucket");

    refusing.store(true, Ordering::Relaxed);
    remove(&settings(), key).await;
    let elsewhere = format!("https://fw-backup.example.com/{key}");
    eventually("the link points to the backup", async || (url().await == elsewhere).then_some(())).await;
    refusing.store(false, Ordering::Relaxed);
    eventually("the link points to the bucket", async || {
        url().await.starts_with(&bucket.endpoint()).then_some(())
    })
    .await;
    assert!(get(&settings(), key).await.as_ref() == Some(&images[2].1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_links_point_to_the_backup_while_the_bucket_is_gone() {
    let gone = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&gone);
    let gateway = settings().endpoint.trim_start_matches("http://").to_owned();
    let bucket = Gateway::start(gateway, move |head| match flag.load(Ordering::Relaxed) {
        // Of a HEAD, which has no body, too: the client reads what it expects.
        true if head.starts_with("HEAD ") => Answer::Text(
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        ),
        true => {
            let body = "<Error><Code>NoSuchBucket</Code></Error>";
            let length = body.len();
            Answer::Text(format!(
                "HTTP/1.1 404 Not Found\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            ))
        }
        false => Answer::PassOn,
    })
    .await;
    let backend = Backend::production().await;
    let place = Place::same_store()
        .set("BUCKET__ENDPOINT", &bucket.endpoint())
        .set("BACKUP__BASE_URL", "https://fw-backup.example.com");
    let server = place.on(Server::builder(&backend)).start().await;
    let product = product_name();
    let images = publish(&server, &product).await;
    complete(&server).await;
    let url = async || server.device().offer(&product, "0.9.0&hardware=rev-a").await.expect("an offer").url;
    assert!(url().await.starts_with(&bucket.endpoint()));

    gone.store(true, Ordering::Relaxed);
    let elsewhere = format!("https://fw-backup.example.com/{}", images[2].0);
    eventually("the link points to the backup", async || (url().await == elsewhere).then_some(())).await;
    let told = status(&server).await;
    assert!(told["summary"].as_str().is_some_and(|text| text.contains("held to be gone")), "{told}");
    gone.store(false, Ordering::Relaxed);
    eventually("the link points to the bucket", async || {
        url().await.starts_with(&bucket.endpoint()).then_some(())
    })
    .await;
}
