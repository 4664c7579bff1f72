//! Which snapshots are gone on from: those of the catalogue that is there, and no other.

use std::{path::Path, sync::Arc};

use firmament::{
    catalogue::{Audit, Catalogue, SqliteCatalogue},
    domain::{ProductName, ProductSettings},
    jobs::{
        Reconciler, keeper,
        snapshot::{Current, SnapshotJob},
    },
    telemetry::Metrics,
};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::harness::{Backend, Server, content, eventually};

/// A catalogue with these products.
async fn catalogue(products: &[&str]) -> (TempDir, Arc<dyn Catalogue>) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let opened = SqliteCatalogue::open(folder.path().join("catalogue.sqlite")).await.expect("opens");
    opened.migrate().await.expect("migrates");
    let catalogue: Arc<dyn Catalogue> = Arc::new(opened);
    for name in products {
        create(&catalogue, name).await;
    }
    (folder, catalogue)
}

async fn create(catalogue: &Arc<dyn Catalogue>, name: &str) {
    let name = ProductName::parse(name).expect("valid");
    let put = catalogue.put_product(&name, &ProductSettings::default(), &Audit::default()).await;
    assert!(put.expect("works").1);
}

/// A replica that starts with this snapshot file, if it is there.
fn starts(catalogue: &Arc<dyn Catalogue>, kept: &Path) -> SnapshotJob {
    let current = Arc::new(Current::default());
    if let Some(snapshot) = keeper::read(kept).expect("sound") {
        current.set_from_disk(snapshot);
    }
    SnapshotJob {
        catalogue: Arc::clone(catalogue),
        current,
        swapped: Arc::new(Notify::new()),
        metrics: Arc::new(Metrics::new()),
        migrate: true,
        known: None,
        begun: None,
    }
}

fn keep(job: &SnapshotJob, path: &Path) {
    keeper::write(path, &job.current.get().expect("it has read")).expect("written");
}

/// What a pass does, and the products that are answered for then.
async fn pass(job: &mut SnapshotJob) -> (String, Vec<String>) {
    let done = job.pass().await.expect("works").unwrap_or_default();
    let snapshot = job.current.get().expect("it has read");
    let mut names: Vec<_> = snapshot.products().map(|product| product.name().to_owned()).collect();
    names.sort();
    (done, names)
}

#[tokio::test]
async fn a_restart_reads_what_changed_since_the_snapshot_on_disk() {
    let (folder, catalogue) = catalogue(&["a", "b"]).await;
    let kept = folder.path().join("snapshot");
    let mut job = starts(&catalogue, &kept);
    let (done, names) = pass(&mut job).await;
    assert_eq!((done.as_str(), names.join("")), ("read 2 changed products, now at revision 2", "ab".into()));
    assert_eq!(pass(&mut job).await.0, "");
    keep(&job, &kept);

    let mut again = starts(&catalogue, &kept);
    assert_eq!(pass(&mut again).await.0, "the snapshot on disk is true, at revision 2");
    assert_eq!(pass(&mut again).await.0, "");
    create(&catalogue, "c").await;
    let mut later = starts(&catalogue, &kept);
    for job in [&mut again, &mut later] {
        let (done, names) = pass(job).await;
        assert_eq!(done, "read 1 changed products since revision 2, now at revision 3");
        assert_eq!(names.join(""), "abc");
        assert!(job.current.get().expect("it has read").mark.is_some());
    }
}

#[tokio::test]
async fn another_catalogue_is_noticed_whatever_its_revision() {
    let (folder, first) = catalogue(&["a", "b"]).await;
    let kept = folder.path().join("snapshot");
    let mut job = starts(&first, &kept);
    pass(&mut job).await;
    keep(&job, &kept);
    for products in [&["x"] as &[&str], &["x", "y"], &["x", "y", "z"]] {
        let (_other, replaced) = catalogue(products).await;
        let expected = products.concat();
        // While it runs, and at a start.
        let mut running = starts(&first, &kept);
        pass(&mut running).await;
        running.catalogue = Arc::clone(&replaced);
        let mut starting = starts(&replaced, &kept);
        for job in [&mut running, &mut starting] {
            let (done, names) = pass(job).await;
            assert_eq!(names.concat(), expected, "{done}");
            let count = products.len();
            assert_eq!(done, format!("read {count} changed products, now at revision {count}"));
            assert_eq!(pass(job).await.0, "");
        }
        // What was read in part is held against the catalogue too.
        let mut halfway = starts(&first, &kept);
        halfway.begun = job.current.get();
        halfway.catalogue = Arc::clone(&replaced);
        assert_eq!(pass(&mut halfway).await.1.concat(), expected);
    }
    let (_empty, empty) = catalogue(&[]).await;
    job.catalogue = empty;
    assert!(pass(&mut job).await.1.is_empty());
}

/// Copies the database with its write-ahead log, and leaves nothing of the one that was there.
fn copy_database(from: &Path, to: &Path) {
    for part in ["", "-wal", "-shm"] {
        let name = format!("catalogue.sqlite{part}");
        let _ = std::fs::remove_file(to.join(&name));
        if from.join(&name).exists() {
            std::fs::copy(from.join(&name), to.join(&name)).expect("copied");
        }
    }
}

/// The database is put back from a copy, and reaches the same revision again with something else.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_that_reaches_the_same_revision_is_read_anew() {
    let offered = async |server: &Server, version: &str| {
        eventually(version, async || {
            let offer = server.device().offer("p", "0.1.0").await?;
            (offer.version == version).then_some(())
        })
        .await;
    };
    let publish = async |server: &Server, version: &str, seed: u64| {
        let upload = server.publisher().upload("p", version).channel("stable");
        upload.send(content(1000, seed)).await.expect(201);
        offered(server, version).await;
    };
    let server = Server::start(&Backend::Embedded).await;
    server.publisher().create("p").await;
    publish(&server, "1.0.0", 880).await;
    let (home, data_dir) = (server.home().clone(), server.data_dir());
    server.terminate().await;
    let backup = tempfile::tempdir().expect("a temporary directory");
    copy_database(&data_dir, backup.path());

    let server = Server::builder(&Backend::Embedded).at_home_of(&home).start().await;
    let read = server.logged("snapshot read from the catalogue").await;
    assert!(read.contains("the snapshot on disk is true, at revision 2"), "{read}");
    publish(&server, "1.1.0", 881).await;
    server.terminate().await;
    let snapshot = std::fs::read(data_dir.join("snapshot")).expect("kept");

    copy_database(backup.path(), &data_dir);
    let server = Server::builder(&Backend::Embedded).at_home_of(&home).start().await;
    server.logged("the catalogue's revision went back").await;
    offered(&server, "1.0.0").await;
    publish(&server, "1.2.0", 882).await;
    server.terminate().await;

    // As if this replica had slept through the restoration.
    std::fs::write(data_dir.join("snapshot"), snapshot).expect("written");
    let server = Server::builder(&Backend::Embedded).at_home_of(&home).start().await;
    server.logged("the catalogue has another history").await;
    offered(&server, "1.2.0").await;
    server.terminate().await;
}
