//! Signatures in a FIT, and what they sign (U-Boot, `doc/usage/fit/signature.rst`, `boot/image-fit-sig.c`).
//!
//! A signature node in an image signs the image's data. One in a configuration signs parts of the tree: the
//! tokens of the nodes that its `hashed-nodes` lists, without the properties that hold or place data, and the
//! beginnings and ends of their children; then so much of the strings block as `hashed-strings` says
//! (`boot/fdt_region.c`). The images are bound by the hash nodes among them.
//!
//! `hashed-nodes` is itself not signed, so that a signature could be moved to another configuration: it is
//! only taken if it lists the root, the configuration, each of its images and their hash nodes, which U-Boot
//! works out for itself.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{
    content::REFERENCES,
    digest::{Hash, Hashed},
    tree::{Blob, Kind, Node, Tree, Value},
};
use crate::version_check::inspect::{
    Algorithm, FaultKind, Report, Signature, Signed, ecdsa::to_der, facts::text_of,
};

/// Properties that no configuration's signature covers.
const UNSIGNED: [&str; 4] = ["data", "data-size", "data-position", "data-offset"];
/// How much of the tree is walked for all signatures together, in bytes: each takes a walk over all of it,
/// and an attacker could have thousands. Enough for 600 signatures in a tree of 100 kB.
const MOST_WALKED: usize = 64 * 1024 * 1024;

/// A signature node that has a value.
#[derive(Debug, Clone)]
pub(super) struct Made {
    algorithm: Option<Algorithm>,
    bytes: Vec<u8>,
    key: Option<String>,
    /// For people.
    text: String,
}

/// The signatures of a FIT.
#[derive(Default)]
pub(super) struct Signing {
    /// Of each configuration; `None` = cannot be verified here.
    configurations: Vec<Vec<Option<Signature>>>,
}

impl Made {
    /// Reads a signature node; `None` if it was never signed.
    pub fn read(node: &Node) -> Option<Self> {
        let value = node.bytes("value").filter(|value| !value.is_empty())?;
        let name = node.text("algo").unwrap_or_default();
        let padding = node.text("padding").unwrap_or("pkcs-1.5");
        let key = node.text("key-name-hint").map(|name| text_of(name.as_bytes()));
        let (hash, scheme) = name.split_once(',').unwrap_or((name, ""));
        let rsa = scheme.starts_with("rsa");
        // Not "pss": mkimage makes the salt as long as the key allows, U-Boot wants it so, and verifiers of
        // RSASSA-PSS elsewhere want it as long as the digest.
        let algorithm = match (hash, scheme, padding) {
            ("sha256", _, "pkcs-1.5") if rsa => Some(Algorithm::RsaPkcs1Sha256),
            ("sha384", _, "pkcs-1.5") if rsa => Some(Algorithm::RsaPkcs1Sha384),
            ("sha512", _, "pkcs-1.5") if rsa => Some(Algorithm::RsaPkcs1Sha512),
            ("sha256", "ecdsa256", _) => Some(Algorithm::EcdsaP256Sha256),
            ("sha384", "ecdsa384", _) => Some(Algorithm::EcdsaP384Sha384),
            _ => None,
        };
        // FITs hold the two numbers of an ECDSA signature one after the other.
        let ecdsa = |size: usize| {
            let (r, s) = value.split_at_checked(size).filter(|(_, s)| s.len() == size)?;
            Some(to_der(r, s))
        };
        let bytes = match algorithm {
            Some(Algorithm::EcdsaP256Sha256) => ecdsa(32),
            Some(Algorithm::EcdsaP384Sha384) => ecdsa(48),
            _ => Some(value.to_vec()),
        };
        // A value of the wrong size is stated, and nothing can verify it.
        let algorithm = algorithm.filter(|_| bytes.is_some());
        let padding = if rsa { format!(" ({padding})") } else { String::new() };
        let text = format!("{name}{padding} by key {}", key.as_deref().unwrap_or("without a name"));
        Some(Self { algorithm, bytes: bytes.unwrap_or_default(), key, text })
    }

    /// Which digest it signs.
    pub fn hash(&self) -> Option<Hash> {
        match self.algorithm? {
            Algorithm::RsaPkcs1Sha256 | Algorithm::EcdsaP256Sha256 => Some(Hash::Sha256),
            Algorithm::RsaPkcs1Sha384 | Algorithm::EcdsaP384Sha384 => Some(Hash::Sha384),
            Algorithm::RsaPkcs1Sha512 => Some(Hash::Sha512),
            _ => None,
        }
    }

    /// As the signature of data with those digests; `None` if it cannot be verified.
    pub fn over_data(self, hashed: &Hashed) -> Option<Signature> {
        let digest = hashed.get(&self.hash()?)?;
        self.over(digest)
    }

    fn over(self, digest: &[u8]) -> Option<Signature> {
        let signed = match self.hash()? {
            Hash::Sha256 => Signed::Sha256(digest.try_into().ok()?),
            Hash::Sha384 => Signed::Sha384(digest.try_into().ok()?),
            Hash::Sha512 => Signed::Sha512(digest.try_into().ok()?),
            Hash::Crc32 | Hash::Md5 | Hash::Sha1 => return None,
        };
        let Self { algorithm, bytes, key, .. } = self;
        Some(Signature { key_id: key, ..Signature::new(algorithm?, signed, bytes) })
    }
}

impl Signing {
    /// Reads the signatures over configurations, and states those of images too.
    pub fn read(blob: &Blob, tree: &Tree, report: &mut Report) -> Self {
        let mut signing = Self::default();
        let mut walked = 0;
        for parent in ["images", "configurations"] {
            for node in tree.within(parent) {
                let mut signatures = Vec::new();
                for child in tree.children(node).filter(|child| child.name.starts_with("signature")) {
                    let Some(made) = Made::read(child) else { continue };
                    let path = tree.path(child);
                    report.facts.detail(&format!("signature {path}"), &made.text);
                    if let Some(key) = &made.key
                        && !report.facts.key_ids.contains(key)
                        && report.facts.key_ids.len() < 100
                    {
                        report.facts.key_ids.push(key.clone());
                    }
                    if parent == "images" {
                        continue;
                    }
                    walked += blob.tokens.bytes.len() + blob.strings.len();
                    if walked > MOST_WALKED {
                        report.fault(
                            FaultKind::Malformed,
                            "the FIT has more signatures than the inspection can compute the digests of"
                                .to_owned(),
                        );
                        return Self::default();
                    }
                    let signature = over_tree(blob, tree, node, child, made);
                    if let Err(reason) = &signature {
                        report.facts.detail(&format!("signature {path} cannot be verified"), reason);
                    }
                    signatures.push(signature.ok());
                }
                if parent == "configurations" {
                    signing.configurations.push(signatures);
                }
            }
        }
        signing
    }

    /// States whether all of it is signed, and if so and if of each configuration or image one can be verified,
    /// the signatures, each configuration's or image's in a group. `images`: those of each image; `None` = cannot
    /// be verified here.
    pub fn state(self, images: Vec<Vec<Option<Signature>>>, report: &mut Report) {
        let mut some = false;
        for parts in [self.configurations, images] {
            some |= !parts.iter().all(Vec::is_empty);
            if parts.is_empty() || parts.iter().any(Vec::is_empty) {
                continue;
            }
            report.facts.signed = true;
            if parts.iter().all(|part| part.iter().any(Option::is_some)) {
                report.signatures = (0..)
                    .zip(parts)
                    .flat_map(|(group, part)| {
                        part.into_iter().flatten().map(move |signature| Signature { group, ..signature })
                    })
                    .collect();
            }
            return;
        }
        if some {
            report.facts.detail("signed", "only in part: neither every configuration nor every image");
        }
    }
}

/// The signature of a configuration with the digest of what it signs, or why there is none.
fn over_tree(blob: &Blob, tree: &Tree, node: &Node, child: &Node, made: Made) -> Result<Signature, String> {
    let hash = made.hash().ok_or("its algorithm is none that is verified here")?;
    let listed: BTreeSet<usize> =
        child.texts("hashed-nodes").filter_map(|path| tree.at(path)).map(|node| node.number).collect();
    covers(tree, node, &listed)?;
    let strings = match child.bytes("hashed-strings") {
        None => &[][..],
        Some(bytes) => {
            let size = bytes.get(4..8).and_then(|size| size.try_into().ok()).map(u32::from_be_bytes);
            let size = size.and_then(|size| usize::try_from(size).ok());
            size.and_then(|size| blob.strings.get(..size))
                .ok_or("its hashed-strings do not fit the strings block")?
        }
    };
    let digest = match hash {
        Hash::Sha256 => digest_of::<Sha256>(blob, &listed, strings),
        Hash::Sha384 => digest_of::<Sha384>(blob, &listed, strings),
        Hash::Sha512 => digest_of::<Sha512>(blob, &listed, strings),
        Hash::Crc32 | Hash::Md5 | Hash::Sha1 => None,
    };
    let digest = digest.ok_or("it covers a property that is too large to be kept")?;
    made.over(&digest).ok_or_else(|| "its algorithm is none that is verified here".to_owned())
}

/// Whether a signature over these nodes is one of that configuration with its images.
fn covers(tree: &Tree, node: &Node, listed: &BTreeSet<usize>) -> Result<(), String> {
    let demand = |node: &Node| match listed.contains(&node.number) {
        true => Ok(()),
        false => Err(format!("it does not cover {}", tree.path(node))),
    };
    demand(tree.root().ok_or("there is no root")?)?;
    demand(node)?;
    let names: BTreeSet<&str> = REFERENCES.iter().flat_map(|label| node.texts(label)).collect();
    for image in tree.within("images").filter(|image| names.contains(image.name)) {
        demand(image)?;
        let mut bound = false;
        for child in tree.children(image).filter(|child| child.name.starts_with("hash")) {
            demand(child)?;
            bound |= child.text("algo").and_then(Hash::named).is_some_and(|hash| hash >= Hash::Sha1);
        }
        if !bound {
            return Err(format!("{} has no hash that binds its data", tree.path(image)));
        }
    }
    Ok(())
}

/// The digest of what a signature over these nodes covers; `None` if that was not kept.
fn digest_of<D: Digest>(blob: &Blob, listed: &BTreeSet<usize>, strings: &[u8]) -> Option<Vec<u8>> {
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Within {
        Nothing,
        /// A child of a listed node: only its beginning and end.
        Child,
        Listed,
    }
    let mut hasher = D::new();
    let mut open = Vec::new();
    let mut within = Within::Nothing;
    let mut number = 0;
    for token in blob.walk() {
        let token = token.ok()?;
        let signed = match token.kind {
            Kind::Begin(_) => {
                open.push(within);
                within = match within {
                    _ if listed.contains(&number) => Within::Listed,
                    Within::Listed => Within::Child,
                    Within::Child | Within::Nothing => Within::Nothing,
                };
                number += 1;
                within > Within::Nothing
            }
            Kind::End => {
                let ends = within;
                within = open.pop()?;
                ends > Within::Nothing
            }
            Kind::Property(name, value) => {
                let signed = within == Within::Listed && !UNSIGNED.contains(&name);
                if signed && matches!(value, Value::Large(_)) {
                    return None;
                }
                signed
            }
            Kind::Nothing => within == Within::Listed,
            Kind::Finish => true,
        };
        if signed {
            hasher.update(token.bytes);
        }
    }
    hasher.update(strings);
    Some(hasher.finalize().to_vec())
}
