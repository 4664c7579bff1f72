//! Fetches an image as a device does: follows the link's redirects, reads at most so much, verifies what is whole.
//!
//! The bytes are hashed and dropped. A larger image is asked for by a range, so that nothing is cut off on its way.

use std::time::Duration;

use ::http::{StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::{
    http::{Why, connect, send},
    reach::{Beyond, Place, Reach},
};

/// How many redirects are followed.
const HOPS: usize = 5;
/// How long the beginning of an answer, or the next bytes, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a device was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Where it is.
    pub url: String,
    /// In bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// All of it, as offered.
    Verified,
    /// Its first bytes, of the right image by its size.
    Partial,
    /// The link leads where the run may not go.
    Skipped(Why),
    /// 429.
    Busy,
    /// Anything else.
    Failed(Why),
}

/// Fetches at most `limit` bytes; says how many came.
pub async fn fetch(reach: &Reach, image: &Image, limit: u64) -> (Fetched, u64) {
    let mut bytes = 0;
    let outcome = follow(reach, image, limit, &mut bytes).await;
    (outcome.unwrap_or_else(|stopped| stopped), bytes)
}

async fn follow(reach: &Reach, image: &Image, limit: u64, bytes: &mut u64) -> Result<Fetched, Fetched> {
    let part = (limit < image.size).then(|| format!("bytes=0-{}", limit.saturating_sub(1)));
    let range = part.as_deref().map(|range| (header::RANGE, range));
    let mut url = image.url.clone();
    for _ in 0..=HOPS {
        let no_url = || Fetched::Failed(Beyond::NoUrl(url.clone()).to_string());
        let uri: Uri = url.parse().map_err(|_| no_url())?;
        let place = Place::of(&uri).ok_or_else(no_url)?;
        match reach.addresses(&place).await {
            Err(beyond @ Beyond::Elsewhere { .. }) => return Err(Fetched::Skipped(beyond.to_string())),
            Err(other) => return Err(Fetched::Failed(other.to_string())),
            Ok(_) => {}
        }
        let mut sender = connect(reach, &place).await.map_err(Fetched::Failed)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let response = timeout(PATIENCE, send(&mut sender, &place, path, range.clone())).await;
        let response = response
            .unwrap_or_else(|_| Err("a download does not begin in time".to_owned()))
            .map_err(Fetched::Failed)?;
        let status = response.status();
        let told = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        match status {
            StatusCode::OK => return take(response.into_body(), image, limit, bytes).await,
            StatusCode::PARTIAL_CONTENT if part.is_some() => {
                let whole = told(header::CONTENT_RANGE).and_then(|range| range.rsplit_once('/'));
                if whole.is_none_or(|(_, whole)| whole != image.size.to_string()) {
                    return Err(Fetched::Failed("a range is of another size than offered".to_owned()));
                }
                return take(response.into_body(), image, limit, bytes).await;
            }
            StatusCode::TOO_MANY_REQUESTS => return Err(Fetched::Busy),
            _ if status.is_redirection() => {
                let target = told(header::LOCATION).ok_or_else(|| {
                    Fetched::Failed(format!("a link answers {status} and does not say where to go"))
                })?;
                url = joined(&place, target);
            }
            _ => return Err(Fetched::Failed(format!("a link answers {status}"))),
        }
    }
    Err(Fetched::Failed(format!("a link redirects more than {HOPS} times")))
}

/// Where a redirect leads; without a host, to the same one.
fn joined(place: &Place, target: &str) -> String {
    let scheme = if place.tls { "https" } else { "http" };
    match target {
        _ if target.starts_with("//") => format!("{scheme}:{target}"),
        _ if target.starts_with('/') => format!("{scheme}://{}{target}", place.authority),
        _ => target.to_owned(),
    }
}

async fn take(mut body: Incoming, image: &Image, limit: u64, bytes: &mut u64) -> Result<Fetched, Fetched> {
    let failed = |why: &str| Fetched::Failed(why.to_owned());
    let mut digest = Sha256::new();
    // A whole image is read to its end, which shows a longer one.
    while *bytes < limit || limit >= image.size {
        let frame = timeout(PATIENCE, body.frame()).await.map_err(|_| failed("a download stands still"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| failed("a download breaks off"))?;
        let Some(data) = frame.data_ref() else { continue };
        *bytes += data.len() as u64;
        if *bytes > image.size {
            return Err(failed("an image is longer than offered"));
        }
        digest.update(data);
    }
    if *bytes < image.size.min(limit) {
        return Err(failed("an image is shorter than offered"));
    }
    if *bytes < image.size {
        return Ok(Fetched::Partial);
    }
    if hex::encode(digest.finalize()) != image.sha256 {
        return Err(failed("an image has another SHA-256 than offered"));
    }
    Ok(Fetched::Verified)
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
