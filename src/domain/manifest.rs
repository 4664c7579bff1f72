//! A product's manifest: all that the catalogue knows of it, as a text that is kept beside its images in the bucket. From
//! it the catalogue can be made anew.
//!
//! # Why it exists
//! An object's metadata says which release and hardware an image is for, and its digest. It cannot say what comes later
//! and changes: what is promoted where, what was recalled and what replaces it, floors, notes, settings. Without these a
//! rebuilt catalogue would offer nothing, or worse, what was recalled.
//!
//! # Form
//! One JSON object, compressed with gzip, one for each product and revision; it never changes. Its name
//! ([`ManifestName`]) holds the product, the revision and the SHA-256 of the JSON, so damage and a mixed-up file are
//! found. It names the newest entry of the audit log of its product, too: who has noted heads of the log elsewhere can
//! compare. It is not signed with a secret: who can write the bucket can replace the images themselves, and a key that is
//! lost with the database would make the manifest worthless when it is needed.
//!
//! The SHA-256 in the name also keeps it from being guessed: a CDN in front of the bucket gives out what it is asked for,
//! and a manifest tells of releases that are not out yet. (It is of the ids too, which have 74 random bits each.)
//!
//! # What it does not hold
//! The audit log, the content of documents (only their names and digests), and what devices are known by: a secret does
//! not belong where a CDN fetches from.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    Attachment, AttachmentKind, ChannelName, DeviceSecrets, Digests, Facts, FileName, Hardware, Image,
    PendingPromotion, Product, ProductName, ProductSettings, ProductState, Promotion, Recall, Release,
    Revision, Security, Version,
};

/// What this program writes.
const FORMAT: u32 = 1;

/// The name of a manifest, as the bucket keeps it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManifestName {
    /// The product.
    pub product: ProductName,
    /// The revision of the product that it tells.
    pub revision: Revision,
    /// Of its JSON.
    pub sha256: [u8; 32],
}

impl ManifestName {
    /// The name in a text; `None` = it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (product, rest) = text.split_once('@')?;
        let (revision, sha256) = rest.strip_suffix(".json.gz")?.split_once('-')?;
        let name = Self {
            product: ProductName::parse(product).ok()?,
            revision: Revision(revision.parse().ok()?),
            sha256: hex::decode(sha256).ok()?.try_into().ok()?,
        };
        (name.to_string() == text).then_some(name)
    }
}

impl std::fmt::Display for ManifestName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // All digits of the largest number, so that names sort by revision.
        write!(f, "{}@{:020}-{}.json.gz", self.product, self.revision.0, hex::encode(self.sha256))
    }
}

/// The JSON of a manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    product: ProductName,
    id: Uuid,
    created_at: DateTime<Utc>,
    settings: ProductSettings,
    revision: Revision,
    /// The newest entry of the product's audit log, as `REVISION:HASH`; absent = it has no hash yet.
    audit: Option<String>,
    releases: Vec<ReleasePart>,
    promotions: Vec<PromotionPart>,
    /// What waits until it was fetched back through the CDN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<PromotionPart>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ReleasePart {
    id: Uuid,
    version: Version,
    created_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    #[serde(default)]
    floor: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upgrade_from: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recall: Option<RecallPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    security: Option<Security>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<AttachmentPart>,
    images: Vec<ImagePart>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RecallPart {
    at: DateTime<Utc>,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replacement: Option<Version>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct AttachmentPart {
    name: FileName,
    kind: AttachmentKind,
    specification: String,
    size: u64,
    #[serde(with = "hex::serde")]
    sha256: [u8; 32],
    created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ImagePart {
    id: Uuid,
    filename: FileName,
    hardware: BTreeSet<Hardware>,
    size: u64,
    #[serde(with = "hex::serde")]
    sha256: [u8; 32],
    #[serde(with = "hex::serde")]
    sha1: [u8; 20],
    #[serde(with = "hex::serde")]
    md5: [u8; 16],
    etag: String,
    created_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    facts: Option<Facts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct PromotionPart {
    channel: ChannelName,
    image: Uuid,
    at: DateTime<Utc>,
    #[serde(default)]
    withdrawn: bool,
}

impl Manifest {
    /// Tells all of a product. `audit` = the newest entry of its log, as `REVISION:HASH`.
    pub fn of(state: &ProductState, audit: Option<String>) -> Self {
        let promotion = |promotion: &Promotion, withdrawn| PromotionPart {
            channel: promotion.channel.clone(),
            image: promotion.image,
            at: promotion.at,
            withdrawn,
        };
        let there = state.promotions.iter().map(|each| promotion(each, false));
        let withdrawn = state.withdrawn.iter().map(|each| promotion(each, true));
        Self {
            format: FORMAT,
            product: state.product.name.clone(),
            id: state.product.id,
            created_at: state.product.created_at,
            settings: state.product.settings.clone(),
            revision: state.product.revision,
            audit,
            releases: state.releases.iter().map(ReleasePart::of).collect(),
            promotions: there.chain(withdrawn).collect(),
            waiting: (state.pending.iter())
                .map(|each| PromotionPart {
                    channel: each.channel.clone(),
                    image: each.image,
                    at: each.at,
                    withdrawn: false,
                })
                .collect(),
        }
    }

    /// The newest time in it: the same wherever and whenever it is written.
    pub fn newest(&self) -> DateTime<Utc> {
        let releases = self.releases.iter().flat_map(|release| {
            let images = release.images.iter().map(|image| image.removed_at.unwrap_or(image.created_at));
            images.chain(release.recall.iter().map(|recall| recall.at))
        });
        let promotions = self.promotions.iter().chain(&self.waiting).map(|promotion| promotion.at);
        releases.chain(promotions).fold(self.created_at, DateTime::max)
    }

    /// The JSON, and the name that belongs to it.
    pub fn encode(&self) -> (ManifestName, Vec<u8>) {
        let json = serde_json::to_vec(self).expect("has only string keys");
        let sha256 = Sha256::digest(&json).into();
        (ManifestName { product: self.product.clone(), revision: self.revision, sha256 }, json)
    }

    /// Reads the JSON of a manifest of that name.
    ///
    /// # Errors
    /// In words: it is damaged, is another's, or of a newer program.
    pub fn decode(name: &ManifestName, json: &[u8]) -> Result<Self, String> {
        if <[u8; 32]>::from(Sha256::digest(json)) != name.sha256 {
            return Err("it is damaged: its SHA-256 is not the one in its name".into());
        }
        let manifest: Self =
            serde_json::from_slice(json).map_err(|error| format!("it cannot be read: {error}"))?;
        if manifest.format != FORMAT {
            return Err(format!(
                "it is of format {}, and this program reads {FORMAT}: use the version of firmament that wrote it, or a \
                 newer one",
                manifest.format
            ));
        }
        if manifest.product != name.product || manifest.revision != name.revision {
            return Err("it tells of another product or revision than its name does".into());
        }
        Ok(manifest)
    }

    /// The newest entry of the product's audit log, as `REVISION:HASH`.
    pub fn audit(&self) -> Option<&str> {
        self.audit.as_deref()
    }

    /// The product as it was.
    pub fn into_state(self) -> ProductState {
        let (there, withdrawn): (Vec<_>, Vec<_>) =
            self.promotions.into_iter().partition(|each| !each.withdrawn);
        let promotion =
            |each: PromotionPart| Promotion { channel: each.channel, image: each.image, at: each.at };
        ProductState {
            product: Product {
                id: self.id,
                name: self.product,
                settings: self.settings,
                device_secrets: DeviceSecrets::default(),
                created_at: self.created_at,
                revision: self.revision,
            },
            releases: self.releases.into_iter().map(ReleasePart::into_release).collect(),
            promotions: there.into_iter().map(promotion).collect(),
            withdrawn: withdrawn.into_iter().map(promotion).collect(),
            pending: (self.waiting.into_iter())
                .map(|each| PendingPromotion {
                    channel: each.channel,
                    image: each.image,
                    withdraw: Vec::new(),
                    at: each.at,
                    allow_stranding: false,
                    reason: None,
                    attempts: 0,
                    last_error: None,
                })
                .collect(),
            refused: Vec::new(),
        }
    }
}

impl ReleasePart {
    fn of(release: &Release) -> Self {
        Self {
            id: release.id,
            version: release.version.clone(),
            created_at: release.created_at,
            notes: release.notes.clone(),
            floor: release.floor,
            upgrade_from: release.upgrade_from.clone(),
            recall: release.recall.as_ref().map(|recall| RecallPart {
                at: recall.at,
                reason: recall.reason.clone(),
                replacement: recall.replacement.clone(),
            }),
            security: release.security.clone(),
            attachments: release
                .attachments
                .iter()
                .map(|attachment| AttachmentPart {
                    name: attachment.name.clone(),
                    kind: attachment.kind,
                    specification: attachment.specification.clone(),
                    size: attachment.size,
                    sha256: attachment.sha256,
                    created_at: attachment.created_at,
                })
                .collect(),
            images: release.images.iter().map(ImagePart::of).collect(),
        }
    }

    fn into_release(self) -> Release {
        let attachment = |part: AttachmentPart| Attachment {
            name: part.name,
            kind: part.kind,
            specification: part.specification,
            size: part.size,
            sha256: part.sha256,
            created_at: part.created_at,
        };
        Release {
            id: self.id,
            version: self.version,
            notes: self.notes,
            created_at: self.created_at,
            floor: self.floor,
            upgrade_from: self.upgrade_from,
            recall: self.recall.map(|part| Recall {
                at: part.at,
                reason: part.reason,
                replacement: part.replacement,
            }),
            images: self.images.into_iter().map(ImagePart::into_image).collect(),
            security: self.security,
            attachments: self.attachments.into_iter().map(attachment).collect(),
        }
    }
}

impl ImagePart {
    fn of(image: &Image) -> Self {
        Self {
            id: image.id,
            filename: image.filename.clone(),
            hardware: image.hardware.clone(),
            size: image.size,
            sha256: image.digests.sha256,
            sha1: image.digests.sha1,
            md5: image.digests.md5,
            etag: image.etag.clone(),
            created_at: image.created_at,
            facts: image.facts.as_deref().cloned(),
            signature: image.signature.clone(),
            removed_at: image.removed_at,
        }
    }

    fn into_image(self) -> Image {
        Image {
            id: self.id,
            filename: self.filename,
            hardware: self.hardware,
            size: self.size,
            digests: Digests { sha256: self.sha256, sha1: self.sha1, md5: self.md5 },
            etag: self.etag,
            created_at: self.created_at,
            facts: self.facts.map(Arc::new),
            signature: self.signature,
            removed_at: self.removed_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Severity, snapshot::tests::product};

    fn state() -> ProductState {
        let mut state = product(&[("1.0.0", &[&["a"], &[]], true), ("1.1.0-rc.1", &[&[]], false)]);
        let at = DateTime::from_timestamp_micros(1_700_000_000_000_042).expect("in range");
        let [one, two] = &mut state.releases[..] else { panic!("two releases") };
        one.recall = Some(Recall { at, reason: "bad \"x\"".into(), replacement: Some(two.version.clone()) });
        one.images[0].removed_at = Some(at);
        one.images[1].facts = Some(Arc::new(Facts::of("raw")));
        two.notes = Some("n".into());
        two.floor = true;
        two.upgrade_from = Some(one.version.clone());
        two.security = Some(Security { severity: Severity::High, cves: BTreeSet::new() });
        two.attachments.push(Attachment {
            name: FileName::parse("a.json").expect("valid"),
            kind: AttachmentKind::Spdx,
            specification: "2.3".into(),
            size: 7,
            sha256: [9; 32],
            created_at: at,
        });
        let withdrawn = state.promotions.remove(0);
        state.withdrawn.push(withdrawn);
        state.pending.push(PendingPromotion {
            channel: ChannelName::stable(),
            image: state.releases[1].images[0].id,
            withdraw: Vec::new(),
            at: DateTime::UNIX_EPOCH,
            allow_stranding: false,
            reason: None,
            attempts: 0,
            last_error: None,
        });
        state.product.settings.max_image_bytes = Some(5);
        state
    }

    #[test]
    fn a_product_comes_back_exactly() {
        let state = state();
        let (name, json) = Manifest::of(&state, Some("7:00".into())).encode();
        assert_eq!(ManifestName::parse(&name.to_string()), Some(name.clone()));
        let manifest = Manifest::decode(&name, &json).expect("whole");
        assert_eq!(manifest.audit(), Some("7:00"));
        assert_eq!(manifest.newest(), state.releases[0].recall.as_ref().expect("recalled").at);
        assert_eq!(manifest.into_state(), state);
        assert_eq!(
            Manifest::of(&state, Some("7:00".into())).encode(),
            (name, json),
            "it is the same every time"
        );
    }

    #[test]
    fn damage_and_mixed_up_names_are_found() {
        let (name, mut json) = Manifest::of(&state(), None).encode();
        let other = ManifestName { revision: Revision(9), ..name.clone() };
        assert!(
            Manifest::decode(&other, &json).expect_err("another").contains("another product or revision")
        );
        json[20] ^= 1;
        assert!(Manifest::decode(&name, &json).expect_err("damaged").contains("damaged"));
    }

    #[test]
    fn names_sort_by_revision_and_only_ours_parse() {
        let name = |revision| ManifestName {
            product: ProductName::parse("thermo-x").expect("valid"),
            revision: Revision(revision),
            sha256: [0xab; 32],
        };
        assert!(name(9).to_string() < name(10).to_string());
        let text = name(9).to_string();
        for no_name in [
            "",
            "thermo-x",
            &text.replace('@', "/"),
            &text.replace("000", "00"),
            &text.to_uppercase(),
            &text.replace(".gz", ""),
        ] {
            assert_eq!(ManifestName::parse(no_name), None, "{no_name}");
        }
    }
}
