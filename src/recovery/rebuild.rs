//! Makes a lost catalogue anew from what lies in the bucket alone.
//!
//! # Flow
//! 1. The catalogue must hold nothing but what an interrupted rebuild has put there.
//! 2. The newest manifest of each product is read (`domain::manifest`). A damaged one ends the rebuild, as an older one
//!    may offer what was recalled since; the operator may allow the one before.
//! 3. Each image that a manifest names is asked for: is it there, with that size and SHA-256? With `deep`, its bytes are
//!    read and hashed. What is missing or differs is told, and its row is made all the same: the object may come back from
//!    the backup, and its key must stay taken.
//! 4. Objects that no manifest names but that carry our metadata become images too. Their bytes are read, as metadata has
//!    no SHA-1 and nothing of what an image says of itself. They are promoted nowhere: what is in no manifest was not
//!    offered by it.
//! 5. Each product is written in one transaction.
//!
//! # What cannot be known
//! Without manifests: settings, channels, recalls, floors, notes. Never: the audit log, the content of documents, uploads
//! under way. All of it is told.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use uuid::Uuid;

use super::{AT_ONCE, Tell, newest, objects, refused};
use crate::{
    bucket::{Bucket, ObjectKey},
    catalogue::{Audit, Catalogue},
    domain::{
        Action, DeviceSecrets, Image, Product, ProductName, ProductSettings, ProductState, Release, Revision,
        Version,
        manifest::{Manifest, ManifestName},
    },
    error::Result,
};

/// How to rebuild.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rebuilding {
    /// Read and hash every image.
    pub deep: bool,
    /// Where the newest manifest of a product is damaged, take the one before.
    pub allow_older: bool,
    /// Write nothing, only tell.
    pub dry_run: bool,
}

/// What was rebuilt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Products that were written.
    pub products: usize,
    /// Products that an earlier run had written.
    pub there: usize,
    /// Releases of them.
    pub releases: usize,
    /// Images of them, without removed ones.
    pub images: usize,
    /// Images that were found by their objects' metadata alone.
    pub without_manifest: usize,
    /// What is not as it should be.
    pub problems: Vec<String>,
    /// What could not be known.
    pub unknown: Vec<String>,
}

/// A product that is to be written.
struct Found {
    state: ProductState,
    manifest: Option<(ManifestName, Option<String>)>,
}

/// Rebuilds the catalogue. Doing it again goes on where it was interrupted.
///
/// # Errors
/// `Malformed` and code `catalogue-not-empty` or `manifest-damaged`, or what catalogue and bucket fail with.
pub async fn rebuild(
    catalogue: &dyn Catalogue,
    bucket: &Bucket,
    how: Rebuilding,
    tell: Tell<'_>,
) -> Result<Rebuilt> {
    let mut rebuilt = Rebuilt::default();
    let names = bucket.manifests().await?;
    let above = names.iter().map(|name| name.revision).max().unwrap_or_default();
    let mut found = BTreeMap::new();
    for name in newest(&names) {
        let (name, manifest) = usable(bucket, &names, name, how, &mut rebuilt).await?;
        let audit = manifest.audit().map(str::to_owned);
        found.insert(
            name.product.clone(),
            Found { state: manifest.into_state(), manifest: Some((name, audit)) },
        );
    }
    tell(&format!("{} manifests found", found.len()));
    only_ours(catalogue, &found).await?;
    for product in found.values() {
        check_images(bucket, &product.state, how, &mut rebuilt).await?;
    }
    strangers(bucket, &mut found, &mut rebuilt, tell).await?;
    for product in found.values() {
        let Found { state, manifest } = product;
        let documents = state.releases.iter().map(|release| release.attachments.len()).sum::<usize>();
        if documents > 0 {
            rebuilt.unknown.push(format!(
                "{}: the content of {documents} documents of releases; attach them again",
                state.product.name
            ));
        }
        for waiting in &state.pending {
            if let Some((release, _)) = state.image(waiting.image) {
                rebuilt.unknown.push(format!(
                    "{}: whether the CDN serves {}, which was to be offered on {} then; promote it again",
                    state.product.name, release.version, waiting.channel
                ));
            }
        }
        if state.product.settings.delivery.authenticate_devices {
            rebuilt.unknown.push(format!(
                "{0}: the secret that its devices are known by; give it the one that you have kept: `firmament product \
                 device-secret {0} --rotate --secret-file FILE`",
                state.product.name
            ));
        }
        if manifest.is_none() {
            rebuilt.unknown.push(format!(
                "{}: its settings, channels, recalls, floors and notes, as it has no manifest; nothing of it is offered until \
                 you promote it. Mind what was recalled",
                state.product.name
            ));
        }
        let written = how.dry_run || catalogue.restore(state, above, &audit_of(product)).await?;
        if written {
            rebuilt.products += 1;
            rebuilt.releases += state.releases.len();
            rebuilt.images += state.releases.iter().map(|release| release.kept().count()).sum::<usize>();
            tell(&format!("{}: {} releases", state.product.name, state.releases.len()));
        } else {
            rebuilt.there += 1;
        }
    }
    rebuilt.unknown.push("the audit log: a new one begins with this rebuild".into());
    Ok(rebuilt)
}

/// The manifest, or the one before it if that is allowed.
async fn usable(
    bucket: &Bucket,
    names: &[ManifestName],
    newest: &ManifestName,
    how: Rebuilding,
    rebuilt: &mut Rebuilt,
) -> Result<(ManifestName, Manifest)> {
    let of_product = names.iter().rev().filter(|name| name.product == newest.product);
    for name in of_product {
        match bucket.manifest(name).await {
            Ok(Some(manifest)) => return Ok((name.clone(), manifest)),
            Ok(None) => {}
            Err(error) if error.code() == "manifest-damaged" && how.allow_older => {
                rebuilt
                    .problems
                    .push(format!("{error}; the one before it was taken: look what changed since"));
            }
            Err(error) if error.code() == "manifest-damaged" => {
                return Err(refused(
                    "manifest-damaged",
                    format!(
                        "{error}. An older one may offer what was recalled since: get the bucket's manifest from the backup, \
                         or give --allow-older"
                    ),
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Err(refused("manifest-damaged", format!("no manifest of {} can be used", newest.product)))
}

/// Refuses a catalogue that holds something else.
async fn only_ours(catalogue: &dyn Catalogue, found: &BTreeMap<ProductName, Found>) -> Result<()> {
    for product in catalogue.products().await? {
        let told = found.get(&product.name).is_some_and(|found| found.state.product.id == product.id);
        // One without a manifest, of a rebuild that was interrupted: it was made then, and nothing happened to it since.
        let made = async || -> Result<bool> {
            let entries = catalogue.audit(&product.name, 2).await?;
            Ok(matches!(&entries[..], [only] if only.action == Action::CatalogueRebuild.as_str()))
        };
        if !told && !made().await? {
            return Err(refused(
                "catalogue-not-empty",
                format!(
                    "the catalogue is not empty: it has product {}. Rebuild into a new database; to see how this one differs \
                     from the bucket, use `firmament fsck`",
                    product.name
                ),
            ));
        }
    }
    Ok(())
}

/// Asks for every image of a product that was not removed.
async fn check_images(
    bucket: &Bucket,
    state: &ProductState,
    how: Rebuilding,
    rebuilt: &mut Rebuilt,
) -> Result<()> {
    let images = state.releases.iter().flat_map(|release| release.kept().map(move |image| (release, image)));
    let checks = images.map(|(release, image)| async move {
        let key = ObjectKey::image(&state.product.name, &release.version, &image.filename);
        Ok::<_, crate::error::Error>(
            check(bucket, &key, image, how.deep).await?.map(|why| format!("{key}: {why}")),
        )
    });
    let mut checks = stream::iter(checks).buffer_unordered(AT_ONCE);
    while let Some(problem) = checks.next().await {
        rebuilt.problems.extend(problem?);
    }
    Ok(())
}

/// What is wrong with an image's object.
async fn check(bucket: &Bucket, key: &ObjectKey, image: &Image, deep: bool) -> Result<Option<String>> {
    let Some(object) = bucket.head(key.as_str()).await? else {
        return Ok(Some("the object is missing; get it back with `firmament backup restore`".into()));
    };
    if object.size != image.size {
        return Ok(Some(format!("the object has {} bytes, not {}", object.size, image.size)));
    }
    if object.sha256.is_some_and(|sha256| sha256 != image.digests.sha256) {
        return Ok(Some("the object's metadata has another SHA-256".into()));
    }
    let Some(facts) = object.facts.as_ref().filter(|_| deep) else { return Ok(None) };
    Ok(match objects::read(bucket, key, facts, object.size).await? {
        Some(taken) if taken.digests.sha256 == image.digests.sha256 => None,
        _ => Some("the object's bytes are not those of the image".into()),
    })
}

/// Objects that no manifest names.
async fn strangers(
    bucket: &Bucket,
    found: &mut BTreeMap<ProductName, Found>,
    rebuilt: &mut Rebuilt,
    tell: Tell<'_>,
) -> Result<()> {
    let mut known = BTreeSet::new();
    for Found { state, .. } in found.values() {
        for release in &state.releases {
            for image in &release.images {
                known.insert(
                    ObjectKey::image(&state.product.name, &release.version, &image.filename)
                        .as_str()
                        .to_owned(),
                );
            }
        }
    }
    let mut objects = objects::Objects::of(bucket);
    while let Some(listed) = objects.next().await? {
        if known.contains(&listed.key) {
            continue;
        }
        let Some(key) = ObjectKey::parse(&listed.key) else {
            rebuilt.problems.push(format!("{}: no image's key; it is left alone", listed.key));
            continue;
        };
        let Some(object) = bucket.head(key.as_str()).await? else { continue };
        let facts = object
            .facts
            .as_ref()
            .filter(|facts| ObjectKey::image(&facts.product, &facts.version, &facts.filename) == key);
        let Some(facts) = facts else {
            rebuilt
                .problems
                .push(format!("{key}: it carries no metadata of ours; publish it again if it is wanted"));
            continue;
        };
        let Some(taken) = objects::read(bucket, &key, facts, object.size).await? else { continue };
        if object.sha256.is_some_and(|sha256| sha256 != taken.digests.sha256) {
            rebuilt
                .problems
                .push(format!("{key}: it is damaged, its bytes have another SHA-256; it is left out"));
            continue;
        }
        tell(&format!("{key}: found by its metadata alone"));
        rebuilt.without_manifest += 1;
        let image = Image {
            id: Uuid::now_v7(),
            filename: facts.filename.clone(),
            hardware: facts.hardware.clone(),
            size: object.size,
            digests: taken.digests,
            etag: object.etag.clone(),
            created_at: facts.created_at,
            facts: Some(std::sync::Arc::new(taken.arrived.report.facts.clone())),
            signature: None,
            removed_at: None,
        };
        let product = found.entry(facts.product.clone()).or_insert_with(|| unknown(&facts.product));
        if product.manifest.is_some() {
            rebuilt.unknown.push(format!("{key}: where it was promoted, as it is newer than the manifest"));
        }
        add(&mut product.state, &facts.version, image);
    }
    Ok(())
}

fn unknown(name: &ProductName) -> Found {
    let product = Product {
        id: Uuid::now_v7(),
        name: name.clone(),
        settings: ProductSettings::default(),
        device_secrets: DeviceSecrets::default(),
        created_at: Utc::now(),
        revision: Revision::default(),
    };
    let state = ProductState {
        product,
        releases: Vec::new(),
        promotions: Vec::new(),
        withdrawn: Vec::new(),
        pending: Vec::new(),
        refused: Vec::new(),
    };
    Found { state, manifest: None }
}

fn add(state: &mut ProductState, version: &Version, image: Image) {
    if let Some(release) = state.releases.iter_mut().find(|release| release.version == *version) {
        release.images.push(image);
        return;
    }
    state.releases.push(Release {
        id: Uuid::now_v7(),
        version: version.clone(),
        notes: None,
        created_at: image.created_at,
        floor: false,
        upgrade_from: None,
        recall: None,
        images: vec![image],
        security: None,
        attachments: Vec::new(),
    });
}

fn audit_of(found: &Found) -> Audit {
    let manifest = found.manifest.as_ref();
    Audit {
        actor: "firmament catalogue rebuild".into(),
        action: Action::CatalogueRebuild,
        details: json!({
            "manifest": manifest.map(|(name, _)| name.to_string()),
            "lost_audit_head": manifest.and_then(|(_, audit)| audit.clone()),
        }),
        ..Audit::default()
    }
}
