//! The gate: fetches an image back through the CDN, exactly as a device would, before anybody is offered it.
//!
//! # What has to hold
//! - The link that a device would be given answers 200 with the image's size and, whole, its SHA-256. An image larger than
//!   the settings say is not fetched whole: its beginning, its end and some ranges between are compared instead.
//! - A range in the middle answers 206 with exactly that range, and with the bucket's bytes.
//! - Caches may keep it: `Cache-Control` lets them, for long; no `Vary`, which would keep it out of Akamai's cache; no
//!   `Content-Encoding`. The entity tag is strong and that of every part, else ranges cannot be put together.
//! - If the link carries a token, the same URL without it is refused.
//! - All of it takes no longer than the settings say: an edge that drips is one that does not serve.
//!
//! What does not hold is told in a sentence for the operator, without the token.
//!
//! # What it does not do
//! Ask more than one edge. Retry, or decide what follows: see `jobs::gate`.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, header},
};

use super::agent::agent;
use crate::{
    bucket::ObjectKey,
    error::{Error, Result},
};

/// How long one of the ranges that are compared is, in bytes.
pub const RANGE: u64 = 256 * 1024;
/// How many ranges are compared beside beginning, middle and end, when the image is not fetched whole.
const RANDOM_RANGES: u64 = 5;
/// How long the edge may be silent: it may have to fetch a fragment from far away.
const PATIENCE: Duration = Duration::from_secs(60);
/// The shortest time that a cache must be allowed to keep an image, in seconds.
const SHORTEST_LIFETIME: u64 = 3600;

/// Fetches images back.
pub struct Gate {
    agent: Agent,
    /// The largest image that is fetched whole, in bytes.
    whole_up_to: u64,
    /// Whether an image is fetched whole all the same, so that the edge has it.
    prewarm: bool,
    /// How long all of it may take, for one image.
    within: Duration,
}

/// An image as it should be.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its key.
    pub key: ObjectKey,
    /// In bytes.
    pub size: u64,
    /// Of the whole.
    pub sha256: [u8; 32],
}

/// A part of an image as the bucket has it.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where it begins.
    pub at: u64,
    /// Its bytes; not empty.
    pub bytes: Bytes,
}

/// When looking has to end.
#[derive(Clone, Copy)]
struct End<'a> {
    deadline: Instant,
    abandoned: &'a AtomicBool,
}

impl End<'_> {
    /// How long there is left.
    fn left(self) -> std::result::Result<Duration, String> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err("this server looks no longer".into());
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err("the time is over".into()) } else { Ok(left) }
    }
}

/// Tells a thread that nobody waits for it any more.
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Gate {
    /// A gate. Images up to `whole_up_to` bytes are fetched whole; with `prewarm` all are. An image that takes longer than
    /// `within` is not served as it should be.
    pub fn new(whole_up_to: u64, prewarm: bool, within: Duration) -> Self {
        Self { agent: agent(PATIENCE), whole_up_to, prewarm, within }
    }

    /// How long it may take to fetch one image.
    pub fn within(&self) -> Duration {
        self.within
    }

    /// Where the ranges begin that are to be compared; none for an empty image. Each is of [`RANGE`] bytes or ends with
    /// the image.
    pub fn ranges(&self, image: &Expected) -> Vec<u64> {
        if image.size == 0 {
            return Vec::new();
        }
        let last = image.size.saturating_sub(RANGE);
        let mut ranges = vec![last / 2];
        if image.size > self.whole_up_to {
            // The same for every replica and every attempt.
            let seed = u64::from_le_bytes(image.sha256.first_chunk().copied().unwrap_or_default());
            let mut random = fastrand::Rng::with_seed(seed);
            ranges.extend([0, last]);
            ranges.extend((0..RANDOM_RANGES).map(|_| random.u64(..=last)));
        }
        ranges
    }

    /// Fetches the image back by a device's link and compares. `parts` are what the bucket has at [`Self::ranges`].
    ///
    /// # Errors
    /// For a defect of ours. What does not hold is the inner error, in words.
    pub async fn verify(
        self: &Arc<Self>,
        image: &Expected,
        link: String,
        parts: Vec<Part>,
    ) -> Result<std::result::Result<(), String>> {
        let abandon = Abandon(Arc::default());
        let (gate, image, abandoned) = (Arc::clone(self), image.clone(), Arc::clone(&abandon.0));
        let looking =
            tokio::task::spawn_blocking(move || gate.look_in_time(&link, &image, &parts, &abandoned));
        let looked = looking.await.map_err(Error::internal);
        drop(abandon);
        looked
    }

    fn look_in_time(
        &self,
        url: &str,
        image: &Expected,
        parts: &[Part],
        abandoned: &AtomicBool,
    ) -> std::result::Result<(), String> {
        let end = End { deadline: Instant::now() + self.within, abandoned };
        self.look(url, image, parts, end).map_err(|why| {
            if Instant::now() < end.deadline {
                return why;
            }
            let within = humantime::format_duration(self.within);
            format!("it could not be fetched back within {within}, which cdn.verify_within allows: {why}")
        })
    }

    fn look(
        &self,
        url: &str,
        image: &Expected,
        parts: &[Part],
        end: End<'_>,
    ) -> std::result::Result<(), String> {
        let mut etag = None;
        let mut same = |headers: &HeaderMap| {
            let found = judged(headers)?;
            match etag.get_or_insert_with(|| found.clone()) {
                first if *first == found => Ok(()),
                first => Err(format!("its parts have different entity tags, {first} and {found}")),
            }
        };
        if image.size <= self.whole_up_to {
            let answer = self.get(url, None, 200, end)?;
            same(answer.headers())?;
            let (size, sha256) = digest(answer, end)?;
            if size != image.size {
                return Err(format!("it has {size} bytes through the CDN, and {} in the bucket", image.size));
            }
            if sha256 != image.sha256 {
                return Err(format!("its SHA-256 through the CDN is {}", hex::encode(sha256)));
            }
        }
        for part in parts {
            let last = part.at + part.bytes.len() as u64 - 1;
            let answer = self.get(url, Some((part.at, last)), 206, end)?;
            same(answer.headers())?;
            let expected = format!("bytes {}-{last}/{}", part.at, image.size);
            let range = answer.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
            if range != Some(&expected) {
                return Err(format!("a range is answered with {range:?} instead of {expected:?}"));
            }
            let mut bytes = Vec::new();
            let body = answer.into_body().into_with_config().limit(RANGE + 1).read_to_vec();
            bytes.extend(body.map_err(|error| format!("a range breaks off: {error}"))?);
            if bytes != part.bytes {
                return Err(format!("bytes {} to {last} are not those of the bucket", part.at));
            }
        }
        if let Some((plain, _)) = url.split_once('?') {
            let status = self.ask(plain, Some((0, 0)), end)?.status().as_u16();
            if !matches!(status, 401 | 403) {
                return Err(format!("without a token it is answered with {status} and not refused with 403"));
            }
        }
        if self.prewarm && image.size > self.whole_up_to {
            let warmed = self.get(url, None, 200, end).and_then(|answer| digest(answer, end));
            if let Err(why) = warmed {
                tracing::warn!(key = %image.key, why, "the edge could not be warmed");
            }
        }
        Ok(())
    }

    fn ask(
        &self,
        url: &str,
        range: Option<(u64, u64)>,
        end: End<'_>,
    ) -> std::result::Result<Response<Body>, String> {
        // Also of a body that comes byte by byte.
        let request = self.agent.get(url).config().timeout_global(Some(end.left()?)).build();
        let mut request = request.header(header::ACCEPT_ENCODING, "identity");
        if let Some((first, last)) = range {
            request = request.header(header::RANGE, format!("bytes={first}-{last}"));
        }
        request.call().map_err(|error| format!("the CDN does not answer: {error}"))
    }

    fn get(
        &self,
        url: &str,
        range: Option<(u64, u64)>,
        expected: u16,
        end: End<'_>,
    ) -> std::result::Result<Response<Body>, String> {
        let answer = self.ask(url, range, end)?;
        let status = answer.status().as_u16();
        if status == expected {
            return Ok(answer);
        }
        let what = if range.is_some() { "a range of it" } else { "it" };
        Err(format!("the CDN answers {what} with {status} instead of {expected}{}", hint(status, url)))
    }
}

/// What an operator is to look at.
fn hint(status: u16, url: &str) -> String {
    match status {
        403 if url.contains('?') => {
            ": does the property accept this key's tokens, and the bucket the CDN's signature?".into()
        }
        403 => {
            // The key, and so the URL, ends with PRODUCT/VERSION/FILE.
            let product = url.rsplit('/').nth(2).unwrap_or_default();
            format!(
                ", and the link carries no token: if the property asks for one, add /{product}/* to the exceptions of its \
                 rule that verifies tokens; else, does the bucket accept the CDN's signature?"
            )
        }
        404 => ": is the bucket the property's origin?".into(),
        _ => String::new(),
    }
}

/// What every answer's header must say; gives its entity tag.
fn judged(headers: &HeaderMap) -> std::result::Result<String, String> {
    let all = |name: &header::HeaderName| {
        let values: Vec<&str> =
            headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
        values.join(", ")
    };
    let cache_control = all(&header::CACHE_CONTROL).to_ascii_lowercase();
    let directives: Vec<&str> = cache_control.split(',').map(str::trim).collect();
    let lifetime = directives.iter().find_map(|one| one.strip_prefix("max-age=")?.parse::<u64>().ok());
    let forbids = |one: &&str| matches!(*one, "no-store" | "no-cache" | "private");
    if directives.iter().any(forbids) || lifetime.is_none_or(|lifetime| lifetime < SHORTEST_LIFETIME) {
        return Err(format!(
            "its Cache-Control through the CDN is {cache_control:?}; it should let caches keep it for at least \
             {SHORTEST_LIFETIME} seconds"
        ));
    }
    for name in [header::VARY, header::CONTENT_ENCODING] {
        if headers.contains_key(&name) {
            return Err(format!("the CDN adds {name}: {}; it must not", all(&name)));
        }
    }
    let etag = all(&header::ETAG);
    if etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"') {
        Ok(etag)
    } else {
        Err(format!("its entity tag through the CDN is {etag:?} and not a strong one"))
    }
}

fn digest(answer: Response<Body>, end: End<'_>) -> std::result::Result<(u64, [u8; 32]), String> {
    let mut reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
    let (mut hasher, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        end.left()?;
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((size, hasher.finalize().into())),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
            Err(error) => return Err(format!("it breaks off after {size} bytes: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::tests::key;

    const GOOD: [(&str, &str); 2] =
        [("cache-control", "public, max-age=31536000, immutable"), ("etag", "\"a-1\"")];

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn the_header_must_let_caches_keep_the_image() {
        assert_eq!(judged(&headers(&GOOD)), Ok("\"a-1\"".into()));
        for (bad, word) in [
            (("cache-control", "max-age=3599"), "max-age=3599"),
            (("cache-control", "public"), "3600"),
            (("cache-control", "private, max-age=31536000"), "private"),
            (("cache-control", "Max-Age=31536000, No-Store"), "no-store"),
            (("etag", "W/\"a-1\""), "W/"),
            (("etag", ""), "strong"),
            (("vary", "Accept-Encoding"), "vary"),
            (("content-encoding", "gzip"), "content-encoding"),
        ] {
            let mut all = headers(&GOOD);
            all.extend(headers(&[bad]));
            let why = judged(&all).expect_err(word);
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn a_refusal_is_explained_by_the_link() {
        let signed = hint(403, "https://fw.example.com/thermo-x/1.4.0/app.bin?hdnts=exp=1~acl=/*~hmac=0");
        assert!(signed.contains("this key's tokens"), "{signed}");
        let plain = hint(403, "https://fw.example.com/thermo-x/1.4.0/app.bin");
        assert!(plain.contains("/thermo-x/*") && plain.contains("exceptions"), "{plain}");
        assert!(!plain.contains("this key's tokens"), "{plain}");
        assert_eq!(hint(500, "https://fw.example.com/thermo-x/1.4.0/app.bin"), "");
    }

    #[test]
    fn ranges_lie_within_the_image() {
        let gate = Gate::new(1_000_000, false, PATIENCE);
        let image = |size| Expected { key: key(), size, sha256: [7; 32] };
        assert!(gate.ranges(&image(0)).is_empty());
        assert_eq!(gate.ranges(&image(1)), [0]);
        assert_eq!(gate.ranges(&image(RANGE + 2)), [1]);
        let many = gate.ranges(&image(5_000_000));
        assert_eq!(many.len(), 8);
        assert!(many.iter().all(|at| at + RANGE <= 5_000_000) && many.contains(&0));
        assert_eq!(many, gate.ranges(&image(5_000_000)));
    }
}
