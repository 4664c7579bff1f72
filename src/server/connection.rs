//! One connection: when it ends, and who answers.
//!
//! It begins with `exchange`, if its site answers anything at once, and becomes hyper's with the first request that is not
//! of that kind.
//!
//! The deadline follows from the last sign, a number of seconds on the listener's clock; there is none while a request is being
//! answered by the router (whose handlers have limits of their own). The listener looks at it once a second and wakes the
//! connection to end it. Signs are: a request that begins to be answered, an answer's end, and every byte that the other
//! side takes. The first deadline covers all that comes before a request: the PROXY header and the TLS handshake.
//!
//! An answer says that it is the last when its connection is to end, and when all are (`regime`).

use std::{
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::{HeaderValue, Method, Request, Response, StatusCode, header},
};
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::{
    FIRST_REQUEST_TIMEOUT, Site,
    clients::{Refusal, say_refusal},
    exchange::{Exchange, Outcome, Unanswered},
    proxy_protocol,
    regime::{Regime, seconds},
    room::GRACE,
    stream::{Socket, Stream},
};
use crate::http::{head::Head, reply::Whole};

/// The largest request header, in bytes.
const LARGEST_HEADER: usize = 32 * 1024;
/// The most header fields.
const MOST_FIELDS: usize = 64;
/// In place of the last sign: a request is being answered.
const BUSY: u32 = u32::MAX;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum End {
    /// Once the request that is under way has its answer.
    AfterAnswer = 1,
    /// As it is.
    Now = 2,
}

/// What the listener and a connection share.
pub(super) struct Connection {
    regime: Arc<Regime>,
    /// When something was last heard of it, in seconds on the listener's clock.
    sign: AtomicU32,
    /// Whether it ever took an answer.
    asked: AtomicBool,
    gave_way: AtomicBool,
    end: AtomicU8,
    waker: AtomicWaker,
}

impl Connection {
    pub fn new(regime: Arc<Regime>) -> Self {
        let sign = AtomicU32::new(regime.now());
        let (asked, gave_way) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { regime, sign, asked, gave_way, end: AtomicU8::new(0), waker: AtomicWaker::new() }
    }

    /// Whether something was to have happened by now.
    pub fn is_overdue(&self, now: u32) -> bool {
        let limit = if self.gave_way() {
            GRACE
        } else if self.has_asked() {
            self.regime.idle_limit()
        } else {
            seconds(FIRST_REQUEST_TIMEOUT)
        };
        let sign = self.sign.load(Ordering::Relaxed);
        sign != BUSY && now.saturating_sub(sign) > limit
    }

    /// For how many seconds nothing was heard of it; `None` = it is being answered, or is to end anyway.
    pub fn silence(&self, now: u32) -> Option<u32> {
        let sign = self.sign.load(Ordering::Relaxed);
        (sign != BUSY && !self.is_ending()).then(|| now.saturating_sub(sign))
    }

    /// Has it end for another's sake, by the next second.
    pub fn give_way(&self) {
        self.gave_way.store(true, Ordering::Relaxed);
        self.end(if self.has_asked() { End::AfterAnswer } else { End::Now });
    }

    /// Whether it was told so.
    pub fn gave_way(&self) -> bool {
        self.gave_way.load(Ordering::Relaxed)
    }

    /// Whether it ever took an answer, or a part of one.
    pub fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Has it end.
    pub fn end(&self, how: End) {
        self.end.fetch_max(how as u8, Ordering::Relaxed);
        self.waker.wake();
    }

    /// Whether it is to end, or will once it has answered.
    pub fn is_ending(&self) -> bool {
        self.end.load(Ordering::Relaxed) != 0
    }

    /// Whether an answer to it is to be its last.
    pub fn is_parting(&self) -> bool {
        self.is_ending() || self.regime.is_parting()
    }

    fn give_sign(&self) {
        self.sign.store(self.regime.now(), Ordering::Relaxed);
    }

    /// The other side takes what it is sent.
    pub fn progress(&self) {
        if self.sign.load(Ordering::Relaxed) != BUSY {
            self.give_sign();
        }
        if !self.has_asked() {
            self.asked.store(true, Ordering::Relaxed);
        }
    }

    /// Counts a request that was not looked at.
    pub fn count(&self, refusal: &Refusal) {
        if matches!(refusal, Refusal::TooMany(_)) {
            self.regime.metrics.limited.inc();
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, site: Arc<Site>, connection: Arc<Connection>) {
    let mut conversation = pin!(converse(stream, peer, site, Arc::clone(&connection)));
    poll_fn(|cx| {
        connection.waker.register(cx.waker());
        if connection.end.load(Ordering::Relaxed) == End::Now as u8 {
            return Poll::Ready(());
        }
        conversation.as_mut().poll(cx)
    })
    .await;
}

/// What comes before HTTP: the PROXY header and TLS. Returns who the client is; `None` = the connection is done with.
pub(super) async fn enter(
    mut stream: TcpStream,
    peer: SocketAddr,
    site: &Site,
) -> Option<(Stream, SocketAddr)> {
    let peer = if site.expects_proxy_header {
        if !site.clients.trusts(peer.ip()) {
            tracing::debug!(%peer, "a connection that does not come from a trusted proxy was closed");
            return None;
        }
        match proxy_protocol::client(&mut stream).await {
            Ok(client) => client.unwrap_or(peer),
            Err(error) => {
                tracing::debug!(%error, %peer, "a connection without a good PROXY header was closed");
                return None;
            }
        }
    } else {
        peer
    };
    let Some(tls) = &site.tls else { return Some((Stream::Plain(stream), peer)) };
    match tls.acceptor().accept(stream).await {
        Ok(stream) => Some((Stream::Tls(Box::new(stream)), peer)),
        Err(error) => {
            tracing::debug!(%error, %peer, "a TLS handshake failed");
            None
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, site: Arc<Site>, connection: Arc<Connection>) {
    let Some((mut stream, peer)) = enter(stream, peer, &site).await else { return };
    let mut unanswered = Unanswered::default();
    if let Some(at_once) = &site.at_once {
        let mut exchange = Exchange::new(&mut stream, &site, at_once, peer, &connection);
        match poll_fn(|cx| exchange.poll(cx)).await {
            Ok(Outcome::Other(rest)) => unanswered = rest,
            Ok(Outcome::Ended) => return,
            Err(error) => {
                tracing::trace!(%error, %peer, "a connection ended badly");
                return;
            }
        }
    }
    let socket = Socket { stream, read: unanswered.read, connection: Arc::clone(&connection) };
    let admitted = AtomicBool::new(unanswered.admitted);
    let answering = Answering { site, peer, connection: Arc::clone(&connection), admitted };
    // Most connections never need it, and it is large.
    if let Err(error) = Box::pin(speak_http(socket, answering, connection)).await {
        tracing::trace!(%error, %peer, "a connection ended badly");
    }
}

/// How HTTP is spoken.
pub(super) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).max_buf_size(LARGEST_HEADER).max_headers(MOST_FIELDS);
    http
}

async fn speak_http(
    socket: Socket,
    answering: Answering,
    connection: Arc<Connection>,
) -> Result<(), hyper::Error> {
    let mut http = pin!(http().serve_connection(TokioIo::new(socket), answering));
    let mut told = false;
    poll_fn(|cx| {
        // First what was read already: told before that, hyper would drop it.
        let served = http.as_mut().poll(cx);
        if served.is_pending() && !told && connection.is_ending() {
            told = true;
            http.as_mut().graceful_shutdown();
            return http.as_mut().poll(cx);
        }
        served
    })
    .await
}

/// Answers the requests of one connection.
pub(super) struct Answering {
    site: Arc<Site>,
    peer: SocketAddr,
    connection: Arc<Connection>,
    /// Whether the next request was admitted already.
    admitted: AtomicBool,
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pending;

    fn call(&self, mut request: Request<Incoming>) -> Pending {
        let head = Head::of(request.uri(), request.headers());
        let mut reply = Whole::default();
        if !self.admitted.swap(false, Ordering::Relaxed)
            && let Some(refusal) = self.site.clients.refusal(self.peer.ip(), &head)
        {
            self.connection.count(&refusal);
            say_refusal(&refusal, &self.site.later, &mut reply);
            return self.at_once(reply);
        }
        if let Some(at_once) = &self.site.at_once
            && matches!(*request.method(), Method::GET | Method::HEAD)
        {
            // If it panics, so will the router's handler, which makes an answer of it and logs it.
            let answer = AssertUnwindSafe(|| (at_once.answer)(&head, &mut reply));
            if catch_unwind(answer).unwrap_or(false) {
                return self.at_once(reply);
            }
        }
        self.connection.sign.store(BUSY, Ordering::Relaxed);
        let busy = Busy(Arc::clone(&self.connection));
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let routed = self.site.router.clone().oneshot(request.map(Body::new));
        Pending::Routed(Box::pin(async move {
            let Ok(mut response) = routed.await;
            // RFC 9110, 8.6: a 204 has no Content-Length. axum gives it one, and hyper keeps that in a HEAD's answer.
            if response.status() == StatusCode::NO_CONTENT {
                response.headers_mut().remove(header::CONTENT_LENGTH);
            }
            if busy.0.is_parting() {
                say_close(&mut response);
            }
            response.map(|body| Answer::Routed { body, _busy: busy })
        }))
    }
}

impl Answering {
    /// Answers from the first request on.
    pub fn new(site: Arc<Site>, peer: SocketAddr, connection: Arc<Connection>) -> Self {
        Self { site, peer, connection, admitted: AtomicBool::new(false) }
    }

    fn at_once(&self, reply: Whole) -> Pending {
        let mut response = reply.into_response();
        if self.connection.is_parting() {
            say_close(&mut response);
        }
        Pending::at_once(response)
    }
}

/// Makes an answer its connection's last: hyper goes by the field.
fn say_close<B>(response: &mut Response<B>) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// While it lives, its connection has no deadline, and gives way to nobody.
pub(super) struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.give_sign();
    }
}

/// An answer that is being made.
pub(super) enum Pending {
    AtOnce(Option<Response<Answer>>),
    Routed(Pin<Box<dyn Future<Output = Response<Answer>> + Send>>),
}

impl Pending {
    pub fn at_once(response: Response<Bytes>) -> Self {
        Self::AtOnce(Some(response.map(|body| Answer::Whole(Some(body)))))
    }
}

impl Future for Pending {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match &mut *self {
            Self::AtOnce(response) => response.take().expect("not polled again after it was ready"),
            Self::Routed(routed) => ready!(routed.as_mut().poll(cx)),
        }))
    }
}

/// An answer's body.
pub(super) enum Answer {
    Whole(Option<Bytes>),
    Routed { body: Body, _busy: Busy },
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Routed { body, .. } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Routed { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Routed { body, .. } => body.size_hint(),
        }
    }
}
