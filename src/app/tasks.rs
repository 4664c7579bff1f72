//! The tasks that the process consists of: if one ends, the process does.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};

/// How long tasks that were told to end may take.
const ENDING: Duration = Duration::from_secs(10);

/// The tasks that the process consists of.
#[derive(Default)]
pub(super) struct Tasks {
    running: JoinSet<(&'static str, Result<()>)>,
}

impl Tasks {
    /// Adds one, by the name that it is known by.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = Result<()>> + Send + 'static) {
        self.running.spawn(async move { (name, task.await) });
    }

    /// Waits until one of them ends, which none should, and says which.
    pub async fn first_end(&mut self) -> Error {
        let (what, cause) = match self.running.join_next().await {
            Some(Ok((name, Ok(())))) => (name, "it returned".to_owned()),
            Some(Ok((name, Err(error)))) => (name, format!("{error} {}", error.cause())),
            Some(Err(error)) => ("a task", error.to_string()),
            None => ("every task", "none was started".to_owned()),
        };
        Error::new(Kind::Internal, "task-ended", format!("{what} ended: {cause}"))
    }

    /// Waits until all have ended, which they were told to.
    pub async fn end(&mut self) {
        let all = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(ENDING, all).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        self.running.abort_all();
    }
}

/// Passes each wake-up on to several that wait.
pub(super) async fn pass_on<const N: usize>(
    from: Arc<Notify>,
    to: [Arc<Notify>; N],
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = from.notified() => to.iter().for_each(|each| each.notify_one()),
            () = stop.cancelled() => return,
        }
    }
}
