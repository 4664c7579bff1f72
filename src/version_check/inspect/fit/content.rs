//! What a device tree says, stated as facts; and what its images say of their data.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat};

use super::{
    digest::{Hash, Hashed},
    external::Externals,
    signature::{Made, Signing},
    tree::{Blob, Node, Tree},
};
use crate::version_check::inspect::{
    Facts, FaultKind, NameKind, Payload, Report, Signature,
    facts::{text_of, version_in},
};

/// Where a version may be stated.
const VERSIONS: [&str; 3] = ["version", "firmware-version", "image-version"];
/// The properties of a configuration that name images.
pub(super) const REFERENCES: [&str; 8] =
    ["kernel", "firmware", "fdt", "ramdisk", "loadables", "fpga", "script", "setup"];

/// What a device tree says.
pub(super) struct Content {
    /// All but what depends on the images' data.
    pub report: Report,
    pub images: Vec<Image>,
    signing: Signing,
}

/// A node in `/images`.
pub(super) struct Image {
    pub name: String,
    pub data: Data,
    hashes: Vec<HashNode>,
    signatures: Vec<Made>,
}

/// Where the data of an image is.
pub(super) enum Data {
    None,
    Embedded {
        length: u64,
        hashed: Hashed,
    },
    /// Behind the tree; counted from the beginning of the file if absolute, from the end of the tree if not.
    External {
        absolute: bool,
        offset: u64,
        length: u64,
    },
}

struct HashNode {
    path: String,
    algorithm: String,
    value: Vec<u8>,
}

impl Content {
    /// Reads what has passed; `fault`: what is wrong with its structure.
    pub fn read(blob: &Blob, fault: Option<String>) -> Self {
        let (tree, unnamed) = Tree::read(blob);
        let fault = fault.or(unnamed);
        let broken = fault.is_some();
        let fit = tree.child("images").is_some();
        let mut report =
            Report { facts: Facts::of(if fit || broken { "fit" } else { "dtb" }), ..Report::default() };
        if let Some(fault) = fault {
            report.fault(FaultKind::Malformed, fault);
        }
        state_root(&tree, &mut report.facts);
        let mut content = Self { report, images: Vec::new(), signing: Signing::default() };
        if fit {
            content.state_version(&tree);
            content.read_images(&tree);
            content.state_configurations(&tree);
            content.signing = Signing::read(blob, &tree, &mut content.report);
            // A tree that breaks off would be blamed for all that it refers to.
            if !broken {
                content.check(&tree);
            }
        }
        content
    }

    fn state_version(&mut self, tree: &Tree) {
        let facts = &mut self.report.facts;
        let places = [tree.root(), default_configuration(tree)];
        let stated =
            places.into_iter().flatten().find_map(|node| VERSIONS.iter().find_map(|name| node.text(name)));
        if let Some(version) = stated {
            facts.set_version(version);
        } else if let Some((version, _)) =
            tree.root().and_then(|root| root.text("description")).and_then(version_in)
        {
            facts.set_version(version);
        }
    }

    fn read_images(&mut self, tree: &Tree) {
        for node in tree.within("images") {
            let image = Image::read(tree, node, &mut self.report);
            let facts = &mut self.report.facts;
            if let Some(architecture) = node.text("arch") {
                facts.name(NameKind::Chip, architecture);
            }
            let mut words: Vec<String> =
                node.text("description").map(|text| format!("{text:?}")).into_iter().collect();
            for label in ["type", "arch", "os", "compression"] {
                words.extend(node.text(label).map(|text| format!("{label} {text}")));
            }
            for label in ["load", "entry"] {
                words.extend(node.bytes(label).map(|cells| format!("{label} 0x{}", hex::encode(cells))));
            }
            for hash in &image.hashes {
                if Hash::named(&hash.algorithm).is_none() {
                    words.push(format!("{} not checked", hash.algorithm));
                }
            }
            facts.detail(&format!("image {}", text_of(node.name.as_bytes())), words.join(", "));
            self.images.push(image);
        }
    }

    fn state_configurations(&mut self, tree: &Tree) {
        let facts = &mut self.report.facts;
        let default = tree.child("configurations").and_then(|node| node.text("default"));
        facts.detail("default configuration", default.unwrap_or_default());
        for node in tree.within("configurations") {
            let mut words: Vec<String> =
                node.text("description").map(|text| format!("{text:?}")).into_iter().collect();
            for label in REFERENCES {
                let images: Vec<&str> = node.texts(label).collect();
                if !images.is_empty() {
                    words.push(format!("{label} {}", images.join(" ")));
                }
            }
            for compatible in node.texts("compatible") {
                facts.name(NameKind::Compatible, compatible);
                words.push(format!("compatible {compatible}"));
            }
            let counter = node.number("rollback-index").or_else(|| {
                // A text of three characters has the size of a number.
                node.number("version").filter(|_| node.text("version").is_none())
            });
            if let Some(counter) = counter {
                words.push(format!("rollback index {counter}"));
                facts.security_counter =
                    Some(facts.security_counter.map_or(counter, |lowest| lowest.min(counter)));
            }
            facts.detail(&format!("configuration {}", text_of(node.name.as_bytes())), words.join(", "));
        }
    }

    /// What the tree says that cannot be.
    fn check(&mut self, tree: &Tree) {
        let report = &mut self.report;
        let mut malformed = |message: String| report.fault(FaultKind::Malformed, message);
        if tree.root().and_then(|root| root.get("description")).is_none() {
            malformed(
                "the FIT has no description: U-Boot refuses it; add one to the root of its source".to_owned(),
            );
        }
        if self.images.is_empty() {
            malformed("the FIT has no image in /images, so there is nothing to install".to_owned());
        }
        for image in self.images.iter().filter(|image| matches!(image.data, Data::None)) {
            malformed(format!("image {} of the FIT has no data", image.name));
        }
        let names: BTreeSet<&str> = self.images.iter().map(|image| image.name.as_str()).collect();
        for node in tree.within("configurations") {
            for label in REFERENCES {
                for image in node.texts(label).filter(|image| !names.contains(image)) {
                    malformed(format!(
                        "{} names the {label} {image:?}, and /images has none",
                        tree.path(node)
                    ));
                }
            }
        }
        let default = tree.child("configurations").and_then(|node| node.text("default"));
        if let Some(default) = default
            && !tree.within("configurations").any(|node| node.name == default)
        {
            malformed(format!("the default configuration {default:?} of the FIT does not exist"));
        }
    }

    /// The report, once the data has passed.
    pub fn finish(self, externals: &Externals) -> Report {
        let Self { mut report, images, signing } = self;
        let mut signed: Vec<Vec<Option<Signature>>> = Vec::new();
        for image in images {
            let (length, hashed) = match &image.data {
                Data::None => (0, None),
                Data::Embedded { length, hashed } => (*length, Some(hashed)),
                Data::External { length, .. } => (*length, externals.get(&image.name)),
            };
            let digest = hashed.and_then(|hashed| verify(&image.hashes, hashed, &mut report));
            signed.push(image.signatures.into_iter().map(|made| made.over_data(hashed?)).collect());
            report.facts.payload(Payload { name: image.name, size: length, digest });
        }
        signing.state(signed, &mut report);
        report
    }
}

/// Compares an image's data with its hash nodes: the strongest digest that is right.
fn verify(hashes: &[HashNode], hashed: &Hashed, report: &mut Report) -> Option<String> {
    let mut strongest = None;
    for HashNode { path, algorithm, value } in hashes {
        let Some(hash) = Hash::named(algorithm) else { continue };
        let Some(real) = hashed.get(&hash) else { continue };
        if real == value {
            strongest = strongest.max(Some((hash, hex::encode(value))));
            continue;
        }
        report.fault(
            FaultKind::DigestWrong,
            format!(
                "{path} states {algorithm} {}, and the image's data has {}: the file was damaged, or its \
                 data was replaced without mkimage; build it again",
                hex::encode(value),
                hex::encode(real)
            ),
        );
    }
    strongest.map(|(hash, value)| format!("{}:{value}", hash.name()))
}

impl Image {
    fn read(tree: &Tree, node: &Node, report: &mut Report) -> Self {
        let mut hashes = Vec::new();
        let mut signatures = Vec::new();
        for child in tree.children(node) {
            if child.name.starts_with("hash") {
                match (child.text("algo"), child.bytes("value")) {
                    (Some(algorithm), Some(value)) => hashes.push(HashNode {
                        path: tree.path(child),
                        algorithm: algorithm.to_owned(),
                        value: value.to_vec(),
                    }),
                    _ => report.fault(
                        FaultKind::Malformed,
                        format!(
                            "{} has no algo or no value: make the file with mkimage again",
                            tree.path(child)
                        ),
                    ),
                }
            } else if child.name.starts_with("signature") {
                signatures.extend(Made::read(child));
            }
        }
        let mut wanted: BTreeSet<Hash> =
            hashes.iter().filter_map(|hash| Hash::named(&hash.algorithm)).collect();
        wanted.extend(signatures.iter().filter_map(Made::hash));
        let external = |name: &str| Some((node.number(name)?, node.number("data-size")?));
        let data = if let Some((offset, length)) = external("data-position") {
            Data::External { absolute: true, offset, length }
        } else if let Some((offset, length)) = external("data-offset") {
            Data::External { absolute: false, offset, length }
        } else if let Some(value) = node.get("data") {
            Data::Embedded { length: value.length(), hashed: value.hashed(&wanted) }
        } else {
            Data::None
        };
        Self { name: node.name.to_owned(), data, hashes, signatures }
    }

    /// The digests of its data that are needed.
    pub fn wanted(&self) -> BTreeSet<Hash> {
        let stated = self.hashes.iter().filter_map(|hash| Hash::named(&hash.algorithm));
        stated.chain(self.signatures.iter().filter_map(Made::hash)).collect()
    }
}

/// The default configuration, or the only one.
fn default_configuration<'t, 'a>(tree: &'t Tree<'a>) -> Option<&'t Node<'a>> {
    let default = tree.child("configurations").and_then(|node| node.text("default"));
    let mut all = tree.within("configurations");
    match default {
        Some(default) => all.find(|node| node.name == default),
        None => all.next().filter(|_| all.next().is_none()),
    }
}

fn state_root(tree: &Tree, facts: &mut Facts) {
    let Some(root) = tree.root() else { return };
    facts.detail("description", root.text("description").unwrap_or_default());
    for compatible in root.texts("compatible") {
        facts.name(NameKind::Compatible, compatible);
    }
    if let Some(model) = root.text("model") {
        facts.name(NameKind::Hardware, model);
    }
    let time =
        root.number("timestamp").and_then(|time| DateTime::from_timestamp(i64::try_from(time).ok()?, 0));
    facts.built_at = time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
}
