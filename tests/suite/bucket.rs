//! The bucket: the same cases on a directory and on a real S3 gateway, and what only S3 can get wrong.
//!
//! - [`store`]: a bucket of either kind for one test
//! - [`cases`]: what both kinds promise
//! - [`resumable`]: objects that come in pieces
//! - [`foreign`]: objects that others write
//! - [`gateway`]: S3 alone: headers, paging, styles, refusals
//! - [`faults`]: a store that hangs, is overloaded, or loses its answers
//! - [`wire`]: a server that shows what is sent

mod cases;
mod faults;
mod foreign;
mod gateway;
mod resumable;
pub(crate) mod store;
pub(crate) mod wire;

use store::Store;

macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod directory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::cases::$case(&super::Store::directory().await).await;
            })*
        }
        mod s3 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::cases::$case(&super::Store::s3()).await;
            })*
        }
    };
}

on_both!(
    an_empty_object,
    a_small_object,
    exactly_one_part,
    one_part_and_a_byte,
    three_and_a_half_parts,
    abort_leaves_nothing,
    drop_leaves_nothing,
    the_last_of_two_uploads_on_one_key_stays,
    unfinished_uploads_are_found_and_aborted,
    a_size_that_differs_is_refused_and_leaves_nothing,
    listing_is_ordered_and_goes_on_after_a_key,
    what_is_absent_is_none_and_can_be_deleted,
    probing_a_good_bucket,
);

#[tokio::test]
async fn a_directory_that_cannot_be_made_says_what_to_do() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let opened = firmament::bucket::DirectoryBucket::open(file.path()).await;
    let error = opened.err().expect("a file is no directory");
    assert_eq!((error.kind(), error.code()), (firmament::error::Kind::Internal, "bucket-misconfigured"));
    assert!(error.message().contains("or set another directory"), "{}", error.message());
}
