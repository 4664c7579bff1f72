//! Counts of downloads as both databases store them.

use chrono::NaiveDate;

use super::parsed;
use crate::{
    catalogue::DownloadCount,
    domain::{FileName, ProductName, Version},
    error::Result,
};

pub(in crate::catalogue) struct DownloadRow {
    pub version: String,
    pub filename: String,
    pub day: NaiveDate,
    pub completed: i64,
    pub partial: i64,
    pub bytes: i64,
    pub edge_bytes: i64,
}

impl DownloadRow {
    pub fn into_count(self, product: &ProductName) -> Result<DownloadCount> {
        Ok(DownloadCount {
            product: product.clone(),
            version: parsed(Version::parse(&self.version))?,
            filename: parsed(FileName::parse(&self.filename))?,
            day: self.day,
            completed: parsed(u64::try_from(self.completed))?,
            partial: parsed(u64::try_from(self.partial))?,
            bytes: parsed(u64::try_from(self.bytes))?,
            edge_bytes: parsed(u64::try_from(self.edge_bytes))?,
        })
    }
}
