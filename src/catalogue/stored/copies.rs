//! The rows of copies.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{super::ImageCopy, count, digest, hardware, parsed};
use crate::{
    domain::{Digests, FileName, ProductName, Version},
    error::Result,
};

pub(in crate::catalogue) struct CopyRow {
    pub id: Uuid,
    pub product: String,
    pub version: String,
    pub filename: String,
    pub hardware: Vec<String>,
    pub size: i64,
    pub sha256: Vec<u8>,
    pub sha1: Vec<u8>,
    pub md5: Vec<u8>,
    pub etag: String,
    pub created_at: DateTime<Utc>,
    pub copied_at: Option<DateTime<Utc>>,
    pub verified_at: Option<DateTime<Utc>>,
    pub primary_damage: Option<String>,
    pub backup_damage: Option<String>,
}

impl CopyRow {
    pub fn into_copy(self) -> Result<ImageCopy> {
        Ok(ImageCopy {
            image: self.id,
            product: parsed(ProductName::parse(&self.product))?,
            version: parsed(Version::parse(&self.version))?,
            filename: parsed(FileName::parse(&self.filename))?,
            hardware: hardware(&self.hardware)?,
            size: count(self.size)?,
            digests: Digests {
                sha256: digest(self.sha256)?,
                sha1: digest(self.sha1)?,
                md5: digest(self.md5)?,
            },
            etag: self.etag,
            created_at: self.created_at,
            copied_at: self.copied_at,
            verified_at: self.verified_at,
            primary_damage: self.primary_damage,
            backup_damage: self.backup_damage,
        })
    }
}
