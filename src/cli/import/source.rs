//! Where the files are that are imported: below a directory, or in an S3 bucket below a prefix.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use secrecy::SecretString;
use tempfile::NamedTempFile;

use super::Failure;
use crate::{
    bucket::{Foreign, S3Settings},
    error::Error,
};

/// How to reach an S3 source.
#[derive(Debug, Args)]
#[command(next_help_heading = "An S3 source")]
pub(super) struct SourceArguments {
    /// The service's URL
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL_S3", default_value = "https://s3.amazonaws.com")]
    source_endpoint: String,
    /// The region's name
    #[arg(long, value_name = "REGION", env = "AWS_REGION", default_value = "us-east-1")]
    source_region: String,
    /// The access key's public half
    #[arg(long, value_name = "ID", env = "AWS_ACCESS_KEY_ID", default_value = "")]
    source_access_key_id: String,
    /// The access key's secret half; rather set the variable, others can see your arguments
    #[arg(long, value_name = "SECRET", env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true, default_value = "",
          value_parser = secret)]
    source_secret_access_key: SecretString,
    /// Bucket name in the host name, not in the path
    #[arg(long)]
    source_virtual_host: bool,
}

fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(text))
}

/// Where the files are.
pub(super) enum Source {
    Directory(PathBuf),
    S3(Box<InBucket>),
}

/// A bucket and a prefix, and what runs the requests.
pub(super) struct InBucket {
    bucket: Foreign,
    prefix: String,
    runtime: tokio::runtime::Runtime,
}

/// A file on this machine.
pub(super) enum Local {
    There(PathBuf),
    Fetched(NamedTempFile),
}

impl Local {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::There(path) => path,
            Self::Fetched(file) => file.path(),
        }
    }
}

impl Source {
    pub(super) fn open(text: &str, arguments: &SourceArguments) -> Result<Self, Failure> {
        let Some(rest) = text.strip_prefix("s3://") else {
            let path = PathBuf::from(text);
            if !path.is_dir() {
                return Err(Failure::yours(format!(
                    "{text} is no directory; name one, or s3://BUCKET/PREFIX"
                )));
            }
            return Ok(Self::Directory(path));
        };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        if arguments.source_access_key_id.is_empty() {
            return Err(Failure::yours(
                "an S3 source needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the options",
            ));
        }
        let settings = S3Settings {
            endpoint: arguments.source_endpoint.trim_end_matches('/').to_owned(),
            region: arguments.source_region.clone(),
            name: name.to_owned(),
            access_key_id: arguments.source_access_key_id.clone(),
            secret_access_key: arguments.source_secret_access_key.clone(),
            path_style: !arguments.source_virtual_host,
        };
        let bucket = Foreign::new(&settings).map_err(|error| failure(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::ours(format!("cannot start: {error}")))?;
        Ok(Self::S3(Box::new(InBucket { bucket, prefix, runtime })))
    }

    /// The files with their sizes, by path below the source. What is hidden or no file is not among them.
    pub(super) fn files(&self) -> Result<Vec<(String, u64)>, Failure> {
        let mut files = Vec::new();
        match self {
            Self::Directory(base) => walk(base, "", &mut files)?,
            Self::S3(source) => {
                let listing = source.runtime.block_on(source.bucket.list(&source.prefix));
                let listed = listing.map_err(|error| failure(&error))?;
                // Some tools make an empty object for a folder.
                let files_only = listed.into_iter().filter(|(key, _)| !key.ends_with('/'));
                files.extend(files_only.filter_map(|(key, size)| {
                    let path = key.strip_prefix(&source.prefix)?.to_owned();
                    (!path.split('/').any(|part| part.starts_with('.'))).then_some((path, size))
                }));
            }
        }
        files.sort();
        Ok(files)
    }

    /// The file, on this machine.
    pub(super) fn fetch(&self, path: &str, size: u64) -> Result<Local, Failure> {
        match self {
            Self::Directory(base) => Ok(Local::There(base.join(path))),
            Self::S3(source) => {
                let unwritable =
                    |error: std::io::Error| Failure::yours(format!("cannot keep {path}: {error}"));
                let mut file = NamedTempFile::new().map_err(unwritable)?;
                let key = format!("{}{path}", source.prefix);
                let mut kept = 0;
                let fetched = source.runtime.block_on(source.bucket.read(&key, |bytes| {
                    kept += bytes.len() as u64;
                    file.write_all(bytes)
                }));
                fetched.map_err(|error| failure(&error))?;
                if kept != size {
                    return Err(Failure::ours(format!("{path} has {kept} bytes and was listed with {size}")));
                }
                Ok(Local::Fetched(file))
            }
        }
    }
}

fn walk(base: &Path, below: &str, files: &mut Vec<(String, u64)>) -> Result<(), Failure> {
    let unreadable =
        |error: std::io::Error| Failure::yours(format!("cannot read {}/{below}: {error}", base.display()));
    for entry in std::fs::read_dir(base.join(below)).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        // A link is followed to a file, never to a directory, which may lead in a circle.
        if entry.file_type().map_err(unreadable)?.is_dir() {
            walk(base, &path, files)?;
        } else {
            let about = std::fs::metadata(entry.path()).map_err(unreadable)?;
            if about.is_file() {
                files.push((path, about.len()));
            }
        }
    }
    Ok(())
}

fn failure(error: &Error) -> Failure {
    let cause = error.cause();
    Failure::ours(if cause.is_empty() { error.to_string() } else { format!("{error}: {cause}") })
}
