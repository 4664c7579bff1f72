//! Uploads that may be resumed.

use std::{sync::Arc, time::Duration};

use firmament::{
    catalogue::{
        Catalogue, Reservation, Reserved, ResumableUpload, UploadKind, UploadLock, UploadProgress, Written,
        is_of_upload,
    },
    domain::Product,
};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{LEASE, a_time, audit, new_image, new_product, reservation, reserve, revision_of};

const SHORT: Duration = Duration::from_secs(1);
const LONGER: Duration = Duration::from_millis(1_200);

fn upload(product: &Product, filename: &str) -> ResumableUpload {
    let reservation = reservation(product, "1.0.0", filename, &["a", "B"]);
    ResumableUpload {
        reservation: Reservation { holder: reservation.id, ..reservation },
        kind: UploadKind::Tus,
        created_at: a_time(),
        declared: json!({"notes": "é"}),
        progress: UploadProgress { size: None, received: 0, stored: json!({}) },
        expires_at: a_time(),
        locked: false,
    }
}

/// Begins an upload that lives so long.
async fn begin(catalogue: &Arc<dyn Catalogue>, lifetime: Duration) -> ResumableUpload {
    let product = new_product(catalogue, "p").await;
    let upload = upload(&product, "a.bin");
    let begun = catalogue.begin_upload(&upload, product.revision, lifetime).await.expect("works");
    assert_eq!(begun, Reserved::Granted);
    upload
}

async fn lock(catalogue: &Arc<dyn Catalogue>, id: Uuid, lease: Duration) -> (Uuid, UploadLock) {
    let locker = Uuid::now_v7();
    (locker, catalogue.lock_upload(id, locker, lease, LEASE).await.expect("works"))
}

pub async fn an_upload_comes_back_exactly(catalogue: Arc<dyn Catalogue>) {
    let begun = begin(&catalogue, LEASE).await;
    let id = begun.reservation.id;
    let found = catalogue.upload(id).await.expect("works").expect("there");
    assert!(is_of_upload(&found.reservation) && !found.locked);
    assert_eq!(found.reservation, begun.reservation);
    assert_eq!(
        (found.kind, &found.declared, &found.progress),
        (begun.kind, &begun.declared, &begun.progress)
    );
    assert_eq!(found.created_at.timestamp_micros(), a_time().timestamp_micros());
    let left = found.expires_at - chrono::Utc::now();
    assert!((500..=610).contains(&left.num_seconds()), "{left}");
    assert_eq!(catalogue.uploads().await.expect("works"), std::slice::from_ref(&found));
    // Once more, after a lost answer.
    let revision = revision_of(&catalogue, &begun.reservation.product).await;
    let again = catalogue.begin_upload(&begun, revision, LEASE).await.expect("works");
    assert_eq!(again, Reserved::Granted);
    assert!(catalogue.declare_upload(id, &json!({"notes": "other"})).await.expect("works"));
    let found = catalogue.upload(id).await.expect("works").expect("there");
    assert_eq!(found.declared, json!({"notes": "other"}));
    let unknown = Uuid::now_v7();
    assert_eq!(catalogue.upload(unknown).await.expect("works"), None);
    assert!(!catalogue.declare_upload(unknown, &json!({})).await.expect("works"));
}

pub async fn a_place_is_held_by_an_upload_as_by_a_publish(catalogue: Arc<dyn Catalogue>) {
    let begun = begin(&catalogue, LEASE).await;
    let product = catalogue.products().await.expect("works").remove(0);
    let other = upload(&product, "a.bin");
    let held = Reserved::Held { by: begun.reservation.clone(), expired: false };
    assert_eq!(catalogue.begin_upload(&other, product.revision, LEASE).await.expect("works"), held);
    assert_eq!(reserve(&catalogue, &reservation(&product, "1.0.0", "a.bin", &[])).await, held);
    let old = firmament::domain::Revision(product.revision.0 - 1);
    let free = upload(&product, "b.bin");
    assert_eq!(catalogue.begin_upload(&free, old, LEASE).await.expect("works"), Reserved::Stale);
    assert_eq!(catalogue.uploads().await.expect("works").len(), 1);
}

pub async fn an_upload_ends_with_its_reservation(catalogue: Arc<dyn Catalogue>) {
    let begun = begin(&catalogue, LEASE).await;
    catalogue.release(&begun.reservation).await.expect("works");
    assert_eq!(catalogue.upload(begun.reservation.id).await.expect("works"), None);
    assert!(catalogue.uploads().await.expect("works").is_empty());
    assert_eq!(lock(&catalogue, begun.reservation.id, LEASE).await.1, UploadLock::Gone);
}

pub async fn a_publish_ends_the_upload_and_its_image_is_found(catalogue: Arc<dyn Catalogue>) {
    let begun = begin(&catalogue, LEASE).await;
    let (id, product) = (begun.reservation.id, &begun.reservation.product);
    let (_, UploadLock::Granted(_)) = lock(&catalogue, id, LEASE).await else { panic!("it is free") };
    assert_eq!(catalogue.product_of_image(id).await.expect("works"), None);
    let revision = revision_of(&catalogue, product).await;
    let new = new_image(&begun.reservation, None);
    let published = catalogue.publish(&new, None, revision, &audit("image.publish")).await.expect("works");
    assert!(matches!(published, Written::Done(_)));
    assert_eq!(catalogue.upload(id).await.expect("works"), None);
    assert_eq!(catalogue.product_of_image(id).await.expect("works").as_ref(), Some(product));
    assert!(catalogue.reservations().await.expect("works").is_empty());
}

pub async fn a_lock_has_one_holder_until_it_runs_out(catalogue: Arc<dyn Catalogue>) {
    let id = begin(&catalogue, LEASE).await.reservation.id;
    let (first, UploadLock::Granted(locked)) = lock(&catalogue, id, SHORT).await else {
        panic!("it is free")
    };
    assert!(locked.locked);
    assert_eq!(lock(&catalogue, id, LEASE).await.1, UploadLock::Held);
    assert_eq!(catalogue.lock_upload(id, first, LEASE, LEASE).await.expect("works"), UploadLock::Held);
    assert!(catalogue.upload(id).await.expect("works").expect("there").locked);
    tokio::time::sleep(LONGER).await;
    assert!(!catalogue.upload(id).await.expect("works").expect("there").locked);
    let (second, UploadLock::Granted(_)) = lock(&catalogue, id, LEASE).await else { panic!("it ran out") };
    catalogue.unlock_upload(id, first).await.expect("works");
    assert_eq!(lock(&catalogue, id, LEASE).await.1, UploadLock::Held, "the first has no say any more");
    catalogue.unlock_upload(id, second).await.expect("works");
    assert!(matches!(lock(&catalogue, id, LEASE).await.1, UploadLock::Granted(_)));
}

pub async fn many_lockers_have_one_winner(catalogue: Arc<dyn Catalogue>) {
    let id = begin(&catalogue, LEASE).await.reservation.id;
    let mut lockers = JoinSet::new();
    for _ in 0..16 {
        let catalogue = Arc::clone(&catalogue);
        lockers.spawn(async move { lock(&catalogue, id, LEASE).await.1 });
    }
    let locks = lockers.join_all().await;
    assert_eq!(locks.iter().filter(|lock| matches!(lock, UploadLock::Granted(_))).count(), 1);
    assert_eq!(locks.iter().filter(|lock| **lock == UploadLock::Held).count(), 15);
}

pub async fn only_the_locker_keeps_progress(catalogue: Arc<dyn Catalogue>) {
    let id = begin(&catalogue, LEASE).await.reservation.id;
    let (locker, _) = lock(&catalogue, id, SHORT).await;
    let progress = UploadProgress { size: Some(9), received: 5, stored: json!({"parts": ["x"]}) };
    let stranger = Uuid::now_v7();
    let keep = async |who, progress: Option<&UploadProgress>| {
        catalogue.keep_upload(id, who, progress, SHORT, LEASE).await.expect("works")
    };
    assert!(!keep(stranger, Some(&progress)).await);
    assert!(keep(locker, Some(&progress)).await);
    assert!(keep(locker, None).await);
    let found = catalogue.upload(id).await.expect("works").expect("there");
    assert_eq!(found.progress, progress);
    tokio::time::sleep(LONGER).await;
    assert!(keep(locker, None).await, "nobody has taken it meanwhile");
    tokio::time::sleep(LONGER).await;
    let (next, _) = lock(&catalogue, id, SHORT).await;
    assert!(!keep(locker, Some(&UploadProgress { received: 9, ..progress.clone() })).await);
    assert!(keep(next, None).await);
    assert_eq!(catalogue.upload(id).await.expect("works").expect("there").progress, progress);
}

pub async fn an_upload_that_is_written_to_does_not_expire(catalogue: Arc<dyn Catalogue>) {
    let begun = begin(&catalogue, SHORT).await;
    let id = begun.reservation.id;
    let (locker, _) = lock(&catalogue, id, LEASE).await;
    assert!(catalogue.keep_upload(id, locker, None, LEASE, SHORT).await.expect("works"));
    tokio::time::sleep(LONGER).await;
    assert_eq!(catalogue.reservations().await.expect("works"), [(begun.reservation.clone(), false)]);
    assert!(!catalogue.claim(id, Uuid::now_v7(), LEASE).await.expect("works"));
    // A replica's end ends its own leases only.
    assert_eq!(catalogue.expire_leases_of(Uuid::now_v7()).await.expect("works"), 0);
    assert!(catalogue.upload(id).await.expect("works").is_some());
}

pub async fn an_expired_upload_is_gone_and_can_be_claimed(catalogue: Arc<dyn Catalogue>) {
    let begun = begin(&catalogue, SHORT).await;
    let id = begun.reservation.id;
    tokio::time::sleep(LONGER).await;
    assert_eq!(catalogue.upload(id).await.expect("works"), None);
    assert_eq!(catalogue.uploads().await.expect("works").len(), 1);
    assert_eq!(lock(&catalogue, id, LEASE).await.1, UploadLock::Gone);
    assert_eq!(catalogue.reservations().await.expect("works"), [(begun.reservation.clone(), true)]);
    let holder = Uuid::now_v7();
    assert!(catalogue.claim(id, holder, LEASE).await.expect("works"));
    assert!(catalogue.uploads().await.expect("works").is_empty());
    catalogue.release(&Reservation { holder, ..begun.reservation }).await.expect("works");
    assert!(catalogue.reservations().await.expect("works").is_empty());
}

pub async fn a_taken_upload_takes_no_more(catalogue: Arc<dyn Catalogue>) {
    let begun = begin(&catalogue, LEASE).await;
    let (id, holder) = (begun.reservation.id, Uuid::now_v7());
    let (locker, _) = lock(&catalogue, id, LEASE).await;
    assert!(!catalogue.take_upload(id, Uuid::now_v7(), holder, LEASE).await.expect("works"));
    assert!(catalogue.take_upload(id, locker, holder, LEASE).await.expect("works"));
    assert!(!catalogue.take_upload(id, locker, holder, LEASE).await.expect("works"));
    assert!(!catalogue.keep_upload(id, locker, None, LEASE, LEASE).await.expect("works"));
    assert_eq!(catalogue.upload(id).await.expect("works"), None);
    let revision = revision_of(&catalogue, &begun.reservation.product).await;
    let late = new_image(&begun.reservation, None);
    let late = catalogue.publish(&late, None, revision, &audit("image.publish")).await.expect("works");
    assert!(matches!(late, Written::Lost), "a late commit comes to nothing");
    let taken = Reservation { holder, ..begun.reservation };
    assert_eq!(catalogue.reservations().await.expect("works"), [(taken.clone(), false)]);
    catalogue.release(&taken).await.expect("works");
    assert!(catalogue.uploads().await.expect("works").is_empty());
}
