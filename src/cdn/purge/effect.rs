//! What a change of the catalogue means to what a CDN keeps: images, and answers to checks. Pure.
//!
//! | change | images | answers of the product |
//! |---|---|---|
//! | `release.recall`, also of the replacement alone | deleted: the release's | deleted |
//! | `image.remove` | deleted: those that it names | deleted |
//! | `product.update` that makes the product private | deleted: all of the product | deleted |
//! | `catalogue.rebuild` | deleted: what the product has taken back | deleted |
//! | `release.path` | | deleted |
//! | `channel.promote`, `channel.offer`, `image.publish` that withdraw or lower an offer | | deleted |
//! | `image.publish` that changes the path to a release that was there | | deleted |
//! | the same three without that | | invalidated |
//! | `image.publish` without a channel, to a release that was there | | invalidated |
//! | `release.notes` | | invalidated |
//! | `product.update` of poll interval, cache lifetime, channel settings, access otherwise, kind of link | | invalidated |
//! | `product.update` of anything else, such as limits of URLs, policy or retention | | |
//! | promotions that wait at the gate: their `channel.offer` counts; `channel.refuse` | | |
//! | `image.publish` without a channel, of a new release | | |
//! | `product.create`, `release.security`, `release.attach`, `release.detach` | | |
//! | `product.device-secret`: no cache keeps an answer of a private product | | |
//! | a verb of a newer program | | deleted |
//!
//! Invalidated answers are asked about before they are used again, but are used while the origin is away: that is well
//! for what is merely old. What must not be given out again is deleted.
//!
//! An image that comes to a release that was there can change what is offered though it is promoted nowhere: it may
//! bring notes, make the release a floor, or belong to what replaces a recalled release, which needs no promotion.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::domain::{
    Access, Action, AuditEntry, ChannelName, Delivery, LinkKind, ProductSettings, Rhythm, Version,
    purge::PurgeAction,
};

/// Images of which no edge may have a copy any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Images {
    /// None.
    Keep,
    /// All of the release that the change is about.
    OfRelease,
    /// Those that the audit entry lists.
    Listed,
    /// Those of the product that were recalled or removed.
    TakenBack,
    /// All of the product.
    All,
}

/// Reads settings; `None` = there are none.
pub type Read = fn(&Value) -> Option<ProductSettings>;

/// What a change means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// These are deleted.
    pub images: Images,
    /// This is done to the product's answers; `None` = they stay true.
    pub answers: Option<PurgeAction>,
}

impl Effect {
    const NOTHING: Self = Self::on_answers(None);
    const INVALIDATES: Self = Self::on_answers(Some(PurgeAction::Invalidate));
    const DELETES: Self = Self::on_answers(Some(PurgeAction::Delete));

    const fn on_answers(answers: Option<PurgeAction>) -> Self {
        Self { images: Images::Keep, answers }
    }

    const fn on_images(images: Images) -> Self {
        Self { images, answers: Some(PurgeAction::Delete) }
    }

    /// Of the change that an entry tells of. `read` reads the settings that an entry shows, as the catalogue writes them.
    pub fn of(entry: &AuditEntry, read: Read) -> Self {
        let Some(action) = Action::parse(&entry.action) else { return Self::DELETES };
        match action {
            Action::ReleaseRecall => Self::on_images(Images::OfRelease),
            Action::ImageRemove => Self::on_images(Images::Listed),
            Action::CatalogueRebuild => Self::on_images(Images::TakenBack),
            Action::ReleasePath => Self::DELETES,
            Action::ReleaseNotes => Self::INVALIDATES,
            Action::ProductUpdate => settings(entry, read),
            Action::ImagePublish => published(entry),
            Action::ChannelPromote | Action::ChannelOffer => promoted(entry),
            Action::ProductCreate
            | Action::ProductDeviceSecret
            | Action::ChannelRefuse
            | Action::ReleaseSecurity
            | Action::ReleaseAttach
            | Action::ReleaseDetach => Self::NOTHING,
        }
    }
}

fn promoted(entry: &AuditEntry) -> Effect {
    if entry.details["pending"] == true {
        Effect::NOTHING
    } else if takes_back(entry) {
        Effect::DELETES
    } else {
        Effect::INVALIDATES
    }
}

fn published(entry: &AuditEntry) -> Effect {
    let offers = if entry.channel.is_some() { promoted(entry) } else { Effect::NOTHING };
    // What programs wrote that kept no `before` says nothing of it: then it may have been there.
    if entry.before.get("release").is_some_and(Value::is_null) {
        return offers;
    }
    let path = |state: &Value| ["floor", "upgrade_from"].map(|name| state["release"][name].clone());
    if offers == Effect::DELETES || path(&entry.before) != path(&entry.after) {
        return Effect::DELETES;
    }
    Effect::INVALIDATES
}

/// Whether a promotion ends an offer, but for a higher version's.
fn takes_back(entry: &AuditEntry) -> bool {
    let withdraws = entry.details["withdrawn"].as_array().is_some_and(|images| !images.is_empty());
    let (before, after) = (&entry.before["offers"], &entry.after["offers"]);
    let mut channels = before.as_object().into_iter().flatten();
    withdraws || channels.any(|(channel, offers)| falls(offers, &after[channel]))
}

/// Whether some hardware is offered less than before. Both are offers by hardware, `*` for what no other name covers.
fn falls(before: &Value, after: &Value) -> bool {
    let named = [before, after].into_iter().filter_map(Value::as_object).flat_map(|offers| offers.keys());
    let hardware: BTreeSet<&String> = named.collect();
    let offered = |offers: &Value, hardware: &str| {
        let offer = offers.get(hardware).or_else(|| offers.get("*"))?;
        let version = Version::parse(offer["version"].as_str()?).ok()?;
        Some((version, offer["sha256"].clone()))
    };
    hardware.into_iter().any(|hardware| match (offered(before, hardware), offered(after, hardware)) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some((old, old_bytes)), Some((new, new_bytes))) => new < old || new == old && new_bytes != old_bytes,
    })
}

fn settings(entry: &AuditEntry, read: Read) -> Effect {
    let (before, after) = (read(&entry.before), read(&entry.after));
    let (before, after) = (before.as_ref(), after.as_ref());
    let is_private =
        |settings: Option<&ProductSettings>| settings.is_some_and(|settings| settings.delivery.is_private());
    if is_private(after) && !is_private(before) {
        return Effect::on_images(Images::All);
    }
    match (before, after) {
        (Some(before), Some(after)) if told(before) == told(after) => Effect::NOTHING,
        _ => Effect::INVALIDATES,
    }
}

/// What of a product's settings its answers depend on. It names every setting, so that a new one does not compile before
/// it was decided.
fn told(
    settings: &ProductSettings,
) -> (Rhythm, &BTreeMap<ChannelName, Rhythm>, Option<Access>, bool, LinkKind) {
    let ProductSettings {
        rhythm,
        channels,
        delivery,
        hardware: _,
        max_image_bytes: _,
        policy: _,
        support_end: _,
        retention: _,
    } = settings;
    // Limits of URLs refuse a publish, and change no link; nor does it that there were short ones.
    let Delivery { access, authenticate_devices, link, had_short_links: _, url: _ } = delivery;
    (*rhythm, channels, *access, *authenticate_devices, *link)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{catalogue::shown_settings, cdn::purge::plan::tests::entry};

    const NOTHING: Effect = Effect::NOTHING;
    const INVALIDATES: Effect = Effect::INVALIDATES;
    const DELETES: Effect = Effect::DELETES;

    fn of(action: Action, channel: Option<&str>, details: Value, before: Value, after: Value) -> Effect {
        let entry = AuditEntry { details, before, after, ..entry(action.as_str(), channel) };
        Effect::of(&entry, shown_settings)
    }

    fn plain(action: Action) -> Effect {
        Effect::of(&entry(action.as_str(), None), shown_settings)
    }

    #[test]
    fn what_is_taken_back_is_deleted() {
        for (action, images) in [
            (Action::ReleaseRecall, Images::OfRelease),
            (Action::ImageRemove, Images::Listed),
            (Action::CatalogueRebuild, Images::TakenBack),
        ] {
            assert_eq!(plain(action), Effect { images, answers: Some(PurgeAction::Delete) }, "{action}");
        }
        assert_eq!(plain(Action::ReleasePath), DELETES, "a floor holds devices back");
        assert_eq!(
            Effect::of(&entry("release.yank", None), shown_settings),
            DELETES,
            "nobody knows what it does"
        );
    }

    #[test]
    fn what_no_answer_tells_purges_nothing() {
        for action in [
            Action::ProductCreate,
            Action::ProductDeviceSecret,
            Action::ReleaseSecurity,
            Action::ReleaseAttach,
            Action::ReleaseDetach,
        ] {
            assert_eq!(plain(action), NOTHING, "{action}");
        }
        assert_eq!(plain(Action::ReleaseNotes), INVALIDATES);
    }

    /// Offers of `stable` by hardware.
    fn offers(each: &[(&str, &str)]) -> Value {
        let offers = each.iter().map(|(hardware, version)| {
            ((*hardware).to_owned(), json!({"version": version, "sha256": format!("of {version}")}))
        });
        json!({"offers": {"stable": Value::Object(offers.collect())}})
    }

    #[test]
    fn a_promotion_invalidates_and_one_that_lowers_an_offer_deletes() {
        for action in [Action::ChannelPromote, Action::ChannelOffer] {
            let of = |details: Value, before: &[(&str, &str)], after: &[(&str, &str)]| {
                of(action, Some("stable"), details, offers(before), offers(after))
            };
            let nothing = || json!({});
            assert_eq!(of(nothing(), &[], &[("*", "1.0.0")]), INVALIDATES);
            assert_eq!(of(nothing(), &[("*", "1.9.0")], &[("*", "1.10.0")]), INVALIDATES);
            assert_eq!(
                of(nothing(), &[("*", "1.0.0")], &[("*", "1.0.0"), ("a", "2.0.0")]),
                INVALIDATES,
                "some hardware has an image of its own"
            );
            assert_eq!(of(json!({"withdrawn": []}), &[], &[]), INVALIDATES);
            assert_eq!(of(json!({"withdrawn": ["id"]}), &[], &[]), DELETES);
            assert_eq!(of(nothing(), &[("*", "1.10.0")], &[("*", "1.9.0")]), DELETES);
            assert_eq!(of(nothing(), &[("*", "1.10.0")], &[]), DELETES);
            assert_eq!(
                of(nothing(), &[("*", "2.0.0")], &[("*", "2.0.0"), ("a", "1.0.0")]),
                DELETES,
                "hardware that `*` covered is offered less"
            );
            assert_eq!(
                of(json!({"pending": true, "withdrawn": ["id"]}), &[("*", "2.0.0")], &[("*", "2.0.0")]),
                NOTHING
            );
        }
        let mut other_bytes = offers(&[("*", "1.0.0")]);
        other_bytes["offers"]["stable"]["*"]["sha256"] = "other".into();
        assert_eq!(
            of(Action::ChannelOffer, Some("stable"), Value::Null, offers(&[("*", "1.0.0")]), other_bytes),
            DELETES
        );
        assert_eq!(plain(Action::ChannelOffer), INVALIDATES, "of a program that kept no before and after");
    }

    #[test]
    fn a_publish_changes_answers_if_it_offers_or_changes_what_was_there() {
        let publish = |channel: Option<&str>, details: Value, before: Value, after: Value| {
            of(Action::ImagePublish, channel, details, json!({"release": before}), json!({"release": after}))
        };
        let release = |floor: bool| json!({"version": "1.0.0", "floor": floor, "upgrade_from": null});
        assert_eq!(publish(None, json!({}), Value::Null, release(true)), NOTHING);
        assert_eq!(publish(Some("stable"), json!({}), Value::Null, release(true)), INVALIDATES);
        assert_eq!(publish(Some("stable"), json!({"pending": true}), Value::Null, release(false)), NOTHING);
        // It may have brought notes, or an image for a replacement.
        assert_eq!(publish(None, json!({}), release(false), release(false)), INVALIDATES);
        assert_eq!(
            publish(Some("stable"), json!({"pending": true}), release(false), release(false)),
            INVALIDATES
        );
        assert_eq!(publish(None, json!({}), release(false), release(true)), DELETES);
        let lowest = json!({"version": "1.0.0", "floor": false, "upgrade_from": "0.9.0"});
        assert_eq!(publish(Some("beta"), json!({"pending": true}), release(false), lowest), DELETES);
        assert_eq!(
            publish(Some("beta"), json!({"withdrawn": ["id"]}), release(false), release(false)),
            DELETES
        );
        assert_eq!(plain(Action::ImagePublish), INVALIDATES, "of a program that kept no before and after");
    }

    /// In the form of the audit log (`catalogue::stored::product`).
    #[test]
    fn settings_that_answers_tell_invalidate_and_privacy_deletes() {
        let update =
            |before: Value, after: Value| of(Action::ProductUpdate, None, Value::Null, before, after);
        let none = || json!({});
        for told in [
            json!({"poll_interval": "5m"}),
            json!({"cache_lifetime": "30s"}),
            json!({"channel_settings": {"beta": {"poll_interval": "5m"}}}),
            json!({"delivery": {"access": "public"}}),
            json!({"delivery": {"link": "short"}}),
        ] {
            assert_eq!(update(none(), told.clone()), INVALIDATES, "{told}");
            assert_eq!(update(told.clone(), none()), INVALIDATES, "{told}");
            assert_eq!(update(told.clone(), told), NOTHING);
        }
        for untold in [
            json!({"hardware": ["a"]}),
            json!({"max_image_bytes": 5}),
            json!({"policy": {"formats": ["raw"]}}),
            json!({"support_end": "2030-01-01"}),
            json!({"retention": {"keep_newest": 5}}),
            json!({"delivery": {"max_length": 64}}),
        ] {
            assert_eq!(update(none(), untold.clone()), NOTHING, "{untold}");
        }
        let all = Effect { images: Images::All, answers: Some(PurgeAction::Delete) };
        let private = || json!({"delivery": {"access": "private"}});
        assert_eq!(update(none(), private()), all);
        assert_eq!(update(json!({"delivery": {"access": "public"}}), private()), all);
        assert_eq!(update(private(), json!({"delivery": {"access": "public"}})), INVALIDATES);
        assert_eq!(update(private(), private()), NOTHING);
        // Of a program that kept no before and after.
        assert_eq!(of(Action::ProductUpdate, None, Value::Null, Value::Null, private()), all);
        assert_eq!(of(Action::ProductUpdate, None, Value::Null, Value::Null, Value::Null), INVALIDATES);
    }
}
