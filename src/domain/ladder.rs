//! Which releases of a channel a device may be offered, and which of them it is offered now.
//!
//! For one channel and one hardware, the promoted releases that are not recalled and have an image that fits and was not
//! removed form a
//! ladder, lowest version first. A device that runs version V goes up it:
//! - it is never offered a version that is not higher than V;
//! - it never jumps over a floor: beyond the lowest floor above V nothing is offered;
//! - a release that names the lowest version that can take it is not offered to a device below that;
//! - of what is left, the highest is offered.
//!
//! [`choose`] is that rule, the only place that has it: the snapshot answers checks by it, the explanation of a check
//! is made of it, and the version check walks the ladder with it to find devices that would be stranded.
//!
//! [`steps_that_count`] drops the steps that no device can ever be offered, so that a snapshot keeps one step for most
//! channels however many releases there are.

use std::collections::HashSet;

use uuid::Uuid;

use super::{ChannelName, Image, ProductState, Release, Version};

/// A step of a ladder, as far as the rule needs to know it.
pub trait Step {
    /// Whether its version is higher than the one that a device runs.
    fn is_above(&self, running: &Version) -> bool;
    /// Whether devices below it must pass through it.
    fn floor(&self) -> bool;
    /// Whether a device that runs this version can take it.
    fn takes(&self, running: &Version) -> bool;
}

/// A promoted release with the image that fits.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The release.
    pub release: &'a Release,
    /// Of its images, the one that names the hardware, or else the one for all.
    pub image: &'a Image,
}

impl Step for Candidate<'_> {
    fn is_above(&self, running: &Version) -> bool {
        self.release.version > *running
    }

    fn floor(&self) -> bool {
        self.release.floor
    }

    fn takes(&self, running: &Version) -> bool {
        self.release.upgrade_from.as_ref().is_none_or(|lowest| lowest <= running)
    }
}

/// The step that a device with that version is offered, as its index; `None` = none. `steps` are in the order of their
/// versions, lowest first.
pub fn choose<S: Step>(steps: &[S], running: &Version) -> Option<usize> {
    let first = steps.partition_point(|step| !step.is_above(running));
    let above = &steps[first..];
    let reachable = above.iter().position(Step::floor).map_or(above.len(), |floor| floor + 1);
    above[..reachable].iter().rposition(|step| step.takes(running)).map(|index| first + index)
}

/// The ladder of a channel for one hardware; `None` = devices of hardware that no image names.
pub fn ladder<'a>(
    state: &'a ProductState,
    channel: &ChannelName,
    hardware: Option<&str>,
) -> Vec<Candidate<'a>> {
    let promotions = state.promotions.iter().filter(|promotion| promotion.channel == *channel);
    let promoted: HashSet<Uuid> = promotions.map(|promotion| promotion.image).collect();
    let releases = state.releases.iter().filter(|release| release.recall.is_none());
    let images = releases.flat_map(|release| release.kept().map(move |image| Candidate { release, image }));
    let mut steps: Vec<Candidate<'_>> =
        images.filter(|step| step.image.fits(hardware) && promoted.contains(&step.image.id)).collect();
    // Of one release, the image that names the hardware comes first and is the one that stays.
    steps.sort_by(|a, b| {
        let by_version = a.release.version.cmp(&b.release.version);
        by_version.then(a.image.hardware.is_empty().cmp(&b.image.hardware.is_empty()))
    });
    steps.dedup_by(|later, kept| later.release.id == kept.release.id);
    steps
}

/// The release that devices which run a recalled one should go to. One that was recalled itself hands on to its own.
pub fn replacement<'a>(state: &'a ProductState, recalled: &Release) -> Option<&'a Release> {
    let mut recall = recalled.recall.as_ref()?;
    // Each can be passed once; more steps than releases are a circle.
    for _ in 0..state.releases.len() {
        let next = state.release(recall.replacement.as_ref()?)?;
        match &next.recall {
            None => return Some(next),
            Some(further) => recall = further,
        }
    }
    None
}

/// The steps that [`choose`] can answer with, for whatever version a device runs.
pub fn steps_that_count<'a>(steps: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
    let needs: Vec<_> =
        steps.iter().map(|step| (step.release.floor, step.release.upgrade_from.as_ref())).collect();
    that_count(&needs).into_iter().map(|index| steps[index]).collect()
}

/// The indices of the steps that count, by `(floor, upgrade_from)` of each, lowest first.
fn that_count<V: Ord>(steps: &[(bool, Option<V>)]) -> Vec<usize> {
    // From the top down. Below a step that takes every version there is nothing to choose, down to the next floor.
    let mut kept = Vec::new();
    let mut above: Option<&Option<V>> = None;
    for (index, (floor, lowest)) in steps.iter().enumerate().rev() {
        // `None` takes any version, and sorts before all others.
        if *floor || above.is_none_or(|above| lowest < above) {
            above = Some(lowest);
            kept.push(index);
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Plain {
        version: Version,
        floor: bool,
        upgrade_from: Option<Version>,
    }

    impl Step for Plain {
        fn is_above(&self, running: &Version) -> bool {
            self.version > *running
        }

        fn floor(&self) -> bool {
            self.floor
        }

        fn takes(&self, running: &Version) -> bool {
            self.upgrade_from.as_ref().is_none_or(|lowest| lowest <= running)
        }
    }

    fn version(major: u8) -> Version {
        Version::parse(&format!("{major}.0.0")).expect("valid")
    }

    fn steps(of: &[(u8, bool, Option<u8>)]) -> Vec<Plain> {
        let plain = |&(at, floor, from): &(u8, bool, Option<u8>)| Plain {
            version: version(at),
            floor,
            upgrade_from: from.map(version),
        };
        of.iter().map(plain).collect()
    }

    fn kept(of: &[(u8, bool, Option<u8>)]) -> Vec<(u8, bool, Option<u8>)> {
        let needs: Vec<_> = of.iter().map(|&(_, floor, from)| (floor, from)).collect();
        that_count(&needs).into_iter().map(|index| of[index]).collect()
    }

    fn offered(of: &[(u8, bool, Option<u8>)], running: u8) -> Option<u8> {
        choose(&steps(of), &version(running)).map(|index| of[index].0)
    }

    #[test]
    fn without_floors_the_highest_is_offered() {
        let of = [(1, false, None), (3, false, None), (5, false, None)];
        assert_eq!(offered(&of, 0), Some(5));
        assert_eq!(offered(&of, 4), Some(5));
        assert_eq!(offered(&of, 5), None);
        assert_eq!(offered(&of, 9), None);
        assert_eq!(offered(&[], 0), None);
    }

    #[test]
    fn no_device_jumps_over_a_floor() {
        let of = [(1, false, None), (3, true, None), (4, false, None), (6, true, None), (8, false, None)];
        assert_eq!(offered(&of, 0), Some(3));
        assert_eq!(offered(&of, 2), Some(3));
        assert_eq!(offered(&of, 3), Some(6));
        assert_eq!(offered(&of, 5), Some(6));
        assert_eq!(offered(&of, 6), Some(8));
        assert_eq!(offered(&of, 8), None);
    }

    #[test]
    fn a_release_is_offered_only_to_those_that_can_take_it() {
        let of = [(2, false, None), (4, false, Some(2)), (6, false, Some(4))];
        assert_eq!(offered(&of, 1), Some(2));
        assert_eq!(offered(&of, 2), Some(4));
        assert_eq!(offered(&of, 3), Some(4));
        assert_eq!(offered(&of, 4), Some(6));
        assert_eq!(offered(&[(6, false, Some(4))], 3), None, "stranded");
    }

    proptest! {
        #[test]
        fn dropping_steps_changes_no_answer(
            of in proptest::collection::btree_map(0u8..20, (any::<bool>(), proptest::option::of(0u8..20)), 0..12),
        ) {
            let all: Vec<_> = of.into_iter().map(|(at, (floor, from))| (at, floor, from)).collect();
            let kept = kept(&all);
            for running in 0..21 {
                prop_assert_eq!(offered(&all, running), offered(&kept, running));
            }
        }

        #[test]
        fn without_floors_and_needs_one_step_is_kept(count in 1u8..12) {
            let all: Vec<_> = (0..count).map(|at| (at, false, None)).collect();
            prop_assert_eq!(kept(&all), [(count - 1, false, None)]);
        }
    }
}
