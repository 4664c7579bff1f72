//! The settings of the backup: where it is, and how it is kept.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{BucketSettings, field, problems::is_http_url};
use crate::bucket::S3Settings;

/// A backup: the keys of a bucket in S3, or a directory; and how it is kept.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BackupSettings {
    /// A directory, on another disk than the bucket's; instead of the keys of S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// The service's URL.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// The region's name as the service knows it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// The bucket's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The key's public half.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub access_key_id: String,
    /// The key's secret half.
    #[serde(default, serialize_with = "field::hidden", skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<SecretString>,
    /// Bucket name in the path, not in the host name.
    #[serde(default = "field::yes")]
    pub path_style: bool,
    /// How many bytes a second may pass through a replica for the backup; absent = no limit.
    #[serde(default, with = "field::size", skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
    /// Copies at once.
    #[serde(default = "field::transfers")]
    pub transfers: usize,
    /// How long after its removal from the bucket an object stays in the backup.
    #[serde(default = "field::month", with = "field::duration")]
    pub hold: Duration,
    /// Within this time every object of both buckets is read again.
    #[serde(default = "field::month", with = "field::duration")]
    pub scrub_period: Duration,
    /// Where objects of the backup can be downloaded; links point there while one in the bucket is missing or damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
}

impl BackupSettings {
    /// For the S3 client; `None` = it is a directory.
    pub fn to_s3(&self) -> Option<S3Settings> {
        if self.directory.is_some() {
            return None;
        }
        let secret_access_key = self.secret_access_key.clone()?;
        let bucket = BucketSettings {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            name: self.name.clone(),
            access_key_id: self.access_key_id.clone(),
            secret_access_key,
            path_style: self.path_style,
        };
        Some(bucket.to_s3())
    }

    /// One sentence per problem.
    pub(super) fn problems(&self, bucket: Option<&BucketSettings>) -> Vec<String> {
        let mut problems = Vec::new();
        let keys = [
            ("endpoint", self.endpoint.is_empty()),
            ("region", self.region.is_empty()),
            ("name", self.name.is_empty()),
            ("access_key_id", self.access_key_id.is_empty()),
            ("secret_access_key", self.secret_access_key.is_none()),
        ];
        match &self.directory {
            Some(directory) => {
                if directory.as_os_str().is_empty() {
                    problems.push("backup.directory is empty: name a directory".into());
                }
                if let Some((key, _)) = keys.iter().find(|(_, missing)| !missing) {
                    problems.push(format!("backup.directory and backup.{key} are both set: use one of them"));
                }
            }
            None => {
                let missing = keys.iter().filter(|(_, missing)| *missing);
                problems.extend(missing.map(|(key, _)| {
                    format!("backup.{key} is missing: set the keys of a bucket, or backup.directory")
                }));
                if !self.endpoint.is_empty() && !is_http_url(&self.endpoint) {
                    let endpoint = &self.endpoint;
                    problems.push(format!("backup.endpoint {endpoint:?}: use http://HOST or https://HOST"));
                }
                let trimmed = |endpoint: &str| endpoint.trim_end_matches('/').to_owned();
                if bucket.is_some_and(|bucket| {
                    bucket.name == self.name && trimmed(&bucket.endpoint) == trimmed(&self.endpoint)
                }) {
                    problems.push("backup.name names the bucket itself: use another bucket".into());
                }
            }
        }
        if self.transfers == 0 || self.transfers > 256 {
            problems.push("backup.transfers: use 1 to 256".into());
        }
        if self.bandwidth.is_some_and(|bandwidth| bandwidth < 1024) {
            problems.push("backup.bandwidth: use at least 1 KiB a second".into());
        }
        if self.scrub_period < Duration::from_secs(1) {
            problems.push("backup.scrub_period: use at least 1s, better days".into());
        }
        if let Some(url) = self.base_url.as_deref().filter(|url| !is_http_url(url)) {
            problems.push(format!("backup.base_url {url:?}: use http://HOST or https://HOST"));
        }
        problems
    }
}
