//! Fast Purge, version 3: how Akamai's edges are told to forget (<https://techdocs.akamai.com/purge-cache/reference/api>).
//!
//! One request is of one action and one kind of object, and has at most 50,000 bytes; [`pack`] fills it. The account has
//! token buckets for requests and objects (`limits`): they are kept here too, so that the account's own are seldom
//! met. One bad object fails its whole request, and the answer need not say which: the caller bisects.
//!
//! # What an answer means
//! | status | outcome |
//! |---|---|
//! | 201 | accepted, with the CDN's estimate of how long it takes |
//! | 429, 507 | later: as long as its header says, at least 5 seconds |
//! | 400 about the time stamp | our clock is off: signed again, once, by the clock of the answer |
//! | 400, 403 of the gateway before the API | later: the client is refused, whatever it asks for |
//! | 400, 403 of the API, 413 | an object is refused |
//! | 401, any other, none | later: nobody can say that an object is to blame |
//!
//! The gateway says that it is the one by its problem's `type`, such as
//! `https://problems.purge.akamaiapis.net/-/pep-authz/deny` for a client without the grant. The API's own 400 and 403 are
//! problem documents too, so one without a document is not its word.
//!
//! # What it does not do
//! Remember: what is to be purged is in the catalogue (`jobs::purge`). Ask whether it is done: version 3 has no such call.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::{Builder, Uuid};

use super::{
    agent::agent,
    edgegrid::{self, Credentials, Signable},
};
use crate::{
    domain::purge::{PurgeAction, PurgeKind},
    error::{Error, Result},
};

mod effect;
mod limits;
mod plan;

pub use effect::{Effect, Images, Read};
pub use plan::{Checks, Objects, OfRelease, Plan, Wanted, check_tag};

use limits::Limits;

/// The largest body, in bytes.
const LARGEST_BODY: usize = 50_000;
/// After a 429 nothing is sent for at least so long, as Akamai's documentation asks.
const SHORTEST_WAIT: Duration = Duration::from_secs(5);
/// When the CDN's interface does not work, whatever the reason.
const BROKEN_WAIT: Duration = Duration::from_secs(15);
/// How long an answer may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 256 * 1024;

/// Where the CDN forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Where a property is tried out.
    Staging,
    /// Where devices are.
    Production,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The CDN is at it.
    Accepted {
        /// Its name for the request.
        purge_id: Option<String>,
        /// What to tell its support.
        support_id: Option<String>,
        /// How long it takes, as far as it knows.
        estimated: Duration,
    },
    /// One of the objects, at least, is refused.
    Refused(String),
    /// Not now; no object is to blame.
    Later {
        /// Why.
        why: String,
        /// When to try again, at the earliest.
        after: Duration,
    },
}

/// A client of an account's Fast Purge.
pub struct FastPurge {
    credentials: Credentials,
    network: Network,
    agent: ureq::Agent,
    limits: Mutex<Limits>,
}

struct Answer {
    status: u16,
    date: Option<DateTime<Utc>>,
    wait: Option<Duration>,
    body: String,
}

/// Both of 201 and of a problem document; unknown fields are allowed.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    /// Whether there was one.
    #[serde(skip)]
    is_document: bool,
    r#type: Option<String>,
    detail: Option<String>,
    title: Option<String>,
    estimated_seconds: Option<f64>,
    purge_id: Option<String>,
    support_id: Option<String>,
}

impl Answer {
    fn document(&self) -> Document {
        let found: Option<Document> = serde_json::from_str(&self.body).ok();
        let is_document = found.is_some();
        Document { is_document, ..found.unwrap_or_default() }
    }
}

impl Document {
    /// Whether the gateway before the API has answered, which knows the client and nothing of objects.
    fn is_of_gateway(&self) -> bool {
        self.r#type.as_ref().is_some_and(|name| name.contains("/pep-authn/") || name.contains("/pep-authz/"))
    }

    /// Whether the time stamp of the signature is what is wrong. What the document says of objects has no blank in it.
    fn is_about_our_clock(&self) -> bool {
        let words = [&self.title, &self.detail];
        words.into_iter().flatten().any(|words| words.to_ascii_lowercase().contains("invalid timestamp"))
    }
}

impl FastPurge {
    /// A client. Nothing is sent yet.
    pub fn new(credentials: Credentials, network: Network) -> Self {
        let limits = Mutex::new(Limits::new(Instant::now()));
        Self { credentials, network, agent: agent(ANSWERS_WITHIN), limits }
    }

    /// Sends one request. `objects` are at most what [`pack`] puts together.
    ///
    /// # Errors
    /// Only for a defect of ours.
    pub async fn send(
        self: &Arc<Self>,
        action: PurgeAction,
        kind: PurgeKind,
        objects: &[String],
    ) -> Result<Outcome> {
        let taken = self.limits().take(kind, objects.len(), Instant::now());
        if let Err(after) = taken {
            let why = "the account's rate limit is reached; this server waits".to_owned();
            return Ok(Outcome::Later { why, after });
        }
        let network = match self.network {
            Network::Staging => "staging",
            Network::Production => "production",
        };
        let target = format!("/ccu/v3/{action}/{kind}/{network}");
        let (client, body) = (Arc::clone(self), body_of(kind, objects));
        let sent = tokio::task::spawn_blocking(move || client.post_by_either_clock(&target, &body));
        let outcome = match sent.await.map_err(Error::internal)? {
            Ok(answer) => judged(&answer),
            Err(why) => Outcome::Later { why: format!("no answer: {why}"), after: BROKEN_WAIT },
        };
        if let Outcome::Later { after, .. } = &outcome {
            self.limits().wait(Instant::now() + *after);
        }
        Ok(outcome)
    }

    fn limits(&self) -> std::sync::MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs by our clock, and once more by that of the CDN if it says that ours is off.
    fn post_by_either_clock(&self, target: &str, body: &str) -> Result<Answer, String> {
        let answer = self.post(target, body, Utc::now())?;
        match answer.date {
            Some(date) if answer.status == 400 && answer.document().is_about_our_clock() => {
                tracing::warn!(
                    cdn = %date,
                    "the CDN takes our clock for wrong; signing by its own. Set this machine's clock"
                );
                self.post(target, body, date)
            }
            _ => Ok(answer),
        }
    }

    fn post(&self, target: &str, body: &str, at: DateTime<Utc>) -> Result<Answer, String> {
        let base = &self.credentials.base_url;
        let (scheme, host) = base.split_once("://").unwrap_or(("https", base));
        let headers = [("content-type", "application/json")];
        let signable =
            Signable { method: "POST", scheme, host, target, headers: &headers, body: body.as_bytes() };
        let nonce = nonce().map_err(|error| error.to_string())?;
        let signed = self.credentials.authorization(&signable, &edgegrid::timestamp(at), &nonce);
        let request = self.agent.post(format!("{base}{target}")).header("authorization", signed);
        let answer =
            request.header(headers[0].0, headers[0].1).send(body).map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let field = |name: &str| answer.headers().get(name)?.to_str().ok().map(ToOwned::to_owned);
        let date = field("date").and_then(|date| DateTime::parse_from_rfc2822(&date).ok());
        let seconds = |name: &str| field(name)?.trim().parse::<u64>().ok();
        let waits = [
            "retry-after",
            "x-ratelimit-seconds-to-refresh-limit",
            "x-ratelimit-seconds-to-refresh-limit-objects",
        ];
        let wait = waits.into_iter().filter_map(seconds).max().map(Duration::from_secs);
        let body = answer.into_body().into_with_config().limit(LONGEST_ANSWER).read_to_string();
        let body = body.map_err(|error| format!("status {status}, but {error}"))?;
        Ok(Answer { status, date: date.map(|date| date.with_timezone(&Utc)), wait, body })
    }
}

fn judged(answer: &Answer) -> Outcome {
    let document = answer.document();
    let blames_an_object =
        document.is_document && !document.is_of_gateway() && !document.is_about_our_clock();
    let words: Vec<&str> =
        [&document.title, &document.detail].into_iter().flatten().map(String::as_str).collect();
    let support = document.support_id.as_ref().map(|id| format!(" (support id {id})")).unwrap_or_default();
    let why = format!("status {}: {}{support}", answer.status, words.join(": "));
    match answer.status {
        201 => Outcome::Accepted {
            purge_id: document.purge_id,
            support_id: document.support_id,
            estimated: document
                .estimated_seconds
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .unwrap_or_default(),
        },
        429 | 507 => Outcome::Later { why, after: answer.wait.unwrap_or_default().max(SHORTEST_WAIT) },
        413 => Outcome::Refused(why),
        400 | 403 if blames_an_object => Outcome::Refused(why),
        _ => Outcome::Later { why, after: answer.wait.unwrap_or_default().max(BROKEN_WAIT) },
    }
}

/// A UUID version 4, as Akamai's libraries take.
fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    let nonce: Uuid = Builder::from_random_bytes(bytes).into_uuid();
    Ok(nonce.to_string())
}

/// An object as JSON: a CP code is a number, all others are texts.
fn encoded(kind: PurgeKind, object: &str) -> String {
    match kind {
        PurgeKind::Cpcode => object.to_owned(),
        PurgeKind::Url | PurgeKind::Tag => serde_json::Value::from(object).to_string(),
    }
}

fn body_of(kind: PurgeKind, objects: &[String]) -> String {
    let objects: Vec<String> = objects.iter().map(|object| encoded(kind, object)).collect();
    format!("{{\"objects\":[{}]}}", objects.join(","))
}

/// Divides objects of one kind into requests, in their order, each as full as it may be.
pub fn pack(kind: PurgeKind, objects: &[String]) -> Vec<Range<usize>> {
    const AROUND: usize = "{\"objects\":[]}".len();
    let mut requests: Vec<Range<usize>> = Vec::new();
    let mut size = 0;
    for (at, object) in objects.iter().enumerate() {
        let more = encoded(kind, object).len() + 1;
        match requests.last_mut() {
            Some(request)
                if AROUND + size + more - 1 <= LARGEST_BODY && request.len() < limits::burst(kind) =>
            {
                request.end = at + 1;
                size += more;
            }
            _ => {
                requests.push(at..at + 1);
                size = more;
            }
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_full_as_they_may_be() {
        let objects: Vec<String> =
            (0..3000).map(|n| format!("https://fw.example.com/p/1.0.{n}/\"é.bin")).collect();
        let requests = pack(PurgeKind::Url, &objects);
        assert_eq!(requests.first().map(|request| request.start), Some(0));
        assert_eq!(requests.last().map(|request| request.end), Some(3000));
        for (one, next) in requests.iter().zip(&requests[1..]) {
            assert_eq!(one.end, next.start);
            let body = body_of(PurgeKind::Url, &objects[one.clone()]);
            assert!(body.len() <= LARGEST_BODY, "{}", body.len());
            let one_more = body_of(PurgeKind::Url, &objects[one.start..=one.end]);
            assert!(one_more.len() > LARGEST_BODY, "{}", one_more.len());
        }
        let codes: Vec<String> = (0..650).map(|code| code.to_string()).collect();
        assert_eq!(pack(PurgeKind::Cpcode, &codes), [0..300, 300..600, 600..650]);
        assert_eq!(body_of(PurgeKind::Cpcode, &codes[..2]), "{\"objects\":[0,1]}");
        assert!(pack(PurgeKind::Tag, &[]).is_empty());
    }

    #[test]
    fn answers_are_told_apart() {
        let answer = |status, body: &str| Answer { status, date: None, wait: None, body: body.to_owned() };
        let accepted =
            judged(&answer(201, r#"{"estimatedSeconds":7,"purgeId":"p","supportId":"s","new":1}"#));
        let expected = Outcome::Accepted {
            purge_id: Some("p".into()),
            support_id: Some("s".into()),
            estimated: Duration::from_secs(7),
        };
        assert_eq!(accepted, expected);
        for status in [400, 403, 413] {
            assert!(matches!(judged(&answer(status, "{}")), Outcome::Refused(_)), "{status}");
        }
        for status in [401, 404, 429, 500, 503, 507, 302] {
            assert!(matches!(judged(&answer(status, "no JSON")), Outcome::Later { .. }), "{status}");
        }
        // What Akamai's gateway answers to a client without the grant, or of no account, whatever is to be purged.
        for (status, problem, detail) in [
            (403, "pep-authz/deny", "The client does not have the grant needed for the request"),
            (400, "pep-authn/request-error", "Invalid client token"),
        ] {
            let problem = format!("https://problems.purge.akamaiapis.net/-/{problem}");
            let body = serde_json::json!({ "type": problem, "title": "Forbidden", "detail": detail });
            let Outcome::Later { why, .. } = judged(&answer(status, &body.to_string())) else {
                panic!("{detail}: no object is to blame")
            };
            assert!(why.contains(detail), "{why}");
        }
        assert!(matches!(judged(&answer(403, "<html>")), Outcome::Later { .. }), "not the API's word");
        // The names of objects are their owners', and say nothing.
        let named = answer(403, r#"{"title":"unauthorized arl","detail":"https://h/-/pep-authz/deny"}"#);
        assert!(matches!(judged(&named), Outcome::Refused(_)));
        let limited = Answer { wait: Some(Duration::from_secs(33)), ..answer(429, r#"{"title":"Rate"}"#) };
        let Outcome::Later { why, after } = judged(&limited) else { panic!("429") };
        assert_eq!((why.as_str(), after.as_secs()), ("status 429: Rate", 33));
        assert!(matches!(judged(&answer(400, r#"{"detail":"Invalid timestamp"}"#)), Outcome::Later { .. }));
        // An object that is called so, and a document that has a time stamp of its own.
        for body in [
            r#"{"title":"Bad request","detail":"bad URL https://fw.example.com/timestamp-logger/1.0.0/invalid.timestamp"}"#,
            r#"{"title":"Bad request","detail":"bad tag r-x","timestamp":"2026-01-02T03:04:05Z"}"#,
        ] {
            assert!(matches!(judged(&answer(400, body)), Outcome::Refused(_)), "{body}");
            assert!(!answer(400, body).document().is_about_our_clock(), "{body}");
        }
    }
}
