//! Transport: the two listeners' routes, and the layers that both share.
//!
//! Handlers are short: extract, authorize, one call of a use case, render. The publisher's and the device's side
//! share no state: [`device::DeviceState`] holds snapshot, link maker, the reader of the embedded bucket and counters, and
//! has no catalogue, no bucket writer and no token, so device code cannot reach them even by mistake.
//!
//! - [`front`]: what every request passes first: one `Host`, no `..`, panics caught, errors rendered as problems
//! - [`head`] and [`reply`]: a request and an answer that need no HTTP library's types, for what is answered at once
//! - [`problem`]: errors as RFC 9457 problem documents
//! - [`authentication`]: bearer tokens and their scopes
//! - [`later`]: when those come again for whom there was no room
//! - [`health`]: `/livez` and `/readyz`

pub mod authentication;
pub mod device;
pub mod front;
pub mod head;
pub mod health;
pub mod later;
pub mod problem;
pub mod publisher;
mod query;
pub mod reply;
