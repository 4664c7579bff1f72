//! The least that axum can do for a check: what `benches/checks` compares the server with.
//!
//! `baseline PORT FILE` listens on loopback, parses the query that `/v1/check` takes, and answers the content of FILE
//! as JSON, or 204 if the version is `9.9.9`. No catalogue, no limits, no time-outs, no log, no metrics.

use std::{env, fs, net::Ipv4Addr};

use axum::{
    Router,
    body::Bytes,
    extract::Query,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;

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

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // Cargo runs it with other arguments, or with none, where it runs every target there is.
    let [port, file] = arguments.as_slice() else { return Ok(()) };
    let Ok(port) = port.parse::<u16>() else { return Ok(()) };
    let body = Bytes::from(fs::read(file)?);
    let check = move |Query(facts): Query<Facts>| async move { answer(&facts, &body) };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, Router::new().route("/v1/check", get(check))).await
}
