//! A connection for which there is no place.
//!
//! It is heard for [`LINGER`], by hyper and outside of all places: `/livez` and `/readyz` are answered by the site's router, so that
//! no balancer takes a node out because it is busy, and everything else is told 429. One that asks nothing in that time is told
//! so as well. Then its end is waited for: closing it with something unread would make the kernel reset it, and the answer
//! could be lost.
//!
//! On a TLS listener all of this needs a handshake, which costs more than the answer that is refused: so fewer are heard
//! there. Those for whom there is no place even here are told 429 unread, or with TLS or a PROXY header not at all.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, time::Duration};

use axum::http::{Request, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    Site,
    connection::{self, Answering, Connection, Pending},
    regime::Regime,
    stream::Socket,
};
use crate::http::{
    health,
    reply::{Reply, Whole},
};

/// How many are heard at once.
const LINGERING: usize = 256;
/// How many on a TLS listener.
const LINGERING_WITH_TLS: usize = 32;
/// How long each step of it may take: to come to HTTP, to ask, and to read the answer.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// How many are heard at once.
pub(super) fn lingering(site: &Site) -> usize {
    if site.tls.is_some() { LINGERING_WITH_TLS } else { LINGERING }
}

/// Tells one that is not even heard.
pub(super) fn turn_away(stream: &TcpStream, site: &Site, regime: &Regime) {
    regime.metrics.refused.inc();
    if site.tls.is_none() && !site.expects_proxy_header {
        // A new socket's send buffer is empty: this is written at once or not at all.
        let _ = stream.try_write(site.later.pick().answer());
    }
}

/// Hears and tells one.
pub(super) async fn hear(stream: TcpStream, peer: SocketAddr, site: Arc<Site>, regime: Arc<Regime>) {
    let Ok(Some((stream, peer))) = timeout(LINGER, connection::enter(stream, peer, &site)).await else {
        regime.metrics.refused.inc();
        return;
    };
    // Nobody looks at its deadlines: it ends soon anyway.
    let connection = Arc::new(Connection::new(Arc::clone(&regime)));
    let socket = Socket { stream, read: axum::body::Bytes::new(), connection: Arc::clone(&connection) };
    let answering = Answering::new(Arc::clone(&site), peer, Arc::clone(&connection));
    let answer = service_fn(|request: Request<Incoming>| {
        if health::PATHS.contains(&request.uri().path()) {
            return hyper::service::Service::call(&answering, request);
        }
        regime.metrics.refused.inc();
        let mut reply = Whole::default();
        reply.status(StatusCode::TOO_MANY_REQUESTS);
        reply.field(header::RETRY_AFTER, site.later.pick().value());
        reply.nothing();
        Pending::at_once(reply.into_response())
    });
    let mut http = connection::http().keep_alive(false).serve_connection(TokioIo::new(socket), answer);
    let heard = timeout(LINGER, poll_fn(|cx| http.poll_without_shutdown(cx))).await;
    let mut stream = http.into_parts().io.into_inner().stream;
    let end = async {
        if heard.is_err() && !connection.has_asked() {
            regime.metrics.refused.inc();
            stream.write_all(site.later.pick().answer()).await?;
        }
        stream.shutdown().await?;
        let mut unread = [0; 1024];
        while stream.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(LINGER, end).await;
}
