//! The conformance suite of the catalogue: what its port promises, held against every implementation.
//!
//! A case is an `async fn(Arc<dyn Catalogue>)` in one of the submodules, and gets an empty, migrated catalogue. What
//! only one implementation can show is in [`on_postgres_only`] and [`on_sqlite_only`].

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use firmament::{
    catalogue::{Audit, Catalogue, NewImage, Promote, Reservation, Reserved, SqliteCatalogue, Written},
    domain::{
        Action, ChannelName, Digests, Facts, FileName, Hardware, Image, Product, ProductName,
        ProductSettings, ProductState, Revision, UpgradePath, Version,
        facts::{NameKind, Payload},
    },
};
use uuid::Uuid;

use crate::postgres::Database;

mod audit_log;
mod changes;
mod copies;
mod counting;
mod describing;
mod following;
mod leading;
mod on_postgres_only;
mod on_sqlite_only;
mod products;
mod publishing;
mod purging;
mod rebuild;
mod removal;
mod reservations;
mod secrets;
mod uploads;

/// Far longer than any test.
const LEASE: Duration = Duration::from_secs(600);

/// Runs each case on both implementations.
macro_rules! conformance {
    ($($module:ident: $($case:ident),+ $(,)?;)+) => {
        mod on_postgres {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let database = super::Database::create().await;
                    super::$module::$case(std::sync::Arc::new(database.catalogue().await)).await;
                    database.drop().await;
                }
            )+)+
        }
        mod on_sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let folder = tempfile::tempdir().expect("there is a temporary folder");
                    super::$module::$case(std::sync::Arc::new(super::sqlite(&folder).await)).await;
                }
            )+)+
        }
    };
}

conformance! {
    products:
        a_product_is_created_updated_or_left_as_it_is,
        products_are_listed_by_name_and_an_unknown_one_is_none,
        settings_come_back_exactly,
        short_links_that_were_given_out_are_remembered;
    reservations:
        a_free_slot_is_granted_and_leaves_the_revision,
        the_same_file_name_is_held,
        overlapping_hardware_is_held_and_disjoint_is_not,
        all_hardware_and_a_named_one_do_not_meet,
        another_version_or_product_is_free,
        a_reservation_judged_on_old_facts_is_stale,
        the_oldest_of_several_holders_is_told,
        the_same_reservation_again_is_granted,
        a_lease_is_renewed_by_its_holder_only,
        a_lease_that_ran_out_can_be_claimed_once,
        many_claims_have_one_winner,
        leases_of_an_earlier_life_end,
        only_the_holder_releases,
        many_reservations_of_one_slot_have_one_winner,
        overlapping_reservations_never_deadlock;
    counting:
        a_log_counts_once_and_adds_up,
        many_that_count_one_log_add_it_once,
        counts_stay_with_their_product_and_day,
        forgotten_logs_are_uncounted_and_their_counts_stay,
        a_request_counts_once_in_whatever_log,
        many_that_count_the_same_requests_add_each_once,
        a_log_in_parts_counts_once_however_often_it_is_begun,
        forgotten_requests_count_again;
    leading:
        a_duty_has_one_leader_until_it_gives_back,
        a_lead_that_ran_out_is_taken_over,
        many_that_ask_get_one_leader;
    publishing:
        an_image_comes_back_exactly,
        a_second_image_joins_the_release,
        publishing_on_old_facts_is_stale_and_keeps_the_reservation,
        publishing_without_the_reservation_is_lost,
        publishing_promotes_and_withdraws,
        promoting_changes_what_a_channel_offers,
        promoting_an_unknown_image_fails_and_changes_nothing,
        what_is_withdrawn_is_remembered,
        the_path_to_a_release_comes_back,
        a_nul_in_facts_is_stored_as_what_it_is_not,
        a_recall_happens_once,
        a_recall_may_get_its_replacement_later,
        recalling_an_unknown_release_is_told,
        known_keys_are_those_of_images,
        the_audit_log_tells_who_did_what,
        a_text_with_nul_is_refused;
    purging:
        purges_and_the_cursor_move_together,
        a_purge_is_accepted_or_put_off,
        a_purge_with_a_second_time_is_due_twice,
        a_pending_promotion_waits_until_it_is_offered,
        a_recall_or_a_withdrawal_ends_the_waiting,
        what_is_asked_for_anew_waits_anew,
        what_was_refused_waits_no_longer_and_is_seen;
    uploads:
        an_upload_comes_back_exactly,
        a_place_is_held_by_an_upload_as_by_a_publish,
        an_upload_ends_with_its_reservation,
        a_publish_ends_the_upload_and_its_image_is_found,
        a_lock_has_one_holder_until_it_runs_out,
        many_lockers_have_one_winner,
        only_the_locker_keeps_progress,
        an_upload_that_is_written_to_does_not_expire,
        an_expired_upload_is_gone_and_can_be_claimed,
        a_taken_upload_takes_no_more;
    following:
        a_page_holds_what_is_offered_and_no_more,
        pages_are_marked_and_in_order,
        another_history_has_another_hash;
    changes:
        pages_tell_everything_in_order,
        a_product_that_changed_is_told_once_with_all_it_has,
        concurrent_changes_are_serial_and_a_follower_sees_them_all,
        a_listener_hears_a_change,
        migrating_again_does_nothing;
    removal:
        a_removed_image_keeps_its_row_and_is_offered_to_nobody,
        removing_again_changes_nothing,
        removing_on_old_facts_is_stale,
        removed_objects_are_told_until_they_are_gone,
        a_recalled_release_can_be_removed;
    rebuild:
        a_product_comes_back_as_it_was_told,
        a_product_that_is_there_is_left_alone;
    describing:
        notes_and_security_come_back_exactly,
        documents_are_attached_replaced_and_removed,
        describing_on_old_facts_is_stale_and_an_unknown_release_is_told;
    copies:
        every_image_wants_a_copy_and_what_is_lacking_is_counted,
        a_copy_is_remembered_and_read_again_in_order,
        damage_is_remembered_until_the_copy_is_right,
        another_place_has_no_copies,
        a_deep_verification_is_gone_on_with,
        a_removed_image_keeps_its_copy_for_the_hold;
    secrets:
        device_secrets_come_back_exactly_and_are_not_told,
        device_secrets_judged_on_old_facts_are_stale;
    audit_log:
        every_change_is_linked_and_pages_tell_all,
        an_entry_tells_who_from_where_and_what_it_replaced,
        many_writers_make_one_chain;
}

async fn sqlite(folder: &tempfile::TempDir) -> SqliteCatalogue {
    let catalogue = SqliteCatalogue::open(folder.path().join("catalogue.sqlite"))
        .await
        .expect("the folder can be written");
    catalogue.migrate().await.expect("an empty database can be migrated");
    catalogue
}

fn product_name(name: &str) -> ProductName {
    ProductName::parse(name).expect("valid")
}

fn version(text: &str) -> Version {
    Version::parse(text).expect("valid")
}

fn hardware(names: &[&str]) -> BTreeSet<Hardware> {
    names.iter().map(|name| Hardware::parse(name).expect("valid")).collect()
}

/// What is remembered of a change; of one that no case asks about, any verb will do.
fn audit(word: &str) -> Audit {
    let action = Action::parse(word).unwrap_or_default();
    Audit { actor: "tester".into(), action, ..Audit::default() }
}

/// A product with default settings.
async fn new_product(catalogue: &Arc<dyn Catalogue>, name: &str) -> Product {
    let put = catalogue.put_product(&product_name(name), &ProductSettings::default(), &audit("")).await;
    put.expect("the catalogue works").0
}

/// A reservation of a holder of its own.
fn reservation(product: &Product, version_text: &str, filename: &str, names: &[&str]) -> Reservation {
    Reservation {
        id: Uuid::now_v7(),
        product: product.name.clone(),
        version: version(version_text),
        filename: FileName::parse(filename).expect("valid"),
        hardware: hardware(names),
        holder: Uuid::now_v7(),
    }
}

/// What is published under a reservation.
fn new_image(reservation: &Reservation, notes: Option<&str>) -> NewImage {
    NewImage {
        image: Image {
            id: reservation.id,
            filename: reservation.filename.clone(),
            hardware: reservation.hardware.clone(),
            size: 5_000_000_000,
            digests: Digests { sha256: [0xff; 32], sha1: [0; 20], md5: [7; 16] },
            etag: "9b2cf535f27731c974343645a3985328-3".to_owned(),
            created_at: a_time(),
            facts: Some(Arc::new(facts())),
            signature: Some("c2ln".to_owned()),
            removed_at: None,
        },
        reservation: reservation.clone(),
        notes: notes.map(Into::into),
        path: UpgradePath::default(),
    }
}

/// Facts with something of everything.
fn facts() -> Facts {
    let mut facts = Facts::of("esp-app");
    facts.set_version("v1.0.0-rc.1+7");
    facts.name(NameKind::Chip, "ESP32 \u{1F680}'\"");
    facts.security_counter = Some(u64::MAX);
    facts.signed = true;
    facts.key_ids = vec!["ab".to_owned()];
    facts.payload(Payload { name: "a".to_owned(), size: 5, digest: Some("sha256:00".to_owned()) });
    facts.detail("built with", "v5.1");
    facts
}

/// A time that a database with microseconds cannot keep as it is.
fn a_time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_751_234_567, 123_456_789).expect("in range")
}

async fn revision_of(catalogue: &Arc<dyn Catalogue>, name: &ProductName) -> Revision {
    state_of(catalogue, name).await.product.revision
}

async fn state_of(catalogue: &Arc<dyn Catalogue>, name: &ProductName) -> ProductState {
    catalogue.product(name).await.expect("the catalogue works").expect("the product exists")
}

/// The same as changes tell it: without what its images say of themselves.
fn without_facts(mut state: ProductState) -> ProductState {
    state.releases.iter_mut().flat_map(|release| &mut release.images).for_each(|image| image.facts = None);
    state
}

/// Reserves at the product's current revision.
async fn reserve(catalogue: &Arc<dyn Catalogue>, reservation: &Reservation) -> Reserved {
    let judged_at = revision_of(catalogue, &reservation.product).await;
    catalogue.reserve(reservation, judged_at, LEASE).await.expect("the catalogue works")
}

/// Publishes at the product's current revision, and expects success.
async fn publish(catalogue: &Arc<dyn Catalogue>, new: &NewImage, promote: Option<&Promote>) -> ProductState {
    assert_eq!(reserve(catalogue, &new.reservation).await, Reserved::Granted);
    let judged_at = revision_of(catalogue, &new.reservation.product).await;
    done(catalogue.publish(new, promote, judged_at, &audit("image.publish")).await)
}

fn done<T: std::fmt::Debug>(written: firmament::error::Result<Written<T>>) -> T {
    match written {
        Ok(Written::Done(value)) => value,
        other => panic!("not done: {other:?}"),
    }
}

fn promote(channel: &str, images: &[Uuid], withdraw: &[Uuid]) -> Promote {
    Promote::new(ChannelName::parse(channel).expect("valid"), images.to_vec(), withdraw.to_vec())
}

/// The images that a channel may offer.
fn promoted(state: &ProductState, channel: &str) -> BTreeSet<Uuid> {
    let promotions = state.promotions.iter().filter(|promotion| promotion.channel.as_str() == channel);
    promotions.map(|promotion| promotion.image).collect()
}
