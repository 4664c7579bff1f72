//! The CDN's logs, made of the settings.

use crate::{
    bucket::{PartBudget, S3Bucket, S3Limits},
    config::Settings,
    error::{Error, Result},
    jobs::download_logs::LogSource,
};

/// Where the CDN's logs are, if downloads are to be counted.
///
/// # Errors
/// When a URL of the settings is none.
pub(super) fn open(settings: &Settings) -> Result<Option<(S3Bucket, LogSource)>> {
    let Some((cdn, logs)) = settings.cdn.as_ref().and_then(|cdn| Some((cdn, cdn.logs.as_ref()?))) else {
        return Ok(None);
    };
    let Some(place) = logs.bucket.as_ref().or(settings.bucket.as_ref()) else { return Ok(None) };
    let bucket = S3Bucket::new(&place.to_s3(), S3Limits::default(), &PartBudget::default())?;
    let base: http::Uri = cdn.base_url.parse().map_err(Error::internal)?;
    let base_path = base.path().trim_matches('/');
    let source = LogSource {
        prefix: logs.prefix.clone(),
        base_path: if base_path.is_empty() { String::new() } else { format!("{base_path}/") },
        retention: logs.retention,
        duplicates_within: logs.duplicates_within,
        interval: logs.interval,
    };
    Ok(Some((bucket, source)))
}
