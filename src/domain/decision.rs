//! A check's outcome, with its reason.
//!
//! Pure and synchronous: question and snapshot in, decision out. It knows no wire format; every protocol
//! asks the same question here and renders the same decision.

use super::{Offer, ProductOffers, Rhythm, Snapshot, Version, offers::Nothing};

/// What a device states of itself. Names are texts here: a lookup needs no copy of them.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The product's slug.
    pub product: &'a str,
    /// The version that the device runs.
    pub version: &'a Version,
    /// Its board, if it says so.
    pub hardware: Option<&'a str>,
    /// The channel that it follows.
    pub channel: &'a str,
}

/// What a device is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<'a> {
    /// There is newer firmware for it, or the version that it runs was recalled and this replaces it.
    Update(Offer<'a>),
    /// It runs what the channel offers, or something newer.
    UpToDate,
    /// The channel has nothing for its hardware.
    NothingForHardware,
    /// No such product.
    UnknownProduct,
    /// The product has no such channel.
    UnknownChannel,
}

/// The answer to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<'a> {
    /// What.
    pub decision: Decision<'a>,
    /// When to ask again, as product and channel set it.
    pub rhythm: Rhythm,
}

/// Decides what the device is told. A replacement of a recalled version that it runs goes before what the channel offers.
pub fn decide<'a>(snapshot: &'a Snapshot, question: &Question<'_>) -> Decision<'a> {
    tell(snapshot, question).decision
}

/// As [`decide`], with when to ask again.
pub fn tell<'a>(snapshot: &'a Snapshot, question: &Question<'_>) -> Told<'a> {
    match snapshot.product(question.product) {
        None => Told { decision: Decision::UnknownProduct, rhythm: Rhythm::default() },
        Some(product) => tell_in(product, question),
    }
}

/// The same in the product that the question names.
pub fn tell_in<'a>(product: &'a ProductOffers, question: &Question<'_>) -> Told<'a> {
    let Some(channel) = product.channel(question.channel) else {
        return Told { decision: Decision::UnknownChannel, rhythm: Rhythm::default() };
    };
    let decision = match product.replacement(question.version, question.hardware) {
        Some(replacement) => Decision::Update(replacement),
        None => match channel.offer(question.hardware, question.version) {
            Ok(Some(offer)) => Decision::Update(offer),
            Ok(None) => Decision::UpToDate,
            Err(Nothing) => Decision::NothingForHardware,
        },
    };
    Told { decision, rhythm: channel.rhythm() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Revision, snapshot::tests::product};

    /// The version that is offered, or why none is.
    fn ask(version: &str, hardware: Option<&str>) -> Result<String, Decision<'static>> {
        let state = product(&[("1.4.0", &[&["a"]], false), ("2.0.0-rc.1", &[&["b"]], false)]);
        let snapshot = Snapshot::default().with(Revision(1), &[state]);
        let version = Version::parse_reported(version).expect("valid");
        let question = Question { product: "thermo-x", version: &version, hardware, channel: "stable" };
        match decide(&snapshot, &question) {
            Decision::Update(offer) => Ok(offer.version().to_owned()),
            Decision::UpToDate => Err(Decision::UpToDate),
            Decision::NothingForHardware => Err(Decision::NothingForHardware),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_higher_version_is_an_update() {
        assert_eq!(ask("1.3.9", Some("a")).as_deref(), Ok("1.4.0"));
        assert_eq!(ask("1.4.0-rc.1", Some("a")).as_deref(), Ok("1.4.0"));
        assert_eq!(ask("1.4.0", Some("a")), Err(Decision::UpToDate));
        assert_eq!(ask("1.4.0+local", Some("a")), Err(Decision::UpToDate));
        assert_eq!(ask("1.4.1", Some("a")), Err(Decision::UpToDate));
        assert_eq!(ask("1.9.0", Some("b")).as_deref(), Ok("2.0.0-rc.1"));
        assert_eq!(ask("2.0.0", Some("b")), Err(Decision::UpToDate));
    }

    #[test]
    fn a_device_takes_no_image_of_other_hardware() {
        assert_eq!(ask("1.0.0", Some("c")), Err(Decision::NothingForHardware));
        assert_eq!(ask("1.0.0", None), Err(Decision::NothingForHardware));
    }

    #[test]
    fn a_replacement_goes_before_the_channels_offer() {
        let mut state =
            product(&[("1.0.0", &[&[]], false), ("2.0.0", &[&[]], true), ("3.0.0", &[&[]], false)]);
        state.releases[1].recall.as_mut().expect("recalled").replacement =
            Some(state.releases[0].version.clone());
        let snapshot = Snapshot::default().with(Revision(1), &[state]);
        let told = |running: &str| {
            let version = Version::parse(running).expect("valid");
            let question =
                Question { product: "thermo-x", version: &version, hardware: None, channel: "stable" };
            match decide(&snapshot, &question) {
                Decision::Update(offer) => offer.version().to_owned(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            (told("2.0.0"), told("1.0.0"), told("2.0.1")),
            ("1.0.0".into(), "3.0.0".into(), "3.0.0".into())
        );
    }

    #[test]
    fn what_is_unknown_is_said() {
        let version = Version::parse("1.0.0").expect("valid");
        let mut question =
            Question { product: "other", version: &version, hardware: None, channel: "stable" };
        let snapshot = Snapshot::default().with(Revision(1), &[product(&[])]);
        assert_eq!(decide(&snapshot, &question), Decision::UnknownProduct);
        question.product = "thermo-x";
        assert_eq!(decide(&snapshot, &question), Decision::NothingForHardware);
        question.channel = "beta";
        assert_eq!(decide(&snapshot, &question), Decision::UnknownChannel);
    }
}
