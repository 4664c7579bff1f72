//! Who may ask about a private product, and have its images.
//!
//! Two things count. A device's credential: `Authorization: Bearer CREDENTIAL` together with `device=ID`
//! (`domain::credential`). And a seal, the parameter `c` of a link that a check gave out: so an agent that cannot send
//! headers of its own, or does not send them to another host after a redirect, goes on with the URL that it was given. A
//! bare path of ours never leads to a private image: it would hand out what the token at the CDN guards.

use axum::http::{HeaderMap, header};
use chrono::Utc;

use crate::{
    cdn::{SEAL_PARAMETER, Terms},
    domain::{ProductOffers, credential},
    error::{Error, Kind, Result},
};

/// The terms of a product's links.
pub(super) fn terms(product: &ProductOffers) -> Terms<'_> {
    Terms { product: product.name(), access: product.access(), secrets: product.secrets() }
}

/// Makes sure that a device is who it says it is.
///
/// # Errors
/// Kind `Unauthenticated`, with what to send.
pub(super) fn authenticate(product: &ProductOffers, device: Option<&str>, headers: &HeaderMap) -> Result<()> {
    let refused = |message: &str| Err(Error::new(Kind::Unauthenticated, "device-credential", message));
    let Some(device) = device else {
        return refused("this product's devices say who they are: add device=ID and their credential");
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return refused("send the device's credential, once: `Authorization: Bearer CREDENTIAL`");
    };
    let bytes = value.as_bytes();
    let shown = match bytes.split_at_checked(BEARER.len()) {
        Some((scheme, shown)) if scheme.eq_ignore_ascii_case(BEARER) => shown.trim_ascii(),
        _ => return refused("the Authorization header is not of the form `Bearer CREDENTIAL`"),
    };
    if credential::is_credential(product.secrets(), product.name(), device, shown) {
        return Ok(());
    }
    refused("this is not the credential of that device of that product: see `firmament device credential`")
}

const BEARER: &[u8] = b"Bearer ";

/// Makes sure that a request for an image of a product, by a link of ours, may have it.
///
/// # Errors
/// Kind `Forbidden`: the seal has ended, or is none. Kind `Unauthenticated`: there is neither a seal nor a credential.
pub(super) fn permit(
    product: &ProductOffers,
    key: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<()> {
    if !product.is_private() {
        return Ok(());
    }
    let parameter = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.find(|(name, _)| name == wanted).map(|(_, value)| value)
    };
    match parameter(SEAL_PARAMETER) {
        None => authenticate(product, parameter("device").as_deref(), headers),
        Some(seal) => {
            let ends = credential::seal_ends(product.secrets(), product.name(), key, &seal, Utc::now());
            if ends.is_some() {
                return Ok(());
            }
            Err(Error::new(
                Kind::Forbidden,
                "link-ended",
                "this link has ended: check again for a fresh one, and keep what you have loaded",
            ))
        }
    }
}
