//! The client against scripted servers.

use super::*;
use crate::cli::replay::{Replay, Turn, problem};

fn get(server: &Replay) -> Result<Answer, Failure> {
    Client::publisher(&server.options()).expect("a token is given").get("/v1/products", &[])
}

#[test]
fn an_answer_is_read_and_the_request_carries_token_and_name() {
    let server = Replay::start(vec![Turn::json(200, "{\"products\":[]}")]);
    assert_eq!(get(&server).expect("200").document["products"], serde_json::json!([]));
    let request = &server.requests()[0];
    assert_eq!(request.line, "GET /v1/products HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer fmt_test"));
    assert_eq!(request.header("user-agent"), Some(concat!("firmament/", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn statuses_become_exit_codes() {
    for (status, code) in
        [(400, YOURS), (401, YOURS), (404, YOURS), (409, YOURS), (429, OURS), (500, OURS), (503, OURS)]
    {
        let server = Replay::start(vec![problem(status, "do this", &[])]);
        let failure = get(&server).expect_err("an error");
        assert_eq!(failure.code, code, "{status}");
        assert!(failure.message.contains("do this"), "{}", failure.message);
        assert_eq!(failure.document.expect("a problem")["status"], status);
        assert_eq!(failure.retry != Retry::No, matches!(status, 429 | 503), "{status}");
    }
}

#[test]
fn an_unknown_token_says_where_it_is_from() {
    let server = Replay::start(vec![problem(401, "unknown token", &[])]);
    let message = get(&server).expect_err("401").message;
    assert!(message.contains("--token or FIRMAMENT_TOKEN"), "{message}");
}

#[test]
fn what_is_no_firmament_server_is_told_so() {
    for (turn, code, word) in [
        (Turn::text(200, "<html>"), OURS, "not as a Firmament server"),
        (Turn::text(404, "nothing\nhere"), YOURS, "404 Not Found: nothing here"),
        (Turn::text(302, "").header("location", "https://x/"), YOURS, "redirects to https://x/"),
        (Turn::silence(), OURS, "closed without an answer"),
    ] {
        let server = Replay::start(vec![turn]);
        let failure = get(&server).expect_err(word);
        assert!(failure.message.contains(word), "{}", failure.message);
        assert_eq!(failure.code, code, "{word}");
    }
}

#[test]
fn no_server_is_said_with_what_to_do() {
    let mut options = Replay::start(vec![]).options();
    // The port was free a moment ago, and the server that had it is gone.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    options.server = Some(format!("http://{address}"));
    let client = Client::publisher(&options).expect("a token is given");
    let failure = client.get("/v1/products", &[]).expect_err("nobody is there");
    assert_eq!(failure.code, OURS);
    let expected = format!(
        "cannot reach http://{address}: connection refused. Is the server running? Start it with `firmament \
         serve`, or name another by --server"
    );
    assert_eq!(failure.message, expected);
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let parsed = |text: &str| delay(&text.parse().expect("a header value"));
    assert_eq!(parsed("7"), Some(Duration::from_secs(7)));
    assert_eq!(parsed("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
    assert_eq!(parsed("soon"), None);
}

#[test]
fn an_https_server_without_tls_is_an_explained_failure() {
    let server = Replay::start(vec![Turn::text(200, "")]);
    let mut options = server.options();
    options.server = options.server.map(|url| url.replace("http://", "https://"));
    let client = Client::publisher(&options).expect("a token is given");
    let failure = client.get("/v1/products", &[]).expect_err("no TLS there");
    assert_eq!(failure.code, OURS);
    assert!(failure.message.starts_with("no TLS with https://"), "{}", failure.message);
    assert_eq!(failure.retry, Retry::No);
}

#[test]
fn a_name_without_an_address_is_not_tried_again() {
    let mut options = Replay::start(vec![]).options();
    // RFC 6761: this name never has an address.
    options.server = Some("http://firmament.invalid".into());
    let client = Client::publisher(&options).expect("a token is given");
    let failure = client.get("/v1/products", &[]).expect_err("no such host");
    assert_eq!((failure.code, failure.retry), (OURS, Retry::No));
    assert!(failure.message.contains("Correct --server"), "{}", failure.message);
}
