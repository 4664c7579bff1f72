//! A check is answered before any HTTP library comes to it, and must be answered as with it.

use crate::harness::{Backend, Raw, Server, content, eventually};

/// An answer, without what is of the moment.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: String,
    fields: Vec<String>,
    body: String,
}

/// Reads one answer; `None` = the connection has ended.
async fn answer(raw: &mut Raw, has_body: bool) -> Option<Said> {
    let head = raw.head().await;
    let mut lines = head.trim_end().split("\r\n").map(str::to_owned);
    let status = lines.next().filter(|line| !line.is_empty())?;
    let mut fields: Vec<String> = lines.collect();
    let length = fields.iter().find_map(|field| field.strip_prefix("content-length: ")?.parse().ok());
    let body = raw.next_bytes(if has_body { length.unwrap_or(0) } else { 0 }).await;
    assert_eq!(fields.iter().filter(|field| field.starts_with("date: ")).count(), 1, "{head}");
    let of_the_moment = ["date: ", "retry-after: "];
    for field in &mut fields {
        if let Some(name) = of_the_moment.iter().find(|name| field.starts_with(**name)) {
            (*name).clone_into(field);
        }
    }
    fields.sort();
    Some(Said { status, fields, body: String::from_utf8(body).expect("text") })
}

async fn with_two_products() -> Server {
    let server =
        Server::builder(&Backend::Embedded).set("DEVICE__PUBLIC_URL", "https://fw.example.com").start().await;
    for command in ["product create p", "product create closed --access private --authenticate-devices"] {
        let words: Vec<_> = command.split_whitespace().collect();
        server.command(&words).await.expect(0);
    }
    server.publisher().upload("p", "1.4.0").channel("stable").send(content(1000, 990)).await.expect(201);
    eventually("the offer", async || server.device().offer("p", "1.3.0").await).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_first_and_what_is_asked_later_is_answered_alike() {
    let server = with_two_products().await;
    let base = server.device().base;
    let tag = server.device().check("product=p&version=1.3.0").await.header("etag").to_owned();
    let line = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n");
    let check = |query: &str| line(&format!("/v1/check?{query}"));
    let long = "x".repeat(5000);
    let requests = [
        (check("product=p&version=1.3.0"), "200"),
        (check("product=p&version=1.4.0"), "204"),
        (check("product=p&version=1.3.0&device=sn%201"), "200"),
        (check("product=p&version=1.3.0") + &format!("If-None-Match: \"x\", {tag}\r\n"), "304"),
        (check("product=p&version=1.3.0") + "IF-NONE-MATCH: \"x\"\r\n", "200"),
        (check("product=p&version=1.3.0") + "Connection: close\r\n", "200"),
        (check("product=p&version=1.4.0") + "connection: Keep-Alive\r\nAccept: */*\r\n", "204"),
        (check("product=p&version=1.3.0") + "Connection: close, x-odd\r\n", "200"),
        (check("product=p&version=1.3.0") + "Connection: close\r\nConnection: keep-alive\r\n", "200"),
        (check("product=p&version=1.3.0#fragment"), "200"),
        (check("product=p&version=1.3.0&device=a#fragment"), "200"),
        (check("product=p&version=1.3.0&device=<\">"), "400"),
        (check("product=p&version=1.3.0") + "Content-Length: 0\r\n", "200"),
        (check("product=p&version=1.3.0") + &format!("X-Long: {long}\r\n"), "200"),
        (check("product=p&version=1.3.0") + "Host: b.example\r\n", "400"),
        (check("product=p&version=1"), "400"),
        (check("product=p"), "400"),
        (check("product=nobody&version=1.0.0"), "404"),
        (check("product=p&version=1.0.0&channel=none"), "404"),
        (check("product=closed&version=1.0.0&device=a"), "401"),
        (check("product=closed&version=1.0.0&device=a") + "Authorization: Bearer x\r\n", "401"),
        (line("/v1/check"), "400"),
        (line("/v1/checks?product=p&version=1.3.0"), "404"),
        (line("http://a.example/v1/check?product=p&version=1.3.0"), "200"),
        ("GET /v1/check?product=p&version=1.3.0 HTTP/1.1\r\n".into(), "400"),
        (check("product=p&version=1.3.0").replace("HTTP/1.1", "HTTP/1.0"), "200"),
        (check("product=p&version=1.3.0").replace("GET", "HEAD"), "200"),
        (check("product=p&version=1.3.0").replace("GET", "POST"), "405"),
        (check("product=p&version=1.3.0") + "No colon\r\n", "400"),
    ];
    for (request, status) in requests {
        let has_body = !request.starts_with("HEAD");
        let request = request + "\r\n";
        let mut said = Vec::new();
        for probe in [false, true] {
            let mut raw = Raw::connect(&base).await;
            if probe {
                // From here on the connection is the HTTP library's.
                raw.say("GET /livez HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
                assert_eq!(answer(&mut raw, true).await.expect("alive").status, "HTTP/1.1 200 OK");
            }
            raw.say(&request).await;
            let first = answer(&mut raw, has_body).await.expect("an answer");
            let goes_on = if first.fields.contains(&"connection: close".to_owned()) || status == "400" {
                None
            } else {
                raw.say("GET /v1/check?product=p&version=1.4.0 HTTP/1.1\r\nHost: a\r\n\r\n").await;
                answer(&mut raw, true).await
            };
            said.push((first, goes_on));
        }
        assert!(said[0].0.status.contains(status), "{request}{said:?}");
        assert_eq!(said[0], said[1], "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_a_row_and_in_pieces_are_answered_in_order() {
    let server = with_two_products().await;
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let (offer, nothing) =
        (get("/v1/check?product=p&version=1.3.0"), get("/v1/check?product=p&version=1.4.0"));
    let probe = get("/livez");
    let mut raw = Raw::connect(&server.device().base).await;
    let expect = async |raw: &mut Raw, statuses: &[&str]| {
        for status in statuses {
            let said = answer(raw, true).await.expect("an answer");
            assert!(said.status.contains(status), "{said:?} and not {status}");
        }
    };
    raw.say(&(offer.repeat(40) + &nothing)).await;
    expect(&mut raw, &["200"; 40]).await;
    expect(&mut raw, &["204"]).await;
    raw.say(&[nothing.as_str(), &offer, &probe, &nothing, &offer].concat()).await;
    expect(&mut raw, &["204", "200", "200", "204", "200"]).await;

    for at in [1, 4, 20, offer.len() - 1] {
        let mut raw = Raw::connect(&server.device().base).await;
        raw.say(&(nothing.clone() + &offer[..at])).await;
        expect(&mut raw, &["204"]).await;
        raw.say(&offer[at..]).await;
        expect(&mut raw, &["200"]).await;
    }

    // The last one says so, and what is behind it is nobody's.
    let mut raw = Raw::connect(&server.device().base).await;
    let last = offer.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    raw.say(&(last + &nothing)).await;
    let rest = raw.rest().await;
    assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{rest}");
    assert!(rest.contains("\r\nconnection: close\r\n") && rest.ends_with('}'), "{rest}");
}
