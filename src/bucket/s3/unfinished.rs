//! Uploads that were neither completed nor aborted: finding and removing them.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{
    S3Bucket,
    failure::{failed, is_absent, unavailable},
};
use crate::{bucket::UnfinishedUpload, error::Result};

/// How often an abort is tried while parts of the upload still turn up.
const ABORTS: u32 = 3;

impl S3Bucket {
    pub(in crate::bucket) async fn unfinished_uploads(
        &self,
        key: Option<&str>,
    ) -> Result<Vec<UnfinishedUpload>> {
        let mut found = Vec::new();
        let (mut key_marker, mut upload_id_marker) = (None, None);
        loop {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&*self.name)
                .set_prefix(key.map(str::to_owned))
                .set_key_marker(key_marker)
                .set_upload_id_marker(upload_id_marker)
                .max_uploads(self.limits.page)
                .send()
                .await
                .map_err(|error| failed("listing unfinished uploads", error))?;
            for upload in page.uploads.unwrap_or_default() {
                let (Some(of), Some(upload_id)) = (upload.key, upload.upload_id) else { continue };
                // A prefix also finds longer keys.
                if key.is_some_and(|key| key != of) {
                    continue;
                }
                let started_at = upload
                    .initiated
                    .and_then(|at| DateTime::from_timestamp(at.secs(), at.subsec_nanos()))
                    // Of unknown age: young, so that nobody removes it for being old.
                    .unwrap_or_else(Utc::now);
                found.push(UnfinishedUpload { key: of, upload_id, started_at });
            }
            (key_marker, upload_id_marker) = (page.next_key_marker, page.next_upload_id_marker);
            // A page that is cut off but names no next one would be asked for again for ever.
            if page.is_truncated != Some(true) || key_marker.is_none() {
                return Ok(found);
            }
        }
    }

    pub(in crate::bucket) async fn abort_upload(&self, upload: &UnfinishedUpload) -> Result<()> {
        self.remove_upload(&upload.key, &upload.upload_id).await
    }

    /// Aborts until the store knows nothing of the upload any more: a part that was under way may arrive after
    /// the first abort, and S3's documentation asks to verify with ListParts.
    pub(super) async fn remove_upload(&self, key: &str, upload_id: &str) -> Result<()> {
        for attempt in 1..=ABORTS {
            let abort =
                self.client.abort_multipart_upload().bucket(&*self.name).key(key).upload_id(upload_id);
            match abort.send().await {
                Err(error) if !is_absent(&error) => return Err(failed("aborting an upload", error)),
                _ => {}
            }
            let parts =
                self.client.list_parts().bucket(&*self.name).key(key).upload_id(upload_id).max_parts(1);
            match parts.send().await {
                Err(error) if is_absent(&error) => return Ok(()),
                Err(error) => return Err(failed("listing the parts of an aborted upload", error)),
                Ok(_still_there) => tokio::time::sleep(Duration::from_millis(200) * attempt).await,
            }
        }
        Err(unavailable(format!("upload {upload_id} of {key} is still there after {ABORTS} aborts")))
    }
}
