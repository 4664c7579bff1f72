//! Which replica does a duty.

use std::{sync::Arc, time::Duration};

use firmament::catalogue::Catalogue;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::LEASE;

pub async fn a_duty_has_one_leader_until_it_gives_back(catalogue: Arc<dyn Catalogue>) {
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    assert!(catalogue.lead("backup", one, LEASE).await.expect("works"));
    assert!(!catalogue.lead("backup", other, LEASE).await.expect("works"));
    assert!(catalogue.lead("backup", one, LEASE).await.expect("works"), "the leader goes on");
    assert!(catalogue.lead("purge", other, LEASE).await.expect("works"), "another duty is free");

    catalogue.stop_leading("backup", other).await.expect("works");
    assert!(!catalogue.lead("backup", other, LEASE).await.expect("works"), "only the leader gives back");
    catalogue.stop_leading("backup", one).await.expect("works");
    assert!(catalogue.lead("backup", other, LEASE).await.expect("works"));
}

pub async fn a_lead_that_ran_out_is_taken_over(catalogue: Arc<dyn Catalogue>) {
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    assert!(catalogue.lead("backup", one, Duration::ZERO).await.expect("works"));
    assert!(catalogue.lead("backup", other, LEASE).await.expect("works"));
    assert!(!catalogue.lead("backup", one, LEASE).await.expect("works"), "it leads no more");
}

pub async fn many_that_ask_get_one_leader(catalogue: Arc<dyn Catalogue>) {
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let catalogue = catalogue.clone();
        calls.spawn(async move { catalogue.lead("backup", Uuid::now_v7(), LEASE).await.expect("works") });
    }
    let leaders = calls.join_all().await.into_iter().filter(|led| *led).count();
    assert_eq!(leaders, 1);
}
