use std::sync::Arc;

use super::*;
use crate::domain::{Facts, facts::NameKind, snapshot::tests::product};

fn image(hardware: &[&str], facts: Option<Facts>) -> Image {
    let mut image = product(&[("0.0.1", &[hardware], false)]).releases.remove(0).images.remove(0);
    image.facts = facts.map(Arc::new);
    image
}

fn judge(state: &ProductState, version: &str, hardware: &[&[&str]], consent: &Consent) -> Vec<String> {
    judge_facts(state, version, hardware, None, consent)
}

fn judge_facts(
    state: &ProductState,
    version: &str,
    hardware: &[&[&str]],
    facts: Option<Facts>,
    consent: &Consent,
) -> Vec<String> {
    let images: Vec<Image> = hardware.iter().map(|names| image(names, facts.clone())).collect();
    let images: Vec<&Image> = images.iter().collect();
    let version = Version::parse(version).expect("valid");
    let channel = ChannelName::stable();
    let path = UpgradePath::default();
    let offering = Offering { version: &version, path: &path, channel: &channel, images: &images };
    match promote(state, &offering, consent, Limits::default()) {
        Ok(promoted) if promoted.warnings.is_empty() => {
            vec![format!("withdraws {}", promoted.withdraw.len())]
        }
        Ok(promoted) => {
            promoted.warnings.into_iter().map(|reason| format!("warns {}", reason.code)).collect()
        }
        Err(reasons) => reasons.into_iter().map(|reason| reason.code.into_owned()).collect(),
    }
}

fn downgrade(reason: Option<&str>) -> Consent {
    Consent { allow_downgrade: true, reason: reason.map(Into::into), ..Consent::default() }
}

#[test]
fn per_hardware_the_version_may_not_go_down() {
    let state = product(&[("1.4.0", &[&["a"], &["b"]], false), ("1.5.0", &[&["a"]], false)]);
    let none = Consent::default();
    assert_eq!(judge(&state, "1.4.5", &[&["b"]], &none), ["withdraws 0"]);
    assert_eq!(judge(&state, "1.4.5", &[&["a"]], &none), ["version-not-newer"]);
    assert_eq!(judge(&state, "1.3.0", &[&["a", "b"]], &none), ["version-not-newer", "version-not-newer"]);
    assert_eq!(judge(&state, "1.0.0", &[&["c"], &[]], &none), ["withdraws 0"]);
    assert_eq!(judge(&state, "1.5.0", &[&["a"]], &none), ["withdraws 0"], "the same release again");
    assert_eq!(judge(&state, "1.5.0-rc.1", &[&["a"]], &none), ["version-not-newer"]);
}

#[test]
fn an_image_for_all_is_what_other_hardware_is_offered() {
    let state = product(&[("1.4.0", &[&[]], false)]);
    assert_eq!(judge(&state, "1.3.0", &[&["a"]], &Consent::default()), ["version-not-newer"]);
    assert_eq!(judge(&state, "1.5.0", &[&["a"]], &Consent::default()), ["withdraws 0"]);
}

#[test]
fn a_downgrade_needs_a_reason_and_withdraws_what_is_higher() {
    let state = product(&[("1.4.0", &[&["a"]], false), ("1.5.0", &[&["a"]], false)]);
    assert_eq!(judge(&state, "1.3.0", &[&["a"]], &downgrade(None)), ["downgrade-reason-missing"]);
    assert_eq!(judge(&state, "1.3.0", &[&["a"]], &downgrade(Some(" "))), ["downgrade-reason-missing"]);
    assert_eq!(judge(&state, "1.3.0", &[&["a"]], &downgrade(Some("boot loop"))), ["withdraws 2"]);
    assert_eq!(judge(&state, "1.6.0", &[&["a"]], &downgrade(None)), ["withdraws 0"], "no downgrade");
}

#[test]
fn a_downgrade_takes_nothing_from_hardware_that_it_does_not_serve() {
    let state = product(&[("1.4.0", &[&[]], false), ("1.5.0", &[&["a", "b"]], false)]);
    let why = downgrade(Some("boot loop"));
    assert_eq!(judge(&state, "1.3.0", &[&["a"]], &why), ["downgrade-too-wide", "downgrade-too-wide"]);
    assert_eq!(judge(&state, "1.4.5", &[&["a"], &["b"]], &why), ["withdraws 1"]);
    assert_eq!(judge(&state, "1.3.0", &[&["a"], &["b"], &[]], &why), ["withdraws 2"]);
}

#[test]
fn a_recalled_version_is_never_promoted_and_does_not_stand_in_the_way() {
    let state = product(&[("1.4.0", &[&[]], false), ("1.5.0", &[&[]], true)]);
    assert_eq!(judge(&state, "1.5.0", &[&[]], &Consent::default()), ["version-recalled"]);
    assert_eq!(judge(&state, "1.4.1", &[&[]], &Consent::default()), ["withdraws 0"]);
}

#[test]
fn a_maintained_line_goes_on_beside_a_higher_version() {
    let mut state = product(&[("1.2.3", &[&[]], false), ("2.0.0", &[&[]], false)]);
    let none = Consent::default();
    assert_eq!(judge(&state, "1.2.4", &[&[]], &none), ["version-not-newer"]);
    state.product.settings.policy.maintenance = Maintenance::Lines(["1.2".to_owned()].into());
    assert_eq!(judge(&state, "1.2.4", &[&[]], &none), ["withdraws 0"]);
    assert_eq!(judge(&state, "1.2.4", &[&[]], &downgrade(None)), ["withdraws 0"], "nothing is overridden");
    assert_eq!(
        judge(&state, "1.2.2", &[&[]], &none),
        ["version-not-newer"],
        "the line itself does not go down"
    );
    assert_eq!(judge(&state, "1.3.0", &[&[]], &none), ["version-not-newer"], "another line");
    assert_eq!(judge(&state, "1.20.0", &[&[]], &none), ["version-not-newer"], "another line");
    state.product.settings.policy.maintenance = Maintenance::All(true);
    assert_eq!(judge(&state, "1.3.0", &[&[]], &none), ["withdraws 0"]);
    assert_eq!(judge(&state, "1.2.2", &[&[]], &none), ["version-not-newer"]);
}

#[test]
fn pre_releases_stay_on_the_channels_that_take_them() {
    let mut state = product(&[]);
    let none = Consent::default();
    assert_eq!(judge(&state, "1.5.0-rc.1", &[&[]], &none), ["warns pre-release-on-channel"]);
    let policy = &mut state.product.settings.policy;
    policy.pre_release_channels = Some([ChannelName::parse("beta").expect("valid")].into());
    assert_eq!(judge(&state, "1.5.0-rc.1", &[&[]], &none), ["pre-release-on-channel"]);
    assert_eq!(judge(&state, "1.5.0", &[&[]], &none), ["withdraws 0"]);
    let policy = &mut state.product.settings.policy;
    policy.pre_release_channels = Some([ChannelName::stable()].into());
    assert_eq!(judge(&state, "1.5.0-rc.1", &[&[]], &none), ["withdraws 0"]);
}

#[test]
fn a_security_counter_never_goes_down_for_hardware_that_has_seen_it() {
    let counter = |counter| Some(Facts { security_counter: Some(counter), ..Facts::of("mcuboot") });
    let mut state =
        product(&[("1.0.0", &[&["a"]], false), ("1.1.0", &[&["a"]], true), ("1.2.0", &[&["b"]], false)]);
    state.releases[0].images[0].facts = counter(2).map(Arc::new);
    state.releases[1].images[0].facts = counter(4).map(Arc::new);
    state.releases[2].images[0].facts = counter(9).map(Arc::new);
    let none = Consent::default();
    let a: &[&[&str]] = &[&["a"]];
    assert_eq!(
        judge_facts(&state, "2.0.0", a, counter(3), &none),
        ["security-counter-lower"],
        "recalled or not"
    );
    assert_eq!(judge_facts(&state, "2.0.0", a, counter(4), &none), ["withdraws 0"]);
    assert_eq!(judge_facts(&state, "2.0.0", a, None, &none), ["withdraws 0"]);
    let withdrawn = state.promotions.remove(2);
    state.withdrawn.push(withdrawn);
    assert_eq!(judge_facts(&state, "2.0.0", &[&["b"]], counter(5), &none), ["security-counter-lower"]);
}

#[test]
fn what_an_image_names_changes_seldom_and_a_boards_chip_never() {
    let facts = |format: &str, product: &str, chip: &str| {
        let mut facts = Facts::of(format);
        facts.name(NameKind::Product, product);
        facts.name(NameKind::Chip, chip);
        facts
    };
    let mut state = product(&[("1.0.0", &[&[]], false)]);
    let none = Consent::default();
    let judge = |state: &ProductState, new: Facts| judge_facts(state, "1.1.0", &[&[]], Some(new), &none);
    assert_eq!(
        judge(&state, facts("esp-app", "thermo", "ESP32")),
        ["withdraws 0"],
        "the one before was not inspected"
    );
    state.releases[0].images[0].facts = Some(Arc::new(facts("esp-app", "thermo", "ESP32")));
    assert_eq!(judge(&state, facts("esp-app", "thermo", "ESP32")), ["withdraws 0"]);
    assert_eq!(judge(&state, facts("esp-app", "hygro", "ESP32")), ["warns name-changed"]);
    assert_eq!(judge(&state, facts("esp-app", "thermo", "ESP32-C3")), ["chip-changed"]);
    assert_eq!(judge(&state, facts("elf", "thermo", "RISC-V")), ["warns format-changed"]);
    let policy = &mut state.product.settings.policy;
    policy.names.insert(NameKind::Product, ["thermo".to_owned(), "hygro".to_owned()].into());
    policy.formats = ["elf".to_owned(), "esp-app".to_owned()].into();
    assert_eq!(judge(&state, facts("esp-app", "hygro", "ESP32")), ["withdraws 0"]);
    assert_eq!(judge(&state, facts("elf", "thermo", "RISC-V")), ["withdraws 0"]);
}

#[test]
fn a_publish_that_would_strand_devices_names_the_missing_step() {
    let state = product(&[("1.0.0", &[&["a"]], false)]);
    let channel = ChannelName::stable();
    let version = Version::parse("2.0.0").expect("valid");
    let mut path = UpgradePath { floor: false, upgrade_from: Some(Version::parse("1.5.0").expect("valid")) };
    let image = image(&["a"], None);
    let judge = |path: &UpgradePath, consent: &Consent| {
        let offering = Offering { version: &version, path, channel: &channel, images: &[&image] };
        promote(&state, &offering, consent, Limits::default())
    };
    let [reason] = judge(&path, &Consent::default()).expect_err("stranded").try_into().expect("one");
    assert_eq!(reason.code, "strands-devices");
    assert!(reason.message.contains("no step from 1.0.0 to 1.5.0"), "{}", reason.message);
    assert!(judge(&path, &Consent { allow_stranding: true, ..Consent::default() }).is_ok());
    path.upgrade_from = Version::parse("1.0.0").ok();
    path.floor = true;
    assert!(judge(&path, &Consent::default()).is_ok());
}
