//! `firmament audit verify`: computes the chain of the audit log anew, of a server or of an export.
//!
//! The server only hands out the entries; what they must hash to is computed here.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::page;
use crate::{
    api::AuditView,
    cli::{
        client::Client,
        connection::ClientOptions,
        output::{Failure, Report},
    },
    domain::audit::{Chain, Head},
};

/// The arguments of `audit verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every entry carries the hash of the one before it, so a changed, removed or added entry is \
                        found. Two things cannot be found from inside the log: that its newest entries were cut off, \
                        and that somebody who can write the whole database has computed all hashes anew. Against both, \
                        note the head that this command prints somewhere else, and give it to --expect-head later."
)]
pub struct VerifyArguments {
    /// Verify this export instead of asking a server; - = standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A head that was noted earlier: the log must still contain it. Repeat it for more
    #[arg(long, value_name = "REVISION:HASH")]
    expect_head: Vec<Head>,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Verifies the log.
///
/// # Errors
/// When it is broken, lacks an expected head, or cannot be read.
pub fn run(arguments: &VerifyArguments) -> Result<Report, Failure> {
    let mut walk = Walk { chain: None, missing: arguments.expect_head.clone() };
    match &arguments.file {
        Some(path) => of_file(path, &mut walk)?,
        None => of_server(&Client::publisher(&arguments.connection)?, &mut walk)?,
    }
    walk.end()
}

fn of_server(client: &Client, walk: &mut Walk) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let page = page(client, after)?;
        for entry in page.entries {
            after = entry.revision;
            walk.follow(entry)?;
        }
        if page.more && after < page.revision {
            continue;
        }
        // Every change makes one revision and one entry.
        if after == page.revision {
            return Ok(());
        }
        return Err(broken(
            format!(
                "it ends at revision {after}, but the catalogue is at revision {}: its newest entries were removed",
                page.revision
            ),
            after,
        ));
    }
}

fn of_file(path: &Path, walk: &mut Walk) -> Result<(), Failure> {
    let shown = path.display();
    let unreadable = |error: io::Error| Failure::yours(format!("cannot read {shown}: {error}"));
    let reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(unreadable)?))
    };
    for (number, line) in reader.lines().enumerate() {
        let line = line.map_err(unreadable)?;
        if line.trim().is_empty() {
            continue;
        }
        let entry: AuditView = serde_json::from_str(&line).map_err(|error| {
            Failure::yours(format!("{shown}, line {}, is no entry of an audit log: {error}", number + 1))
        })?;
        walk.follow(entry)?;
    }
    Ok(())
}

/// The way along the log, and the heads that were not met yet.
struct Walk {
    chain: Option<Chain>,
    missing: Vec<Head>,
}

impl Walk {
    fn follow(&mut self, view: AuditView) -> Result<(), Failure> {
        let revision = view.revision;
        let entry = view
            .into_entry()
            .map_err(|error| broken(format!("revision {revision} was changed: {error}"), revision))?;
        if self.chain.is_none() {
            // An export may begin behind a head that is known.
            let behind = |head: &Head| entry.link.is_some_and(|link| link.previous == head.hash);
            let begins = self.missing.iter().position(behind).map(|at| self.missing.swap_remove(at));
            self.chain = Some(begins.map_or_else(Chain::default, Chain::behind));
        }
        let chain = self.chain.as_mut().expect("just set");
        chain.follow(&entry).map_err(|error| broken(error.to_string(), error.revision.0))?;
        let noted = self.missing.iter().position(|head| head.revision == entry.revision);
        if let Some(noted) = noted.map(|at| self.missing.swap_remove(at))
            && entry.link.map(|link| link.hash) != Some(noted.hash)
        {
            let why = format!("revision {revision} is not the one that was noted: the log was written anew");
            return Err(broken(why, revision));
        }
        Ok(())
    }

    fn end(self) -> Result<Report, Failure> {
        let chain = self.chain.unwrap_or_default();
        let last = chain.last().0;
        if let Some(head) = self.missing.first() {
            let revision = head.revision.0;
            let why = if revision > last {
                format!(
                    "it ends at revision {last} and lacks revision {revision}, which was noted: its end was cut off"
                )
            } else {
                format!("it lacks revision {revision}, which was noted")
            };
            return Err(broken(why, revision));
        }
        let mut text = format!("the audit log is intact: {} entries", chain.entries);
        if let Some(head) = chain.head {
            text.push_str(&format!("\nhead {head}"));
        }
        if chain.unlinked > 0 {
            text.push_str(&format!(
                "\nthe newest {} are of an older program and have no hash yet; the next change links them",
                chain.unlinked
            ));
        }
        let head = chain.head.map(|head| json!({"revision": head.revision.0, "hash": head.hash.to_string()}));
        let document = json!({"entries": chain.entries, "unlinked": chain.unlinked, "head": head});
        Ok(Report::done(text, document))
    }
}

fn broken(why: String, revision: u64) -> Failure {
    let message = format!("the audit log is broken: {why}");
    let document = json!({
        "type": "urn:firmament:problem:audit-broken", "detail": message, "revision": revision,
    });
    Failure { document: Some(document), ..Failure::yours(message) }
}
