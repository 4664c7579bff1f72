//! `firmament audit`: who changed what in a product, the newest first.

use clap::Args;
use serde_json::Value;

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report, Terminal},
    table::{Table, time},
};
use crate::{api::AuditList, domain::name::ProductName};

/// The arguments of `audit`.
#[derive(Debug, Args)]
pub struct AuditArguments {
    /// The product
    #[arg(long)]
    product: ProductName,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Shows the audit log.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(arguments: &AuditArguments, _terminal: &Terminal) -> Result<Report, Failure> {
    let client = Client::publisher(&arguments.connection)?;
    let answer = client.get(&format!("/v1/products/{}/audit", arguments.product), &[])?;
    let list: AuditList = answer.read()?;
    if list.entries.is_empty() {
        return Ok(Report::done("no entries", answer.document));
    }
    let mut table = Table::new(&["WHEN", "REVISION", "WHO", "WHAT", "VERSION", "CHANNEL", "DETAILS"]);
    for entry in list.entries {
        table.row(vec![
            time(entry.at),
            entry.revision.to_string(),
            entry.actor,
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
            product: ProductName::parse("p").expect("a name"),
            connection: server.options(),
        };
        let report = run(&arguments, &Terminal::default()).expect("200");
        let line = report.text.lines().nth(1).expect("an entry");
        let expected =
            "2026-01-02 03:04:05Z  7         ci   release.recall  1.4.0    -        reason=\"bricks\"";
        assert_eq!(line, expected);
    }
}
