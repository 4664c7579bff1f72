//! `firmament audit export`: the log of all products as JSON lines.

use clap::Args;

use super::page;
use crate::cli::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report, Terminal},
};

/// The arguments of `audit export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Only entries behind this revision, to go on where an earlier export ended
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    after: u64,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Prints the log, page by page.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(arguments: &ExportArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let client = Client::publisher(&arguments.connection)?;
    let mut after = arguments.after;
    loop {
        let page = page(&client, after)?;
        for entry in &page.entries {
            terminal.line(&serde_json::to_string(entry).expect("plain data"))?;
            after = entry.revision;
        }
        if !page.more || page.entries.is_empty() {
            return Ok(Report::done("", serde_json::Value::Null));
        }
    }
}
