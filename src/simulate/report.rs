//! What a run has seen, as data: shown live and at the end, and printed as JSON. Fields may be added.

use serde::Serialize;

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Its time was over.
    Time,
    /// All devices run the version that was waited for.
    Until,
    /// The caller stopped it.
    Interrupted,
}

/// Checks by answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Checks {
    /// All that were sent.
    pub sent: u64,
    /// 200: newer firmware.
    pub update: u64,
    /// 204: nothing newer.
    pub up_to_date: u64,
    /// 429: too busy; the device waits as it is told, so this is no failure.
    pub busy: u64,
    /// Another 4xx, or a redirect.
    pub refused: u64,
    /// 5xx, or an answer that makes no sense.
    pub server_error: u64,
    /// None in time.
    pub no_answer: u64,
    /// `refused`, `server_error` and `no_answer`.
    pub failed: u64,
}

/// Downloads by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Downloads {
    /// Whole images whose size and SHA-256 are as offered.
    pub verified: u64,
    /// The first bytes of larger images.
    pub partial: u64,
    /// Not fetched: because none are wanted, or because the link leads where the run may not go.
    pub skipped: u64,
    /// 429: too many at once.
    pub busy: u64,
    /// Not fetched, or other bytes than offered.
    pub failed: u64,
    /// In all.
    pub bytes: u64,
}

/// Milliseconds from the request (with its connection, if it has one of its own) to the end of the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are the meaning")]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// How many devices run a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are the meaning")]
pub struct Running {
    pub product: String,
    pub version: String,
    pub devices: u32,
}

/// How far the highest version that was offered has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Adoption {
    /// Devices that run it.
    pub devices: u32,
    /// Devices of the products and hardware that were offered one.
    pub of: u32,
    /// The part, 0 to 1.
    pub share: f64,
}

/// A moment of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Since the start.
    pub seconds: f64,
    /// Sent until then.
    pub checks: u64,
    /// Adoption's share then.
    pub adopted: f64,
}

/// Something that went wrong, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are the meaning")]
pub struct Fault {
    pub what: String,
    pub count: u64,
}

/// What only those want to know who watch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Live {
    /// Of the last seconds.
    pub latency: Latency,
    /// Checks under way.
    pub asking: usize,
    /// Downloads under way.
    pub fetching: usize,
    /// Downloads that wait for their turn.
    pub queued: usize,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The device listener.
    pub server: String,
    /// How many devices.
    pub devices: usize,
    /// How many times faster than real ones they lived.
    pub speed: f64,
    /// The most checks per second.
    pub rate: u32,
    /// The most bytes of images per second.
    pub download_rate: u64,
    /// How long it ran.
    pub seconds: f64,
    /// How long it may run.
    pub seconds_allowed: f64,
    /// Why it ended; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// Checks by answer.
    pub checks: Checks,
    /// Checks sent per second of the run.
    pub checks_per_second: f64,
    /// How late the latest check was sent because of the rate or because too many were under way, in milliseconds.
    pub latest_by_ms: f64,
    /// Of all answered checks.
    pub latency_ms: Latency,
    /// Downloads by outcome.
    pub downloads: Downloads,
    /// What the devices run now.
    pub versions: Vec<Running>,
    /// Absent: nothing was offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
    /// The course of it.
    pub timeline: Vec<Point>,
    /// The first different ones.
    pub faults: Vec<Fault>,
    /// For those who watch.
    #[serde(skip)]
    pub live: Live,
}
