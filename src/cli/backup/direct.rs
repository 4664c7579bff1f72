//! Works on catalogue, bucket and backup without a server, by its settings.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::runtime::Runtime;

use crate::{
    api::BackupStatus,
    app,
    backup::{Backup, Pace},
    cli::{
        output::{Failure, Terminal},
        progress::Progress,
    },
    config::Settings,
    error::{Error, Kind},
    telemetry,
};

/// How often a progress bar moves.
const SHOWN: Duration = Duration::from_millis(100);

/// Catalogue, bucket and backup.
pub struct Direct {
    /// The two places.
    pub backup: Arc<Backup>,
    scrub_period: Duration,
    runtime: Runtime,
}

impl Direct {
    /// Opens them. `rate` replaces the setting of the bandwidth.
    pub fn open(config: Option<&Path>, data_dir: Option<&Path>, rate: Option<u64>) -> Result<Self, Failure> {
        let settings = Settings::load(config, data_dir).map_err(|error| failure(&error))?;
        let mut log = settings.log.clone();
        "warn".clone_into(&mut log.level);
        telemetry::start_logging(&log).map_err(|error| failure(&error))?;
        let scrub_period = settings.backup.as_ref().map_or(Duration::MAX, |backup| backup.scrub_period);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::ours(error.to_string()))?;
        let opened = runtime.block_on(app::backup::open_for_command(&settings));
        let mut backup = opened.map_err(|error| failure(&error))?;
        if rate.is_some() {
            backup.pace = Pace::new(rate);
        }
        Ok(Self { backup: Arc::new(backup), scrub_period, runtime })
    }

    /// How the backup is doing.
    pub fn status(&self) -> Result<BackupStatus, Failure> {
        let since = BackupStatus::read_since(self.scrub_period);
        let report = self.runtime.block_on(self.backup.catalogue.backup_report(since));
        let report = report.map_err(|error| failure(&error))?;
        Ok(BackupStatus::new(report, &self.backup.backup.place(), self.scrub_period))
    }

    /// Does the work, and shows how far it is with so many bytes.
    pub fn run<T>(
        &self,
        terminal: &Terminal,
        what: &'static str,
        bytes: u64,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let mut progress = Progress::start(terminal, what, bytes);
        let meter = &self.backup.meter;
        self.runtime
            .block_on(async {
                let mut work = std::pin::pin!(work);
                loop {
                    tokio::select! {
                        done = &mut work => return done,
                        () = tokio::time::sleep(SHOWN) => progress.at(meter.bytes()),
                    }
                }
            })
            .map_err(|error| failure(&error))
    }
}

/// An error of the server's parts, as a command tells it.
pub fn failure(error: &Error) -> Failure {
    let cause = error.cause();
    let message = if cause.is_empty() { error.to_string() } else { format!("{error}\ncause: {cause}") };
    if error.kind() == Kind::Malformed { Failure::yours(message) } else { Failure::ours(message) }
}
