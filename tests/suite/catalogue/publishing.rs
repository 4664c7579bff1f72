//! Publishing, promoting, recalling, and what is remembered of it.

use std::{collections::BTreeSet, sync::Arc};

use chrono::SubsecRound;
use firmament::{
    catalogue::{Audit, Catalogue, Reservation, Reserved, Written},
    domain::{Action, ChannelName, Facts, Revision, UpgradePath},
    error::Kind,
};
use serde_json::json;
use uuid::Uuid;

use super::{
    a_time, audit, done, new_image, new_product, promote, promoted, publish, reservation, reserve,
    revision_of, state_of, version,
};

pub async fn an_image_comes_back_exactly(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let new =
        new_image(&reservation(&product, "1.0.0-rc.1", "A_1.bin", &["B", "a"]), Some("n\n'\"ä\u{1F680}"));
    let state = publish(&catalogue, &new, None).await;
    assert_eq!(state, state_of(&catalogue, &product.name).await);
    assert_eq!(state.product.revision.0, product.revision.0 + 1);
    let [release] = state.releases.as_slice() else { panic!("{state:?}") };
    assert_eq!(release.version, version("1.0.0-rc.1"));
    assert_eq!(release.notes, new.notes);
    assert_eq!(release.recall, None);
    let [image] = release.images.as_slice() else { panic!("{release:?}") };
    assert_eq!(image.created_at, a_time().trunc_subsecs(6));
    assert_eq!(*image, firmament::domain::Image { created_at: image.created_at, ..new.image });
    assert!(state.promotions.is_empty());
    assert!(catalogue.reservations().await.expect("works").is_empty(), "publishing ends the reservation");
}

pub async fn a_second_image_joins_the_release(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let first = publish(
        &catalogue,
        &new_image(&reservation(&product, "1.0.0", "a.bin", &["a"]), Some("notes")),
        None,
    )
    .await;
    let second =
        publish(&catalogue, &new_image(&reservation(&product, "1.0.0", "b.bin", &["b"]), None), None).await;
    let [release] = second.releases.as_slice() else { panic!("{second:?}") };
    assert_eq!(release.id, first.releases[0].id);
    assert_eq!(release.created_at, first.releases[0].created_at);
    assert_eq!(release.notes.as_deref(), Some("notes"), "no notes leave those that are there");
    let files: Vec<&str> = release.images.iter().map(|image| image.filename.as_str()).collect();
    assert_eq!(files, ["a.bin", "b.bin"]);
    let third =
        publish(&catalogue, &new_image(&reservation(&product, "1.0.0", "c.bin", &["c"]), Some("new")), None)
            .await;
    assert_eq!(third.releases[0].notes.as_deref(), Some("new"));
    let fourth =
        publish(&catalogue, &new_image(&reservation(&product, "0.9.0", "a.bin", &[]), None), None).await;
    let versions: Vec<String> = fourth.releases.iter().map(|release| release.version.to_string()).collect();
    assert_eq!(versions, ["1.0.0", "0.9.0"], "oldest first");
}

pub async fn publishing_on_old_facts_is_stale_and_keeps_the_reservation(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let new = new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None);
    assert_eq!(reserve(&catalogue, &new.reservation).await, Reserved::Granted);
    let other =
        publish(&catalogue, &new_image(&reservation(&product, "1.0.1", "a.bin", &[]), None), None).await;
    let written = catalogue.publish(&new, None, product.revision, &audit("image.publish")).await;
    assert_eq!(written.expect("works"), Written::Stale);
    assert_eq!(catalogue.revision().await.expect("works"), other.product.revision, "nothing was written");
    assert_eq!(state_of(&catalogue, &product.name).await, other);
    let judged_again = other.product.revision;
    let state = done(catalogue.publish(&new, None, judged_again, &audit("image.publish")).await);
    assert_eq!(state.releases.len(), 2);
}

pub async fn publishing_without_the_reservation_is_lost(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let new = new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None);
    let publish_it = async || {
        catalogue.publish(&new, None, product.revision, &audit("image.publish")).await.expect("works")
    };
    assert_eq!(publish_it().await, Written::Lost, "never reserved");
    let by_other = Reservation { holder: Uuid::now_v7(), ..new.reservation.clone() };
    assert_eq!(reserve(&catalogue, &by_other).await, Reserved::Granted);
    assert_eq!(publish_it().await, Written::Lost, "held by another");
    assert_eq!(catalogue.reservations().await.expect("works"), [(by_other, false)]);
    assert_eq!(catalogue.revision().await.expect("works"), product.revision);
}

pub async fn publishing_promotes_and_withdraws(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let first = new_image(&reservation(&product, "2.0.0", "a.bin", &[]), None);
    let state = publish(&catalogue, &first, Some(&promote("stable", &[first.image.id], &[]))).await;
    assert_eq!(promoted(&state, "stable"), BTreeSet::from([first.image.id]));
    let second = new_image(&reservation(&product, "1.9.0", "a.bin", &[]), None);
    let downgrade = promote("stable", &[second.image.id], &[first.image.id]);
    let state = publish(&catalogue, &second, Some(&downgrade)).await;
    assert_eq!(promoted(&state, "stable"), BTreeSet::from([second.image.id]));
    assert_eq!(state, state_of(&catalogue, &product.name).await);
}

pub async fn promoting_changes_what_a_channel_offers(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mut images = Vec::new();
    for hardware in ["a", "b"] {
        let new = new_image(&reservation(&product, "1.0.0", &format!("{hardware}.bin"), &[hardware]), None);
        publish(&catalogue, &new, None).await;
        images.push(new.image.id);
    }
    let judged_at = revision_of(&catalogue, &product.name).await;
    let to_beta = promote("beta", &images, &[]);
    let state = done(catalogue.promote(&product.name, &to_beta, judged_at, &audit("channel.promote")).await);
    assert_eq!(promoted(&state, "beta"), images.iter().copied().collect());
    assert!(promoted(&state, "stable").is_empty());
    let stale = catalogue.promote(&product.name, &to_beta, judged_at, &audit("channel.promote")).await;
    assert_eq!(stale.expect("works"), Written::Stale);

    let judged_at = state.product.revision;
    let again = promote("beta", &images[..1], &images[1..]);
    let after = done(catalogue.promote(&product.name, &again, judged_at, &audit("channel.promote")).await);
    let [promotion] = after.promotions.as_slice() else { panic!("{after:?}") };
    assert!(state.promotions.contains(promotion), "what is promoted stays as it is, with its time");

    let unknown = super::product_name("unknown");
    let stale = catalogue.promote(&unknown, &again, Revision(1), &audit("channel.promote")).await;
    assert_eq!(stale.expect("works"), Written::Stale);
}

pub async fn promoting_an_unknown_image_fails_and_changes_nothing(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let other = new_product(&catalogue, "q").await;
    let of_other = new_image(&reservation(&other, "1.0.0", "a.bin", &[]), None);
    publish(&catalogue, &of_other, None).await;
    let before = catalogue.revision().await.expect("works");
    for image in [Uuid::now_v7(), of_other.image.id] {
        let promote = promote("stable", &[image], &[]);
        let written = catalogue.promote(&product.name, &promote, product.revision, &audit("x")).await;
        assert_eq!(written.expect_err("no such image").kind(), Kind::Internal);
    }
    assert_eq!(catalogue.revision().await.expect("works"), before);
    assert_eq!(state_of(&catalogue, &product.name).await.product, product);
}

pub async fn a_recall_happens_once(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let new = new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None);
    let published = publish(&catalogue, &new, Some(&promote("stable", &[new.image.id], &[]))).await;
    let what = version("1.0.0");
    let recall = async |reason, judged_at| {
        let audit = Audit { version: Some(version("1.0.0")), ..audit("release.recall") };
        catalogue.recall(&product.name, &what, reason, None, judged_at, &audit).await
    };
    let state = done(recall("burns", published.product.revision).await);
    let recall_is = state.releases[0].recall.clone().expect("recalled");
    assert_eq!(recall_is.reason, "burns");
    assert_eq!(state.promotions, published.promotions, "a recall is no change of the channel");
    assert_eq!(recall("again", published.product.revision).await.expect("works"), Written::Stale);
    assert_eq!(done(recall("again", state.product.revision).await), state);
    assert_eq!(catalogue.revision().await.expect("works"), state.product.revision);
    let entries = catalogue.audit(&product.name, 10).await.expect("works");
    assert_eq!(entries.iter().filter(|entry| entry.action == "release.recall").count(), 1);
}

pub async fn recalling_an_unknown_release_is_told(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let recalled =
        catalogue.recall(&product.name, &version("1.0.0"), "why", None, product.revision, &audit("x")).await;
    assert_eq!(recalled.expect_err("no such release").kind(), Kind::NotFound);
    assert_eq!(catalogue.revision().await.expect("works"), product.revision);
}

pub async fn known_keys_are_those_of_images(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    for (version, file) in [("1.0.0", "a.bin"), ("1.0.0", "b.bin"), ("2.0.0-rc.1", "a.bin")] {
        publish(&catalogue, &new_image(&reservation(&product, version, file, &[file]), None), None).await;
    }
    let reserved = reservation(&product, "3.0.0", "a.bin", &[]);
    assert_eq!(reserve(&catalogue, &reserved).await, Reserved::Granted);
    let asked = ["p/1.0.0/a.bin", "p/2.0.0-rc.1/a.bin", "p/3.0.0/a.bin", "P/1.0.0/a.bin", "x", ""];
    let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
    let known = catalogue.known_keys(&asked).await.expect("works");
    assert_eq!(known.into_iter().collect::<Vec<_>>(), ["p/1.0.0/a.bin", "p/2.0.0-rc.1/a.bin"]);
    assert!(catalogue.known_keys(&[]).await.expect("works").is_empty());
}

pub async fn the_audit_log_tells_who_did_what(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    new_product(&catalogue, "other").await;
    let new = new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None);
    assert_eq!(reserve(&catalogue, &new.reservation).await, Reserved::Granted);
    let details = json!({"reason": "it's \"new\"", "count": u64::MAX, "list": [1.5, null, true]});
    let by_robot = Audit {
        actor: "robot".into(),
        action: Action::ImagePublish,
        version: Some(version("1.0.0")),
        channel: Some(ChannelName::stable()),
        details: details.clone(),
        ..Audit::default()
    };
    let state = done(catalogue.publish(&new, None, product.revision, &by_robot).await);
    let entries = catalogue.audit(&product.name, 10).await.expect("works");
    let [published, created] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((published.actor.as_str(), published.action.as_str()), ("robot", "image.publish"));
    assert_eq!((published.version.as_deref(), published.channel.as_deref()), (Some("1.0.0"), Some("stable")));
    assert_eq!(published.details, details);
    assert_eq!((&published.product, published.revision), (&product.name, state.product.revision));
    assert_eq!((created.action.as_str(), created.revision), ("product.create", product.revision));
    assert_eq!((&created.version, &created.channel, &created.details), (&None, &None, &json!(null)));
    assert!(created.at <= published.at);
    assert_eq!(catalogue.audit(&product.name, 1).await.expect("works"), entries[..1]);
}

pub async fn a_text_with_nul_is_refused(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let new = new_image(&reservation(&product, "1.0.0", "a.bin", &[]), Some("a\0b"));
    assert_eq!(reserve(&catalogue, &new.reservation).await, Reserved::Granted);
    let refused = catalogue.publish(&new, None, product.revision, &audit("x")).await.expect_err("has a NUL");
    assert_eq!((refused.kind(), refused.code()), (Kind::Malformed, "text-has-nul"));
    let details = Audit { details: json!({"a": ["\0"]}), ..audit("x") };
    let promote = promote("stable", &[], &[]);
    let refused = catalogue.promote(&product.name, &promote, product.revision, &details).await;
    assert_eq!(refused.expect_err("has a NUL").kind(), Kind::Malformed);
}

pub async fn what_is_withdrawn_is_remembered(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let first = new_image(&reservation(&product, "2.0.0", "a.bin", &[]), None);
    let state = publish(&catalogue, &first, Some(&promote("stable", &[first.image.id], &[]))).await;
    assert!(state.withdrawn.is_empty());
    let second = new_image(&reservation(&product, "1.9.0", "a.bin", &[]), None);
    let downgrade = promote("stable", &[second.image.id], &[first.image.id]);
    let state = publish(&catalogue, &second, Some(&downgrade)).await;
    let [withdrawn] = state.withdrawn.as_slice() else { panic!("{state:?}") };
    assert_eq!((withdrawn.image, &withdrawn.channel), (first.image.id, &ChannelName::stable()));
    let ever = state.ever_offered(&ChannelName::stable()).map(|(_, image)| image.id).collect::<BTreeSet<_>>();
    assert_eq!(ever, BTreeSet::from([first.image.id, second.image.id]));
    let again = promote("stable", &[first.image.id], &[]);
    let audit = audit("channel.promote");
    let state = done(catalogue.promote(&product.name, &again, state.product.revision, &audit).await);
    assert!(state.withdrawn.is_empty());
    assert_eq!(promoted(&state, "stable"), BTreeSet::from([first.image.id, second.image.id]));
}

pub async fn the_path_to_a_release_comes_back(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let path = |floor, from: Option<&str>| UpgradePath { floor, upgrade_from: from.map(version) };
    let of = |state: &firmament::domain::ProductState| UpgradePath {
        floor: state.releases[0].floor,
        upgrade_from: state.releases[0].upgrade_from.clone(),
    };
    let mut new = new_image(&reservation(&product, "2.0.0", "a.bin", &["a"]), None);
    new.path = path(true, None);
    assert_eq!(of(&publish(&catalogue, &new, None).await), new.path);
    let mut second = new_image(&reservation(&product, "2.0.0", "b.bin", &["b"]), None);
    second.path = path(false, Some("1.5.0"));
    let state = publish(&catalogue, &second, None).await;
    assert_eq!(of(&state), path(true, Some("1.5.0")), "what is not set stays");
    let set = async |what: &str, path: &UpgradePath, judged_at| {
        catalogue.set_path(&product.name, &version(what), path, judged_at, &audit("release.path")).await
    };
    let judged_at = state.product.revision;
    let after = done(set("2.0.0", &path(false, None), judged_at).await);
    assert_eq!(of(&after), path(false, None));
    assert_eq!(set("2.0.0", &path(true, None), judged_at).await.expect("works"), Written::Stale);
    let unknown = set("3.0.0", &path(true, None), after.product.revision).await;
    assert_eq!(unknown.expect_err("no such release").kind(), Kind::NotFound);
    assert_eq!(state_of(&catalogue, &product.name).await, after);
    let entries = catalogue.audit(&product.name, 1).await.expect("works");
    assert_eq!(entries[0].action, "release.path");
}

pub async fn a_nul_in_facts_is_stored_as_what_it_is_not(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mut new = new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None);
    let facts = Facts { built_at: Some("2026\0\\u0000".to_owned()), ..Facts::of("raw") };
    new.image.facts = Some(Arc::new(facts));
    let state = publish(&catalogue, &new, None).await;
    let facts = state.releases[0].images[0].facts.clone().expect("stored");
    assert_eq!(facts.built_at.as_deref(), Some("2026\u{fffd}\\u0000"));
}

pub async fn a_recall_may_get_its_replacement_later(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let new = new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None);
    let mut state = publish(&catalogue, &new, None).await;
    let what = version("1.0.0");
    let mut recall = async |reason: &str, replacement: Option<&str>| {
        let replacement = replacement.map(version);
        let (judged_at, audit) = (state.product.revision, audit("release.recall"));
        state = done(
            catalogue.recall(&product.name, &what, reason, replacement.as_ref(), judged_at, &audit).await,
        );
        state.releases[0].recall.clone().expect("recalled")
    };
    let first = recall("burns", None).await;
    let second = recall("again", Some("0.9.0")).await;
    assert_eq!((second.at, second.reason.as_str()), (first.at, "burns"), "time and reason stay");
    assert_eq!(second.replacement, Some(version("0.9.0")));
    assert_eq!(recall("again", None).await, second);
    assert_eq!(recall("again", Some("0.9.0")).await, second);
    assert_eq!(recall("again", Some("0.8.0")).await.replacement, Some(version("0.8.0")));
    assert_eq!(catalogue.revision().await.expect("works").0, product.revision.0 + 4);
}
