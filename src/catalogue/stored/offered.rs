//! Which images of many can be offered, chosen before they are read.
//!
//! Most products have a long past and one release that counts. Of images that name the same hardware, in one channel, only
//! that of the highest version that is not recalled can be offered, unless a release of the product is a floor, names
//! the lowest version that can take it, or is gone on from by a recall's replacement. So the database sums up a product
//! without any of these by channel and hardware, and only what is chosen is read as rows; one that has any is
//! read whole, and so is one that has or had short links, which name all images.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{PromotionRow, parsed};
use crate::{
    domain::{Product, Version},
    error::Result,
};

/// All images that are promoted to a channel and name the same hardware.
pub(in crate::catalogue) struct OfferedRow {
    pub product_id: Uuid,
    pub channel: String,
    /// `VERSION ID` of each whose release is not recalled, with commas between them; `None` = there is none.
    pub images: Option<String>,
    /// When the first of them was promoted.
    pub promoted_at: DateTime<Utc>,
}

/// Whether checks need more of a product than what its channels offer, by its settings alone.
pub(in crate::catalogue) fn is_read_whole(product: &Product) -> bool {
    product.settings.delivery.follows_short_links()
}

/// The images that can be offered, as promotions. A channel of which nothing can be offered is there too, with an image
/// that does not exist, for it is a channel all the same.
pub(in crate::catalogue) fn chosen(rows: Vec<OfferedRow>) -> Result<Vec<PromotionRow>> {
    let mut promotions = Vec::with_capacity(rows.len());
    for row in rows {
        for image_id in highest(row.images.as_deref().unwrap_or_default())? {
            promotions.push(PromotionRow {
                product_id: row.product_id,
                channel: row.channel.clone(),
                image_id,
                promoted_at: row.promoted_at,
                withdrawn_at: None,
            });
        }
    }
    Ok(promotions)
}

/// The images of the highest version, usually one; the nil id if there is none at all.
fn highest(images: &str) -> Result<Vec<Uuid>> {
    let mut highest: Option<(Version, Vec<Uuid>)> = None;
    for image in images.split_terminator(',') {
        let (version, id) = image.split_once(' ').unwrap_or_default();
        let (version, id) = (parsed(Version::parse(version))?, parsed(Uuid::parse_str(id))?);
        match &mut highest {
            Some((known, _)) if version < *known => {}
            Some((known, ids)) if version == *known => ids.push(id),
            highest => *highest = Some((version, vec![id])),
        }
    }
    Ok(highest.map_or_else(|| vec![Uuid::nil()], |(_, ids)| ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_is_chosen_by_precedence() {
        let id = |number: u128| Uuid::from_u128(number);
        let list = |images: &[(&str, u128)]| {
            let images = images.iter().map(|(version, number)| format!("{version} {}", id(*number)));
            highest(&images.collect::<Vec<_>>().join(",")).expect("well-formed")
        };
        assert_eq!(list(&[("1.9.0", 1), ("1.10.0", 2), ("1.10.0-rc.1", 3)]), [id(2)]);
        assert_eq!(list(&[("1.0.0", 1), ("1.0.0", 2), ("0.9.0", 3)]), [id(1), id(2)]);
        assert_eq!(list(&[]), [Uuid::nil()]);
        assert!(highest("1.0.0").is_err() && highest("1.0 x").is_err());
    }
}
