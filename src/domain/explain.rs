//! Explains a check: for a device, every release of the product, and why it is offered or not.
//!
//! Made of the same rules as the answer itself: [`ladder()`] says what the channel has for the
//! hardware, [`choose`] which of it is offered, and [`replacement`] where devices go that run a
//! recalled release. A property test holds that the outcome is that of `decide`.

use super::{
    ChannelName, Hardware, Image, ProductState, Release, Version,
    ladder::{self, Candidate, choose, ladder},
};

/// Why a release is offered, or is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is what the device is offered.
    Offered,
    /// It is what the device is offered, because the release that it runs was recalled and names this one.
    Replaces,
    /// It was recalled.
    Recalled,
    /// It was removed for good.
    Removed,
    /// It was never promoted to the channel.
    NotPromoted,
    /// A downgrade withdrew it from the channel.
    Withdrawn,
    /// What is promoted of it is for other hardware.
    OtherHardware,
    /// It is not higher than what the device runs.
    NotHigher,
    /// The device must pass through this floor first.
    BehindFloor(Version),
    /// It takes only devices that run at least this version.
    TakesFrom(Version),
    /// A higher one is offered.
    LowerThan(Version),
    /// The device runs a recalled release, and goes to its replacement first.
    ReplacementFirst(Version),
}

/// A release that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered<'a> {
    /// The release.
    pub release: &'a Release,
    /// Its image for this hardware on this channel, if there is one.
    pub image: Option<&'a Image>,
    /// What came of it.
    pub finding: Finding,
}

/// What a device is offered, and every release with why or why not, the highest version first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// The outcome.
    pub offered: Option<(&'a Release, &'a Image)>,
    /// All releases.
    pub considered: Vec<Considered<'a>>,
}

/// Explains what a device of that hardware, which runs that version and follows that channel, is offered.
pub fn explain<'a>(
    state: &'a ProductState,
    channel: &ChannelName,
    hardware: Option<&str>,
    running: &Version,
) -> Explanation<'a> {
    let steps = ladder(state, channel, hardware);
    let replaced = replacement(state, running, hardware);
    let chosen = choose(&steps, running).map(|index| steps[index]);
    let offered = replaced.or(chosen);
    let of = |release: &'a Release| {
        let step = steps.iter().find(|step| step.release.id == release.id);
        let finding = match (replaced, step) {
            (Some(replacement), _) if replacement.release.id == release.id => Finding::Replaces,
            (_, None) => off_the_ladder(state, channel, release),
            (Some(replacement), Some(_)) => Finding::ReplacementFirst(replacement.release.version.clone()),
            (None, Some(step)) => on_the_ladder(&steps, step, chosen, running),
        };
        let image = step.map(|step| step.image).or_else(|| image_for(release, hardware));
        Considered { release, image, finding }
    };
    let mut considered: Vec<_> = state.releases.iter().map(of).collect();
    considered.sort_by(|one, other| other.release.version.cmp(&one.release.version));
    Explanation { offered: offered.map(|candidate| (candidate.release, candidate.image)), considered }
}

/// Where a device goes that runs a recalled release which names its replacement. One that was recalled itself hands on
/// to its own. It needs no promotion, and may be lower.
pub fn replacement<'a>(
    state: &'a ProductState,
    running: &Version,
    hardware: Option<&str>,
) -> Option<Candidate<'a>> {
    let release = ladder::replacement(state, state.release(running)?)?;
    Some(Candidate { release, image: image_for(release, hardware)? })
}

/// Of a release's images, the one that names the hardware, or else the one for all.
fn image_for<'a>(release: &'a Release, hardware: Option<&str>) -> Option<&'a Image> {
    let fitting = release.kept().filter(|image| image.fits(hardware));
    fitting.min_by_key(|image| image.hardware.is_empty())
}

fn off_the_ladder(state: &ProductState, channel: &ChannelName, release: &Release) -> Finding {
    let mut images = release.kept();
    if release.recall.is_some() {
        Finding::Recalled
    } else if release.is_removed() {
        Finding::Removed
    } else if images.clone().any(|image| state.is_promoted(image.id, channel)) {
        Finding::OtherHardware
    } else if images.any(|image| {
        state.withdrawn.iter().any(|promotion| promotion.image == image.id && promotion.channel == *channel)
    }) {
        Finding::Withdrawn
    } else {
        Finding::NotPromoted
    }
}

fn on_the_ladder(
    steps: &[Candidate<'_>],
    step: &Candidate<'_>,
    chosen: Option<Candidate<'_>>,
    running: &Version,
) -> Finding {
    let release = step.release;
    if release.version <= *running {
        return Finding::NotHigher;
    }
    if chosen.is_some_and(|chosen| chosen.release.id == release.id) {
        return Finding::Offered;
    }
    let floor = steps.iter().find(|step| step.release.floor && step.release.version > *running);
    if let Some(floor) = floor
        && floor.release.version < release.version
    {
        return Finding::BehindFloor(floor.release.version.clone());
    }
    match (&release.upgrade_from, chosen) {
        (Some(lowest), _) if lowest > running => Finding::TakesFrom(lowest.clone()),
        (_, Some(chosen)) => Finding::LowerThan(chosen.release.version.clone()),
        (_, None) => Finding::NotHigher,
    }
}

impl Finding {
    /// Stable, in `kebab-case`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Replaces => "replaces",
            Self::Recalled => "recalled",
            Self::Removed => "removed",
            Self::NotPromoted => "not-promoted",
            Self::Withdrawn => "withdrawn",
            Self::OtherHardware => "other-hardware",
            Self::NotHigher => "not-higher",
            Self::BehindFloor(_) => "behind-floor",
            Self::TakesFrom(_) => "takes-from",
            Self::LowerThan(_) => "lower",
            Self::ReplacementFirst(_) => "replacement-first",
        }
    }

    /// In words, for a device that runs `running`.
    pub fn sentence(&self, channel: &ChannelName, hardware: Option<&Hardware>, running: &Version) -> String {
        let device = hardware.map_or("a device that names no hardware".to_owned(), |name| format!("{name}"));
        match self {
            Self::Offered => "offered: the highest that the device can take".into(),
            Self::Replaces => format!("offered: {running} was recalled, and this is its replacement"),
            Self::Recalled => "recalled: offered to nobody".into(),
            Self::Removed => "removed for good: its images are gone".into(),
            Self::NotPromoted => format!("not promoted to {channel}"),
            Self::Withdrawn => format!("withdrawn from {channel} by a downgrade"),
            Self::OtherHardware => format!("promoted to {channel}, but without an image for {device}"),
            Self::NotHigher => format!("not higher than {running}, which the device runs"),
            Self::BehindFloor(floor) => {
                format!("behind {floor}, a floor that the device must pass through first")
            }
            Self::TakesFrom(lowest) => format!("takes devices from {lowest} on, and this one runs {running}"),
            Self::LowerThan(offered) => format!("lower than {offered}, which is offered"),
            Self::ReplacementFirst(version) => {
                format!("{running} was recalled, and its replacement {version} comes first")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Decision, Question, Revision, Snapshot, decide, snapshot::tests::product};

    fn version(text: &str) -> Version {
        Version::parse(text).expect("valid")
    }

    fn findings(state: &ProductState, hardware: Option<&str>, running: &str) -> Vec<(String, Finding)> {
        let running = version(running);
        let explanation = explain(state, &ChannelName::stable(), hardware, &running);
        let each = explanation.considered.into_iter();
        each.map(|considered| (considered.release.version.to_string(), considered.finding)).collect()
    }

    #[test]
    fn every_release_has_its_reason() {
        let mut state = product(&[
            ("1.0.0", &[&[]], false),
            ("1.1.0", &[&[]], false),
            ("1.2.0", &[&[]], false),
            ("1.3.0", &[&["b"]], false),
            ("1.4.0", &[&[]], true),
            ("1.5.0", &[&[]], false),
            ("2.0.0", &[&[]], false),
        ]);
        state.releases[2].floor = true;
        let unpromoted = state.releases[5].images[0].id;
        state.promotions.retain(|promotion| promotion.image != unpromoted);
        let is = |text: &str, finding| (text.to_owned(), finding);
        assert_eq!(
            findings(&state, Some("a"), "1.0.0"),
            [
                is("2.0.0", Finding::BehindFloor(version("1.2.0"))),
                is("1.5.0", Finding::NotPromoted),
                is("1.4.0", Finding::Recalled),
                is("1.3.0", Finding::OtherHardware),
                is("1.2.0", Finding::Offered),
                is("1.1.0", Finding::LowerThan(version("1.2.0"))),
                is("1.0.0", Finding::NotHigher),
            ]
        );
        state.releases[6].upgrade_from = Some(version("1.3.0"));
        assert_eq!(findings(&state, Some("a"), "1.2.0")[0].1, Finding::TakesFrom(version("1.3.0")));
    }

    #[test]
    fn a_recalled_release_hands_on_to_its_replacement() {
        let mut state =
            product(&[("1.0.0", &[&[]], false), ("1.1.0", &[&[]], true), ("1.2.0", &[&[]], true)]);
        let replace = |state: &mut ProductState, index: usize, with: &str| {
            let recall = state.releases[index].recall.as_mut().expect("recalled");
            recall.replacement = Some(version(with));
        };
        replace(&mut state, 2, "1.1.0");
        assert!(replacement(&state, &version("1.2.0"), None).is_none(), "the replacement is recalled itself");
        replace(&mut state, 1, "1.0.0");
        assert_eq!(findings(&state, None, "1.2.0")[2], ("1.0.0".into(), Finding::Replaces));
        replace(&mut state, 1, "1.2.0");
        assert!(replacement(&state, &version("1.2.0"), None).is_none(), "a circle ends");
    }

    fn hardware() -> impl Strategy<Value = &'static [&'static str]> {
        prop_oneof![Just(&[] as &[&str]), Just(&["a"] as &[&str]), Just(&["a", "b"] as &[&str])]
    }

    /// A release as it is made up: its hardware, whether it is recalled and with what replacement, its path.
    type MadeUp = (&'static [&'static str], bool, Option<u8>, bool, Option<u8>);

    fn releases(with_paths: bool) -> impl Strategy<Value = std::collections::BTreeMap<u8, MadeUp>> {
        let of = |any_path: bool| {
            let number = move || proptest::option::of(0u8..9).prop_map(move |it| it.filter(|_| any_path));
            let floor = any::<bool>().prop_map(move |it| it && any_path);
            (hardware(), any::<bool>(), number(), floor, number())
        };
        proptest::collection::btree_map(0u8..9, of(with_paths), 0..8)
    }

    fn built(releases: &std::collections::BTreeMap<u8, MadeUp>) -> ProductState {
        let number = |major: &u8| version(&format!("{major}.0.0"));
        let texts: Vec<String> = releases.keys().map(|major| format!("{major}.0.0")).collect();
        let images: Vec<[&[&str]; 1]> = releases.values().map(|release| [release.0]).collect();
        let listed = texts.iter().zip(&images).zip(releases.values());
        let listed: Vec<(&str, &[&[&str]], bool)> =
            listed.map(|((text, images), release)| (text.as_str(), images.as_slice(), release.1)).collect();
        let mut state = product(&listed);
        for (release, (_, _, replacement, floor, lowest)) in state.releases.iter_mut().zip(releases.values())
        {
            release.floor = *floor;
            release.upgrade_from = lowest.as_ref().map(number);
            if let Some(recall) = &mut release.recall {
                recall.replacement = replacement.as_ref().map(number);
            }
        }
        state
    }

    fn compare(state: &ProductState, running: u8, asked: Option<&str>) -> Result<(), TestCaseError> {
        let running = version(&format!("{running}.0.0"));
        let explained = explain(state, &ChannelName::stable(), asked, &running).offered;
        let snapshot = Snapshot::default().with(Revision(1), std::slice::from_ref(state));
        let question =
            Question { product: "thermo-x", version: &running, hardware: asked, channel: "stable" };
        let decided = match decide(&snapshot, &question) {
            Decision::Update(offer) => Some(offer.version().to_owned()),
            _ => None,
        };
        prop_assert_eq!(explained.map(|(release, _)| release.version.to_string()), decided);
        Ok(())
    }

    fn asked() -> impl Strategy<Value = Option<&'static str>> {
        prop_oneof![Just(None), Just(Some("a")), Just(Some("b")), Just(Some("c"))]
    }

    proptest! {
        #[test]
        fn the_explanation_is_what_a_check_answers(releases in releases(false), running in 0u8..10, asked in asked()) {
            compare(&built(&releases), running, asked)?;
        }

        #[test]
        fn the_explanation_is_what_a_check_answers_on_any_path(
            releases in releases(true), running in 0u8..10, asked in asked(),
        ) {
            compare(&built(&releases), running, asked)?;
        }
    }
}
