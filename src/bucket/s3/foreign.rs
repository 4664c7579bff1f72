//! Objects that others write into a bucket, such as a CDN's logs: found below a prefix, and read whole.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::{
    S3Bucket, broken_read,
    failure::{failed, is_absent},
};
use crate::error::{Error, Result};

/// An object of others, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignObject {
    /// Its key.
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified_at: DateTime<Utc>,
}

impl S3Bucket {
    /// Objects whose keys begin with the prefix, in the order of their keys, after the key `after`, at most 1000.
    ///
    /// # Errors
    /// As of [`super::super::Bucket`].
    pub async fn list_below(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ForeignObject>> {
        let page = self
            .client
            .list_objects_v2()
            .bucket(&*self.name)
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned))
            .max_keys(self.limits.page)
            .send()
            .await
            .map_err(|error| failed("listing objects of others", error))?;
        let objects = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let size = object.size.and_then(|size| size.try_into().ok())?;
            let modified = object.last_modified?;
            let modified_at = DateTime::from_timestamp(modified.secs(), modified.subsec_nanos())?;
            Some(ForeignObject { key: object.key?, size, modified_at })
        });
        Ok(objects.collect())
    }

    /// The bytes of an object; `None` = it is not there any more.
    ///
    /// # Errors
    /// As of [`super::super::Bucket`], and with kind `Internal` when it is larger than `most` bytes.
    pub async fn read_whole(&self, key: &str, most: u64) -> Result<Option<Bytes>> {
        let answer = match self.client.get_object().bucket(&*self.name).key(key).send().await {
            Ok(answer) => answer,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(failed("reading an object of others", error)),
        };
        let mut body = answer.body;
        let mut bytes = Vec::new();
        loop {
            let next = timeout(self.limits.attempt, body.try_next()).await.map_err(broken_read)?;
            let Some(piece) = next.map_err(broken_read)? else { return Ok(Some(bytes.into())) };
            if (bytes.len() + piece.len()) as u64 > most {
                return Err(Error::internal(format!("{key} is larger than {most} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
    }
}
