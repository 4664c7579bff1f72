//! Manifests in a directory: `manifests/{name}`, written beside and renamed.

use std::{
    fs::{self, File},
    io::Write as _,
};

use uuid::Uuid;

use super::{
    DirectoryBucket,
    files::{self, absent_is_fine, failed},
};
use crate::error::Result;

// A name is the rendering of a `ManifestName`, which holds no slash and does not begin with a dot.
impl DirectoryBucket {
    pub(in crate::bucket) async fn put_manifest(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let name = name.to_owned();
        self.blocking(move |tree| {
            let base = tree.root.join("manifests");
            let (path, beside) = (base.join(&name), base.join(format!(".{}~", Uuid::now_v7())));
            let write = || {
                fs::create_dir_all(&base)?;
                let mut file = File::create(&beside)?;
                file.write_all(&bytes)?;
                file.sync_all()?;
                files::settle(&beside, &base, &path)
            };
            write().map_err(|error| failed("storing", &path, error))
        })
        .await
    }

    pub(in crate::bucket) async fn manifest(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let name = name.to_owned();
        self.blocking(move |tree| {
            let path = tree.root.join("manifests").join(&name);
            absent_is_fine(fs::read(&path)).map_err(|error| failed("reading", &path, error))
        })
        .await
    }

    pub(in crate::bucket) async fn manifests(&self) -> Result<Vec<String>> {
        self.blocking(|tree| {
            let base = tree.root.join("manifests");
            let list = || {
                let Some(entries) = absent_is_fine(fs::read_dir(&base))? else { return Ok(Vec::new()) };
                let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
                Ok(names.collect::<std::io::Result<Vec<_>>>()?.into_iter().flatten().collect())
            };
            list().map_err(|error| failed("listing", &base, error))
        })
        .await
    }

    pub(in crate::bucket) async fn remove_manifest(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.blocking(move |tree| {
            let path = tree.root.join("manifests").join(&name);
            absent_is_fine(fs::remove_file(&path)).map_err(|error| failed("deleting", &path, error))?;
            Ok(())
        })
        .await
    }
}
