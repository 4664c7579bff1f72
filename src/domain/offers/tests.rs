//! What a device is offered, by the packed form; the rule itself is tested with the ladder.

use chrono::DateTime;

use super::*;
use crate::domain::{
    CacheLifetime, ChannelName, PollInterval, ProductState,
    ladder::{choose, ladder},
    snapshot::tests::product,
};

fn version(text: &str) -> Version {
    Version::parse(text).expect("valid")
}

fn offered_to(state: &ProductState, running: &str, hardware: Option<&str>) -> Option<(String, String)> {
    let offers = ProductOffers::of(state);
    let offer = offers.channel("stable")?.offer(hardware, &version(running)).ok()??;
    Some((offer.version().to_owned(), offer.filename().to_owned()))
}

fn offered(state: &ProductState, hardware: Option<&str>) -> Option<(String, String)> {
    offered_to(state, "0.0.1", hardware)
}

#[test]
fn the_highest_version_that_fits_the_hardware_is_offered() {
    let state = product(&[
        ("1.0.0", &[&[]], false),
        ("1.2.0", &[&["a"], &["b", "c"]], false),
        ("1.10.0", &[&["a"]], false),
    ]);
    let is = |hardware, version: &str, file: &str| {
        assert_eq!(offered(&state, hardware), Some((version.into(), file.into())));
    };
    is(Some("a"), "1.10.0", "0.bin");
    is(Some("b"), "1.2.0", "1.bin");
    is(Some("unheard-of"), "1.0.0", "0.bin");
    is(None, "1.0.0", "0.bin");
}

#[test]
fn an_image_that_names_the_hardware_wins_within_a_release_whatever_the_order() {
    for images in [[&[] as &[&str], &["a"]], [&["a"] as &[&str], &[]]] {
        let state = product(&[("1.0.0", &images, false)]);
        let named = images.iter().position(|hardware| !hardware.is_empty()).expect("one is");
        let file = format!("{named}.bin");
        assert_eq!(offered(&state, Some("a")), Some(("1.0.0".into(), file)));
    }
}

#[test]
fn a_recalled_release_is_not_offered_and_the_one_before_is() {
    let state = product(&[("1.0.0", &[&[]], false), ("2.0.0", &[&[], &["a"]], true)]);
    assert_eq!(offered(&state, None), Some(("1.0.0".into(), "0.bin".into())));
    assert_eq!(offered(&state, Some("a")), Some(("1.0.0".into(), "0.bin".into())));
    let all_recalled = product(&[("2.0.0", &[&[]], true)]);
    assert_eq!(offered(&all_recalled, None), None);
}

#[test]
fn an_image_that_is_not_promoted_is_not_offered() {
    let mut state = product(&[("1.0.0", &[&[]], false), ("2.0.0", &[&[]], false)]);
    state.promotions.pop();
    assert_eq!(offered(&state, None), Some(("1.0.0".into(), "0.bin".into())));
}

#[test]
fn a_removed_image_is_not_offered_and_replaces_nothing() {
    let mut state =
        product(&[("1.0.0", &[&[]], false), ("2.0.0", &[&["a"], &[]], false), ("3.0.0", &[&[]], true)]);
    state.releases[2].recall.as_mut().expect("recalled").replacement = Some(version("2.0.0"));
    let replacement = |state: &ProductState, hardware| {
        let offers = ProductOffers::of(state);
        offers.replacement(&version("3.0.0"), hardware).map(|offer| offer.filename().to_owned())
    };
    assert_eq!(offered(&state, Some("a")), Some(("2.0.0".into(), "0.bin".into())));
    assert_eq!(replacement(&state, Some("a")).as_deref(), Some("0.bin"));
    state.releases[1].images[0].removed_at = Some(DateTime::UNIX_EPOCH);
    assert_eq!(offered(&state, Some("a")), Some(("2.0.0".into(), "1.bin".into())));
    assert_eq!(replacement(&state, Some("a")).as_deref(), Some("1.bin"));
    state.releases[1].images[1].removed_at = Some(DateTime::UNIX_EPOCH);
    assert_eq!(offered(&state, Some("a")), Some(("1.0.0".into(), "0.bin".into())));
    assert_eq!(replacement(&state, None), None);
}

#[test]
fn every_product_has_the_stable_channel() {
    let offers = ProductOffers::of(&product(&[]));
    let stable = offers.channel("stable").expect("always there");
    assert!(stable.all().is_empty() && stable.offer(None, &version("1.0.0")).is_err());
    assert!(offers.channel("beta").is_none());
}

#[test]
fn an_offer_keeps_all_that_the_image_is() {
    let mut state = product(&[("1.0.0-rc.1", &[&["b", "a"]], false)]);
    state.releases[0].notes = Some("fixes \"it\"".into());
    let offers = ProductOffers::of(&state);
    assert_eq!(offers.name(), "thermo-x");
    let all = offers.channel("stable").expect("there").all();
    assert_eq!(all.iter().map(|(hardware, _)| *hardware).collect::<Vec<_>>(), [Some("a"), Some("b")]);
    let offer = all[0].1;
    let image = &state.releases[0].images[0];
    assert_eq!((offer.size(), offer.created_at()), (image.size, image.created_at));
    assert_eq!(
        (offer.sha256(), offer.sha1(), offer.md5()),
        (&image.digests.sha256[..], &image.digests.sha1[..], &image.digests.md5[..])
    );
    assert_eq!((offer.version(), offer.filename()), ("1.0.0-rc.1", "0.bin"));
    assert_eq!(offer.key(), "thermo-x/1.0.0-rc.1/0.bin");
    assert_eq!(offer.hardware().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(offer.notes(), "fixes \"it\"");
    let object: serde_json::Value =
        serde_json::from_slice(&[b"{", offer.members(), b"}"].concat()).expect("JSON");
    assert_eq!(object["notes"], "fixes \"it\"");
    assert_eq!(object["sha1"], hex::encode([2; 20]));
    let copy = ProductOffers::from_bytes(offers.as_bytes());
    assert_eq!(copy, offers);
}

#[test]
fn floors_and_needs_hold_in_the_packed_form() {
    let mut state = product(&[
        ("1.0.0", &[&[]], false),
        ("2.0.0", &[&[], &["a"]], false),
        ("3.0.0", &[&[]], false),
        ("4.0.0", &[&[]], false),
    ]);
    state.releases[1].floor = true;
    state.releases[3].upgrade_from = Some(version("3.0.0"));
    let is = |running, hardware, expected: Option<&str>| {
        let offered = offered_to(&state, running, hardware).map(|(version, _)| version);
        assert_eq!(offered.as_deref(), expected, "{running} on {hardware:?}");
    };
    is("0.9.0", None, Some("2.0.0"));
    is("1.0.0", Some("a"), Some("2.0.0"));
    is("2.0.0", None, Some("3.0.0"));
    is("2.5.0", Some("a"), Some("3.0.0"));
    is("3.0.0", None, Some("4.0.0"));
    is("4.0.0", None, None);
}

#[test]
fn a_recalled_version_may_name_where_to_go_also_down_and_through_another_recall() {
    let mut state = product(&[
        ("1.0.0", &[&[], &["a"]], false),
        ("2.0.0", &[&[]], true),
        ("3.0.0", &[&[]], true),
        ("4.0.0", &[&[]], true),
    ]);
    state.promotions.clear();
    let mut name = |of: usize, to: &str| {
        state.releases[of].recall.as_mut().expect("recalled").replacement = Some(version(to));
    };
    name(1, "1.0.0");
    name(2, "2.0.0");
    name(3, "4.0.0");
    let offers = ProductOffers::of(&state);
    let goes = |running, hardware| {
        let offer = offers.replacement(&version(running), hardware)?;
        Some((offer.version().to_owned(), offer.filename().to_owned()))
    };
    let is = |file: &str| Some(("1.0.0".to_owned(), file.to_owned()));
    assert_eq!(goes("2.0.0", None), is("0.bin"));
    assert_eq!(goes("2.0.0", Some("a")), is("1.bin"));
    assert_eq!(goes("3.0.0", Some("b")), is("0.bin"));
    assert_eq!(goes("4.0.0", None), None, "a circle leads nowhere");
    assert_eq!(goes("1.0.0", None), None);
}

proptest::proptest! {
    #[test]
    fn the_packed_form_answers_as_the_ladder_does(
        of in proptest::collection::btree_map(
            0u8..12,
            (proptest::bool::ANY, proptest::option::of(0u8..12), 0u8..8, proptest::bool::weighted(0.2)),
            0..8,
        ),
    ) {
        let sets: [&[&[&str]]; 8] =
            [&[&[]], &[&["a"]], &[&["b"]], &[&[], &["a"]], &[&["a"], &["b"]], &[&["a", "b"]], &[&[], &["b"]], &[]];
        let texts: Vec<_> = of.keys().map(|at| format!("1.{}.0{}", at / 2, if at % 2 == 0 { "-rc.1" } else { "" })).collect();
        let releases: Vec<_> =
            texts.iter().zip(of.values()).map(|(text, rest)| (text.as_str(), sets[usize::from(rest.2)], rest.3)).collect();
        let mut state = product(&releases);
        for (release, (floor, from, ..)) in state.releases.iter_mut().zip(of.values()) {
            release.floor = *floor;
            release.upgrade_from = from.map(|from| version(&format!("1.{from}.0")));
        }
        let packed = ProductOffers::of(&state);
        for hardware in [None, Some("a"), Some("b"), Some("c")] {
            let steps = ladder(&state, &ChannelName::stable(), hardware);
            for running in 0..14 {
                let running = version(&format!("1.{}.0{}", running / 2, if running % 2 == 0 { "-rc.1" } else { "" }));
                let expected = choose(&steps, &running).map(|index| {
                    (steps[index].release.version.to_string(), steps[index].image.filename.to_string())
                });
                let offer = packed.channel("stable").expect("there").offer(hardware, &running).ok().flatten();
                let offered = offer.map(|offer| (offer.version().to_owned(), offer.filename().to_owned()));
                proptest::prop_assert_eq!(offered, expected);
            }
        }
    }
}

#[test]
fn a_channels_rhythm_is_its_own_then_the_products() {
    let mut state = product(&[("1.0.0", &[&["a"], &[]], false), ("2.0.0", &[&[]], true)]);
    let rhythm = |state: &ProductState| {
        let packed = ProductOffers::of(state);
        let stable = packed.channel("stable").expect("always there");
        assert_eq!(stable.all().len(), 2);
        assert_eq!(packed.name(), "thermo-x");
        let Rhythm { poll_interval, cache_lifetime } = stable.rhythm();
        (poll_interval.map(PollInterval::get), cache_lifetime.map(CacheLifetime::get))
    };
    assert_eq!(rhythm(&state), (None, None));
    state.product.settings.rhythm = Rhythm {
        poll_interval: PollInterval::new(PollInterval::MOST),
        cache_lifetime: CacheLifetime::new(0),
    };
    assert_eq!(rhythm(&state), (Some(PollInterval::MOST), Some(0)));
    let own = |interval| Rhythm { poll_interval: PollInterval::new(interval), cache_lifetime: None };
    state.product.settings.channels = [(ChannelName::stable(), own(7))].into();
    assert_eq!(rhythm(&state), (Some(7), Some(0)));
    // A channel that nothing was promoted to does not come to be by its settings.
    let beta = ChannelName::parse("beta").expect("valid");
    state.product.settings.channels.insert(beta, own(9));
    assert!(ProductOffers::of(&state).channel("beta").is_none());
}
