//! What only a file can show.

use std::sync::Arc;

use firmament::{
    catalogue::{Catalogue, SqliteCatalogue},
    error::Kind,
};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::Mutex;

use super::{audit_log, new_product, sqlite, state_of};

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

async fn connection(folder: &tempfile::TempDir) -> Mutex<SqliteConnection> {
    let url = format!("sqlite://{}", folder.path().join("catalogue.sqlite").display());
    Mutex::new(SqliteConnection::connect(&url).await.expect("the file is there"))
}

#[tokio::test]
async fn audit_entries_of_an_older_program_are_linked() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let catalogue: Arc<dyn Catalogue> = Arc::new(sqlite(&folder).await);
    let connection = connection(&folder).await;
    audit_log::entries_of_an_older_program_are_linked(catalogue, async |revision, product| {
        let statement = "insert into audit (revision, at, product_id, actor, action, details)
             values (?1, 1751234567123456, ?2, 'old', 'product.update', '{\"a\": [1, 1.5e3]}')";
        let revision = revision as i64;
        let insert = sqlx::query(statement).bind(revision).bind(product.id.hyphenated());
        insert.execute(&mut *connection.lock().await).await.expect("the old columns are enough");
        let counted = sqlx::query("update catalogue_state set revision = ?1").bind(revision);
        counted.execute(&mut *connection.lock().await).await.expect("may be changed");
    })
    .await;
}

#[tokio::test]
async fn tampering_with_the_audit_log_is_named() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let catalogue: Arc<dyn Catalogue> = Arc::new(sqlite(&folder).await);
    let connection = connection(&folder).await;
    let execute = async |statement: &str| {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&mut *connection.lock().await).await.map(drop)
    };
    let off = ["drop trigger audit_entries_stay", "drop trigger audit_entries_do_not_change"];
    audit_log::tampering_is_named(catalogue, execute, &off).await;
}

#[tokio::test]
async fn withdrawn_promotions_come_back_from_the_audit_log() {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("is in memory");
    let before = "
        insert into products values ('p', 'p', '{}', 0, 1);
        insert into releases values ('r', 'p', '1.0.0', null, 0, null, null);
        insert into images values ('i', 'p', 'r', 'k', 'f', '[]', 1, zeroblob(32), zeroblob(20), zeroblob(16), '', 5);
        insert into images values ('j', 'p', 'r', 'l', 'g', '[]', 1, zeroblob(32), zeroblob(20), zeroblob(16), '', 6);
        insert into promotions values ('p', 'stable', 'j', 7);
        insert into audit values (1, 8, 'p', 'a', 'product.create', null, null, 'null');
        insert into audit values (2, 9, 'p', 'a', 'channel.promote', '1', 'stable', '{\"withdrawn\": [\"i\", \"j\", \"x\"]}');
        insert into audit values (3, 9, 'p', 'a', 'channel.promote', '1', 'stable', '{\"withdrawn\": [\"i\"]}');";
    let first = include_str!("../../../migrations/sqlite/0001_catalogue.sql");
    let this = include_str!("../../../migrations/sqlite/0003_paths.sql");
    for statements in [first, before, this] {
        sqlx::raw_sql(statements).execute(&mut connection).await.expect("runs");
    }
    let rows: Vec<(String, i64, Option<i64>)> =
        sqlx::query_as("select image_id, promoted_at, withdrawn_at from promotions order by image_id")
            .fetch_all(&mut connection)
            .await
            .expect("reads");
    assert_eq!(rows, [("i".to_owned(), 5, Some(9)), ("j".to_owned(), 7, None)]);
}
