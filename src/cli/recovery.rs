//! `firmament catalogue rebuild` and `firmament fsck`: commands for the day on which something was lost. They work on the
//! stores that the settings name, with or without a running server.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{
    output::{Failure, Report, Terminal, YOURS},
    server_side::SettingsArguments,
    table::plain,
};
use crate::{
    app,
    bucket::Bucket,
    catalogue::{self, Catalogue, SqliteCatalogue},
    config::Settings,
    data_dir::DataDir,
    error::{Error, Kind, Result},
    recovery::{
        fsck::{self, Difference, Looking, Stores},
        rebuild::{self, Rebuilding, Rebuilt},
    },
};

/// The most differences that a JSON document lists; all are counted.
const MOST_LISTED: usize = 10_000;

/// The commands on the catalogue as a whole.
#[derive(Debug, Clone, Subcommand)]
pub enum CatalogueCommand {
    /// Make a lost catalogue anew from what lies in the bucket
    Rebuild(RebuildArguments),
}

/// The arguments of `catalogue rebuild`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "The settings name the new, empty database and the bucket. Nothing in the bucket is changed. Exit code 1: it \
                  is rebuilt, but something is not as it should be, which is told."
)]
pub struct RebuildArguments {
    /// From where
    #[arg(long, value_enum)]
    from: Source,
    /// Read and hash every image, not only its metadata
    #[arg(long)]
    deep: bool,
    /// Where the newest manifest of a product is damaged, take the one before; it may offer what was recalled since
    #[arg(long)]
    allow_older: bool,
    /// Write nothing, only tell what would be rebuilt
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: SettingsArguments,
}

/// Which bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// The one of `[bucket]`, or the directory
    Bucket,
    /// The one of `[backup]`, when the bucket is lost too
    Backup,
}

/// The arguments of `fsck`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Kinds: row-without-object, object-without-row, size, digest, metadata, etag, unfinished-upload, \
                  manifest-missing, manifest-damaged, backup-missing, backup-differs. Exit code 1: there are differences \
                  that were not repaired."
)]
pub struct FsckArguments {
    /// Read and hash every object, not only its metadata
    #[arg(long)]
    deep: bool,
    /// Repair what is safe: abort uploads that nobody claims, write missing manifests
    #[arg(long)]
    repair: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: SettingsArguments,
}

/// The stores that the settings name.
struct Opened {
    catalogue: Arc<dyn Catalogue>,
    bucket: Bucket,
    backup: Option<Bucket>,
    /// Held so that no server starts meanwhile.
    _data_dir: Option<DataDir>,
}

async fn open(arguments: &SettingsArguments, alone: bool) -> Result<Opened> {
    let settings = Settings::load(arguments.config.as_deref(), arguments.data_dir.as_deref())?;
    let embedded = settings.catalogue.is_none();
    let data_dir = if embedded && alone { Some(DataDir::open(&settings.data_dir)?) } else { None };
    let catalogue: Arc<dyn Catalogue> = match &settings.catalogue {
        Some(postgres) => app::open_postgres(postgres)?,
        None => {
            let path: PathBuf = settings.data_dir.join("catalogue.sqlite");
            if !alone && !path.is_file() {
                let message =
                    format!("there is no catalogue {}; name its folder by --data-dir", path.display());
                return Err(Error::new(Kind::Malformed, "no-catalogue", message));
            }
            Arc::new(SqliteCatalogue::open(path).await?)
        }
    };
    catalogue::prepare(catalogue.as_ref(), alone).await?;
    let (bucket, backup) = app::open_stores(&settings, &catalogue).await?;
    Ok(Opened { catalogue, bucket, backup, _data_dir: data_dir })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::internal)
}

fn failure(error: &Error) -> Failure {
    let cause = error.cause();
    let message = if cause.is_empty() { error.to_string() } else { format!("{error}\ncause: {cause}") };
    match error.kind() {
        Kind::Malformed => Failure::yours(message),
        _ => Failure::ours(message),
    }
}

/// Rebuilds the catalogue.
///
/// # Errors
/// When it is not empty, a manifest is damaged, or a store fails.
pub fn rebuild(arguments: &RebuildArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let how =
        Rebuilding { deep: arguments.deep, allow_older: arguments.allow_older, dry_run: arguments.dry_run };
    let work = async {
        let opened = open(&arguments.settings, true).await?;
        let bucket = match (arguments.from, &opened.backup) {
            (Source::Bucket, _) => &opened.bucket,
            (Source::Backup, Some(backup)) => backup,
            (Source::Backup, None) => {
                let message = "the settings name no [backup]";
                return Err(Error::new(Kind::Malformed, "no-backup", message));
            }
        };
        let mut tell = |line: &str| terminal.note(&plain(line));
        rebuild::rebuild(opened.catalogue.as_ref(), bucket, how, &mut tell).await
    };
    let rebuilt = runtime().and_then(|runtime| runtime.block_on(work)).map_err(|error| failure(&error))?;
    Ok(rebuilt_report(&rebuilt, arguments.dry_run))
}

fn rebuilt_report(rebuilt: &Rebuilt, dry_run: bool) -> Report {
    let Rebuilt { products, there, releases, images, without_manifest, problems, unknown } = rebuilt;
    let verb = if dry_run { "would rebuild" } else { "rebuilt" };
    let mut lines = vec![format!("{verb} {products} products, {releases} releases, {images} images")];
    if *there > 0 {
        lines.push(format!("{there} products were there from an earlier run"));
    }
    if *without_manifest > 0 {
        lines.push(format!(
            "{without_manifest} images are in no manifest; they are stored and offered nowhere until you promote them"
        ));
    }
    lines.extend(problems.iter().map(|problem| format!("problem: {}", plain(problem))));
    lines.extend(unknown.iter().map(|unknown| format!("not known: {}", plain(unknown))));
    let document = json!({
        "dry_run": dry_run, "products": products, "there": there, "releases": releases, "images": images,
        "without_manifest": without_manifest, "problems": problems, "not_known": unknown,
    });
    let code = if problems.is_empty() { 0 } else { YOURS };
    Report { code, ..Report::done(lines.join("\n"), document) }
}

/// Compares catalogue, bucket and backup.
///
/// # Errors
/// When a store fails.
pub fn fsck(arguments: &FsckArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let how = Looking { deep: arguments.deep, repair: arguments.repair };
    let mut listed = Vec::new();
    let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut tell = |difference: &Difference| {
        let code = difference.kind.code();
        *kinds.entry(code).or_default() += 1;
        if !terminal.is_json() {
            let words = plain(&format!("{}: {}", difference.what, difference.words));
            // Whoever has read enough still gets the exit code.
            let _ = terminal.line(&format!("{code:<20}{words}"));
        } else if listed.len() < MOST_LISTED {
            listed.push(json!({
                "kind": code, "what": difference.what, "words": difference.words, "repaired": difference.repaired,
            }));
        }
    };
    let work = async {
        let opened = open(&arguments.settings, false).await?;
        let stores = Stores {
            catalogue: opened.catalogue.as_ref(),
            bucket: &opened.bucket,
            backup: opened.backup.as_ref(),
        };
        let backup = opened.backup.is_some();
        Ok((fsck::fsck(stores, how, &mut tell).await?, backup))
    };
    let (looked, backup) =
        runtime().and_then(|runtime| runtime.block_on(work)).map_err(|error| failure(&error))?;
    let left = looked.differences - looked.repaired;
    let by_kind = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ");
    let compared = if backup { "bucket and backup" } else { "bucket; no backup is set" };
    let mut text =
        format!("{} products, {} images: compared catalogue, {compared}", looked.products, looked.images);
    text.push_str(&match (looked.differences, looked.repaired) {
        (0, _) => "\nno difference".to_owned(),
        (all, 0) => format!("\n{all} differences: {by_kind}"),
        (all, repaired) => format!("\n{all} differences: {by_kind}; {repaired} repaired, {left} left"),
    });
    let document = json!({
        "products": looked.products, "images": looked.images, "backup": backup, "deep": how.deep,
        "differences": listed, "counts": kinds, "found": looked.differences, "repaired": looked.repaired, "left": left,
    });
    Ok(Report { code: if left == 0 { 0 } else { YOURS }, ..Report::done(text, document) })
}
