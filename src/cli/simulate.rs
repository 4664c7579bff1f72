//! `firmament simulate`: a fleet against a running server; see [`crate::simulate`] for how.
//!
//! Before the run it looks where the server is, and asks one question for each product: so a server that does not run
//! and a product that does not exist are explained as everywhere, and not counted a thousand times. That look goes the
//! way of the run's checks, to the addresses that were judged and by no proxy.

mod view;

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use serde_json::Value;
use ureq::http::Uri;

use self::view::{Style, View};
use super::{
    client::Client,
    connection::{ClientOptions, Listener, Server},
    output::{DONE, Failure, OURS, Report, Terminal},
};
use crate::{
    domain::{
        name::{ChannelName, Hardware, ProductName},
        version::Version,
    },
    simulate::{self, Mix, Place, Reach, Summary, download::Throttle, fleet, http},
};

/// When neither the caller nor the server says how often devices ask.
const INTERVAL: Duration = Duration::from_secs(300);
/// A soak test over a week is the longest run.
const LONGEST_RUN: Duration = Duration::from_secs(7 * 24 * 3600);

/// The arguments of `simulate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example: 10,000 devices that live 60 times as fast, for two minutes; publish 1.4.0 meanwhile and watch it spread:
  firmament simulate --product thermo-x --version 1.3.0=70,1.2.0=30 --devices 10000 --rate 500 --speed 60 --for 2m")]
pub struct SimulateArguments {
    /// A product of the devices; repeat it for more, in equal shares
    #[arg(long, required = true)]
    product: Vec<ProductName>,
    /// What they run at the start, with weights: 1.3.0=70,1.2.0=30
    #[arg(long, value_name = "VERSION[=WEIGHT],…",
          value_parser = |text: &str| Mix::parse(text, Version::parse_reported))]
    version: Mix<Version>,
    /// Their hardware, with weights: rev-a=60,rev-b=40 [default: they name none]
    #[arg(long, value_name = "HARDWARE[=WEIGHT],…",
          value_parser = |text: &str| Mix::parse(text, |name| Hardware::parse(name).map(Some)))]
    hardware: Option<Mix<Option<Hardware>>>,
    /// The channel that they name [default: none, which is stable]
    #[arg(long)]
    channel: Option<ChannelName>,
    /// What their ids begin with; '' = they send no ids
    #[arg(long, value_name = "TEXT", default_value = "sim-", value_parser = prefix)]
    device_prefix: String,
    /// How many devices
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: u32,
    /// The most checks per second
    #[arg(long, value_name = "R", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How long it runs
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = time)]
    allowed: Duration,
    /// Ends as soon as all devices run this version
    #[arg(long, value_name = "VERSION", value_parser = Version::parse_reported)]
    until: Option<Version>,
    /// How many times faster than real devices they live: what they are told to wait is divided by it
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = speed)]
    speed: f64,
    /// How often they ask before the server has told them [default: as it tells the first]
    #[arg(long, value_name = "TIME", value_parser = time)]
    interval: Option<Duration>,
    /// How long a device takes to install, more or less
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    install: Duration,
    /// All ask at once at the start (as fast as --rate lets them), as after a power cut
    #[arg(long)]
    power_cut: bool,
    /// The most bytes fetched of each image; one that is no larger is verified; 0 = fetch none
    #[arg(long, value_name = "BYTES", default_value = "65536", value_parser = crate::size::parse)]
    download_bytes: u64,
    /// The most bytes of images per second, all devices together
    #[arg(long, value_name = "BYTES", default_value = "10MiB", value_parser = download_rate)]
    download_rate: u64,
    /// The most checks under way at once, and the connections that are kept for them
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// A connection for each check, as most devices do
    #[arg(long)]
    new_connections: bool,
    /// Makes the devices' dice fall the same way each time
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Exit code 2 if a check failed (429 is no failure)
    #[arg(long)]
    fail_on_error: bool,
    /// Allow a server, links and redirects that are not on this machine
    #[arg(long)]
    i_own_this_server: bool,
    /// The device listener [default: that of this machine's server, http://127.0.0.1:8080]
    #[arg(
        long,
        visible_alias = "device-server",
        value_name = "URL",
        env = "FIRMAMENT_DEVICE_SERVER",
        help_heading = "Connection and output"
    )]
    server: Option<String>,
    /// The data directory of a server on this machine [default: ./firmament-data]
    #[arg(long, value_name = "DIR", env = "FIRMAMENT__DATA_DIR", help_heading = "Connection and output")]
    data_dir: Option<PathBuf>,
    /// Print the summary as one JSON document
    #[arg(long, help_heading = "Connection and output")]
    pub json: bool,
}

/// Simulates the fleet to the end of its time.
///
/// # Errors
/// When the server is not the caller's, does not answer, or refuses the first question.
pub fn run(arguments: &SimulateArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let options = ClientOptions {
        device_server: arguments.server.clone(),
        data_dir: arguments.data_dir.clone(),
        ..ClientOptions::default()
    };
    let server = options.find(Listener::Device)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::ours(format!("cannot start threads: {error}")))?;
    let listener = runtime.block_on(listener(arguments, &server))?;
    let told = runtime.block_on(first_look(arguments, &server, &listener))?;
    let plan = arguments.plan(told);
    let mut view = View::start(terminal);
    let summary = runtime.block_on(simulate::run(&plan, listener, |summary| view.show(summary), async {
        // Without a way to be interrupted it runs to its end.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }));
    drop(view);
    // What is still under way has nobody to tell.
    runtime.shutdown_background();
    Ok(report(arguments, &summary, terminal))
}

/// The listener to ask, if the caller may.
async fn listener(arguments: &SimulateArguments, server: &Server) -> Result<http::Listener, Failure> {
    let uri: Uri = server.url.to_string().parse().expect("a base URL is a URL");
    let place = Place::of(&uri).expect("a base URL has a host, and no user name");
    let reach = Reach::new(arguments.i_own_this_server);
    reach.addresses(&place).await.map_err(|beyond| {
        Failure::yours(format!(
            "no fleet is sent to {}: {beyond}. Load that its owner does not expect is an attack",
            server.url
        ))
    })?;
    let prefix = uri.path().trim_end_matches('/').to_owned();
    Ok(http::Listener::new(Arc::new(reach), place, prefix, !arguments.new_connections))
}

/// Asks once for each product; says how often devices should ask.
async fn first_look(
    arguments: &SimulateArguments,
    server: &Server,
    listener: &http::Listener,
) -> Result<Option<Duration>, Failure> {
    let mut told = None;
    for product in &arguments.product {
        let mut path = format!("/v1/check?product={product}");
        path.extend(arguments.version.values().next().map(|version| format!("&version={version}")));
        path.extend(arguments.channel.iter().map(|channel| format!("&channel={channel}")));
        let answer = listener.ask(&path).await.map_err(|why| {
            Failure::ours(format!(
                "cannot reach {}{}: {why}. Is the server running? Start it with `firmament serve`, or name another by \
                 --server",
                server.url, server.origin
            ))
        })?;
        if !answer.status.is_success() {
            return Err(refused(server, &answer));
        }
        told = told.or(answer.retry_after);
    }
    Ok(told)
}

/// Elsewhere `--server` is the publisher listener, so it is easily given here.
fn refused(server: &Server, answer: &http::Answer) -> Failure {
    let url = &server.url;
    if answer.status.is_redirection() {
        return Failure::yours(format!("{url} redirects elsewhere; name the right server by --server"));
    }
    let failure =
        Client::device(server.clone(), http::ANSWER).refused(answer.status, answer.retry_after, &answer.body);
    let kind = failure.document.as_ref().and_then(|document| document["type"].as_str());
    if kind != Some("urn:firmament:problem:no-such-route") {
        return failure;
    }
    Failure::yours(format!(
        "{url} answers no checks; is it the publisher listener? Name the device listener by --server"
    ))
}

impl SimulateArguments {
    fn plan(&self, told: Option<Duration>) -> simulate::Plan {
        let mut products = self.product.clone();
        let mut seen = std::collections::BTreeSet::new();
        products.retain(|product| seen.insert(product.to_string()));
        simulate::Plan {
            fleet: fleet::Plan {
                devices: self.devices,
                products,
                versions: self.version.clone(),
                hardware: self.hardware.clone().unwrap_or_else(|| Mix::of(None)),
                interval: self.interval.or(told).unwrap_or(INTERVAL),
                install: self.install,
                speed: self.speed,
                together: self.power_cut,
            },
            channel: self.channel.clone(),
            device_prefix: Some(self.device_prefix.clone()).filter(|prefix| !prefix.is_empty()),
            rate: self.rate,
            allowed: self.allowed,
            until: self.until.clone(),
            connections: usize::from(self.connections),
            download_bytes: self.download_bytes,
            download_rate: self.download_rate,
            seed: self.seed,
        }
    }
}

fn report(arguments: &SimulateArguments, summary: &Summary, terminal: &Terminal) -> Report {
    let style = Style { colour: terminal.colours_stdout(), ..Style::of_locale() };
    let failed = arguments.fail_on_error && summary.checks.failed > 0;
    Report {
        text: view::text(summary, None, style),
        document: serde_json::to_value(summary).unwrap_or(Value::Null),
        code: if failed { OURS } else { DONE },
    }
}

/// As its server takes a device's id, and as a query has it without escapes.
fn prefix(text: &str) -> Result<String, String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.len() <= 64 && text.bytes().all(fine) {
        return Ok(text.to_owned());
    }
    Err("use at most 64 letters, digits, '.', '_' or '-'".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it with its unit, such as 90s, 5m or 2h"))?;
    if time > LONGEST_RUN { Err("at most a week (7d)".to_owned()) } else { Ok(time) }
}

fn download_rate(text: &str) -> Result<u64, String> {
    let rate = crate::size::parse(text)?;
    if Throttle::RANGE.contains(&rate) { Ok(rate) } else { Err("use 64KiB to 10GiB".to_owned()) }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "use a number, such as 60".to_owned())?;
    if (0.01..=100_000.0).contains(&speed) { Ok(speed) } else { Err("use 0.01 to 100000".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::replay::{Replay, Turn, problem},
        simulate::reach::FLAG,
    };

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: SimulateArguments,
    }

    fn arguments(server: &str, more: &[&str]) -> SimulateArguments {
        let line = ["x", "--product", "p", "--version", "1.0.0", "--server", server];
        Line::try_parse_from(line.iter().chain(more)).expect("well-formed").arguments
    }

    fn refused(server: &str, more: &[&str]) -> Failure {
        run(&arguments(server, more), &Terminal::default()).expect_err(server)
    }

    #[test]
    fn others_servers_are_left_alone() {
        for url in ["http://192.0.2.1:8080", "http://[2001:db8::1]", "https://198.51.100.7/api"] {
            let failure = refused(url, &[]);
            assert_eq!(failure.code, 1, "{url}");
            assert!(failure.message.contains(FLAG), "{}", failure.message);
        }
    }

    #[test]
    fn without_a_server_it_says_what_to_do() {
        // Bound and dropped: nobody listens there.
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let failure = refused(&format!("http://{free}"), &[]);
        assert_eq!(failure.code, 2);
        assert!(failure.message.contains("`firmament serve`"), "{}", failure.message);
    }

    #[test]
    fn a_product_that_does_not_exist_is_found_before_the_run() {
        let server = Replay::start(vec![problem(404, "there is no product p", &[])]);
        let failure = refused(server.url(), &[]);
        assert_eq!((failure.code, failure.message.as_str()), (1, "there is no product p"));
    }

    #[test]
    fn the_wrong_listener_is_recognised() {
        let body =
            r#"{"type":"urn:firmament:problem:no-such-route","title":"","status":404,"detail":"nothing"}"#;
        let failure = refused(Replay::start(vec![Turn::json(404, body)]).url(), &[]);
        assert!(failure.message.contains("publisher listener"), "{}", failure.message);
    }

    #[test]
    fn the_first_answer_sets_the_rhythm_unless_the_caller_does() {
        let server = Replay::start(vec![Turn::text(204, "").header("retry-after", "90")]);
        let mut arguments = arguments(server.url(), &["--channel", "beta", "--product", "p"]);
        let found = ClientOptions { device_server: arguments.server.clone(), ..ClientOptions::default() };
        arguments.product.truncate(1);
        let found = found.find(Listener::Device).expect("an address");
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let told = runtime.block_on(async {
            let listener = listener(&arguments, &found).await.expect("loopback");
            first_look(&arguments, &found, &listener).await.expect("204")
        });
        assert_eq!(server.requests()[0].line, "GET /v1/check?product=p&version=1.0.0&channel=beta HTTP/1.1");
        assert_eq!(arguments.plan(told).fleet.interval, Duration::from_secs(90));
        arguments.interval = Some(Duration::from_secs(7));
        assert_eq!(arguments.plan(told).fleet.interval, Duration::from_secs(7));
        arguments.product.push(arguments.product[0].clone());
        assert_eq!(arguments.plan(None).fleet.products.len(), 1);
    }
}
