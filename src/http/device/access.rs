//! Who may ask about a private product, and have its images.
//!
//! Two things count. A device's credential: `Authorization: Bearer CREDENTIAL` together with `device=ID`
//! (`domain::credential`). And a seal, the parameter `c` of a link that a check gave out: so an agent that cannot send
//! headers of its own, or does not send them to another host after a redirect, goes on with the URL that it was given. A
//! bare path of ours never leads to a private image: it would hand out what the token at the CDN guards.

use axum::http::header;
use chrono::Utc;

use crate::{
    cdn::{SEAL_PARAMETER, Terms},
    domain::{ProductOffers, credential},
    error::{Error, Kind, Result},
    http::head::Head,
};

/// The terms of a product's links.
pub(super) fn terms(product: &ProductOffers) -> Terms<'_> {
    Terms { product: product.name(), access: product.access(), secrets: product.secrets() }
}

/// Makes sure that a device is who it says it is.
///
/// # Errors
/// Kind `Unauthenticated`, with what to send.
pub(super) fn authenticate(product: &ProductOffers, device: Option<&str>, head: &Head<'_>) -> Result<()> {
    let refused = |message: &str| Err(Error::new(Kind::Unauthenticated, "device-credential", message));
    let Some(device) = device else {
        return refused("this product's devices say who they are: add device=ID and their credential");
    };
    let Some(value) = head.one(&header::AUTHORIZATION) else {
        return refused("send the device's credential, once: `Authorization: Bearer CREDENTIAL`");
    };
    let shown = match value.split_at_checked(BEARER.len()) {
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
pub(super) fn permit(product: &ProductOffers, key: &str, head: &Head<'_>) -> Result<()> {
    if !product.is_private() {
        return Ok(());
    }
    let parameter = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(head.query().unwrap_or_default().as_bytes());
        pairs.find(|(name, _)| name == wanted).map(|(_, value)| value)
    };
    match parameter(SEAL_PARAMETER) {
        None => authenticate(product, parameter("device").as_deref(), head),
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
