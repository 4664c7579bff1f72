use proptest::prelude::*;

use super::*;
use crate::domain::{
    Decision, Question, Revision, Security, Severity, Snapshot, decide, snapshot::tests::product,
};

fn version(text: &str) -> Version {
    Version::parse(text).expect("valid")
}

fn keeping(state: &mut ProductState, newest: u32) {
    state.product.settings.retention.keep_newest = NonZeroU32::new(newest);
}

fn codes(state: &ProductState, running: &[&str]) -> Vec<(String, Vec<&'static str>)> {
    let running = running.iter().map(|&text| text.to_owned()).collect();
    let fates = judge(state, &running, DateTime::UNIX_EPOCH);
    fates.iter().map(|fate| (fate.version.to_string(), fate.keep.iter().map(Keep::code).collect())).collect()
}

fn gone(state: &ProductState) -> Vec<String> {
    codes(state, &[]).into_iter().filter(|(_, keep)| keep.is_empty()).map(|(version, _)| version).collect()
}

/// Six releases, all promoted to `stable`, stored in the order of their versions, a day apart.
fn six() -> ProductState {
    let all: &[&[&str]] = &[&[]];
    let mut state = product(&[
        ("1.0.0", all, false),
        ("1.1.0", all, false),
        ("1.2.0", all, false),
        ("1.3.0", all, false),
        ("1.4.0", all, false),
        ("1.5.0", all, false),
    ]);
    for (index, release) in state.releases.iter_mut().enumerate() {
        release.created_at = DateTime::UNIX_EPOCH + Days::new(index as u64);
    }
    state
}

#[test]
fn everything_is_kept_unless_it_is_said_otherwise() {
    assert!(codes(&six(), &[]).iter().all(|(_, keep)| keep == &["keep-everything"]));
}

#[test]
fn the_newest_stay_and_the_rest_goes() {
    let mut state = six();
    keeping(&mut state, 2);
    assert_eq!(gone(&state), ["1.3.0", "1.2.0", "1.1.0", "1.0.0"]);
    let kept = codes(&state, &[]);
    assert_eq!(kept[0], ("1.5.0".to_owned(), vec!["highest", "stored-last", "offered"]));
    assert_eq!(kept[1], ("1.4.0".to_owned(), vec!["highest", "stored-last", "fallback"]));
    // What was stored last stays too, for an old line.
    state.releases[0].created_at = DateTime::UNIX_EPOCH + Days::new(30);
    assert_eq!(gone(&state), ["1.3.0", "1.2.0", "1.1.0"]);
    assert_eq!(codes(&state, &["1.2.0"])[3], ("1.2.0".to_owned(), vec!["running"]));
}

#[test]
fn what_devices_need_stays() {
    let mut state = six();
    keeping(&mut state, 1);
    state.releases[2].floor = true;
    state.releases[5].upgrade_from = Some(version("1.3.0"));
    // Devices below the floor go to it; those from there on to 1.4.0, which takes them to 1.5.0.
    assert_eq!(gone(&state), ["1.3.0", "1.1.0", "1.0.0"]);
    // A channel that lags behind keeps what it offers.
    let beta = ChannelName::parse("beta").expect("valid");
    state.promotions[1].channel = beta;
    assert_eq!(gone(&state), ["1.3.0", "1.0.0"]);
}

#[test]
fn a_recalled_release_goes_and_its_replacement_stays() {
    let mut state = six();
    keeping(&mut state, 1);
    let at = DateTime::UNIX_EPOCH;
    let recall =
        |to: &str| crate::domain::Recall { at, reason: "bad".into(), replacement: Some(version(to)) };
    state.releases[3].recall = Some(recall("1.0.0"));
    state.releases[2].recall = Some(recall("1.3.0"));
    state.releases[2].floor = true;
    assert_eq!(gone(&state), ["1.4.0", "1.3.0", "1.2.0", "1.1.0"]);
    let kept = judge(&state, &BTreeSet::new(), at);
    assert_eq!(kept[5].keep, [Keep::Replaces(vec![version("1.2.0"), version("1.3.0")])]);
    assert_eq!(kept[5].keep[0].sentence(), "devices that run 1.2.0, 1.3.0 are sent to it");
}

#[test]
fn security_releases_stay_for_their_time() {
    let mut state = six();
    keeping(&mut state, 1);
    state.releases[0].security = Some(Security { severity: Severity::High, cves: BTreeSet::default() });
    let stays = |state: &ProductState, day: u64| {
        let fates = judge(state, &BTreeSet::new(), DateTime::UNIX_EPOCH + Days::new(day));
        !fates[5].keep.is_empty()
    };
    assert!(stays(&state, 36_500), "for ever");
    state.product.settings.retention.keep_security_for = Some(DayCount(365));
    assert!(stays(&state, 365) && !stays(&state, 366));
}

#[test]
fn days_are_written_with_their_letter() {
    let read =
        |text: &str| serde_json::from_value::<Retention>(serde_json::json!({ "keep_security_for": text }));
    assert_eq!(read("365d").expect("fits").keep_security_for, Some(DayCount(365)));
    for no_days in ["365", "0d", "-1d", "1y", "36501d", ""] {
        assert!(read(no_days).is_err(), "{no_days}");
    }
    assert!(serde_json::from_str::<Retention>(r#"{"keep_newest":0}"#).is_err());
    let mistyped = serde_json::json!({ "keep_newset": 5, "keep_newest": 5 });
    assert_eq!(Retention::unknown_key(&mistyped).as_deref(), Some("retention.keep_newset"));
}

/// All answers that devices of this product can get.
fn answers(state: &ProductState) -> Vec<String> {
    let snapshot = Snapshot::default().with(Revision(1), std::slice::from_ref(state));
    let mut all = Vec::new();
    for channel in ["stable", "beta"] {
        for hardware in [None, Some("a"), Some("b"), Some("c")] {
            for running in 0..14 {
                let running =
                    version(&format!("1.{}.0{}", running / 2, if running % 2 == 0 { "-rc.1" } else { "" }));
                let question = Question { product: "thermo-x", version: &running, hardware, channel };
                all.push(match decide(&snapshot, &question) {
                    Decision::Update(offer) => format!("{offer:?}"),
                    other => format!("{other:?}"),
                });
            }
        }
    }
    all
}

proptest! {
    #[test]
    fn what_goes_is_never_offered_and_every_answer_stays(
        of in proptest::collection::btree_map(
            0u8..12,
            (any::<bool>(), proptest::option::of(0u8..12), 0u8..7, proptest::option::weighted(0.3, 0u8..12), 0u8..4),
            0..10,
        ),
        newest in 1u32..4,
    ) {
        let sets: [&[&[&str]]; 7] =
            [&[&[]], &[&["a"]], &[&["b"]], &[&[], &["a"]], &[&["a"], &["b"]], &[&["a", "b"]], &[&[], &["b"]]];
        let name = |at: u8| format!("1.{}.0{}", at / 2, if at.is_multiple_of(2) { "-rc.1" } else { "" });
        let texts: Vec<_> = of.keys().map(|at| name(*at)).collect();
        let releases: Vec<_> = texts
            .iter()
            .zip(of.values())
            .map(|(text, rest)| (text.as_str(), sets[usize::from(rest.2)], rest.3.is_some()))
            .collect();
        let mut state = product(&releases);
        keeping(&mut state, newest);
        for (release, (floor, from, _, to, channel)) in state.releases.iter_mut().zip(of.values()) {
            release.floor = *floor;
            release.upgrade_from = from.map(|from| version(&format!("1.{from}.0")));
            if let (Some(recall), Some(to)) = (&mut release.recall, to) {
                recall.replacement = Some(version(&name(*to)));
            }
            let ids: Vec<Uuid> = release.images.iter().map(|image| image.id).collect();
            for promotion in state.promotions.iter_mut().filter(|promotion| ids.contains(&promotion.image)) {
                if *channel == 0 {
                    promotion.channel = ChannelName::parse("beta").expect("valid");
                }
            }
            if *channel == 1 {
                state.promotions.retain(|promotion| !ids.contains(&promotion.image));
            }
        }
        let before = answers(&state);
        let at = DateTime::UNIX_EPOCH;
        let going: BTreeSet<Uuid> = judge(&state, &BTreeSet::new(), at)
            .iter()
            .filter(|fate| fate.keep.is_empty())
            .flat_map(|fate| fate.images.iter().map(|image| image.id))
            .collect();
        for image in state.releases.iter_mut().flat_map(|release| &mut release.images) {
            if going.contains(&image.id) {
                image.removed_at = Some(at);
            }
        }
        prop_assert_eq!(answers(&state), before);
        // Doing it again finds nothing more.
        prop_assert!(judge(&state, &BTreeSet::new(), at).iter().all(|fate| !fate.keep.is_empty()));
    }
}
