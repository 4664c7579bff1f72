//! `firmament downloads`: how often images were downloaded, one line for each day and image.

use clap::Args;

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report, Terminal},
    table::{Table, size},
};
use crate::{
    api::DownloadList,
    domain::{name::ProductName, version::Version},
};

/// The arguments of `downloads`.
#[derive(Debug, Args)]
pub struct DownloadsArguments {
    /// The product
    #[arg(long)]
    product: ProductName,
    /// Only this release
    #[arg(long, value_parser = Version::parse)]
    version: Option<Version>,
    /// How many days, today (UTC) included
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=3660))]
    days: u32,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Shows the counts.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(arguments: &DownloadsArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let client = Client::publisher(&arguments.connection)?;
    let mut query = vec![("days", arguments.days.to_string())];
    query.extend(arguments.version.as_ref().map(|version| ("version", version.to_string())));
    let answer = client.get(&format!("/v1/products/{}/downloads", arguments.product), &query)?;
    let list: DownloadList = answer.read()?;
    if !terminal.is_json() {
        terminal.note(
            "From the CDN's logs, which are minutes late and delivered at best effort: not for billing.",
        );
        if !list.counting {
            terminal.warn("this server reads no logs of a CDN: set [cdn.logs], see docs/akamai.md");
        }
    }
    Ok(Report::done(text(&list), answer.document))
}

fn text(list: &DownloadList) -> String {
    if list.downloads.is_empty() {
        return format!("no downloads since {}", list.since);
    }
    let mut table =
        Table::new(&["DAY", "VERSION", "FILE", "COMPLETED", "PARTIAL", "DELIVERED", "FROM THE EDGE"]);
    for count in &list.downloads {
        let share = if count.bytes == 0 {
            "-".to_owned()
        } else {
            format!("{:.1} %", 100.0 * count.edge_bytes as f64 / count.bytes as f64)
        };
        table.row(vec![
            count.day.to_string(),
            count.version.clone(),
            count.filename.clone(),
            count.completed.to_string(),
            count.partial.to_string(),
            size(count.bytes),
            share,
        ]);
    }
    table.render(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn};

    fn ran(body: &str, version: Option<&str>) -> (Report, String) {
        let server = Replay::start(vec![Turn::json(200, body)]);
        let arguments = DownloadsArguments {
            product: ProductName::parse("p").expect("a name"),
            version: version.map(|text| Version::parse(text).expect("a version")),
            days: 7,
            connection: server.options(),
        };
        let report = run(&arguments, &Terminal::default()).expect("200");
        (report, server.requests()[0].line.clone())
    }

    #[test]
    fn each_day_and_image_has_its_line() {
        let body = r#"{"since":"2026-11-18","counting":true,"downloads":[
            {"day":"2026-11-23","version":"1.4.0","filename":"f.bin","completed":12,"partial":3,"bytes":2048,"edge_bytes":1024},
            {"day":"2026-11-24","version":"1.4.0","filename":"f.bin","completed":0,"partial":1,"bytes":0,"edge_bytes":0}]}"#;
        let (report, line) = ran(body, Some("1.4.0"));
        let lines: Vec<&str> = report.text.lines().collect();
        assert_eq!(lines[0], "DAY         VERSION  FILE   COMPLETED  PARTIAL  DELIVERED  FROM THE EDGE");
        assert_eq!(lines[1], "2026-11-23  1.4.0    f.bin  12         3        2.0 KiB    50.0 %");
        assert_eq!(lines[2], "2026-11-24  1.4.0    f.bin  0          1        0 bytes    -");
        assert_eq!(line, "GET /v1/products/p/downloads?days=7&version=1.4.0 HTTP/1.1");
    }

    #[test]
    fn none_says_since_when() {
        let (report, _) = ran(r#"{"since":"2026-11-18","counting":false,"downloads":[]}"#, None);
        assert_eq!(report.text, "no downloads since 2026-11-18");
    }
}
