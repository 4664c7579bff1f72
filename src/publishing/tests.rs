//! The use cases with images that state something: only tests know their format (`version_check::inspect`).

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use super::*;
use crate::{
    bucket::DirectoryBucket,
    catalogue::{Audit, SqliteCatalogue},
    domain::{ChannelName, FileName, Policy, ProductSettings, UpgradePath, Version},
    version_check::{Candidate, Consent, Limits},
};

struct House {
    publishing: Publishing,
    product: ProductName,
    _directory: TempDir,
}

fn version(text: &str) -> Version {
    Version::parse(text).expect("valid")
}

impl House {
    async fn new(policy: serde_json::Value) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let catalogue =
            SqliteCatalogue::open(&directory.path().join("catalogue.sqlite")).await.expect("opens");
        catalogue.migrate().await.expect("migrates");
        let bucket = DirectoryBucket::open(&directory.path().join("bucket")).await.expect("opens");
        let publishing = Publishing {
            catalogue: Arc::new(catalogue),
            bucket: Bucket::Directory(bucket),
            holder: Uuid::now_v7(),
            limits: Limits { max_image_bytes: 1_000_000, links: None, tag: None },
            uploads: Semaphore::new(2),
            upload_lifetime: std::time::Duration::from_secs(60),
            gated: false,
            changed: Arc::new(Notify::new()),
            metrics: Arc::new(Metrics::new()),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let house =
            Self { publishing, product: ProductName::parse("p").expect("valid"), _directory: directory };
        house.set(policy).await;
        house
    }

    async fn set(&self, policy: serde_json::Value) {
        let policy: Policy = serde_json::from_value(policy).expect("fits");
        let settings = ProductSettings { policy, ..ProductSettings::default() };
        let audit = Audit {
            actor: "tester".into(),
            version: None,
            details: serde_json::Value::Null,
            ..Audit::default()
        };
        let put = self.publishing.catalogue.put_product(&self.product, &settings, &audit).await;
        put.expect("the catalogue works");
    }

    fn request(&self, version_text: &str) -> Publication {
        Publication {
            product: self.product.clone(),
            candidate: Candidate {
                version: version(version_text),
                filename: FileName::parse("f.bin").expect("valid"),
                hardware: Default::default(),
                channel: Some(ChannelName::stable()),
                size: None,
                sha256: None,
                path: UpgradePath::default(),
                signature: None,
                consent: Consent::default(),
            },
            notes: None,
            actor: "tester".into(),
        }
    }

    async fn publish(&self, version: &str, head: &str) -> Result<Published> {
        self.publishing.publish(&self.request(version), body(head, 3)).await
    }

    async fn state(&self) -> ProductState {
        self.publishing.product(&self.product).await.expect("is there")
    }
}

/// An image with this head, in so many pieces.
fn body(
    head: &str,
    pieces: usize,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send + Unpin {
    let mut first = format!("sample\n{head}\n\n").into_bytes();
    first.resize(first.len().max(2048), b'.');
    let rest = (1..pieces).map(|_| Bytes::from_static(&[b'.'; 1000]));
    stream::iter([Bytes::from(first)].into_iter().chain(rest).map(Ok).collect::<Vec<_>>())
}

fn codes<T: std::fmt::Debug>(result: Result<T>) -> Vec<String> {
    let error = result.expect_err("refused");
    error.reasons().iter().map(|reason| reason.code.clone().into_owned()).collect()
}

#[tokio::test]
async fn what_the_image_says_is_kept_with_it() {
    let house = House::new(serde_json::json!({})).await;
    let published = house.publish("1.4.0", "version=1.4.0\nproduct=thermo\ncounter=3").await.expect("fits");
    let (_, image) = published.state.image(published.image).expect("stored");
    let facts = image.facts.as_deref().expect("inspected");
    assert_eq!((facts.format.as_str(), facts.security_counter), ("sample", Some(3)));
    let published =
        house.publish("1.5.0", "version=1.5.0\nproduct=hygro\ncounter=3").await.expect("only told");
    assert_eq!(published.warnings[0].code, "name-changed");
    assert_eq!(
        codes(house.publish("1.6.0", "version=1.6.0\nproduct=hygro\ncounter=2").await),
        ["security-counter-lower"]
    );
    let entries = house.publishing.catalogue.audit(&house.product, 1).await.expect("works");
    assert_eq!(entries[0].details["warnings"], serde_json::json!(["name-changed"]));
}

#[tokio::test]
async fn a_contradiction_ends_the_upload_in_its_middle_and_leaves_nothing() {
    let house = House::new(serde_json::json!({"names": {"compatible": ["a"]}})).await;
    let read = std::sync::atomic::AtomicUsize::new(0);
    let counted = futures_util::StreamExt::inspect(body("version=1.5.0\nboard=b", 50), |_| {
        read.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let refused = house.publishing.publish(&house.request("1.4.0"), counted).await;
    assert_eq!(codes(refused), ["version-mismatch", "name-mismatch"], "both at once");
    assert!(read.into_inner() < 5, "the rest was not read");
    assert!(house.state().await.releases.is_empty());
    assert!(house.publishing.catalogue.reservations().await.expect("works").is_empty());
    house.publish("1.4.0", "version=1.4.0\nboard=a").await.expect("the same key is free");
}

#[tokio::test]
async fn a_truncated_image_is_refused_at_its_end() {
    let house = House::new(serde_json::json!({})).await;
    assert_eq!(codes(house.publish("1.4.0", "version=1.4.0\nsize=99999").await), ["image-truncated"]);
    assert_eq!(codes(house.publish("1.4.0", "version=1.4.0\nsize=10").await), ["image-padded"]);
    house.publish("1.4.0", "version=1.4.0\nsize=4048").await.expect("whole");
    house.set(serde_json::json!({"formats": ["other"]})).await;
    let again =
        house.publish("1.4.0", "version=1.4.0\nsize=4048").await.expect("a retry is safe whatever changed");
    assert!(!again.created);
}

#[tokio::test]
async fn a_dry_run_tells_the_whole_verdict_and_stores_nothing() {
    let house = House::new(serde_json::json!({})).await;
    let request = house.request("1.4.0");
    let none = None::<stream::Empty<Result<Bytes, Infallible>>>;
    let verdict = house.publishing.try_out(&request, none).await.expect("judged");
    assert_eq!((verdict.judged, verdict.status()), (Judged::Declared, 201));
    let verdict = house.publishing.try_out(&request, Some(body("version=1.4.0", 3))).await.expect("judged");
    assert_eq!((verdict.judged, verdict.status(), verdict.size), (Judged::Image, 201, 4048));
    assert_eq!(verdict.facts.expect("inspected").version.as_deref(), Some("1.4.0"));
    let verdict = house.publishing.try_out(&request, Some(body("version=1.3.0", 50))).await.expect("judged");
    assert_eq!((verdict.judged, verdict.status()), (Judged::Underway, 422));
    assert_eq!(verdict.facts.expect("inspected").version.as_deref(), Some("1.3.0"));
    assert!(house.state().await.releases.is_empty());
    house.publish("1.4.0", "version=1.4.0").await.expect("fits");
    let verdict = house.publishing.try_out(&request, Some(body("version=1.4.0", 3))).await.expect("judged");
    assert_eq!(verdict.status(), 200);
    let verdict = house.publishing.try_out(&request, Some(body("version=1.4.0", 4))).await.expect("judged");
    assert_eq!(verdict.status(), 409);
}

#[tokio::test]
async fn floors_needs_and_replacements_are_kept_and_judged() {
    let house = House::new(serde_json::json!({})).await;
    house.publish("1.0.0", "version=1.0.0").await.expect("fits");
    let mut request = house.request("2.0.0");
    request.candidate.path = UpgradePath { floor: true, upgrade_from: Some(version("1.5.0")) };
    let refused = house.publishing.publish(&request, body("version=2.0.0", 3)).await;
    assert_eq!(codes(refused), ["strands-devices"]);
    request.candidate.path.upgrade_from = Some(version("1.0.0"));
    let published =
        house.publishing.publish(&request, body("version=2.0.0", 3)).await.expect("1.0.0 takes it");
    let release = published.state.release(&version("2.0.0")).expect("stored");
    assert!(release.floor && release.upgrade_from == Some(version("1.0.0")));

    let repath = |path: UpgradePath, allow_stranding| Repathing {
        product: house.product.clone(),
        version: version("2.0.0"),
        path,
        consent: Consent { allow_stranding, ..Consent::default() },
        actor: "tester".into(),
    };
    let needs = UpgradePath { floor: false, upgrade_from: Some(version("1.9.0")) };
    assert_eq!(codes(house.publishing.set_path(&repath(needs.clone(), false)).await), ["strands-devices"]);
    let changed = house.publishing.set_path(&repath(needs, true)).await.expect("said twice");
    assert!(!changed.state.release(&version("2.0.0")).expect("stored").floor);

    let recall = |replacement: Option<&str>| Recalling {
        product: house.product.clone(),
        version: version("2.0.0"),
        reason: "boot loop".into(),
        replacement: replacement.map(version),
        consent: Consent::default(),
        actor: "tester".into(),
    };
    assert_eq!(codes(house.publishing.recall(&recall(Some("1.1.0"))).await), ["replacement-unknown"]);
    let recalled = house.publishing.recall(&recall(Some("1.0.0"))).await.expect("it is there");
    let kept = recalled.state.release(&version("2.0.0")).and_then(|release| release.recall.clone());
    assert_eq!(kept.expect("recalled").replacement, Some(version("1.0.0")));
}
