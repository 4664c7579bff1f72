//! A store that hangs, is overloaded, is not there, or loses its answers; and what we put on the wire.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use firmament::{
    bucket::{PART_SIZE, PartBudget, S3Limits, S3Settings},
    error::{Error, Kind},
};

use super::{
    store::{Store, content, digests, settings},
    wire::{Answer, Server, header},
};

const SHORT: S3Limits = S3Limits {
    connect: Duration::from_millis(300),
    attempt: Duration::from_millis(400),
    operation: Duration::from_secs(1),
    attempts: 2,
    page: 1000,
};

fn store_at(endpoint: String, limits: S3Limits) -> Store {
    let settings = S3Settings { endpoint, ..settings_of_nobody() };
    Store::s3_with(&settings, limits, &PartBudget::default())
}

fn settings_of_nobody() -> S3Settings {
    S3Settings {
        endpoint: String::new(),
        region: "us-east-1".into(),
        name: "firmware".into(),
        access_key_id: "ID".into(),
        secret_access_key: "secret".to_owned().into(),
        path_style: true,
    }
}

fn is_unavailable(error: &Error) {
    assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "bucket-unavailable"), "{}", error.cause());
    assert!(error.retry_delay().is_some() && !error.cause().is_empty());
}

/// Every request fails as it should, and in time.
async fn all_is_unavailable(store: &Store, limits: S3Limits) {
    let begun = Instant::now();
    is_unavailable(&store.bucket.probe().await.expect_err("no answer"));
    is_unavailable(&store.bucket.head("a/1.0.0/b").await.expect_err("no answer"));
    is_unavailable(&store.bucket.delete("a/1.0.0/b").await.expect_err("no answer"));
    is_unavailable(&store.bucket.list(None).await.expect_err("no answer"));
    is_unavailable(&store.bucket.unfinished_uploads(None).await.expect_err("no answer"));
    is_unavailable(&store.store("small.bin", b"bytes").await.expect_err("no answer"));
    let mut upload =
        store.bucket.begin(&store.key("large.bin"), &store.facts("large.bin")).await.expect("begun");
    is_unavailable(&upload.write(Bytes::from(content(PART_SIZE + 1))).await.expect_err("no answer"));
    upload.abort().await.expect("there is nothing to abort");
    // Eight operations, of which the small object's has a HEAD too; several times over, for a busy machine. Without
    // time-outs it would be for ever.
    assert!(begun.elapsed() < limits.operation * 60, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_is_unavailable_in_time() {
    let server = Server::start(String::new(), |_| Answer::Silence).await;
    all_is_unavailable(&store_at(server.endpoint(), SHORT), SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_overloaded_is_unavailable() {
    let slow_down = "<Error><Code>SlowDown</Code></Error>";
    let answer = format!(
        "HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{slow_down}",
        slow_down.len()
    );
    let server = Server::start(String::new(), move |head| {
        let length = if head.starts_with("HEAD") { answer.len() - slow_down.len() } else { answer.len() };
        Answer::Text(answer[..length].to_owned())
    })
    .await;
    let limits = S3Limits { operation: Duration::from_secs(5), ..SHORT };
    all_is_unavailable(&store_at(server.endpoint(), limits), limits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_is_unavailable() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let endpoint = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    let limits = S3Limits { operation: Duration::from_secs(5), ..SHORT };
    let store = store_at(endpoint.clone(), limits);
    all_is_unavailable(&store, limits).await;
    let message = store.bucket.probe().await.expect_err("nobody there").message().to_owned();
    assert!(message.contains(&endpoint) && message.contains("check the endpoint"), "{message}");
}

/// Answers of a store that takes everything and has nothing.
fn takes_all(head: &str) -> Answer {
    let body = match head.split_whitespace().take(2).collect::<Vec<_>>()[..] {
        ["POST", path] if path.contains("uploads") => {
            "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>"
        }
        ["POST", _] => "<CompleteMultipartUploadResult/>",
        ["PUT", _] if header(head, "x-amz-copy-source").is_some() => "<CopyObjectResult/>",
        ["PUT", _] => "",
        _ => return Answer::Text("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n".into()),
    };
    Answer::Text(format!(
        "HTTP/1.1 200 OK\r\nETag: \"tag\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_plain_signed_and_of_known_length() {
    let server = Server::start(String::new(), takes_all).await;
    for (endpoint, path_style) in
        [(server.endpoint(), true), (format!("http://s3.localhost:{}", server.port), false)]
    {
        let settings = S3Settings { endpoint, path_style, ..settings_of_nobody() };
        let store = Store::s3_with(&settings, S3Limits::default(), &PartBudget::default());
        for (filename, size) in [("small.bin", 100), ("large.bin", PART_SIZE + 1)] {
            // The HEAD at the end finds nothing here.
            store.store(filename, &content(size)).await.expect_err("nothing there");
        }
    }
    let heads = server.heads();
    let count = |what: &str| heads.iter().filter(|head| head.contains(what)).count();
    assert_eq!((count("PUT "), count("?uploads"), count("partNumber=")), (8, 2, 4), "{heads:#?}");
    assert!(count("Host: firmware.s3.localhost:") + count("host: firmware.s3.localhost:") > 5);
    for head in &heads {
        let lower = head.to_ascii_lowercase();
        for never in ["aws-chunked", "x-amz-trailer", "x-amz-checksum", "transfer-encoding", "streaming-"] {
            assert!(!lower.contains(never), "{head}");
        }
        if lower.starts_with("put") {
            assert!(header(head, "content-length").is_some(), "{head}");
            let sha256 = header(head, "x-amz-content-sha256").expect("signed");
            assert!(sha256.len() == 64, "{head}");
        }
    }
    let whole = heads.iter().find(|head| head.contains("/small.bin")).expect("sent");
    let sha256 = hex::encode(digests(&content(100)).sha256);
    assert_eq!(header(whole, "x-amz-content-sha256"), Some(sha256.as_str()));
    assert_eq!(header(whole, "x-amz-meta-sha256"), Some(sha256.as_str()));
}

/// Stores an object of two parts while the store loses the first `lost` answers to a kind of request.
async fn store_with_lost_answers(is_it: fn(&str) -> bool, lost: usize) -> usize {
    let settings = settings();
    let upstream = settings.endpoint.strip_prefix("http://").expect("plain in tests").to_owned();
    let seen = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&seen);
    let server = Server::start(upstream, move |head| {
        if is_it(head) && counter.fetch_add(1, Ordering::SeqCst) < lost {
            Answer::Lose
        } else {
            Answer::PassOn
        }
    })
    .await;
    let settings = S3Settings { endpoint: server.endpoint(), ..settings };
    let limits = S3Limits { attempts: 2, ..S3Limits::default() };
    let store = Store::s3_with(&settings, limits, &PartBudget::default());
    let bytes = content(PART_SIZE + 1);
    let stored = store.store("a.bin", &bytes).await.expect("stored all the same");
    assert_eq!(stored.sha256, Some(digests(&bytes).sha256));
    assert!(store.read(&store.key("a.bin")).await == bytes, "other bytes");
    assert_eq!(store.unfinished(&store.key("a.bin")).await, 0);
    seen.load(Ordering::SeqCst)
}

fn is_complete(head: &str) -> bool {
    head.starts_with("POST ") && head.contains("uploadId=")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_complete_is_asked_for_again() {
    assert_eq!(store_with_lost_answers(is_complete, 1).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_complete_that_never_comes_is_found_out_by_head() {
    assert_eq!(store_with_lost_answers(is_complete, 9).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_the_copy_is_found_out_by_head() {
    let is_copy = |head: &str| header(head, "x-amz-copy-source").is_some();
    assert_eq!(store_with_lost_answers(is_copy, 9).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_part_is_asked_for_again() {
    assert_eq!(store_with_lost_answers(|head| head.contains("partNumber=1"), 1).await, 2);
}
