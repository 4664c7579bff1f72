//! What the CDN is to forget, and what waits at the gate.

use std::{sync::Arc, time::Duration};

use firmament::{
    catalogue::{Acceptance, AskedPurge, Catalogue, Promote, Setback, Written},
    domain::{
        ChannelName, ProductName, Revision,
        purge::{PurgeAction, PurgeKind, PurgeState, PurgeTarget, WantedPurge},
    },
};
use uuid::Uuid;

use super::{
    audit, done, new_image, new_product, product_name, promote, promoted, publish, reservation, revision_of,
    state_of, version,
};

fn asked(product: &str, revision: u64, action: PurgeAction, object: &str) -> AskedPurge {
    AskedPurge {
        wanted: WantedPurge {
            revision: Revision(revision),
            product: product_name(product),
            version: Some(version("1.0.0-rc.1")),
            target: PurgeTarget { action, kind: PurgeKind::Url, object: object.to_owned() },
        },
        delay: Duration::ZERO,
        again: None,
    }
}

fn acceptance(estimated: u64) -> Acceptance {
    Acceptance {
        purge_id: Some("edcp-1".into()),
        support_id: Some("support-1".into()),
        estimated: Duration::from_secs(estimated),
    }
}

pub async fn purges_and_the_cursor_move_together(catalogue: Arc<dyn Catalogue>) {
    let start = catalogue.purge_cursor().await.expect("works");
    assert_eq!(start, Revision(0), "what was there before the migration is not purged");
    let wanted = [
        asked("p", 3, PurgeAction::Delete, "http://h/a"),
        asked("p", 3, PurgeAction::Invalidate, "http://h/a"),
        asked("q", 4, PurgeAction::Delete, "http://h/ä'\""),
    ];
    assert!(catalogue.ask_purges(start, Revision(4), &wanted).await.expect("works"));
    assert_eq!(catalogue.purge_cursor().await.expect("works"), Revision(4));
    assert!(!catalogue.ask_purges(start, Revision(5), &wanted).await.expect("works"), "another was faster");
    let again =
        [asked("p", 3, PurgeAction::Delete, "http://h/a"), asked("p", 9, PurgeAction::Delete, "http://h/a")];
    assert!(catalogue.ask_purges(Revision(4), Revision(9), &again).await.expect("works"));

    let due = catalogue.due_purges(10).await.expect("works");
    assert_eq!(due.len(), 4, "asked twice is there once: {due:?}");
    assert!(due.iter().all(|purge| purge.state == PurgeState::Asked && purge.attempts == 0));
    let of = async |product: &str| {
        let name: ProductName = product_name(product);
        catalogue.purges(Some(&name), None, 10).await.expect("works")
    };
    let revisions: Vec<u64> = of("p").await.iter().map(|purge| purge.wanted.revision.0).collect();
    assert_eq!(revisions, [9, 3, 3], "newest first");
    assert_eq!(of("q").await[0].wanted, wanted[2].wanted, "it comes back exactly");
    let other = version("2.0.0");
    let none = catalogue.purges(Some(&product_name("p")), Some(&other), 10).await.expect("works");
    assert!(none.is_empty());
    assert_eq!(catalogue.purges(None, None, 2).await.expect("works").len(), 2);
}

pub async fn a_purge_is_accepted_or_put_off(catalogue: Arc<dyn Catalogue>) {
    let wanted = ["a", "b", "c", "d"].map(|object| asked("p", 1, PurgeAction::Delete, object));
    let mut later = asked("p", 2, PurgeAction::Invalidate, "e");
    later.delay = Duration::from_secs(600);
    assert!(catalogue.ask_purges(Revision(0), Revision(2), &wanted).await.expect("works"));
    assert!(catalogue.ask_purges(Revision(2), Revision(3), &[later]).await.expect("works"));
    let due = catalogue.due_purges(10).await.expect("works");
    assert_eq!(due.len(), 4, "one has to wait");
    let id = |object: &str| {
        let found = due.iter().find(|purge| purge.wanted.target.object == object);
        found.expect("it is due").id
    };
    catalogue.accept_purges(&[id("a")], &acceptance(600)).await.expect("works");
    catalogue.accept_purges(&[id("b")], &acceptance(0)).await.expect("works");
    catalogue.put_off_purges(&[id("c")], "refused\0", true, Duration::ZERO).await.expect("works");
    catalogue
        .put_off_purges(&[id("d"), id("a")], "busy", false, Duration::from_secs(600))
        .await
        .expect("works");

    let all = catalogue.purges(None, None, 10).await.expect("works");
    let told = |object: &str| {
        let purge = all.iter().find(|purge| purge.wanted.target.object == object).expect("there");
        (purge.state, purge.attempts, purge.last_error.as_deref())
    };
    assert_eq!(told("a"), (PurgeState::Accepted, 1, None), "what is accepted stays so");
    assert_eq!(told("b"), (PurgeState::Done, 1, None), "its time is over");
    assert_eq!(told("c"), (PurgeState::Failed, 1, Some("refused")));
    assert_eq!(told("d"), (PurgeState::Asked, 1, Some("busy")));
    let accepted = all.iter().find(|purge| purge.wanted.target.object == "a").expect("there");
    assert_eq!(accepted.purge_id.as_deref(), Some("edcp-1"));
    let (at, done_at) = (accepted.accepted_at.expect("told"), accepted.estimated_done_at.expect("told"));
    assert!((done_at - at).num_seconds().abs_diff(600) < 2, "{at} {done_at}");

    let due = catalogue.due_purges(10).await.expect("works");
    let due: Vec<&str> = due.iter().map(|purge| purge.wanted.target.object.as_str()).collect();
    assert_eq!(due, ["c"], "what is refused is tried again too, when its time has come");
    let counts = catalogue.purge_counts().await.expect("works");
    assert_eq!((counts.asked, counts.failed), (2, 1));
}

pub async fn a_purge_with_a_second_time_is_due_twice(catalogue: Arc<dyn Catalogue>) {
    let mut wanted = ["soon", "later", "refused"].map(|object| asked("p", 1, PurgeAction::Delete, object));
    wanted[0].again = Some(Duration::ZERO);
    wanted[1].again = Some(Duration::from_secs(600));
    wanted[2].again = Some(Duration::from_millis(1));
    assert!(catalogue.ask_purges(Revision(0), Revision(1), &wanted).await.expect("works"));
    let due = async || {
        let due = catalogue.due_purges(10).await.expect("works");
        let mut due: Vec<(String, Uuid)> =
            due.into_iter().map(|purge| (purge.wanted.target.object, purge.id)).collect();
        due.sort();
        due
    };
    let first = due().await;
    let names: Vec<&str> = first.iter().map(|(object, _)| object.as_str()).collect();
    assert_eq!(names, ["later", "refused", "soon"]);
    let [later, refused, soon] = [0, 1, 2].map(|at: usize| first[at].1);
    catalogue.accept_purges(&[soon, later], &acceptance(0)).await.expect("works");
    let both = [("refused".to_owned(), refused), ("soon".to_owned(), soon)];
    assert_eq!(due().await, both, "the second time counts from when it was accepted, however late that was");
    catalogue.accept_purges(&[soon], &acceptance(0)).await.expect("works");
    assert_eq!(due().await, [("refused".to_owned(), refused)], "and there is no third");

    // Its second time is brought near.
    catalogue.put_off_purges(&[later, soon], "busy", false, Duration::ZERO).await.expect("works");
    catalogue.put_off_purges(&[refused], "refused", true, Duration::from_secs(600)).await.expect("works");
    let told = async |object: &str| {
        let all = catalogue.purges(None, None, 10).await.expect("works");
        let purge = all.into_iter().find(|purge| purge.wanted.target.object == object).expect("there");
        (purge.state, purge.attempts, purge.last_error)
    };
    assert_eq!(due().await, [("later".to_owned(), later)], "what was refused has its own time");
    assert_eq!(told("later").await, (PurgeState::Done, 2, Some("busy".into())), "it stays accepted");
    assert_eq!(told("soon").await, (PurgeState::Done, 2, None), "it has had its second time");
    assert_eq!(catalogue.purge_counts().await.expect("works").asked, 0);
    catalogue.accept_purges(&[later], &acceptance(0)).await.expect("works");
    assert_eq!((due().await, told("later").await), (Vec::new(), (PurgeState::Done, 3, None)));
}

fn waiting(channel: &str, images: &[Uuid], withdraw: &[Uuid]) -> Promote {
    Promote { pending: true, ..promote(channel, images, withdraw) }
}

pub async fn a_pending_promotion_waits_until_it_is_offered(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let old = new_image(&reservation(&product, "2.0.0", "a.bin", &[]), None);
    publish(&catalogue, &old, Some(&promote("stable", &[old.image.id], &[]))).await;
    let new = new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None);
    let (id, gone) = (new.image.id, old.image.id);
    let state = publish(&catalogue, &new, Some(&waiting("stable", &[id], &[gone]))).await;
    assert_eq!(state, state_of(&catalogue, &product.name).await);
    let stable = ChannelName::stable();
    assert!(state.is_pending(id, &stable) && !state.is_promoted(id, &stable));
    assert!(state.is_promoted(gone, &stable), "nothing is withdrawn before");
    let all = catalogue.changes(Revision(0), 10).await.expect("works").products;
    assert_eq!(all[0].pending, state.pending);

    let before = catalogue.revision().await.expect("works");
    let [one] = catalogue.waiting().await.expect("works").try_into().expect("one waits");
    assert_eq!((one.image, one.due, one.attempts), (id, true, 0));
    let put_off = Duration::from_secs(600);
    let setback = Setback { error: "no\0 ETag".into(), delay: put_off, tried: true };
    catalogue.keep_waiting(&product.name, &stable, &[id], &setback).await.expect("works");
    let [one] = catalogue.waiting().await.expect("works").try_into().expect("one waits");
    assert_eq!((one.due, one.attempts), (false, 1));
    let state = state_of(&catalogue, &product.name).await;
    assert_eq!((state.pending[0].attempts, state.pending[0].last_error.as_deref()), (1, Some("no ETag")));
    assert_eq!(state.pending[0].withdraw, [gone]);
    let setback = Setback { error: "after another".into(), delay: Duration::ZERO, tried: false };
    catalogue.keep_waiting(&product.name, &stable, &[id], &setback).await.expect("works");
    let [one] = catalogue.waiting().await.expect("works").try_into().expect("one waits");
    assert_eq!((one.due, one.attempts), (true, 1), "it was not tried");
    assert_eq!(catalogue.revision().await.expect("works"), before, "an attempt is no change");

    let offer = promote("stable", &[id], &[gone]);
    let state = done(catalogue.promote(&product.name, &offer, before, &audit("channel.offer")).await);
    assert!(state.pending.is_empty() && catalogue.waiting().await.expect("works").is_empty());
    assert_eq!(promoted(&state, "stable").into_iter().collect::<Vec<_>>(), [id]);
}

pub async fn a_recall_or_a_withdrawal_ends_the_waiting(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mut ids = Vec::new();
    for text in ["1.0.0", "2.0.0", "3.0.0"] {
        let new = new_image(&reservation(&product, text, "a.bin", &[]), None);
        ids.push(new.image.id);
        publish(&catalogue, &new, Some(&waiting("beta", &[new.image.id], &[]))).await;
    }
    assert_eq!(catalogue.waiting().await.expect("works").len(), 3);
    let judged_at = revision_of(&catalogue, &product.name).await;
    let recalled = catalogue
        .recall(&product.name, &version("2.0.0"), "bad", None, judged_at, &audit("release.recall"))
        .await;
    let Ok(Written::Done(state)) = recalled else { panic!("{recalled:?}") };
    let pending: Vec<Uuid> = state.pending.iter().map(|one| one.image).collect();
    assert_eq!(pending, [ids[0], ids[2]]);
    // Asked for again, with the highest one withdrawn.
    let again = waiting("beta", &[ids[0]], &[ids[2]]);
    let revision = state.product.revision;
    let state = done(catalogue.promote(&product.name, &again, revision, &audit("channel.promote")).await);
    let pending: Vec<Uuid> = state.pending.iter().map(|one| one.image).collect();
    assert_eq!(pending, [ids[0]]);
    assert!(state.promotions.is_empty() && state.withdrawn.is_empty());
}

pub async fn what_is_asked_for_anew_waits_anew(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let (low, high) = (
        new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None),
        new_image(&reservation(&product, "2.0.0", "a.bin", &[]), None),
    );
    let (id, gone) = (low.image.id, high.image.id);
    publish(&catalogue, &high, Some(&promote("stable", &[gone], &[]))).await;
    let state = publish(&catalogue, &low, Some(&waiting("stable", &[id], &[]))).await;
    let first = state.pending[0].clone();
    assert_eq!((first.allow_stranding, &first.reason), (false, &None));
    let setback = Setback { error: "no".into(), delay: Duration::from_secs(600), tried: true };
    let stable = ChannelName::stable();
    catalogue.keep_waiting(&product.name, &stable, &[id], &setback).await.expect("works");

    let anew = Promote {
        allow_stranding: true,
        reason: Some("it\0 bricks".into()),
        ..waiting("stable", &[id], &[gone])
    };
    let revision = state.product.revision;
    let state = done(catalogue.promote(&product.name, &anew, revision, &audit("channel.promote")).await);
    let [pending] = &state.pending[..] else { panic!("{:?}", state.pending) };
    assert!(pending.at > first.at && pending.attempts == 0 && pending.last_error.is_none(), "{pending:?}");
    assert_eq!((&pending.withdraw[..], pending.allow_stranding), (&[gone][..], true));
    assert_eq!(pending.reason.as_deref(), Some("it bricks"));
    assert!(catalogue.waiting().await.expect("works")[0].due);

    let ends = Promote { ends: vec![id], ..promote("stable", &[], &[]) };
    let revision = state.product.revision;
    let state = done(catalogue.promote(&product.name, &ends, revision, &audit("channel.promote")).await);
    assert!(state.pending.is_empty() && state.is_promoted(gone, &stable) && state.withdrawn.is_empty());
}

pub async fn what_was_refused_waits_no_longer_and_is_seen(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let new = [("1.0.0", "a.bin", "x"), ("1.0.0", "b.bin", "y")]
        .map(|(version, file, hardware)| new_image(&reservation(&product, version, file, &[hardware]), None));
    for image in &new {
        publish(&catalogue, image, None).await;
    }
    let ids = [new[0].image.id, new[1].image.id];
    let revision = revision_of(&catalogue, &product.name).await;
    let asked = waiting("stable", &ids, &[]);
    let state = done(catalogue.promote(&product.name, &asked, revision, &audit("channel.promote")).await);
    assert_eq!(state.pending.len(), 2);
    assert_eq!(state.pending[0].at, state.pending[1].at, "asked for together");

    let (stable, action) = (ChannelName::stable(), audit("channel.refuse"));
    let refuse = async |judged_at| {
        catalogue.refuse_waiting(&product.name, (&stable, &ids[..1]), "too\0 long", judged_at, &action).await
    };
    assert_eq!(refuse(revision).await.expect("works"), Written::Stale);
    let refused = done(refuse(state.product.revision).await);
    assert_eq!(refused, state_of(&catalogue, &product.name).await);
    assert!(refused.product.revision > state.product.revision);
    let pending: Vec<Uuid> = refused.pending.iter().map(|one| one.image).collect();
    assert_eq!(pending, ids[1..]);
    let [one] = &refused.refused[..] else { panic!("{:?}", refused.refused) };
    assert_eq!((one.image, &one.channel, one.why.as_str()), (ids[0], &stable, "too long"));
    assert!(one.at >= one.asked_at && one.asked_at == state.pending[0].at);
    assert_eq!(catalogue.waiting().await.expect("works").len(), 1);

    // Asked for again it waits again, and is refused no more.
    let again = waiting("stable", &ids[..1], &[]);
    let revision = refused.product.revision;
    let state = done(catalogue.promote(&product.name, &again, revision, &audit("channel.promote")).await);
    assert!(state.refused.is_empty() && state.pending.len() == 2);
    done(refuse(state.product.revision).await);
    let judged_at = revision_of(&catalogue, &product.name).await;
    let recalled = catalogue
        .recall(&product.name, &version("1.0.0"), "bad", None, judged_at, &audit("release.recall"))
        .await;
    let Ok(Written::Done(state)) = recalled else { panic!("{recalled:?}") };
    assert!(state.refused.is_empty() && state.pending.is_empty());
}
