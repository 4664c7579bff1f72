//! `firmament health`: asks the device listener's `/readyz`, for a container's health check.
//!
//! Docker knows two outcomes only, so every failure is exit code 1 here.

use std::time::Duration;

use clap::Args;

use super::{
    client::Client,
    connection::{BaseUrl, ClientOptions, Listener, Server},
    output::{Failure, Report, YOURS},
    table::plain,
};
use crate::api::Health;

/// Less than any sensible time-out of a health check.
const PATIENCE: Duration = Duration::from_secs(3);

/// The arguments of `health`.
#[derive(Debug, Args)]
pub struct HealthArguments {
    /// Where the server was told to listen; it is asked there.
    #[arg(long, hide = true, value_name = "ADDRESS", env = "FIRMAMENT__DEVICE__LISTEN")]
    listen: Option<String>,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Asks whether the server can answer checks.
///
/// # Errors
/// When it cannot.
pub fn run(arguments: &HealthArguments) -> Result<Report, Failure> {
    ask(arguments).map_err(|failure| Failure { code: YOURS, ..failure })
}

fn ask(arguments: &HealthArguments) -> Result<Report, Failure> {
    let client = Client::device(find(arguments)?, PATIENCE);
    let answer = client.get("/readyz", &[])?;
    let health: Health = answer.read()?;
    let mut text = plain(&health.status);
    if let Some(revision) = health.revision {
        text.push_str(&format!(", revision {revision}"));
    }
    if let Some(age) = health.snapshot_age_seconds {
        text.push_str(&format!(", confirmed {age} s ago"));
    }
    Ok(Report::done(text, answer.document))
}

fn find(arguments: &HealthArguments) -> Result<Server, Failure> {
    let named = arguments.connection.device_server.as_deref().is_some_and(|url| !url.trim().is_empty());
    match arguments.listen.as_deref().map(str::trim).filter(|listen| !named && !listen.is_empty()) {
        Some(listen) => {
            let url = BaseUrl::parse(&format!("http://{listen}"))
                .map_err(|why| Failure::yours(format!("FIRMAMENT__DEVICE__LISTEN {listen:?}: {why}")))?;
            Ok(Server { url, listener: Listener::Device, origin: String::new() })
        }
        None => arguments.connection.find(Listener::Device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn, problem};

    fn arguments(server: &Replay, listen: Option<&str>) -> HealthArguments {
        HealthArguments { listen: listen.map(Into::into), connection: server.options() }
    }

    #[test]
    fn ready_is_0_and_everything_else_is_1() {
        let ready = Turn::json(200, r#"{"status":"ok","revision":7,"snapshot_age_seconds":2}"#);
        let server = Replay::start(vec![ready]);
        let report = run(&arguments(&server, None)).expect("200");
        assert_eq!((report.code, report.text.as_str()), (0, "ok, revision 7, confirmed 2 s ago"));
        assert_eq!(server.requests()[0].line, "GET /readyz HTTP/1.1");
        for turn in [
            Turn::json(429, r#"{"status":"draining"}"#),
            problem(503, "draining", &[]),
            Turn::text(200, "<html>"),
            Turn::silence(),
        ] {
            assert_eq!(run(&arguments(&Replay::start(vec![turn]), None)).expect_err("not ready").code, 1);
        }
    }

    #[test]
    fn it_asks_where_the_server_was_told_to_listen() {
        let server = Replay::start(vec![]);
        let mut arguments = arguments(&server, Some("0.0.0.0:9000"));
        let found = |arguments: &HealthArguments| find(arguments).expect("an address").url.to_string();
        assert_eq!(found(&arguments), server.url());
        arguments.connection.device_server = None;
        assert_eq!(found(&arguments), "http://127.0.0.1:9000");
        arguments.listen = Some("[::]:9000".into());
        assert_eq!(found(&arguments), "http://[::1]:9000");
        arguments.listen = Some("nonsense here".into());
        assert!(find(&arguments).is_err());
    }
}
