//! What was declared of an image, as it is kept while its upload lasts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::Publication;
use crate::{
    catalogue::{Actor, Reservation, ResumableUpload},
    domain::{ChannelName, FileName, Hardware, UpgradePath, Version},
    error::{Error, Result},
    version_check::{Candidate, Consent, detached::Detached},
};

/// A [`Publication`] without what reservation and upload say themselves: product, version, file name, hardware, size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Declared {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<ChannelName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    #[serde(default)]
    allow_downgrade: bool,
    #[serde(default)]
    allow_same_bytes: bool,
    #[serde(default)]
    allow_stranding: bool,
    #[serde(default)]
    floor: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upgrade_from: Option<Version>,
    /// Base64, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    actor: String,
    /// The client's own `Upload-Metadata`, which it may ask for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
}

/// What is kept of a request.
pub(super) fn keep(publication: &Publication, metadata: Option<&str>) -> Value {
    let Publication { product: _, candidate, notes, actor } = publication;
    let Candidate {
        version: _,
        filename: _,
        hardware: _,
        channel,
        size: _,
        sha256,
        path,
        signature,
        consent,
    } = candidate;
    let Consent { allow_downgrade, allow_same_bytes, allow_stranding, reason } = consent;
    let declared = Declared {
        channel: channel.clone(),
        sha256: sha256.map(hex::encode),
        notes: notes.clone(),
        allow_downgrade: *allow_downgrade,
        allow_same_bytes: *allow_same_bytes,
        allow_stranding: *allow_stranding,
        floor: path.floor,
        upgrade_from: path.upgrade_from.clone(),
        signature: signature.as_ref().map(Detached::text),
        reason: reason.clone(),
        actor: actor.name.clone(),
        metadata: metadata.map(str::to_owned),
    };
    serde_json::to_value(declared).expect("has only string keys")
}

fn read(declared: &Value) -> Result<Declared> {
    serde_json::from_value(declared.clone()).map_err(Error::internal)
}

/// The request again; `actor` is who goes on with it.
pub(super) fn publication(upload: &ResumableUpload, actor: &Actor) -> Result<Publication> {
    let declared = read(&upload.declared)?;
    let Reservation { product, version, filename, hardware, .. } = upload.reservation.clone();
    Ok(Publication {
        product,
        candidate: Candidate {
            version,
            filename,
            hardware,
            channel: declared.channel,
            size: upload.progress.size,
            sha256: declared.sha256.as_deref().and_then(digest),
            path: UpgradePath { floor: declared.floor, upgrade_from: declared.upgrade_from },
            signature: declared
                .signature
                .as_deref()
                .map(Detached::parse)
                .transpose()
                .map_err(Error::internal)?,
            consent: Consent {
                allow_downgrade: declared.allow_downgrade,
                allow_same_bytes: declared.allow_same_bytes,
                allow_stranding: declared.allow_stranding,
                reason: declared.reason,
            },
        },
        notes: declared.notes,
        actor: actor.clone(),
    })
}

/// Whether a request means the image that the upload is of. Only the digest can tell: two builds of one version often
/// have one size, and bytes of both must never be put together.
pub(super) fn is_same(upload: &ResumableUpload, publication: &Publication) -> Result<bool> {
    let facts = |version: &Version, filename: &FileName, hardware: &BTreeSet<Hardware>| {
        (version.clone(), filename.clone(), hardware.clone())
    };
    let (theirs, ours) = (&upload.reservation, &publication.candidate);
    let sha256 = read(&upload.declared)?.sha256.as_deref().and_then(digest);
    Ok(theirs.product == publication.product
        && facts(&theirs.version, &theirs.filename, &theirs.hardware)
            == facts(&ours.version, &ours.filename, &ours.hardware)
        && upload.progress.size == ours.size
        && sha256.is_some()
        && sha256 == ours.sha256)
}

/// The client's own `Upload-Metadata`.
///
/// # Errors
/// When what was kept is unreadable.
pub fn metadata_of(upload: &ResumableUpload) -> Result<Option<String>> {
    Ok(read(&upload.declared)?.metadata)
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    hex::decode(hex).ok()?.try_into().ok()
}
