//! A clock that is wrong: the store refuses signatures whose time is more than a quarter of an hour off.
//!
//! The SDK measures the difference from the `Date` of every answer and signs by it from then on; it repeats a request that
//! was refused for it when the answer's body says so (`RequestTimeTooSkewed`). The answer to a HEAD has no body, so
//! the first request of a process, if that is a HEAD, would fail. This repeats it.

use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction},
};
use chrono::{DateTime, TimeDelta, Utc};

/// The SDK's own threshold; below it, a refusal has another reason.
const WRONG: TimeDelta = TimeDelta::minutes(4);

/// Has a request repeated that was refused while the clocks differ.
#[derive(Debug)]
pub(super) struct WrongClock;

impl ClassifyRetry for WrongClock {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(answer) = context.response().filter(|answer| answer.status().as_u16() == 403) else {
            return RetryAction::NoActionIndicated;
        };
        let date = answer.headers().get("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        match date {
            Some(date) if (Utc::now() - date.to_utc()).abs() > WRONG => RetryAction::transient_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "wrong clock"
    }
}
