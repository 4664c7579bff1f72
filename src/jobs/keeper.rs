//! Keeps the snapshot on disk equal to the one in memory, for a replica that starts while the catalogue is down.
//!
//! The file is written whole beside its place, synced and renamed, so it is never half there. Its first line names
//! format, program version and SHA-256 of the rest; a file that does not fit is refused, and said so, not guessed at. The
//! rest is the revision (8 bytes, little-endian), the mark (32 bytes; zeros = none) and, for each product, the length
//! (8 bytes) and the block of its offers, as `domain::offers` has it in memory: nothing is parsed or rendered anew
//! at a start. Of private products that holds what their devices are known by (`domain::credential`), so only this
//! process's user may read it.
//!
//! A start goes on from the file, if the catalogue is still the one of its mark. That is right only while this program
//! would pack the same blocks, so the mark of a file by another version of the program does not count, and `FORMAT`
//! has a new number whenever what is packed changes (a test holds that).

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
    domain::{AuditHash, ProductOffers, Revision, Snapshot},
    error::{Error, Kind, Result},
};

/// The name and version of the format.
const FORMAT: &str = "firmament-snapshot-5";

/// What all formats begin with.
const ANY_FORMAT: &str = "firmament-snapshot-";

/// The code of the error that a file of another format is.
pub const OTHER_FORMAT: &str = "snapshot-of-another-version";

/// Who wrote it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

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
    writeln!(file, "{FORMAT} {VERSION} {}", hex::encode(Sha256::digest(&body))).map_err(failed)?;
    file.write_all(&body).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// Reads the snapshot that an earlier life kept; `None` = there is none.
///
/// # Errors
/// Code [`OTHER_FORMAT`]: another version of the program wrote it, as is to be expected after an upgrade. Code
/// `snapshot-damaged`: the file is not what was written.
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
    let header = std::str::from_utf8(header).unwrap_or_default();
    let format = header.split(' ').next().unwrap_or_default();
    if format != FORMAT && format.starts_with(ANY_FORMAT) {
        let message = format!(
            "{} was written by another version of firmament ({format}; this one reads {FORMAT}) and is ignored; it is \
             written anew once the catalogue answers",
            path.display()
        );
        return Err(Error::new(Kind::Internal, OTHER_FORMAT, message));
    }
    let version = header
        .strip_prefix(FORMAT)
        .and_then(|rest| rest.strip_prefix(' '))
        .and_then(|rest| rest.strip_suffix(&format!(" {}", hex::encode(Sha256::digest(body)))));
    let Some(version) = version else {
        return Err(damaged("its header or checksum does not fit".into()));
    };
    let mut snapshot = decode(body).ok_or_else(|| damaged("it ends too early".into()))?;
    if version != VERSION {
        snapshot.mark = None;
    }
    Ok(Some(snapshot))
}

fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let size = snapshot.products().map(|product| product.as_bytes().len() + 8).sum::<usize>();
    let mut body = Vec::with_capacity(size + 8 + 32);
    body.extend_from_slice(&snapshot.revision.0.to_le_bytes());
    body.extend_from_slice(&snapshot.mark.unwrap_or(AuditHash::NONE).0);
    for product in snapshot.products() {
        body.extend_from_slice(&(product.as_bytes().len() as u64).to_le_bytes());
        body.extend_from_slice(product.as_bytes());
    }
    body
}

fn decode(body: &[u8]) -> Option<Snapshot> {
    let (revision, rest) = body.split_first_chunk()?;
    let (mark, mut rest) = rest.split_first_chunk()?;
    let mut products = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk()?;
        let (product, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        products.push(ProductOffers::from_bytes(product));
        rest = after;
    }
    let mut snapshot = Snapshot::restored(Revision(u64::from_le_bytes(*revision)), products.into_iter());
    snapshot.mark = Some(AuditHash(*mark)).filter(|mark| *mark != AuditHash::NONE);
    Some(snapshot)
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
        let mut snapshot = Snapshot::default().with(Revision(7), &[state]);
        write(&path, &snapshot).expect("writable");
        assert_eq!(read(&path).expect("readable").as_ref(), Some(&snapshot));
        snapshot.mark = Some(AuditHash([7; 32]));
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

    #[test]
    fn a_file_by_another_version_answers_checks_and_is_not_gone_on_from() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("snapshot");
        let state = product(&[("1.0.0", &[&["a"], &[]], false)]);
        let mut snapshot = Snapshot::default().with(Revision(7), &[state]);
        snapshot.mark = Some(AuditHash([7; 32]));
        write(&path, &snapshot).expect("writable");
        let whole = std::fs::read(&path).expect("there");
        let mut by_another = format!("{FORMAT} 0.0.0").into_bytes();
        by_another.extend_from_slice(&whole[FORMAT.len() + 1 + VERSION.len()..]);
        std::fs::write(&path, by_another).expect("writable");
        snapshot.mark = None;
        assert_eq!(read(&path).expect("readable"), Some(snapshot));
    }

    #[test]
    fn another_format_is_no_damage() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("snapshot");
        write(&path, &Snapshot::default()).expect("writable");
        let whole = std::fs::read(&path).expect("there");
        for other in ["firmament-snapshot-4", "firmament-snapshot-50"] {
            let file = [other.as_bytes(), &whole[FORMAT.len()..]].concat();
            std::fs::write(&path, file).expect("writable");
            let refused = read(&path).expect_err(other);
            assert_eq!(refused.code(), OTHER_FORMAT);
            assert!(refused.to_string().contains("another version"), "{refused}");
        }
    }

    /// A start goes on from blocks that an earlier life packed. Whoever changes what is packed gets here: give [`FORMAT`] a
    /// new number, and this test the new digest.
    #[test]
    fn what_is_packed_changes_with_the_format_only() {
        let mut state = product(&[
            ("1.0.0", &[&["a"], &[]], false),
            ("1.1.0-rc.1", &[&["a", "b"]], false),
            ("1.2.0", &[&[]], true),
            ("2.0.0", &[&["b"], &[]], false),
        ]);
        state.releases[1].floor = true;
        state.releases[3].upgrade_from = Some(state.releases[1].version.clone());
        state.releases[2].recall.as_mut().expect("recalled").replacement =
            Some(state.releases[0].version.clone());
        state.releases[0].notes = Some("first".into());
        state.releases[3].images[0].signature = Some("c2lnbmVk".into());
        state.product.settings.rhythm.poll_interval = "15m".parse().ok();
        let packed = Sha256::digest(ProductOffers::of(&state).as_bytes());
        assert_eq!(
            (FORMAT, hex::encode(&packed[..8]).as_str()),
            ("firmament-snapshot-5", "5d9e0a363a975f24")
        );
    }
}
