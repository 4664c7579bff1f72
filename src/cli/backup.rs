//! `firmament backup`: how the backup is doing, and what can be done with it.
//!
//! `status` and `sync` ask a running server. With `--config`, and `verify` and `restore` always, the command works on
//! catalogue, bucket and backup itself, by the server's settings; a server may run meanwhile, also one with the embedded
//! default: all that is done may be done twice.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report, Terminal},
};
use crate::domain::name::ProductName;

mod direct;
mod restore;
mod shown;
mod sync;
mod verify;

/// The commands of `firmament backup`.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Show what the backup lacks, what is damaged, and the last error
    Status(StatusArguments),
    /// Copy what the backup lacks, and wait for it
    Sync(StatusArguments),
    /// Compare bucket and backup with the catalogue (exit code 1: they differ)
    Verify(VerifyArguments),
    /// Put back what the bucket lacks or has damaged, from the backup
    Restore(RestoreArguments),
}

/// The arguments of `status` and `sync`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Settings file (TOML); with it, the command works itself and asks no server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to reach the server.
    #[command(flatten)]
    connection: ClientOptions,
}

/// Where the settings are.
#[derive(Debug, Args)]
pub struct PlaceArguments {
    /// Settings file (TOML), the server's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the embedded catalogue and bucket are [default: ./firmament-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// At most so many bytes a second, such as 50MiB [default: backup.bandwidth]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    rate: Option<u64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// The arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Read and hash every object at both ends; a verification that was broken off is gone on with
    #[arg(long)]
    deep: bool,
    /// With --deep: begin from the first object
    #[arg(long, requires = "deep")]
    restart: bool,
    /// Where and how fast.
    #[command(flatten)]
    place: PlaceArguments,
}

/// The arguments of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// Also replace objects that look right
    #[arg(long)]
    all: bool,
    /// Read the bucket's objects, to find damage that their description does not show
    #[arg(long)]
    deep: bool,
    /// Only this product's
    #[arg(long)]
    product: Option<ProductName>,
    /// Only say what would be put back
    #[arg(long)]
    dry_run: bool,
    /// Where and how fast.
    #[command(flatten)]
    place: PlaceArguments,
}

fn size(text: &str) -> Result<u64, String> {
    crate::size::parse(text)
        .ok()
        .filter(|size| *size > 0)
        .ok_or_else(|| "use a size such as 50MiB".to_owned())
}

impl BackupCommand {
    /// Whether it prints JSON.
    pub fn json(&self) -> bool {
        match self {
            Self::Status(arguments) | Self::Sync(arguments) => arguments.connection.json,
            Self::Verify(arguments) => arguments.place.json,
            Self::Restore(arguments) => arguments.place.json,
        }
    }
}

/// Runs one of them.
///
/// # Errors
/// When settings, a server or a store are in the way; or objects could not be copied.
pub fn run(command: &BackupCommand, terminal: &Terminal) -> Result<Report, Failure> {
    match command {
        BackupCommand::Status(arguments) => status(arguments),
        BackupCommand::Sync(arguments) => sync::run(arguments, terminal),
        BackupCommand::Verify(arguments) => verify::run(arguments, terminal),
        BackupCommand::Restore(arguments) => restore::run(arguments, terminal),
    }
}

fn status(arguments: &StatusArguments) -> Result<Report, Failure> {
    if arguments.config.is_some() {
        let direct = direct::Direct::open(
            arguments.config.as_deref(),
            arguments.connection.data_dir.as_deref(),
            None,
        )?;
        let status = direct.status()?;
        let document = serde_json::to_value(&status).map_err(|error| Failure::ours(error.to_string()))?;
        return Ok(Report::done(shown::status(&status), document));
    }
    let answer = Client::publisher(&arguments.connection)?.get("/v1/backup", &[])?;
    let status = answer.read()?;
    Ok(Report::done(shown::status(&status), answer.document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn};

    #[test]
    fn the_status_is_told_in_words() {
        let status = r#"{"summary":"behind by 2 objects, and the last pass failed; it is tried again",
            "place":"bucket b at http://h","lag":{"objects":2,"bytes":2097152,"seconds":61.5},"copied_objects":7,
            "copied_bytes":1024,"damaged_in_bucket":0,"damaged_in_backup":1,
            "scrub":{"period_seconds":2592000,"read_within_period":6,"unread":1},
            "last_error":"the bucket does not answer","last_error_at":"2026-01-02T03:04:05Z"}"#;
        let server = Replay::start(vec![Turn::json(200, status)]);
        let arguments = StatusArguments { config: None, connection: server.options() };
        let report = run(&BackupCommand::Status(arguments), &Terminal::default()).expect("200");
        for part in [
            "behind by 2 objects",
            "2 objects, 2.0 MiB, for 1m 1s",
            "7 objects, 1.0 KiB",
            "0 in the bucket, 1 in the backup",
            "6 of 7 within 30days, 1 not since it was copied",
            "2026-01-02 03:04:05Z: the bucket does not answer",
        ] {
            assert!(report.text.contains(part), "{part} in {}", report.text);
        }
    }
}
