//! Which releases of a channel a device may be offered, and which of them it is offered now.
//!
//! For one channel and one hardware, the promoted releases that are not recalled and have an image that fits form a
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

use super::{ChannelName, Image, ProductState, Release, Version};

/// A step of a ladder, as far as the rule needs to know it.
pub trait Step {
    /// The release's version.
    fn version(&self) -> &Version;
    /// Whether devices below it must pass through it.
    fn floor(&self) -> bool;
    /// The lowest version that can take it; `None` = any.
    fn upgrade_from(&self) -> Option<&Version>;
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
    fn version(&self) -> &Version {
        &self.release.version
    }

    fn floor(&self) -> bool {
        self.release.floor
    }

    fn upgrade_from(&self) -> Option<&Version> {
        self.release.upgrade_from.as_ref()
    }
}

/// The step that a device with that version is offered, as its index; `None` = none. `steps` are in the order of their
/// versions, lowest first.
pub fn choose<S: Step>(steps: &[S], running: &Version) -> Option<usize> {
    let first = steps.partition_point(|step| step.version() <= running);
    let above = &steps[first..];
    let reachable = above.iter().position(Step::floor).map_or(above.len(), |floor| floor + 1);
    let takes = |step: &S| step.upgrade_from().is_none_or(|lowest| lowest <= running);
    above[..reachable].iter().rposition(takes).map(|index| first + index)
}

/// The ladder of a channel for one hardware; `None` = devices of hardware that no image names.
pub fn ladder<'a>(
    state: &'a ProductState,
    channel: &ChannelName,
    hardware: Option<&str>,
) -> Vec<Candidate<'a>> {
    let promoted = state.promotions.iter().filter(|promotion| promotion.channel == *channel);
    let mut steps: Vec<Candidate<'_>> = promoted
        .filter_map(|promotion| state.image(promotion.image))
        .filter(|(release, image)| release.recall.is_none() && image.fits(hardware))
        .map(|(release, image)| Candidate { release, image })
        .collect();
    // Of one release, the image that names the hardware comes first and is the one that stays.
    steps.sort_by(|a, b| {
        let by_version = a.release.version.cmp(&b.release.version);
        by_version.then(a.image.hardware.is_empty().cmp(&b.image.hardware.is_empty()))
    });
    steps.dedup_by(|later, kept| later.release.id == kept.release.id);
    steps
}

/// The steps that [`choose`] can answer with, for whatever version a device runs.
pub fn steps_that_count<S: Step>(steps: Vec<S>) -> Vec<S> {
    // From the top down. Below a step that takes every version there is nothing to choose, down to the next floor.
    let mut kept: Vec<S> = Vec::new();
    let mut needs_less_than: Option<Option<Version>> = None;
    for step in steps.into_iter().rev() {
        if step.floor() {
            needs_less_than = None;
        }
        let lowest = step.upgrade_from().cloned();
        // `None` takes any version, and sorts before all others.
        if needs_less_than.as_ref().is_none_or(|above| lowest < *above) {
            needs_less_than = Some(lowest);
            kept.push(step);
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    struct Plain {
        version: Version,
        floor: bool,
        upgrade_from: Option<Version>,
    }

    impl Step for Plain {
        fn version(&self) -> &Version {
            &self.version
        }

        fn floor(&self) -> bool {
            self.floor
        }

        fn upgrade_from(&self) -> Option<&Version> {
            self.upgrade_from.as_ref()
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
            let every = steps(&all);
            let kept = steps_that_count(every.clone());
            for running in 0..21 {
                let running = version(running);
                let of_all = choose(&every, &running).map(|index| every[index].version.clone());
                let of_kept = choose(&kept, &running).map(|index| kept[index].version.clone());
                prop_assert_eq!(of_all, of_kept);
            }
        }

        #[test]
        fn without_floors_and_needs_one_step_is_kept(count in 1u8..12) {
            let all: Vec<_> = (0..count).map(|at| (at, false, None)).collect();
            prop_assert_eq!(steps_that_count(steps(&all)).len(), 1);
        }
    }
}
