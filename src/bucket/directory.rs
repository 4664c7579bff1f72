//! The bucket in a directory: the embedded default, for one machine that has no S3.
//!
//! # Layout
//! | path below the root | what |
//! |---|---|
//! | `objects/{product}/{version}/{filename}` | the bytes, under their key: a tidy tree to look at and to serve |
//! | `metadata/{product}/{version}/{filename}.json` | what S3 would keep as metadata |
//! | `manifests/{name}` | manifests, see `domain::manifest` |
//! | `uploads/{product}/{version}/{filename}~{uuid}` | an unfinished upload; no key contains `~` |
//!
//! # Invariants
//! - An object appears by a rename on one file system, after its bytes and its metadata are on the disk; the
//!   directories are synchronised too, so what `finish` has promised survives a power cut.
//! - No path is made of a text that is no [`ObjectKey`], so no name leads out of the root.
//! - File work that may block runs on the blocking threads.
//!
//! # What it does not do
//! Scale, mirror, or serve two machines. Its entity tags are SHA-256, not S3's.
//!
//! - `files`: durable file work, and what its errors mean
//! - `metadata`: the metadata's file
//! - `manifests`: small files that are no objects
//! - `walk`: the tree in the order of the keys
//! - `reader`: reading for devices
//! - `upload`: an object on its way
//! - `resumable`: one that comes in pieces
//! - `copy`: one that comes from another bucket

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{ListedObject, ObjectFacts, ObjectKey, StoredObject, UnfinishedUpload};
use crate::error::{Error, Kind, Result};

mod copy;
mod files;
mod manifests;
mod metadata;
mod reader;
mod resumable;
mod upload;
mod walk;

pub use copy::DirectoryCopy;
pub use reader::{ObjectReader, OpenObject};
pub use resumable::{DirectoryBytes, DirectoryResumable, DirectoryUnsealed};
pub use upload::DirectoryUpload;

use files::{absent_is_fine, blocking, failed};

/// As many as S3 gives.
const PAGE: usize = 1000;

/// A bucket in a directory of this machine.
#[derive(Clone)]
pub struct DirectoryBucket {
    tree: Arc<Tree>,
}

/// The paths of a bucket.
struct Tree {
    root: PathBuf,
}

impl DirectoryBucket {
    /// Opens the bucket in `root`, and makes it when it is not there.
    ///
    /// # Errors
    /// When the directories cannot be made; the message says what to do.
    pub async fn open(root: &Path) -> Result<Self> {
        let tree = Arc::new(Tree { root: root.to_owned() });
        let made = Arc::clone(&tree);
        blocking(move || {
            [made.objects(), made.metadata(), made.uploads()]
                .iter()
                .try_for_each(fs::create_dir_all)
                .map_err(|error| made.unusable(error))
        })
        .await?;
        Ok(Self { tree })
    }

    /// A reader of its objects, which can do nothing else.
    pub fn reader(&self) -> ObjectReader {
        ObjectReader::new(Arc::clone(&self.tree))
    }

    pub(super) async fn begin(&self, key: &ObjectKey, facts: &ObjectFacts) -> Result<DirectoryUpload> {
        DirectoryUpload::begin(&self.tree, key, facts).await
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<StoredObject>> {
        let Some(key) = ObjectKey::parse(key) else { return Ok(None) };
        self.blocking(move |tree| metadata::describe(tree, &key)).await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        let Some(key) = ObjectKey::parse(key) else { return Ok(()) };
        self.blocking(move |tree| {
            let (object, metadata) = (tree.object(&key), tree.metadata_of(&key));
            // The object first: metadata without an object is nothing, an object without is a stranger.
            for (path, base) in [(object, tree.objects()), (metadata, tree.metadata())] {
                files::remove(&path, &base).map_err(|error| failed("deleting", &path, error))?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn list(&self, after: Option<&str>) -> Result<Vec<ListedObject>> {
        let after = after.unwrap_or_default().to_owned();
        self.blocking(move |tree| {
            let mut found = Vec::new();
            walk::files(&tree.objects(), &after, &mut |key, entry| {
                if ObjectKey::parse(key).is_some()
                    && let Some(about) = absent_is_fine(entry.metadata())?
                {
                    found.push(ListedObject { key: key.to_owned(), size: about.len() });
                }
                Ok(if found.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })
            .map_err(|error| failed("listing", &tree.objects(), error))?;
            Ok(found)
        })
        .await
    }

    pub(super) async fn unfinished_uploads(&self, key: Option<&str>) -> Result<Vec<UnfinishedUpload>> {
        let of = key.map(str::to_owned);
        self.blocking(move |tree| {
            let mut found = Vec::new();
            walk::files(&tree.uploads(), "", &mut |name, _| {
                if let Some(upload) = parse_upload(name)
                    && of.as_ref().is_none_or(|key| *key == upload.key)
                {
                    found.push(upload);
                }
                Ok(ControlFlow::Continue(()))
            })
            .map_err(|error| failed("listing", &tree.uploads(), error))?;
            Ok(found)
        })
        .await
    }

    pub(super) async fn abort_upload(&self, upload: &UnfinishedUpload) -> Result<()> {
        let (Some(key), Ok(id)) = (ObjectKey::parse(&upload.key), Uuid::parse_str(&upload.upload_id)) else {
            return Ok(());
        };
        self.blocking(move |tree| tree.remove_upload(&key, id)).await
    }

    pub(super) async fn probe(&self) -> Result<()> {
        self.blocking(|tree| {
            let path = tree.uploads().join(format!(".probe~{}", Uuid::now_v7()));
            let written = fs::write(&path, "firmament can write here\n");
            absent_is_fine(fs::remove_file(&path)).and(written).map_err(|error| tree.unusable(error))
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let tree = Arc::clone(&self.tree);
        blocking(move || work(&tree)).await
    }
}

impl Tree {
    fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    fn metadata(&self) -> PathBuf {
        self.root.join("metadata")
    }

    fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    fn object(&self, key: &ObjectKey) -> PathBuf {
        self.objects().join(key.as_str())
    }

    fn metadata_of(&self, key: &ObjectKey) -> PathBuf {
        self.metadata().join(format!("{key}.json"))
    }

    fn upload(&self, key: &ObjectKey, id: Uuid) -> PathBuf {
        self.uploads().join(format!("{key}~{id}"))
    }

    /// Where an upload's metadata waits for its turn; no upload reads like it, as it does not end with a UUID.
    fn upload_metadata(&self, key: &ObjectKey, id: Uuid) -> PathBuf {
        self.uploads().join(format!("{key}~{id}.json"))
    }

    fn remove_upload(&self, key: &ObjectKey, id: Uuid) -> Result<()> {
        for path in [self.upload_metadata(key, id), self.upload(key, id)] {
            files::remove(&path, &self.uploads()).map_err(|error| failed("deleting", &path, error))?;
        }
        Ok(())
    }

    /// The error of a root that does not work at all, for the operator who named it.
    fn unusable(&self, error: io::Error) -> Error {
        let root = self.root.display();
        if files::is_full(&error) {
            return failed("writing", &self.root, error);
        }
        let message = format!(
            "the bucket's directory {root} cannot be written ({error}); let the user that runs firmament write \
             there, or set another directory"
        );
        Error::new(Kind::Internal, "bucket-misconfigured", message).caused_by(error)
    }
}

/// An upload by its file's path below `uploads`.
fn parse_upload(name: &str) -> Option<UnfinishedUpload> {
    let (key, id) = name.rsplit_once('~')?;
    ObjectKey::parse(key)?;
    let id = Uuid::parse_str(id).ok()?;
    // Version 7: the time is in the id, where no write changes it, unlike the file's own.
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    let started_at: DateTime<Utc> = DateTime::from_timestamp(seconds.try_into().ok()?, nanos)?;
    Some(UnfinishedUpload { key: key.to_owned(), upload_id: id.to_string(), started_at })
}
