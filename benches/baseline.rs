//! What `benches/checks` and `benches/connections` compare the server with.
//!
//! `baseline axum PORT FILE` listens on loopback, parses the query that `/v1/check` takes, and answers the content of FILE
//! as JSON, or 204 if the version is `9.9.9`: the least that axum can do for a check.
//! `baseline hyper PORT FILE [CERTIFICATE KEY]` answers the content of FILE, or 204 if FILE is empty, without a look at the
//! request: the least that hyper can do for anything; with a certificate, behind TLS as the server has it.
//! Neither has a catalogue, limits, time-outs, a log or metrics.

use std::{convert::Infallible, env, fs, io, net::Ipv4Addr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::Query,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{Ticketer, default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

#[derive(Deserialize)]
struct Facts {
    product: String,
    version: String,
    hardware: Option<String>,
    channel: Option<String>,
}

fn answer(facts: &Facts, body: &Bytes) -> Response {
    std::hint::black_box((&facts.product, &facts.hardware, &facts.channel));
    if facts.version == "9.9.9" {
        return StatusCode::NO_CONTENT.into_response();
    }
    ([(header::CONTENT_TYPE, "application/json")], body.clone()).into_response()
}

async fn axum(listener: TcpListener, body: Bytes) -> io::Result<()> {
    let check = move |Query(facts): Query<Facts>| async move { answer(&facts, &body) };
    axum::serve(listener, Router::new().route("/v1/check", get(check))).await
}

async fn hyper(listener: TcpListener, body: Bytes, tls: Option<TlsAcceptor>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (body, tls) = (body.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => converse(stream, body).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, body).await;
                    }
                }
            }
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, body: Bytes) {
    let service = service_fn(move |_| {
        let mut response = hyper::Response::new(Full::new(body.clone()));
        if body.is_empty() {
            *response.status_mut() = StatusCode::NO_CONTENT;
        } else {
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut http = http1::Builder::new();
    http.header_read_timeout(None);
    // A client that goes away in the middle is no concern of a benchmark.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

fn acceptor(certificate: &str, key: &str) -> io::Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(io::Error::other)?;
    config.ticketer = Ticketer::new().map_err(io::Error::other)?;
    config.send_tls13_tickets = 1;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // Cargo runs it with other arguments, or with none, where it runs every target there is.
    let [kind, port, file, tls @ ..] = arguments.as_slice() else { return Ok(()) };
    let Ok(port) = port.parse::<u16>() else { return Ok(()) };
    let body = Bytes::from(fs::read(file)?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    match kind.as_str() {
        "hyper" => {
            let tls = match tls {
                [certificate, key] => Some(acceptor(certificate, key)?),
                _ => None,
            };
            hyper(listener, body, tls).await
        }
        _ => axum(listener, body).await,
    }
}
