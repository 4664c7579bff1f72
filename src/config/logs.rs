//! The settings of the CDN's logs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BucketSettings, field, problems::is_http_url};
use crate::bucket::NO_IMAGES;

/// The CDN's logs, from which downloads are counted.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CdnLogs {
    /// What the keys of the log objects begin with.
    #[serde(default = "log_prefix")]
    pub prefix: String,
    /// Logs that are older are not counted.
    #[serde(with = "field::duration", default = "week")]
    pub retention: Duration,
    /// A line that is in several logs counts once, if they were written within this time.
    #[serde(with = "field::duration", default = "day")]
    pub duplicates_within: Duration,
    /// How long to wait between two looks.
    #[serde(with = "field::duration", default = "half_a_minute")]
    pub interval: Duration,
    /// Where they are; absent: in the bucket of the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketSettings>,
}

fn log_prefix() -> String {
    format!("{NO_IMAGES}logs/")
}

fn week() -> Duration {
    Duration::from_secs(7 * 24 * 3600)
}

fn day() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

impl CdnLogs {
    /// One sentence per problem. Without a bucket of their own, logs are in that of the images, if that is in S3.
    pub(super) fn problems(&self, images_are_in_s3: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let Self { prefix, .. } = self;
        match &self.bucket {
            None if !images_are_in_s3 => {
                problems
                    .push("cdn.logs: images are in a directory: name a bucket in [cdn.logs.bucket]".into());
            }
            None if !prefix.starts_with(NO_IMAGES) => problems.push(format!(
                "cdn.logs.prefix {prefix:?}: beside images it has to begin with {NO_IMAGES:?}"
            )),
            Some(bucket) if !is_http_url(&bucket.endpoint) || bucket.name.is_empty() => {
                problems.push("cdn.logs.bucket: use an endpoint https://HOST and the bucket's name".into());
            }
            _ => {}
        }
        if prefix.starts_with('/') {
            problems.push(format!("cdn.logs.prefix {prefix:?}: keys begin without a slash"));
        }
        if self.retention < Duration::from_secs(3600) {
            problems.push("cdn.logs.retention: use at least 1h".into());
        }
        if self.duplicates_within < Duration::from_secs(3600) {
            problems.push("cdn.logs.duplicates_within: use at least 1h".into());
        }
        if self.interval < Duration::from_secs(1) {
            problems.push("cdn.logs.interval: use at least 1s".into());
        }
        problems
    }
}
