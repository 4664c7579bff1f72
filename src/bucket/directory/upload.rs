//! An object on its way into the directory.

use std::{fs::OpenOptions, sync::Arc};

use bytes::Bytes;
use tokio::{
    io::{AsyncWriteExt as _, BufWriter},
    runtime::Handle,
};
use uuid::Uuid;

use super::{
    Tree,
    files::{self, blocking, failed},
    metadata::{self, Metadata},
};
use crate::{
    bucket::{ObjectFacts, ObjectKey, StillMine, StoredObject, truncate_to_micros},
    domain::Digests,
    error::{Error, Result},
};

/// Bytes that go to a blocking thread at once: a body comes in pieces of some KiB, and each trip there costs more
/// than copying them.
pub(super) const BUFFER: usize = 256 * 1024;

/// An object on its way.
pub struct DirectoryUpload {
    guard: Guard,
    facts: ObjectFacts,
    file: BufWriter<tokio::fs::File>,
}

/// Removes an upload's files unless it is told that they are in other hands.
struct Guard {
    tree: Arc<Tree>,
    key: ObjectKey,
    id: Uuid,
    armed: bool,
}

impl DirectoryUpload {
    pub(super) async fn begin(tree: &Arc<Tree>, key: &ObjectKey, facts: &ObjectFacts) -> Result<Self> {
        let mut facts = facts.clone();
        facts.created_at = truncate_to_micros(facts.created_at);
        let guard = Guard { tree: Arc::clone(tree), key: key.clone(), id: Uuid::now_v7(), armed: true };
        let (path, base) = (tree.upload(key, guard.id), tree.uploads());
        let file = blocking(move || {
            files::in_directory(&base, &path, || OpenOptions::new().write(true).create_new(true).open(&path))
                .map_err(|error| failed("creating", &path, error))
        })
        .await?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(BUFFER);
        Ok(Self { guard, facts, file: BufWriter::with_capacity(BUFFER, file) })
    }

    pub(in crate::bucket) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.file.write_all(&bytes).await.map_err(|error| self.guard.failed(error))
    }

    pub(in crate::bucket) async fn flush(&mut self) -> Result<()> {
        self.file.flush().await.map_err(|error| self.guard.failed(error))?;
        // The slow part of what makes an object durable; `finish` has then only names to write.
        self.file.get_ref().sync_data().await.map_err(|error| self.guard.failed(error))
    }

    pub(in crate::bucket) async fn finish(
        mut self,
        size: u64,
        digests: &Digests,
        still_mine: StillMine<'_>,
    ) -> Result<StoredObject> {
        still_mine()?;
        self.file.flush().await.map_err(|error| self.guard.failed(error))?;
        let file = self.file.into_inner().into_std().await;
        let metadata = Metadata::new(&self.facts, size, digests);
        let (facts, sha256) = (self.facts, digests.sha256);
        let mut guard = self.guard;
        // In the task, the guard removes the files after an error, and not because a caller has gone away.
        blocking(move || {
            let written = file.metadata().map_err(|error| guard.failed(error))?.len();
            if written != size {
                let cause = format!("{}: {written} bytes are in the file, {size} are claimed", guard.key);
                return Err(Error::internal(cause));
            }
            file.sync_all().map_err(|error| guard.failed(error))?;
            store(&guard.tree, &guard.key, guard.id, &metadata).map_err(|error| guard.failed(error))?;
            guard.armed = false;
            files::prune(&guard.tree.upload(&guard.key, guard.id), &guard.tree.uploads());

            let found = metadata::describe(&guard.tree, &guard.key)?;
            match found {
                Some(object) if object.size == size && object.sha256 == Some(sha256) => Ok(object),
                found => Err(Error::internal(format!(
                    "{}: stored {facts:?}, but the directory holds {found:?}",
                    guard.key
                ))),
            }
        })
        .await
    }

    pub(in crate::bucket) async fn abort(self) -> Result<()> {
        let Self { mut guard, file, .. } = self;
        drop(file);
        blocking(move || {
            guard.armed = false;
            guard.tree.remove_upload(&guard.key, guard.id)
        })
        .await
    }
}

impl Guard {
    fn failed(&self, error: std::io::Error) -> Error {
        failed("storing", &self.tree.upload(&self.key, self.id), error)
    }
}

/// Gives the metadata and then the bytes their final names. In this order: a crash in between leaves metadata without
/// an object, which nobody looks at.
pub(super) fn store(tree: &Tree, key: &ObjectKey, id: Uuid, metadata: &Metadata) -> std::io::Result<()> {
    let draft = tree.upload_metadata(key, id);
    metadata.write(&draft)?;
    files::settle(&draft, &tree.metadata(), &tree.metadata_of(key))?;
    files::settle(&tree.upload(key, id), &tree.objects(), &tree.object(key))
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (tree, key, id) = (Arc::clone(&self.tree), self.key.clone(), self.id);
        let remove = move || {
            if let Err(error) = tree.remove_upload(&key, id) {
                tracing::warn!(%key, cause = error.cause(), "an abandoned upload could not be removed");
            }
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_no_runtime) => remove(),
        }
    }
}
