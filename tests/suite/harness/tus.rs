//! tus 1.0, spoken by hand: what the real clients would not send, and what they do not show.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Method, Request, header};
use sha2::{Digest as _, Sha256};

use super::{
    Publisher, Server,
    client::{Answer, Body, send, whole},
};

/// An upload that is being put together.
pub struct Creation<'a> {
    publisher: &'a Publisher,
    metadata: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

/// An upload that was begun.
#[derive(Clone)]
pub struct Tus {
    publisher: Publisher,
    /// The last part of its URL.
    pub id: String,
}

impl<'a> Creation<'a> {
    /// Of an image with these bytes, `app.bin` unless told otherwise.
    pub fn of(publisher: &'a Publisher, product: &str, version: &str, bytes: &[u8]) -> Self {
        let creation = Self { publisher, metadata: Vec::new(), headers: Vec::new() };
        creation
            .metadata("product", product)
            .metadata("version", version)
            .metadata("filename", "app.bin")
            .metadata("sha256", &hex::encode(Sha256::digest(bytes)))
            .header("upload-length", &bytes.len().to_string())
    }

    /// One more pair of `Upload-Metadata`, or another value; an empty value removes it.
    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.retain(|(name, _)| name != key);
        if !value.is_empty() {
            self.metadata.push((key.into(), value.into()));
        }
        self
    }

    /// One more header, or another value; an empty value removes it.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.headers.push((name.into(), value.into()));
        }
        self
    }

    /// Sends it, with these bytes along.
    pub async fn send(self, bytes: impl Into<Bytes>) -> Answer {
        let pairs =
            self.metadata.iter().map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value)));
        let metadata = pairs.collect::<Vec<_>>().join(",");
        let mut request = Request::post(format!("{}/v1/uploads", self.publisher.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.publisher.token))
            .header("tus-resumable", "1.0.0")
            .header("upload-metadata", metadata);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        send(request.body(whole(bytes)).expect("a valid request")).await.expect("an answer")
    }

    /// Insists on a new upload.
    pub async fn begin(self) -> Tus {
        let publisher = self.publisher.clone();
        Tus::at(&publisher, &self.send("").await.expect(201))
    }
}

impl Tus {
    /// The upload that an answer leads to.
    pub fn at(publisher: &Publisher, answer: &Answer) -> Self {
        let location = answer.header("location");
        let id = location.strip_prefix("/v1/uploads/").unwrap_or_else(|| panic!("{location}"));
        Self { publisher: publisher.clone(), id: id.to_owned() }
    }

    /// The same upload at another replica.
    pub fn through(&self, server: &Server) -> Self {
        Self { publisher: server.publisher(), id: self.id.clone() }
    }

    /// A request of any kind.
    pub fn request(&self, method: Method, headers: &[(&str, &str)], body: Body) -> Request<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/v1/uploads/{}", self.publisher.base, self.id))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.publisher.token))
            .header("tus-resumable", "1.0.0");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).expect("a valid request")
    }

    /// The request for a piece.
    pub fn piece(&self, offset: usize, more: &[(&str, &str)], body: Body) -> Request<Body> {
        let offset = offset.to_string();
        let mut headers =
            vec![("upload-offset", offset.as_str()), ("content-type", "application/offset+octet-stream")];
        headers.extend(more);
        self.request(Method::PATCH, &headers, body)
    }

    /// Sends a piece.
    pub async fn patch(&self, offset: usize, bytes: impl Into<Bytes>) -> Answer {
        send(self.piece(offset, &[], whole(bytes))).await.expect("an answer")
    }

    /// Sends a request without a body.
    pub async fn ask(&self, method: Method) -> Answer {
        send(self.request(method, &[], whole(""))).await.expect("an answer")
    }

    /// Where to go on, as HEAD says.
    pub async fn offset(&self) -> usize {
        offset(&self.ask(Method::HEAD).await.expect(200))
    }

    /// Sends the rest of the image from where HEAD says, in pieces of that size.
    pub async fn finish(&self, image: &Bytes, piece: usize) -> Answer {
        let mut at = self.offset().await;
        loop {
            let end = image.len().min(at + piece);
            let answer = self.patch(at, image.slice(at..end)).await.expect(204);
            at = offset(&answer);
            if at == image.len() {
                return answer;
            }
        }
    }

    /// How many pieces the bucket holds beside the multipart upload.
    pub async fn pieces(&self, server: &Server) -> usize {
        let prefix = format!(".firmament/uploads/{}/", self.id);
        let listed = server.bucket().await.list(Some(&prefix)).await.expect("the bucket lists");
        listed.iter().filter(|object| object.key.starts_with(&prefix)).count()
    }
}

/// `Upload-Offset`.
pub fn offset(answer: &Answer) -> usize {
    answer.header("upload-offset").parse().expect("an offset")
}
