//! A server for tests that answers each connection with the next turn of a script and keeps what it was asked.
//!
//! It is a plain socket, so that it can do what a good server rarely does: refuse before the body, close in its
//! middle, say nothing.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use secrecy::SecretString;

use super::connection::ClientOptions;

/// What of a request's body is read before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    /// All of it.
    All,
    /// None, and no `100 Continue`.
    Nothing,
    /// So many bytes; the rest is left unread when the connection is closed.
    Part(usize),
}

/// One answer of the script.
#[derive(Debug, Clone)]
pub struct Turn {
    take: Take,
    status: Option<u16>,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Turn {
    /// An answer of any text.
    pub fn text(status: u16, body: &str) -> Self {
        Self { take: Take::All, status: Some(status), headers: Vec::new(), body: body.to_owned() }
    }

    /// An answer in JSON.
    pub fn json(status: u16, body: &str) -> Self {
        Self::text(status, body).header("content-type", "application/json")
    }

    /// No answer: the connection is closed after the request.
    pub fn silence() -> Self {
        Self { status: None, ..Self::text(200, "") }
    }

    /// With a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Answers before the body, without `100 Continue`.
    pub fn before_the_body(mut self) -> Self {
        self.take = Take::Nothing;
        self
    }

    /// Answers after so many bytes of the body, and closes.
    pub fn after(mut self, bytes: usize) -> Self {
        self.take = Take::Part(bytes);
        self
    }
}

/// A problem document.
pub fn problem(status: u16, detail: &str, reasons: &[(&str, &str)]) -> Turn {
    let reasons: Vec<_> =
        reasons.iter().map(|(code, message)| serde_json::json!({"code": code, "message": message})).collect();
    let body = serde_json::json!({
        "type": "urn:firmament:problem:test", "title": "Test", "status": status, "detail": detail, "reasons": reasons,
    });
    Turn::text(status, &body.to_string()).header("content-type", "application/problem+json")
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The request line.
    pub line: String,
    headers: Vec<(String, String)>,
    /// What was read of the body.
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The server.
#[derive(Debug)]
pub struct Replay {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Replay {
    /// Starts it; it ends with its script.
    pub fn start(script: Vec<Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        std::thread::spawn(move || {
            for turn in script {
                let (stream, _) = listener.accept().expect("a connection");
                // A client that gives up is the test's to judge.
                let _ = serve(stream, &turn, &kept);
            }
        });
        Self { url, requests }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Options that lead to it.
    pub fn options(&self) -> ClientOptions {
        ClientOptions {
            server: Some(self.url.clone()),
            device_server: Some(self.url.clone()),
            token: Some(SecretString::from("fmt_test")),
            data_dir: None,
            json: false,
        }
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no test panics while it holds this").clone()
    }
}

fn serve(stream: TcpStream, turn: &Turn, kept: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            // TLS is no text: answered as servers without it do.
            Err(_) => return (&stream).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Ok(0) => break,
            Ok(_) if line == "\r\n" => break,
            Ok(_) => {}
        }
        head.push(line.trim_end().to_owned());
    }
    let headers = head.iter().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let line = head.first().cloned().unwrap_or_default();
    let mut request = Request { line, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let wanted = match turn.take {
        Take::All => length,
        Take::Nothing => 0,
        Take::Part(bytes) => bytes,
    };
    let mut stream = stream;
    if wanted > 0 && request.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.body = vec![0; wanted];
    reader.read_exact(&mut request.body)?;
    kept.lock().expect("no test panics while it holds this").push(request);
    let Some(status) = turn.status else { return Ok(()) };
    let mut answer = format!("HTTP/1.1 {status} Test\r\nconnection: close\r\n");
    for (name, value) in &turn.headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    if status != 204 {
        answer.push_str(&format!("content-length: {}\r\n", turn.body.len()));
    }
    stream.write_all(format!("{answer}\r\n{}", turn.body).as_bytes())?;
    if turn.take == Take::Nothing {
        // Keep the connection until the client has read: it must not have to send what nobody reads.
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest)?;
        let mut kept = kept.lock().expect("no test panics while it holds this");
        kept.last_mut().expect("just pushed").body = rest;
    }
    Ok(())
}

/// An image of `p` 1.4.0, promoted to `stable`.
pub fn image() -> String {
    r#"{"product":"p","version":"1.4.0","filename":"f.bin","hardware":["rev-a"],"size":5,"sha256":"ab","sha1":"cd",
        "md5":"ef","key":"p/1.4.0/f.bin","etag":"x","created_at":"2026-01-02T03:04:05Z","channels":["stable"],
        "url":"http://x/p/1.4.0/f.bin"}"#
        .to_owned()
}

/// A release of `p` without images.
pub fn release(version: &str, state: &str) -> String {
    format!(
        "{{\"product\":\"p\",\"version\":\"{version}\",\"state\":\"{state}\",\"created_at\":\
         \"2026-01-02T03:04:05Z\",\"images\":[]}}"
    )
}

/// A channel of `p` with one offer, for `rev-a`.
pub fn channel(name: &str, version: &str) -> String {
    format!(
        "{{\"product\":\"p\",\"channel\":\"{name}\",\"offers\":[{{\"hardware\":\"rev-a\",\"version\":\"{version}\",\
         \"filename\":\"f.bin\",\"size\":5,\"sha256\":\"ab\",\"url\":\"http://x/p/{version}/f.bin\"}}]}}"
    )
}

/// A product with these channels.
pub fn product_detail(name: &str, channels: &str) -> String {
    format!(
        "{{\"product\":\"{name}\",\"hardware\":[],\"created_at\":\"2026-01-02T03:04:05Z\",\"revision\":1,\
         \"channels\":{channels}}}"
    )
}
