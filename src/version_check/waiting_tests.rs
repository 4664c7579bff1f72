use std::sync::Arc;

use super::*;
use crate::domain::{Facts, Recall, snapshot::tests::product};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("in range")
}

fn version(text: &str) -> Version {
    Version::parse(text).expect("valid")
}

/// Releases of which some are offered and some wait, each since a moment.
fn state(offered: &[(&str, i64)], waiting: &[(&str, i64)]) -> ProductState {
    const FOR_ALL: &[&[&str]] = &[&[]];
    let all: Vec<_> = offered.iter().chain(waiting).map(|(text, _)| (*text, FOR_ALL, false)).collect();
    let mut state = product(&all);
    let promotions = std::mem::take(&mut state.promotions);
    for (index, promotion) in promotions.into_iter().enumerate() {
        match offered.get(index) {
            Some((_, since)) => state.promotions.push(Promotion { at: at(*since), ..promotion }),
            None => state.pending.push(PendingPromotion {
                channel: promotion.channel,
                image: promotion.image,
                withdraw: Vec::new(),
                at: at(waiting[index - offered.len()].1),
                allow_stranding: false,
                reason: None,
                attempts: 0,
                last_error: None,
            }),
        }
    }
    state.pending.sort_by_key(|waiting| waiting.at);
    state
}

fn image_of(state: &ProductState, text: &str) -> Uuid {
    state.release(&version(text)).expect("there").images[0].id
}

fn waits(state: &mut ProductState, text: &str) -> usize {
    let image = image_of(state, text);
    state.pending.iter().position(|waiting| waiting.image == image).expect("it waits")
}

fn opened(state: &ProductState, text: &str) -> Opening {
    let image = image_of(state, text);
    let waiting = state.pending.iter().find(|waiting| waiting.image == image).expect("it waits");
    open(state, &version(text), (&ChannelName::stable(), waiting.at), Limits::default()).expect("it waits")
}

/// What becomes of it, in words: the versions that it goes beneath and withdraws, or why not.
fn told(state: &ProductState, text: &str) -> String {
    match opened(state, text) {
        Opening::Offer(offer) => {
            let beneath: Vec<String> = offer.beneath.iter().map(Version::to_string).collect();
            format!("offered beneath {beneath:?}, withdraws {}", offer.withdraw.len())
        }
        Opening::Wait(why) => format!("waits: {why}"),
        Opening::Refuse(reasons) => {
            let codes: Vec<&str> = reasons.iter().map(|reason| reason.code.as_ref()).collect();
            format!("refused: {codes:?}")
        }
    }
}

fn counted(state: &mut ProductState, text: &str, counter: u64) {
    let version = version(text);
    let release = state.releases.iter_mut().find(|release| release.version == version).expect("there");
    release.images[0].facts = Some(Arc::new(Facts { security_counter: Some(counter), ..Facts::default() }));
}

/// What a promotion of the version would be refused for; it is not stored yet.
fn judged(state: &ProductState, text: &str, change: impl Fn(&mut Image), path: &UpgradePath) -> Vec<String> {
    let mut image = product(&[("0.0.1", &[&[]], false)]).releases.remove(0).images.remove(0);
    change(&mut image);
    let version = version(text);
    let offering = Offering { version: &version, path, channel: &ChannelName::stable(), images: &[&image] };
    let judged = super::super::promote(state, &offering, &Consent::default(), Limits::default());
    judged.err().into_iter().flatten().map(|reason| reason.code.into_owned()).collect()
}

#[test]
fn whichever_is_verified_first_the_channel_ends_the_same() {
    let both = state(&[("0.9.0", 1)], &[("1.0.0", 10), ("1.1.0", 20)]);
    assert_eq!(told(&both, "1.0.0"), "offered beneath [], withdraws 0");
    assert_eq!(told(&both, "1.1.0"), "offered beneath [], withdraws 0");
    let higher_first = state(&[("0.9.0", 1), ("1.1.0", 30)], &[("1.0.0", 10)]);
    assert_eq!(told(&higher_first, "1.0.0"), "offered beneath [\"1.1.0\"], withdraws 0");
    // Offered before it was asked for: no rule would have let it be asked for then.
    let before = state(&[("1.1.0", 5)], &[("1.0.0", 10)]);
    assert_eq!(told(&before, "1.0.0"), "refused: [\"version-not-newer\"]");
}

#[test]
fn a_downgrade_withdraws_what_its_publisher_has_seen_and_is_still_there() {
    let mut state = state(&[("2.0.0", 1), ("3.0.0", 30)], &[("1.0.0", 10)]);
    let (second, third) = (image_of(&state, "2.0.0"), image_of(&state, "3.0.0"));
    let index = waits(&mut state, "1.0.0");
    state.pending[index].withdraw = vec![second];
    assert_eq!(told(&state, "1.0.0"), "offered beneath [\"3.0.0\"], withdraws 1");
    let Opening::Offer(offer) = opened(&state, "1.0.0") else { panic!("offered") };
    assert_eq!(offer.withdraw, [second]);
    // Withdrawn by somebody else since.
    let gone = state.promotions.remove(0);
    state.withdrawn.push(gone);
    assert_eq!(told(&state, "1.0.0"), "offered beneath [\"3.0.0\"], withdraws 0");

    let stable = ChannelName::stable();
    assert_eq!(overtaken(&state, &stable, &[second]), [image_of(&state, "1.0.0")]);
    assert!(overtaken(&state, &stable, &[third]).is_empty());
    assert!(overtaken(&state, &ChannelName::parse("beta").expect("valid"), &[second]).is_empty());
}

#[test]
fn what_was_recalled_or_removed_meanwhile_is_refused() {
    let mut recalled = state(&[], &[("1.0.0", 10)]);
    recalled.releases[0].recall = Some(Recall { at: at(20), reason: "bad".into(), replacement: None });
    assert_eq!(told(&recalled, "1.0.0"), "refused: [\"version-recalled\"]");
    let mut removed = state(&[], &[("1.0.0", 10)]);
    removed.releases[0].images[0].removed_at = Some(at(20));
    assert_eq!(told(&removed, "1.0.0"), "refused: [\"release-removed\"]");
    let other = state(&[], &[("1.0.0", 10)]);
    let of = |at| open(&other, &version("1.0.0"), (&ChannelName::stable(), at), Limits::default());
    assert!(of(at(10)).is_some() && of(at(11)).is_none(), "asked for anew");
}

#[test]
fn counters_that_devices_have_seen_meanwhile_count() {
    let mut state = state(&[("1.1.0", 30)], &[("1.0.0", 10)]);
    counted(&mut state, "1.0.0", 1);
    counted(&mut state, "1.1.0", 2);
    assert_eq!(told(&state, "1.0.0"), "offered beneath [\"1.1.0\"], withdraws 0", "those stay above it");
    state.releases[0].recall = Some(Recall { at: at(40), reason: "bad".into(), replacement: None });
    assert_eq!(told(&state, "1.0.0"), "refused: [\"security-counter-lower\"]");
}

#[test]
fn a_step_that_waits_itself_is_waited_for() {
    let mut both = state(&[("0.9.0", 1)], &[("1.0.0", 10), ("1.1.0", 20)]);
    both.releases[2].upgrade_from = Some(version("1.0.0"));
    assert!(told(&both, "1.1.0").starts_with("waits: it waits until what was promoted before"));
    assert!(told(&both, "1.1.0").contains("could not reach 1.1.0"));
    assert_eq!(told(&both, "1.0.0"), "offered beneath [], withdraws 0");
    // The step has ended: nothing is left to wait for.
    both.pending.remove(0);
    assert_eq!(told(&both, "1.1.0"), "refused: [\"strands-devices\"]");
    both.pending[0].allow_stranding = true;
    assert_eq!(told(&both, "1.1.0"), "offered beneath [], withdraws 0", "as it was confirmed then");
}

#[test]
fn a_floor_goes_first() {
    let mut both = state(&[("0.9.0", 1)], &[("1.0.0", 10), ("1.1.0", 20)]);
    both.releases[1].floor = true;
    assert!(told(&both, "1.1.0").contains("until 1.0.0 is offered"), "{}", told(&both, "1.1.0"));
    assert_eq!(told(&both, "1.0.0"), "offered beneath [], withdraws 0");
    both.pending[0].channel = ChannelName::parse("beta").expect("valid");
    assert_eq!(told(&both, "1.1.0"), "offered beneath [], withdraws 0", "on another channel");
}

#[test]
fn what_waits_counts_when_another_is_judged() {
    let none = UpgradePath::default();
    let mut waiting = state(&[("0.9.0", 1)], &[("1.0.0", 10)]);
    assert_eq!(judged(&waiting, "0.9.5", |_| (), &none), ["version-not-newer"]);
    counted(&mut waiting, "1.0.0", 5);
    let with = |counter| {
        move |image: &mut Image| {
            let facts = Facts { security_counter: Some(counter), ..Facts::default() };
            image.facts = Some(Arc::new(facts));
        }
    };
    assert_eq!(judged(&waiting, "1.1.0", with(4), &none), ["security-counter-lower"]);
    assert!(judged(&waiting, "1.1.0", with(5), &none).is_empty());
    // Devices at 0.9.0 get to 1.0.0, as soon as it is offered.
    let from = |text| UpgradePath { floor: false, upgrade_from: Some(version(text)) };
    assert!(judged(&waiting, "1.1.0", with(5), &from("1.0.0")).is_empty());
    assert_eq!(judged(&waiting, "1.1.0", with(5), &from("1.0.5")), ["strands-devices"]);
}
