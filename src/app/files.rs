//! How many files this process may have open: each connection is one.
//!
//! The limit that a process gets is commonly 1024, for the sake of programs that use select(2), and may be raised by the process
//! itself up to a second one, the hard limit. Above the limit connections are neither taken nor told so, and database,
//! bucket and snapshot cannot be opened. So the start raises it, and warns if that is not enough.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Settings;

/// For all else: sockets of database and bucket, logs, certificates, connections that are told that there is no place.
const RESERVE: usize = 1024;

/// Raises the limit as far as it goes, and says so in the log.
pub(super) fn raise_limit(settings: &Settings) {
    let before = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let limit = getrlimit(Resource::Nofile).current;
    let needed = needed(settings);
    match limit {
        Some(limit) if limit < needed => tracing::warn!(
            limit,
            needed,
            "open files are limited below what max_connections of both listeners may need: raise the hard limit \
             (LimitNOFILE= in systemd, --ulimit nofile= in Docker) or lower device.max_connections"
        ),
        _ => tracing::info!(limit, needed, "limit of open files raised"),
    }
}

/// How many there may be: a connection is one, a download or upload up to one more.
fn needed(settings: &Settings) -> u64 {
    let (device, publisher) = (&settings.device, &settings.publisher);
    let all = [
        device.max_connections,
        device.max_downloads.min(device.max_connections),
        publisher.max_connections,
        publisher.max_uploads,
        RESERVE,
    ];
    all.into_iter().fold(0, |sum, files| sum.saturating_add(files as u64))
}
