//! What may become an image of a release: the order in which the rules are asked, and what is known when.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Consent, Offering, Reason, channel, content, declared,
    findings::Findings,
    inspect::Report,
    links, names, rule,
    signature::{self, detached},
};
use crate::domain::{
    ChannelName, Digests, Facts, FileName, Hardware, Image, LinkForms, ProductState, Release, UpgradePath,
    Version, purge::TagForm,
};

/// What the publisher declares of an image.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The release's version.
    pub version: Version,
    /// The file name.
    pub filename: FileName,
    /// The hardware it runs on; empty = all.
    pub hardware: BTreeSet<Hardware>,
    /// Where it is to be offered at once.
    pub channel: Option<ChannelName>,
    /// `Content-Length`, in bytes, when the client says it.
    pub size: Option<u64>,
    /// `Repr-Digest`, when the client says it.
    pub sha256: Option<[u8; 32]>,
    /// How devices come to the release.
    pub path: UpgradePath,
    /// A detached signature over the whole image.
    pub signature: Option<detached::Detached>,
    /// What the publisher confirms.
    pub consent: Consent,
}

/// What really arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// In bytes.
    pub size: u64,
    /// Of all the bytes.
    pub sha256: [u8; 32],
    /// What the image says of itself, and what is wrong with it.
    pub report: Arc<Report>,
    /// What became of the detached signature, if there is one.
    pub detached: Option<detached::Outcome>,
    /// When the last byte arrived.
    pub at: DateTime<Utc>,
}

/// What is known when the rules are asked.
#[derive(Debug, Clone, Copy)]
pub enum Known<'a> {
    /// Only what the publisher declares.
    Declared,
    /// What the image has said of itself up to now; what it has not said, it may still say.
    Underway(&'a Facts),
    /// All of it.
    Arrived(&'a Arrived),
}

/// Limits that are not the product's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// The largest image, in bytes.
    pub max_image_bytes: u64,
    /// The measures of the links that devices would get; `None` = not known, and not judged.
    pub links: Option<LinkForms>,
    /// The measures of the cache tag by which a release is purged; `None` = it is not purged by one.
    pub tag: Option<TagForm>,
}

/// A verdict in favour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may be stored.
    New,
    /// An image with these facts is there; whether it is this one, only the bytes can tell.
    Occupied(Uuid),
    /// This very image is there already.
    Same(Uuid),
}

/// A verdict against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The same file name or hardware exists in this release with other bytes or facts.
    Conflict(String),
    /// Rules refuse it.
    Rules(Vec<Reason>),
}

/// A verdict, and what is only told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub admission: Result<Admission, Refusal>,
    /// What does not stand in the way.
    pub warnings: Vec<Reason>,
}

/// Judges what is declared, before the body is read.
///
/// # Errors
/// Why not.
pub fn admit(state: &ProductState, candidate: &Candidate, limits: Limits) -> Result<Admission, Refusal> {
    judge(state, candidate, Known::Declared, limits).admission
}

/// Judges what arrived, before it becomes visible. Never answers [`Admission::Occupied`].
///
/// # Errors
/// Why not.
pub fn verify(
    state: &ProductState,
    candidate: &Candidate,
    arrived: &Arrived,
    limits: Limits,
) -> Result<Admission, Refusal> {
    judge(state, candidate, Known::Arrived(arrived), limits).admission
}

/// Asks all rules that can be asked with what is known.
pub fn judge(state: &ProductState, candidate: &Candidate, known: Known<'_>, limits: Limits) -> Judgement {
    let mut findings = Findings::new(&state.product.settings.policy);
    let (size, sha256) = match known {
        Known::Arrived(arrived) => (Some(arrived.size), Some(arrived.sha256)),
        _ => (candidate.size, candidate.sha256),
    };
    if let Known::Arrived(arrived) = known {
        declared::digest(candidate, arrived, &mut findings);
    }
    let release = state.release(&candidate.version);
    let admission = match release {
        Some(release) if findings.is_fine() => match occupancy(release, candidate, size, sha256) {
            Ok(admission) => admission,
            Err(conflict) => return Judgement { admission: Err(conflict), warnings: findings.warnings },
        },
        _ => Admission::New,
    };
    declared::size(state, size, limits, &mut findings);
    if admission == Admission::New {
        if let Some(recall) = release.and_then(|release| release.recall.as_ref()) {
            findings.add(rule::VERSION_RECALLED, channel::recalled(&candidate.version, &recall.reason));
        }
        declared::judge(state, candidate, &mut findings);
        links::judge(state, &candidate.version, &candidate.filename, limits, &mut findings);
        declared::tag(state, candidate, limits, &mut findings);
        declared::same_bytes(state, candidate, sha256, &mut findings);
        of_the_image(state, candidate, known, &mut findings);
    }
    offer(state, candidate, known, admission, release, &mut findings);
    let Findings { reasons, warnings, .. } = findings;
    let admission = if reasons.is_empty() { Ok(admission) } else { Err(Refusal::Rules(reasons)) };
    Judgement { admission, warnings }
}

/// The rules on what the image says of itself.
fn of_the_image(state: &ProductState, candidate: &Candidate, known: Known<'_>, findings: &mut Findings<'_>) {
    let policy = &state.product.settings.policy;
    match known {
        Known::Declared => {}
        Known::Underway(facts) => {
            content::version(policy, candidate, facts, findings);
            names::expected(policy, candidate, facts, false, findings);
            content::slot(policy, candidate, facts, None, findings);
        }
        Known::Arrived(arrived) => {
            let Report { facts, faults, .. } = &*arrived.report;
            content::faults(faults, findings);
            content::version(policy, candidate, facts, findings);
            names::expected(policy, candidate, facts, true, findings);
            content::slot(policy, candidate, facts, Some(arrived.size), findings);
            let now = Duration::from_secs(arrived.at.timestamp().try_into().unwrap_or_default());
            signature::judge(policy, &arrived.report, arrived.detached.as_ref(), now, findings);
        }
    }
}

/// The rules on the channel where it is to be offered at once.
fn offer(
    state: &ProductState,
    candidate: &Candidate,
    known: Known<'_>,
    admission: Admission,
    release: Option<&Release>,
    findings: &mut Findings<'_>,
) {
    let Some(channel) = &candidate.channel else { return };
    let stored = match admission {
        Admission::New => None,
        Admission::Occupied(id) | Admission::Same(id) => state.image(id),
    };
    let recalled = release.is_some_and(|release| release.recall.is_some());
    let asked = |id| state.is_promoted(id, channel) || state.is_pending(id, channel);
    if !recalled && stored.is_some_and(|(_, image)| asked(image.id)) {
        return;
    }
    let facts = match known {
        Known::Declared => None,
        Known::Underway(facts) => Some(Arc::new(facts.clone())),
        Known::Arrived(arrived) => Some(Arc::new(arrived.report.facts.clone())),
    };
    let new = provisional(candidate, facts);
    let image = stored.map_or(&new, |(_, image)| image);
    let offering = Offering { version: &candidate.version, path: &candidate.path, channel, images: &[image] };
    channel::judge(state, &offering, &candidate.consent, findings);
}

/// The image as it would be, as far as rules look at it.
fn provisional(candidate: &Candidate, facts: Option<Arc<Facts>>) -> Image {
    Image {
        id: Uuid::nil(),
        filename: candidate.filename.clone(),
        hardware: candidate.hardware.clone(),
        size: candidate.size.unwrap_or_default(),
        digests: Digests { sha256: [0; 32], sha1: [0; 20], md5: [0; 16] },
        etag: String::new(),
        created_at: DateTime::UNIX_EPOCH,
        facts,
        signature: None,
        removed_at: None,
    }
}

/// Whether the release has an image of that name or for that hardware already.
fn occupancy(
    release: &Release,
    candidate: &Candidate,
    size: Option<u64>,
    sha256: Option<[u8; 32]>,
) -> Result<Admission, Refusal> {
    let clash = |image: &&Image| {
        image.filename == candidate.filename
            || (image.hardware.is_empty() && candidate.hardware.is_empty())
            || image.hardware.intersection(&candidate.hardware).next().is_some()
    };
    let Some(image) = release.images.iter().find(clash) else {
        return Ok(Admission::New);
    };
    let version = &release.version;
    let there = format!(
        "{version} has an image {} for {} already ({} bytes, SHA-256 {})",
        image.filename,
        declared::hardware_text(&image.hardware),
        image.size,
        hex::encode(image.digests.sha256),
    );
    if let Some(at) = image.removed_at {
        return Err(Refusal::Conflict(format!(
            "{version} had an image {} for {}, which was removed for good on {}: a key is never reused; publish a new \
             version",
            image.filename,
            declared::hardware_text(&image.hardware),
            at.format("%Y-%m-%d"),
        )));
    }
    if image.filename != candidate.filename || image.hardware != candidate.hardware {
        return Err(Refusal::Conflict(format!(
            "{there}: a file name and a hardware can be used once in a release; give this image another file name \
             and other hardware, or publish it under a higher version"
        )));
    }
    let other_bytes = || {
        Err(Refusal::Conflict(format!(
            "{there}, and these are other bytes: what is published never changes; publish them under a higher version"
        )))
    };
    if size.is_some_and(|size| size != image.size) {
        return other_bytes();
    }
    match sha256 {
        None => Ok(Admission::Occupied(image.id)),
        Some(sha256) if sha256 == image.digests.sha256 => Ok(Admission::Same(image.id)),
        Some(_) => other_bytes(),
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
