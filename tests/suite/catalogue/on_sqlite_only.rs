//! What only a file can show.

use std::sync::Arc;

use firmament::{
    catalogue::{Catalogue, SqliteCatalogue},
    error::Kind,
};
use sqlx::{Connection, SqliteConnection};

use super::{new_product, sqlite, state_of};

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let before: Arc<dyn Catalogue> = Arc::new(sqlite(&folder).await);
    let product = new_product(&before, "a").await;
    drop(before);
    let after: Arc<dyn Catalogue> = Arc::new(sqlite(&folder).await);
    assert_eq!(state_of(&after, &product.name).await.product, product);
}

#[tokio::test]
async fn a_folder_that_is_missing_is_named() {
    let error = SqliteCatalogue::open("/nowhere/at/all.sqlite").await.expect_err("no such folder");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains("/nowhere/at/all.sqlite"), "{error}");
}

#[tokio::test]
async fn a_schema_that_is_newer_is_told() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let catalogue = sqlite(&folder).await;
    let url = format!("sqlite://{}", folder.path().join("catalogue.sqlite").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the file is there");
    sqlx::raw_sql(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'of tomorrow', true, '', 0)",
    )
    .execute(&mut connection)
    .await
    .expect("the file can be written");
    for error in [catalogue.pending_migrations().await, catalogue.migrate().await] {
        let error = error.expect_err("it is told");
        assert_eq!((error.kind(), error.code()), (Kind::Internal, "schema-newer"));
    }
}

/// Two handles of one file, such as the server and a command beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_openings_migrate_and_write_side_by_side() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let path = folder.path().join("catalogue.sqlite");
    let one = SqliteCatalogue::open(&path).await.expect("the folder can be written");
    let other = SqliteCatalogue::open(&path).await.expect("the file is there");
    let all = one.pending_migrations().await.expect("works");
    let (ran, ran_too) = tokio::join!(one.migrate(), other.migrate());
    assert_eq!(ran.expect("works") + ran_too.expect("works"), all);
    let both: [Arc<dyn Catalogue>; 2] = [Arc::new(one), Arc::new(other)];
    let mut writers = tokio::task::JoinSet::new();
    for (writer, catalogue) in both.iter().cloned().enumerate() {
        writers.spawn(async move {
            for index in 0..20 {
                new_product(&catalogue, &format!("product-{writer}-{index}")).await;
            }
        });
    }
    writers.join_all().await;
    for catalogue in both {
        assert_eq!(catalogue.revision().await.expect("works").0, 40);
    }
}
