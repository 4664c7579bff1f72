//! The rules on what a publisher declares, and on size and digest of what arrived.

use std::collections::BTreeSet;

use super::{Arrived, Candidate, Limits, findings::Findings, rule, similar};
use crate::domain::{Hardware, ProductState, purge::LONGEST_TAG};

/// The declared digest against what arrived.
pub(super) fn digest(candidate: &Candidate, arrived: &Arrived, findings: &mut Findings<'_>) {
    if candidate.sha256.is_some_and(|declared| declared != arrived.sha256) {
        findings.add(
            rule::DIGEST_MISMATCH,
            format!(
                "the {} bytes that arrived have SHA-256 {}, which is not what Repr-Digest declares: the file was \
                 damaged on its way or changed while it was read; upload it again",
                arrived.size,
                hex::encode(arrived.sha256),
            ),
        );
    }
}

/// The size against the limits.
pub(super) fn size(state: &ProductState, size: Option<u64>, limits: Limits, findings: &mut Findings<'_>) {
    let Some(size) = size else { return };
    if size == 0 {
        findings.add(
            rule::IMAGE_EMPTY,
            "the body is empty: send the image's bytes as the request's body (curl: --data-binary @FILE)",
        );
    }
    let of_product = state.product.settings.max_image_bytes;
    let (limit, whose) = match of_product {
        Some(limit) if limit <= limits.max_image_bytes => (limit, "the product's max_image_bytes"),
        _ => (limits.max_image_bytes, "the server's publisher.max_image_bytes"),
    };
    if size > limit {
        findings.add(
            rule::IMAGE_TOO_LARGE,
            format!("the image has at least {size} bytes, and {whose} allows {limit}: make it smaller or raise the limit"),
        );
    }
}

/// Product and version against the cache tag that a recall would purge them by.
pub(super) fn tag(state: &ProductState, candidate: &Candidate, limits: Limits, findings: &mut Findings<'_>) {
    let Some(form) = limits.tag else { return };
    let product = &state.product.name;
    let length = form.length(product.as_str().len(), candidate.version.to_string().len());
    if length > LONGEST_TAG {
        findings.add(
            rule::PURGE_TAG_TOO_LONG,
            format!(
                "the cache tag of {product} {} would have {length} characters, and the CDN keeps {LONGEST_TAG} at most, so \
                 that a recall could not be purged by it: use a shorter version, or name objects by another cdn.purge.by in \
                 the server's settings",
                candidate.version
            ),
        );
    }
}

/// Hardware, version and file name against what the product has.
pub(super) fn judge(state: &ProductState, candidate: &Candidate, findings: &mut Findings<'_>) {
    hardware(state, candidate, findings);
    spelling(state, candidate, findings);
    file_name(state, candidate, findings);
}

fn spelling(state: &ProductState, candidate: &Candidate, findings: &mut Findings<'_>) {
    let version = &candidate.version;
    let other = state.releases.iter().find(|release| similar::spelled_otherwise(&release.version, version));
    if let Some(other) = other {
        findings.add(
            rule::VERSION_SPELLED_OTHERWISE,
            format!(
                "{version} is {} in another spelling, and that is published already: use the same spelling, or a higher \
                 version",
                other.version
            ),
        );
    }
}

fn file_name(state: &ProductState, candidate: &Candidate, findings: &mut Findings<'_>) {
    let name = candidate.filename.as_str();
    let earlier = || {
        let images = state.releases.iter().flat_map(|release| &release.images);
        images.filter(|image| {
            image.hardware == candidate.hardware || !image.hardware.is_disjoint(&candidate.hardware)
        })
    };
    let is_usual = earlier().any(|image| similar::same_but_for_digits(image.filename.as_str(), name));
    let near = earlier().find(|image| similar::nearly_same(image.filename.as_str(), name));
    if let Some(near) = near.filter(|_| !is_usual) {
        findings.add(
            rule::FILE_NAME_SIMILAR,
            format!(
                "the file name {name} is nearly {}, an earlier image's: look whether it is meant",
                near.filename
            ),
        );
    }
}

fn hardware(state: &ProductState, candidate: &Candidate, findings: &mut Findings<'_>) {
    let known = &state.product.settings.hardware;
    if known.is_empty() {
        return;
    }
    for hardware in candidate.hardware.difference(known) {
        findings.add(
            rule::HARDWARE_UNKNOWN,
            format!(
                "hardware {hardware} is not listed for product {}, which has {}: correct it, or add it to the product",
                state.product.name,
                hardware_text(known),
            ),
        );
    }
}

/// The bytes against those of other versions.
pub(super) fn same_bytes(
    state: &ProductState,
    candidate: &Candidate,
    sha256: Option<[u8; 32]>,
    findings: &mut Findings<'_>,
) {
    let Some(sha256) = sha256 else { return };
    if candidate.consent.allow_same_bytes {
        return;
    }
    let twin = state.releases.iter().find(|release| {
        release.version != candidate.version && release.kept().any(|image| image.digests.sha256 == sha256)
    });
    if let Some(twin) = twin {
        findings.add(
            rule::SAME_BYTES,
            format!(
                "these bytes are published as {} already: if the version inside was not raised, build again; if it is \
                 meant, say `allow_same_bytes`",
                twin.version,
            ),
        );
    }
}

/// Hardware in a row.
pub(super) fn hardware_text(hardware: &BTreeSet<Hardware>) -> String {
    if hardware.is_empty() {
        return "all hardware".into();
    }
    hardware.iter().map(Hardware::as_str).collect::<Vec<_>>().join(", ")
}
