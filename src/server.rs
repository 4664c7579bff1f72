//! The listeners: sockets, their limits, and how they end.
//!
//! hyper speaks HTTP/1.1, axum-server runs the loop: axum's own does not close silent or dripping connections. Per
//! connection: the first request must be there within [`HEADER_TIMEOUT`] (that is what ends silent ones), and so must the
//! header of every later one (that is what ends half-sent, dripping and idle ones). Connections are bounded; one too
//! many is told 429 and closed, without reading it.
//!
//! What it does not do: bodies (their handlers bound size and idle time), TLS (a load balancer's, for now).

use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router, ServiceExt,
    extract::Request,
    http::{StatusCode, header},
    response::Response,
};
use axum_server::{Handle, accept::Accept};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::util::MapResponse;

use crate::error::{Error, Kind, Result};

/// How long a request's header may take, from the connection's start or the end of the request before. So it is
/// also how long an idle connection is kept: above the 60 s that load balancers commonly keep theirs for reuse, so
/// that it is they who close first.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a new connection may be silent or dripping before its first request is complete.
pub const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest request header, in bytes.
const LARGEST_HEADER: usize = 32 * 1024;
/// The most header fields.
const MOST_FIELDS: usize = 64;

/// What a connection too many is told. Small, and without a look at its request.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 10\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// A socket that listens.
pub struct Listener {
    socket: TcpListener,
    /// Its address, with the port that the system chose if 0 was asked for.
    pub address: SocketAddr,
}

impl Listener {
    /// Starts to listen.
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
        let socket = TcpListener::bind(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// Serves until the handle says to stop. With `peers`, every request carries the address of its peer.
    ///
    /// # Errors
    /// When the socket cannot be handed to the runtime.
    pub async fn serve(
        self,
        router: Router,
        max_connections: usize,
        handle: Handle<SocketAddr>,
        peers: bool,
    ) -> Result<()> {
        let bounded = Bounded { free: Arc::new(Semaphore::new(max_connections)) };
        let mut server = axum_server::from_tcp(self.socket)
            .map_err(Error::internal)?
            .handle(handle)
            .acceptor(bounded)
            .first_request_timeout(FIRST_REQUEST_TIMEOUT)
            .accept_error_handler(|_, error| {
                // One too many is not worth a line each: an attacker would write our log.
                tracing::debug!(%error, "a connection was not accepted");
            })
            .http1_only();
        server
            .http_builder()
            .http1()
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(LARGEST_HEADER)
            .max_headers(MOST_FIELDS);
        let service = MapResponse::new(router, without_length_of_nothing as fn(Response) -> Response);
        let served = if peers {
            let service = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(service);
            server.serve(service).await
        } else {
            server.serve(ServiceExt::<Request>::into_make_service(service)).await
        };
        served.map_err(Error::internal)
    }
}

/// RFC 9110, 8.6: a 204 has no Content-Length. axum gives it one, and hyper drops that from all but a HEAD's answer.
fn without_length_of_nothing(mut response: Response) -> Response {
    if response.status() == StatusCode::NO_CONTENT {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

/// Accepts as many connections at once as there are permits.
#[derive(Clone)]
struct Bounded {
    free: Arc<Semaphore>,
}

impl<S: Send + 'static> Accept<TcpStream, S> for Bounded {
    type Stream = Permitted;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Permitted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepted = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => stream.set_nodelay(true).map(|()| (Permitted { stream, _permit: permit }, service)),
            Err(_) => {
                // A new socket's send buffer is empty: this is written at once or not at all.
                let _ = stream.try_write(TOO_MANY);
                Err(io::Error::other("too many connections"))
            }
        };
        std::future::ready(accepted)
    }
}

/// A connection that gives its permit back when it is closed.
struct Permitted {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Permitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Permitted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
