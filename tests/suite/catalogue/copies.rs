//! What the backup has.

use std::{sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use firmament::catalogue::{Catalogue, CopyMade, ImageCopy};
use uuid::Uuid;

use super::{audit, done, new_image, new_product, product_name, publish, reservation, revision_of};

/// A product with so many images, in the order of their publish.
async fn images(catalogue: &Arc<dyn Catalogue>, count: usize) -> Vec<Uuid> {
    let product = new_product(catalogue, "p").await;
    let mut ids = Vec::new();
    for number in 0..count {
        let new = new_image(&reservation(&product, &format!("1.0.{number}"), "f", &["a", "b"]), None);
        publish(catalogue, &new, None).await;
        ids.push(new.image.id);
    }
    ids
}

fn ids(copies: &[ImageCopy]) -> Vec<Uuid> {
    copies.iter().map(|copy| copy.image).collect()
}

fn made(image: Uuid, verified: bool) -> CopyMade {
    CopyMade { image, verified }
}

pub async fn every_image_wants_a_copy_and_what_is_lacking_is_counted(catalogue: Arc<dyn Catalogue>) {
    assert_eq!(catalogue.backup_lag().await.expect("works"), Default::default());
    let images = images(&catalogue, 3).await;
    let lacking = catalogue.uncopied(None, 2).await.expect("works");
    assert_eq!(ids(&lacking), images[..2]);
    assert_eq!(ids(&catalogue.uncopied(Some(images[1]), 2).await.expect("works")), images[2..]);
    let first = &lacking[0];
    assert_eq!(
        (first.product.as_str(), first.version.to_string(), first.filename.as_str()),
        ("p", "1.0.0".into(), "f")
    );
    assert_eq!((first.hardware.len(), first.size, first.digests.md5), (2, 5_000_000_000, [7; 16]));
    assert_eq!((first.copied_at, first.verified_at, &first.primary_damage), (None, None, &None));

    let lag = catalogue.backup_lag().await.expect("works");
    assert_eq!((lag.objects, lag.bytes), (3, 15_000_000_000));
    // The images say that they were made in 2025.
    assert!(lag.age > Duration::from_secs(1000), "{lag:?}");
    catalogue.copied(&[made(images[0], false), made(images[1], true)]).await.expect("works");
    let lag = catalogue.backup_lag().await.expect("works");
    assert_eq!((lag.objects, lag.bytes), (1, 5_000_000_000));
    catalogue.not_copied(images[2], "no room").await.expect("works");
    let report = catalogue.backup_report(Utc::now()).await.expect("works");
    assert_eq!((report.copied, report.copied_bytes, report.unread), (2, 10_000_000_000, 1));
    assert_eq!(report.error.as_deref(), Some("no room"));
    catalogue.copied(&[made(images[2], true)]).await.expect("works");
    let report = catalogue.backup_report(Utc::now() - TimeDelta::hours(1)).await.expect("works");
    assert_eq!((report.copied, report.read_since, report.error), (3, 2, None));
    assert_eq!(report.lag.age, Duration::ZERO);
    assert_eq!(ids(&catalogue.copies(Some(images[0]), 9).await.expect("works")), images[1..]);
}

pub async fn a_copy_is_remembered_and_read_again_in_order(catalogue: Arc<dyn Catalogue>) {
    let images = images(&catalogue, 3).await;
    catalogue.copied(&[made(images[0], true)]).await.expect("works");
    catalogue.copied(&[made(images[1], true), made(images[2], false)]).await.expect("works");
    assert_eq!(ids(&catalogue.copies_to_read(None, 9).await.expect("works")), images[2..]);
    let future = Utc::now() + TimeDelta::hours(1);
    let order = ids(&catalogue.copies_to_read(Some(future), 9).await.expect("works"));
    assert_eq!(order, [images[2], images[0], images[1]], "unread first, then by when");
    catalogue.inspected(images[2], None, None).await.expect("works");
    assert!(catalogue.copies_to_read(None, 9).await.expect("works").is_empty());
    let order = ids(&catalogue.copies_to_read(Some(future), 2).await.expect("works"));
    assert_eq!(order, images[..2]);
    assert!(
        catalogue.copies_to_read(Some(Utc::now() - TimeDelta::hours(1)), 9).await.expect("works").is_empty()
    );
}

pub async fn damage_is_remembered_until_the_copy_is_right(catalogue: Arc<dyn Catalogue>) {
    let images = images(&catalogue, 2).await;
    catalogue.copied(&[made(images[0], true), made(images[1], true)]).await.expect("works");
    let before = catalogue.copies(None, 1).await.expect("works")[0].verified_at;
    catalogue.inspected(images[0], Some("missing"), None).await.expect("works");
    let damaged = catalogue.damaged(9).await.expect("works");
    assert_eq!(ids(&damaged), images[..1]);
    assert_eq!((damaged[0].primary_damage.as_deref(), &damaged[0].backup_damage), (Some("missing"), &None));
    assert_eq!(damaged[0].verified_at, before, "damage is no verification");
    let lag = catalogue.backup_lag().await.expect("works");
    assert_eq!((lag.objects, lag.damaged_primary, lag.damaged_backup), (0, 1, 0));
    catalogue.copied(&[made(images[0], true)]).await.expect("works");
    assert!(catalogue.damaged(9).await.expect("works").is_empty());

    assert_eq!(catalogue.backup_lag().await.expect("works").primary_gone, None);
    catalogue.set_primary_gone(Some("no such bucket")).await.expect("works");
    assert_eq!(catalogue.backup_lag().await.expect("works").primary_gone.as_deref(), Some("no such bucket"));
    catalogue.set_primary_gone(None).await.expect("works");
    assert_eq!(catalogue.backup_lag().await.expect("works").primary_gone, None);
}

pub async fn another_place_has_no_copies(catalogue: Arc<dyn Catalogue>) {
    let images = images(&catalogue, 2).await;
    assert!(!catalogue.set_backup("one").await.expect("works"), "the first place is no other");
    catalogue.copied(&[made(images[0], true), made(images[1], false)]).await.expect("works");
    catalogue.backup_ended(Some("slow")).await.expect("works");
    assert!(!catalogue.set_backup("one").await.expect("works"));
    let report = catalogue.backup_report(Utc::now()).await.expect("works");
    assert_eq!(
        (report.place.as_deref(), report.copied, report.error.as_deref()),
        (Some("one"), 2, Some("slow"))
    );
    catalogue.backup_ended(None).await.expect("works");
    let report = catalogue.backup_report(Utc::now()).await.expect("works");
    assert!(report.succeeded_at.is_some() && report.error.is_none(), "{report:?}");

    assert!(catalogue.set_backup("other").await.expect("works"));
    let report = catalogue.backup_report(Utc::now()).await.expect("works");
    assert_eq!((report.place.as_deref(), report.copied, report.lag.objects), (Some("other"), 0, 2));
    assert_eq!(report.succeeded_at, None);
    assert_eq!(ids(&catalogue.uncopied(None, 9).await.expect("works")), images);
}

pub async fn a_deep_verification_is_gone_on_with(catalogue: Arc<dyn Catalogue>) {
    let began = catalogue.begin_deep_verification(false).await.expect("works");
    assert_eq!(catalogue.begin_deep_verification(false).await.expect("works"), began);
    let anew = catalogue.begin_deep_verification(true).await.expect("works");
    assert!(anew > began);
    catalogue.end_deep_verification().await.expect("works");
    assert!(catalogue.begin_deep_verification(false).await.expect("works") > anew);
}

pub async fn a_removed_image_keeps_its_copy_for_the_hold(catalogue: Arc<dyn Catalogue>) {
    let images = images(&catalogue, 3).await;
    catalogue.copied(&[made(images[0], true), made(images[1], false)]).await.expect("works");
    catalogue.inspected(images[0], None, Some("missing")).await.expect("works");
    let product = product_name("p");
    let judged_at = revision_of(&catalogue, &product).await;
    done(catalogue.remove(&product, &images, judged_at, &audit("image.remove")).await);

    // Nothing is to be copied, read or healed any more.
    assert_eq!(catalogue.backup_lag().await.expect("works"), Default::default());
    assert!(catalogue.uncopied(None, 9).await.expect("works").is_empty());
    assert!(catalogue.copies_to_read(None, 9).await.expect("works").is_empty());
    assert!(catalogue.damaged(9).await.expect("works").is_empty());
    assert!(catalogue.copies(None, 9).await.expect("works").is_empty());
    let taken = catalogue.inspected(images[0], Some("missing"), None).await.expect("works");
    assert!(!taken, "who read it before the removal must not put it back");
    assert!(catalogue.copies_past_hold(Duration::from_secs(600), 9).await.expect("works").is_empty());
    let past = ids(&catalogue.copies_past_hold(Duration::ZERO, 9).await.expect("works"));
    assert_eq!(past.len(), 3, "{past:?}");
    catalogue.copy_dropped(images[0]).await.expect("works");
    let past = ids(&catalogue.copies_past_hold(Duration::ZERO, 9).await.expect("works"));
    assert!(past.len() == 2 && !past.contains(&images[0]), "{past:?}");
}
