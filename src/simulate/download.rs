//! Fetches an image as a device does: follows the link's redirects, reads at most so much, verifies what is whole.
//!
//! The bytes are hashed and dropped. A larger image is asked for by a range, so that nothing is cut off on its way.
//!
//! All downloads of a run share its bytes per second. They are taken before they can come: a server may send what a
//! connection's buffers hold (`AHEAD`) before anybody reads it, so a download starts when that much is earned, and
//! reads on as more is.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use ::http::{StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep_until, timeout};

use super::{
    http::{BUFFERS, Why, connect_narrowly, retry_after, send},
    pace::Bytes,
    reach::{Beyond, Place, Reach},
};

/// How many redirects are followed.
const HOPS: usize = 5;
/// How long the beginning of an answer, or the next bytes, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What may be on its way to us without being read, in bytes.
const AHEAD: u64 = BUFFERS as u64;
/// What each download under way has of the run's bytes per second, at least: a server ends those that stand still.
const EACH: u64 = 64 * 1024;
/// Downloads under way at once, at most.
const AT_ONCE: u64 = 32;

/// The bytes per second that downloads share.
#[derive(Debug)]
pub struct Throttle {
    began: Instant,
    per_second: u64,
    bytes: Mutex<Bytes>,
}

impl Throttle {
    /// The lowest and the highest rate that makes sense, in bytes per second.
    pub const RANGE: std::ops::RangeInclusive<u64> = EACH..=10 << 30;

    /// So many bytes per second, all downloads together.
    pub fn new(per_second: u64) -> Self {
        Self { began: Instant::now(), per_second, bytes: Mutex::new(Bytes::new(per_second)) }
    }

    /// How many may be under way at once.
    pub fn downloads(&self) -> usize {
        usize::try_from((self.per_second / EACH).clamp(1, AT_ONCE)).expect("at most 32")
    }

    /// Waits until so many bytes may come.
    async fn take(&self, bytes: u64) {
        let at = self.bytes.lock().expect("nobody panics while holding it").take(self.began.elapsed(), bytes);
        sleep_until((self.began + at).into()).await;
    }
}

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
    /// 429, and how long to wait.
    Busy(Option<Duration>),
    /// Anything else.
    Failed(Why),
}

/// Fetches at most `limit` bytes; says how many came.
pub async fn fetch(reach: &Reach, throttle: &Throttle, image: &Image, limit: u64) -> (Fetched, u64) {
    let mut bytes = 0;
    let mut body = Body { throttle, taken: image.size.min(limit).min(AHEAD), bytes: &mut bytes };
    throttle.take(body.taken).await;
    let outcome = follow(reach, image, limit, &mut body).await;
    (outcome.unwrap_or_else(|stopped| stopped), bytes)
}

/// What came of an image, and what was taken for it.
struct Body<'a> {
    throttle: &'a Throttle,
    taken: u64,
    bytes: &'a mut u64,
}

impl Body<'_> {
    /// Some have been read, so that others may come, of so many in all.
    async fn read(&mut self, count: usize, whole: u64) {
        *self.bytes += count as u64;
        let owed = (*self.bytes + AHEAD).min(whole).max(*self.bytes).saturating_sub(self.taken);
        self.taken += owed;
        self.throttle.take(owed).await;
    }
}

async fn follow(reach: &Reach, image: &Image, limit: u64, came: &mut Body<'_>) -> Result<Fetched, Fetched> {
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
        let mut sender = connect_narrowly(reach, &place).await.map_err(Fetched::Failed)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let response = timeout(PATIENCE, send(&mut sender, &place, path, range.clone())).await;
        let response = response
            .unwrap_or_else(|_| Err("a download does not begin in time".to_owned()))
            .map_err(Fetched::Failed)?;
        let status = response.status();
        let told = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        match status {
            StatusCode::OK => return take(response.into_body(), image, limit, image.size, came).await,
            StatusCode::PARTIAL_CONTENT if part.is_some() => {
                let whole = told(header::CONTENT_RANGE).and_then(|range| range.rsplit_once('/'));
                if whole.is_none_or(|(_, whole)| whole != image.size.to_string()) {
                    return Err(Fetched::Failed("a range is of another size than offered".to_owned()));
                }
                return take(response.into_body(), image, limit, limit.min(image.size), came).await;
            }
            StatusCode::TOO_MANY_REQUESTS => return Err(Fetched::Busy(retry_after(response.headers()))),
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

/// Reads and judges a body of so many bytes, if its server does as it was asked.
async fn take(
    mut body: Incoming,
    image: &Image,
    limit: u64,
    whole: u64,
    came: &mut Body<'_>,
) -> Result<Fetched, Fetched> {
    let failed = |why: &str| Fetched::Failed(why.to_owned());
    let mut digest = Sha256::new();
    // A whole image is read to its end, which shows a longer one.
    while *came.bytes < limit || limit >= image.size {
        let frame = timeout(PATIENCE, body.frame()).await.map_err(|_| failed("a download stands still"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| failed("a download breaks off"))?;
        let Some(data) = frame.data_ref() else { continue };
        digest.update(data);
        came.read(data.len(), whole).await;
        if *came.bytes > image.size {
            return Err(failed("an image is longer than offered"));
        }
    }
    if *came.bytes < image.size.min(limit) {
        return Err(failed("an image is shorter than offered"));
    }
    if *came.bytes < image.size {
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
