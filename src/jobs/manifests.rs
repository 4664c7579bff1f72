//! Keeps a manifest of each product beside its images, so that the catalogue can be made anew from the bucket alone.
//!
//! A pass that finds the catalogue where the last one left it asks nothing of the bucket. Else it reads which products
//! changed, writes the manifest of each as it is now, and removes its older ones, but for the one before (should the
//! newest be damaged, the operator may choose it). The backup gets its own, by a job of its own. The first pass of a process lists what is there and writes what is
//! missing, so nothing is lost by a crash; so does a pass each hour. Two replicas that write at once write the same, or different revisions under
//! different names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;

use super::Reconciler;
use crate::{
    bucket::Bucket,
    catalogue::Catalogue,
    domain::{
        ProductName, Revision,
        manifest::{Manifest, ManifestName},
    },
    error::Result,
};

/// Products per question.
const PAGE: u32 = 200;
/// After so many passes without a change it looks whether all is still there.
const PASSES_PER_LOOK: u64 = 1800;
/// How many manifests of a product stay.
const KEPT: usize = 2;

/// The reconciler.
pub struct ManifestsJob {
    /// Its name: one for each place.
    pub name: &'static str,
    /// The catalogue.
    pub catalogue: Arc<dyn Catalogue>,
    /// Where the images are.
    pub bucket: Bucket,
    /// What is in the bucket; `None` = not looked yet.
    pub known: Option<Known>,
}

/// What is in the bucket.
#[derive(Default)]
pub struct Known {
    /// All changes up to this revision are there.
    told: Revision,
    /// How many passes ago it was looked.
    passes: u64,
    manifests: BTreeMap<ProductName, BTreeSet<ManifestName>>,
}

impl Known {
    fn lacks(&self, product: &ProductName, revision: Revision) -> bool {
        let newest = self.manifests.get(product).and_then(BTreeSet::last);
        newest.is_none_or(|newest| newest.revision != revision)
    }
}

#[async_trait]
impl Reconciler for ManifestsJob {
    fn name(&self) -> &'static str {
        self.name
    }

    fn period(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        let at = self.catalogue.revision().await?;
        if self.known.as_ref().is_some_and(|known| known.told == at && known.passes < PASSES_PER_LOOK) {
            self.known.iter_mut().for_each(|known| known.passes += 1);
            return Ok(None);
        }
        let mut written = 0;
        // On an error `known` stays empty, and the next pass looks anew.
        let mut known = match self.known.take() {
            // Less: the catalogue was restored from a backup.
            Some(known) if known.told <= at && known.passes < PASSES_PER_LOOK => known,
            _ => {
                let mut known = self.look().await?;
                for product in self.catalogue.products().await? {
                    if known.lacks(&product.name, product.revision) {
                        written += usize::from(self.write(&product.name, &mut known).await?);
                    }
                }
                known.told = at;
                known
            }
        };
        loop {
            let page = self.catalogue.changes(known.told, PAGE).await?;
            for state in &page.products {
                let name = &state.product.name;
                if known.lacks(name, state.product.revision) {
                    written += usize::from(self.write(name, &mut known).await?);
                }
            }
            known.told = page.revision;
            if !page.more {
                break;
            }
        }
        self.known = Some(known);
        Ok((written > 0).then(|| format!("wrote {written} manifests")))
    }
}

impl ManifestsJob {
    async fn look(&self) -> Result<Known> {
        let mut known = Known::default();
        for name in self.bucket.manifests().await? {
            known.manifests.entry(name.product.clone()).or_default().insert(name);
        }
        Ok(known)
    }

    async fn write(&self, product: &ProductName, known: &mut Known) -> Result<bool> {
        // With what the images say of themselves, which `changes` leaves out.
        let Some(state) = self.catalogue.product(product).await? else { return Ok(false) };
        let newest = self.catalogue.audit(product, 1).await?.pop();
        // A change in between: the next pass tells it.
        let newest = newest.filter(|entry| entry.revision == state.product.revision);
        let audit = newest.and_then(|entry| {
            let hash = entry.link?.hash;
            Some(format!("{}:{hash}", entry.revision.0))
        });
        let name = self.bucket.put_manifest(&Manifest::of(&state, audit)).await?;
        let all = known.manifests.entry(product.clone()).or_default();
        all.insert(name.clone());
        // Those of a catalogue that was ahead before it was restored stay: an operator may want them.
        let older: Vec<ManifestName> = all.iter().filter(|other| **other < name).cloned().collect();
        for old in older.iter().rev().skip(KEPT - 1) {
            self.bucket.remove_manifest(old).await?;
            all.remove(old);
        }
        Ok(true)
    }
}
