//! Hears of changes from the catalogue and wakes the reconcilers. A lost connection is counted and made again; what
//! was missed in between is found by the snapshot job's timer.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::{Catalogue, Heard},
    error::Result,
    telemetry::Metrics,
};

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Listens until `stop`.
pub async fn run(
    catalogue: Arc<dyn Catalogue>,
    wake: Arc<Notify>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut first = true;
    while !stop.is_cancelled() {
        let heard = tokio::select! {
            result = listen(catalogue.as_ref(), &wake, &metrics, first) => result,
            () = stop.cancelled() => return,
        };
        if let Err(error) = heard {
            metrics.listener_lost.inc();
            metrics.error(&error);
            tracing::debug!(cause = error.cause(), "cannot listen for changes; the timer goes on");
        }
        first = false;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn listen(catalogue: &dyn Catalogue, wake: &Notify, metrics: &Metrics, first: bool) -> Result<()> {
    let mut listener = catalogue.listen().await?;
    if !first {
        tracing::info!("listening for changes again");
        wake.notify_one();
    }
    loop {
        match listener.next().await? {
            Heard::Changed => {}
            Heard::Reconnected => {
                metrics.listener_lost.inc();
                tracing::warn!("the connection that hears of changes was lost and is up again");
            }
        }
        wake.notify_one();
    }
}
