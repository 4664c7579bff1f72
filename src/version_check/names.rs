//! Whether an image is for this product: its format and the names that it states, against what the policy lists, what
//! is declared, and what the channel had before.

use std::collections::BTreeSet;

use super::{Candidate, findings::Findings, rule};
use crate::domain::{ChannelName, Facts, Hardware, Image, Policy, ProductState, facts::NameKind};

/// Format and names against the policy. `whole` = all facts are known: only then is something missing.
pub(super) fn expected(
    policy: &Policy,
    candidate: &Candidate,
    facts: &Facts,
    whole: bool,
    findings: &mut Findings<'_>,
) {
    if !policy.formats.is_empty() && !policy.formats.contains(&facts.format) {
        findings.add(
            rule::FORMAT_UNEXPECTED,
            format!(
                "the image is {}, and the product takes {}: this is another file, or add the format to the policy",
                facts.format,
                list(&policy.formats)
            ),
        );
    }
    for (kind, accepted) in &policy.names {
        let stated = of_kind(facts, *kind);
        if stated.is_empty() && whole {
            findings.add(
                rule::NAME_MISMATCH,
                format!(
                    "the image ({}) states no {}, and the product expects {}: this is another file, or change the policy",
                    facts.format,
                    word(*kind),
                    list(accepted)
                ),
            );
        } else if !stated.is_empty() && !stated.iter().any(|name| accepted.contains(*name)) {
            findings.add(
                rule::NAME_MISMATCH,
                format!(
                    "the image states the {} {}, and the product expects {}: this is another product's or board's image, or \
                     add the name to the policy",
                    word(*kind),
                    list(&stated),
                    list(accepted)
                ),
            );
        }
    }
    for hardware in &candidate.hardware {
        mapped(policy, hardware, facts, whole, findings);
    }
}

/// The declared hardware against the names that the image has for it.
fn mapped(policy: &Policy, hardware: &Hardware, facts: &Facts, whole: bool, findings: &mut Findings<'_>) {
    let Some(accepted) = policy.hardware_names.get(hardware) else { return };
    const KINDS: [NameKind; 3] = [NameKind::Compatible, NameKind::Hardware, NameKind::Chip];
    let stated: BTreeSet<&str> = KINDS.into_iter().flat_map(|kind| of_kind(facts, kind)).collect();
    if stated.iter().any(|name| accepted.contains(*name)) || (stated.is_empty() && !whole) {
        return;
    }
    let said = if stated.is_empty() { "no hardware".to_owned() } else { list(&stated) };
    findings.add(
        rule::NAME_MISMATCH,
        format!(
            "the image is declared for {hardware}, which images call {}, and it states {said}: declare the hardware that it \
             is for, or correct the policy's hardware_names",
            list(accepted)
        ),
    );
}

/// Format and names against what the channel offers to that hardware now.
pub(super) fn changed(
    state: &ProductState,
    channel: &ChannelName,
    target: Option<&str>,
    image: &Image,
    findings: &mut Findings<'_>,
) {
    let Some(facts) = &image.facts else { return };
    let before = state
        .promotions
        .iter()
        .filter(|promotion| promotion.channel == *channel && promotion.image != image.id)
        .filter_map(|promotion| state.image(promotion.image))
        .filter(|(release, other)| release.recall.is_none() && other.fits(target))
        .max_by(|(one, _), (other, _)| one.version.cmp(&other.version));
    let Some((release, before)) = before.and_then(|(release, image)| Some((release, image.facts.as_ref()?)))
    else {
        return;
    };
    let policy = &state.product.settings.policy;
    let version = &release.version;
    if before.format != facts.format {
        if policy.formats.is_empty() {
            findings.add(
                rule::FORMAT_CHANGED,
                format!(
                    "the image is {}, and {version}, which channel {channel} offers, is {}: look whether this is the right \
                     file",
                    facts.format, before.format
                ),
            );
        }
        // Other formats have other names for the same things.
        return;
    }
    for (kind, code) in [
        (NameKind::Product, rule::NAME_CHANGED),
        (NameKind::Compatible, rule::NAME_CHANGED),
        (NameKind::Chip, rule::CHIP_CHANGED),
    ] {
        let (was, is) = (of_kind(before, kind), of_kind(facts, kind));
        if policy.names.contains_key(&kind) || was.is_empty() || is.is_empty() || !was.is_disjoint(&is) {
            continue;
        }
        findings.add(
            code,
            format!(
                "the image states the {} {}, and {version}, which channel {channel} offers, {}: look whether this is the \
                 right file, and list the names that are meant in the policy",
                word(kind),
                list(&is),
                list(&was)
            ),
        );
    }
}

fn of_kind(facts: &Facts, kind: NameKind) -> BTreeSet<&str> {
    facts.names.iter().filter(|(of, _)| *of == kind).map(|(_, name)| name.as_str()).collect()
}

fn word(kind: NameKind) -> &'static str {
    match kind {
        NameKind::Product => "product name",
        NameKind::Compatible => "compatible name",
        NameKind::Hardware => "hardware",
        NameKind::Chip => "chip",
        NameKind::Vendor => "vendor",
    }
}

/// Names in a row, but never a page of them.
fn list<T: AsRef<str>>(names: &BTreeSet<T>) -> String {
    let shown =
        names.iter().take(8).map(|name| format!("{:?}", name.as_ref())).collect::<Vec<_>>().join(", ");
    if names.len() > 8 { format!("{shown} and {} more", names.len() - 8) } else { shown }
}
