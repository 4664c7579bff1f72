//! Bundles whose manifest is in their signature (verity, crypt): what it says of the payload.

use super::{
    super::{Covers, FaultKind, Report},
    manifest::Manifest,
    squashfs::{Kept, Superblock},
    verity::{self, Wrong},
};

/// Compares the manifest with the payload, and states what of it was compared.
pub(super) fn compare(
    report: &mut Report,
    manifest: Option<&Manifest>,
    superblock: Option<&Superblock>,
    payload: Kept<'_>,
    payload_size: u64,
) {
    if let Some(superblock) = superblock {
        superblock.state(report);
    }
    let Some(manifest) = manifest else { return };
    match (manifest.format().as_str(), superblock) {
        ("verity", Some(_)) | ("crypt", None) => {}
        ("verity", None) => report.fault(
            FaultKind::Malformed,
            "its manifest says that the bundle's format is verity, but it begins with no squashfs: upload \
             it again",
        ),
        ("crypt", Some(_)) => report.fault(
            FaultKind::Malformed,
            "its manifest says that the bundle's format is crypt, but its squashfs is not encrypted",
        ),
        (other, _) => report.fault(
            FaultKind::Malformed,
            format!(
                "its manifest says that the bundle's format is {other}, but its signature is that of a \
                 verity or crypt bundle: make it with `rauc bundle`, which signs each format in its way"
            ),
        ),
    }
    let hex_of = |key: &str| manifest.get("bundle", key).and_then(|text| hex::decode(text.trim()).ok());
    let tree_size: Option<u64> =
        manifest.get("bundle", "verity-size").and_then(|text| text.trim().parse().ok());
    let (Some(root), Some(salt), Some(tree_size)) = (hex_of("verity-hash"), hex_of("verity-salt"), tree_size)
    else {
        report.fault(
            FaultKind::Malformed,
            "its manifest lacks a readable verity-hash, verity-salt or verity-size in its group [bundle]",
        );
        return;
    };
    let data_size = payload_size.checked_sub(tree_size).filter(|size| *size > 0 && size % verity::BLOCK == 0);
    let Some(data_size) = data_size else {
        report.fault(
            FaultKind::Malformed,
            format!(
                "its manifest states a hash tree of {tree_size} bytes, which leaves no whole blocks of {} \
                 bytes of the {payload_size} bytes before the signature: a part of the bundle is missing, \
                 or there is too much",
                verity::BLOCK,
            ),
        );
        return;
    };
    if let Some(superblock) = superblock {
        superblock.fits(report, data_size, "the bundle before its hash tree");
    }
    match verity::compare(payload, data_size, tree_size, &salt, &root) {
        Ok(compared) => {
            let data_blocks = data_size / verity::BLOCK;
            report.facts.detail(
                "verity compared",
                format!(
                    "{} of {} blocks of the hash tree, {} of {data_blocks} of the payload",
                    compared.tree,
                    tree_size / verity::BLOCK,
                    compared.data,
                ),
            );
            if compared.data == data_blocks {
                report.facts.own_digest = Some(format!("verity:{}", hex::encode(root)));
            } else {
                for signature in &mut report.signatures {
                    signature.covers = Covers::StatedDigest;
                }
            }
        }
        Err(Wrong::Size(needed)) => report.fault(
            FaultKind::Malformed,
            format!(
                "its manifest states a hash tree of {tree_size} bytes, but that of {data_size} bytes of \
                 payload has {needed}: a part of the bundle is missing, or there is too much"
            ),
        ),
        Err(Wrong::Root) => report.fault(
            FaultKind::DigestWrong,
            format!(
                "the root of its hash tree is not the verity-hash {} of its manifest: the bundle was \
                 damaged or put together from two; upload it again",
                hex::encode(root),
            ),
        ),
        Err(Wrong::Block(at)) => report.fault(
            FaultKind::DigestWrong,
            format!(
                "its block of {} bytes at byte {at} is not the one in its hash tree: upload it again",
                verity::BLOCK
            ),
        ),
        Err(Wrong::NotZero(at)) => report.fault(
            FaultKind::Malformed,
            format!("the block of its hash tree at byte {at} is not filled up with zeros"),
        ),
    }
}
