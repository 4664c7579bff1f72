//! `firmament product device-secret`: the secret that the credentials of a product's devices are made with.

use std::path::PathBuf;

use clap::Args;

use crate::{
    api::{DeviceSecretBody, DeviceSecretView},
    cli::{
        client::Client,
        connection::ClientOptions,
        device,
        output::{Failure, Report, Terminal},
    },
    domain::name::ProductName,
};

/// The arguments of `product device-secret`.
#[derive(Debug, Args)]
pub struct DeviceSecretArguments {
    /// The product
    slug: ProductName,
    /// Make a new one: it makes credentials from now on, and the one until now still counts
    #[arg(long, group = "what")]
    rotate: bool,
    /// End the one of old: its credentials count no longer
    #[arg(long, group = "what")]
    retire: bool,
    /// With --rotate: one that you have kept, 64 hex digits in a file, instead of a random one
    #[arg(long, value_name = "FILE", requires = "rotate")]
    secret_file: Option<PathBuf>,
    /// How to reach the server.
    #[command(flatten)]
    pub(super) connection: ClientOptions,
}

/// Changes the secret.
///
/// # Errors
/// When the server refuses or does not answer, or the file is unusable.
pub(super) fn run(
    arguments: &DeviceSecretArguments,
    client: &Client,
    terminal: &Terminal,
) -> Result<Report, Failure> {
    let slug = &arguments.slug;
    if arguments.retire {
        let answer = client.delete(&format!("/v1/products/{slug}/device-secret/old"))?;
        let text = format!("only the newest device secret of {} counts", terminal.strong(slug.as_str()));
        return Ok(Report::done(text, answer.document));
    }
    if !arguments.rotate {
        return Err(Failure::yours(format!(
            "say what to do: --rotate makes a new device secret of {slug} and shows it once, --retire ends the old one. \
             Credentials need neither: firmament device credential --product {slug} --device ID"
        )));
    }
    let secret = arguments.secret_file.as_ref().map(device::secret).transpose()?;
    let body = DeviceSecretBody { secret: secret.map(hex::encode) };
    let answer = client.post(&format!("/v1/products/{slug}/device-secret"), &body)?;
    let view: DeviceSecretView = answer.read()?;
    let shown = view.secret.clone().unwrap_or_default();
    terminal.note("keep it where secrets are kept: it is shown this once");
    if view.secrets > 1 {
        terminal.note(&format!(
            "the one of before still counts; once all devices have new credentials: firmament product device-secret {slug} \
             --retire"
        ));
    }
    Ok(Report::done(shown, answer.document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn};

    fn run_with(server: &Replay, rotate: bool, retire: bool) -> Result<Report, Failure> {
        let arguments = DeviceSecretArguments {
            slug: ProductName::parse("p").expect("a name"),
            rotate,
            retire,
            secret_file: None,
            connection: server.options(),
        };
        run(&arguments, &Client::publisher(&server.options())?, &Terminal::default())
    }

    #[test]
    fn a_new_secret_is_shown_alone() {
        let server = Replay::start(vec![Turn::json(201, r#"{"product":"p","secret":"abcd","secrets":2}"#)]);
        assert_eq!(run_with(&server, true, false).expect("201").text, "abcd");
        let request = &server.requests()[0];
        assert_eq!(
            (request.line.as_str(), request.body.as_slice()),
            ("POST /v1/products/p/device-secret HTTP/1.1", &b"{}"[..])
        );
    }

    #[test]
    fn the_old_one_is_ended_and_nothing_happens_unsaid() {
        let server = Replay::start(vec![Turn::json(200, r#"{"product":"p","secrets":1}"#)]);
        run_with(&server, false, true).expect("200");
        assert_eq!(server.requests()[0].line, "DELETE /v1/products/p/device-secret/old HTTP/1.1");
        let failure = run_with(&server, false, false).expect_err("nothing said");
        assert!(failure.message.contains("--rotate") && failure.code == 1);
    }
}
