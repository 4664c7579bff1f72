use super::*;
use crate::domain::snapshot::tests::product;

const LIMITS: Limits = Limits { max_image_bytes: 1000, links: None, tag: None };

fn candidate(version: &str, filename: &str, hardware: &[&str]) -> Candidate {
    Candidate {
        version: Version::parse(version).expect("valid"),
        filename: FileName::parse(filename).expect("valid"),
        hardware: hardware.iter().map(|name| Hardware::parse(name).expect("valid")).collect(),
        channel: None,
        size: None,
        sha256: None,
        path: UpgradePath::default(),
        signature: None,
        consent: Consent::default(),
    }
}

fn arrived(size: u64, byte: u8) -> Arrived {
    Arrived {
        size,
        sha256: [byte; 32],
        report: Arc::new(Report { facts: Facts::of("raw"), ..Report::default() }),
        detached: None,
        at: DateTime::UNIX_EPOCH,
    }
}

fn codes(result: Result<Admission, Refusal>) -> Vec<String> {
    match result {
        Err(Refusal::Rules(reasons)) => reasons.into_iter().map(|r| r.code.into_owned()).collect(),
        other => panic!("no refusal by rules: {other:?}"),
    }
}

/// `1.0.0` with one image for all, `0.bin` of one byte, SHA-256 `[1; 32]`.
fn state() -> ProductState {
    product(&[("1.0.0", &[&[]], false)])
}

#[test]
fn a_new_version_is_admitted() {
    assert_eq!(admit(&state(), &candidate("1.1.0", "0.bin", &[]), LIMITS), Ok(Admission::New));
    let arrived = arrived(5, 9);
    assert_eq!(verify(&state(), &candidate("1.1.0", "0.bin", &[]), &arrived, LIMITS), Ok(Admission::New));
}

#[test]
fn the_same_facts_need_the_bytes_to_be_told_apart() {
    let state = state();
    let id = state.releases[0].images[0].id;
    let mut again = candidate("1.0.0", "0.bin", &[]);
    assert_eq!(admit(&state, &again, LIMITS), Ok(Admission::Occupied(id)));
    again.size = Some(2);
    assert!(matches!(admit(&state, &again, LIMITS), Err(Refusal::Conflict(_))));
    again.size = Some(1);
    again.sha256 = Some([1; 32]);
    assert_eq!(admit(&state, &again, LIMITS), Ok(Admission::Same(id)));
    again.sha256 = Some([7; 32]);
    assert!(matches!(admit(&state, &again, LIMITS), Err(Refusal::Conflict(_))));
    let arrived = |byte| arrived(1, byte);
    again.sha256 = None;
    assert_eq!(verify(&state, &again, &arrived(1), LIMITS), Ok(Admission::Same(id)));
    assert!(matches!(verify(&state, &again, &arrived(2), LIMITS), Err(Refusal::Conflict(_))));
}

#[test]
fn a_file_name_or_hardware_is_used_once_in_a_release() {
    let state = product(&[("1.0.0", &[&["a", "b"]], false)]);
    let conflict = |filename, hardware: &[&str]| {
        matches!(admit(&state, &candidate("1.0.0", filename, hardware), LIMITS), Err(Refusal::Conflict(_)))
    };
    assert!(conflict("0.bin", &["c"]), "same name");
    assert!(conflict("1.bin", &["b", "c"]), "hardware b again");
    assert!(!conflict("1.bin", &["c"]));
    assert!(!conflict("1.bin", &[]), "an image for all beside one that names hardware");
}

#[test]
fn a_removed_image_keeps_its_place_for_ever() {
    let mut state = product(&[("1.0.0", &[&["a"], &["b"]], false)]);
    state.releases[0].images[0].removed_at = Some(DateTime::UNIX_EPOCH);
    let refused = |filename, hardware: &[&str], sha256| {
        let mut again = candidate("1.0.0", filename, hardware);
        (again.size, again.sha256) = (Some(1), Some([sha256; 32]));
        match admit(&state, &again, LIMITS) {
            Err(Refusal::Conflict(message)) => message
                .contains("was removed for good on 1970-01-01: a key is never reused; publish a new version"),
            _ => false,
        }
    };
    assert!(refused("0.bin", &["a"], 1), "also the very same bytes");
    assert!(refused("0.bin", &["c"], 9), "the same name");
    assert!(refused("9.bin", &["a"], 9), "the same hardware");
    assert!(!refused("1.bin", &["b"], 9), "this one was not removed");
    // The bytes themselves may come again, under a new version.
    state.releases[0].images[1].removed_at = Some(DateTime::UNIX_EPOCH);
    let mut again = candidate("1.1.0", "0.bin", &["a"]);
    again.sha256 = Some([1; 32]);
    assert_eq!(admit(&state, &again, LIMITS), Ok(Admission::New));
}

#[test]
fn all_reasons_are_told_at_once() {
    let mut state = product(&[("1.0.0", &[&[]], false), ("2.0.0", &[&["a"]], false)]);
    state.product.settings.hardware = [Hardware::parse("a").expect("valid")].into();
    state.product.settings.max_image_bytes = Some(10);
    let mut bad = candidate("1.5.0", "x.bin", &["a", "q"]);
    bad.channel = Some(ChannelName::stable());
    bad.sha256 = Some([7; 32]);
    let arrived = arrived(11, 1);
    assert_eq!(
        codes(verify(&state, &bad, &arrived, LIMITS)),
        ["digest-mismatch", "image-too-large", "hardware-unknown", "same-bytes", "version-not-newer"]
    );
    bad.size = Some(0);
    bad.sha256 = Some([1; 32]);
    assert_eq!(
        codes(admit(&state, &bad, LIMITS)),
        ["image-empty", "hardware-unknown", "same-bytes", "version-not-newer"]
    );
}

#[test]
fn the_lower_of_both_limits_holds() {
    let mut state = state();
    let mut large = candidate("1.1.0", "0.bin", &[]);
    large.size = Some(1001);
    assert_eq!(codes(admit(&state, &large, LIMITS)), ["image-too-large"]);
    large.size = Some(1000);
    assert_eq!(admit(&state, &large, LIMITS), Ok(Admission::New));
    state.product.settings.max_image_bytes = Some(999);
    assert_eq!(codes(admit(&state, &large, LIMITS)), ["image-too-large"]);
    state.product.settings.max_image_bytes = Some(5000);
    assert_eq!(admit(&state, &large, LIMITS), Ok(Admission::New));
}

#[test]
fn a_forgotten_version_bump_needs_a_word() {
    let arrived = arrived(1, 1);
    let mut twin = candidate("1.1.0", "0.bin", &[]);
    assert_eq!(codes(verify(&state(), &twin, &arrived, LIMITS)), ["same-bytes"]);
    twin.consent.allow_same_bytes = true;
    assert_eq!(verify(&state(), &twin, &arrived, LIMITS), Ok(Admission::New));
}

#[test]
fn a_recalled_version_takes_no_more_images_and_is_not_offered_again() {
    let state = product(&[("1.0.0", &[&[]], true)]);
    assert_eq!(codes(admit(&state, &candidate("1.0.0", "1.bin", &["a"]), LIMITS)), ["version-recalled"]);
    let mut again = candidate("1.0.0", "0.bin", &[]);
    again.sha256 = Some([1; 32]);
    assert!(matches!(admit(&state, &again, LIMITS), Ok(Admission::Same(_))), "a retry is safe");
    again.channel = Some(ChannelName::stable());
    assert_eq!(codes(admit(&state, &again, LIMITS)), ["version-recalled"]);
}

/// What the image says of itself is this.
fn stating(facts: Facts) -> Arrived {
    Arrived { report: Arc::new(Report { facts, ..Report::default() }), ..arrived(100, 9) }
}

/// The codes that refuse a new image of `1.1.0`, and those that only warn.
fn told(state: &ProductState, hardware: &[&str], arrived: &Arrived) -> Vec<String> {
    let judgement = judge(state, &candidate("1.1.0", "0.bin", hardware), Known::Arrived(arrived), LIMITS);
    let refused = match judgement.admission {
        Ok(_) => Vec::new(),
        Err(Refusal::Rules(reasons)) => reasons.into_iter().map(|reason| reason.code.into_owned()).collect(),
        Err(conflict) => panic!("{conflict:?}"),
    };
    let warned = judgement.warnings.into_iter().map(|reason| format!("warns {}", reason.code));
    refused.into_iter().chain(warned).collect()
}

fn with_policy(policy: serde_json::Value) -> ProductState {
    let mut state = product(&[]);
    state.product.settings.policy = serde_json::from_value(policy).expect("fits");
    state
}

#[test]
fn the_declared_version_is_the_one_in_the_image() {
    let says = |text: &str| {
        let mut facts = Facts::of("esp-app");
        facts.set_version(text);
        stating(facts)
    };
    let state = with_policy(serde_json::json!({}));
    assert!(told(&state, &[], &says("v1.1.0+7")).is_empty(), "build metadata does not count");
    assert!(told(&state, &[], &stating(Facts::of("raw"))).is_empty());
    assert_eq!(told(&state, &[], &says("1.2.0")), ["version-mismatch"]);
    assert_eq!(told(&state, &[], &says("build 77")), ["warns version-unreadable"]);
    let state = with_policy(serde_json::json!({"version_pattern": r"^fw-(?P<version>\d+\.\d+\.\d+)"}));
    assert!(told(&state, &[], &says("fw-1.1.0-g1234abc")).is_empty());
    assert_eq!(told(&state, &[], &says("fw-1.0.0")), ["version-mismatch"]);
    assert_eq!(
        told(&state, &[], &says("1.1.0")),
        ["warns version-unreadable"],
        "the pattern overrides the mapping"
    );
    let state = with_policy(serde_json::json!({"rules": {"version-mismatch": "warn"}}));
    assert_eq!(told(&state, &[], &says("1.2.0")), ["warns version-mismatch"]);
    let mut early = Facts::of("esp-app");
    early.set_version("1.2.0");
    let state = product(&[]);
    let judgement = judge(&state, &candidate("1.1.0", "0.bin", &[]), Known::Underway(&early), LIMITS);
    assert_eq!(codes(judgement.admission), ["version-mismatch"], "before the rest has arrived");
}

#[test]
fn the_wrong_boards_image_is_refused() {
    use crate::domain::facts::NameKind::{Chip, Compatible, Product};
    let says = |names: &[(crate::domain::facts::NameKind, &str)]| {
        let mut facts = Facts::of("rauc");
        names.iter().for_each(|(kind, name)| facts.name(*kind, name));
        stating(facts)
    };
    let state = with_policy(serde_json::json!({
        "formats": ["rauc"], "names": {"product": ["thermo"]}, "hardware_names": {"rev-a": ["vendor,thermo-a"]},
    }));
    let fits = says(&[(Product, "thermo"), (Compatible, "vendor,thermo-a"), (Chip, "x")]);
    assert!(told(&state, &["rev-a"], &fits).is_empty());
    assert!(told(&state, &[], &fits).is_empty());
    assert_eq!(told(&state, &["rev-a"], &says(&[(Product, "thermo"), (Compatible, "b")])), ["name-mismatch"]);
    assert_eq!(told(&state, &["rev-b"], &says(&[(Product, "hygro")])), ["name-mismatch"]);
    assert_eq!(told(&state, &["rev-a"], &says(&[])), ["name-mismatch", "name-mismatch"], "nothing is stated");
    assert_eq!(told(&state, &[], &stating(Facts::of("raw"))), ["format-unexpected", "name-mismatch"]);
    let nothing_yet = Facts::of("rauc");
    let judgement =
        judge(&state, &candidate("1.1.0", "0.bin", &["rev-a"]), Known::Underway(&nothing_yet), LIMITS);
    assert_eq!(judgement.admission, Ok(Admission::New), "it may still be stated");
}

#[test]
fn an_image_that_is_not_whole_is_refused_with_all_that_is_wrong() {
    use super::super::inspect::FaultKind::{DigestWrong, Malformed, Padded, Truncated};
    let mut report = Report { facts: Facts::of("mcuboot"), ..Report::default() };
    for kind in [Truncated, Padded, DigestWrong, Malformed] {
        report.fault(kind, "why");
    }
    let broken = Arrived { report: Arc::new(report), ..arrived(100, 9) };
    let all = ["image-truncated", "image-padded", "image-digest-wrong", "image-malformed"];
    assert_eq!(told(&product(&[]), &[], &broken), all);
    let relaxed =
        with_policy(serde_json::json!({"rules": {"image-padded": "off", "image-malformed": "warn"}}));
    assert_eq!(
        told(&relaxed, &[], &broken),
        ["image-truncated", "image-digest-wrong", "warns image-malformed"]
    );
}

#[test]
fn an_image_fits_the_slot_of_each_hardware_that_it_is_for() {
    let state = with_policy(
        serde_json::json!({"slot_bytes": 100, "hardware_slot_bytes": {"small": 50, "large": 200}}),
    );
    let takes = |bytes: Option<u64>| stating(Facts { installed_size: bytes, ..Facts::of("mcuboot") });
    assert!(told(&state, &["other"], &takes(None)).is_empty(), "the file has 100 bytes");
    assert_eq!(told(&state, &["other"], &takes(Some(101))), ["image-over-slot"]);
    assert!(told(&state, &["large"], &takes(Some(200))).is_empty());
    assert_eq!(told(&state, &["large", "small"], &takes(Some(60))), ["image-over-slot"]);
    assert_eq!(told(&state, &[], &takes(Some(51))), ["image-over-slot"], "for all: the smallest");
    assert!(told(&state, &[], &takes(Some(50))).is_empty());
}

#[test]
fn slips_are_told() {
    let state = product(&[("1.0.0", &[&[]], false), ("1.1.0-rc.1", &[&[]], false)]);
    assert_eq!(
        codes(admit(&state, &candidate("1.1.0-RC.1", "0.bin", &[]), LIMITS)),
        ["version-spelled-otherwise"]
    );
    let mut state = product(&[("1.0.0", &[&["a"]], false)]);
    state.releases[0].images[0].filename = FileName::parse("thermo-app-1.0.0.bin").expect("valid");
    let warned = |filename: &str, hardware: &[&str]| {
        let judgement = judge(&state, &candidate("1.1.0", filename, hardware), Known::Declared, LIMITS);
        judgement.warnings.into_iter().map(|reason| reason.code.into_owned()).collect::<Vec<_>>()
    };
    assert!(warned("thermo-app-1.1.0.bin", &["a"]).is_empty());
    assert_eq!(warned("thermo_app-1.1.0.bin", &["a"]), ["file-name-similar"]);
    assert!(warned("thermo_app-1.1.0.bin", &["b"]).is_empty(), "another board's may be named likewise");
    assert!(warned("bootloader.bin", &["a"]).is_empty());
}

#[test]
fn a_release_whose_tag_the_cdn_would_drop_is_refused() {
    let mut state = product(&[]);
    state.product.name = crate::domain::ProductName::parse(&"p".repeat(63)).expect("valid");
    let limits = Limits { tag: Some(TagForm::of("r-{product}-{version}")), ..LIMITS };
    // `r-`, the product, `-`: 66 characters, and so 62 for the version.
    let of_length = |length: usize| candidate(&format!("1.0.0-{}", "a".repeat(length - 6)), "0.bin", &[]);
    assert_eq!(admit(&state, &of_length(62), limits), Ok(Admission::New));
    assert_eq!(codes(admit(&state, &of_length(63), limits)), ["purge-tag-too-long"]);
    assert_eq!(admit(&state, &of_length(63), LIMITS), Ok(Admission::New), "only where purges are by tag");
}
