//! A bucket that is not ours, to read from: what `firmament import` takes files out of.

use super::{S3Bucket, S3Limits, S3Settings, s3::PartBudget};
use crate::error::Result;

/// An S3 bucket with any keys.
pub struct Foreign(S3Bucket);

impl Foreign {
    /// A bucket by its settings. Nothing is sent before the first use.
    ///
    /// # Errors
    /// When the endpoint is no URL.
    pub fn new(settings: &S3Settings) -> Result<Self> {
        Ok(Self(S3Bucket::new(settings, S3Limits::default(), &PartBudget::default())?))
    }

    /// All keys that begin so, with sizes in bytes.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.0.list_below(prefix, after.as_deref()).await?;
            let Some(last) = page.last() else { return Ok(all) };
            after = Some(last.key.clone());
            all.extend(page.into_iter().map(|object| (object.key, object.size)));
        }
    }

    /// Gives the bytes of an object to `take`, in order.
    ///
    /// # Errors
    /// What the store or `take` fails with.
    pub async fn read(&self, key: &str, take: impl FnMut(&[u8]) -> std::io::Result<()> + Send) -> Result<()> {
        self.0.read_through(key, take).await
    }
}
