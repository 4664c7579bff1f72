//! `firmament promote`: offers a stored release on a channel.

use clap::Args;

use super::{
    client::Client,
    connection::{ClientOptions, Listener},
    offers,
    output::{Failure, Report, Terminal},
};
use crate::{
    api::{ChannelView, PromoteBody},
    domain::{
        name::{ChannelName, Hardware, ProductName},
        version::Version,
    },
};

/// The arguments of `promote`.
#[derive(Debug, Args)]
pub struct PromoteArguments {
    /// The product
    #[arg(long)]
    product: ProductName,
    /// The release's version
    #[arg(long, value_parser = Version::parse)]
    version: Version,
    /// Where to offer it
    #[arg(long)]
    channel: ChannelName,
    /// Offer it although the channel offers a higher version
    #[arg(long, requires = "reason")]
    allow_downgrade: bool,
    /// Offer it although devices would be left without a way to it
    #[arg(long)]
    allow_stranding: bool,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Promotes the release.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(arguments: &PromoteArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let client = Client::publisher(&arguments.connection)?;
    let body = PromoteBody {
        version: arguments.version.to_string(),
        allow_downgrade: arguments.allow_downgrade,
        allow_stranding: arguments.allow_stranding,
        reason: arguments.reason.clone(),
    };
    let answer =
        client.put(&format!("/v1/products/{}/channels/{}", arguments.product, arguments.channel), &body)?;
    let channel: ChannelView = answer.read()?;
    terminal.warn_all(&channel.warnings);
    let promoted = channel.offers.iter().find(|offer| offer.version == body.version);
    let hardware = promoted.and_then(|offer| offer.hardware.as_deref()?.parse::<Hardware>().ok());
    let again = arguments.connection.repeated(Listener::Device);
    let text = format!(
        "{}\nnext: {}",
        offers::of_channel(&channel, terminal),
        offers::check_command(&arguments.product, hardware.as_ref(), &arguments.channel, &again)
    );
    Ok(Report::done(text, answer.document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn, channel, problem};

    fn arguments(server: &Replay) -> PromoteArguments {
        PromoteArguments {
            product: ProductName::parse("p").expect("a name"),
            version: Version::parse("1.4.0").expect("a version"),
            channel: ChannelName::stable(),
            allow_downgrade: true,
            allow_stranding: false,
            reason: Some("the new one drains batteries".into()),
            connection: server.options(),
        }
    }

    #[test]
    fn the_offers_are_shown() {
        let server = Replay::start(vec![Turn::json(200, &channel("stable", "1.4.0"))]);
        let report = run(&arguments(&server), &Terminal::default()).expect("200");
        assert!(report.text.starts_with("stable now offers\n"), "{}", report.text);
        assert!(report.text.contains("next: firmament check --product p --version 0.0.0 --hardware rev-a"));
        let request = &server.requests()[0];
        assert_eq!(request.line, "PUT /v1/products/p/channels/stable HTTP/1.1");
        let body: PromoteBody = serde_json::from_slice(&request.body).expect("JSON");
        assert!(body.allow_downgrade && body.version == "1.4.0" && body.reason.is_some());
    }

    #[test]
    fn a_refusal_keeps_its_reasons() {
        let server = Replay::start(vec![problem(422, "refused", &[("downgrade", "1.5.0 is offered")])]);
        let failure = run(&arguments(&server), &Terminal::default()).expect_err("422");
        assert_eq!((failure.code, failure.reasons.len()), (1, 1));
    }
}
