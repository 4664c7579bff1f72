//! Sends one file so that it can be resumed: tus 1.0, as a client.
//!
//! Where to go on is the server's knowledge, nothing is kept here: an upload of the same image, by its digest, is
//! answered with the one that is there. So a dropped link, another replica, a restart of the server, and this
//! command being stopped and typed again all end in the same question.
//!
//! All that is missing goes in one request; each that brought something forward starts the count of tries anew.

use std::{fs::File, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    client::{Answer, Client},
    output::{Failure, Retry, Terminal},
    progress::Progress,
    publish::{throughput, wait},
    table::size,
    upload::{self, Upload, Verb},
};
use crate::api::UploadView;

/// Once an upload has begun, it is worth more patience: a server may be restarting.
const MORE_PATIENCE: u32 = 3;

/// What is to be published.
pub struct Image<'a> {
    /// The product.
    pub product: String,
    /// The release's version.
    pub version: String,
    /// What else is declared of it.
    pub facts: &'a [(&'static str, String)],
    /// In bytes.
    pub size: u64,
    /// Of all of it.
    pub sha256: [u8; 32],
}

/// An upload that the server knows.
struct Begun {
    path: String,
    offset: u64,
}

/// Sends until the image is published; the answer is the image's.
///
/// # Errors
/// When the server refuses, or too many tries in a row brought nothing forward.
pub fn send(
    client: &Client,
    image: &Image<'_>,
    file: &mut File,
    retries: u32,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    let mut begun: Option<Begun> = None;
    let (mut tried, mut furthest, mut sent) = (0, 0, 0);
    let started = Instant::now();
    loop {
        let failure = match step(client, image, file, &mut begun, &mut sent, terminal) {
            Ok(Some(answer)) => {
                if sent > 0 {
                    let took = started.elapsed();
                    terminal.note(&format!("uploaded {} in {}", size(sent), throughput(sent, took)));
                }
                let status = if sent > 0 { 201 } else { 200 };
                return Ok(Answer { status, ..answer });
            }
            // A piece that was taken in part: its server is about to end, or the link stood still.
            Ok(None) => Failure { retry: Retry::After(None), ..Failure::ours("the server took only a part") },
            Err(failure) => failure,
        };
        let at = begun.as_ref().map_or(0, |begun| begun.offset);
        if at > furthest {
            (furthest, tried) = (at, 0);
        }
        let (retries, failure) = match &begun {
            Some(_) => (retries * MORE_PATIENCE, again(failure)),
            None => (retries, failure),
        };
        wait(failure, tried, retries, terminal).map_err(|failure| resumable(failure, at))?;
        tried += 1;
    }
}

/// Begins, or asks where to go on, and sends what is missing; `None` = not all of it was taken.
fn step(
    client: &Client,
    image: &Image<'_>,
    file: &mut File,
    begun: &mut Option<Begun>,
    sent: &mut u64,
    terminal: &Terminal,
) -> Result<Option<Answer>, Failure> {
    let known = match begun.take() {
        Some(known) => {
            let head = client.head(&known.path, &[version()]);
            match head.and_then(|answer| offset(&answer)) {
                Ok(offset) => Begun { offset, ..known },
                // It was ended, or has expired: from the start.
                Err(failure) if failure.is_status(404) => begin(client, image)?,
                Err(failure) => {
                    *begun = Some(known);
                    return Err(failure);
                }
            }
        }
        None => begin(client, image)?,
    };
    let known = begun.insert(known);
    if known.offset < image.size {
        if known.offset > 0 {
            terminal.note(&format!("going on after {} of {}", size(known.offset), size(image.size)));
        }
        let headers = [
            version(),
            ("Content-Type", "application/offset+octet-stream".to_owned()),
            ("Upload-Offset", known.offset.to_string()),
        ];
        let piece = Upload {
            verb: Verb::Patch,
            path: &known.path,
            query: &[],
            headers: &headers,
            from: known.offset,
            size: image.size,
        };
        let mut progress = Progress::start(terminal, "uploading", image.size);
        let outcome = upload::send(client, &piece, file, &mut progress);
        drop(progress);
        *sent += outcome.bytes;
        known.offset = offset(&outcome.outcome?)?;
        if known.offset < image.size {
            return Ok(None);
        }
    }
    let answer = client.get(&known.path, &[])?;
    let view: UploadView = answer.read()?;
    let document = answer.document["image"].clone();
    match view.image {
        Some(_) => Ok(Some(Answer { document, ..answer })),
        None => Ok(None),
    }
}

fn begin(client: &Client, image: &Image<'_>) -> Result<Begun, Failure> {
    let own = [
        ("product", image.product.clone()),
        ("version", image.version.clone()),
        ("sha256", hex::encode(image.sha256)),
    ];
    let hardware: Vec<&str> =
        image.facts.iter().filter(|(key, _)| *key == "hardware").map(|(_, name)| name.as_str()).collect();
    // Keys are unique, so the hardware is one list.
    let hardware = (!hardware.is_empty()).then(|| ("hardware", hardware.join(",")));
    let facts = image.facts.iter().filter(|(key, _)| *key != "hardware").cloned();
    let pairs = own.into_iter().chain(hardware).chain(facts);
    let metadata: Vec<String> =
        pairs.map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).collect();
    let headers =
        [version(), ("Upload-Length", image.size.to_string()), ("Upload-Metadata", metadata.join(","))];
    let answer = client.post_headers("/v1/uploads", &headers)?;
    let location = answer.headers.get("location").and_then(|value| value.to_str().ok());
    let id = location.and_then(|path| path.rsplit('/').next()).filter(|id| !id.is_empty());
    let Some(id) = id else {
        return Err(Failure::ours(
            "the server began an upload without saying where: is it a Firmament server?",
        ));
    };
    Ok(Begun { path: format!("/v1/uploads/{id}"), offset: offset(&answer)? })
}

/// After these the server knows better where to go on, or will in a moment.
fn again(failure: Failure) -> Failure {
    let passing = failure.is_status(409) || failure.is_status(423);
    match failure.retry {
        Retry::No if passing && failure.reasons.is_empty() => {
            Failure { retry: Retry::After(None), ..failure }
        }
        _ => failure,
    }
}

/// Says that nothing is lost.
fn resumable(failure: Failure, at: u64) -> Failure {
    if at == 0 || failure.retry == Retry::No {
        return failure;
    }
    let message = format!(
        "{}\nthe server keeps the first {}: the same command goes on from there",
        failure.message,
        size(at)
    );
    Failure { message, ..failure }
}

fn offset(answer: &Answer) -> Result<u64, Failure> {
    let value = answer.headers.get("upload-offset").and_then(|value| value.to_str().ok());
    value.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Failure::ours("the server does not say how much of the file it has: is it a Firmament server?")
    })
}

fn version() -> (&'static str, String) {
    ("Tus-Resumable", "1.0.0".to_owned())
}
