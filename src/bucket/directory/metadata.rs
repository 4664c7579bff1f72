//! The file beside an object: its facts and digests, as S3 would keep them in metadata.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::UNIX_EPOCH,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Tree,
    files::{absent_is_fine, failed},
};
use crate::{
    bucket::{ObjectFacts, ObjectKey, StoredObject},
    domain::{Digests, FileName, Hardware, ProductName, Version},
    error::Result,
};

/// The file's content.
#[derive(Serialize, Deserialize)]
pub(super) struct Metadata {
    product: ProductName,
    version: Version,
    filename: FileName,
    hardware: BTreeSet<Hardware>,
    created_at: DateTime<Utc>,
    size: u64,
    sha256: String,
    sha1: String,
    md5: String,
    etag: String,
}

impl Metadata {
    pub(super) fn new(facts: &ObjectFacts, size: u64, digests: &Digests) -> Self {
        // The same bytes have the same tag, whenever and wherever they were stored.
        Self::tagged(facts, size, digests, hex::encode(digests.sha256))
    }

    /// Of an object that has an entity tag already, as another bucket's has.
    pub(super) fn tagged(facts: &ObjectFacts, size: u64, digests: &Digests, etag: String) -> Self {
        let facts = facts.clone();
        Self {
            product: facts.product,
            version: facts.version,
            filename: facts.filename,
            hardware: facts.hardware,
            created_at: facts.created_at,
            size,
            sha256: hex::encode(digests.sha256),
            sha1: hex::encode(digests.sha1),
            md5: hex::encode(digests.md5),
            etag,
        }
    }

    /// Writes it to a new file, down to the disk.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let mut file = File::create(path)?;
        file.write_all(&text)?;
        file.sync_all()
    }

    /// The metadata of an object of that size; `None` when there is none, or it is of something else.
    pub(super) fn read(path: &Path, size: u64) -> Result<Option<Self>> {
        let text = absent_is_fine(fs::read(path)).map_err(|error| failed("reading", path, error))?;
        let metadata: Option<Self> = text.and_then(|text| serde_json::from_slice(&text).ok());
        Ok(metadata.filter(|metadata| metadata.size == size))
    }

    pub(super) fn etag(&self) -> &str {
        &self.etag
    }

    fn sha256(&self) -> Option<[u8; 32]> {
        hex::decode(&self.sha256).ok()?.try_into().ok()
    }
}

/// What is stored under a key.
pub(super) fn describe(tree: &Tree, key: &ObjectKey) -> Result<Option<StoredObject>> {
    let path = tree.object(key);
    let about = absent_is_fine(fs::metadata(&path)).map_err(|error| failed("asking for", &path, error))?;
    let Some(about) = about.filter(fs::Metadata::is_file) else { return Ok(None) };
    let size = about.len();
    let content_type = Some(key.content_type().to_owned());
    let cache_control = Some(key.cache_control().to_owned());
    Ok(Some(match Metadata::read(&tree.metadata_of(key), size)? {
        Some(metadata) => StoredObject {
            size,
            etag: metadata.etag.clone(),
            sha256: metadata.sha256(),
            facts: Some(ObjectFacts {
                product: metadata.product,
                version: metadata.version,
                filename: metadata.filename,
                hardware: metadata.hardware,
                created_at: metadata.created_at,
            }),
            content_type,
            cache_control,
        },
        // Somebody put it there by hand.
        None => {
            let changed = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let etag = format!("{size:x}-{:x}", changed.unwrap_or_default().as_nanos());
            StoredObject { size, etag, facts: None, sha256: None, content_type, cache_control }
        }
    }))
}
