//! Wake-ups by `LISTEN`, on a connection of their own.
//!
//! A connection that is cut says so; one whose peer has vanished (a failover, a firewall that forgot it) is merely
//! quiet. So a listener that hears nothing for a while asks the server something, and connects again when no
//! answer comes. What was said meanwhile is lost, and [`Heard::Reconnected`] tells so.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::timeout;

use super::{
    super::{Heard, Listener, failure},
    ACQUIRE_WITHIN,
};
use crate::error::Result;

/// Where every change is told.
pub(super) const CHANNEL: &str = "firmament_changed";

pub(super) struct PostgresListener {
    options: PgConnectOptions,
    quiet: Duration,
    /// `None` after the connection was lost, until it is up again.
    listener: Option<PgListener>,
}

impl PostgresListener {
    pub(super) async fn connect(options: PgConnectOptions, quiet: Duration) -> Result<Self> {
        let listener = Some(subscribe(&options).await?);
        Ok(Self { options, quiet, listener })
    }

    /// Drops the connection. Not an error yet: the caller learns whether there is a new one.
    fn lose(&mut self, why: &str) {
        tracing::info!(why, "lost the connection that hears of changes; connecting again");
        self.listener = None;
    }
}

/// A new connection that listens. A pool of its own each time: a lost one may still occupy its place in the pool.
async fn subscribe(options: &PgConnectOptions) -> Result<PgListener> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(ACQUIRE_WITHIN)
        .connect_lazy_with(options.clone());
    let connect = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    Ok(timeout(2 * ACQUIRE_WITHIN, connect).await.map_err(failure::unavailable)??)
}

/// Whether the server still answers. What is notified meanwhile is buffered.
async fn answers(listener: &mut PgListener) -> bool {
    let question = sqlx::query_scalar!("select 1 as one").fetch_one(listener);
    matches!(timeout(ACQUIRE_WITHIN, question).await, Ok(Ok(_)))
}

#[async_trait]
impl Listener for PostgresListener {
    /// May be dropped at any await: reading a message is cancel-safe, and the state is set before each wait.
    async fn next(&mut self) -> Result<Heard> {
        loop {
            let Some(listener) = &mut self.listener else {
                self.listener = Some(subscribe(&self.options).await?);
                return Ok(Heard::Reconnected);
            };
            match timeout(self.quiet, listener.try_recv()).await {
                Ok(Ok(Some(_))) => {
                    // Many changes at once are one wake-up.
                    while listener.next_buffered().is_some() {}
                    return Ok(Heard::Changed);
                }
                Ok(Ok(None)) => self.lose("the server closed it"),
                Ok(Err(error)) => self.lose(&error.to_string()),
                Err(_elapsed) => {
                    if !answers(listener).await {
                        self.lose("the server does not answer");
                    }
                }
            }
        }
    }
}
