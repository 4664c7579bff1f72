//! `firmament purges`: what the CDN is to forget, and how far that is.

use clap::Args;

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report, Terminal},
    table::{Table, plain, time},
};
use crate::{
    api::PurgeList,
    domain::{name::ProductName, purge::PurgeState, version::Version},
};

/// The arguments of `purges`.
#[derive(Debug, Args)]
pub struct PurgesArguments {
    /// Only of this product
    #[arg(long)]
    product: Option<ProductName>,
    /// Only of this release
    #[arg(long, value_parser = Version::parse, requires = "product")]
    version: Option<Version>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Lists the purges.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(arguments: &PurgesArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let client = Client::publisher(&arguments.connection)?;
    let mut query = vec![("limit", arguments.limit.to_string())];
    query.extend(arguments.product.iter().map(|product| ("product", product.to_string())));
    query.extend(arguments.version.iter().map(|version| ("version", version.to_string())));
    let answer = client.get("/v1/purges", &query)?;
    let list: PurgeList = answer.read()?;
    if list.purges.is_empty() {
        return Ok(Report::done("no purges", answer.document));
    }
    let mut table =
        Table::new(&["REVISION", "PRODUCT", "VERSION", "WHAT", "STATE", "ASKED", "DONE BY", "OBJECT"]);
    for purge in &list.purges {
        if let (PurgeState::Asked | PurgeState::Failed, Some(error), false) =
            (purge.state, &purge.last_error, terminal.is_json())
        {
            terminal.warn(&format!("{} {}: {}", purge.state, plain(&purge.object), plain(error)));
        }
        table.row(vec![
            purge.revision.to_string(),
            purge.product.clone(),
            purge.version.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{} {}", purge.action, purge.kind),
            purge.state.to_string(),
            time(purge.asked_at),
            purge.estimated_done_at.map_or_else(|| "-".to_owned(), time),
            purge.object.clone(),
        ]);
    }
    Ok(Report::done(table.render(0), answer.document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn};

    #[test]
    fn each_purge_has_its_line() {
        let purge = r#"{"purges":[{"product":"p","version":"1.4.0","revision":7,"action":"delete","kind":"url",
            "object":"https://fw.example.com/p/1.4.0/f.bin","state":"accepted","attempts":1,
            "asked_at":"2026-01-02T03:04:05Z","estimated_done_at":"2026-01-02T03:04:10Z"}]}"#;
        let server = Replay::start(vec![Turn::json(200, purge), Turn::json(200, r#"{"purges":[]}"#)]);
        let mut arguments = PurgesArguments {
            product: Some(ProductName::parse("p").expect("a name")),
            version: Some(Version::parse("1.4.0").expect("a version")),
            limit: 5,
            connection: server.options(),
        };
        let text = run(&arguments, &Terminal::default()).expect("200").text;
        let line = "7         p        1.4.0    delete url  accepted  2026-01-02 03:04:05Z  2026-01-02 03:04:10Z  \
                    https://fw.example.com/p/1.4.0/f.bin";
        assert_eq!(text.lines().nth(1), Some(line), "{text}");
        assert_eq!(server.requests()[0].line, "GET /v1/purges?limit=5&product=p&version=1.4.0 HTTP/1.1");
        (arguments.product, arguments.version) = (None, None);
        assert_eq!(run(&arguments, &Terminal::default()).expect("200").text, "no purges");
    }
}
