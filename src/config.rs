//! Settings: built-in defaults <- file <- environment <- flags, typed and validated, secrets redacted.
//!
//! `config/default.toml` is the commented reference and, embedded in the binary, the lowest layer. An unknown key
//! is an error that names it. What can be judged without a network is judged here, all of it at once, so that
//! a server that starts has settings that make sense.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    bucket::S3Settings,
    domain::ProductName,
    error::{Error, Kind, Result},
};

mod backup;
mod cdn;
mod field;
mod logs;
mod problems;
mod purge;
mod warnings;

pub use backup::BackupSettings;
pub use cdn::{Cdn, CdnToken, CdnTokenKind, G2oSettings, SigningKeyName};
pub use logs::CdnLogs;
pub use purge::{PurgeChecks, PurgeInterface, PurgeNetwork, PurgeSettings, VerifyBeforeOffer};
pub(crate) use purge::{VERIFY_WITHIN, whole_up_to};

/// The commented reference of all settings.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// All settings.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What the process keeps on this machine.
    pub data_dir: PathBuf,
    /// The private listener.
    pub publisher: Publisher,
    /// The public listener.
    pub device: Device,
    /// Absent: SQLite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<CatalogueSettings>,
    /// Absent: a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketSettings>,
    /// Absent: no backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupSettings>,
    /// Absent: no CDN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cdn: Option<Cdn>,
    /// Presigned bucket URLs.
    pub presign: Presign,
    /// What is removed for good.
    pub removal: RemovalSettings,
    /// Logs.
    pub log: Log,
    /// The end of the process.
    pub shutdown: Shutdown,
}

/// The private listener.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Publisher {
    /// Its address.
    pub listen: SocketAddr,
    /// The first token; absent: made at first start.
    #[serde(default, serialize_with = "field::hidden", skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretString>,
    /// In bytes.
    pub max_image_bytes: u64,
    /// Uploads at once.
    pub max_uploads: usize,
    /// How long a resumable upload lives that nobody goes on with.
    #[serde(with = "field::duration")]
    pub upload_lifetime: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// Whether every connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Networks of proxies whose word about the client counts.
    #[serde(default, deserialize_with = "field::list", skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<IpNet>,
    /// More tokens, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<String, TokenSettings>,
}

/// A named token.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// The secret.
    #[serde(serialize_with = "field::hidden_secret")]
    pub token: SecretString,
    /// What it may do.
    #[serde(deserialize_with = "field::list")]
    pub scopes: Vec<Scope>,
    /// The products that it may touch; empty = all.
    #[serde(default, deserialize_with = "field::list")]
    pub products: Vec<ProductName>,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See releases, products, audit log and status.
    Read,
    /// Upload, promote, recall.
    Publish,
    /// Products; implies the others.
    Admin,
}

/// The public listener.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its address.
    pub listen: SocketAddr,
    /// How it is reached from outside, without a trailing slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// How short links begin: scheme and host; absent: `public_url`, or what the request names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_url: Option<String>,
    /// How long the short link of a private product's image is good after it was given out, at least.
    #[serde(with = "field::duration")]
    pub seal_lifetime: Duration,
    /// When a device should ask again.
    #[serde(with = "field::duration")]
    pub poll_interval: Duration,
    /// How long a shared cache may keep an answer.
    #[serde(with = "field::duration")]
    pub cache_lifetime: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// Downloads under way at once.
    pub max_downloads: usize,
    /// Whether every connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Networks of proxies whose word about the client counts.
    #[serde(default, deserialize_with = "field::list", skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<IpNet>,
    /// How much one client may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitSettings>,
    /// TLS on this listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
    /// The CDN's signature on requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub g2o: Option<G2oSettings>,
}

/// How much one client may ask.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimitSettings {
    /// Requests a second, for long.
    pub per_second: f64,
    /// Requests at once.
    pub burst: f64,
}

/// TLS on a listener.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// A PEM file: the certificate and its chain.
    pub certificate: PathBuf,
    /// A PEM file: the private key.
    pub key: PathBuf,
    /// Hex; the same on all replicas, so that a session resumes on any of them.
    #[serde(default, serialize_with = "field::hidden", skip_serializing_if = "Option::is_none")]
    pub ticket_secret: Option<SecretString>,
}

/// The catalogue in Postgres.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueSettings {
    /// `postgres://…`
    #[serde(serialize_with = "field::without_password")]
    pub url: SecretString,
    /// Connections of this replica at once.
    #[serde(default = "field::catalogue_connections")]
    pub max_connections: u32,
}

/// A bucket in S3.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BucketSettings {
    /// The service's URL.
    pub endpoint: String,
    /// The region's name as the service knows it.
    pub region: String,
    /// The bucket's name.
    pub name: String,
    /// The key's public half.
    pub access_key_id: String,
    /// The key's secret half.
    #[serde(serialize_with = "field::hidden_secret")]
    pub secret_access_key: SecretString,
    /// Bucket name in the path, not in the host name.
    #[serde(default = "field::yes")]
    pub path_style: bool,
}

/// What is removed for good.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RemovalSettings {
    /// How long an object stays after its image was removed.
    #[serde(with = "field::duration")]
    pub hold: Duration,
}

/// Presigned bucket URLs.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Presign {
    /// How long a link works after it was given out, at least.
    #[serde(with = "field::duration")]
    pub lifetime: Duration,
}

/// Logs.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// A level or directives.
    pub level: String,
}

/// The logs' form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The end of the process.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// Between "not ready" and the end of accepting.
    #[serde(with = "field::duration")]
    pub delay: Duration,
    /// For what is under way.
    #[serde(with = "field::duration")]
    pub limit: Duration,
}

impl Settings {
    /// Reads all layers. `data_dir` is the flag, which wins over everything.
    ///
    /// # Errors
    /// Kind `Malformed`, code `settings-invalid`: a file that cannot be read, an unknown key, a value of the wrong
    /// kind, or a contradiction. The message has one line per problem.
    pub fn load(file: Option<&Path>, data_dir: Option<&Path>) -> Result<Self> {
        let environment =
            config::Environment::with_prefix("FIRMAMENT").prefix_separator("__").separator("__");
        Self::load_from(file, environment, data_dir)
    }

    fn load_from(
        file: Option<&Path>,
        environment: config::Environment,
        data_dir: Option<&Path>,
    ) -> Result<Self> {
        let mut layers =
            config::Config::builder().add_source(config::File::from_str(DEFAULTS, config::FileFormat::Toml));
        if let Some(file) = file {
            let text = std::fs::read_to_string(file)
                .map_err(|error| invalid(format!("cannot read {}: {error}", file.display())))?;
            // Parsed by itself first: the message then shows line and column.
            if let Err(error) = text.parse::<toml::Table>() {
                return Err(invalid(format!("{}: {error}", file.display())));
            }
            layers = layers.add_source(config::File::from_str(&text, config::FileFormat::Toml));
        }
        layers = layers.add_source(environment);
        if let Some(directory) = data_dir {
            let directory = directory.to_string_lossy().into_owned();
            layers = layers
                .set_override("data_dir", directory)
                .map_err(|error| invalid(format!("--data-dir: {error}")))?;
        }
        let merged = layers.build().map_err(|error| invalid(error.to_string()))?;
        let settings: Self = serde_path_to_error::deserialize(merged).map_err(|error| {
            let path = error.path().to_string();
            let why = error.into_inner().to_string();
            let hint =
                if why.contains("socket address") { ", use ADDRESS:PORT such as 127.0.0.1:8080" } else { "" };
            invalid(format!("{path}: {why}{hint}"))
        })?;
        let problems = settings.problems();
        if problems.is_empty() { Ok(settings) } else { Err(invalid(problems.join("\n"))) }
    }

    /// The settings in effect as TOML, secrets hidden.
    ///
    /// # Errors
    /// When a path cannot be written as text.
    pub fn redacted(&self) -> Result<String> {
        toml::to_string(self).map_err(Error::internal)
    }
}

impl BucketSettings {
    /// The same for the S3 client.
    pub fn to_s3(&self) -> S3Settings {
        S3Settings {
            endpoint: self.endpoint.trim_end_matches('/').to_owned(),
            region: self.region.clone(),
            name: self.name.clone(),
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            path_style: self.path_style,
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(Kind::Malformed, "settings-invalid", message)
}

#[cfg(test)]
mod tests;
