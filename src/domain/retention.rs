//! Retention: which releases of a product may be removed for good, and why each other one is kept.
//!
//! # Rules
//! Without [`Retention::keep_newest`] everything is kept. With `N` of it, a release is kept when one of these is true:
//! - it is one of the `N` highest versions that are not recalled, or of the `N` that were stored last, recalled or not (so
//!   that what was just published for an old line is not taken away before it is promoted);
//! - a channel offers it to some device now, whatever version the device runs;
//! - it is one of the `N` highest that a channel would offer some hardware: what devices get after a recall;
//! - it is a floor and not recalled;
//! - devices that run a recalled release are sent to it;
//! - it fixes vulnerabilities, and is younger than [`Retention::keep_security_for`] (absent: always);
//! - the caller names it as one that devices still run.
//!
//! A release is kept or goes as a whole: all its images that were not removed before. What goes is therefore never
//! offered, and every check is answered after the removal as it was before; a property test holds that.
//!
//! # What it does not do
//! Know what devices run: there is no table of devices. Who knows it from elsewhere names the versions.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    ChannelName, FileName, ProductState, Release, Version,
    ladder::{ladder, replacement, steps_that_count},
};

/// What is kept of a product's releases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Retention {
    /// How many of the highest versions, of those stored last, and of those that a channel could fall back to; absent =
    /// everything is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1, example = 20)]
    pub keep_newest: Option<NonZeroU32>,
    /// How long releases that fix vulnerabilities are kept, from when they were stored, such as `3650d`; absent = always.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "3650d")]
    pub keep_security_for: Option<DayCount>,
}

impl Retention {
    /// A key that means nothing here. Reading is lenient, because an older replica reads what a newer one stored.
    pub fn unknown_key(value: &serde_json::Value) -> Option<String> {
        let keys = value.as_object()?.keys();
        let mut unknown = keys.filter(|key| !["keep_newest", "keep_security_for"].contains(&key.as_str()));
        unknown.next().map(|key| format!("retention.{key}"))
    }
}

/// A number of days, written `365d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DayCount(pub u32);

impl TryFrom<String> for DayCount {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
        // Ten thousand years are past the calendar's end.
        let days = days.filter(|days| (1..=36_500).contains(days));
        days.map(Self).ok_or_else(|| format!("{text:?} is no number of days from 1d to 36500d, such as 365d"))
    }
}

impl From<DayCount> for String {
    fn from(days: DayCount) -> Self {
        format!("{}d", days.0)
    }
}

/// Why a release is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// The product keeps everything.
    Everything,
    /// It is among the highest versions.
    Highest(u32),
    /// It is among those that were stored last.
    StoredLast(u32),
    /// These channels offer it.
    Offered(BTreeSet<ChannelName>),
    /// These channels could fall back to it.
    Fallback(BTreeSet<ChannelName>),
    /// It is to be offered on these channels once the CDN serves it.
    Waiting(BTreeSet<ChannelName>),
    /// Devices must pass through it.
    Floor,
    /// Devices that run these are sent to it.
    Replaces(Vec<Version>),
    /// It fixes vulnerabilities; until when it is kept, if not for ever.
    Security(Option<NaiveDate>),
    /// Devices still run it, says the caller.
    Running,
}

impl Keep {
    /// Stable, in `kebab-case`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Everything => "keep-everything",
            Self::Highest(_) => "highest",
            Self::StoredLast(_) => "stored-last",
            Self::Offered(_) => "offered",
            Self::Fallback(_) => "fallback",
            Self::Waiting(_) => "waiting",
            Self::Floor => "floor",
            Self::Replaces(_) => "replacement",
            Self::Security(_) => "security",
            Self::Running => "running",
        }
    }

    /// In words.
    pub fn sentence(&self) -> String {
        fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
            items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
        }
        match self {
            Self::Everything => "the product's retention keeps everything".into(),
            Self::Highest(count) => format!("one of the {count} highest versions"),
            Self::StoredLast(count) => format!("one of the {count} stored last"),
            Self::Offered(channels) => format!("offered on {}", list(channels)),
            Self::Fallback(channels) => format!("what {} would offer after recalls", list(channels)),
            Self::Waiting(channels) => format!("to be offered on {} once the CDN serves it", list(channels)),
            Self::Floor => "a floor that devices pass through".into(),
            Self::Replaces(versions) => format!("devices that run {} are sent to it", list(versions)),
            Self::Security(None) => "fixes vulnerabilities".into(),
            Self::Security(Some(until)) => format!("fixes vulnerabilities, kept until {until}"),
            Self::Running => "devices still run it".into(),
        }
    }
}

/// An image that goes or stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concerned {
    /// The image.
    pub id: Uuid,
    /// The last part of its key.
    pub filename: FileName,
    /// In bytes.
    pub size: u64,
    /// Of the whole file.
    pub sha256: [u8; 32],
}

/// What is to become of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// The release.
    pub version: Version,
    /// Its images that were not removed before.
    pub images: Vec<Concerned>,
    /// Why it is kept; empty = it goes.
    pub keep: Vec<Keep>,
}

impl Fate {
    /// All its images', in bytes.
    pub fn bytes(&self) -> u64 {
        self.images.iter().map(|image| image.size).sum()
    }
}

/// What is to become of each release that has images, the highest version first. `running` = versions that devices still
/// run.
pub fn judge(state: &ProductState, running: &BTreeSet<String>, now: DateTime<Utc>) -> Vec<Fate> {
    let retention = &state.product.settings.retention;
    let mut releases: Vec<&Release> =
        state.releases.iter().filter(|release| release.kept().next().is_some()).collect();
    releases.sort_by(|one, other| other.version.cmp(&one.version));
    let keep = match retention.keep_newest {
        None => releases.iter().map(|release| (release.id, vec![Keep::Everything])).collect(),
        Some(count) => reasons(state, &releases, count.get(), running, now),
    };
    let fate = |release: &&Release| Fate {
        version: release.version.clone(),
        images: release
            .kept()
            .map(|image| Concerned {
                id: image.id,
                filename: image.filename.clone(),
                size: image.size,
                sha256: image.digests.sha256,
            })
            .collect(),
        keep: keep.get(&release.id).cloned().unwrap_or_default(),
    };
    releases.iter().map(fate).collect()
}

fn reasons(
    state: &ProductState,
    releases: &[&Release],
    count: u32,
    running: &BTreeSet<String>,
    now: DateTime<Utc>,
) -> BTreeMap<Uuid, Vec<Keep>> {
    let mut keep: BTreeMap<Uuid, Vec<Keep>> = BTreeMap::new();
    let mut add = |release: Uuid, why: Keep| keep.entry(release).or_default().push(why);
    let most = count as usize;
    for release in releases.iter().filter(|release| release.recall.is_none()).take(most) {
        add(release.id, Keep::Highest(count));
    }
    let mut by_time = releases.to_vec();
    by_time.sort_by_key(|release| std::cmp::Reverse((stored_last(release), release.id)));
    for release in by_time.iter().take(most) {
        add(release.id, Keep::StoredLast(count));
    }
    let (offered, fallback) = by_channel(state, most);
    for (release, channels) in offered {
        add(release, Keep::Offered(channels));
    }
    for (release, channels) in fallback {
        add(release, Keep::Fallback(channels));
    }
    let mut waiting = ByRelease::new();
    for pending in &state.pending {
        if let Some((release, _)) = state.image(pending.image) {
            waiting.entry(release.id).or_default().insert(pending.channel.clone());
        }
    }
    for (release, channels) in waiting {
        add(release, Keep::Waiting(channels));
    }
    for release in releases.iter().filter(|release| release.floor && release.recall.is_none()) {
        add(release.id, Keep::Floor);
    }
    let mut replaces: BTreeMap<Uuid, Vec<Version>> = BTreeMap::new();
    for recalled in &state.releases {
        if let Some(to) = replacement(state, recalled) {
            replaces.entry(to.id).or_default().push(recalled.version.clone());
        }
    }
    for (release, versions) in replaces {
        add(release, Keep::Replaces(versions));
    }
    for release in releases.iter().filter(|release| release.security.is_some()) {
        let days = state.product.settings.retention.keep_security_for;
        let until = days.map(|days| stored_last(release).date_naive() + Days::new(days.0.into()));
        if until.is_none_or(|until| now.date_naive() <= until) {
            add(release.id, Keep::Security(until));
        }
    }
    for release in releases.iter().filter(|release| running.contains(&release.version.to_string())) {
        add(release.id, Keep::Running);
    }
    keep
}

/// When its newest image was stored.
fn stored_last(release: &Release) -> DateTime<Utc> {
    release
        .kept()
        .map(|image| image.created_at)
        .max()
        .map_or(release.created_at, |at| at.max(release.created_at))
}

type ByRelease = BTreeMap<Uuid, BTreeSet<ChannelName>>;

/// The releases that channels offer to some device, and the others that they could fall back to.
fn by_channel(state: &ProductState, most: usize) -> (ByRelease, ByRelease) {
    let images = state.releases.iter().flat_map(Release::kept);
    let named: BTreeSet<&str> =
        images.flat_map(|image| &image.hardware).map(|hardware| hardware.as_str()).collect();
    let (mut offered, mut fallback) = (ByRelease::new(), ByRelease::new());
    for channel in state.channels() {
        for hardware in named.iter().map(|name| Some(*name)).chain([None]) {
            let steps = ladder(state, &channel, hardware);
            for step in steps_that_count(&steps) {
                offered.entry(step.release.id).or_default().insert(channel.clone());
            }
            for step in steps.iter().rev().take(most) {
                fallback.entry(step.release.id).or_default().insert(channel.clone());
            }
        }
    }
    for (release, channels) in &offered {
        if let Some(more) = fallback.get_mut(release) {
            more.retain(|channel| !channels.contains(channel));
        }
    }
    fallback.retain(|_, channels| !channels.is_empty());
    (offered, fallback)
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
