//! `firmament path`: says how devices come to a release.

use clap::Args;

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report, Terminal},
    table::plain,
};
use crate::{
    api::{PathBody, ReleaseView},
    domain::{name::ProductName, version::Version},
};

/// The arguments of `path`. What is not given stays as it is.
#[derive(Debug, Args)]
pub struct PathArguments {
    /// The product
    #[arg(long)]
    product: ProductName,
    /// The release's version
    #[arg(long, value_parser = Version::parse)]
    version: Version,
    /// Devices below it must pass through it on their way up
    #[arg(long, conflicts_with = "no_floor")]
    floor: bool,
    /// They need not
    #[arg(long)]
    no_floor: bool,
    /// The lowest version that can take it
    #[arg(long, value_name = "VERSION", value_parser = Version::parse)]
    upgrade_from: Option<Version>,
    /// Any version can take it
    #[arg(long, conflicts_with = "upgrade_from")]
    upgrade_from_any: bool,
    /// Do it although devices would be left without a way to what their channel offers highest
    #[arg(long)]
    allow_stranding: bool,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Changes the path.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(arguments: &PathArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let client = Client::publisher(&arguments.connection)?;
    let path = format!("/v1/products/{}/releases/{}", arguments.product, arguments.version);
    let before: ReleaseView = client.get(&path, &[])?.read()?;
    let stays = before.upgrade_from.filter(|_| !arguments.upgrade_from_any);
    let body = PathBody {
        floor: arguments.floor || (before.floor && !arguments.no_floor),
        upgrade_from: arguments.upgrade_from.as_ref().map(ToString::to_string).or(stays),
        allow_stranding: arguments.allow_stranding,
        reason: arguments.reason.clone(),
    };
    let answer = client.put(&format!("{path}/path"), &body)?;
    let release: ReleaseView = answer.read()?;
    terminal.warn_all(&release.warnings);
    let what = terminal.strong(&plain(&format!("{} {}", release.product, release.version)));
    let floor = if release.floor { "a floor: devices below it pass through it" } else { "no floor" };
    let from =
        release.upgrade_from.map_or_else(|| "any version".to_owned(), |lowest| format!("{lowest} or higher"));
    Ok(Report::done(format!("{what} is {floor}; it takes {}", plain(&from)), answer.document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn, release};

    #[test]
    fn what_is_not_given_stays() {
        let before =
            release("1.5.0", "published").replace("\"images\"", "\"upgrade_from\":\"1.2.0\",\"images\"");
        let after = before.replace("\"images\"", "\"floor\":true,\"images\"");
        let server = Replay::start(vec![Turn::json(200, &before), Turn::json(200, &after)]);
        let arguments = PathArguments {
            product: ProductName::parse("p").expect("a name"),
            version: Version::parse("1.5.0").expect("a version"),
            floor: true,
            no_floor: false,
            upgrade_from: None,
            upgrade_from_any: false,
            allow_stranding: false,
            reason: None,
            connection: server.options(),
        };
        let report = run(&arguments, &Terminal::default()).expect("200");
        assert_eq!(
            report.text,
            "p 1.5.0 is a floor: devices below it pass through it; it takes 1.2.0 or higher"
        );
        let request = &server.requests()[1];
        assert_eq!(request.line, "PUT /v1/products/p/releases/1.5.0/path HTTP/1.1");
        let body: PathBody = serde_json::from_slice(&request.body).expect("JSON");
        assert!(body.floor && body.upgrade_from.as_deref() == Some("1.2.0"));
    }
}
