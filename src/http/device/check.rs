//! `GET /v1/check`: facts from the query -> snapshot -> decision -> answer. No await, no lock, no store.
//!
//! [`at_once`] is the same answer for the server loop, before any router and mostly before any HTTP library: nothing lies
//! between the bytes that were read and it. What it does not answer, such as a malformed question, goes on to the router
//! and is answered by [`check`].
//!
//! An answer is made of few pieces: what an offer says besides its link was rendered when the snapshot was built, the
//! fields' values were made the first time, and names are read where they stand in the query. Nothing is said to the
//! [`Reply`] before all that could fail has succeeded.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, SecondsFormat, Utc};

use super::{DeviceState, access, no_snapshot, pace::Kept, question::Asked};
use crate::{
    api::{CheckAnswer, Problem},
    cdn::purge::check_tag,
    domain::{Decision, Offer, ProductOffers, Rhythm, Told, tell_in},
    error::{Error, Kind, Result},
    http::{
        front,
        head::Head,
        problem::HttpError,
        reply::{Reply, Whole},
    },
    telemetry::Answer,
};

/// <https://techdocs.akamai.com/purge-cache/docs/cache-tags>
const EDGE_CACHE_TAG: HeaderName = HeaderName::from_static("edge-cache-tag");
/// The path of this route.
pub const PATH: &str = "/v1/check";
/// What the target of a check begins with.
pub const TARGETS: &str = "/v1/check?";
/// What stands before the link in an answer.
const BEFORE_LINK: &[u8] = b"{\"url\":\"";
/// Room for a link, in bytes, so that its buffer need not grow.
const ROOM_FOR_LINK: usize = 256;

/// Is there newer firmware for this device?
///
/// Without `device` the answer is the same for all devices that ask the same, and may be cached by a CDN; but for an offer
/// whose link begins with the `Host` of the request (no `device.public_url`), which says `private, no-cache`.
#[utoipa::path(
    get, path = "/v1/check", tag = "device",
    params(
        ("product" = String, Query, description = "The product's slug", example = "thermo-x"),
        ("version" = String, Query, description = "The version that the device runs (SemVer 2.0)", example = "1.3.0"),
        ("hardware" = Option<String>, Query, description = "Its board; without it, only images for all hardware are offered"),
        ("channel" = Option<String>, Query, description = "The channel that it follows; default `stable`"),
        ("device" = Option<String>, Query, description = "An id of the device, at most 128 bytes; spreads the polls"),
    ),
    responses(
        (status = 200, description = "Newer firmware", body = CheckAnswer, headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"),
            ("ETag" = String, description = "Of answers that are the same for all devices"))),
        (status = 204, description = "Nothing newer", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 304, description = "What `If-None-Match` names is still the answer"),
        (status = 400, description = "A parameter is missing or malformed", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 401, description = "The product's devices must show their credential", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 404, description = "Unknown product or channel", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
        (status = 429, description = "Too busy, or no snapshot yet", body = Problem, content_type = "application/problem+json", headers(
            ("Retry-After" = u64, description = "When to ask again, in seconds"))),
    )
)]
pub async fn check(State(state): State<Arc<DeviceState>>, uri: Uri, headers: HeaderMap) -> Response {
    let mut reply = Whole::default();
    let (answer, response) = match answer(&state, &Head::of(&uri, &headers), &mut reply) {
        Ok(answer) => (answer, reply.into_response().map(Body::from)),
        Err(error) => {
            let answer = match error.kind() {
                Kind::NotFound => Answer::Unknown,
                Kind::Malformed => Answer::Malformed,
                Kind::Unauthenticated => Answer::Unauthenticated,
                Kind::Busy | Kind::Unavailable => Answer::NotReady,
                _ => Answer::Failed,
            };
            let error = match error.retry_delay() {
                Some(_) => error,
                None => error.retry_after(after_error(&state, &uri)),
            };
            (answer, HttpError(error).into_response())
        }
    };
    state.metrics.check(answer);
    response
}

/// When to ask again after an error: in the rhythm of the channel, if the question names one.
fn after_error(state: &DeviceState, uri: &Uri) -> Duration {
    let Ok(asked) = Asked::parse(uri.query().unwrap_or_default()) else {
        return state.pace.after(Rhythm::default(), None);
    };
    let (snapshot, question) = (state.current.load(), asked.question());
    let product = snapshot.as_ref().and_then(|snapshot| snapshot.product(question.product));
    let rhythm = product.map_or_else(Rhythm::default, |product| tell_in(product, &question).rhythm);
    state.pace.after(rhythm, asked.device())
}

/// Answers a GET or HEAD of a check that is well-formed and of a product that exists; `false` = nothing was said, let the
/// router do it.
pub fn at_once(state: &DeviceState, head: &Head<'_>, reply: &mut dyn Reply) -> bool {
    if head.path() != PATH || front::host(head).is_none() {
        return false;
    }
    let answer = answer(state, head, reply);
    if let Ok(answer) = answer {
        state.metrics.check(answer);
    }
    answer.is_ok()
}

fn answer(state: &DeviceState, head: &Head<'_>, reply: &mut dyn Reply) -> Result<Answer> {
    let asked = Asked::parse(head.query().unwrap_or_default())?;
    let snapshot = state.current.load();
    let Some(snapshot) = snapshot.as_ref() else {
        return Err(no_snapshot(&state.pace));
    };
    let (device, question) = (asked.device(), asked.question());
    let Some(product) = snapshot.product(question.product) else {
        return Err(unknown(format!(
            "there is no product {}: correct the device's settings, or create the product",
            question.product
        )));
    };
    if product.authenticates_devices() {
        access::authenticate(product, device, head)?;
    }
    let Told { decision, rhythm } = tell_in(product, &question);
    let to = Asking { state, product, rhythm, device, head };
    match decision {
        Decision::Update(offer) => to.update(offer, reply).map(|()| Answer::Update),
        Decision::UpToDate => Ok(to.nothing(Answer::UpToDate, reply)),
        Decision::NothingForHardware => Ok(to.nothing(Answer::NothingForHardware, reply)),
        Decision::UnknownProduct | Decision::UnknownChannel => Err(unknown(format!(
            "product {} has no channel {}: correct the device's settings, or promote a release to it",
            question.product, question.channel
        ))),
    }
}

/// Who asks, about what.
struct Asking<'a> {
    state: &'a DeviceState,
    product: &'a ProductOffers,
    rhythm: Rhythm,
    device: Option<&'a str>,
    head: &'a Head<'a>,
}

/// What there is to say of the links of an answer: when they end (`None` = never), ...
struct Written {
    url: Option<DateTime<Utc>>,
    direct: Option<DateTime<Utc>>,
    /// ... and whether one is the word of who asks.
    is_askers_word: bool,
}

impl Asking<'_> {
    /// Whether nobody else may be given the answer; also one about a private product that names no device.
    fn is_private(&self) -> bool {
        self.device.is_some() || self.product.is_private()
    }

    /// Says when to ask again, and who may keep the answer if it is not private.
    fn say_when(&self, reply: &mut dyn Reply, kept: Kept) {
        let kept = if self.is_private() { Kept::ByNobody } else { kept };
        self.state.pace.say_when(reply, self.rhythm, self.device, kept);
    }

    /// Names the answer for a CDN that caches it, so that a change of the product can purge it. Only where a CDN is there
    /// to read it, which takes the field off; a 304 changes no tag.
    fn tag_for_cdn(&self, reply: &mut dyn Reply) {
        if let Some(template) = self.state.check_tag.as_ref().filter(|_| !self.is_private()) {
            reply.field(EDGE_CACHE_TAG, &check_tag(template, self.product.name()));
        }
    }

    fn nothing(&self, answer: Answer, reply: &mut dyn Reply) -> Answer {
        reply.status(StatusCode::NO_CONTENT);
        self.say_when(reply, Kept::ByCaches(None));
        self.tag_for_cdn(reply);
        reply.nothing();
        answer
    }

    fn update(&self, offer: Offer<'_>, reply: &mut dyn Reply) -> Result<()> {
        let now = Utc::now();
        let mut links = String::with_capacity(ROOM_FOR_LINK);
        let ends = self.write_links(&mut links, offer, now)?;
        let first = ends.url.into_iter().chain(ends.direct).min();
        let left = first.map(|at| (at - now).to_std().unwrap_or_default());
        let kept = if ends.is_askers_word { Kept::ForAsker } else { Kept::ByCaches(left) };
        // An answer to one device is kept by nobody who could ask whether it is still true.
        let tag = (!self.is_private()).then(|| entity_tag(offer.tag(), &links));
        let is_known = |tag: &String| self.head.all(&header::IF_NONE_MATCH).any(|known| matches(known, tag));
        if tag.as_ref().is_some_and(is_known) {
            reply.status(StatusCode::NOT_MODIFIED);
            self.say_when(reply, kept);
            reply.field(header::ETAG, tag.as_deref().unwrap_or_default());
            reply.nothing();
            return Ok(());
        }
        reply.status(StatusCode::OK);
        self.say_when(reply, kept);
        if let Some(tag) = &tag {
            reply.field(header::ETAG, tag);
        }
        self.tag_for_cdn(reply);
        links.push_str("\",");
        for (name, at) in [("url_expires_at", ends.url), ("direct_url_expires_at", ends.direct)] {
            let Some(at) = at else { continue };
            let at = at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            ["\"", name, "\":\"", &at, "\","].iter().for_each(|part| links.push_str(part));
        }
        // The form of api::CheckAnswer; all but the links was rendered when the snapshot was built.
        reply.body("application/json", &[BEFORE_LINK, links.as_bytes(), offer.members(), b"}"]);
        Ok(())
    }

    /// Writes the offer's link, and behind a short one the direct one too.
    fn write_links(&self, text: &mut String, offer: Offer<'_>, now: DateTime<Utc>) -> Result<Written> {
        let (state, product, key) = (self.state, self.product, offer.key());
        let host = front::host(self.head).unwrap_or_default();
        let is_askers_word = state.links.is_askers_word(host);
        if product.access().is_none() && !product.has_short_links() {
            let url = state.links.write(text, key, now, host)?;
            return Ok(Written { url, direct: None, is_askers_word });
        }
        let terms = access::terms(product);
        let Some(id) = offer.short_id() else {
            let url = state.links.write_on(text, &terms, &state.short, key, now, host)?;
            return Ok(Written { url, direct: None, is_askers_word });
        };
        let url = state.short.write(text, &terms, (id, key), now, host)?;
        text.push_str("\",\"direct_url\":\"");
        let direct = state.links.write_on(text, &terms, &state.short, key, now, host)?;
        Ok(Written { url, direct, is_askers_word: is_askers_word || state.short.base.is_askers_word(host) })
    }
}

/// Strong, and the same on every replica: of what the offer says, and of the link.
fn entity_tag(offer: &str, link: &str) -> String {
    let link = crc32fast::hash(link.as_bytes());
    format!("\"{offer}{link:08x}\"")
}

/// Whether a value of `If-None-Match` names the tag (RFC 9110, 13.1.2; a weak form of it means the same here).
fn matches(known: &[u8], tag: &str) -> bool {
    std::str::from_utf8(known).is_ok_and(|known| {
        known
            .split(',')
            .map(|each| each.trim().trim_start_matches("W/"))
            .any(|each| each == "*" || each == tag)
    })
}

fn unknown(message: String) -> Error {
    Error::new(Kind::NotFound, "unknown-product-or-channel", message)
}
