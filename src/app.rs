//! The composition root: settings -> components -> the two listeners' states, and the life of the process.
//!
//! # Start, one log line a step
//! limit of open files -> data directory (locked) -> catalogue -> bucket -> snapshot (from disk, then from the catalogue, if it answers in
//! time) -> listeners -> reconcilers -> ready. A catalogue or bucket that is away does not stop the start: checks are
//! answered from the snapshot on disk, and everything recovers by itself.
//!
//! # End
//! SIGTERM or SIGINT: `/readyz` turns false, and each answer is the last of its connection; after `shutdown.delay` no more connections are taken; requests under way
//! finish within `shutdown.limit`; then uploads are aborted, cleanly. A second signal ends at once. Any task that ends
//! on its own, or panics, ends the process with failure: a replica that is half alive is worse than none.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    bucket::{Bucket, DirectoryBucket, ObjectReader, PartBudget, S3Bucket, S3Limits},
    catalogue::{Catalogue, PostgresCatalogue, SqliteCatalogue},
    cdn::g2o::G2o,
    config::{CatalogueSettings, Settings},
    data_dir::{DataDir, ListenerUrls},
    error::Result,
    http::{
        authentication::Tokens,
        device::{self, DeviceState, pace::Pace},
        health::Readiness,
        later::Later,
        publisher::{self, PublisherState},
    },
    jobs::{
        self, Outcomes,
        download_logs::DownloadLogsJob,
        keeper::{self, KeeperJob},
        listener,
        orphans::OrphansJob,
        snapshot::{Current, SnapshotJob},
    },
    publishing::Publishing,
    server::{AtOnce, Clients, Handle, Listener, RateLimit, Site},
    telemetry::Metrics,
    version_check::Limits,
};

pub(crate) mod backup;
mod cdn;
mod certificate;
mod files;
mod first;
mod links;
mod logs;
mod recovery;
mod signal;
mod tasks;

pub use recovery::open_stores;

use certificate::{CertificateJob, open_tls};
use links::{make_links, make_short_links};
use tasks::Tasks;

/// A publisher for whom there is no room comes again after about so long.
const PUBLISHERS_INTERVAL: Duration = Duration::from_secs(10);
/// How long uploads that were aborted at the end may take to clean up.
const CLEANING: Duration = Duration::from_secs(10);

/// What the caller of [`serve`] learns once the listeners are up.
pub struct Started<'a> {
    /// Where they are.
    pub urls: &'a ListenerUrls,
    /// The first token's file; `None` = the token is in the settings.
    pub token_file: Option<std::path::PathBuf>,
    /// Whether there is nothing in the catalogue yet.
    pub empty: bool,
}

/// The catalogue in Postgres. Nothing is sent yet.
///
/// # Errors
/// When its URL is wrong.
pub fn open_postgres(settings: &CatalogueSettings) -> Result<Arc<dyn Catalogue>> {
    Ok(Arc::new(PostgresCatalogue::connect(&settings.url, settings.max_connections)?))
}

/// The catalogue in SQLite, below the data directory.
///
/// # Errors
/// When the file cannot be opened.
pub async fn open_sqlite(data_dir: &DataDir) -> Result<Arc<dyn Catalogue>> {
    Ok(Arc::new(SqliteCatalogue::open(&data_dir.file("catalogue.sqlite")).await?))
}

/// Runs both listeners and the reconcilers until a signal. Calls `started` once the listeners are up.
///
/// # Errors
/// When a step of the start fails for good, or a task ends on its own.
pub async fn serve(settings: Settings, migrate: bool, started: impl FnOnce(&Started<'_>)) -> Result<()> {
    // First: a signal that comes during the start is acted on after it, and not ignored (as process 1 would).
    let mut signals = signal::Signals::new()?;
    files::raise_limit(&settings);
    let data_dir = DataDir::open(&settings.data_dir)?;
    let (holder, earlier_life) = data_dir.next_holder();
    let token = match &settings.publisher.token {
        Some(token) => token.clone(),
        None => data_dir.publisher_token()?,
    };
    tracing::info!(path = %settings.data_dir.display(), %holder, "data directory opened");

    let catalogue = match &settings.catalogue {
        Some(postgres) => open_postgres(postgres)?,
        None => open_sqlite(&data_dir).await?,
    };
    let kind = if settings.catalogue.is_some() { "postgres" } else { "sqlite" };
    tracing::info!(kind, "catalogue configured");
    let (bucket, reader) = open_bucket(&settings, &data_dir).await?;
    tracing::info!(kind = if reader.is_some() { "directory" } else { "s3" }, "bucket configured");

    let metrics = Arc::new(Metrics::new());
    let current = Arc::new(Current::default());
    let snapshot_file = data_dir.file("snapshot");
    match keeper::read(&snapshot_file) {
        Ok(Some(snapshot)) => {
            tracing::info!(revision = snapshot.revision.0, "snapshot read from disk");
            metrics.snapshot(&snapshot, true);
            current.set_from_disk(snapshot);
        }
        Ok(None) => tracing::info!("no snapshot on disk"),
        // After an upgrade, this is what is expected.
        Err(error) if error.code() == keeper::OTHER_FORMAT => tracing::warn!("{error}"),
        Err(error) => tracing::error!("{error}"),
    }

    let publisher_socket = Listener::bind("publisher.listen", settings.publisher.listen)?;
    let device_socket = Listener::bind("device.listen", settings.device.listen)?;
    let scheme = if settings.device.tls.is_some() { "https" } else { "http" };
    let urls = ListenerUrls {
        publisher: format!("http://{}", reachable(publisher_socket.address)),
        device: format!("{scheme}://{}", reachable(device_socket.address)),
    };

    let stop = CancellationToken::new();
    let abort = CancellationToken::new();
    let (changed, swapped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let outcomes = Arc::new(Outcomes::default());
    let readiness = Readiness { current: Arc::clone(&current), draining: Arc::new(AtomicBool::new(false)) };
    let backup = backup::open(&settings, &catalogue, &bucket).await?;
    let links = make_links(&settings, device_socket.address)?;
    // The gate looks at the CDN, also while the backup stands in for the bucket.
    let through_cdn = Arc::new(make_links(&settings, device_socket.address)?);
    let (links, elsewhere) = backup::links(&settings, links);
    let links = Arc::new(links);
    let short = Arc::new(make_short_links(&settings, device_socket.address));
    let device_host: Arc<str> = reachable(device_socket.address).to_string().into();
    let purge = settings.cdn.as_ref().and_then(|cdn| cdn.purge.as_ref());
    let purger = purge.map(|purge| cdn::purger(purge, &settings)).transpose()?;
    let gate = cdn::gate(&settings);
    let publishing = Arc::new(Publishing {
        catalogue: Arc::clone(&catalogue),
        bucket,
        holder,
        limits: Limits {
            max_image_bytes: settings.publisher.max_image_bytes,
            links: Some(links.forms(&short, &device_host)?),
            tag: purge.and_then(|purge| purge.tag_of_objects()).map(crate::domain::purge::TagForm::of),
        },
        uploads: Semaphore::new(settings.publisher.max_uploads),
        upload_lifetime: settings.publisher.upload_lifetime,
        gated: gate.is_some(),
        changed: Arc::clone(&changed),
        metrics: Arc::clone(&metrics),
        abort: abort.clone(),
        tasks: TaskTracker::new(),
    });
    let handles = ["publisher", "device"].map(|listener| Handle::new(metrics.listener(listener)));
    let [publisher_handle, device_handle] = handles.clone();
    let device_state = Arc::new(DeviceState {
        current: Arc::clone(&current),
        links: Arc::clone(&links),
        short: Arc::clone(&short),
        metrics: Arc::clone(&metrics),
        readiness: readiness.clone(),
        pace: Pace::new(
            settings.device.poll_interval,
            settings.device.cache_lifetime,
            device_handle.stretch(),
        ),
        check_tag: purge.and_then(|purge| purge.tag_of_checks()).map(Into::into),
        reader: reader.map(Arc::new),
        downloads: Arc::new(Semaphore::new(settings.device.max_downloads)),
    });
    let tls = settings.device.tls.as_ref().map(open_tls).transpose()?;
    let logs = logs::open(&settings)?;
    let limit = settings.device.rate_limit.as_ref();
    let later = device_state.pace.later();
    let device_site = Site {
        router: device::router(Arc::clone(&device_state)),
        at_once: Some(AtOnce {
            targets: device::check::TARGETS,
            answer: Box::new(move |head, reply| device::check::at_once(&device_state, head, reply)),
        }),
        clients: Clients {
            trusted: settings.device.trusted_proxies.clone(),
            limit: limit.map(|limit| RateLimit::new(limit.per_second, limit.burst)),
            g2o: settings.device.g2o.as_ref().map(|g2o| G2o::new(g2o.keys.clone(), g2o.required)),
        },
        later,
        expects_proxy_header: settings.device.proxy_protocol,
        tls: tls.clone(),
    };
    let publisher_router = publisher::router(PublisherState {
        publishing: Arc::clone(&publishing),
        tokens: Arc::new(Tokens::new(&token, &settings.publisher.tokens)),
        links: Arc::clone(&links),
        short: Arc::clone(&short),
        device_host,
        metrics: Arc::clone(&metrics),
        outcomes: Arc::clone(&outcomes),
        readiness: readiness.clone(),
        backup: backup.as_ref().map(|backup| backup.handle(settings.backup.as_ref())),
    });

    let mut tasks = Tasks::default();
    let mut snapshot_job = SnapshotJob {
        catalogue: Arc::clone(&catalogue),
        current: Arc::clone(&current),
        swapped: Arc::clone(&swapped),
        metrics: Arc::clone(&metrics),
        migrate,
        known: None,
        begun: None,
    };
    first::answers(&mut snapshot_job, &publishing.bucket).await?;

    tracing::info!(address = %publisher_socket.address, listener = "publisher", "listening");
    tracing::info!(address = %device_socket.address, listener = "device", "listening");
    let max_connections = settings.publisher.max_connections;
    let publisher_site = Site {
        router: publisher_router,
        at_once: None,
        clients: Clients { trusted: settings.publisher.trusted_proxies.clone(), ..Clients::default() },
        later: Arc::new(Later::new(PUBLISHERS_INTERVAL, publisher_handle.stretch())),
        expects_proxy_header: settings.publisher.proxy_protocol,
        tls: None,
    };
    let serving = publisher_socket.serve(publisher_site, max_connections, publisher_handle);
    tasks.spawn("publisher listener", done(serving));
    let serving = device_socket.serve(device_site, settings.device.max_connections, device_handle);
    tasks.spawn("device listener", done(serving));
    if let Err(error) = data_dir.announce(&urls) {
        tracing::warn!("{error}; client commands need --server and --device-server");
    }

    let reconciler =
        |wake: &Arc<Notify>| (Arc::clone(wake), stop.clone(), Arc::clone(&outcomes), Arc::clone(&metrics));
    let (wake, until, shown, counted) = match &backup {
        // A change wakes both.
        Some(backup) => {
            let woken = [Arc::new(Notify::new()), Arc::clone(&backup.wake)];
            tasks.spawn("wake-ups", done(tasks::pass_on(Arc::clone(&changed), woken.clone(), stop.clone())));
            reconciler(&woken[0])
        }
        None => reconciler(&changed),
    };
    tasks.spawn("snapshot", done(jobs::run(snapshot_job, wake, until, shown, counted)));
    let keeper = KeeperJob { current: Arc::clone(&current), path: snapshot_file.clone(), kept: None };
    let (wake, until, shown, counted) = reconciler(&swapped);
    tasks.spawn("snapshot keeper", done(jobs::run(keeper, wake, until, shown, counted)));
    let orphans = OrphansJob { publishing: Arc::clone(&publishing), earlier_life, passes: 0 };
    let (wake, until, shown, counted) = reconciler(&Arc::new(Notify::new()));
    tasks.spawn("orphans", done(jobs::run(orphans, wake, until, shown, counted)));
    let second = backup.as_ref().map(backup::Running::bucket);
    recovery::start(&mut tasks, &settings, &publishing, second, &reconciler);
    if let Some((bucket, source)) = logs {
        let (wake, until, shown, counted) = reconciler(&Arc::new(Notify::new()));
        let counting = Arc::clone(&catalogue);
        let replica = (holder, earlier_life);
        let job =
            DownloadLogsJob::new(counting, bucket, source, replica, Arc::clone(&metrics), Arc::clone(&wake));
        tasks.spawn("download logs", done(jobs::run(job, wake, until, shown, counted)));
    }
    let shared = (Arc::clone(&publishing), earlier_life, Arc::clone(&metrics));
    let (gate, purge) = cdn::jobs(shared, (through_cdn, short), gate, purger, &current);
    let (wake, until, shown, counted) = reconciler(&Arc::new(Notify::new()));
    tasks.spawn("gate", done(jobs::run(gate, wake, until, shown, counted)));
    if let Some(purge) = purge {
        let (wake, until, shown, counted) = reconciler(&Arc::new(Notify::new()));
        tasks.spawn("purge", done(jobs::run(purge, wake, until, shown, counted)));
    }
    if let Some(tls) = tls {
        let (wake, until, shown, counted) = reconciler(&Arc::new(Notify::new()));
        tasks.spawn("certificate", done(jobs::run(CertificateJob(tls), wake, until, shown, counted)));
    }
    if let Some(backup) = &backup {
        backup.start(&mut tasks, &settings, elsewhere, holder, &reconciler);
    }
    let (wake, until, _, counted) = reconciler(&changed);
    tasks.spawn("catalogue listener", done(listener::run(catalogue, wake, counted, until)));
    tracing::info!(ready = readiness.health().0, "started");
    started(&Started {
        urls: &urls,
        token_file: settings.publisher.token.is_none().then(|| data_dir.file("publisher.token")),
        empty: current.get().is_some_and(|snapshot| snapshot.product_count() == 0),
    });

    let failure = tokio::select! {
        () = signals.next() => None,
        failure = tasks.first_end() => Some(failure),
    };
    readiness.draining.store(true, Ordering::Relaxed);
    if let Some(failure) = failure {
        tracing::error!("{failure}; ending");
        abort.cancel();
        publishing.tasks.close();
        let _ = tokio::time::timeout(CLEANING, publishing.tasks.wait()).await;
        return Err(failure);
    }
    tracing::info!(delay = ?settings.shutdown.delay, limit = ?settings.shutdown.limit, "draining; a second signal ends at once");
    tokio::select! {
        () = drain(&settings, &handles, &publishing, &abort) => {}
        () = signals.next() => {
            tracing::warn!("second signal: ending at once");
            std::process::exit(130);
        }
    }
    stop.cancel();
    tasks.end().await;
    if let Some(backup) = &backup {
        backup.give_back(holder).await;
    }
    if let Some(snapshot) = current.get()
        && let Err(error) = keeper::write(&snapshot_file, &snapshot)
    {
        tracing::error!(cause = error.cause(), "cannot keep the snapshot");
    }
    tracing::info!("ended");
    Ok(())
}

async fn drain(settings: &Settings, handles: &[Handle], publishing: &Publishing, abort: &CancellationToken) {
    handles.iter().for_each(Handle::leave);
    tokio::time::sleep(settings.shutdown.delay).await;
    handles.iter().for_each(Handle::drain);
    publishing.tasks.close();
    if tokio::time::timeout(settings.shutdown.limit, publishing.tasks.wait()).await.is_err() {
        tracing::warn!(
            uploads = publishing.tasks.len(),
            "the limit is over: aborting what is still being uploaded"
        );
    }
    abort.cancel();
    if tokio::time::timeout(CLEANING, publishing.tasks.wait()).await.is_err() {
        tracing::error!(
            uploads = publishing.tasks.len(),
            "uploads did not clean up in time; the next start will"
        );
    }
    let closed = async {
        while handles.iter().any(|handle| handle.connection_count() > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(settings.shutdown.limit, closed).await;
    handles.iter().for_each(Handle::close);
}

async fn open_bucket(settings: &Settings, data_dir: &DataDir) -> Result<(Bucket, Option<ObjectReader>)> {
    match &settings.bucket {
        Some(s3) => {
            Ok((Bucket::S3(S3Bucket::new(&s3.to_s3(), S3Limits::default(), &PartBudget::default())?), None))
        }
        None => {
            let directory = DirectoryBucket::open(&data_dir.file("bucket")).await?;
            let reader = directory.reader();
            Ok((Bucket::Directory(directory), Some(reader)))
        }
    }
}

/// An address that this machine can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn done(task: impl Future<Output = ()>) -> Result<()> {
    task.await;
    Ok(())
}
