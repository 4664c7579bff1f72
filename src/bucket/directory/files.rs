//! Durable file work, and what its errors mean.
//!
//! A rename or a removal is durable only when its directory has been synchronised, and a new directory only when
//! its parent has. Directories that have become empty are removed; whoever makes one anew beside that tries
//! again ([`in_directory`]).

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::Path,
};

use crate::{
    bucket::bucket_full,
    error::{Error, Kind, Result},
};

/// How often to make a directory again that somebody else has just found empty and removed.
const ATTEMPTS: u32 = 10;

/// Runs file work where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

/// Makes `base`'s directories on the way to `path`, then does `work`, again when they vanish in between.
pub(super) fn in_directory<T>(base: &Path, path: &Path, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut attempt = 1;
    loop {
        match make_parents(base, path).and_then(|()| work()) {
            Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

fn make_parents(base: &Path, path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent().filter(|parent| *parent != base) else { return Ok(()) };
    let made = match fs::create_dir(parent) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_parents(base, parent)?;
            fs::create_dir(parent)
        }
        made => made,
    };
    match made {
        Ok(()) => sync_parent(parent),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Moves a file to where it stays; `from` is on the same file system.
pub(super) fn settle(from: &Path, base: &Path, to: &Path) -> io::Result<()> {
    in_directory(base, to, || fs::rename(from, to))?;
    sync_parent(to)
}

/// Removes a file, and the directories up to `base` that are empty without it. An absent file is fine.
pub(super) fn remove(path: &Path, base: &Path) -> io::Result<()> {
    if absent_is_fine(fs::remove_file(path))?.is_some() {
        absent_is_fine(sync_parent(path))?;
    }
    prune(path, base);
    Ok(())
}

/// Removes the directories above `path` and below `base` that are empty.
pub(super) fn prune(path: &Path, base: &Path) {
    let above = path.ancestors().skip(1).take_while(|parent| *parent != base);
    for parent in above {
        // One that is not empty stays, and so do those above it.
        if fs::remove_dir(parent).is_err_and(|error| error.kind() != ErrorKind::NotFound) {
            return;
        }
    }
}

/// Makes a name in the directory of `path` survive a power cut.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// `None` for a file that is not there. `NotADirectory`: a stranger's file is where a directory would be.
pub(super) fn absent_is_fine<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the disk, or the user's share of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// What a failure of file work means to us.
pub(super) fn failed(action: &str, path: &Path, error: io::Error) -> Error {
    let cause = format!("{action} {}: {error}", path.display());
    if is_full(&error) {
        return bucket_full(cause);
    }
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            let message = "the bucket's directory refuses us, which only operators can change; their log has the \
                           cause under this request's id";
            Error::new(Kind::Internal, "bucket-misconfigured", message).caused_by(cause)
        }
        _ => Error::internal(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_a_defect() {
        let path = Path::new("objects/a/1.0.0/b");
        for (kind, expected, code) in [
            (ErrorKind::StorageFull, Kind::Unavailable, "bucket-full"),
            (ErrorKind::QuotaExceeded, Kind::Unavailable, "bucket-full"),
            (ErrorKind::PermissionDenied, Kind::Internal, "bucket-misconfigured"),
            (ErrorKind::Other, Kind::Internal, "internal"),
        ] {
            let error = failed("storing", path, kind.into());
            assert_eq!((error.kind(), error.code()), (expected, code));
            assert!(error.cause().contains("objects/a/1.0.0/b") && !error.message().contains("objects"));
        }
    }

    #[test]
    fn empty_directories_come_and_go() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let (one, other) = (base.path().join("a/b/c"), base.path().join("a/d/e"));
        for path in [&one, &other] {
            in_directory(base.path(), path, || fs::write(path, "")).expect("written");
        }
        remove(&one, base.path()).expect("removed");
        assert!(!base.path().join("a/b").exists() && other.exists());
        remove(&one, base.path()).expect("absent is fine");
        remove(&other, base.path()).expect("removed");
        assert!(base.path().exists() && !base.path().join("a").exists());
    }
}
