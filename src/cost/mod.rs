//! What delivering firmware costs a month, side by side for the ways in which it is usually done.
//!
//! Pure: a fleet and its habits ([`Fleet`]) and a price list ([`Prices`], from `config/prices.toml`, each figure with its
//! source and date) go in, an [`Estimate`] comes out. No network, no clock.
//!
//! # What is counted
//! The bytes that devices download, with what is fetched twice because a download broke off ([`Fleet::retry`]); the bytes
//! of their checks; the images in the store. A GB is 2^30 bytes, a month is 365.25 / 12 days.
//!
//! - `EC2 + EFS`: the old way: machines serve files of an EFS mount. Each byte is also read from EFS, which charges
//!   for it; page caches would spare some of that, so this is an upper bound.
//! - `S3 direct`, `S3 + CloudFront`, `Linode direct`: what the names say.
//! - `Linode + Akamai`: the bucket is fetched from only for what the edge does not have ([`Fleet::offload`]), and pays for that
//!   like for any other transfer, unless that is waived. The edge's price is the caller's: it has no list price.
//!
//! Checks are answered by the service's own machines, in every column, and share its transfer with downloads. With
//! [`Fleet::checks_through_cdn`] they come through the CDN of the columns that have one, which charges for them like for downloads.
//!
//! # What it does not do
//! See [`LEFT_OUT`], which is printed with every estimate. It recommends nothing.

mod amount;
mod model;
mod prices;
#[cfg(test)]
mod tests;

pub use amount::{GIB, gigabytes, usd};
pub use model::{Column, Estimate, Fleet, Line, Scenario, estimate, scenarios};
pub use prices::{DEFAULT_PRICES, Prices};

/// What no column has in it, and where it errs, to be said with every estimate.
pub const LEFT_OUT: [&str; 12] = [
    "machines, databases and load balancers: they are needed in every column, and cost about the same",
    "the CDN's fixed fees, commitments, request and TLS fees, and regional surcharges; discounts on any list price",
    "requests to S3 (about $0.40 for a million GETs), and uploads, which are free or a few cents",
    "NAT gateways, transfer between zones and regions, and the traffic of a backup copy",
    "taxes, support plans, people's time, and what moving over costs",
    "delta images themselves: making and storing them",
    "bytes below HTTP of the downloads (TCP and TLS add 2 to 4 %), unless you raise --retry for them",
    "what the devices' own connection costs (SIM cards), which is often more than all of this",
    "what caches spare: the EC2 + EFS column reads every byte from EFS, so it is an upper bound",
    "that what comes in is free: checks are counted in both directions, so their part is an upper bound",
    "checks at the CDN, unless you say --checks-through-cdn; then it is charged for all of them, and the service's machines too",
    "limits: a Linode endpoint gives 10 Gbit/s and a few thousand requests/s by default, see the peak line",
];
