//! The backup while stores fail, processes are killed, bytes are damaged on the way, and clocks are wrong.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use firmament::bucket::PART_SIZE;

use super::backup::publish;
use crate::{
    bucket::{
        store::settings,
        wire::{Answer, Server as Gateway, header},
    },
    harness::{Backend, Server, backup::Place, command::command, content, eventually, product_name},
};

fn gateway() -> String {
    settings().endpoint.trim_start_matches("http://").to_owned()
}

fn refusal(status: &str, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>later</Message></Error>");
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}");
    Answer::Text(format!("{head}\r\nConnection: close\r\n\r\n{body}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_fails_all_the_time_only_takes_longer() {
    let (one, other) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failing = |count: &AtomicUsize| match count.fetch_add(1, Ordering::Relaxed) % 9 {
        1 => refusal("503 Slow Down", "SlowDown"),
        3 => refusal("500 Internal Server Error", "InternalError"),
        5 => Answer::Reset,
        7 => Answer::Lose,
        _ => Answer::PassOn,
    };
    let from = Gateway::start(gateway(), move |_| failing(&one)).await;
    let to = Gateway::start(gateway(), move |_| failing(&other)).await;
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    let mut images = publish(&server, &product_name()).await;
    images.extend(publish(&server, &product_name()).await);
    let place = Place::at(&to.endpoint()).set("BUCKET__ENDPOINT", &from.endpoint());
    // The commands retry what a store refuses, and give up at some time; so do people.
    eventually("a sync that ends well", async || {
        let outcome = place.command(&backend, &server, &["sync"]).await;
        (outcome.code == Some(0)).then_some(())
    })
    .await;
    for (key, bytes) in &images {
        place.holds(&backend, &server, key, bytes).await;
    }
    let place = Place::at(&format!("http://{}", gateway()));
    place.command(&backend, &server, &["verify", "--deep"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_bytes_never_become_visible() {
    let damaging = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&damaging);
    let from = Gateway::start(gateway(), move |head| {
        match head.starts_with("GET ") && flag.load(Ordering::Relaxed) {
            true => Answer::Corrupt,
            false => Answer::PassOn,
        }
    })
    .await;
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    let images = publish(&server, &product_name()).await;
    let place = Place::same_store().set("BUCKET__ENDPOINT", &from.endpoint());
    let told = place.command(&backend, &server, &["sync"]).await.expect(2).stderr;
    assert!(told.contains("3 objects could not be copied") && told.contains("is damaged"), "{told}");
    for (key, _) in &images {
        assert_eq!(place.bytes(key).await, None, "{key}");
    }
    let status = place.command(&backend, &server, &["status", "--json"]).await.expect(0).json();
    assert_eq!((&status["lag"]["objects"], &status["damaged_in_bucket"]), (&3.into(), &3.into()));
    assert!(status["last_error"].as_str().is_some_and(|error| error.contains("is damaged")), "{status}");

    damaging.store(false, Ordering::Relaxed);
    place.command(&backend, &server, &["sync"]).await.expect(0);
    for (key, bytes) in &images {
        place.holds(&backend, &server, key, bytes).await;
    }
    let status = place.command(&backend, &server, &["status", "--json"]).await.expect(0).json();
    assert_eq!((&status["damaged_in_bucket"], &status["last_error"]), (&0.into(), &serde_json::Value::Null));
}

/// Starts a sync, and kills it when the condition has come true.
async fn kill_a_sync_when(
    backend: &Backend,
    server: &Server,
    place: &Place,
    what: &str,
    when: impl Fn() -> bool,
) {
    let home = server.home().path();
    std::fs::write(home.join("beside.toml"), "").expect("writable");
    let mut sync = command(home);
    sync.args(["backup", "sync", "--config", "beside.toml"]).stdout(Stdio::null()).stderr(Stdio::null());
    sync.envs(place.environment(backend));
    let mut child = sync.spawn().expect("runs");
    eventually(what, async || when().then_some(())).await;
    child.kill().expect("runs");
    child.wait().expect("ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_copy_that_was_killed_is_gone_on_with() {
    // The second part's answer does not come while the first sync lives, so it is killed in the middle.
    let holding = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&holding);
    let to = Gateway::start(gateway(), move |head| {
        match head.contains("partNumber=3") && flag.load(Ordering::Relaxed) {
            true => Answer::Silence,
            false => Answer::PassOn,
        }
    })
    .await;
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    let product = product_name();
    server.publisher().create(&product).await;
    let bytes = content(4 * PART_SIZE + 77, 7);
    server.publisher().upload(&product, "1.0.0").send(bytes.clone()).await.expect(201);
    let key = format!("{product}/1.0.0/app.bin");
    let place = Place::at(&to.endpoint());
    let parts = |number: u32| {
        let number = format!("partNumber={number}&");
        let is_part = |head: &&String| head.starts_with("PUT ") && head.contains(&number);
        to.heads().iter().filter(is_part).count()
    };
    kill_a_sync_when(&backend, &server, &place, "the third part", || parts(3) == 1 && parts(4) == 1).await;
    assert_eq!(place.bytes(&key).await, None, "nothing is visible yet");
    // What was under way to the gateway has arrived.
    let upload = eventually("the parts are there", async || {
        let bucket = firmament::bucket::S3Bucket::new(
            &crate::harness::backup::backup_settings(),
            Default::default(),
            &Default::default(),
        );
        let bucket = firmament::bucket::Bucket::S3(bucket.expect("valid"));
        let upload = bucket.unfinished_uploads(Some(&key)).await.expect("listed").pop()?;
        let object = firmament::bucket::ObjectKey::parse(&key).expect("a key");
        let sent = bucket.sent_parts(&object, &upload.upload_id).await.expect("listed")?;
        (sent.len() >= 3).then_some(sent.len())
    })
    .await;
    holding.store(false, Ordering::Relaxed);
    place.command(&backend, &server, &["sync"]).await.expect(0);
    place.holds(&backend, &server, &key, &bytes).await;
    assert_eq!(
        (parts(1), parts(2), parts(3)),
        (1, 1, 2),
        "only what was lacking was sent again; {upload} were there"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_into_a_directory_that_was_killed_is_gone_on_with() {
    let directory = tempfile::tempdir().expect("a directory");
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    let product = product_name();
    server.publisher().create(&product).await;
    let bytes = content(4 * PART_SIZE, 8);
    server.publisher().upload(&product, "1.0.0").send(bytes.clone()).await.expect(201);
    let key = format!("{product}/1.0.0/app.bin");
    let slow = Place::directory(directory.path()).set("BACKUP__BANDWIDTH", "4MiB");
    let uploads = directory.path().join("uploads").join(&product).join("1.0.0");
    let written = || {
        let files = std::fs::read_dir(&uploads).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|about| about.len()).max().unwrap_or(0)
    };
    let a_part = PART_SIZE as u64;
    kill_a_sync_when(&backend, &server, &slow, "a part is written", || written() > a_part).await;
    let there = written();
    assert!(there > a_part && there < bytes.len() as u64);

    let from = Gateway::start(gateway(), |_| Answer::PassOn).await;
    let place = Place::directory(directory.path()).set("BUCKET__ENDPOINT", &from.endpoint());
    place.command(&backend, &server, &["sync"]).await.expect(0);
    place.holds(&backend, &server, &key, &bytes).await;
    let heads = from.heads();
    let ranges: Vec<&str> = heads.iter().filter_map(|head| header(head, "range")).collect();
    let expected = format!("bytes={there}-{}", bytes.len() - 1);
    assert_eq!(ranges, [expected.as_str()], "only the rest is read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_copies_that_were_killed_end_complete() {
    let to = Gateway::start(gateway(), |_| Answer::PassOn).await;
    let backend = Backend::production().await;
    let server = Server::start(&backend).await;
    let mut images = Vec::new();
    for _ in 0..4 {
        images.extend(publish(&server, &product_name()).await);
    }
    let place = Place::at(&to.endpoint());
    let puts =
        |at_least: usize| to.heads().iter().filter(|head| head.starts_with("PUT ")).count() >= at_least;
    kill_a_sync_when(&backend, &server, &place, "some copies", || puts(5)).await;
    place.command(&backend, &server, &["sync"]).await.expect(0);
    for (key, bytes) in &images {
        place.holds(&backend, &server, key, bytes).await;
    }
    place.command(&backend, &server, &["verify", "--deep"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_an_hour_wrong_is_no_obstacle() {
    let other = Gateway::start(gateway(), |_| Answer::PassOn).await;
    for (skew, place) in [("+1h", Place::same_store()), ("-1h", Place::at(&other.endpoint()))] {
        let backend = Backend::production().await;
        let server = Server::start(&backend).await;
        let images = publish(&server, &product_name()).await;
        std::fs::write(server.home().path().join("beside.toml"), "").expect("writable");
        // The command's clock is the only wrong one; its own timers go on as they should.
        let mut sync = tokio::process::Command::new("faketime");
        sync.args([
            "-m",
            "-f",
            skew,
            crate::harness::command::BINARY,
            "backup",
            "sync",
            "--config",
            "beside.toml",
        ])
        .current_dir(server.home().path())
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .envs(place.environment(&backend));
        let ended = sync.output().await.expect("faketime is installed by tests/run");
        let told = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{skew}: {}", String::from_utf8_lossy(&ended.stderr));
        assert!(told.contains("copied 3 objects"), "{skew}: {told}");
        for (key, bytes) in &images {
            place.holds(&backend, &server, key, bytes).await;
        }
    }
}
