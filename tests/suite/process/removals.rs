//! The queue of removals: objects of removed images go, and one that must stay keeps nothing behind it.

use std::{sync::Arc, time::Duration};

use firmament::{
    bucket::Bucket,
    catalogue::Catalogue,
    domain::ProductName,
    jobs::{Reconciler as _, removals::RemovalsJob},
    publishing::Publishing,
    telemetry::Metrics,
    version_check::Limits,
};
use http::Method;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::harness::{Backend, Server, backup::replace, content, on_both, product_name};

on_both!(what_cannot_be_removed_keeps_nothing_behind_it);

/// The queue's reconciler over stores that nobody else uses.
fn job(catalogue: Arc<dyn Catalogue>, bucket: Bucket, page: u32) -> RemovalsJob {
    let publishing = Publishing {
        catalogue,
        bucket,
        holder: Uuid::now_v7(),
        limits: Limits { max_image_bytes: 1, links: None, tag: None },
        uploads: Semaphore::new(1),
        upload_lifetime: Duration::from_secs(60),
        gated: false,
        changed: Arc::new(Notify::new()),
        metrics: Arc::new(Metrics::new()),
        abort: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    RemovalsJob { publishing: Arc::new(publishing), hold: Duration::ZERO, page, after: None }
}

async fn what_cannot_be_removed_keeps_nothing_behind_it(backend: Backend) {
    let server = Server::builder(&backend).set("REMOVAL__HOLD", "30d").start().await;
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    for minor in 0..8 {
        publisher.upload(&product, &format!("1.{minor}.0")).send(content(1000, minor)).await.expect(201);
    }
    let body = r#"{"retention":{"keep_newest":1}}"#;
    publisher.request(Method::PUT, &format!("/v1/products/{product}"), Some(body)).await.expect(200);
    publisher.request(Method::POST, &format!("/v1/products/{product}/prune"), None).await.expect(200);
    let (home, data) = (server.home().clone(), server.data_dir());
    server.terminate().await;

    let (catalogue, bucket) = (backend.catalogue(&data).await, backend.bucket(&data).await);
    let key = |minor: usize| format!("{product}/1.{minor}.0/app.bin");
    let queue = catalogue.removed(None, 100).await.expect("works");
    assert_eq!(queue.len(), 7);
    // The first five are not what their images were: more than two pages of two.
    let strange: Vec<String> = queue[..5]
        .iter()
        .map(|removed| format!("{product}/{}/{}", removed.version, removed.filename))
        .collect();
    for key in &strange {
        make_strange(&backend, &data, key).await;
    }
    let mut job = job(Arc::clone(&catalogue), bucket.clone(), 2);
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(job.pass().await.expect("works").unwrap_or_default());
    }
    assert!(told[0].contains("removed 0 objects") && told[0].contains("left 2 alone"), "{told:?}");
    assert!(told[2].contains("removed 1 objects") && told[2].contains("left 1 alone"), "{told:?}");
    let waiting = catalogue.removed(None, 100).await.expect("works");
    assert_eq!(waiting, queue[..5], "{told:?}");
    let mut left: Vec<String> =
        bucket.list(Some(&product)).await.expect("lists").into_iter().map(|object| object.key).collect();
    left.retain(|key| key.starts_with(&format!("{product}/")));
    let mut wanted = strange.clone();
    wanted.push(key(7));
    wanted.sort();
    assert_eq!(left, wanted);
    // It begins again at the front: what is mended there goes.
    bucket.delete(&strange[0]).await.expect("by hand");
    for _ in 0..4 {
        job.pass().await.expect("works");
    }
    assert_eq!(catalogue.removed(None, 100).await.expect("works"), queue[1..5]);
    // What is kept is kept.
    let name = ProductName::parse(&product).expect("valid");
    let state = catalogue.product(&name).await.expect("works").expect("there");
    assert_eq!(state.releases.iter().flat_map(|release| release.kept()).count(), 1);
    drop(home);
}

/// Makes an object another one than the image was.
async fn make_strange(backend: &Backend, data: &std::path::Path, key: &str) {
    match backend {
        Backend::Embedded => {
            let file = data.join("bucket/objects").join(key);
            std::fs::write(file, b"something else").expect("written");
        }
        Backend::Production(stores) => {
            replace(stores.s3(), key, b"something else").await;
        }
    }
}
