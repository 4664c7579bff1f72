//! The calls as they go over HTTP, and what the answers mean.

use std::sync::{Mutex, atomic::AtomicU8};

use bytes::Bytes;
use http::{Method, Request, header};
use sha2::{Digest, Sha256};

use super::history::{Call, Operation, Reply};
use crate::harness::{
    Answer, Device, Publisher,
    client::{send, whole},
    content,
};

/// One process of a replica, from its start to its end.
#[derive(Clone)]
pub struct Life {
    pub number: usize,
    pub publisher: Publisher,
    pub device: Device,
}

/// A product, and what was asked of it.
pub struct Product {
    pub name: String,
    pub seed: u64,
    /// The highest version that somebody has published.
    pub progress: AtomicU8,
    pub history: Mutex<Vec<Operation>>,
}

fn version_text(version: u8) -> String {
    format!("1.{version}.0")
}

impl Product {
    /// The image of a version: of another size and content than any other.
    fn image(&self, version: u8, bytes: u8) -> Bytes {
        let number = u64::from(version) * 2 + u64::from(bytes);
        content(1000 + number as usize, self.seed + number)
    }

    /// Which bytes these are.
    fn bytes_of(&self, version: u8, sha256: &str) -> u8 {
        let same = |bytes: &u8| hex::encode(Sha256::digest(self.image(version, *bytes))) == sha256;
        (0..2).find(same).unwrap_or_else(|| panic!("{} {version} has bytes that nobody sent", self.name))
    }
}

async fn request(life: &Life, method: Method, path: String, body: Option<String>) -> Option<Answer> {
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", life.publisher.base))
        .header(header::AUTHORIZATION, format!("Bearer {}", life.publisher.token));
    send(request.body(whole(body.unwrap_or_default())).expect("valid")).await.ok()
}

/// Asks the publisher listener.
pub async fn ask(life: &Life, product: &Product, call: Call) -> Reply {
    let name = &product.name;
    let release = |version| format!("/v1/products/{name}/releases/{}", version_text(version));
    let answer = match call {
        Call::Publish { version, bytes, offer } => {
            let upload = life.publisher.upload(name, &version_text(version));
            let upload = if offer { upload.channel("stable") } else { upload };
            send(upload.request(whole(product.image(version, bytes)))).await.ok()
        }
        Call::Promote { version } => {
            let body = format!("{{\"version\":\"{}\"}}", version_text(version));
            request(life, Method::PUT, format!("/v1/products/{name}/channels/stable"), Some(body)).await
        }
        Call::Recall { version } => {
            let body = r#"{"reason":"a test"}"#.to_owned();
            request(life, Method::POST, format!("{}/recall", release(version)), Some(body)).await
        }
        Call::Read { version } => request(life, Method::GET, release(version), None).await,
        Call::Check => request(life, Method::GET, format!("/v1/products/{name}"), None).await,
    };
    let Some(answer) = answer else { return Reply::Unknown };
    match (call, answer.status) {
        // A publish that fails says whether it may be there all the same.
        (Call::Publish { .. }, 429) if !answer.problem(429).kind.ends_with(":catalogue-lost-at-commit") => {
            Reply::Nothing
        }
        (_, 429) => Reply::Unknown,
        (Call::Publish { .. }, 201) => Reply::Created,
        (Call::Publish { .. }, 200) => Reply::Same,
        (Call::Publish { .. }, 409) => {
            let problem = answer.problem(409);
            assert!(problem.kind.ends_with(":conflict"), "{problem:?}");
            Reply::Conflict
        }
        (Call::Publish { .. } | Call::Promote { .. }, 422) => {
            let known = ["version-not-newer", "version-recalled"];
            let reasons = answer.reasons(422);
            assert!(reasons.iter().all(|reason| known.contains(&reason.as_str())), "{reasons:?}");
            Reply::Refused
        }
        (Call::Promote { .. } | Call::Recall { .. }, 200) => Reply::Done,
        (Call::Promote { .. } | Call::Recall { .. }, 404) => Reply::Missing,
        (Call::Read { .. }, 404) => Reply::Version(None),
        (Call::Read { version }, 200) => {
            let release = answer.json();
            let sha256 = release["images"][0]["sha256"].as_str().expect("a digest");
            Reply::Version(Some((product.bytes_of(version, sha256), release["state"] == "recalled")))
        }
        (Call::Check, 200) => {
            let detail = answer.json();
            let offer = &detail["channels"][0]["offers"][0];
            Reply::Offer(offer["version"].as_str().map(|version| {
                let version = number_of(version);
                (version, product.bytes_of(version, offer["sha256"].as_str().expect("a digest")))
            }))
        }
        _ => panic!("{call:?}: {answer:?}"),
    }
}

fn number_of(version: &str) -> u8 {
    version.split('.').nth(1).and_then(|minor| minor.parse().ok()).expect("a version of ours")
}

/// Asks as a device that has nothing; the outer `None` = no answer.
pub async fn offer(life: &Life, product: &Product) -> Option<Option<(u8, u8)>> {
    let url = format!("{}/v1/check?product={}&version=0.0.1", life.device.base, product.name);
    let request = Request::get(url).body(whole("")).expect("valid");
    let answer = send(request).await.ok()?;
    match answer.status {
        200 => {
            let offer = answer.read::<firmament::api::CheckAnswer>();
            let version = number_of(&offer.version);
            Some(Some((version, product.bytes_of(version, &offer.sha256))))
        }
        204 | 404 => Some(None),
        429 => None,
        _ => panic!("{answer:?}"),
    }
}
