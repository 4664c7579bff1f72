//! What only a server can show: other replicas, lost connections, a server that is away.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use firmament::{
    bucket::{Bucket, DirectoryBucket},
    catalogue::{Catalogue, Heard, Listener, PostgresCatalogue, Reserved},
    error::Kind,
    recovery::fsck::{self, Looking, Stores, fsck},
};
use sqlx::Connection;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{Mutex, Notify},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};

use super::{Database, LEASE, audit_log, new_image, new_product, publish, reservation};

/// More than anything here takes; less than a listener's patience, unless a test sets that.
const SOON: Duration = Duration::from_secs(5);

async fn hear(listener: &mut Box<dyn Listener>) -> Heard {
    timeout(SOON, listener.next()).await.expect("soon").expect("the server answers")
}

/// Ends the connections of all listeners, as an administrator or a failover does.
async fn cut_listeners(database: &Database) {
    let mut connection = database.connection().await;
    let cut: i64 = sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where datname = current_database() and query ilike 'listen %'",
    )
    .fetch_one(&mut connection)
    .await
    .expect("the role may do this");
    assert_eq!(cut, 1);
    connection.close().await.expect("the server answers");
}

#[tokio::test]
async fn a_listener_hears_another_replica() {
    let database = Database::create().await;
    let one: Arc<dyn Catalogue> = Arc::new(database.catalogue().await);
    let other: Arc<dyn Catalogue> = Arc::new(database.unmigrated());
    let mut listener = one.listen().await.expect("works");
    new_product(&other, "a").await;
    assert_eq!(hear(&mut listener).await, Heard::Changed);
    drop(listener);
    database.drop().await;
}

#[tokio::test]
async fn a_cut_listener_says_reconnected_and_hears_again() {
    let database = Database::create().await;
    let catalogue: Arc<dyn Catalogue> = Arc::new(database.catalogue().await);
    let mut listener = catalogue.listen().await.expect("works");
    for name in ["a", "b"] {
        cut_listeners(&database).await;
        assert_eq!(hear(&mut listener).await, Heard::Reconnected);
        new_product(&catalogue, name).await;
        assert_eq!(hear(&mut listener).await, Heard::Changed);
    }
    drop(listener);
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_replicas_make_one_audit_chain() {
    let database = Database::create().await;
    let one: Arc<dyn Catalogue> = Arc::new(database.catalogue().await);
    audit_log::many_writers(vec![one, Arc::new(database.unmigrated()), Arc::new(database.unmigrated())])
        .await;
    database.drop().await;
}

#[tokio::test]
async fn audit_entries_of_an_older_program_are_linked() {
    let database = Database::create().await;
    let connection = Mutex::new(database.connection().await);
    audit_log::entries_of_an_older_program_are_linked(
        Arc::new(database.catalogue().await),
        async |revision, product| {
            let statement = "with counted as (update catalogue_state set revision = $1)
             insert into audit (revision, at, product_id, actor, action, details)
             values ($1, now(), $2, 'old', 'product.update', '{\"a\": [1, 1.5e3]}')";
            let insert = sqlx::query(statement).bind(revision as i64).bind(product.id);
            insert.execute(&mut *connection.lock().await).await.expect("the old columns are enough");
        },
    )
    .await;
    drop(connection);
    database.drop().await;
}

#[tokio::test]
async fn tampering_with_the_audit_log_is_named() {
    let database = Database::create().await;
    let connection = Mutex::new(database.connection().await);
    let execute = async |statement: &str| {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&mut *connection.lock().await).await.map(drop)
    };
    let catalogue: Arc<dyn Catalogue> = Arc::new(database.catalogue().await);
    let truncated = execute("truncate audit").await.expect_err("append-only");
    assert!(truncated.to_string().contains("append-only"), "{truncated}");
    audit_log::tampering_is_named(catalogue, execute, &["alter table audit disable trigger user"]).await;
    drop(connection);
    database.drop().await;
}

/// Stands between a catalogue and the server, to be the network that fails.
struct Proxy {
    address: SocketAddr,
    task: JoinHandle<()>,
    freeze: Arc<Notify>,
    /// Bytes that the server has sent on connections that were closed.
    sent: Arc<AtomicU64>,
}

impl Proxy {
    async fn start(database: &Database, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("it is bound");
        let server = database.address();
        let freeze = Arc::new(Notify::new());
        let frozen = freeze.clone();
        let sent = Arc::new(AtomicU64::new(0));
        let count = sent.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server = TcpStream::connect(&server).await.expect("the server answers");
                let (frozen, count) = (frozen.clone(), count.clone());
                connections.spawn(async move {
                    tokio::select! {
                        closed = copy_bidirectional(&mut client, &mut server) => {
                            count.fetch_add(closed.map_or(0, |(_, sent)| sent), Ordering::Relaxed);
                        }
                        () = frozen.notified() => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, task, freeze, sent }
    }

    /// The connections that exist neither carry anything from now on nor close; new ones work.
    fn freeze(&self) {
        self.freeze.notify_waiters();
    }

    /// Closes all connections and refuses new ones.
    async fn stop(self) -> SocketAddr {
        self.task.abort();
        let _cancelled = self.task.await;
        self.address
    }

    fn catalogue(&self, database: &Database) -> PostgresCatalogue {
        let url = database.url_at(&self.address.ip().to_string(), self.address.port());
        // One connection: it is the one that is waited for, never a second, new one that works.
        PostgresCatalogue::connect(&url, 1).expect("the URL is valid")
    }
}

/// What the server sends for this work.
async fn sent_for(database: &Database, work: impl AsyncFnOnce(&PostgresCatalogue)) -> u64 {
    let proxy = Proxy::start(database, "127.0.0.1:0").await;
    let catalogue = proxy.catalogue(database);
    work(&catalogue).await;
    drop(catalogue);
    crate::harness::eventually("the connection is closed", async || {
        Some(proxy.sent.load(Ordering::Relaxed)).filter(|sent| *sent > 0)
    })
    .await
}

/// When a bucket is lost, all is missing: to read the product anew for each image would take the square of their number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsck_reads_a_product_as_often_whatever_is_missing() {
    const IMAGES: usize = 60;
    let database = Database::create().await;
    let catalogue: Arc<dyn Catalogue> = Arc::new(database.catalogue().await);
    let product = new_product(&catalogue, "p").await;
    for minor in 0..IMAGES {
        let reservation = reservation(&product, &format!("1.{minor}.0"), "a.bin", &[]);
        publish(&catalogue, &new_image(&reservation, None), None).await;
    }
    let once = sent_for(&database, async |catalogue| {
        catalogue.product(&product.name).await.expect("works").expect("there");
    })
    .await;
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let bucket = Bucket::Directory(DirectoryBucket::open(folder.path()).await.expect("opens"));
    let all = sent_for(&database, async |catalogue| {
        let stores = Stores { catalogue, bucket: &bucket, backup: None };
        let mut missing = 0;
        let mut tell = |found: &fsck::Difference| {
            missing += usize::from(found.kind == fsck::Kind::RowWithoutObject);
        };
        fsck(stores, Looking::default(), &mut tell).await.expect("works");
        assert_eq!(missing, IMAGES);
    })
    .await;
    assert!(all < 6 * once, "{all} bytes, where one reading of the product takes {once}");
    database.drop().await;
}

#[tokio::test]
async fn a_listener_comes_back_when_the_server_does() {
    let database = Database::create().await;
    database.catalogue().await;
    let proxy = Proxy::start(&database, "127.0.0.1:0").await;
    let catalogue: Arc<dyn Catalogue> = Arc::new(proxy.catalogue(&database));
    let mut listener = catalogue.listen().await.expect("works");
    new_product(&catalogue, "a").await;
    assert_eq!(hear(&mut listener).await, Heard::Changed);
    let address = proxy.stop().await.to_string();
    for _ in 0..2 {
        let error = timeout(3 * SOON, listener.next()).await.expect("it ends").expect_err("nobody answers");
        assert_eq!(error.kind(), Kind::Unavailable);
    }
    let error = catalogue.revision().await.expect_err("nobody answers");
    assert_eq!(error.kind(), Kind::Unavailable);
    let proxy = Proxy::start(&database, &address).await;
    assert_eq!(hear(&mut listener).await, Heard::Reconnected);
    // The pool throws its dead connections away by itself.
    new_product(&catalogue, "b").await;
    assert_eq!(hear(&mut listener).await, Heard::Changed);
    drop(listener);
    proxy.stop().await;
    database.drop().await;
}

/// A firewall that forgot the connections, or a failover that took the address away, says nothing.
#[tokio::test]
async fn a_silent_connection_is_found_out_and_replaced() {
    let database = Database::create().await;
    database.catalogue().await;
    let proxy = Proxy::start(&database, "127.0.0.1:0").await;
    let catalogue = proxy.catalogue(&database).with_listener_quiet(Duration::from_millis(300));
    let catalogue: Arc<dyn Catalogue> = Arc::new(catalogue);
    let mut listener = catalogue.listen().await.expect("works");
    new_product(&catalogue, "a").await;
    assert_eq!(hear(&mut listener).await, Heard::Changed);

    proxy.freeze();
    let call = async {
        timeout(SOON, catalogue.revision()).await.expect("it ends").expect("over a new connection");
        new_product(&catalogue, "b").await;
    };
    let hear_again = async { timeout(3 * SOON, listener.next()).await.expect("it ends").expect("works") };
    let (heard, ()) = tokio::join!(hear_again, call);
    assert_eq!(heard, Heard::Reconnected);
    new_product(&catalogue, "c").await;
    assert_eq!(hear(&mut listener).await, Heard::Changed);
    drop(listener);
    proxy.stop().await;
    database.drop().await;
}

/// The pool asks a connection whether it can be used again when a call has ended; the network may go just then.
#[tokio::test]
async fn a_connection_that_falls_silent_behind_a_call_does_not_keep_its_place() {
    let database = Database::create().await;
    database.catalogue().await;
    let proxy = Proxy::start(&database, "127.0.0.1:0").await;
    let catalogue: Arc<dyn Catalogue> = Arc::new(proxy.catalogue(&database));
    catalogue.revision().await.expect("works");
    // Nothing is awaited in between, and there is one thread: the connection is on its way back.
    proxy.freeze();
    timeout(SOON, catalogue.revision()).await.expect("it ends").expect("over a new connection");
    proxy.stop().await;
    database.drop().await;
}

#[tokio::test]
async fn a_server_that_is_away_is_told_soon() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port is free").local_addr().expect("bound");
    let url = format!("postgres://nobody@{closed}/nothing?sslmode=disable").into();
    let catalogue = PostgresCatalogue::connect(&url, 2).expect("connecting is lazy");
    let began = Instant::now();
    let (revision, pending, migrated, listener) = tokio::join!(
        catalogue.revision(),
        catalogue.pending_migrations(),
        catalogue.migrate(),
        catalogue.listen()
    );
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let errors = [revision.err(), pending.err(), migrated.err(), listener.err()];
    for error in errors {
        let error = error.expect("nobody listens there");
        assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "catalogue-unavailable"));
        assert_eq!(error.retry_delay(), Some(Duration::from_secs(5)));
        assert!(!error.cause().is_empty());
    }
}

#[tokio::test]
async fn a_url_is_checked_and_its_password_never_shown() {
    let invalid = ["mysql://user:secret@host/", "user:secret", "postgres://user:secret@host:port/", ""];
    for url in invalid {
        let error = PostgresCatalogue::connect(&url.into(), 2).expect_err("not valid");
        assert_eq!((error.kind(), error.code()), (Kind::Malformed, "catalogue-url"), "{url}");
        assert!(!format!("{error} {error:?} {}", error.cause()).contains("secret"), "{error:?}");
    }
    let catalogue = PostgresCatalogue::connect(&"postgres://user:secret@host/".into(), 2).expect("valid");
    assert!(!format!("{catalogue:?}").contains("secret"), "{catalogue:?}");
}

#[tokio::test]
async fn many_replicas_migrate_at_once_and_one_does_it() {
    let database = Database::create().await;
    let all = database.unmigrated().pending_migrations().await.expect("works");
    assert!(all > 0);
    let mut migrations = JoinSet::new();
    for _ in 0..8 {
        let replica = database.unmigrated();
        migrations.spawn(async move { replica.migrate().await.expect("works") });
    }
    let mut ran = migrations.join_all().await;
    ran.sort_unstable();
    assert_eq!(ran, [0, 0, 0, 0, 0, 0, 0, all]);
    assert_eq!(database.unmigrated().pending_migrations().await.expect("works"), 0);
    database.drop().await;
}

#[tokio::test]
async fn a_schema_that_is_newer_or_different_is_told() {
    let database = Database::create().await;
    let catalogue = database.catalogue().await;
    let mut connection = database.connection().await;
    let changes = [
        ("update _sqlx_migrations set checksum = '\\x00' where version = 1", "schema-differs"),
        (
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (9999, 'of tomorrow', true, '', 0); delete from _sqlx_migrations where version = 1",
            "schema-newer",
        ),
    ];
    for (change, code) in changes {
        sqlx::raw_sql(change).execute(&mut connection).await.expect("the role may do this");
        for error in [catalogue.pending_migrations().await, catalogue.migrate().await] {
            let error = error.expect_err("it is told");
            assert_eq!((error.kind(), error.code()), (Kind::Internal, code));
        }
    }
    connection.close().await.expect("the server answers");
    database.drop().await;
}

/// A caller that goes away in the middle (a publisher hangs up) leaves neither a lock nor a broken connection.
#[tokio::test]
async fn a_call_that_is_given_up_leaves_nothing_behind() {
    let database = Database::create().await;
    let catalogue: Arc<dyn Catalogue> = Arc::new(database.catalogue().await);
    new_product(&catalogue, "a").await;
    for index in 0..40_u64 {
        let name = format!("given-up-{index}");
        let wait = Duration::from_micros(index * 100);
        let _maybe_given_up = timeout(wait, new_product(&catalogue, &name)).await;
    }
    new_product(&catalogue, "b").await;
    let told = catalogue.changes(firmament::domain::Revision(0), 1_000).await.expect("works");
    let listed = catalogue.products().await.expect("works");
    assert_eq!(told.products.len(), listed.len());
    assert_eq!(told.revision.0, listed.len() as u64, "each revision has its product");
    database.drop().await;
}

/// A change that is about to commit decides: what it makes untrue is not granted, and nobody waits for ever.
#[tokio::test]
async fn a_reservation_waits_for_a_change_under_way() {
    let database = Database::create().await;
    let catalogue: Arc<dyn Catalogue> = Arc::new(database.catalogue().await);
    let product = new_product(&catalogue, "a").await;
    let wanted = reservation(&product, "1.0.0", "a.bin", &[]);
    let mut connection = database.connection().await;
    let mut change = connection.begin().await.expect("the server answers");
    sqlx::query("update products set revision = revision + 1").execute(&mut *change).await.expect("works");

    let began = Instant::now();
    let error = catalogue.reserve(&wanted, product.revision, LEASE).await.expect_err("the lock has a limit");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(began.elapsed() > Duration::from_secs(4), "it did not wait for the change");

    let waiting = catalogue.reserve(&wanted, product.revision, LEASE);
    let commit = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        change.commit().await.expect("works");
    };
    let (answer, ()) = tokio::join!(waiting, commit);
    assert_eq!(answer.expect("works"), Reserved::Stale);
    connection.close().await.expect("the server answers");
    database.drop().await;
}

#[tokio::test]
async fn withdrawn_promotions_come_back_from_the_audit_log() {
    let database = Database::create().await;
    let mut connection = database.connection().await;
    let id = |last: char| format!("00000000-0000-7000-8000-00000000000{last}");
    let (p, r, i, j, x) = (id('1'), id('2'), id('3'), id('4'), id('5'));
    let image = |id: &str, key: &str| {
        format!(
            "insert into images values ('{id}', '{p}', '{r}', '{key}', '{key}', '{{}}', 1, decode(repeat('00', 32), 'hex'),
                decode(repeat('00', 20), 'hex'), decode(repeat('00', 16), 'hex'), '', 'epoch');"
        )
    };
    let before = format!(
        "insert into products values ('{p}', 'p', '{{}}', 'epoch', 1);
         insert into releases values ('{r}', '{p}', '1.0.0', null, 'epoch', null, null);
         {} {}
         insert into promotions values ('{p}', 'stable', '{j}', now());
         insert into audit values (1, now(), '{p}', 'a', 'product.create', null, null, 'null');
         insert into audit values (2, now(), '{p}', 'a', 'channel.promote', '1', 'stable',
             '{{\"withdrawn\": [\"{i}\", \"{j}\", \"{x}\"]}}');
         insert into audit values (3, now(), '{p}', 'a', 'channel.promote', '1', 'stable', '{{\"withdrawn\": [\"{i}\"]}}');",
        image(&i, "k"),
        image(&j, "l"),
    );
    let first = include_str!("../../../migrations/postgres/0001_catalogue.sql").to_owned();
    let this = include_str!("../../../migrations/postgres/0003_paths.sql").to_owned();
    for statements in [first, before, this] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut connection).await.expect("runs");
    }
    let rows: Vec<(String, bool)> =
        sqlx::query_as("select image_id::text, withdrawn_at is not null from promotions order by image_id")
            .fetch_all(&mut connection)
            .await
            .expect("reads");
    assert_eq!(rows, [(i, true), (j, false)]);
    drop(connection);
    database.drop().await;
}
