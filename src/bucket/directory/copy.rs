//! An object that comes from another bucket into the directory.
//!
//! Its bytes go to an upload's file. The next try finds it by the key: what is there is hashed and not received again. The object appears when the SHA-256 of all is right, with the entity tag that it has
//! in the other bucket.

use std::{fs::File, io::Read as _, path::Path, sync::Arc};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    DirectoryBucket, DirectoryBytes, DirectoryResumable, Tree,
    files::{self, absent_is_fine, blocking, failed},
    metadata::{self, Metadata},
    upload::store,
};
use crate::{
    bucket::{
        Kept, ObjectKey, Original, StoredObject,
        copying::{object_damaged, object_missing},
    },
    error::{Error, Result},
};

/// How much is hashed at once.
const READ: usize = 1024 * 1024;

/// An object on its way.
pub struct DirectoryCopy {
    tree: Arc<Tree>,
    original: Original,
    id: Uuid,
    file: DirectoryResumable,
    sha256: Sha256,
    /// How much was there.
    before: u64,
    received: u64,
}

impl DirectoryBucket {
    pub(in crate::bucket) async fn read(&self, key: &ObjectKey, at: u64) -> Result<DirectoryBytes> {
        let (tree, key) = (Arc::clone(&self.tree), key.clone());
        blocking(move || {
            use std::io::{Seek as _, SeekFrom};

            let path = tree.object(&key);
            let file = absent_is_fine(File::open(&path)).map_err(|error| failed("opening", &path, error))?;
            let mut file = file.ok_or_else(|| object_missing(&key))?;
            file.seek(SeekFrom::Start(at)).map_err(|error| failed("reading", &path, error))?;
            Ok(DirectoryBytes { file: Arc::new(file), path })
        })
        .await
    }

    pub(in crate::bucket) async fn receive(&self, original: &Original) -> Result<DirectoryCopy> {
        let left = self.unfinished_uploads(Some(original.key.as_str())).await?;
        let left = left.into_iter().filter_map(|upload| upload.upload_id.parse::<Uuid>().ok()).max();
        let id = left.unwrap_or_else(Uuid::now_v7);
        let path = self.tree.upload(&original.key, id);
        let size = original.size;
        let (sha256, before) =
            blocking(move || hash_file(&path, size).map_err(|error| failed("reading", &path, error))).await?;
        let kept = Kept { received: before, ..Kept::default() };
        let file = self.resume(id, &original.key, &original.facts, &kept).await?;
        Ok(DirectoryCopy {
            tree: Arc::clone(&self.tree),
            original: original.clone(),
            id,
            file,
            sha256,
            before,
            received: before,
        })
    }

    pub(in crate::bucket) fn is_same_as(&self, other: &Self) -> bool {
        self.place() == other.place()
    }

    pub(in crate::bucket) fn place(&self) -> String {
        let root = self.tree.root.canonicalize().unwrap_or_else(|_| self.tree.root.clone());
        format!("directory {}", root.display())
    }
}

/// Hashes what there is of the file; none of it if it is longer than the object.
fn hash_file(path: &Path, size: u64) -> std::io::Result<(Sha256, u64)> {
    let mut sha256 = Sha256::new();
    let Some(mut file) = absent_is_fine(File::open(path))? else { return Ok((sha256, 0)) };
    if file.metadata()?.len() > size {
        return Ok((sha256, 0));
    }
    let (mut buffer, mut hashed) = (vec![0; READ], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((sha256, hashed)),
            read => {
                sha256.update(&buffer[..read]);
                hashed += read as u64;
            }
        }
    }
}

impl DirectoryCopy {
    pub(in crate::bucket) fn there_before(&self) -> u64 {
        self.before
    }

    pub(in crate::bucket) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.sha256.update(&bytes);
        self.received += bytes.len() as u64;
        self.file.write(bytes).await
    }

    pub(in crate::bucket) async fn finish(mut self) -> Result<StoredObject> {
        self.file.park().await?;
        let Self { tree, original, id, sha256, received, before, .. } = self;
        let sha256 = sha256.finalize();
        blocking(move || {
            let Original { key, facts, size, digests, etag } = &original;
            if received != *size || *sha256 != digests.sha256 {
                tree.remove_upload(key, id)?;
                return Err(if before > 0 {
                    // The part that was there may be what is wrong, and not the object.
                    Error::new(
                        crate::error::Kind::Unavailable,
                        "copy-broken",
                        format!("what was there of a copy of {key} was wrong; it is begun anew"),
                    )
                } else {
                    object_damaged(&original, received, &sha256)
                });
            }
            let metadata = Metadata::tagged(facts, *size, digests, etag.clone());
            let path = tree.upload(key, id);
            store(&tree, key, id, &metadata).map_err(|error| failed("storing", &path, error))?;
            files::prune(&path, &tree.uploads());
            match metadata::describe(&tree, key)? {
                Some(object) if object.size == *size && object.sha256 == Some(digests.sha256) => Ok(object),
                found => Err(Error::internal(format!("{key}: a copy was stored, but there is {found:?}"))),
            }
        })
        .await
    }
}
