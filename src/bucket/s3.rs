//! The bucket on S3: Linode's, any Ceph RADOS Gateway, AWS.
//!
//! - `client`: the SDK's client and its settings
//! - `upload`: an object on its way, and how it gets its metadata
//! - `resumable`, `unsealed`: an object that comes in pieces, and after its last byte
//! - `clock`: when ours is wrong
//! - `copy`: an object that comes from another bucket, through us or within the store
//! - `direct`: parts that clients send themselves
//! - `multipart`: one multipart upload, its parts and its end
//! - `part`: memory for parts, bounded for the whole process
//! - `metadata`: what an object carries besides its bytes
//! - `unfinished`: uploads that were left behind
//! - `failure`: what the SDK's errors mean
//!
//! This file has the requests of one step each. What the stores do and do not promise is stated where it forces
//! something; all of it was measured on Ceph 16.2, which is what Linode builds on.

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::{
    config::{http::HttpResponse, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
};

use secrecy::SecretString;

use super::{ListedObject, ObjectFacts, ObjectKey, StoredObject};
use crate::error::{Error, Kind, Result};

mod client;
mod clock;
mod copy;
mod direct;
mod failure;
mod metadata;
mod multipart;
mod part;
mod resumable;
mod unfinished;
mod unsealed;
mod upload;

pub use client::{S3Limits, S3Settings};
pub use copy::S3Copy;
pub use direct::SignedPart;
pub use part::PartBudget;
pub use resumable::S3Resumable;
pub use unsealed::{S3Bytes, S3Unsealed};
pub use upload::S3Upload;

use failure::{failed, is_absent};

/// How long a deletion may take: less than what is left of a lease when one is begun.
const DELETE_WITHIN: Duration = Duration::from_secs(15);

/// An S3 bucket. Clones share connections and the memory for parts.
#[derive(Clone)]
pub struct S3Bucket {
    client: aws_sdk_s3::Client,
    name: Arc<str>,
    endpoint: Arc<str>,
    limits: S3Limits,
    budget: PartBudget,
    /// Endpoint and key: who may use one bucket by it may use the other.
    account: Arc<(String, SecretString)>,
}

impl S3Bucket {
    /// A bucket by its settings. Nothing is sent before the first use.
    ///
    /// `budget` bounds the memory for parts: one for the whole process, whatever the number of buckets.
    ///
    /// # Errors
    /// When the endpoint is no URL.
    pub fn new(settings: &S3Settings, limits: S3Limits, budget: &PartBudget) -> Result<Self> {
        Ok(Self {
            client: client::connect(settings, &limits)?,
            name: settings.name.as_str().into(),
            endpoint: settings.endpoint.as_str().into(),
            limits,
            budget: budget.clone(),
            account: Arc::new((settings.access_key_id.clone(), settings.secret_access_key.clone())),
        })
    }

    pub(super) async fn begin(&self, key: &ObjectKey, facts: &ObjectFacts) -> Result<S3Upload> {
        Ok(S3Upload::begin(self, key, facts))
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<StoredObject>> {
        match self.client.head_object().bucket(&*self.name).key(key).send().await {
            Ok(answer) => Ok(Some(metadata::describe(answer))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(failed("asking for an object", error)),
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        // Once and soon, or not at all: a repetition a minute later would hit what the next holder of the key has stored.
        let once = aws_sdk_s3::config::Builder::new().retry_config(RetryConfig::disabled()).timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(self.limits.connect)
                .operation_attempt_timeout(self.limits.attempt.min(DELETE_WITHIN))
                .operation_timeout(self.limits.operation.min(DELETE_WITHIN))
                .build(),
        );
        let delete = self.client.delete_object().bucket(&*self.name).key(key);
        match delete.customize().config_override(once).send().await {
            Ok(_) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(failed("deleting an object", error)),
        }
    }

    pub(super) async fn list(&self, after: Option<&str>) -> Result<Vec<ListedObject>> {
        let page = self
            .client
            .list_objects_v2()
            .bucket(&*self.name)
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

    pub(super) async fn probe(&self) -> Result<()> {
        let Err(error) = self.client.head_bucket().bucket(&*self.name).send().await else { return Ok(()) };
        if error.raw_response().is_none() {
            return Err(self.with_advice("", failed("asking for the bucket", error)));
        }
        // The answer to a HEAD has no body, so it says "no" without a reason. A listing has one.
        match self.client.list_objects_v2().bucket(&*self.name).max_keys(1).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let reason = reason(&error);
                Err(self.with_advice(&reason, failed("asking for the bucket", error)))
            }
        }
    }

    /// The same error with a message for the operator who set the bucket up.
    fn with_advice(&self, reason: &str, error: Error) -> Error {
        let Self { name, endpoint, .. } = self;
        let cause = error.cause();
        let (kind, message) = match (error.kind(), reason) {
            (Kind::Unavailable, _) => (
                Kind::Unavailable,
                format!(
                    "the bucket's service at {endpoint} does not answer or is overloaded; check the endpoint, \
                     the network between, and the service's status"
                ),
            ),
            (_, "NoSuchBucket") => (
                Kind::Internal,
                format!(
                    "{endpoint} has no bucket {name:?}; create it, or correct the bucket's name or endpoint"
                ),
            ),
            (_, "InvalidAccessKeyId") => (
                Kind::Internal,
                format!("{endpoint} does not know the access key id; check the bucket's access key"),
            ),
            (_, "SignatureDoesNotMatch") => (
                Kind::Internal,
                format!(
                    "{endpoint} refuses the signature; check the bucket's secret access key, and its region"
                ),
            ),
            (_, "RequestTimeTooSkewed") => (
                Kind::Internal,
                format!(
                    "{endpoint} says that this machine's clock is more than 15 minutes off; set the clock"
                ),
            ),
            (_, "AccessDenied") => (
                Kind::Internal,
                format!("the access key may not use bucket {name:?}; grant it reading, writing and listing"),
            ),
            (_, other) => (
                Kind::Internal,
                format!(
                    "{endpoint} refuses bucket {name:?} with {other:?}; check the bucket's name, endpoint and region"
                ),
            ),
        };
        let code = if kind == Kind::Unavailable { "bucket-unavailable" } else { "bucket-misconfigured" };
        let advice = Error::new(kind, code, message).caused_by(cause);
        match error.retry_delay() {
            Some(delay) => advice.retry_after(delay),
            None => advice,
        }
    }
}

/// The error of an object whose bytes stop coming; the same read may succeed later.
fn broken_read(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    failure::unavailable(format!("reading an object: {}", cause.into()))
}

/// The store's own word for why it refuses, or the status when it has none.
fn reason<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> String {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    match (code, error.raw_response()) {
        (Some(code), _) => code.to_owned(),
        (None, Some(answer)) => format!("status {}", answer.status().as_u16()),
        (None, None) => String::new(),
    }
}
