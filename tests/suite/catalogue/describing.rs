//! What a release says of itself.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use firmament::{
    catalogue::{Catalogue, Description, Written},
    domain::{Attachment, AttachmentKind, CveId, FileName, ProductState, Security, Severity, Shown},
    error::Kind,
};
use sha2::{Digest, Sha256};

use super::{a_time, audit, done, new_image, new_product, publish, reservation, version};

fn attachment(name: &str, content: &'static [u8]) -> Description {
    let attachment = Attachment {
        name: FileName::parse(name).expect("valid"),
        kind: AttachmentKind::Spdx,
        specification: "2.3".into(),
        size: content.len() as u64,
        sha256: Sha256::digest(content).into(),
        created_at: a_time(),
    };
    Description::Attach(attachment, Bytes::from_static(content))
}

async fn describe(
    catalogue: &Arc<dyn Catalogue>,
    state: &ProductState,
    description: &Description,
) -> ProductState {
    let (product, at) = (&state.product.name, state.product.revision);
    let shown = Shown { release: Some(version("1.0.0")), notes: true, ..Shown::default() };
    let audit = audit("release.notes").showing(shown, state);
    done(catalogue.describe(product, &version("1.0.0"), description, at, &audit).await)
}

pub async fn notes_and_security_come_back_exactly(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let state =
        publish(&catalogue, &new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None), None).await;
    let state = describe(&catalogue, &state, &Description::Notes(Some("**ä**\n\"".into()))).await;
    assert_eq!(state.releases[0].notes.as_deref(), Some("**ä**\n\""));
    let cves = ["CVE-2026-1234", "CVE-1999-0001"].map(|id| CveId::parse(id).expect("an id"));
    let security = Security { severity: Severity::Critical, cves: BTreeSet::from(cves) };
    let state = describe(&catalogue, &state, &Description::Security(Some(security.clone()))).await;
    assert_eq!(state.releases[0].security.as_ref(), Some(&security));
    assert_eq!(catalogue.product(&product.name).await.expect("works").as_ref(), Some(&state));
    let state = describe(&catalogue, &state, &Description::Notes(None)).await;
    let state = describe(&catalogue, &state, &Description::Security(None)).await;
    assert_eq!((&state.releases[0].notes, &state.releases[0].security), (&None, &None));

    let entries = catalogue.audit(&product.name, 4).await.expect("works");
    assert_eq!(entries[0].before["release"]["security"]["severity"], "critical");
    assert!(entries[0].after["release"]["security"].is_null());
    assert_eq!(
        (entries[3].before["notes"].as_str(), entries[3].after["notes"].as_str()),
        (None, Some("**ä**\n\""))
    );
    super::audit_log::walk(&catalogue, 2).await.expect("holds");
}

pub async fn documents_are_attached_replaced_and_removed(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let state =
        publish(&catalogue, &new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None), None).await;
    let state = describe(&catalogue, &state, &attachment("b.json", b"first\0\xff")).await;
    let state = describe(&catalogue, &state, &attachment("a.json", b"")).await;
    let names = |state: &ProductState| {
        let attachments = state.releases[0].attachments.iter();
        attachments.map(|attachment| attachment.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&state), ["a.json", "b.json"]);
    let name = FileName::parse("b.json").expect("valid");
    let (meta, content) = catalogue
        .attachment(&product.name, &version("1.0.0"), &name)
        .await
        .expect("works")
        .expect("is there");
    assert_eq!((&meta, content.as_ref()), (&state.releases[0].attachments[1], &b"first\0\xff"[..]));
    assert_eq!(<[u8; 32]>::from(Sha256::digest(b"first\0\xff")), meta.sha256);

    let state = describe(&catalogue, &state, &attachment("b.json", b"second")).await;
    let (meta, content) = catalogue
        .attachment(&product.name, &version("1.0.0"), &name)
        .await
        .expect("works")
        .expect("is there");
    assert_eq!((meta.size, content.as_ref()), (6, &b"second"[..]));
    let state = describe(&catalogue, &state, &Description::Detach(name.clone())).await;
    assert_eq!(names(&state), ["a.json"]);
    assert!(catalogue.attachment(&product.name, &version("1.0.0"), &name).await.expect("works").is_none());
    let other = FileName::parse("a.json").expect("valid");
    assert!(catalogue.attachment(&product.name, &version("2.0.0"), &other).await.expect("works").is_none());
    let entries = catalogue.audit(&product.name, 1).await.expect("works");
    assert_eq!(entries[0].before["release"]["attachments"].as_array().expect("a list").len(), 2);
    assert_eq!(entries[0].after["release"]["attachments"].as_array().expect("a list").len(), 1);
}

pub async fn describing_on_old_facts_is_stale_and_an_unknown_release_is_told(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let what = version("1.0.0");
    let notes = Description::Notes(Some("n".into()));
    let describe = async |at| catalogue.describe(&product.name, &what, &notes, at, &audit("x")).await;
    let unknown = describe(product.revision).await.expect_err("no release");
    assert_eq!((unknown.kind(), unknown.code()), (Kind::NotFound, "no-such-release"));
    assert_eq!(catalogue.revision().await.expect("works"), product.revision);
    publish(&catalogue, &new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None), None).await;
    assert_eq!(describe(product.revision).await.expect("works"), Written::Stale);
    let nul = Description::Notes(Some("a\0".into()));
    let refused = catalogue.describe(&product.name, &what, &nul, product.revision, &audit("x")).await;
    assert_eq!(refused.expect_err("has a NUL").code(), "text-has-nul");
}
