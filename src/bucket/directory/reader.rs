//! Reading objects for devices, and nothing else.
//!
//! The device side of the house holds a reader and no bucket: it cannot write, delete or list.

use std::{fs::File, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    Tree,
    files::{absent_is_fine, blocking, failed},
    metadata::Metadata,
};
use crate::{
    bucket::ObjectKey,
    error::{Error, Result},
};

/// Opens objects of a directory for reading.
#[derive(Clone)]
pub struct ObjectReader {
    tree: Arc<Tree>,
}

/// What a device is told of an object that is open for reading; the same headers as from S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenObject {
    /// In bytes.
    pub size: u64,
    /// The entity tag, without quotes. A strong one: it is the SHA-256 of the bytes.
    pub etag: String,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Disposition`.
    pub content_disposition: String,
    /// `Cache-Control`.
    pub cache_control: &'static str,
    /// `Last-Modified`.
    pub last_modified: DateTime<Utc>,
}

impl ObjectReader {
    pub(super) fn new(tree: Arc<Tree>) -> Self {
        Self { tree }
    }

    /// Opens an object; `None` = there is none, or no key reads like that. A file without metadata was put there by
    /// hand, and no device gets it.
    ///
    /// The file stays readable to its end, whatever happens to the object meanwhile.
    ///
    /// # Errors
    /// When the object is there but cannot be read.
    pub async fn open(&self, key: &str) -> Result<Option<(OpenObject, tokio::fs::File)>> {
        let Some(key) = ObjectKey::parse(key) else { return Ok(None) };
        let tree = Arc::clone(&self.tree);
        let opened = blocking(move || {
            let path = tree.object(&key);
            let file = absent_is_fine(File::open(&path)).map_err(|error| failed("opening", &path, error))?;
            let Some(file) = file else { return Ok(None) };
            let about = file.metadata().map_err(|error| failed("asking for", &path, error))?;
            let Some(metadata) = Metadata::read(&tree.metadata_of(&key), about.len())? else {
                return Ok(None);
            };
            let object = OpenObject {
                size: about.len(),
                etag: metadata.etag().to_owned(),
                content_type: key.content_type(),
                content_disposition: key.content_disposition(),
                cache_control: key.cache_control(),
                last_modified: about.modified().map_err(Error::internal)?.into(),
            };
            Ok(Some((object, file)))
        })
        .await?;
        Ok(opened.map(|(object, file)| (object, tokio::fs::File::from_std(file))))
    }
}
