//! HTTP as publishers and devices speak it: one connection a request, so that tests do not share any.

use std::{io, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use firmament::api::{CheckAnswer, Problem};
use http::{HeaderMap, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

/// The body of a request.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Longer than any answer of a server that works.
const LIMIT: Duration = Duration::from_secs(120);

/// A body that is there as a whole.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is sent as the other end of the channel gives it, and ends when that is dropped.
pub fn trickle() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        let bytes = receiver.recv().await?;
        Some((Ok(Frame::data(bytes)), receiver))
    });
    (sender, StreamBody::new(stream).boxed_unsync())
}

/// The value of `Repr-Digest` for these bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(bytes)))
}

/// Sends a request to the URL that it names.
pub async fn send(mut request: Request<Body>) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let authority = request.uri().authority().ok_or("no authority")?.clone();
    let exchange = async {
        let stream = TcpStream::connect(authority.as_str()).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let path = request.uri().path_and_query().cloned().ok_or("no path")?;
        *request.uri_mut() = Uri::from(path);
        request.headers_mut().insert(header::HOST, authority.as_str().parse()?);
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        driver.abort();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    };
    timeout(LIMIT, exchange).await?
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Insists on the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
        assert_eq!(self.status, status, "{text}");
        self
    }

    /// A header field; empty = absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a readable header"))
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        self.read()
    }

    /// The body as JSON of a type.
    #[track_caller]
    pub fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {:?}", self.status, self.body))
    }

    /// Insists on a problem document with this status, whole in all its parts.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Problem {
        assert_eq!(self.status, status, "{:?}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json", "{:?}", self.body);
        let problem: Problem = self.read();
        assert!(problem.kind.starts_with("urn:firmament:problem:"), "{problem:?}");
        assert!(!problem.title.is_empty() && problem.detail.len() > 10, "{problem:?}");
        assert_eq!(problem.status, status);
        problem
    }

    /// The codes of a refusal's reasons.
    #[track_caller]
    pub fn reasons(&self, status: u16) -> Vec<String> {
        self.problem(status).reasons.into_iter().map(|reason| reason.code.into_owned()).collect()
    }
}

/// A publisher, with its token.
#[derive(Clone)]
pub struct Publisher {
    /// The listener's URL.
    pub base: String,
    /// The token.
    pub token: String,
}

impl Publisher {
    /// The same listener with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { base: self.base.clone(), token: token.to_owned() }
    }

    /// A request with the token.
    pub async fn request(&self, method: Method, path: &str, body: Option<&str>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        let request = match body {
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(whole(Bytes::copy_from_slice(body.as_bytes()))),
            None => request.body(whole(Bytes::new())),
        };
        send(request.expect("a valid request")).await.expect("an answer")
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, None).await
    }

    /// Creates a product.
    pub async fn create(&self, product: &str) {
        self.request(Method::PUT, &format!("/v1/products/{product}"), Some("{}")).await.expect(201);
    }

    /// Promotes a release.
    pub async fn promote(&self, product: &str, version: &str, channel: &str) -> Answer {
        let body = format!(r#"{{"version":"{version}"}}"#);
        self.request(Method::PUT, &format!("/v1/products/{product}/channels/{channel}"), Some(&body)).await
    }

    /// Recalls a release.
    pub async fn recall(&self, product: &str, version: &str) -> Answer {
        let path = format!("/v1/products/{product}/releases/{version}/recall");
        self.request(Method::POST, &path, Some(r#"{"reason":"it bricks"}"#)).await
    }

    /// An upload of `app.bin`, unless told otherwise.
    pub fn upload(&self, product: &str, version: &str) -> Upload {
        Upload {
            url: format!("{}/v1/products/{product}/releases/{version}/images", self.base),
            token: self.token.clone(),
            query: vec![("filename".into(), "app.bin".into())],
            headers: Vec::new(),
        }
    }

    /// A metric's value.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.expect(200).body;
        let text = String::from_utf8(text.to_vec()).expect("metrics are text");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no metric {name} in\n{text}"));
        value.parse().expect("a metric is a number")
    }
}

/// An upload that is being put together.
#[derive(Clone)]
pub struct Upload {
    url: String,
    token: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

impl Upload {
    /// One more parameter.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Offered there at once.
    pub fn channel(self, channel: &str) -> Self {
        self.query("channel", channel)
    }

    /// Runs on this.
    pub fn hardware(self, hardware: &str) -> Self {
        self.query("hardware", hardware)
    }

    /// Another name than `app.bin`.
    pub fn filename(mut self, filename: &str) -> Self {
        self.query.retain(|(name, _)| name != "filename");
        self.query("filename", filename)
    }

    /// One more header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The path and query.
    pub fn target(&self) -> String {
        let uri: Uri = self.uri().parse().expect("a valid URL");
        uri.path_and_query().expect("a path").to_string()
    }

    fn uri(&self) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish();
        format!("{}?{query}", self.url)
    }

    /// The request with any body.
    pub fn request(self, body: Body) -> Request<Body> {
        let mut request = Request::post(self.uri());
        if !self.token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(body).expect("a valid request")
    }

    /// Sends these bytes.
    pub async fn send(self, bytes: impl Into<Bytes>) -> Answer {
        send(self.request(whole(bytes))).await.expect("an answer")
    }
}

/// A device.
#[derive(Clone)]
pub struct Device {
    /// The listener's URL.
    pub base: String,
}

impl Device {
    /// A request without a body.
    pub async fn request(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        fetch(method, &format!("{}{path}", self.base), headers).await
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, &[]).await
    }

    /// A check with this query.
    pub async fn check(&self, query: &str) -> Answer {
        self.get(&format!("/v1/check?{query}")).await
    }

    /// What a device of that version is offered on `stable`, if anything.
    pub async fn offer(&self, product: &str, version: &str) -> Option<CheckAnswer> {
        let answer = self.check(&format!("product={product}&version={version}")).await;
        (answer.status == 200).then(|| answer.read())
    }

    /// `/readyz`: the status and the document.
    pub async fn ready(&self) -> (u16, Value) {
        let answer = self.get("/readyz").await;
        (answer.status, answer.json())
    }
}

/// A request without a body, to any URL.
pub async fn fetch(method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request.body(whole(Bytes::new())).expect("a valid request")).await.expect("an answer")
}
