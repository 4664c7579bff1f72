//! Prune: removes for good what a product's retention does not keep (`domain::retention`).
//!
//! Each step is judged on what is true at commit, like every other change: a promotion or a publish that comes first makes
//! the removal judge again, and one that comes later meets images that are removed. The bytes go later
//! (`jobs::removals`).

use std::collections::BTreeSet;

use chrono::Utc;
use serde_json::json;
use uuid::Uuid;

use super::{ATTEMPTS, Publishing, too_contended};
use crate::{
    catalogue::{Actor, Audit, Written},
    domain::{
        Action, ProductName,
        retention::{Fate, judge},
    },
    error::Result,
};

/// The most images of one change: its audit entry lists them.
const MOST_AT_ONCE: usize = 200;

/// A request to remove what is not kept.
#[derive(Debug, Clone)]
pub struct Pruning {
    /// The product.
    pub product: ProductName,
    /// Versions that devices still run, as the caller knows it.
    pub running: BTreeSet<String>,
    /// Only tells what would go.
    pub dry_run: bool,
    /// Who and from where.
    pub actor: Actor,
}

impl Publishing {
    /// Removes for good what the product's retention does not keep. Returns what became of each release; what has no
    /// reason to be kept was removed, or would be. Doing it again removes nothing more.
    ///
    /// # Errors
    /// `NotFound` for the product, or what the catalogue fails with; some of it may have been removed then.
    pub async fn prune(&self, request: &Pruning) -> Result<Vec<Fate>> {
        let mut removed: Vec<Fate> = Vec::new();
        let mut attempts = 0;
        loop {
            let state = self.product(&request.product).await?;
            let fates = judge(&state, &request.running, Utc::now());
            let going: Vec<&Fate> = fates.iter().filter(|fate| fate.keep.is_empty()).collect();
            if going.is_empty() || request.dry_run {
                removed.extend(fates);
                removed.sort_by(|one, other| other.version.cmp(&one.version));
                return Ok(removed);
            }
            let mut step: Vec<Fate> = Vec::new();
            for fate in going {
                let images: usize = step.iter().map(|fate| fate.images.len()).sum();
                if !step.is_empty() && images + fate.images.len() > MOST_AT_ONCE {
                    break;
                }
                step.push(fate.clone());
            }
            let images: Vec<Uuid> = step.iter().flat_map(|fate| &fate.images).map(|image| image.id).collect();
            let audit = Audit {
                actor: request.actor.clone(),
                action: Action::ImageRemove,
                details: json!({
                    "retention": state.product.settings.retention,
                    "running": request.running,
                    "images": step.iter().flat_map(shown).collect::<Vec<_>>(),
                }),
                ..Audit::default()
            };
            let revision = state.product.revision;
            match self.catalogue.remove(&request.product, &images, revision, &audit).await? {
                Written::Done(_) => {
                    self.changed.notify_one();
                    tracing::warn!(
                        product = %request.product, images = images.len(), actor = %request.actor,
                        "removed for good"
                    );
                    removed.extend(step);
                }
                _ if attempts >= ATTEMPTS => return Err(too_contended()),
                _ => attempts += 1,
            }
        }
    }
}

fn shown(fate: &Fate) -> impl Iterator<Item = serde_json::Value> {
    fate.images.iter().map(|image| {
        json!({
            "id": image.id.to_string(),
            "version": fate.version.to_string(),
            "filename": image.filename.to_string(),
            "size": image.size,
            "sha256": hex::encode(image.sha256),
        })
    })
}
