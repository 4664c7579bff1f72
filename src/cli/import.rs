//! `firmament import`: takes existing firmware files into Firmament: a directory tree (a mount of an old store too), or what
//! lies in an S3 bucket.
//!
//! It is a client: each file is published over the publisher API, so every rule holds, and a file that is there already
//! with the same bytes changes nothing. That makes it safe to run again, after a stop too. Without `--apply` it stores
//! nothing and tells what it would do.
//!
//! - `template`: what a path says of a file
//! - `listed`: a list that says it instead
//! - `source`: where the files are

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, OURS, Report, Terminal, YOURS},
    progress::Progress,
    publish::{self, PublishArguments},
    table::{Table, names, plain, size},
};
use crate::domain::{
    name::{ChannelName, FileName, Hardware, ProductName},
    version::Version,
};

mod listed;
mod source;
mod template;

use source::{Source, SourceArguments};
use template::Template;

/// The arguments of `import`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --apply nothing is stored: it prints what would be, and what the version check refuses. Files are \
                  taken in the order of their versions. Exit code 1: something was refused, or would be.\n\nA template has \
                  {product}, {version}, {filename}, {hardware} and {channel}; without {filename} the file keeps its own name. A \
                  manifest is CSV with a header line, or JSON (a list of objects), with path, product, version, and if wanted \
                  filename, hardware (several with spaces between), channel, notes."
)]
pub struct ImportArguments {
    /// A directory, or s3://BUCKET/PREFIX
    source: String,
    /// What the paths below it say
    #[arg(long, default_value = "{product}/{version}/{filename}", conflicts_with = "manifest")]
    template: String,
    /// A list of the files instead: FILE.csv or FILE.json
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The product, where the template does not say it
    #[arg(long)]
    product: Option<ProductName>,
    /// The hardware, where the template does not say it; once for each
    #[arg(long, value_name = "HARDWARE")]
    hardware: Vec<Hardware>,
    /// Offer the files on this channel, where the template does not say one
    #[arg(long)]
    channel: Option<ChannelName>,
    /// Import; without it, only tell
    #[arg(long, conflicts_with = "dry_run")]
    apply: bool,
    /// Only tell, which is the default
    #[arg(long)]
    dry_run: bool,
    /// Create products that do not exist
    #[arg(long)]
    create_products: bool,
    /// Take files whose bytes another version has
    #[arg(long)]
    allow_same_bytes: bool,
    /// How often to try again when the server is busy or cannot be reached
    #[arg(long, value_name = "TIMES", default_value_t = 5)]
    retries: u32,
    #[command(flatten)]
    from: SourceArguments,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// A file that is to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Below the source.
    path: String,
    /// In bytes.
    size: u64,
    product: ProductName,
    version: Version,
    filename: FileName,
    hardware: Vec<Hardware>,
    channel: Option<ChannelName>,
    notes: Option<String>,
}

/// The files that are to be imported, and those that are left out, with why.
type Sorted = (Vec<Entry>, Vec<(String, String)>);

/// What became of files, or would.
#[derive(Debug, Default)]
struct Tally {
    stored: usize,
    there: usize,
    refused: usize,
    skipped: usize,
    bytes: u64,
}

/// Imports.
///
/// # Errors
/// When the source or the manifest is unusable, or the server does not answer.
pub fn run(arguments: &ImportArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let source = Source::open(&arguments.source, &arguments.from)?;
    let (mut entries, skipped) = entries(arguments, &source)?;
    entries.sort_by(|one, other| {
        (&one.product, &one.version, &one.filename).cmp(&(&other.product, &other.version, &other.filename))
    });
    let client = Client::publisher(&arguments.connection)?;
    let mut missing = products(arguments, &client, &entries)?;
    let total = entries.iter().map(|entry| entry.size).sum();
    let mut progress = Progress::start(terminal, "importing", total);
    let mut tally = Tally { skipped: skipped.len(), ..Tally::default() };
    let mut table = Table::new(&["FILE", "PRODUCT", "VERSION", "HARDWARE", "CHANNEL", "SIZE", "OUTCOME"]);
    let mut documents = Vec::new();
    let mut done = 0;
    for entry in &entries {
        let (word, why) = if missing.contains(&entry.product) && !arguments.apply {
            ("would be stored", format!("with the new product {}; no rule was asked", entry.product))
        } else {
            missing.retain(|product| *product != entry.product);
            import(arguments, &source, entry, terminal)?
        };
        done += entry.size;
        progress.at(done);
        match word {
            "refused" => tally.refused += 1,
            "there already" => tally.there += 1,
            _ => {
                tally.stored += 1;
                tally.bytes += entry.size;
            }
        }
        let hardware = entry.hardware.iter().cloned().collect();
        let channel = entry.channel.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let outcome = if why.is_empty() { word.to_owned() } else { format!("{word}: {}", plain(&why)) };
        table.row(vec![
            plain(&entry.path),
            entry.product.to_string(),
            entry.version.to_string(),
            names(&hardware, "all"),
            channel,
            size(entry.size),
            outcome,
        ]);
        documents.push(json!({
            "path": entry.path, "product": entry.product, "version": entry.version.to_string(),
            "filename": entry.filename, "hardware": entry.hardware, "channel": entry.channel, "size": entry.size,
            "outcome": word, "why": why,
        }));
    }
    drop(progress);
    for (path, why) in &skipped {
        terminal.warn(&format!("{path} is left out: {why}"));
    }
    Ok(report(arguments, &tally, &table, documents, &skipped))
}

fn report(
    arguments: &ImportArguments,
    tally: &Tally,
    table: &Table,
    documents: Vec<serde_json::Value>,
    skipped: &[(String, String)],
) -> Report {
    let Tally { stored, there, refused, .. } = *tally;
    let verb = if arguments.apply { "stored" } else { "would be stored" };
    let mut text = if documents.is_empty() { String::new() } else { format!("{}\n", table.render(0)) };
    text.push_str(&format!(
        "{stored} files {verb} ({}), {there} there already, {refused} refused, {} left out",
        size(tally.bytes),
        tally.skipped
    ));
    if !arguments.apply {
        text.push_str("\nnothing was stored: give --apply to import");
    }
    let skipped: Vec<_> = skipped.iter().map(|(path, why)| json!({ "path": path, "why": why })).collect();
    let document = json!({
        "dry_run": !arguments.apply, "files": documents, "left_out": skipped, "stored": stored,
        "there_already": there, "refused": refused, "bytes": tally.bytes,
    });
    Report { code: if refused == 0 { 0 } else { YOURS }, ..Report::done(text, document) }
}

/// What is to be imported, and what is left out and why.
fn entries(arguments: &ImportArguments, source: &Source) -> Result<Sorted, Failure> {
    let files = source.files()?;
    if let Some(manifest) = &arguments.manifest {
        return listed::entries(manifest, &files, arguments.channel.as_ref());
    }
    let template = Template::parse(&arguments.template)
        .map_err(|why| Failure::yours(format!("--template {:?}: {why}", arguments.template)))?;
    if arguments.product.is_none() && !template.has("product") {
        return Err(Failure::yours("the template has no {product}: name it by --product"));
    }
    if !template.has("version") {
        return Err(Failure::yours("the template has no {version}, without which nothing can be published"));
    }
    let (mut entries, mut skipped) = (Vec::new(), Vec::new());
    for (path, size) in files {
        match template.read(&path, arguments.product.as_ref()) {
            Ok(found) => entries.push(Entry {
                size,
                product: found.product,
                version: found.version,
                filename: found.filename,
                hardware: found
                    .hardware
                    .map_or_else(|| arguments.hardware.clone(), |hardware| vec![hardware]),
                channel: found.channel.or_else(|| arguments.channel.clone()),
                notes: None,
                path,
            }),
            Err(why) => skipped.push((path, why)),
        }
    }
    Ok((entries, skipped))
}

/// The products that do not exist; with `--apply` they are created.
fn products(
    arguments: &ImportArguments,
    client: &Client,
    entries: &[Entry],
) -> Result<Vec<ProductName>, Failure> {
    let mut missing = Vec::new();
    for entry in entries {
        let product = &entry.product;
        if missing.last() == Some(product) {
            continue;
        }
        match client.get(&format!("/v1/products/{product}"), &[]) {
            Ok(_) => {}
            Err(failure) if failure.is_status(404) && !arguments.create_products => {
                return Err(Failure::yours(format!(
                    "there is no product {product}: create it, or give --create-products"
                )));
            }
            Err(failure) if failure.is_status(404) => {
                if arguments.apply {
                    client.put(&format!("/v1/products/{product}"), &json!({}))?;
                } else {
                    missing.push(product.clone());
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(missing)
}

/// Publishes one file, or asks what would become of it.
///
/// # Errors
/// When the rest would fail too: no answer, no right to publish, a file that cannot be had.
fn import(
    arguments: &ImportArguments,
    source: &Source,
    entry: &Entry,
    terminal: &Terminal,
) -> Result<(&'static str, String), Failure> {
    let file = source.fetch(&entry.path, entry.size)?;
    let publish = PublishArguments {
        version: Some(entry.version.clone()),
        hardware: entry.hardware.clone(),
        channel: entry.channel.clone(),
        notes: entry.notes.clone(),
        filename: Some(entry.filename.clone()),
        dry_run: !arguments.apply,
        allow_same_bytes: arguments.allow_same_bytes,
        retries: arguments.retries,
        ..PublishArguments::of(file.path().to_owned(), entry.product.clone(), arguments.connection.clone())
    };
    match publish::run(&publish, &terminal.quietly()) {
        Ok(report) if report.code == 0 => {
            let status = report.document["status"].as_u64();
            let there = match status {
                // A verdict says what it would answer.
                Some(status) => status == 200,
                None => report.text.contains("is stored already"),
            };
            let word = if arguments.apply { "stored" } else { "would be stored" };
            Ok((if there { "there already" } else { word }, String::new()))
        }
        Ok(report) => {
            let reasons = report.document["reasons"].as_array().into_iter().flatten();
            let told = |reason: &serde_json::Value| {
                let text = |name: &str| reason[name].as_str().unwrap_or_default().to_owned();
                format!("{}: {}", text("code"), text("message"))
            };
            let conflict = report.document["conflict"].as_str().map(str::to_owned);
            Ok(("refused", conflict.into_iter().chain(reasons.map(told)).collect::<Vec<_>>().join("; ")))
        }
        Err(failure) if failure.code == OURS || failure.is_status(401) || failure.is_status(403) => {
            Err(failure)
        }
        Err(failure) => {
            let reasons = failure.reasons.iter().map(|reason| format!("{}: {}", reason.code, reason.message));
            let all = reasons.collect::<Vec<_>>().join("; ");
            Ok(("refused", if all.is_empty() { failure.message } else { all }))
        }
    }
}
