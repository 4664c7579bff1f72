//! Objects that are no images: small ones, written in one request each, and any, read through.

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::{S3Bucket, broken_read, failure::failed, metadata};
use crate::error::{Error, Result};

impl S3Bucket {
    /// Writes a small object. `at` is what mounts show as its time, and must be the same in primary and backup: without it
    /// rclone would write its own, at every run.
    pub(in crate::bucket) async fn put_small(
        &self,
        key: &str,
        bytes: Vec<u8>,
        at: DateTime<Utc>,
    ) -> Result<()> {
        let mut request = self.client.put_object().bucket(&*self.name).key(key);
        for (name, value) in metadata::of_file(at) {
            request = request.metadata(name, value);
        }
        let request =
            request.content_type("application/gzip").cache_control("private, no-store").body(bytes.into());
        request.send().await.map_err(|error| failed("sending a small object", error))?;
        Ok(())
    }

    /// Gives the bytes of any object to `take`, in order.
    pub(in crate::bucket) async fn read_through(
        &self,
        key: &str,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()> + Send,
    ) -> Result<()> {
        let request = self.client.get_object().bucket(&*self.name).key(key).send();
        let mut body = request.await.map_err(|error| failed("reading an object", error))?.body;
        loop {
            let next = timeout(self.limits.attempt, body.try_next()).await.map_err(broken_read)?;
            let Some(bytes) = next.map_err(broken_read)? else { return Ok(()) };
            take(&bytes).map_err(Error::internal)?;
        }
    }
}
