//! The commands that need the server's own parts, as arguments only: the binary runs them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::recovery::{CatalogueCommand, FsckArguments};

/// A command that reads the settings, not a running server.
#[derive(Debug, Clone, Subcommand)]
pub enum ServerCommand {
    /// Run both listeners
    Serve(ServeArguments),
    /// Bring the catalogue's schema up to date
    Migrate(SettingsArguments),
    /// Say what is wrong with the settings, or print the effective ones
    CheckConfig(SettingsArguments),
    /// The catalogue as a whole
    #[command(subcommand)]
    Catalogue(CatalogueCommand),
    /// Compare catalogue, bucket and backup, and list every difference
    Fsck(FsckArguments),
    /// Print an OpenAPI document
    Openapi(OpenapiArguments),
}

/// Where the settings are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct SettingsArguments {
    /// Settings file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the embedded catalogue, bucket and the first token are [default: ./firmament-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// The arguments of `serve`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ServeArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub settings: SettingsArguments,
    /// Do not bring the catalogue's schema up to date; fail if it is not
    #[arg(long)]
    pub no_migrate: bool,
}

/// The arguments of `openapi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct OpenapiArguments {
    /// Whose API
    #[arg(value_enum, default_value_t = Document::Publisher)]
    pub document: Document,
}

/// One of the two listeners' API documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// The private listener
    Publisher,
    /// The public listener
    Device,
}
