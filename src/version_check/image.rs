//! What may become an image of a release.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Consent, Promotable, Reason, channel, promote, rule};
use crate::domain::{ChannelName, FileName, Hardware, Image, ProductState, Release, Version};

/// What the publisher declares of an image.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The release's version.
    pub version: Version,
    /// The file name.
    pub filename: FileName,
    /// The hardware it runs on; empty = all.
    pub hardware: BTreeSet<Hardware>,
    /// Where it is to be offered at once.
    pub channel: Option<ChannelName>,
    /// `Content-Length`, in bytes, when the client says it.
    pub size: Option<u64>,
    /// `Repr-Digest`, when the client says it.
    pub sha256: Option<[u8; 32]>,
    /// What the publisher confirms.
    pub consent: Consent,
}

/// What really arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrived {
    /// In bytes.
    pub size: u64,
    /// Of all the bytes.
    pub sha256: [u8; 32],
}

/// Limits that are not the product's.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest image, in bytes.
    pub max_image_bytes: u64,
}

/// A verdict in favour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may be stored.
    New,
    /// An image with these facts is there; whether it is this one, only the bytes can tell.
    Occupied(Uuid),
    /// This very image is there already.
    Same(Uuid),
}

/// A verdict against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The same file name or hardware exists in this release with other bytes or facts.
    Conflict(String),
    /// Rules refuse it.
    Rules(Vec<Reason>),
}

/// Judges what is declared, before the body is read.
///
/// # Errors
/// Why not.
pub fn admit(state: &ProductState, candidate: &Candidate, limits: Limits) -> Result<Admission, Refusal> {
    judge(state, candidate, candidate.size, candidate.sha256, limits, Vec::new())
}

/// Judges what arrived, before it becomes visible. Never answers [`Admission::Occupied`].
///
/// # Errors
/// Why not.
pub fn verify(
    state: &ProductState,
    candidate: &Candidate,
    arrived: Arrived,
    limits: Limits,
) -> Result<Admission, Refusal> {
    let mut reasons = Vec::new();
    if candidate.sha256.is_some_and(|declared| declared != arrived.sha256) {
        reasons.push(Reason::new(
            rule::DIGEST_MISMATCH,
            format!(
                "the {} bytes that arrived have SHA-256 {}, which is not what Repr-Digest declares: the file was \
                 damaged on its way or changed while it was read; upload it again",
                arrived.size,
                hex::encode(arrived.sha256),
            ),
        ));
    }
    judge(state, candidate, Some(arrived.size), Some(arrived.sha256), limits, reasons)
}

fn judge(
    state: &ProductState,
    candidate: &Candidate,
    size: Option<u64>,
    sha256: Option<[u8; 32]>,
    limits: Limits,
    mut reasons: Vec<Reason>,
) -> Result<Admission, Refusal> {
    let release = state.release(&candidate.version);
    let admission = match release {
        Some(release) if reasons.is_empty() => occupancy(release, candidate, size, sha256)?,
        _ => Admission::New,
    };
    size_rules(state, size, limits, &mut reasons);
    if admission == Admission::New {
        if let Some(recall) = release.and_then(|release| release.recall.as_ref()) {
            reasons.push(channel::recalled(&candidate.version, &recall.reason));
        }
        hardware_rules(state, candidate, &mut reasons);
        same_bytes(state, candidate, sha256, &mut reasons);
    }
    if let Some(channel) = &candidate.channel {
        let recalled = release.is_some_and(|release| release.recall.is_some());
        let promoted = match admission {
            Admission::New => false,
            Admission::Occupied(id) | Admission::Same(id) => state.is_promoted(id, channel),
        };
        if !promoted || recalled {
            let image = [Promotable { hardware: &candidate.hardware }];
            let more = promote(state, &candidate.version, channel, &image, &candidate.consent).err();
            for reason in more.unwrap_or_default() {
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
    }
    if reasons.is_empty() { Ok(admission) } else { Err(Refusal::Rules(reasons)) }
}

/// Whether the release has an image of that name or for that hardware already.
fn occupancy(
    release: &Release,
    candidate: &Candidate,
    size: Option<u64>,
    sha256: Option<[u8; 32]>,
) -> Result<Admission, Refusal> {
    let clash = |image: &&Image| {
        image.filename == candidate.filename
            || (image.hardware.is_empty() && candidate.hardware.is_empty())
            || image.hardware.intersection(&candidate.hardware).next().is_some()
    };
    let Some(image) = release.images.iter().find(clash) else {
        return Ok(Admission::New);
    };
    let version = &release.version;
    let there = format!(
        "{version} has an image {} for {} already ({} bytes, SHA-256 {})",
        image.filename,
        hardware_text(&image.hardware),
        image.size,
        hex::encode(image.digests.sha256),
    );
    if image.filename != candidate.filename || image.hardware != candidate.hardware {
        return Err(Refusal::Conflict(format!(
            "{there}: a file name and a hardware can be used once in a release; give this image another file name \
             and other hardware, or publish it under a higher version"
        )));
    }
    let other_bytes = || {
        Err(Refusal::Conflict(format!(
            "{there}, and these are other bytes: what is published never changes; publish them under a higher version"
        )))
    };
    if size.is_some_and(|size| size != image.size) {
        return other_bytes();
    }
    match sha256 {
        None => Ok(Admission::Occupied(image.id)),
        Some(sha256) if sha256 == image.digests.sha256 => Ok(Admission::Same(image.id)),
        Some(_) => other_bytes(),
    }
}

fn size_rules(state: &ProductState, size: Option<u64>, limits: Limits, reasons: &mut Vec<Reason>) {
    let Some(size) = size else { return };
    if size == 0 {
        reasons.push(Reason::new(
            rule::IMAGE_EMPTY,
            "the body is empty: send the image's bytes as the request's body (curl: --data-binary @FILE)",
        ));
    }
    let of_product = state.product.settings.max_image_bytes;
    let (limit, whose) = match of_product {
        Some(limit) if limit <= limits.max_image_bytes => (limit, "the product's max_image_bytes"),
        _ => (limits.max_image_bytes, "the server's publisher.max_image_bytes"),
    };
    if size > limit {
        reasons.push(Reason::new(
            rule::IMAGE_TOO_LARGE,
            format!("the image has at least {size} bytes, and {whose} allows {limit}: make it smaller or raise the limit"),
        ));
    }
}

fn hardware_rules(state: &ProductState, candidate: &Candidate, reasons: &mut Vec<Reason>) {
    let known = &state.product.settings.hardware;
    if known.is_empty() {
        return;
    }
    for hardware in candidate.hardware.difference(known) {
        reasons.push(Reason::new(
            rule::HARDWARE_UNKNOWN,
            format!(
                "hardware {hardware} is not listed for product {}, which has {}: correct it, or add it to the product",
                state.product.name,
                hardware_text(known),
            ),
        ));
    }
}

fn same_bytes(
    state: &ProductState,
    candidate: &Candidate,
    sha256: Option<[u8; 32]>,
    reasons: &mut Vec<Reason>,
) {
    let Some(sha256) = sha256 else { return };
    if candidate.consent.allow_same_bytes {
        return;
    }
    let twin = state.releases.iter().find(|release| {
        release.version != candidate.version
            && release.images.iter().any(|image| image.digests.sha256 == sha256)
    });
    if let Some(twin) = twin {
        reasons.push(Reason::new(
            rule::SAME_BYTES,
            format!(
                "these bytes are published as {} already: if the version inside was not raised, build again; if it is \
                 meant, say `allow_same_bytes`",
                twin.version,
            ),
        ));
    }
}

fn hardware_text(hardware: &BTreeSet<Hardware>) -> String {
    if hardware.is_empty() {
        return "all hardware".into();
    }
    hardware.iter().map(Hardware::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::snapshot::tests::product;

    const LIMITS: Limits = Limits { max_image_bytes: 1000 };

    fn candidate(version: &str, filename: &str, hardware: &[&str]) -> Candidate {
        Candidate {
            version: Version::parse(version).expect("valid"),
            filename: FileName::parse(filename).expect("valid"),
            hardware: hardware.iter().map(|name| Hardware::parse(name).expect("valid")).collect(),
            channel: None,
            size: None,
            sha256: None,
            consent: Consent::default(),
        }
    }

    fn codes(result: Result<Admission, Refusal>) -> Vec<String> {
        match result {
            Err(Refusal::Rules(reasons)) => reasons.into_iter().map(|r| r.code.into_owned()).collect(),
            other => panic!("no refusal by rules: {other:?}"),
        }
    }

    /// `1.0.0` with one image for all, `0.bin` of one byte, SHA-256 `[1; 32]`.
    fn state() -> ProductState {
        product(&[("1.0.0", &[&[]], false)])
    }

    #[test]
    fn a_new_version_is_admitted() {
        assert_eq!(admit(&state(), &candidate("1.1.0", "0.bin", &[]), LIMITS), Ok(Admission::New));
        let arrived = Arrived { size: 5, sha256: [9; 32] };
        assert_eq!(verify(&state(), &candidate("1.1.0", "0.bin", &[]), arrived, LIMITS), Ok(Admission::New));
    }

    #[test]
    fn the_same_facts_need_the_bytes_to_be_told_apart() {
        let state = state();
        let id = state.releases[0].images[0].id;
        let mut again = candidate("1.0.0", "0.bin", &[]);
        assert_eq!(admit(&state, &again, LIMITS), Ok(Admission::Occupied(id)));
        again.size = Some(2);
        assert!(matches!(admit(&state, &again, LIMITS), Err(Refusal::Conflict(_))));
        again.size = Some(1);
        again.sha256 = Some([1; 32]);
        assert_eq!(admit(&state, &again, LIMITS), Ok(Admission::Same(id)));
        again.sha256 = Some([7; 32]);
        assert!(matches!(admit(&state, &again, LIMITS), Err(Refusal::Conflict(_))));
        let arrived = |byte| Arrived { size: 1, sha256: [byte; 32] };
        again.sha256 = None;
        assert_eq!(verify(&state, &again, arrived(1), LIMITS), Ok(Admission::Same(id)));
        assert!(matches!(verify(&state, &again, arrived(2), LIMITS), Err(Refusal::Conflict(_))));
    }

    #[test]
    fn a_file_name_or_hardware_is_used_once_in_a_release() {
        let state = product(&[("1.0.0", &[&["a", "b"]], false)]);
        let conflict = |filename, hardware: &[&str]| {
            matches!(
                admit(&state, &candidate("1.0.0", filename, hardware), LIMITS),
                Err(Refusal::Conflict(_))
            )
        };
        assert!(conflict("0.bin", &["c"]), "same name");
        assert!(conflict("1.bin", &["b", "c"]), "hardware b again");
        assert!(!conflict("1.bin", &["c"]));
        assert!(!conflict("1.bin", &[]), "an image for all beside one that names hardware");
    }

    #[test]
    fn all_reasons_are_told_at_once() {
        let mut state = product(&[("1.0.0", &[&[]], false), ("2.0.0", &[&["a"]], false)]);
        state.product.settings.hardware = [Hardware::parse("a").expect("valid")].into();
        state.product.settings.max_image_bytes = Some(10);
        let mut bad = candidate("1.5.0", "x.bin", &["a", "q"]);
        bad.channel = Some(ChannelName::stable());
        bad.sha256 = Some([7; 32]);
        let arrived = Arrived { size: 11, sha256: [1; 32] };
        assert_eq!(
            codes(verify(&state, &bad, arrived, LIMITS)),
            ["digest-mismatch", "image-too-large", "hardware-unknown", "same-bytes", "version-not-newer"]
        );
        bad.size = Some(0);
        bad.sha256 = Some([1; 32]);
        assert_eq!(
            codes(admit(&state, &bad, LIMITS)),
            ["image-empty", "hardware-unknown", "same-bytes", "version-not-newer"]
        );
    }

    #[test]
    fn the_lower_of_both_limits_holds() {
        let mut state = state();
        let mut large = candidate("1.1.0", "0.bin", &[]);
        large.size = Some(1001);
        assert_eq!(codes(admit(&state, &large, LIMITS)), ["image-too-large"]);
        large.size = Some(1000);
        assert_eq!(admit(&state, &large, LIMITS), Ok(Admission::New));
        state.product.settings.max_image_bytes = Some(999);
        assert_eq!(codes(admit(&state, &large, LIMITS)), ["image-too-large"]);
        state.product.settings.max_image_bytes = Some(5000);
        assert_eq!(admit(&state, &large, LIMITS), Ok(Admission::New));
    }

    #[test]
    fn a_forgotten_version_bump_needs_a_word() {
        let arrived = Arrived { size: 1, sha256: [1; 32] };
        let mut twin = candidate("1.1.0", "0.bin", &[]);
        assert_eq!(codes(verify(&state(), &twin, arrived, LIMITS)), ["same-bytes"]);
        twin.consent.allow_same_bytes = true;
        assert_eq!(verify(&state(), &twin, arrived, LIMITS), Ok(Admission::New));
    }

    #[test]
    fn a_recalled_version_takes_no_more_images_and_is_not_offered_again() {
        let state = product(&[("1.0.0", &[&[]], true)]);
        assert_eq!(codes(admit(&state, &candidate("1.0.0", "1.bin", &["a"]), LIMITS)), ["version-recalled"]);
        let mut again = candidate("1.0.0", "0.bin", &[]);
        again.sha256 = Some([1; 32]);
        assert!(matches!(admit(&state, &again, LIMITS), Ok(Admission::Same(_))), "a retry is safe");
        again.channel = Some(ChannelName::stable());
        assert_eq!(codes(admit(&state, &again, LIMITS)), ["version-recalled"]);
    }
}
