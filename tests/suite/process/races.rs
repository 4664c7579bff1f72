//! Several publishers at once, at two replicas where there can be two.

use futures_util::future::join_all;

use crate::harness::{Answer, Backend, Server, content, on_both, product_name, stores::Traces};

/// More than one part, so that uploads really overlap.
const SIZE: usize = 9 * 1024 * 1024;
const UPLOADS: usize = 8;

on_both!(
    the_same_image_eight_times_is_stored_once,
    of_eight_different_images_one_is_stored,
    images_for_different_hardware_do_not_meet,
);

/// As many replicas as the backend can have.
async fn replicas(backend: &Backend) -> Vec<Server> {
    let mut servers = vec![Server::start(backend).await];
    if backend.is_production() {
        servers.push(Server::start(backend).await);
    }
    servers
}

fn statuses(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

async fn the_same_image_eight_times_is_stored_once(backend: Backend) {
    let (servers, product) = (replicas(&backend).await, product_name());
    servers[0].publisher().create(&product).await;
    let image = content(SIZE, 4);
    let uploads = (0..UPLOADS).map(|at| {
        let publisher = servers[at % servers.len()].publisher();
        publisher.upload(&product, "1.0.0").channel("stable").send(image.clone())
    });
    let answers = join_all(uploads).await;
    assert_eq!(statuses(&answers, 201), 1, "{answers:?}");
    assert_eq!(statuses(&answers, 200), UPLOADS - 1, "{answers:?}");
    let clean = Traces::just(&[format!("{product}/1.0.0/app.bin")]);
    assert_eq!(servers[0].traces(&product).await, clean);
}

async fn of_eight_different_images_one_is_stored(backend: Backend) {
    let (servers, product) = (replicas(&backend).await, product_name());
    servers[0].publisher().create(&product).await;
    let uploads = (0..UPLOADS).map(|at| {
        let publisher = servers[at % servers.len()].publisher();
        publisher.upload(&product, "1.0.0").send(content(SIZE, 100 + at as u64))
    });
    let answers = join_all(uploads).await;
    assert_eq!(statuses(&answers, 201), 1, "{answers:?}");
    assert_eq!(statuses(&answers, 409), UPLOADS - 1, "{answers:?}");
    let winner = answers.iter().position(|answer| answer.status == 201).expect("one");
    let stored = answers[winner].json();
    let release = servers[0].publisher().get(&format!("/v1/products/{product}/releases/1.0.0")).await;
    assert_eq!(release.json()["images"][0]["sha256"], stored["sha256"]);
    let clean = Traces::just(&[format!("{product}/1.0.0/app.bin")]);
    assert_eq!(servers[0].traces(&product).await, clean);
}

async fn images_for_different_hardware_do_not_meet(backend: Backend) {
    let (servers, product) = (replicas(&backend).await, product_name());
    servers[0].publisher().create(&product).await;
    let uploads = (0..UPLOADS).map(|at| {
        let publisher = servers[at % servers.len()].publisher();
        let upload = publisher.upload(&product, "1.0.0").filename(&format!("rev-{at}.bin"));
        let upload = upload.hardware(&format!("rev-{at}")).channel("stable");
        upload.send(content(SIZE / 4, 200 + at as u64))
    });
    let answers = join_all(uploads).await;
    assert_eq!(statuses(&answers, 201), UPLOADS, "{answers:?}");
    let keys: Vec<String> = (0..UPLOADS).map(|at| format!("{product}/1.0.0/rev-{at}.bin")).collect();
    assert_eq!(servers[0].traces(&product).await, Traces::just(&keys));
}
