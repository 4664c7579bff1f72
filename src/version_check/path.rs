//! Whether a change leaves devices without a way to what a channel offers highest.
//!
//! For each channel and hardware, every version that the channel has ever offered may still run somewhere. From each
//! of them the ladder is walked, step by step, by the rule that answers checks; where it ends below the channel's
//! highest offer, devices are stranded. Told is only what the change makes so: the walk is done on the product as it
//! is, and as it would be. Versions above the highest offer, after a downgrade or a recall, have nowhere to go up to
//! and are not stranded.

use std::collections::{BTreeMap, BTreeSet};

use super::{findings::Findings, rule};
use crate::domain::{
    ChannelName, Hardware, ProductState, Version,
    explain::replacement,
    ladder::{Candidate, choose, ladder},
};

/// A version without a way up: where it ends, and what it cannot reach.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stranded {
    stuck_at: Version,
    head: Version,
    /// The lowest version that the highest offer takes, where that is what is missing.
    takes_from: Option<Version>,
}

/// Versions that end at the same place, and the hardware of which they do.
struct Group {
    stranded: Stranded,
    hardware: BTreeSet<Option<Hardware>>,
    versions: BTreeMap<String, Version>,
}

/// Finds devices that `after` strands and `before` did not, on the channels that the change concerns; `None` = all.
pub(super) fn strands(
    before: &ProductState,
    after: &ProductState,
    concerns: Option<&ChannelName>,
    findings: &mut Findings<'_>,
) {
    let channels = after.channels();
    for channel in
        channels.into_iter().filter(|channel| concerns.is_none_or(|concerned| concerned == channel))
    {
        let mut told: BTreeMap<(String, String), Group> = BTreeMap::new();
        for hardware in targets(after, &channel) {
            let name = hardware.as_ref().map(Hardware::as_str);
            // Once for all versions: this is what takes time where there are many releases.
            let (was, is) = (ladder(before, &channel, name), ladder(after, &channel, name));
            for version in ever_offered(after, &channel, name) {
                let Some(stranded) = walk(after, &is, name, &version) else { continue };
                if walk(before, &was, name, &version).is_some() {
                    continue;
                }
                let key = (stranded.stuck_at.to_string(), stranded.head.to_string());
                let group = told.entry(key).or_insert_with(|| Group {
                    stranded,
                    hardware: BTreeSet::new(),
                    versions: BTreeMap::new(),
                });
                group.hardware.insert(hardware.clone());
                group.versions.insert(version.to_string(), version);
            }
        }
        for group in told.into_values() {
            findings.add(rule::STRANDS_DEVICES, sentence(&channel, group));
        }
    }
}

fn sentence(channel: &ChannelName, group: Group) -> String {
    let Group { stranded: Stranded { stuck_at, head, takes_from }, hardware, versions } = group;
    let mut versions: Vec<Version> = versions.into_values().collect();
    versions.sort();
    let listed = versions.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let more = if versions.len() > 5 { format!(" and {} more", versions.len() - 5) } else { String::new() };
    let named: Vec<&str> = hardware.iter().flatten().map(Hardware::as_str).take(5).collect();
    let whose = match named.as_slice() {
        [] => String::new(),
        _ if hardware.contains(&None) => String::new(),
        named => format!(" of hardware {}", named.join(", ")),
    };
    let step = match takes_from {
        Some(lowest) => format!(
            "{head} takes devices from {lowest} on, and the channel has no step from {stuck_at} to {lowest} or higher"
        ),
        None => format!("the channel has no step from {stuck_at} on"),
    };
    format!(
        "devices{whose} on {listed}{more}, which {channel} has offered, could not reach {head}: {step}; promote a release \
         in between, lower upgrade_from, or say `allow_stranding`"
    )
}

fn targets(state: &ProductState, channel: &ChannelName) -> BTreeSet<Option<Hardware>> {
    let named = state.ever_offered(channel).flat_map(|(_, image)| image.hardware.iter().cloned().map(Some));
    named.chain([None]).collect()
}

fn ever_offered(state: &ProductState, channel: &ChannelName, hardware: Option<&str>) -> Vec<Version> {
    let fitting = state.ever_offered(channel).filter(|(_, image)| image.fits(hardware));
    let mut versions: Vec<Version> = fitting.map(|(release, _)| release.version.clone()).collect();
    versions.sort();
    versions.dedup();
    versions
}

/// Walks up from a version; `None` = it reaches the highest offer, or there is nothing above it.
fn walk(
    state: &ProductState,
    steps: &[Candidate<'_>],
    hardware: Option<&str>,
    from: &Version,
) -> Option<Stranded> {
    let head = steps.last()?.release;
    let mut at = from;
    // Each step goes up; a replacement may go down, once, as it is not recalled itself.
    for _ in 0..steps.len() + 2 {
        let next = match replacement(state, at, hardware) {
            Some(candidate) => candidate.release,
            None => match choose(steps, at) {
                Some(index) => steps[index].release,
                None => break,
            },
        };
        at = &next.version;
    }
    (*at < head.version).then(|| Stranded {
        stuck_at: at.clone(),
        head: head.version.clone(),
        takes_from: head.upgrade_from.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Policy, domain::snapshot::tests::product, version_check::Reason};

    fn version(text: &str) -> Version {
        Version::parse(text).expect("valid")
    }

    fn told(before: &ProductState, after: &ProductState) -> Vec<Reason> {
        let policy = Policy::default();
        let mut findings = Findings::new(&policy);
        strands(before, after, None, &mut findings);
        findings.reasons
    }

    fn three() -> ProductState {
        product(&[("1.0.0", &[&[]], false), ("1.5.0", &[&[]], false), ("2.0.0", &[&[]], false)])
    }

    #[test]
    fn a_head_that_nobody_can_take_is_told_with_the_missing_step() {
        let mut after = three();
        assert!(told(&three(), &after).is_empty());
        after.releases[2].upgrade_from = Some(version("1.5.0"));
        assert!(told(&three(), &after).is_empty(), "1.5.0 is the step in between");
        after.releases[2].upgrade_from = Some(version("1.6.0"));
        let [reason] = told(&three(), &after).try_into().expect("one");
        assert!(reason.message.contains("on 1.0.0, 1.5.0, which stable has offered, could not reach 2.0.0"));
        assert!(reason.message.contains("no step from 1.5.0 to 1.6.0 or higher"), "{}", reason.message);
        assert!(told(&after, &after).is_empty(), "what was so before is not told again");
    }

    #[test]
    fn recalling_the_step_in_between_strands_and_a_replacement_helps() {
        let mut before = three();
        before.releases[1].floor = true;
        before.releases[2].upgrade_from = Some(version("1.5.0"));
        let recall = |replacement: Option<&str>| {
            let mut after = before.clone();
            after.releases[1].recall = Some(crate::domain::Recall {
                at: chrono::DateTime::UNIX_EPOCH,
                reason: "bad".into(),
                replacement: replacement.map(version),
            });
            told(&before, &after)
        };
        let [reason] = recall(None).try_into().expect("one");
        assert!(reason.message.contains("devices on 1.0.0,"), "those on 1.5.0 go on: {}", reason.message);
        let [reason] = recall(Some("1.0.0")).try_into().expect("one");
        assert!(
            reason.message.contains("devices on 1.0.0, 1.5.0,"),
            "they are sent back: {}",
            reason.message
        );
        let recalled_head = {
            let mut after = before.clone();
            after.releases[2].recall = before.releases[1].recall.clone();
            after
        };
        assert!(told(&before, &recalled_head).is_empty());
    }

    #[test]
    fn what_was_withdrawn_or_is_for_other_hardware_counts_where_it_was_offered() {
        let mut before = product(&[("1.0.0", &[&["a"]], false), ("1.5.0", &[&["b"]], false)]);
        let old = before.promotions.remove(0);
        before.withdrawn.push(old);
        let mut after = product(&[("2.0.0", &[&["a", "b"]], false)]);
        after.releases[0].upgrade_from = Some(version("1.5.0"));
        after.releases.extend(before.releases.clone());
        after.promotions.extend(before.promotions.clone());
        after.withdrawn.clone_from(&before.withdrawn);
        let [reason] = told(&before, &after).try_into().expect("one");
        assert!(reason.message.contains("devices of hardware a on 1.0.0, which"), "{}", reason.message);
    }
}
