//! `firmament publish`: uploads one image of a release.
//!
//! The file is hashed first, so that the server knows the digest before the body and verifies it; then it is sent
//! ([`super::upload`]), again if the server is busy or the connection fails: a publish is idempotent, since the
//! very same image is answered with 200. A large file goes in pieces ([`super::resumable`]), so that a dropped link, or
//! this command being stopped, costs no more than what was on its way.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use sha2::{Digest, Sha256};

use super::{
    client::{Answer, Client},
    connection::{ClientOptions, Listener},
    direct, inspect, offers,
    output::{Failure, Report, Retry, Terminal},
    progress::Progress,
    resumable::{self, Image},
    table::{exact_size, names, plain, size},
    upload::{self, Sent, Upload, Verb},
    verdict,
};
use crate::{
    api::ImageView,
    domain::{
        name::{ChannelName, FileName, Hardware, ProductName},
        version::Version,
    },
};

/// The longest that a server's `Retry-After` is obeyed; one that wants more is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// The arguments of `publish`.
#[derive(Debug, Args)]
pub struct PublishArguments {
    /// The image
    file: PathBuf,
    /// The product
    #[arg(long)]
    product: ProductName,
    /// The release's version, SemVer 2.0 [default: the one that the image states]
    #[arg(long, value_parser = Version::parse)]
    version: Option<Version>,
    /// Hardware that the image runs on, once for each; none = all
    #[arg(long, value_name = "HARDWARE")]
    hardware: Vec<Hardware>,
    /// Offer it on this channel at once
    #[arg(long)]
    channel: Option<ChannelName>,
    /// What is new, for people
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
    /// The image's name in the bucket and in links [default: the file's own]
    #[arg(long, value_name = "NAME")]
    filename: Option<FileName>,
    /// Devices below it must pass through it on their way up
    #[arg(long)]
    floor: bool,
    /// The lowest version that can take it
    #[arg(long, value_name = "VERSION", value_parser = Version::parse)]
    upgrade_from: Option<Version>,
    /// A detached signature over the whole file: Ed25519 (64 bytes), or a minisign signature
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Tell what would become of it, and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Offer it although the channel offers a higher version
    #[arg(long, requires = "reason", requires = "channel")]
    allow_downgrade: bool,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Store it although another version has the same bytes
    #[arg(long)]
    allow_same_bytes: bool,
    /// Offer it although devices would be left without a way to it
    #[arg(long)]
    allow_stranding: bool,
    /// Send files that are larger than this so that they can be resumed, by the same command too; 0 = always
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024 * 1024)]
    resumable_above: u64,
    /// Send the parts straight to the bucket, side by side; the server reads them back and checks them
    #[arg(long)]
    direct: bool,
    /// How often to try again when the server is busy or cannot be reached
    #[arg(long, value_name = "TIMES", default_value_t = 3)]
    retries: u32,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Uploads the image.
///
/// # Errors
/// When the file is unusable, the server refuses it, or does not answer.
pub fn run(arguments: &PublishArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let filename = file_name(arguments)?;
    let (mut file, bytes) = open(&arguments.file)?;
    let client = Client::publisher(&arguments.connection)?;
    let sha256 = hash(&mut file, bytes, &arguments.file, terminal)?;
    let mut query = query(arguments, &filename);
    if let Some(signature) = &arguments.signature {
        query.push(("signature", verdict::read_signature(signature)?));
    }
    let product = arguments.product.to_string();
    let version = version(arguments, &client, &mut file, bytes, terminal)?;
    // Neither a trial nor an upload whose version is still to be found in it is worth resuming.
    let whole = || version.clone().filter(|_| !arguments.dry_run).map(|version| version.to_string());
    let answer = match whole() {
        Some(version) if arguments.direct => {
            let image = Image { product, version, facts: &query, size: bytes, sha256 };
            direct::send(&client, &image, &arguments.file, arguments.retries, terminal)?
        }
        Some(version) if bytes > arguments.resumable_above => {
            let image = Image { product, version, facts: &query, size: bytes, sha256 };
            resumable::send(&client, &image, &mut file, arguments.retries, terminal)?
        }
        _ => {
            let path = match &version {
                Some(version) => format!("/v1/products/{product}/releases/{version}/images"),
                None => format!("/v1/products/{product}/images"),
            };
            let headers = [
                ("Content-Type", "application/octet-stream".to_owned()),
                ("Repr-Digest", format!("sha-256=:{}:", STANDARD.encode(sha256))),
            ];
            let (verb, from) = (Verb::Post, 0);
            let upload = Upload { verb, path: &path, query: &query, headers: &headers, from, size: bytes };
            send(&client, &upload, &mut file, arguments.retries, terminal)?
        }
    };
    if arguments.dry_run {
        verdict::report(answer, terminal)
    } else {
        report(arguments, &client, answer, terminal)
    }
}

/// The version to declare. Without `--version`, what the file states, which is said; if it is not for us to read (the
/// product has a pattern of its own), `None`: the server takes it from the image.
fn version(
    arguments: &PublishArguments,
    client: &Client,
    file: &mut File,
    bytes: u64,
    terminal: &Terminal,
) -> Result<Option<Version>, Failure> {
    if let Some(version) = &arguments.version {
        return Ok(Some(version.clone()));
    }
    if offers::ask(client, &arguments.product)?.product.settings.policy.version_pattern.is_some() {
        terminal
            .note("the product reads versions by a pattern of its own: the server takes it from the image");
        return Ok(None);
    }
    let report = inspect::inspect(file, bytes, &arguments.file, terminal)?;
    let Some(version) = report.facts.semver else {
        let stated = report.facts.version.map_or_else(
            || format!("{} states no version ({})", arguments.file.display(), report.facts.format),
            |text| {
                format!(
                    "{} states the version {text:?}, which does not read as SemVer",
                    arguments.file.display()
                )
            },
        );
        return Err(Failure::yours(format!("{stated}: give --version VERSION")));
    };
    terminal.note(&format!(
        "{} states version {version} ({})",
        arguments.file.display(),
        report.facts.format
    ));
    Ok(Some(version))
}

fn file_name(arguments: &PublishArguments) -> Result<FileName, Failure> {
    if let Some(name) = &arguments.filename {
        return Ok(name.clone());
    }
    let own = arguments.file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    FileName::parse(&own)
        .map_err(|error| Failure::yours(format!("{error}; give the image another name by --filename NAME")))
}

fn open(path: &Path) -> Result<(File, u64), Failure> {
    let unusable = |why: &str| Failure::yours(format!("cannot publish {}: {why}", path.display()));
    // Looked at before it is opened: opening a pipe that nobody writes to would wait for ever.
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unusable("there is no such file"),
        _ => unusable(&error.to_string()),
    })?;
    if metadata.is_dir() {
        return Err(unusable("it is a directory; name one image file"));
    }
    if !metadata.is_file() {
        return Err(unusable("it is not a regular file, and must be read twice; copy it to one first"));
    }
    if metadata.len() == 0 {
        return Err(unusable("it is empty"));
    }
    let file = File::open(path).map_err(|error| unusable(&error.to_string()))?;
    Ok((file, metadata.len()))
}

fn hash(file: &mut File, bytes: u64, path: &Path, terminal: &Terminal) -> Result<[u8; 32], Failure> {
    let mut progress = Progress::start(terminal, "hashing", bytes);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1024 * 1024];
    let mut done = 0;
    // No more than was announced: a file that grows meanwhile is sent as it was.
    let mut reader = file.take(bytes);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                done += count as u64;
                progress.at(done);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Failure::yours(format!("cannot read {}: {error}", path.display())));
            }
        }
    }
    Ok(hasher.finalize().into())
}

fn query(arguments: &PublishArguments, filename: &FileName) -> Vec<(&'static str, String)> {
    let mut query = vec![("filename", filename.to_string())];
    query.extend(arguments.hardware.iter().map(|hardware| ("hardware", hardware.to_string())));
    query.extend(arguments.channel.iter().map(|channel| ("channel", channel.to_string())));
    query.extend(arguments.notes.iter().map(|notes| ("notes", notes.clone())));
    if arguments.allow_downgrade {
        query.push(("allow_downgrade", "true".to_owned()));
    }
    query.extend(arguments.reason.iter().map(|reason| ("reason", reason.clone())));
    query.extend(arguments.upgrade_from.iter().map(|lowest| ("upgrade_from", lowest.to_string())));
    for (name, is_set) in [
        ("allow_same_bytes", arguments.allow_same_bytes),
        ("allow_stranding", arguments.allow_stranding),
        ("floor", arguments.floor),
        ("dry_run", arguments.dry_run),
    ] {
        if is_set {
            query.push((name, "true".to_owned()));
        }
    }
    query
}

/// Sends until there is an answer that another try would not change.
fn send(
    client: &Client,
    upload: &Upload<'_>,
    file: &mut File,
    retries: u32,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    let mut tried = 0;
    loop {
        let started = Instant::now();
        let mut progress = Progress::start(terminal, "uploading", upload.size);
        let Sent { outcome, bytes } = upload::send(client, upload, file, &mut progress);
        drop(progress);
        let failure = match outcome {
            Ok(answer) => {
                if bytes == upload.size {
                    let took = started.elapsed();
                    terminal.note(&format!("uploaded {} in {}", size(bytes), throughput(bytes, took)));
                }
                return Ok(answer);
            }
            Err(failure) => failure,
        };
        wait(failure, tried, retries, terminal)?;
        tried += 1;
    }
}

/// Waits before the next try, if there is to be one.
///
/// # Errors
/// The failure itself, when another try would be in vain or there were enough.
pub fn wait(failure: Failure, tried: u32, retries: u32, terminal: &Terminal) -> Result<(), Failure> {
    let Retry::After(asked) = failure.retry else { return Err(failure) };
    let wait = asked.unwrap_or_else(|| Duration::from_secs(1 << tried.min(5)));
    if tried >= retries || wait > LONGEST_WAIT {
        return Err(failure);
    }
    let (message, seconds, tried) = (plain(&failure.message), wait.as_secs_f32().ceil(), tried + 1);
    terminal.note(&format!("{message}\ntrying again in {seconds} s ({tried} of {retries})"));
    std::thread::sleep(wait);
    Ok(())
}

/// How much in which time.
pub fn throughput(bytes: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(0.001);
    // A rate for people: the sign is never negative and a fraction of a byte is nothing.
    let rate = (bytes as f64 / seconds) as u64;
    format!("{seconds:.1} s ({}/s)", size(rate))
}

fn report(
    arguments: &PublishArguments,
    client: &Client,
    answer: Answer,
    terminal: &Terminal,
) -> Result<Report, Failure> {
    let image: ImageView = answer.read()?;
    terminal.warn_all(&image.warnings);
    let what = format!("{} {} {}", image.product, image.version, image.filename);
    let what = terminal.strong(&plain(&what));
    let first = match answer.status {
        200 => format!("{what} is stored already, with these very bytes"),
        _ => format!("stored {what}"),
    };
    let mut lines = vec![
        first,
        format!("  size      {}", exact_size(image.size)),
        format!("  sha256    {}", plain(&image.sha256)),
        format!("  hardware  {}", plain(&names(&image.hardware, "all"))),
        format!("  link      {}", plain(&image.url)),
    ];
    let (product, version) = (&arguments.product, plain(&image.version));
    if image.channels.is_empty() && image.pending.is_empty() {
        let again = arguments.connection.repeated(Listener::Publisher);
        lines.push("offered on no channel yet".to_owned());
        lines.push(format!(
            "next: firmament promote --product {product} --version {version} --channel stable{again}"
        ));
    } else if !terminal.is_json()
        && let Some(detail) = offers::ask_after(client, product, terminal)
    {
        let pending = image.pending.iter().map(|pending| pending.channel.clone());
        let concerns: BTreeSet<String> = image.channels.iter().cloned().chain(pending).collect();
        lines.push(offers::of_product(&detail, terminal, |channel| concerns.contains(channel)));
    }
    let channel = arguments
        .channel
        .clone()
        .or_else(|| image.channels.first().and_then(|channel| ChannelName::parse(channel).ok()));
    if let Some(channel) = channel {
        let again = arguments.connection.repeated(Listener::Device);
        let hardware = arguments.hardware.first();
        lines.push(format!("next: {}", offers::check_command(product, hardware, &channel, &again)));
    }
    Ok(Report::done(lines.join("\n"), answer.document))
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
