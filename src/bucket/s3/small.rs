//! Objects that are no images: small ones, written in one request each, and any, read through.

use tokio::time::timeout;

use super::{S3Bucket, broken_read, failure::failed};
use crate::error::{Error, Result};

impl S3Bucket {
    pub(in crate::bucket) async fn put_small(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let request = self.client.put_object().bucket(&*self.name).key(key);
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
