//! How the product's images reach its devices, in the packed form: see `domain::delivery` and `domain::credential`.
//!
//! Of products whose offers carry short links, or did, the block names all images that were ever offered, and not only those
//! that are: a device goes on with the link that it was given when something newer is offered already, and is told when what
//! it loads was recalled.

use super::{DELIVERY_AT, IMAGES_AT, ProductOffers, SECRETS_AT, SHORT};
use crate::domain::{Access, Delivery};

pub(super) const PUBLIC: u32 = 1;
pub(super) const PRIVATE: u32 = 2;
pub(super) const AUTHENTICATES: u32 = 4;
pub(super) const SHORT_LINKS: u32 = 8;

pub(super) const GONE: u32 = 1;

/// How many letters of a short id are the image's own.
pub(super) const ID: usize = 8;
const ENTRY: usize = ID + 2 * SHORT;

/// An image that a short link names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortImage<'a> {
    /// Where it is in the bucket.
    pub key: &'a str,
    /// Its release was taken back, or it was removed.
    pub gone: bool,
}

/// The bits of a product's settings.
pub(super) fn bits(delivery: &Delivery) -> u32 {
    let access = match delivery.access {
        None => 0,
        Some(Access::Public) => PUBLIC,
        Some(Access::Private) => PRIVATE,
    };
    let authenticates = if delivery.authenticate_devices { AUTHENTICATES } else { 0 };
    access | authenticates | if delivery.follows_short_links() { SHORT_LINKS } else { 0 }
}

impl ProductOffers {
    fn has(&self, bit: u32) -> bool {
        self.block().short(DELIVERY_AT) & bit as usize != 0
    }

    /// Who may have its images; `None` = as the settings of the service have it.
    pub fn access(&self) -> Option<Access> {
        let bits = self.block().short(DELIVERY_AT);
        match bits & (PUBLIC | PRIVATE) as usize {
            0 => None,
            bits if bits == PUBLIC as usize => Some(Access::Public),
            _ => Some(Access::Private),
        }
    }

    /// Whether only whoever was given a link may have its images.
    pub fn is_private(&self) -> bool {
        self.has(PRIVATE)
    }

    /// Whether checks must come with the device's credential.
    pub fn authenticates_devices(&self) -> bool {
        self.has(AUTHENTICATES)
    }

    /// Whether short links may name its images: those of its offers, or of earlier ones.
    pub fn has_short_links(&self) -> bool {
        self.has(SHORT_LINKS)
    }

    /// What its devices are known by, as `DeviceSecrets::to_bytes` has it.
    pub fn secrets(&self) -> &[u8] {
        let block = self.block();
        block.raw_text(block.short(SECRETS_AT))
    }

    /// The image of these letters, those behind the product's in a short id.
    pub fn short_image(&self, id: &str) -> Option<ShortImage<'_>> {
        let block = self.block();
        let table_at = block.short(IMAGES_AT);
        let entry = |index: usize| table_at + SHORT + index * ENTRY;
        let (mut low, mut high) = (0, block.short(table_at));
        while low < high {
            let middle = low.midpoint(high);
            let at = entry(middle);
            match block.bytes(at, ID).cmp(id.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    let state = block.short(at + ID + SHORT);
                    let key = block.text(block.short(at + ID));
                    return Some(ShortImage { key, gone: state & GONE as usize != 0 });
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DeviceSecrets, ProductState, credential, snapshot::tests::product};

    fn packed(delivery: serde_json::Value, state: ProductState) -> ProductOffers {
        let mut state = state;
        state.product.settings.delivery = serde_json::from_value(delivery).expect("known members");
        state.product.device_secrets = DeviceSecrets::new([[7; 32], [8; 32]]);
        ProductOffers::of(&state)
    }

    fn two() -> ProductState {
        product(&[("1.0.0", &[&[]], true), ("1.1.0", &[&["a"], &[]], false)])
    }

    #[test]
    fn what_says_nothing_packs_nothing() {
        let offers = packed(serde_json::json!({}), two());
        assert_eq!((offers.access(), offers.is_private()), (None, false));
        assert!(!offers.authenticates_devices() && !offers.has_short_links());
        assert!(offers.secrets().is_empty(), "no secret where none is needed");
        let offer = offers.channel("stable").expect("there").all()[0].1;
        assert_eq!(offer.short_id(), None);
        let public = packed(serde_json::json!({ "access": "public" }), two());
        assert_eq!((public.access(), public.secrets()), (Some(Access::Public), &[][..]));
    }

    #[test]
    fn links_that_were_given_out_outlive_the_setting() {
        let offers = packed(serde_json::json!({ "had_short_links": true }), two());
        assert!(offers.has_short_links());
        for (key, gone) in [("thermo-x/1.0.0/0.bin", true), ("thermo-x/1.1.0/0.bin", false)] {
            let id = credential::short_id("thermo-x", key);
            let (_, rest) = credential::split_short_id(&id).expect("whole");
            assert_eq!(offers.short_image(rest), Some(ShortImage { key, gone }));
        }
        let offer = offers.channel("stable").expect("there").all()[0].1;
        assert_eq!(offer.short_id(), None, "offers carry direct links");
    }

    #[test]
    fn an_image_that_nobody_was_told_of_has_no_short_link() {
        let mut state = two();
        let untold = state.releases[1].images[0].id;
        state.promotions.retain(|promotion| promotion.image != untold);
        let offers = packed(serde_json::json!({ "link": "short" }), state);
        for (key, there) in [("thermo-x/1.1.0/0.bin", false), ("thermo-x/1.1.0/1.bin", true)] {
            let id = credential::short_id("thermo-x", key);
            let (_, rest) = credential::split_short_id(&id).expect("whole");
            assert_eq!(offers.short_image(rest).is_some(), there, "{key}");
        }
    }

    #[test]
    fn all_images_have_a_short_link_and_what_is_gone_shows() {
        let delivery =
            serde_json::json!({ "access": "private", "authenticate_devices": true, "link": "short" });
        let offers = packed(delivery, two());
        assert!(offers.is_private() && offers.authenticates_devices() && offers.has_short_links());
        assert_eq!(offers.secrets(), [[7; 32], [8; 32]].concat());
        for (key, gone) in
            [("thermo-x/1.0.0/0.bin", true), ("thermo-x/1.1.0/0.bin", false), ("thermo-x/1.1.0/1.bin", false)]
        {
            let id = credential::short_id("thermo-x", key);
            let (_, rest) = credential::split_short_id(&id).expect("whole");
            assert_eq!(offers.short_image(rest), Some(ShortImage { key, gone }));
        }
        assert_eq!(offers.short_image("00000000"), None);
        for (_, offer) in offers.channel("stable").expect("there").all() {
            assert_eq!(
                offer.short_id().map(str::to_owned),
                Some(credential::short_id("thermo-x", offer.key()))
            );
        }
        assert_eq!(offers.name(), "thermo-x");
    }
}
