//! Removed images as both databases store them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{super::Removed, count, digest, parsed};
use crate::{
    domain::{FileName, ProductName, Version},
    error::Result,
};

pub(in crate::catalogue) struct RemovedRow {
    pub id: Uuid,
    pub product: String,
    pub version: String,
    pub filename: String,
    pub size: i64,
    pub sha256: Vec<u8>,
    pub removed_at: DateTime<Utc>,
}

impl RemovedRow {
    pub fn into_removed(self) -> Result<Removed> {
        Ok(Removed {
            image: self.id,
            product: parsed(ProductName::parse(&self.product))?,
            version: parsed(Version::parse(&self.version))?,
            filename: parsed(FileName::parse(&self.filename))?,
            size: count(self.size)?,
            sha256: digest(self.sha256)?,
            removed_at: self.removed_at,
        })
    }
}
