//! A check's outcome, with its reason.
//!
//! Pure and synchronous: question and snapshot in, decision out. It knows no wire format; every protocol
//! asks the same question here and renders the same decision.

use std::sync::Arc;

use super::{Offer, Snapshot, Version};

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
pub enum Decision {
    /// There is newer firmware for it.
    Update(Arc<Offer>),
    /// It runs what the channel offers, or something newer.
    UpToDate,
    /// The channel has nothing for its hardware.
    NothingForHardware,
    /// No such product.
    UnknownProduct,
    /// The product has no such channel.
    UnknownChannel,
}

/// Decides what the device is told.
pub fn decide(snapshot: &Snapshot, question: &Question<'_>) -> Decision {
    let Some(product) = snapshot.product(question.product) else {
        return Decision::UnknownProduct;
    };
    let Some(channel) = product.channel(question.channel) else {
        return Decision::UnknownChannel;
    };
    match channel.offer(question.hardware) {
        None => Decision::NothingForHardware,
        Some(offer) if offer.version > *question.version => Decision::Update(Arc::clone(offer)),
        Some(_) => Decision::UpToDate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Revision, snapshot::tests::product};

    fn ask(version: &str, hardware: Option<&str>) -> Decision {
        let state = product(&[("1.4.0", &[&["a"]], false), ("2.0.0-rc.1", &[&["b"]], false)]);
        let snapshot = Snapshot::default().with(Revision(1), &[state]);
        let version = Version::parse_reported(version).expect("valid");
        let question = Question { product: "thermo-x", version: &version, hardware, channel: "stable" };
        decide(&snapshot, &question)
    }

    #[test]
    fn only_a_higher_version_is_an_update() {
        assert!(matches!(ask("1.3.9", Some("a")), Decision::Update(offer) if offer.size == 1));
        assert!(matches!(ask("1.4.0-rc.1", Some("a")), Decision::Update(_)));
        assert_eq!(ask("1.4.0", Some("a")), Decision::UpToDate);
        assert_eq!(ask("1.4.0+local", Some("a")), Decision::UpToDate);
        assert_eq!(ask("1.4.1", Some("a")), Decision::UpToDate);
        assert!(matches!(ask("1.9.0", Some("b")), Decision::Update(_)));
        assert_eq!(ask("2.0.0", Some("b")), Decision::UpToDate);
    }

    #[test]
    fn a_device_takes_no_image_of_other_hardware() {
        assert_eq!(ask("1.0.0", Some("c")), Decision::NothingForHardware);
        assert_eq!(ask("1.0.0", None), Decision::NothingForHardware);
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
