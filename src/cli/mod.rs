//! The command line: what can be typed, and who runs it.
//!
//! [`parse`] reads the arguments. The commands that need the server's own parts (settings, catalogue, bucket) are
//! [`ServerCommand`]s and run by [`run_server`]. The client commands talk to a running server
//! over HTTP and are run by [`run_client`]: each is one file with one function that turns its arguments into a
//! [`Report`] or a [`Failure`].
//!
//! Output habits are in one place, [`output`]: data goes to stdout, everything else to stderr; `--json` prints one
//! JSON document; exit codes are 0 done, 1 the caller's mistake or a refusal, 2 our failure. A command never prints
//! its result itself, and never decides what an exit code means.

mod answer_first;
mod audit;
mod backup;
mod check;
mod check_property;
mod client;
mod connection;
mod cost;
mod delivery_settings;
mod device;
mod direct;
mod downloads;
mod explain;
mod health;
mod import;
mod inspect;
mod offers;
pub mod output;
mod path;
mod product;
mod product_rhythm;
mod product_settings;
mod progress;
mod promote;
mod prune;
mod publish;
mod purges;
mod recall;
mod recovery;
mod release;
mod releases;
#[cfg(test)]
mod replay;
mod resumable;
mod server_run;
mod server_side;
mod simulate;
mod table;
mod token;
mod upload;
mod verdict;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::{Failure, Report, Terminal};
pub use server_run::run_server;
pub use server_side::{Document, OpenapiArguments, ServeArguments, ServerCommand, SettingsArguments};

/// Everything that can be typed after `firmament`.
#[derive(Debug, Parser)]
#[command(
    name = "firmament",
    version,
    about = "Firmware distribution for fleets of IoT devices",
    long_about = "Firmware distribution for fleets of IoT devices.\n\nWithout a command it runs the server: with no \
                  configuration, everything under ./firmament-data, publishers on 127.0.0.1:8081, devices on \
                  127.0.0.1:8080.",
    after_help = "Exit codes: 0 done, 1 your mistake or a refusal, 2 a failure of the server or of the way to it.",
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do; nothing = serve.
    #[command(subcommand)]
    command: Option<Command>,
    /// The options of `serve`, which may be given without naming it.
    #[command(flatten)]
    serve: ServeArguments,
}

/// A command, by who runs it.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of them in the process's life")]
pub enum Command {
    /// Needs the server's own parts; the binary runs it.
    #[command(flatten)]
    Server(ServerCommand),
    /// Talks to a running server; [`run_client`] runs it.
    #[command(flatten)]
    Client(ClientCommand),
}

/// The commands that talk to a running server.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Create, list and show products
    #[command(subcommand)]
    Product(product::ProductCommand),
    /// What devices of private products are known by
    #[command(subcommand)]
    Device(device::DeviceCommand),
    /// Upload an image of a release
    Publish(publish::PublishArguments),
    /// Take existing firmware files in: a directory tree, or an S3 bucket
    Import(import::ImportArguments),
    /// Offer a stored release on a channel
    Promote(promote::PromoteArguments),
    /// Take a release back: it is offered no longer
    Recall(recall::RecallArguments),
    /// What a release says of itself: notes, security, bill of materials
    #[command(subcommand)]
    Release(release::ReleaseCommand),
    /// Say how devices come to a release: whether it is a floor, and which versions can take it
    Path(path::PathArguments),
    /// Remove for good the releases that a product's retention does not keep
    Prune(prune::PruneArguments),
    /// List the releases of a product
    Releases(releases::ReleasesArguments),
    /// Show what the CDN is to forget, and how far that is
    Purges(purges::PurgesArguments),
    /// Ask for newer firmware, as a device would (exit code 3: there is none)
    Check(check::CheckArguments),
    /// Tell what a device is offered, and why
    Explain(explain::ExplainArguments),
    /// Show what an image says of itself, and whether it is whole; needs no server
    Inspect(inspect::InspectArguments),
    /// Show who changed what in a product; verify and export the log of all
    Audit(audit::AuditArguments),
    /// The backup bucket
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Ask the device listener whether it can answer checks (exit code 0 or 1)
    Health(health::HealthArguments),
    /// Simulate a fleet of devices that ask, download and update, to measure and to plan
    Simulate(simulate::SimulateArguments),
    /// Show how often images were downloaded, as the CDN's logs tell; not for billing
    Downloads(downloads::DownloadsArguments),
    /// Check the rule tree of an Akamai property: names, kinds, and whether it fits our links; needs no server
    CheckProperty(check_property::CheckPropertyArguments),
    /// Estimate what delivery costs a month, side by side; needs no server
    Cost(cost::CostArguments),
}

/// Reads the process's arguments. Help and version are printed to stdout and end the process with 0, a mistake is
/// explained on stderr and ends it with 1.
pub fn parse() -> Command {
    match Cli::try_parse() {
        Ok(cli) => cli.chosen(),
        Err(error) => {
            // Nothing is left to do when even the explanation cannot be printed.
            let _ = error.print();
            std::process::exit(exit_code_of(&error));
        }
    }
}

impl Cli {
    fn chosen(self) -> Command {
        self.command.unwrap_or(Command::Server(ServerCommand::Serve(self.serve)))
    }
}

/// Clap's own code for a mistake is 2, which here means a failure of ours.
fn exit_code_of(error: &clap::Error) -> i32 {
    i32::from(error.use_stderr())
}

/// Runs a client command and prints its outcome.
pub fn run_client(command: ClientCommand) -> ExitCode {
    let terminal = Terminal::detect(command.json());
    let outcome = command.run(&terminal);
    ExitCode::from(terminal.finish(outcome))
}

impl ClientCommand {
    fn json(&self) -> bool {
        match self {
            Self::Product(command) => command.connection().json,
            Self::Device(command) => command.connection().json,
            Self::Publish(arguments) => arguments.connection.json,
            Self::Import(arguments) => arguments.connection.json,
            Self::Promote(arguments) => arguments.connection.json,
            Self::Recall(arguments) => arguments.connection.json,
            Self::Release(command) => command.connection().json,
            Self::Path(arguments) => arguments.connection.json,
            Self::Prune(arguments) => arguments.connection.json,
            Self::Explain(arguments) => arguments.connection.json,
            Self::Inspect(arguments) => arguments.json,
            Self::Releases(arguments) => arguments.connection.json,
            Self::Purges(arguments) => arguments.connection.json,
            Self::Check(arguments) => arguments.connection.json,
            Self::Audit(arguments) => arguments.connection().json,
            Self::Health(arguments) => arguments.connection.json,
            Self::Simulate(arguments) => arguments.json,
            Self::Backup(command) => command.json(),
            Self::Downloads(arguments) => arguments.connection.json,
            Self::CheckProperty(arguments) => arguments.json,
            Self::Cost(arguments) => arguments.json,
        }
    }

    fn run(&self, terminal: &Terminal) -> Result<Report, Failure> {
        match self {
            Self::Product(command) => product::run(command, terminal),
            Self::Device(command) => device::run(command, terminal),
            Self::Publish(arguments) => publish::run(arguments, terminal),
            Self::Import(arguments) => import::run(arguments, terminal),
            Self::Promote(arguments) => promote::run(arguments, terminal),
            Self::Recall(arguments) => recall::run(arguments, terminal),
            Self::Release(command) => release::run(command, terminal),
            Self::Path(arguments) => path::run(arguments, terminal),
            Self::Prune(arguments) => prune::run(arguments),
            Self::Explain(arguments) => explain::run(arguments, terminal),
            Self::Inspect(arguments) => inspect::run(arguments, terminal),
            Self::Releases(arguments) => releases::run(arguments, terminal),
            Self::Purges(arguments) => purges::run(arguments, terminal),
            Self::Check(arguments) => check::run(arguments, terminal),
            Self::Audit(arguments) => audit::run(arguments, terminal),
            Self::Health(arguments) => health::run(arguments),
            Self::Simulate(arguments) => simulate::run(arguments, terminal),
            Self::Backup(command) => backup::run(command, terminal),
            Self::Downloads(arguments) => downloads::run(arguments, terminal),
            Self::CheckProperty(arguments) => check_property::run(arguments, terminal),
            Self::Cost(arguments) => cost::run(arguments, terminal),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(Cli::chosen)
    }

    #[test]
    fn the_description_of_the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_is_serve_and_its_options_need_no_name() {
        assert!(matches!(parsed("firmament"), Ok(Command::Server(ServerCommand::Serve(_)))));
        for line in ["firmament --data-dir /d --no-migrate", "firmament serve --data-dir /d --no-migrate"] {
            let Ok(Command::Server(ServerCommand::Serve(serve))) = parsed(line) else {
                panic!("{line} is serve");
            };
            assert_eq!(serve.settings.data_dir.as_deref(), Some(std::path::Path::new("/d")));
            assert!(serve.no_migrate && serve.settings.config.is_none());
        }
    }

    #[test]
    fn every_command_of_the_contract_parses() {
        for line in [
            "firmament migrate --config f.toml",
            "firmament check-config --config f.toml",
            "firmament product create thermo-x --hardware rev-a --hardware rev-b --max-image-bytes 5",
            "firmament product list",
            "firmament publish f.bin --product p --version v1.4.0 --hardware a --hardware b --channel c --notes n",
            "firmament publish f.bin --product p --version 1.4.0 --resumable-above 0",
            "firmament publish f.bin --product p --version 1.4.0 --direct",
            "firmament promote --product p --version 1.4.0 --channel stable",
            "firmament recall --product p --version 1.4.0 --reason broken",
            "firmament releases --product p --json",
            "firmament check --product p --version 1.4.0+7 --hardware h --channel c --device d",
            "firmament check --product p --version 1.4.0 --device d --credential x",
            "firmament device credential --product p --device a --device b --secret-file f",
            "firmament product device-secret p --rotate --secret-file f",
            "firmament product device-secret p --retire",
            "firmament product set p --access private --authenticate-devices --link short --url-max-length 64 --url-scheme http --url-host ip",
            "firmament backup sync",
            "firmament backup verify",
            "firmament backup restore",
            "firmament backup status --json",
            "firmament backup sync --config f.toml --data-dir d",
            "firmament backup verify --config f.toml --deep --restart --rate 50MiB",
            "firmament backup restore --config f.toml --all --product p --dry-run --json",
            "firmament openapi",
            "firmament openapi device",
            "firmament audit --product p",
            "firmament product create p --support-end 2031-12-31",
            "firmament product set p --support-end 2031-12-31",
            "firmament release show --product p --version 1.4.0",
            "firmament release attach sbom.cdx.json --product p --version 1.4.0 --name sbom.json --replace",
            "firmament release attachment sbom.json --product p --version 1.4.0 --output x",
            "firmament release detach sbom.json --product p --version 1.4.0",
            "firmament release security --product p --version 1.4.0 --severity high --cve CVE-2026-1234",
            "firmament release security --product p --version 1.4.0 --clear",
            "firmament release notes --product p --version 1.4.0 --file NOTES.md",
            "firmament audit verify --file log.jsonl --server http://x",
            "firmament audit export --after 7",
            "firmament publish f.bin --product p",
            "firmament publish f.bin --product p --version 1.0.0 --floor --upgrade-from 0.9.0 --signature f.minisig --dry-run",
            "firmament product set p --hardware rev-a --format esp-app --name product=thermo --slot-bytes 5 --rule same-bytes=warn",
            "firmament product create p --settings s.json",
            "firmament recall --product p --version 1.4.0 --reason broken --replacement 1.3.0",
            "firmament path --product p --version 1.4.0 --floor --upgrade-from 1.2.0",
            "firmament explain --product p --version 1.4.0 --hardware h --channel c",
            "firmament catalogue rebuild --from bucket --deep --config f.toml",
            "firmament fsck --repair --json --data-dir d",
            "firmament import ./tree --template {product}/{version}/{filename} --create-products --apply",
            "firmament import s3://b/p --manifest l.csv --dry-run",
            "firmament prune --product p --dry-run --running 1.0.0",
            "firmament product set p --keep-newest 20 --keep-security-for 3650d",
            "firmament inspect f.bin --json",
            "firmament health",
            "firmament downloads --product p --version 1.4.0 --days 7 --json",
            "firmament check-property rules.json --template --token-name hdnts --salt 0123456789abcdef",
            "firmament check-property rules.json --no-token --json",
            "firmament cost --devices 1000000 --image-size 64MiB --updates-per-month 1 --akamai-usd-per-gb 0.02 --json",
            "firmament purges --product p --version 1.4.0 --limit 5 --json",
            "firmament simulate --devices 10 --rate 5 --server http://127.0.0.1:1 --product p --version 1.3.0=7,1.2.0",
        ] {
            assert!(parsed(line).is_ok(), "{line}: {:?}", parsed(line).err());
        }
    }

    #[test]
    fn a_mistake_is_1_and_help_is_0() {
        for line in [
            "firmament fly",
            "firmament publish",
            "firmament publish f --product Thermo --version 1.0.0",
            "firmament publish f --product p --version 1.0",
            "firmament publish f --product p --version 1.0.0+7",
            "firmament promote --product p --version 1.0.0 --channel c --allow-downgrade",
            "firmament import x --apply --dry-run",
            "firmament product",
            "firmament check --product p --version 1.4.0 --credential x",
            "firmament product device-secret p --rotate --retire",
            "firmament product set p --access secret",
            "firmament audit",
            "firmament backup verify --restart",
            "firmament backup verify --deep --rate fast",
            "firmament audit verify --expect-head 7",
            "firmament release security --product p --version 1.4.0",
            "firmament release security --product p --version 1.4.0 --severity bad",
            "firmament release security --product p --version 1.4.0 --severity high --cve CVE-26-1",
            "firmament release notes --product p --version 1.4.0",
            "firmament product create p --support-end soon",
            "firmament simulate --product p --version 1.0.0 --rate 0",
            "firmament downloads",
            "firmament downloads --product p --days 0",
            "firmament cost --devices 0 --image-size 1MiB --updates-per-month 1",
            "firmament cost --devices 1 --image-size big --updates-per-month 1",
            "firmament cost --devices 1 --image-size 1MiB --updates-per-month 1 --offload 2",
            "firmament cost --devices 1 --image-size 1MiB --updates-per-month 1 --delta-share 0.5",
            "firmament simulate --product p --version 1.0.0=x",
            "firmament simulate --product p --version 1.0.0 --speed 0",
            "firmament simulate --product p --version 1.0.0 --device-prefix a&b",
        ] {
            assert_eq!(exit_code_of(&parsed(line).expect_err(line)), 1, "{line}");
        }
        for line in ["firmament --help", "firmament --version", "firmament publish --help"] {
            assert_eq!(exit_code_of(&parsed(line).expect_err(line)), 0, "{line}");
        }
    }
}
