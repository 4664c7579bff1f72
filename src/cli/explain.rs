//! `firmament explain`: what a device is offered, and why.

use clap::Args;

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report, Terminal},
    table::{Table, plain},
};
use crate::{
    api::ExplainView,
    domain::{
        name::{ChannelName, Hardware, ProductName},
        version::Version,
    },
};

/// The arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The product
    #[arg(long)]
    product: ProductName,
    /// The version that the device runs
    #[arg(long, value_parser = Version::parse_reported)]
    version: Version,
    /// Its hardware
    #[arg(long)]
    hardware: Option<Hardware>,
    /// Its channel [default: stable]
    #[arg(long)]
    channel: Option<ChannelName>,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Asks for the explanation.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(arguments: &ExplainArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let client = Client::publisher(&arguments.connection)?;
    let mut query = vec![("version", arguments.version.to_string())];
    query.extend(arguments.hardware.iter().map(|hardware| ("hardware", hardware.to_string())));
    query.extend(arguments.channel.iter().map(|channel| ("channel", channel.to_string())));
    let answer = client.get(&format!("/v1/products/{}/explain", arguments.product), &query)?;
    let view: ExplainView = answer.read()?;
    let device = view.hardware.as_ref().map(|hardware| format!(" on {hardware}")).unwrap_or_default();
    let device = format!("{} {}{device}, channel {}", view.product, view.version, view.channel);
    let mut text = match &view.offered {
        Some(version) => format!("{} is offered to {}", terminal.strong(&plain(version)), plain(&device)),
        None => format!("nothing is offered to {}", plain(&device)),
    };
    if !view.considered.is_empty() {
        let mut table = Table::new(&["VERSION", "FILE", "WHY"]);
        for considered in view.considered {
            let file = considered.filename.unwrap_or_else(|| "-".to_owned());
            table.row(vec![considered.version, file, considered.why]);
        }
        text.push('\n');
        text.push_str(&table.render(2));
    }
    Ok(Report::done(text, answer.document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn};

    #[test]
    fn every_release_has_its_line() {
        let view = r#"{"product":"p","version":"1.0.0","hardware":"rev-a","channel":"stable","offered":"1.2.0",
            "filename":"f.bin","considered":[{"version":"1.2.0","filename":"f.bin","offered":true,"code":"offered",
            "why":"offered: the highest"},{"version":"1.1.0","filename":null,"offered":false,"code":"recalled",
            "why":"recalled"}]}"#;
        let server = Replay::start(vec![Turn::json(200, view)]);
        let arguments = ExplainArguments {
            product: ProductName::parse("p").expect("a name"),
            version: Version::parse("1.0.0").expect("a version"),
            hardware: Hardware::parse("rev-a").ok(),
            channel: None,
            connection: server.options(),
        };
        let report = run(&arguments, &Terminal::default()).expect("200");
        assert_eq!(
            report.text,
            "1.2.0 is offered to p 1.0.0 on rev-a, channel stable\n  VERSION  FILE   WHY\n  1.2.0    f.bin  offered: the \
             highest\n  1.1.0    -      recalled"
        );
        assert_eq!(
            server.requests()[0].line,
            "GET /v1/products/p/explain?version=1.0.0&hardware=rev-a HTTP/1.1"
        );
    }
}
