//! `firmament backup sync`: by the running server, or by itself.

use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::json;
use uuid::Uuid;

use super::{
    StatusArguments,
    direct::{Direct, failure},
    shown,
};
use crate::{
    api::BackupStatus,
    backup::{Synced, lead::leading},
    cli::{
        client::Client,
        output::{Failure, Report, Terminal},
        progress::Progress,
        table::size,
    },
    error::Error,
    jobs::backup::COPYING,
};

/// How often the server is asked how far it is.
const ASKED: Duration = Duration::from_millis(500);

/// Copies what the backup lacks.
///
/// # Errors
/// When an object could not be copied.
pub fn run(arguments: &StatusArguments, terminal: &Terminal) -> Result<Report, Failure> {
    match &arguments.config {
        Some(config) => {
            let direct = Direct::open(Some(config), arguments.connection.data_dir.as_deref(), None)?;
            by_itself(&direct, terminal)
        }
        None => by_the_server(&Client::publisher(&arguments.connection)?, terminal),
    }
}

fn by_the_server(client: &Client, terminal: &Terminal) -> Result<Report, Failure> {
    let began = Utc::now();
    let first: BackupStatus = client.post("/v1/backup/sync", &json!({}))?.read()?;
    let mut progress = Progress::start(terminal, "copying", first.lag.bytes);
    loop {
        let answer = client.get("/v1/backup", &[])?;
        let status: BackupStatus = answer.read()?;
        progress.at(first.lag.bytes.saturating_sub(status.lag.bytes));
        if status.lag.objects == 0 {
            drop(progress);
            return Ok(Report::done(shown::status(&status), answer.document));
        }
        // A pass that failed after we asked; clocks of two machines differ by less than this.
        let slack = chrono::TimeDelta::seconds(1);
        if let (Some(error), true) =
            (&status.last_error, status.last_error_at.is_some_and(|at| at > began + slack))
        {
            return Err(Failure::ours(format!("{}: {error}", status.summary)));
        }
        std::thread::sleep(ASKED);
    }
}

fn by_itself(direct: &Direct, terminal: &Terminal) -> Result<Report, Failure> {
    let began = Instant::now();
    let backup = &direct.backup;
    let holder = Uuid::now_v7();
    let lacks = direct.run(terminal, "asking", 0, async {
        backup.catalogue.set_backup(&backup.backup.place()).await?;
        backup.catalogue.backup_lag().await
    })?;
    let synced = direct.run(terminal, "copying", lacks.bytes, async {
        loop {
            let work = async { Ok::<_, Error>(backup.sync().await) };
            match leading(&*backup.catalogue, COPYING, holder, work).await? {
                Some(synced) => return Ok(Some(synced)),
                // A server is at it, and does the same.
                None if backup.catalogue.backup_lag().await?.objects == 0 => return Ok(None),
                None => tokio::time::sleep(ASKED).await,
            }
        }
    })?;
    let ended = match &synced {
        None => None,
        Some(Ok(Synced { error, .. })) => Some(error.clone()),
        Some(Err(error)) => Some(Some(format!("{error} ({})", error.cause()))),
    };
    direct.run(terminal, "ending", 0, async {
        if let Some(error) = ended {
            backup.catalogue.backup_ended(error.as_deref()).await?;
        }
        backup.catalogue.stop_leading(COPYING, holder).await
    })?;
    let synced = match synced {
        None => Synced::default(),
        Some(synced) => synced.map_err(|error| failure(&error))?,
    };
    if let Some(error) = &synced.error {
        return Err(Failure::ours(format!(
            "{} objects could not be copied, the last: {error}",
            synced.failed
        )));
    }
    let seconds = began.elapsed().as_secs_f64();
    let document = json!({
        "copied": synced.copied,
        "bytes": synced.bytes,
        "adopted": synced.adopted,
        "seconds": seconds,
    });
    let text = match (synced.copied, synced.adopted) {
        (0, 0) => "nothing to do: the backup is complete".to_owned(),
        (copied, 0) => format!("copied {copied} objects, {}, in {seconds:.1} s", size(synced.bytes)),
        (copied, adopted) => format!(
            "copied {copied} objects, {}, in {seconds:.1} s; {adopted} were there already",
            size(synced.bytes)
        ),
    };
    Ok(Report::done(text, document))
}
