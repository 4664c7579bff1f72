//! An object that comes into the directory in pieces, through many processes.
//!
//! Its bytes are in the upload's file, which is named after the upload. The file may be longer than what was kept, after
//! a crash or a piece that was thrown away: who resumes cuts it. It stays out of sight until it is sealed, and then
//! moves under its key together with its metadata.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use uuid::Uuid;

use super::{
    DirectoryBucket, Tree,
    files::{self, blocking, failed},
    metadata::{self, Metadata},
    upload::{BUFFER, store},
};
use crate::{
    bucket::{Kept, ObjectFacts, ObjectKey, PART_SIZE, StillMine, StoredObject, lost, truncate_to_micros},
    domain::Digests,
    error::{Error, Result},
};

/// How much is read at once.
const READ: usize = 1024 * 1024;

/// An object on its way.
pub struct DirectoryResumable {
    object: Object,
    file: BufWriter<tokio::fs::File>,
    received: u64,
    /// What was told as progress.
    told: u64,
}

/// An object whose bytes are all in one file.
pub struct DirectoryUnsealed {
    object: Object,
    /// It is under its key already.
    sealed: bool,
}

/// The bytes of a file.
pub struct DirectoryBytes {
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
}

struct Object {
    tree: Arc<Tree>,
    key: ObjectKey,
    facts: ObjectFacts,
    id: Uuid,
}

impl DirectoryBucket {
    pub(in crate::bucket) async fn resume(
        &self,
        id: Uuid,
        key: &ObjectKey,
        facts: &ObjectFacts,
        kept: &Kept,
    ) -> Result<DirectoryResumable> {
        let (path, base, received) = (self.tree.upload(key, id), self.tree.uploads(), kept.received);
        let of = key.clone();
        let file = blocking(move || {
            let work = || {
                let mut file = files::in_directory(&base, &path, || {
                    OpenOptions::new().write(true).create(true).truncate(false).open(&path)
                })?;
                files::sync_parent(&path)?;
                let length = file.metadata()?.len();
                file.set_len(received.min(length))?;
                file.seek(SeekFrom::End(0))?;
                Ok((file, length))
            };
            let (file, length) = work().map_err(|error| failed("resuming", &path, error))?;
            match length < received {
                true => Err(lost(&of, format!("its file has {length} bytes, not {received}"))),
                false => Ok(file),
            }
        })
        .await?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(BUFFER);
        let object = self.object(id, key, facts);
        Ok(DirectoryResumable {
            object,
            file: BufWriter::with_capacity(BUFFER, file),
            received,
            told: received,
        })
    }

    pub(in crate::bucket) async fn completed(
        &self,
        key: &ObjectKey,
        facts: &ObjectFacts,
        size: u64,
    ) -> Result<Option<DirectoryUnsealed>> {
        let object = self.object(Uuid::nil(), key, facts);
        let found = self.head(key.as_str()).await?;
        let ours =
            found.is_some_and(|found| found.size == size && found.facts.as_ref() == Some(&object.facts));
        Ok(ours.then_some(DirectoryUnsealed { object, sealed: true }))
    }

    fn object(&self, id: Uuid, key: &ObjectKey, facts: &ObjectFacts) -> Object {
        let mut facts = facts.clone();
        facts.created_at = truncate_to_micros(facts.created_at);
        Object { tree: Arc::clone(&self.tree), key: key.clone(), facts, id }
    }
}

impl DirectoryResumable {
    pub(in crate::bucket) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.received += bytes.len() as u64;
        self.file.write_all(&bytes).await.map_err(|error| self.object.failed(error))
    }

    /// As often as S3 gets a part: a crash costs no more than that.
    pub(in crate::bucket) async fn progress(&mut self) -> Result<Option<Kept>> {
        if self.received - self.told < PART_SIZE as u64 {
            return Ok(None);
        }
        self.told = self.received;
        self.park().await.map(Some)
    }

    pub(in crate::bucket) async fn park(&mut self) -> Result<Kept> {
        self.file.flush().await.map_err(|error| self.object.failed(error))?;
        self.file.get_ref().sync_data().await.map_err(|error| self.object.failed(error))?;
        Ok(Kept { received: self.received, ..Kept::default() })
    }

    pub(in crate::bucket) async fn complete(mut self) -> Result<DirectoryUnsealed> {
        self.park().await?;
        Ok(DirectoryUnsealed { object: self.object, sealed: false })
    }
}

impl DirectoryUnsealed {
    fn path(&self) -> PathBuf {
        let Object { tree, key, id, .. } = &self.object;
        if self.sealed { tree.object(key) } else { tree.upload(key, *id) }
    }

    pub(in crate::bucket) async fn read(&self) -> Result<DirectoryBytes> {
        let path = self.path();
        blocking(move || match File::open(&path) {
            Ok(file) => Ok(DirectoryBytes { file: Arc::new(file), path }),
            Err(error) => Err(failed("reading back", &path, error)),
        })
        .await
    }

    pub(in crate::bucket) async fn seal(
        self,
        size: u64,
        digests: &Digests,
        still_mine: StillMine<'_>,
    ) -> Result<StoredObject> {
        still_mine()?;
        let (metadata, sha256) = (Metadata::new(&self.object.facts, size, digests), digests.sha256);
        blocking(move || {
            let Object { tree, key, facts, id } = &self.object;
            if !self.sealed {
                store(tree, key, *id, &metadata).map_err(|error| self.object.failed(error))?;
                files::prune(&tree.upload(key, *id), &tree.uploads());
            }
            match metadata::describe(tree, key)? {
                Some(object) if object.size == size && object.sha256 == Some(sha256) => Ok(object),
                found => Err(Error::internal(format!("{key}: stored {facts:?}, but there is {found:?}"))),
            }
        })
        .await
    }
}

impl DirectoryBytes {
    pub(in crate::bucket) async fn next(&mut self) -> Result<Option<Bytes>> {
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        blocking(move || {
            let mut bytes = Vec::with_capacity(READ);
            (&*file)
                .take(READ as u64)
                .read_to_end(&mut bytes)
                .map_err(|error| failed("reading back", &path, error))?;
            Ok((!bytes.is_empty()).then(|| bytes.into()))
        })
        .await
    }
}

impl Object {
    fn failed(&self, error: std::io::Error) -> Error {
        failed("storing", &self.tree.upload(&self.key, self.id), error)
    }
}
