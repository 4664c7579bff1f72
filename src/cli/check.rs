//! `firmament check`: asks the device listener as a device would. It needs no token.

use clap::Args;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    client::{Answer, Client},
    connection::ClientOptions,
    output::{Failure, NOTHING_NEWER, Report, Terminal},
    table::{exact_size, names, plain, time},
};
use crate::{
    api::CheckAnswer,
    domain::{
        name::{ChannelName, Hardware, ProductName},
        version::Version,
    },
};

/// The arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
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
    /// Its own name or serial number
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// What it shows, of a private product [env: FIRMAMENT_CREDENTIAL]
    #[arg(long, value_name = "TEXT", requires = "device", env = "FIRMAMENT_CREDENTIAL", hide_env = true)]
    credential: Option<SecretString>,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Asks for newer firmware.
///
/// # Errors
/// When the server refuses the question or does not answer.
pub fn run(arguments: &CheckArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let mut client = Client::of_devices(&arguments.connection)?;
    if let Some(credential) = &arguments.credential {
        client = client.showing(credential.clone())?;
    }
    let mut query =
        vec![("product", arguments.product.to_string()), ("version", arguments.version.to_string())];
    query.extend(arguments.hardware.iter().map(|hardware| ("hardware", hardware.to_string())));
    query.extend(arguments.channel.iter().map(|channel| ("channel", channel.to_string())));
    query.extend(arguments.device.iter().map(|device| ("device", device.clone())));
    let answer = client.get("/v1/check", &query)?;
    if answer.status == 204 { Ok(nothing(arguments, &answer)) } else { offered(arguments, answer, terminal) }
}

fn offered(arguments: &CheckArguments, answer: Answer, terminal: &Terminal) -> Result<Report, Failure> {
    let offer: CheckAnswer = answer.read()?;
    let version = terminal.strong(&plain(&offer.version));
    let mut lines = vec![
        format!("{version} is offered to {} {}", arguments.product, arguments.version),
        format!("  link      {}", plain(&offer.url)),
        format!("  size      {}", exact_size(offer.size)),
        format!("  sha256    {}", plain(&offer.sha256)),
        format!("  file      {}", plain(&offer.filename)),
        format!("  hardware  {}", plain(&names(&offer.hardware, "all"))),
    ];
    lines.extend(offer.direct_url.iter().map(|url| format!("  leads to  {}", plain(url))));
    lines.extend(offer.url_expires_at.map(|at| format!("  expires   {}", time(at))));
    lines.extend(offer.notes.iter().map(|notes| format!("  notes     {}", plain(notes))));
    lines.extend(again(&answer).map(|seconds| format!("  again in  {seconds} s")));
    Ok(Report::done(lines.join("\n"), with_facts(answer.document.clone(), true, &answer)))
}

fn nothing(arguments: &CheckArguments, answer: &Answer) -> Report {
    let channel = arguments.channel.clone().unwrap_or_else(ChannelName::stable);
    let mut text = format!("nothing newer for {} {} on {channel}", arguments.product, arguments.version);
    if let Some(seconds) = again(answer) {
        text.push_str(&format!("; ask again in {seconds} s"));
    }
    Report { text, document: with_facts(json!({}), false, answer), code: NOTHING_NEWER }
}

fn again(answer: &Answer) -> Option<u64> {
    answer.retry_after.map(|delay| delay.as_secs())
}

/// The API's document, and what it says by status and header.
fn with_facts(mut document: Value, update: bool, answer: &Answer) -> Value {
    if let Some(fields) = document.as_object_mut() {
        fields.insert("update".to_owned(), update.into());
        if let Some(seconds) = again(answer) {
            fields.insert("retry_after_seconds".to_owned(), seconds.into());
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn, problem};

    fn arguments(server: &Replay) -> CheckArguments {
        CheckArguments {
            product: ProductName::parse("p").expect("a name"),
            version: Version::parse_reported("v1.3.0+7").expect("a version"),
            hardware: Some(Hardware::parse("rev-a").expect("a name")),
            channel: None,
            device: Some("serial & 1".into()),
            credential: None,
            connection: server.options(),
        }
    }

    const OFFER: &str = r#"{"version":"1.4.0","url":"http://x/f.bin","size":5,"sha256":"ab","sha1":"cd","md5":"ef",
        "filename":"f.bin","hardware":[],"created_at":"2026-01-02T03:04:05Z","later":"field"}"#;

    #[test]
    fn an_offer_is_0() {
        let server = Replay::start(vec![Turn::json(200, OFFER).header("retry-after", "3600")]);
        let report = run(&arguments(&server), &Terminal::default()).expect("200");
        assert_eq!(report.code, 0);
        for line in ["1.4.0 is offered to p 1.3.0", "  link      http://x/f.bin", "  again in  3600 s"] {
            assert!(report.text.lines().any(|shown| shown == line), "{line}: {}", report.text);
        }
        assert_eq!(report.document["update"], true);
        assert_eq!(report.document["later"], "field");
        let request = &server.requests()[0];
        assert_eq!(
            request.line,
            "GET /v1/check?product=p&version=1.3.0&hardware=rev-a&device=serial%20%26%201 HTTP/1.1"
        );
        assert_eq!(request.header("authorization"), None);
    }

    #[test]
    fn a_credential_is_shown_as_a_bearer_token() {
        let server = Replay::start(vec![Turn::text(204, "")]);
        let credential = Some("abc".to_owned().into());
        run(&CheckArguments { credential, ..arguments(&server) }, &Terminal::default()).expect("204");
        assert_eq!(server.requests()[0].header("authorization"), Some("Bearer abc"));
    }

    #[test]
    fn nothing_newer_is_3() {
        let server = Replay::start(vec![Turn::text(204, "").header("retry-after", "60")]);
        let report = run(&arguments(&server), &Terminal::default()).expect("204");
        assert_eq!(report.code, 3);
        assert_eq!(report.text, "nothing newer for p 1.3.0 on stable; ask again in 60 s");
        assert_eq!(report.document, json!({"update": false, "retry_after_seconds": 60}));
    }

    #[test]
    fn an_unknown_product_is_1() {
        let server = Replay::start(vec![problem(404, "unknown product", &[])]);
        assert_eq!(run(&arguments(&server), &Terminal::default()).expect_err("404").code, 1);
    }
}
