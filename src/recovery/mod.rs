//! What operators do when something was lost: compare catalogue, bucket and backup, and make a lost catalogue anew.
//!
//! - [`fsck`]: lists every difference between them
//! - [`rebuild`]: makes a catalogue from what lies in the bucket
//! - `objects`: the bucket's objects in order, and their bytes
//!
//! Both are commands that run beside a server or without one; neither needs an HTTP listener. They read the stores as they
//! are and decide nothing about releases: what a rebuilt catalogue offers is what the manifests say.

use std::collections::BTreeSet;

use crate::{
    domain::{ProductName, manifest::ManifestName},
    error::{Error, Kind},
};

mod difference;
pub mod fsck;
mod objects;
pub mod rebuild;

/// How many questions to a store are under way at once.
const AT_ONCE: usize = 16;

/// What a long command tells on its way: one line each.
pub type Tell<'a> = &'a mut (dyn FnMut(&str) + Send);

/// The newest manifest of each product.
fn newest(names: &[ManifestName]) -> Vec<&ManifestName> {
    let products: BTreeSet<&ProductName> = names.iter().map(|name| &name.product).collect();
    let of = |product: &ProductName| {
        names.iter().filter(|name| name.product == *product).max_by_key(|name| name.revision)
    };
    products.into_iter().filter_map(of).collect()
}

fn refused(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, code, message.into())
}
