//! Who may write a key.

use std::{sync::Arc, time::Duration};

use firmament::{
    catalogue::{Catalogue, Reservation, Reserved},
    domain::{Product, Revision},
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{LEASE, new_image, new_product, publish, reservation, reserve};

/// A lease that runs out while a test waits a little longer than it.
const SHORT: Duration = Duration::from_secs(1);
const LONGER: Duration = Duration::from_millis(1_200);

fn held(by: &Reservation, expired: bool) -> Reserved {
    Reserved::Held { by: by.clone(), expired }
}

pub async fn a_free_slot_is_granted_and_leaves_the_revision(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mine = reservation(&product, "1.0.0-rc.1", "a.bin", &["a", "B"]);
    assert_eq!(reserve(&catalogue, &mine).await, Reserved::Granted);
    assert_eq!(catalogue.reservations().await.expect("works"), [(mine, false)]);
    assert_eq!(catalogue.revision().await.expect("works"), product.revision);
}

pub async fn the_same_file_name_is_held(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let first = reservation(&product, "1.0.0", "a.bin", &["a"]);
    assert_eq!(reserve(&catalogue, &first).await, Reserved::Granted);
    let second = reservation(&product, "1.0.0", "a.bin", &["b"]);
    assert_eq!(reserve(&catalogue, &second).await, held(&first, false));
    // Nothing of the refused one stays.
    let third = reservation(&product, "1.0.0", "b.bin", &["b"]);
    assert_eq!(reserve(&catalogue, &third).await, Reserved::Granted);
    assert_eq!(catalogue.reservations().await.expect("works").len(), 2);
}

pub async fn overlapping_hardware_is_held_and_disjoint_is_not(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let first = reservation(&product, "1.0.0", "1.bin", &["a", "b"]);
    assert_eq!(reserve(&catalogue, &first).await, Reserved::Granted);
    let overlapping = reservation(&product, "1.0.0", "2.bin", &["b", "c"]);
    assert_eq!(reserve(&catalogue, &overlapping).await, held(&first, false));
    let disjoint = reservation(&product, "1.0.0", "3.bin", &["c", "d"]);
    assert_eq!(reserve(&catalogue, &disjoint).await, Reserved::Granted);
}

pub async fn all_hardware_and_a_named_one_do_not_meet(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let all = reservation(&product, "1.0.0", "1.bin", &[]);
    assert_eq!(reserve(&catalogue, &all).await, Reserved::Granted);
    let named = reservation(&product, "1.0.0", "2.bin", &["a"]);
    assert_eq!(reserve(&catalogue, &named).await, Reserved::Granted);
    let all_again = reservation(&product, "1.0.0", "3.bin", &[]);
    assert_eq!(reserve(&catalogue, &all_again).await, held(&all, false));
}

pub async fn another_version_or_product_is_free(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let other_product = new_product(&catalogue, "q").await;
    for (product, version) in [(&product, "1.0.0"), (&product, "1.0.1"), (&other_product, "1.0.0")] {
        let free = reservation(product, version, "a.bin", &["a"]);
        assert_eq!(reserve(&catalogue, &free).await, Reserved::Granted);
    }
}

pub async fn a_reservation_judged_on_old_facts_is_stale(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    publish(&catalogue, &new_image(&reservation(&product, "1.0.0", "a.bin", &[]), None), None).await;
    let late = reservation(&product, "1.0.1", "a.bin", &[]);
    let answer = catalogue.reserve(&late, product.revision, LEASE).await.expect("works");
    assert_eq!(answer, Reserved::Stale);
    let gone = Product { name: super::product_name("gone"), ..product };
    let answer = catalogue.reserve(&reservation(&gone, "1.0.0", "a.bin", &[]), Revision(1), LEASE).await;
    assert_eq!(answer.expect("works"), Reserved::Stale);
    assert!(catalogue.reservations().await.expect("works").is_empty());
}

pub async fn the_oldest_of_several_holders_is_told(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let older = reservation(&product, "1.0.0", "1.bin", &["b"]);
    let newer = reservation(&product, "1.0.0", "2.bin", &["a"]);
    for granted in [&newer, &older] {
        assert_eq!(reserve(&catalogue, granted).await, Reserved::Granted);
    }
    let both = reservation(&product, "1.0.0", "3.bin", &["a", "b"]);
    assert_eq!(reserve(&catalogue, &both).await, held(&older, false));
}

pub async fn the_same_reservation_again_is_granted(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mine = reservation(&product, "1.0.0", "1.bin", &["a"]);
    assert_eq!(reserve(&catalogue, &mine).await, Reserved::Granted);
    assert_eq!(reserve(&catalogue, &mine).await, Reserved::Granted);
    assert_eq!(catalogue.reservations().await.expect("works"), [(mine, false)]);
}

pub async fn a_lease_is_renewed_by_its_holder_only(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mine = reservation(&product, "1.0.0", "1.bin", &[]);
    assert_eq!(catalogue.reserve(&mine, product.revision, SHORT).await.expect("works"), Reserved::Granted);
    let not_mine = Reservation { holder: Uuid::now_v7(), ..mine.clone() };
    assert!(!catalogue.renew(&not_mine, LEASE).await.expect("works"));
    tokio::time::sleep(LONGER).await;
    assert_eq!(catalogue.reservations().await.expect("works"), [(mine.clone(), true)]);
    assert_eq!(reserve(&catalogue, &reservation(&product, "1.0.0", "1.bin", &[])).await, held(&mine, true));
    // Nobody has claimed it meanwhile.
    assert!(catalogue.renew(&mine, LEASE).await.expect("works"));
    assert_eq!(catalogue.reservations().await.expect("works"), [(mine.clone(), false)]);
    catalogue.release(&mine).await.expect("works");
    assert!(!catalogue.renew(&mine, LEASE).await.expect("works"));
}

pub async fn a_lease_that_ran_out_can_be_claimed_once(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mine = reservation(&product, "1.0.0", "1.bin", &[]);
    assert_eq!(catalogue.reserve(&mine, product.revision, SHORT).await.expect("works"), Reserved::Granted);
    let other = Uuid::now_v7();
    assert!(!catalogue.claim(mine.id, other, LEASE).await.expect("works"), "the lease is still running");
    tokio::time::sleep(LONGER).await;
    assert!(catalogue.claim(mine.id, other, LEASE).await.expect("works"));
    let claimed = Reservation { holder: other, ..mine.clone() };
    assert_eq!(catalogue.reservations().await.expect("works"), [(claimed.clone(), false)]);
    assert!(!catalogue.claim(mine.id, Uuid::now_v7(), LEASE).await.expect("works"));
    assert!(!catalogue.renew(&mine, LEASE).await.expect("works"), "it is somebody else's");
    assert!(catalogue.renew(&claimed, LEASE).await.expect("works"));
    assert!(!catalogue.claim(Uuid::now_v7(), other, LEASE).await.expect("works"), "unknown");
}

pub async fn many_claims_have_one_winner(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let lost = reservation(&product, "1.0.0", "1.bin", &[]);
    let granted = catalogue.reserve(&lost, product.revision, Duration::ZERO).await.expect("works");
    assert_eq!(granted, Reserved::Granted);
    let mut claims = JoinSet::new();
    for _ in 0..16 {
        let catalogue = catalogue.clone();
        claims.spawn(async move { catalogue.claim(lost.id, Uuid::now_v7(), LEASE).await.expect("works") });
    }
    assert_eq!(claims.join_all().await.into_iter().filter(|won| *won).count(), 1);
}

pub async fn leases_of_an_earlier_life_end(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mut mine = reservation(&product, "1.0.0", "1.bin", &[]);
    let other = reservation(&product, "1.0.1", "1.bin", &[]);
    let second = Reservation { holder: mine.holder, ..reservation(&product, "1.0.2", "1.bin", &[]) };
    for granted in [&mine, &other, &second] {
        assert_eq!(reserve(&catalogue, granted).await, Reserved::Granted);
    }
    assert_eq!(catalogue.expire_leases_of(mine.holder).await.expect("works"), 2);
    assert_eq!(catalogue.expire_leases_of(mine.holder).await.expect("works"), 0);
    let all = catalogue.reservations().await.expect("works");
    assert_eq!(all, [(mine.clone(), true), (other, false), (second, true)]);
    mine.holder = Uuid::now_v7();
    assert!(catalogue.claim(mine.id, mine.holder, LEASE).await.expect("works"));
}

pub async fn only_the_holder_releases(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mine = reservation(&product, "1.0.0", "1.bin", &["a"]);
    assert_eq!(reserve(&catalogue, &mine).await, Reserved::Granted);
    let not_mine = Reservation { holder: Uuid::now_v7(), ..mine.clone() };
    catalogue.release(&not_mine).await.expect("works");
    assert_eq!(catalogue.reservations().await.expect("works").len(), 1);
    for _ in 0..2 {
        catalogue.release(&mine).await.expect("works");
    }
    assert!(catalogue.reservations().await.expect("works").is_empty());
    let next = reservation(&product, "1.0.0", "1.bin", &["a"]);
    assert_eq!(reserve(&catalogue, &next).await, Reserved::Granted);
}

pub async fn many_reservations_of_one_slot_have_one_winner(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let (catalogue, product) = (catalogue.clone(), product.clone());
        calls.spawn(async move {
            let wanted = reservation(&product, "1.0.0", "a.bin", &[]);
            let answer = catalogue.reserve(&wanted, product.revision, LEASE).await.expect("works");
            (wanted, answer)
        });
    }
    let answers = calls.join_all().await;
    let winners: Vec<_> = answers.iter().filter(|(_, answer)| *answer == Reserved::Granted).collect();
    let [(winner, _)] = winners.as_slice() else { panic!("{} winners", winners.len()) };
    for (wanted, answer) in &answers {
        assert!(wanted == winner || *answer == held(winner, false), "{answer:?}");
    }
}

pub async fn overlapping_reservations_never_deadlock(catalogue: Arc<dyn Catalogue>) {
    let product = new_product(&catalogue, "p").await;
    let sets: [&[&str]; 4] = [&["a", "b", "c"], &["c", "a"], &["b", "c"], &["c", "b", "a"]];
    let mut calls = JoinSet::new();
    for index in 0..24 {
        let (catalogue, product) = (catalogue.clone(), product.clone());
        calls.spawn(async move {
            let wanted = reservation(&product, "1.0.0", &format!("{index}.bin"), sets[index % 4]);
            loop {
                match catalogue.reserve(&wanted, product.revision, LEASE).await.expect("no deadlock") {
                    Reserved::Granted => return catalogue.release(&wanted).await.expect("works"),
                    Reserved::Held { .. } => tokio::time::sleep(Duration::from_millis(5)).await,
                    Reserved::Stale => panic!("nothing changes the product"),
                }
            }
        });
    }
    calls.join_all().await;
    assert!(catalogue.reservations().await.expect("works").is_empty());
}
