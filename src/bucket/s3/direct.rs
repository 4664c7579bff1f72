//! Parts that clients send to the bucket themselves, by URLs that we sign.
//!
//! A URL allows one part of one upload, of one length, for a time. What was sent is known when the object is read back.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;

use super::{
    S3Bucket, S3Unsealed,
    failure::{failed, is_absent},
};
use crate::{
    bucket::{ObjectFacts, ObjectKey, PART_SIZE},
    error::{Error, Kind, Result},
};

/// A part to be sent by a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPart {
    /// From 1.
    pub number: u32,
    /// In bytes.
    pub size: u64,
    /// For one `PUT` of just so many bytes.
    pub url: String,
}

impl S3Bucket {
    /// Signs a URL for each part of an upload of that size.
    ///
    /// # Errors
    /// When the upload would have more parts than S3 takes.
    pub(in crate::bucket) async fn sign_parts(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        size: u64,
        valid_for: Duration,
    ) -> Result<Vec<SignedPart>> {
        let part_size = PART_SIZE as u64;
        let count = u32::try_from(size.div_ceil(part_size)).unwrap_or(u32::MAX);
        let mut parts = Vec::new();
        for number in 1..=count {
            let begin = u64::from(number - 1) * part_size;
            let length = part_size.min(size - begin);
            let config = PresigningConfig::expires_in(valid_for).map_err(Error::internal)?;
            let request = self
                .client
                .upload_part()
                .bucket(&*self.name)
                .key(key.as_str())
                .upload_id(upload_id)
                .part_number(i32::try_from(number).map_err(Error::internal)?)
                .content_length(i64::try_from(length).map_err(Error::internal)?)
                .presigned(config)
                .await
                .map_err(|error| failed("signing the URL of a part", error))?;
            parts.push(SignedPart { number, size: length, url: request.uri().to_owned() });
        }
        Ok(parts)
    }

    /// The parts that are there: number, size, entity tag. `None` = there is no such upload.
    pub(in crate::bucket) async fn sent_parts(
        &self,
        key: &ObjectKey,
        upload_id: &str,
    ) -> Result<Option<Vec<(u32, u64, String)>>> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let request = self.client.list_parts().bucket(&*self.name).key(key.as_str()).upload_id(upload_id);
            let page = match request.set_part_number_marker(after).send().await {
                Ok(page) => page,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(failed("listing the parts of an upload", error)),
            };
            for part in page.parts.unwrap_or_default() {
                let number = part.part_number.and_then(|number| u32::try_from(number).ok());
                let size = part.size.and_then(|size| u64::try_from(size).ok());
                if let (Some(number), Some(size), Some(tag)) = (number, size, part.e_tag) {
                    found.push((number, size, tag));
                }
            }
            after = page.next_part_number_marker;
            if page.is_truncated != Some(true) || after.is_none() {
                return Ok(Some(found));
            }
        }
    }

    pub(in crate::bucket) async fn complete_direct(
        &self,
        key: &ObjectKey,
        facts: &ObjectFacts,
        upload_id: &str,
        parts: &[String],
        size: u64,
    ) -> Result<S3Unsealed> {
        let outcome = self.complete_parts(key, upload_id, parts).await;
        match (self.completed(key, facts, size).await, outcome) {
            (Ok(Some(unsealed)), _) => Ok(unsealed),
            (_, Err(error)) => Err(error),
            (Err(error), Ok(())) => Err(error),
            (Ok(None), Ok(())) => Err(Error::new(
                Kind::Conflict,
                "parts-mismatch",
                "the parts in the bucket do not add up to the size that was declared: begin the upload anew",
            )),
        }
    }
}
