//! Manifests in the bucket: the part of the port for the small objects from which a lost catalogue is made anew
//! (`domain::manifest`).
//!
//! They lie under [`MANIFESTS`], which is no image's key, as no product's name begins with a dot. Like images they never
//! change: a newer state of a product is another object, and the older ones are removed. So a slow writer cannot put an
//! old state over a new one, and needs no conditional write, which not all stores have.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use super::Bucket;
use crate::{
    domain::manifest::{Manifest, ManifestName},
    error::{Error, Kind, Result},
};

/// What keys of manifests begin with.
pub const MANIFESTS: &str = ".firmament/catalogue/";

/// The largest JSON of a manifest, in bytes: a damaged file must not fill the memory. A product with 100,000 images
/// stays below it.
const LARGEST: u64 = 256 * 1024 * 1024;

impl Bucket {
    /// Keeps a manifest. Doing it again is fine: the same name has the same content.
    pub async fn put_manifest(&self, manifest: &Manifest) -> Result<ManifestName> {
        let (name, json) = manifest.encode();
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&json).map_err(Error::internal)?;
        let packed = packed.finish().map_err(Error::internal)?;
        match self {
            Self::S3(bucket) => bucket.put_small(&key_of(&name), packed, manifest.newest()).await?,
            Self::Directory(bucket) => bucket.put_manifest(&name.to_string(), packed).await?,
        }
        Ok(name)
    }

    /// Reads a manifest; `None` = there is none of that name.
    ///
    /// Fails with kind `Internal` and code `manifest-damaged` when it is not what its name says.
    pub async fn manifest(&self, name: &ManifestName) -> Result<Option<Manifest>> {
        let packed = match self {
            Self::S3(bucket) => bucket.read_whole(&key_of(name), LARGEST).await?.map(Vec::from),
            Self::Directory(bucket) => bucket.manifest(&name.to_string()).await?,
        };
        let Some(packed) = packed else { return Ok(None) };
        let damaged = |why: String| {
            Error::new(
                Kind::Internal,
                "manifest-damaged",
                format!("the manifest {name} cannot be used: {why}"),
            )
        };
        let mut json = Vec::new();
        GzDecoder::new(&packed[..])
            .take(LARGEST)
            .read_to_end(&mut json)
            .map_err(|error| damaged(format!("it is damaged ({error})")))?;
        Manifest::decode(name, &json).map(Some).map_err(damaged)
    }

    /// The manifests of all products, by product and revision, oldest first; what has another name is left out.
    pub async fn manifests(&self) -> Result<Vec<ManifestName>> {
        let mut names: Vec<ManifestName> = match self {
            Self::S3(bucket) => {
                let mut keys = Vec::new();
                let mut after: Option<String> = None;
                loop {
                    let page = bucket.list_below(MANIFESTS, after.as_deref()).await?;
                    let Some(last) = page.last() else { break };
                    after = Some(last.key.clone());
                    keys.extend(page.into_iter().map(|object| object.key));
                }
                keys.iter().filter_map(|key| ManifestName::parse(key.strip_prefix(MANIFESTS)?)).collect()
            }
            Self::Directory(bucket) => {
                bucket.manifests().await?.iter().filter_map(|name| ManifestName::parse(name)).collect()
            }
        };
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a manifest; an absent one is fine.
    pub async fn remove_manifest(&self, name: &ManifestName) -> Result<()> {
        match self {
            Self::S3(bucket) => bucket.delete(&key_of(name)).await,
            Self::Directory(bucket) => bucket.remove_manifest(&name.to_string()).await,
        }
    }
}

fn key_of(name: &ManifestName) -> String {
    format!("{MANIFESTS}{name}")
}
