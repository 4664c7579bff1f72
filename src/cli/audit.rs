//! `firmament audit`: who changed what in a product, the newest first; and the log of all products, to be verified
//! (`verify`) and kept elsewhere (`export`).

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report, Terminal},
    table::{Table, time},
};
use crate::{
    api::{AuditList, AuditPage},
    domain::name::ProductName,
};

mod export;
mod verify;

/// The arguments of `audit`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct AuditArguments {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    /// The product
    #[arg(long, required = true)]
    product: Option<ProductName>,
    /// How to reach the server.
    #[command(flatten)]
    connection: ClientOptions,
}

/// What can be done with the log of all products.
#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Verify that no entry of the log was changed, removed or put in
    Verify(verify::VerifyArguments),
    /// Print the whole log, one JSON object a line, oldest first
    Export(export::ExportArguments),
}

impl AuditArguments {
    /// The options that all of them have.
    pub fn connection(&self) -> &ClientOptions {
        match &self.command {
            None => &self.connection,
            Some(AuditCommand::Verify(arguments)) => &arguments.connection,
            Some(AuditCommand::Export(arguments)) => &arguments.connection,
        }
    }
}

/// Runs one of them.
///
/// # Errors
/// When the server refuses or does not answer, or the log is broken.
pub fn run(arguments: &AuditArguments, terminal: &Terminal) -> Result<Report, Failure> {
    match (&arguments.command, &arguments.product) {
        (Some(AuditCommand::Verify(arguments)), _) => verify::run(arguments),
        (Some(AuditCommand::Export(arguments)), _) => export::run(arguments, terminal),
        (None, Some(product)) => list(product, &arguments.connection),
        (None, None) => Err(Failure::yours("name the product by --product")),
    }
}

/// One page of the log of all products.
fn page(client: &Client, after: u64) -> Result<AuditPage, Failure> {
    client.get("/v1/audit", &[("after", after.to_string())])?.read()
}

fn list(product: &ProductName, connection: &ClientOptions) -> Result<Report, Failure> {
    let client = Client::publisher(connection)?;
    let answer = client.get(&format!("/v1/products/{product}/audit"), &[])?;
    let list: AuditList = answer.read()?;
    if list.entries.is_empty() {
        return Ok(Report::done("no entries", answer.document));
    }
    let mut table = Table::new(&["WHEN", "REVISION", "WHO", "FROM", "WHAT", "VERSION", "CHANNEL", "DETAILS"]);
    for entry in list.entries {
        table.row(vec![
            time(entry.at),
            entry.revision.to_string(),
            entry.actor,
            entry.remote.unwrap_or_else(|| "-".to_owned()),
            entry.action,
            entry.version.unwrap_or_else(|| "-".to_owned()),
            entry.channel.unwrap_or_else(|| "-".to_owned()),
            details(&entry.details),
        ]);
    }
    Ok(Report::done(table.render(0), answer.document))
}

/// `key=value` for each field that says something.
fn details(details: &Value) -> String {
    let Value::Object(fields) = details else {
        return if details.is_null() { String::new() } else { details.to_string() };
    };
    let said = fields.iter().filter(|(_, value)| !value.is_null());
    said.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn};

    #[test]
    fn entries_are_lines() {
        let list = r#"{"entries":[{"at":"2026-01-02T03:04:05Z","revision":7,"actor":"ci","action":"release.recall",
            "version":"1.4.0","details":{"reason":"bricks","note":null}}]}"#;
        let server = Replay::start(vec![Turn::json(200, list)]);
        let arguments = AuditArguments {
            command: None,
            product: Some(ProductName::parse("p").expect("a name")),
            connection: server.options(),
        };
        let report = run(&arguments, &Terminal::default()).expect("200");
        let line = report.text.lines().nth(1).expect("an entry");
        let expected =
            "2026-01-02 03:04:05Z  7         ci   -     release.recall  1.4.0    -        reason=\"bricks\"";
        assert_eq!(line, expected);
    }
}
