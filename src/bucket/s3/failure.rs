//! What an error of the SDK means to us.
//!
//! | the store | kind | code |
//! |---|---|---|
//! | no answer, no connection, a broken answer, 5xx, 408, 429, `SlowDown` | `Unavailable` | `bucket-unavailable` |
//! | `QuotaExceeded` (403 on Ceph), 507 | `Unavailable` | `bucket-full` |
//! | 301, 403, 404 of the bucket, and requests that cannot be built | `Internal` | `bucket-misconfigured` |
//! | anything else | `Internal` | `internal` |
//!
//! The whole chain of the SDK's error goes into the private cause.

use std::{error::Error as StdError, time::Duration};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::{
    bucket::bucket_full,
    error::{Error, Kind},
};

/// When a client may try again: the SDK has tried for longer than that already.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The error of an operation; `action` says what was tried, for the log.
pub(super) fn failed<E>(action: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let answer = error.raw_response().map_or(0, |answer| answer.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default().to_owned();
    let cause = format!("{action}: {}", cause(&error));
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            unavailable(cause)
        }
        SdkError::ConstructionFailure(_) => misconfigured(cause),
        _ => match (answer, code.as_str()) {
            (507, _) | (_, "QuotaExceeded") => bucket_full(cause),
            (408 | 429 | 500.., _) | (_, "SlowDown" | "RequestTimeout") => unavailable(cause),
            (301 | 307 | 403 | 404, _) => misconfigured(cause),
            _ => Error::internal(cause),
        },
    }
}

/// All that the SDK knows of it in one line. Its own display of a chain adds the whole answer, header by header.
fn cause<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    if let (Some(refusal), Some(answer)) = (error.as_service_error(), error.raw_response()) {
        let meta = refusal.meta();
        // The answer to a HEAD has no body, hence neither code nor message.
        let code = meta.code().unwrap_or("without a code");
        let message = meta.message().unwrap_or("without a message");
        let request = meta.extra("aws_request_id").unwrap_or("without an id");
        return format!("status {}, {code}: {message} (request {request})", answer.status().as_u16());
    }
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// Whether the store says that the object or upload is not there.
pub(super) fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    // The answer to a HEAD has no body, so `NotFound` is all that there is: a HEAD cannot tell a missing object
    // from a missing bucket. Every other request can.
    matches!(code, Some("NoSuchKey" | "NoSuchUpload" | "NotFound"))
}

pub(super) fn unavailable(cause: impl Into<String>) -> Error {
    let message = "the bucket does not answer; try again in a few seconds";
    Error::new(Kind::Unavailable, "bucket-unavailable", message)
        .caused_by(cause.into())
        .retry_after(RETRY_AFTER)
}

fn misconfigured(cause: String) -> Error {
    let message = "the bucket refuses us, which only operators can change; their log has the cause under this \
                   request's id";
    Error::new(Kind::Internal, "bucket-misconfigured", message).caused_by(format!(
        "{cause}; check the bucket's name, endpoint, region and access key in the settings"
    ))
}
