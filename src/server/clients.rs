//! Who a client is, and how much it may ask.
//!
//! The client is whom the connection comes from (or whom the PROXY protocol names). Only if that is a trusted proxy,
//! `X-Forwarded-For` is believed, from its right end as far as the proxies that it names are trusted too: everything
//! further left was written by somebody unknown.
//!
//! A request that carries the CDN's signature (`cdn::g2o`) is whose `True-Client-IP` says. Without it, that header is
//! anybody's word.
//!
//! The rate limit is a token bucket per client: an IPv4 address, or the /64 network of an IPv6 one, since a household or
//! a modem has all of it. Memory is bounded: a table that is full forgets the clients that have their whole burst again,
//! and if there are none, everybody. An attacker with that many addresses is not stopped by a limit per client.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderName, StatusCode, header};
use chrono::Utc;
use ipnet::IpNet;

use crate::{
    cdn::g2o::{self, G2o, Rejection},
    http::{head::Head, health, later::Later, reply::Reply},
};

static CLIENT_OF_EDGE: HeaderName = HeaderName::from_static("true-client-ip");
static G2O_DATA: HeaderName = HeaderName::from_static(g2o::DATA);
static G2O_SIGN: HeaderName = HeaderName::from_static(g2o::SIGN);
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The body of a 403.
const NOT_THROUGH_CDN: &[u8] = br#"{"type":"urn:firmament:problem:not-through-cdn","title":"Forbidden","status":403,"detail":"ask through the CDN: this server takes only requests that it has signed"}"#;
/// How many parts the table has, each with a lock of its own.
const SHARDS: usize = 64;
/// How many clients a part knows at most.
const LARGEST_SHARD: usize = 4096;

/// What tells and bounds the clients of a listener.
#[derive(Default)]
pub struct Clients {
    /// Proxies whose word counts.
    pub trusted: Vec<IpNet>,
    /// How much each may ask; `None` = not limited.
    pub limit: Option<RateLimit>,
    /// Verifies that a request came through the CDN; `None` = it does not matter.
    pub g2o: Option<G2o>,
}

/// Why a request is not even looked at.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client asks too much, and may again after this.
    TooMany(Duration),
    /// It did not come through the CDN.
    NotThroughCdn(Rejection),
}

/// A token bucket per client.
pub struct RateLimit {
    per_second: f64,
    burst: f64,
    began: Instant,
    shards: Box<[Mutex<HashMap<IpAddr, Bucket>>]>,
}

struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Clients {
    /// Whether this address is a proxy that is trusted.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Why a request is refused before anything is done for it; `None` = it is not.
    pub fn refusal(&self, peer: IpAddr, head: &Head<'_>) -> Option<Refusal> {
        // Health is answered whoever asks how often: a load balancer must not take a node out because it asks.
        if (self.limit.is_none() && self.g2o.is_none()) || health::PATHS.contains(&head.path()) {
            return None;
        }
        let named = match self.client_of_edge(head) {
            Ok(named) => named,
            Err(rejection) => return Some(Refusal::NotThroughCdn(rejection)),
        };
        let client = || named.unwrap_or_else(|| self.client(peer, head));
        self.limit.as_ref().and_then(|limit| limit.take(client().to_canonical()).err()).map(Refusal::TooMany)
    }

    /// Whose request it is, if it came through the CDN: only then is `True-Client-IP` believed. `Ok(None)` = it did not,
    /// and need not have.
    ///
    /// # Errors
    /// Why it does not count, when requests must come through the CDN.
    pub fn client_of_edge(&self, head: &Head<'_>) -> Result<Option<IpAddr>, Rejection> {
        let Some(g2o) = &self.g2o else { return Ok(None) };
        let one = |name: &HeaderName| head.one(name).and_then(|value| std::str::from_utf8(value).ok());
        let target = head.target();
        match g2o.verify(one(&G2O_DATA), one(&G2O_SIGN), target, Utc::now().timestamp()) {
            Ok(()) => Ok(one(&CLIENT_OF_EDGE).and_then(|client| client.trim().parse().ok())),
            Err(rejection) if g2o.required => Err(rejection),
            Err(_) => Ok(None),
        }
    }

    /// Whose request it is.
    pub fn client(&self, peer: IpAddr, head: &Head<'_>) -> IpAddr {
        let mut client = peer;
        let values = head.all(&FORWARDED_FOR).rev();
        // What is no text names nobody, and ends the walk.
        let values = values.map(|value| std::str::from_utf8(value).unwrap_or_default());
        let mut named = values.flat_map(|value| value.rsplit(','));
        while self.trusts(client) {
            match named.next().and_then(|named| address(named.trim())) {
                Some(further) => client = further,
                None => break,
            }
        }
        client.to_canonical()
    }
}

/// The address that a proxy names in `X-Forwarded-For`. There is no standard for its form: some gateways add the client's
/// port, and some of them write an IPv6 address in brackets, as `Forwarded` has it (RFC 7239, 6).
fn address(named: &str) -> Option<IpAddr> {
    let in_brackets = || named.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || named.parse().ok().map(|named: SocketAddr| named.ip());
    named.parse().ok().or_else(with_port).or_else(in_brackets)
}

impl RateLimit {
    /// `per_second` requests for long, `burst` at once; both above 0.
    pub fn new(per_second: f64, burst: f64) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { per_second, burst: burst.max(1.0), began: Instant::now(), shards }
    }

    /// Takes one token of the client's; `Err` = there is none, with when there will be.
    pub fn take(&self, client: IpAddr) -> Result<(), Duration> {
        self.take_at(client, self.began.elapsed())
    }

    fn take_at(&self, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let client = network_of(client);
        let mut shard = self.shards[shard_of(client)].lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= LARGEST_SHARD && !shard.contains_key(&client) {
            shard.retain(|_, bucket| self.filled(bucket, now) < self.burst);
            if shard.len() >= LARGEST_SHARD {
                shard.clear();
            }
        }
        let bucket = shard.entry(client).or_insert(Bucket { tokens: self.burst, at: now });
        let tokens = self.filled(bucket, now);
        bucket.at = now;
        if tokens < 1.0 {
            bucket.tokens = tokens;
            return Err(Duration::from_secs_f64((1.0 - tokens) / self.per_second));
        }
        bucket.tokens = tokens - 1.0;
        Ok(())
    }

    fn filled(&self, bucket: &Bucket, now: Duration) -> f64 {
        let since = now.saturating_sub(bucket.at).as_secs_f64();
        (bucket.tokens + since * self.per_second).min(self.burst)
    }
}

/// Tells a client that asks too much, or not through the CDN, at the lowest cost.
pub(super) fn say_refusal(refusal: &Refusal, later: &Later, reply: &mut dyn Reply) {
    let told = later.pick();
    match refusal {
        Refusal::TooMany(wait) => {
            reply.status(StatusCode::TOO_MANY_REQUESTS);
            // Not before it may ask again, and not with all others behind the same address.
            if *wait < told.wait() {
                reply.field(header::RETRY_AFTER, told.value());
            } else {
                reply.field(header::RETRY_AFTER, &(*wait + told.wait()).as_secs().to_string());
            }
            reply.nothing();
        }
        Refusal::NotThroughCdn(rejection) => {
            tracing::debug!(?rejection, "a request that did not come through the CDN was refused");
            reply.status(StatusCode::FORBIDDEN);
            reply.field(header::RETRY_AFTER, told.value());
            reply.field(header::CACHE_CONTROL, "no-store");
            reply.body("application/problem+json", &[NOT_THROUGH_CDN]);
        }
    }
}

fn network_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

fn shard_of(client: IpAddr) -> usize {
    let sum = |bytes: &[u8]| {
        bytes.iter().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()))
    };
    let sum = match client {
        IpAddr::V4(four) => sum(&four.octets()),
        IpAddr::V6(six) => sum(&six.octets()),
    };
    sum % SHARDS
}

#[cfg(test)]
mod tests {
    use httparse::Header;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
        let clients = Clients { trusted: networks.into(), ..Clients::default() };
        let client = |peer: &str, values: &[&'static str]| {
            let field = |value: &&'static str| Header { name: "X-Forwarded-For", value: value.as_bytes() };
            let fields: Vec<_> = values.iter().map(field).collect();
            clients.client(ip(peer), &Head::read("/", &fields)).to_string()
        };
        assert_eq!(client("192.0.2.1", &["198.51.100.1"]), "192.0.2.1", "nobody's word");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.9"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.1 , fd00::7"]), "198.51.100.1");
        // With a port, in brackets, or both.
        assert_eq!(client("10.0.0.1", &["1.1.1.1:80, 198.51.100.1:5678"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1:5678, 10.0.0.9:1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:5678"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["2001:db8::1, [fd00::7]"]), "2001:db8::1");
        for odd in
            ["198.51.100.1:", "198.51.100.1:x", "[198.51.100.1]", "[2001:db8::1", "[2001:db8::1]x", ":80"]
        {
            assert_eq!(client("10.0.0.1", &[odd]), "10.0.0.1", "{odd}");
        }
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn true_client_ip_counts_for_what_the_edge_has_signed() {
        const TARGET: &str = "/v1/check?product=p";
        let g2o = G2o::new([("n".to_owned(), "a-secret".to_owned().into())], false);
        let clients =
            Clients { g2o: Some(g2o), limit: Some(RateLimit::new(0.001, 1.0)), ..Clients::default() };
        let data = format!("5, 192.0.2.1, 198.51.100.7, {}, 1234.5678, n", Utc::now().timestamp());
        let sign = g2o::mac(5, "a-secret", &data, TARGET).expect("a version");
        let refusal = |sign: &str, client: &str| {
            let field = |name, value| Header { name, value };
            let fields = [
                field(g2o::DATA, data.as_bytes()),
                field(g2o::SIGN, sign.as_bytes()),
                field("True-Client-IP", client.as_bytes()),
            ];
            clients.refusal(ip("10.0.0.1"), &Head::read(TARGET, &fields))
        };
        assert_eq!(refusal(&sign, "203.0.113.1"), None);
        assert_eq!(refusal(&sign, "203.0.113.2"), None, "a client of its own");
        assert!(matches!(refusal(&sign, "203.0.113.1"), Some(Refusal::TooMany(_))));
        // Without the edge's signature it is anybody's word: all are the one that they come from.
        assert_eq!(refusal("forged", "203.0.113.3"), None);
        assert!(matches!(refusal("forged", "203.0.113.4"), Some(Refusal::TooMany(_))));
    }

    #[test]
    fn a_burst_then_a_rate_for_each_client() {
        let limit = RateLimit::new(2.0, 3.0);
        let at = |client: &str, seconds: f64| limit.take_at(ip(client), Duration::from_secs_f64(seconds));
        assert!((0..3).all(|_| at("192.0.2.1", 0.0).is_ok()));
        assert_eq!(at("192.0.2.1", 0.0), Err(Duration::from_millis(500)));
        assert!(at("192.0.2.2", 0.0).is_ok(), "another one has its own");
        assert!(at("192.0.2.1", 0.5).is_ok() && at("192.0.2.1", 0.5).is_err());
        assert!((0..3).all(|_| at("192.0.2.1", 100.0).is_ok()) && at("192.0.2.1", 100.0).is_err());
        assert!((0..3).all(|low| at(&format!("2001:db8::{low}"), 0.0).is_ok()));
        assert!(at("2001:db8::ffff", 0.0).is_err(), "one network");
        assert!(at("2001:db8:0:1::1", 0.0).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let limit = RateLimit::new(1.0, 1.0);
        for number in 0..1_000_000u32 {
            let _ = limit.take_at(IpAddr::from(number.to_be_bytes()), Duration::ZERO);
        }
        let known: usize = limit.shards.iter().map(|shard| shard.lock().expect("no panic").len()).sum();
        assert!(known <= SHARDS * LARGEST_SHARD, "{known}");
    }
}
