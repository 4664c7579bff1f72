//! What operators see of a running process: logs (tracing) and metrics (Prometheus).
//!
//! Logs go to standard error: text for people on a terminal, one JSON object a line otherwise. No secret is ever
//! an argument of a log line: secrets are `SecretString`s, whose debug form is hidden.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    config::{Log, LogFormat},
    error::{Error, Kind, Result},
};

mod backup;
mod metrics;

pub use backup::BackupMetrics;
pub use metrics::{Answer, CdnDownloads, Dependency, ListenerMetrics, Metrics};

/// Starts to log, for the rest of the process.
///
/// # Errors
/// When `log.level` is no level and no list of directives.
pub fn start_logging(settings: &Log) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.level).map_err(|error| {
        let message = format!("log.level {:?}: {error}; use a level such as info or debug", settings.level);
        Error::new(Kind::Malformed, "settings-invalid", message)
    })?;
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let registry = tracing_subscriber::registry().with(filter);
    // A second start in one process (tests) keeps the first.
    let _ = if json {
        let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
        registry.with(layer.with_writer(std::io::stderr)).try_init()
    } else {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        registry
            .with(fmt::layer().with_target(false).with_ansi(colour).with_writer(std::io::stderr))
            .try_init()
    };
    Ok(())
}
