//! The secrets that a product's devices are known by (`domain::credential`).
//!
//! They are not among the settings, which every reader of a product sees and the audit log repeats: they have a column
//! and a change of their own, whose audit entry says how many there are and nothing of what they are.

use async_trait::async_trait;

use super::{Audit, Written};
use crate::{
    domain::{DeviceSecrets, ProductName, ProductState, Revision},
    error::Result,
};

/// The part of the catalogue that keeps them.
#[async_trait]
pub trait Secrets {
    /// Replaces a product's secrets. Returns the product as it is now.
    async fn put_device_secrets(
        &self,
        product: &ProductName,
        secrets: &DeviceSecrets,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>>;
}
