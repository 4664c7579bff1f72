//! The listeners: sockets, their limits, and how they end.
//!
//! This loop accepts, bounds and closes. What a listener serves is a [`Site`]: a router, behind hyper, and before both, if
//! there is one, a function that answers at once what needs neither (`exchange.rs`).
//!
//! Per connection (`connection.rs`): the first request must be there within [`FIRST_REQUEST_TIMEOUT`] (that ends silent
//! and dripping ones), each later one within [`IDLE_TIMEOUT`] of the answer before it, and an answer must find somebody
//! who reads it. No connection has a timer of its own: a deadline is a number, and once a second all are looked at, so a
//! request pays nothing for its time-outs.
//!
//! Connections are bounded: each has one of the listener's places. The fewer are free (`regime.rs`), the shorter they are kept
//! between requests ([`IDLE_TIMEOUT_IF_FEW`], [`IDLE_TIMEOUT_IF_SCARCE`]), and when they are scarce every answer is its
//! connection's last. When none is free, those give way of which nothing was heard for longest (`room.rs`), and one that
//! still finds no place is told 429, or how the process is if it asks that (`refused.rs`). So idle connections lock
//! nobody out, and a balancer learns that a busy node is well.
//!
//! Before the end, from [`Handle::leave`] on, every answer is its connection's last too, so that clients go elsewhere by
//! themselves and no request meets a connection that is just being closed.
//!
//! Before HTTP there may be a PROXY header (`proxy_protocol.rs`) and TLS (`tls.rs`); who the client behind proxies is, and
//! how much it may ask, is in `clients.rs`.
//!
//! What it does not do: bodies (their handlers bound size and idle time).

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Error, Kind, Result},
    http::{head::Head, later::Later, reply::Reply},
    telemetry::ListenerMetrics,
};

mod clients;
mod connection;
mod exchange;
mod proxy_protocol;
mod refused;
mod regime;
mod room;
mod stream;
mod tls;

pub use clients::{Clients, RateLimit};
pub use tls::Tls;

use connection::{Connection, End};
use regime::Regime;
use room::Room;

/// How long a connection is kept between two requests, and how long an answer may wait for somebody to read it. Above
/// the 60 s that load balancers commonly keep theirs for reuse, so that it is they who close first.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// The same when few places are free.
pub const IDLE_TIMEOUT_IF_FEW: Duration = Duration::from_secs(15);
/// The same when they are scarce.
pub const IDLE_TIMEOUT_IF_SCARCE: Duration = Duration::from_secs(5);
/// How long a new connection may be silent or dripping before its first request's header is complete.
pub const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How many connections may wait to be accepted: after a power cut a fleet comes at once. The kernel's
/// `net.core.somaxconn` (4096 by default) bounds it too.
const BACKLOG: u32 = 4096;
/// How long to wait when the system has no more file descriptors.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What answers some requests at once.
pub struct AtOnce {
    /// What the targets of nearly all of them begin with.
    pub targets: &'static str,
    /// Answers a GET or HEAD, or says nothing and leaves it to the router (`false`).
    pub answer: Answerer,
}

/// See [`AtOnce::answer`].
pub type Answerer = Box<dyn Fn(&Head<'_>, &mut dyn Reply) -> bool + Send + Sync>;

/// What a listener serves.
pub struct Site {
    /// All routes.
    pub router: Router,
    /// Asked before the router.
    pub at_once: Option<AtOnce>,
    /// Who may ask how much, and whose word about it counts.
    pub clients: Clients,
    /// When those come again for whom there is no room.
    pub later: Arc<Later>,
    /// Whether every connection begins with a PROXY header; then only trusted proxies may connect.
    pub expects_proxy_header: bool,
    /// `None` = plain HTTP.
    pub tls: Option<Arc<Tls>>,
}

/// A socket that listens.
pub struct Listener {
    socket: TcpListener,
    /// Its address, with the port that the system chose if 0 was asked for.
    pub address: SocketAddr,
}

/// Ends a listener and counts its connections.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    drain: CancellationToken,
    close: CancellationToken,
    regime: Arc<Regime>,
    room: Room,
    next: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
}

impl Listener {
    /// Starts to listen. Needs the runtime.
    ///
    /// # Errors
    /// Code `cannot-listen`, with what to do.
    pub fn bind(setting: &str, address: SocketAddr) -> Result<Self> {
        let failed = |error: io::Error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => "something listens there already; stop it or set another address",
                io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; set a higher port",
                _ => "set an address of this machine",
            };
            Error::new(
                Kind::Internal,
                "cannot-listen",
                format!("cannot listen on {address} ({setting}): {error}: {hint}"),
            )
        };
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let listening = socket.and_then(|socket| {
            // A restart must not wait for the connections of the life before.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        });
        let socket = listening.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// Serves until the handle says to end, and all connections have.
    pub async fn serve(self, site: Site, max_connections: usize, handle: Handle) {
        let site = Arc::new(site);
        let free = Arc::new(Semaphore::new(max_connections));
        let lingering = Arc::new(Semaphore::new(refused::lingering(&site)));
        let Shared { drain, close, regime, .. } = handle.0.as_ref();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let began = tokio::time::Instant::now();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        match Arc::clone(&free).try_acquire_owned() {
                            Ok(permit) => handle.begin(Arc::clone(&site), stream, peer, permit),
                            Err(_) => match Arc::clone(&lingering).try_acquire_owned() {
                                Ok(place) => {
                                    let permit = handle.make_room(max_connections, &free);
                                    handle.wait(Arc::clone(&site), stream, peer, permit, place);
                                }
                                Err(_) => refused::turn_away(&stream, &site, regime),
                            },
                        }
                        regime.room(free.available_permits(), max_connections);
                    }
                    Err(error) => {
                        // One that is gone already is not worth a line: an attacker would write our log.
                        tracing::debug!(%error, "a connection was not accepted");
                        if !is_of_the_peer(&error) {
                            tokio::time::sleep(EXHAUSTED).await;
                        }
                    }
                },
                due = tick.tick() => {
                    regime.tick(began.elapsed(), due.elapsed(), free.available_permits(), max_connections);
                    handle.end_overdue();
                }
                () = drain.cancelled() => break,
            }
        }
        // The address is free for the next life from here on.
        drop(self.socket);
        handle.end_all(End::AfterAnswer);
        while handle.connection_count() > 0 {
            tokio::select! {
                due = tick.tick() => {
                    regime.tick(began.elapsed(), due.elapsed(), free.available_permits(), max_connections);
                    handle.end_overdue();
                }
                () = close.cancelled() => break,
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
        handle.end_all(End::Now);
    }
}

impl Handle {
    /// Of a listener that shows how it is in `metrics`.
    pub fn new(metrics: ListenerMetrics) -> Self {
        Self(Arc::new(Shared {
            drain: CancellationToken::new(),
            close: CancellationToken::new(),
            regime: Arc::new(Regime::new(metrics)),
            room: Room::default(),
            next: AtomicU64::new(0),
            connections: Mutex::default(),
        }))
    }

    /// Makes each answer the last of its connection; new ones are taken as before.
    pub fn leave(&self) {
        self.0.regime.leave();
    }

    /// Takes no more connections, and closes each once it has its answer.
    pub fn drain(&self) {
        self.0.drain.cancel();
    }

    /// Closes everything.
    pub fn close(&self) {
        self.0.drain.cancel();
        self.0.close.cancel();
    }

    /// How many times longer than usual callers should wait until they come again: 1 to 8, by the load.
    pub fn stretch(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.0.regime.stretch)
    }

    /// How many connections there are.
    pub fn connection_count(&self) -> usize {
        self.connections().len()
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, site: Arc<Site>, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        // An answer is written in one piece; waiting for more would only delay it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone at once");
            return;
        }
        let connection = Arc::new(Connection::new(Arc::clone(&self.0.regime)));
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.connections().insert(id, Arc::clone(&connection));
        if self.0.drain.is_cancelled() {
            // All others were told before this one was there.
            connection.end(End::AfterAnswer);
        }
        self.0.regime.metrics.open.inc();
        let handle = self.clone();
        tokio::spawn(async move {
            connection::serve(stream, peer, site, Arc::clone(&connection)).await;
            handle.connections().remove(&id);
            handle.0.regime.metrics.open.dec();
            if connection.gave_way() {
                handle.0.room.left();
            }
            drop(permit);
        });
    }

    /// Has others give way; the result comes with a place that gets free. `None` = nobody can.
    fn make_room(
        &self,
        places: usize,
        free: &Arc<Semaphore>,
    ) -> Option<impl Future<Output = Option<OwnedSemaphorePermit>> + Send + 'static> {
        let Shared { room, regime, .. } = self.0.as_ref();
        let (told, will_be) = room.make(self.connections().values(), regime.now(), places);
        regime.metrics.displaced.inc_by(told as u64);
        will_be.then(|| {
            room.wait();
            let (handle, free) = (self.clone(), Arc::clone(free));
            async move {
                let permit = tokio::time::timeout(refused::LINGER, free.acquire_owned()).await;
                handle.0.room.waited();
                if permit.is_err() {
                    handle.0.room.in_vain();
                }
                permit.ok()?.ok()
            }
        })
    }

    /// Begins a connection once there is a place for it, or tells it that there is none.
    fn wait(
        &self,
        site: Arc<Site>,
        stream: TcpStream,
        peer: SocketAddr,
        permit: Option<impl Future<Output = Option<OwnedSemaphorePermit>> + Send + 'static>,
        place: OwnedSemaphorePermit,
    ) {
        let handle = self.clone();
        tokio::spawn(async move {
            let permit = match permit {
                Some(permit) => permit.await,
                None => None,
            };
            match permit.filter(|_| !handle.0.drain.is_cancelled()) {
                Some(permit) => handle.begin(site, stream, peer, permit),
                None => refused::hear(stream, peer, site, Arc::clone(&handle.0.regime)).await,
            }
            drop(place);
        });
    }

    fn end_overdue(&self) {
        let now = self.0.regime.now();
        for connection in self.connections().values().filter(|connection| connection.is_overdue(now)) {
            connection.end(End::Now);
        }
    }

    fn end_all(&self, how: End) {
        self.connections().values().for_each(|connection| connection.end(how));
    }
}

/// An error of accept(2) that concerns one connection, and not this machine's limits.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
