//! Objects that are no images: small ones, written and read in one request each, and those of others, read through.

use tokio::time::timeout;

use super::{
    S3Bucket, broken_read,
    failure::{failed, is_absent},
};
use crate::{
    bucket::ListedObject,
    error::{Error, Result},
};

impl S3Bucket {
    pub(in crate::bucket) async fn put_small(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let request = self.client.put_object().bucket(&*self.name).key(key);
        let request =
            request.content_type("application/gzip").cache_control("private, no-store").body(bytes.into());
        request.send().await.map_err(|error| failed("sending a small object", error))?;
        Ok(())
    }

    pub(in crate::bucket) async fn get_small(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let answer = match self.client.get_object().bucket(&*self.name).key(key).send().await {
            Ok(answer) => answer,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(failed("reading a small object", error)),
        };
        let bytes = timeout(self.limits.attempt, answer.body.collect()).await.map_err(broken_read)?;
        Ok(Some(bytes.map_err(broken_read)?.to_vec()))
    }

    /// Objects whose keys begin so, in order, after the key `after`.
    pub(in crate::bucket) async fn list_below(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<ListedObject>> {
        let page = self
            .client
            .list_objects_v2()
            .bucket(&*self.name)
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned))
            .max_keys(self.limits.page)
            .send()
            .await
            .map_err(|error| failed("listing objects", error))?;
        let objects = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let size = object.size.and_then(|size| size.try_into().ok())?;
            Some(ListedObject { key: object.key?, size })
        });
        Ok(objects.collect())
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
