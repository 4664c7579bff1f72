//! The audit log: complete, in order, and linked so that tampering is seen.

use std::{collections::BTreeSet, sync::Arc};

use firmament::{
    catalogue::{Actor, Audit, Catalogue, Written},
    domain::{
        Action, ProductSettings, Revision, Shown,
        audit::{Chain, Head},
    },
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Reserved, audit, done, hardware, new_image, new_product, product_name, promote, publish, reservation,
    reserve, revision_of, state_of, version,
};

/// Walks the whole log, page by page.
pub async fn walk(catalogue: &Arc<dyn Catalogue>, limit: u32) -> Result<Chain, String> {
    let mut chain = Chain::default();
    loop {
        let page = catalogue.audit_after(chain.last(), limit).await.expect("works");
        assert!(page.entries.len() as u64 <= u64::from(limit.max(1)));
        for entry in &page.entries {
            chain.follow(entry).map_err(|broken| broken.to_string())?;
        }
        if !page.more {
            assert_eq!(chain.last(), page.revision, "every revision has its entry");
            return Ok(chain);
        }
    }
}

pub async fn every_change_is_linked_and_pages_tell_all(catalogue: Arc<dyn Catalogue>) {
    assert_eq!(walk(&catalogue, 10).await.expect("nothing yet").head, None);
    for name in ["a", "b", "c"] {
        let product = new_product(&catalogue, name).await;
        let new = new_image(&reservation(&product, "1.0.0", "a.bin", &[]), Some("notes"));
        publish(&catalogue, &new, Some(&promote("stable", &[new.image.id], &[]))).await;
    }
    let whole = walk(&catalogue, 1000).await.expect("holds");
    assert_eq!((whole.entries, whole.unlinked), (6, 0));
    for limit in [0, 1, 4, 5] {
        assert_eq!(walk(&catalogue, limit).await.expect("holds"), whole, "{limit}");
    }
    let nothing = catalogue.audit_after(Revision(u64::MAX), 1).await.expect("works");
    assert!(nothing.entries.is_empty() && !nothing.more);
    let part = catalogue.audit_after(Revision(4), 10).await.expect("works");
    let before = catalogue.audit_after(Revision(3), 1).await.expect("works").entries.remove(0);
    let hash = before.link.expect("linked").hash;
    let mut chain = Chain::behind(Head { revision: Revision(4), hash });
    part.entries.iter().for_each(|entry| chain.follow(entry).expect("holds"));
    assert_eq!(chain.head, whole.head);
}

pub async fn an_entry_tells_who_from_where_and_what_it_replaced(catalogue: Arc<dyn Catalogue>) {
    let name = product_name("p");
    let by = Audit {
        actor: Actor { name: "ci".into(), remote: Some("[2001:db8::7]:4711".parse().expect("an address")) },
        verdict: vec!["same-bytes".into()],
        ..audit("")
    };
    catalogue.put_product(&name, &ProductSettings::default(), &by).await.expect("works");
    let narrow = ProductSettings { hardware: hardware(&["rev-a"]), ..ProductSettings::default() };
    let (product, _) = catalogue.put_product(&name, &narrow, &by).await.expect("works");

    let new = new_image(&reservation(&product, "1.0.0", "a.bin", &["rev-a"]), None);
    assert_eq!(reserve(&catalogue, &new.reservation).await, Reserved::Granted);
    let state = state_of(&catalogue, &name).await;
    let shown = Shown {
        release: Some(version("1.0.0")),
        image: Some(new.image.id),
        channels: BTreeSet::from([firmament::domain::ChannelName::stable()]),
        ..Shown::default()
    };
    let publishing = Audit { action: Action::ImagePublish, ..by.clone() }.showing(shown, &state);
    let offer = promote("stable", &[new.image.id], &[]);
    let state = done(catalogue.publish(&new, Some(&offer), product.revision, &publishing).await);
    let shown = Shown::release_and_offers(&state, &version("1.0.0"));
    let recalling = Audit { action: Action::ReleaseRecall, ..by }.showing(shown, &state);
    let what = version("1.0.0");
    done(catalogue.recall(&name, &what, "burns", None, state.product.revision, &recalling).await);

    let entries = catalogue.audit_after(Revision(0), 10).await.expect("works").entries;
    let [created, updated, published, recalled] = entries.as_slice() else { panic!("{entries:?}") };
    for entry in &entries {
        assert_eq!((entry.actor.as_str(), entry.remote.as_deref()), ("ci", Some("[2001:db8::7]:4711")));
        assert_eq!(entry.verdict, ["same-bytes"]);
    }
    assert_eq!((created.action.as_str(), &created.before), ("product.create", &Value::Null));
    assert_eq!((updated.action.as_str(), &updated.before), ("product.update", &created.after));
    assert_eq!(updated.after["hardware"], json!(["rev-a"]));
    assert_eq!(published.before, json!({"release": null, "image": null, "offers": {"stable": {}}}));
    assert_eq!(published.after["release"]["state"], "published");
    assert_eq!(published.after["image"]["sha256"], "ff".repeat(32));
    assert_eq!(published.after["offers"]["stable"]["rev-a"]["version"], "1.0.0");
    assert_eq!(recalled.before["offers"], published.after["offers"]);
    assert_eq!(recalled.after["offers"], json!({"stable": {}}));
    assert_eq!(recalled.after["release"]["recall_reason"], "burns");
    let newest_first = catalogue.audit(&name, 10).await.expect("works");
    assert!(newest_first.iter().rev().eq(&entries));
}

pub async fn many_writers_make_one_chain(catalogue: Arc<dyn Catalogue>) {
    many_writers(vec![catalogue]).await;
}

/// 8 tasks change 4 products; each catalogue is a replica of its own.
pub async fn many_writers(replicas: Vec<Arc<dyn Catalogue>>) {
    const CHANGES: usize = 10;
    let mut products = Vec::new();
    for index in 0..4 {
        products.push(new_product(&replicas[0], &format!("p{index}")).await);
    }
    let mut writers = JoinSet::new();
    for task in 0..8 {
        let (catalogue, product) = (replicas[task % replicas.len()].clone(), products[task / 2].clone());
        writers.spawn(async move {
            let mut written = 0;
            while written < CHANGES {
                let judged_at = revision_of(&catalogue, &product.name).await;
                let nothing = promote("stable", &[], &[]);
                let change = catalogue.promote(&product.name, &nothing, judged_at, &audit("x")).await;
                written += usize::from(matches!(change.expect("works"), Written::Done(_)));
            }
        });
    }
    writers.join_all().await;
    for catalogue in &replicas {
        let chain = walk(catalogue, 7).await.expect("one chain");
        assert_eq!((chain.entries, chain.unlinked), (84, 0));
    }
}

/// What an older program leaves: entries without hashes, before the migration and while replicas are upgraded one by
/// one. `insert` writes one such entry with that revision.
pub async fn entries_of_an_older_program_are_linked(
    catalogue: Arc<dyn Catalogue>,
    insert: impl AsyncFn(u64, &firmament::domain::Product),
) {
    let product = new_product(&catalogue, "p").await;
    insert(2, &product).await;
    insert(3, &product).await;
    let chain = walk_loosely(&catalogue).await;
    assert_eq!((chain.entries, chain.unlinked, chain.head.expect("one").revision), (3, 2, Revision(1)));
    let nothing = promote("stable", &[], &[]);
    let judged_at = revision_of(&catalogue, &product.name).await;
    done(catalogue.promote(&product.name, &nothing, judged_at, &audit("x")).await);
    let chain = walk_loosely(&catalogue).await;
    assert_eq!((chain.entries, chain.unlinked), (4, 0));
}

async fn walk_loosely(catalogue: &Arc<dyn Catalogue>) -> Chain {
    let mut chain = Chain::default();
    for entry in catalogue.audit_after(Revision(0), 100).await.expect("works").entries {
        chain.follow(&entry).expect("holds");
    }
    chain
}

/// Fills a log, tampers with it past the triggers in each of these ways, one on top of the other, and expects to be told.
pub async fn tampering_is_named(
    catalogue: Arc<dyn Catalogue>,
    execute: impl AsyncFn(&str) -> Result<(), sqlx::Error>,
    triggers_off: &[&str],
) {
    let product = new_product(&catalogue, "p").await;
    for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"] {
        publish(&catalogue, &new_image(&reservation(&product, version, "a.bin", &[]), None), None).await;
    }
    let forbidden = [
        "update audit set actor = 'nobody' where revision = 3",
        "update audit set hash = null, previous = null where revision = 6",
        "delete from audit where revision = 3",
        "delete from audit",
    ];
    for statement in forbidden {
        let refused = execute(statement).await.expect_err("append-only");
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
    assert_eq!(walk(&catalogue, 3).await.expect("untouched").entries, 6);
    for statement in triggers_off {
        execute(statement).await.expect("an administrator may");
    }
    for (statement, told) in [
        ("delete from audit where revision = 5", "revision 6 was not written behind revision 4"),
        ("update audit set actor = 'nobody' where revision = 4", "revision 4 was changed"),
        ("update audit set hash = null, previous = null where revision = 3", "before revision 4 has no hash"),
        ("delete from audit where revision = 1", "entries before it were removed"),
        (
            "update audit set at = (select at from audit where revision = 6) where revision = 2",
            "revision 2 was changed",
        ),
    ] {
        execute(statement).await.expect("an administrator may");
        let broken = walk(&catalogue, 3).await.expect_err(statement);
        assert!(broken.contains(told), "{statement}: {broken}");
    }
}
