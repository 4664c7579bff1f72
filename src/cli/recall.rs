//! `firmament recall`: takes a release back, and says what is offered instead.

use clap::Args;

use super::{
    client::Client,
    connection::ClientOptions,
    offers,
    output::{Failure, Report, Terminal},
    table::plain,
};
use crate::{
    api::{RecallBody, ReleaseView},
    domain::{name::ProductName, version::Version},
};

/// The arguments of `recall`.
#[derive(Debug, Args)]
pub struct RecallArguments {
    /// The product
    #[arg(long)]
    product: ProductName,
    /// The release's version
    #[arg(long, value_parser = Version::parse)]
    version: Version,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The version that devices which run it should go to, also a lower one
    #[arg(long, value_name = "VERSION", value_parser = Version::parse)]
    replacement: Option<Version>,
    /// Recall it although devices would be left without a way to what their channel offers highest
    #[arg(long)]
    allow_stranding: bool,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Recalls the release.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(arguments: &RecallArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let client = Client::publisher(&arguments.connection)?;
    let RecallArguments { product, version, reason, .. } = arguments;
    let path = format!("/v1/products/{product}/releases/{version}/recall");
    let body = RecallBody {
        reason: reason.clone(),
        replacement: arguments.replacement.as_ref().map(ToString::to_string),
        allow_stranding: arguments.allow_stranding,
    };
    let answer = client.post(&path, &body)?;
    let release: ReleaseView = answer.read()?;
    let what = terminal.strong(&plain(&format!("{} {}", release.product, release.version)));
    terminal.warn_all(&release.warnings);
    let mut text = format!("recalled {what}; it is offered to no device any more");
    if let Some(replacement) = &release.replacement {
        text.push_str(&format!("\ndevices that run it are offered {}", plain(replacement)));
    }
    if !terminal.is_json()
        && let Some(detail) = offers::ask_after(&client, product, terminal)
    {
        let instead = offers::of_product(&detail, terminal, |_| true);
        text.push_str(if instead.is_empty() { "\nno channel offers anything" } else { "\n" });
        text.push_str(&instead);
    }
    Ok(Report::done(text, answer.document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn, channel, problem, product_detail, release};

    fn arguments(server: &Replay) -> RecallArguments {
        RecallArguments {
            product: ProductName::parse("p").expect("a name"),
            version: Version::parse("1.5.0").expect("a version"),
            reason: "bricks rev-a".into(),
            replacement: None,
            allow_stranding: false,
            connection: server.options(),
        }
    }

    #[test]
    fn what_is_offered_instead_is_shown() {
        let detail = product_detail("p", &format!("[{}]", channel("stable", "1.4.0")));
        let recalled = release("1.5.0", "recalled");
        let server = Replay::start(vec![Turn::json(200, &recalled), Turn::json(200, &detail)]);
        let report = run(&arguments(&server), &Terminal::default()).expect("200");
        assert!(report.text.starts_with("recalled p 1.5.0;"), "{}", report.text);
        assert!(report.text.contains("stable now offers") && report.text.contains("1.4.0"));
        assert_eq!(report.document["state"], "recalled");
        assert_eq!(server.requests()[0].line, "POST /v1/products/p/releases/1.5.0/recall HTTP/1.1");
    }

    #[test]
    fn a_recall_that_is_done_is_done_even_if_the_offers_cannot_be_shown() {
        let turns = vec![Turn::json(200, &release("1.5.0", "recalled")), problem(500, "broken", &[])];
        let report = run(&arguments(&Replay::start(turns)), &Terminal::default()).expect("200");
        assert_eq!(report.code, 0);
    }
}
