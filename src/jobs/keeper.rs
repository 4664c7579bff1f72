//! Keeps the snapshot on disk equal to the one in memory, for a replica that starts while the catalogue is down.
//!
//! The file is written whole beside its place, synced and renamed, so it is never half there. Its first line names
//! format and SHA-256 of the rest; a file that does not fit is refused, and said so, not guessed at. The rest is the
//! revision (8 bytes, little-endian) and, for each product, the length (8 bytes) and the block of its offers, as
//! `domain::offers` has it in memory: nothing is parsed or rendered anew at a start. Of private products that holds what
//! their devices are known by (`domain::credential`), so only this process's user may read it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::{Reconciler, snapshot::Current};
use crate::{
    domain::{ProductOffers, Revision, Snapshot},
    error::{Error, Kind, Result},
};

/// The name and version of the format.
const FORMAT: &str = "firmament-snapshot-4";

/// The reconciler.
pub struct KeeperJob {
    /// What it keeps.
    pub current: Arc<Current>,
    /// Where.
    pub path: PathBuf,
    /// What the file holds.
    pub kept: Option<Arc<Snapshot>>,
}

#[async_trait]
impl Reconciler for KeeperJob {
    fn name(&self) -> &'static str {
        "snapshot-keeper"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    // A large snapshot takes a while to write; a publish every second should not keep the disk busy.
    fn pause(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        let Some(snapshot) = self.current.get() else { return Ok(None) };
        if self.kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, &snapshot)) {
            return Ok(None);
        }
        let (path, written) = (self.path.clone(), Arc::clone(&snapshot));
        tokio::task::spawn_blocking(move || write(&path, &written)).await.map_err(Error::internal)??;
        let done = format!("wrote revision {}", snapshot.revision.0);
        self.kept = Some(snapshot);
        Ok(Some(done))
    }
}

/// Writes a snapshot durably and atomically.
///
/// # Errors
/// Kind `Internal` with the reason: the data directory is full or not writable.
pub fn write(path: &Path, snapshot: &Snapshot) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::internal(format!(
            "cannot write {}: {error}: check space and rights of the data directory",
            path.display()
        ))
    };
    let body = encode(snapshot);
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    writeln!(file, "{FORMAT} {}", hex::encode(Sha256::digest(&body))).map_err(failed)?;
    file.write_all(&body).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// Reads the snapshot that an earlier life kept; `None` = there is none.
///
/// # Errors
/// Code `snapshot-damaged`: the file is not what was written.
pub fn read(path: &Path) -> Result<Option<Snapshot>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::internal(format!("cannot read {}: {error}", path.display()))),
    };
    let damaged = |why: String| {
        let message = format!(
            "{} is not usable ({why}) and is ignored; it is written anew once the catalogue answers",
            path.display()
        );
        Error::new(Kind::Internal, "snapshot-damaged", message)
    };
    let line_end =
        bytes.iter().position(|&byte| byte == b'\n').ok_or_else(|| damaged("it has no header".into()))?;
    let (header, body) = (&bytes[..line_end], &bytes[line_end + 1..]);
    let expected = format!("{FORMAT} {}", hex::encode(Sha256::digest(body)));
    if header != expected.as_bytes() {
        return Err(damaged("its header or checksum does not fit".into()));
    }
    decode(body).map(Some).ok_or_else(|| damaged("it ends too early".into()))
}

fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let size = snapshot.products().map(|product| product.as_bytes().len() + 8).sum::<usize>();
    let mut body = Vec::with_capacity(size + 8);
    body.extend_from_slice(&snapshot.revision.0.to_le_bytes());
    for product in snapshot.products() {
        body.extend_from_slice(&(product.as_bytes().len() as u64).to_le_bytes());
        body.extend_from_slice(product.as_bytes());
    }
    body
}

fn decode(body: &[u8]) -> Option<Snapshot> {
    let (revision, mut rest) = body.split_first_chunk()?;
    let mut products = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk()?;
        let (product, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        products.push(ProductOffers::from_bytes(product));
        rest = after;
    }
    Some(Snapshot::restored(Revision(u64::from_le_bytes(*revision)), products.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::snapshot::tests::product;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("snapshot");
        assert_eq!(read(&path).expect("absence is fine"), None);
        let state = product(&[("1.0.0", &[&["a"], &[]], false)]);
        let snapshot = Snapshot::default().with(Revision(7), &[state]);
        write(&path, &snapshot).expect("writable");
        assert_eq!(read(&path).expect("readable"), Some(snapshot));
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600, "device secrets may be in it");
        let whole = std::fs::read(&path).expect("there");
        for damaged in [&whole[..whole.len() - 1], &whole[1..], b"", b"{}", &[&whole[..], b" "].concat()] {
            std::fs::write(&path, damaged).expect("writable");
            assert_eq!(read(&path).expect_err("damaged").code(), "snapshot-damaged");
        }
    }
}
