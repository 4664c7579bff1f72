//! AppStream metadata of a firmware: `*.metainfo.xml` in a cabinet.
//!
//! Source: the AppStream specification, sections "Upstream Metadata" and "Firmware"; what fwupd takes of it:
//! `libfwupdplugin/fu-cabinet.c`. A `<component type="firmware">`, or several below `<components>`, with
//! `<id>`, `<name>`, `<developer>`, `<provides><firmware type="flashed">GUID`, `<requires>`,
//! `<releases><release version=…>` with `<checksum target="content" filename=…>` and `<size
//! type="installed">`.
//!
//! Limits: [`LONGEST`], [`MOST_NODES`], [`MOST_ATTRIBUTES`]; no DTD, so no entities but XML's own.

use roxmltree::{Document, Node, ParsingOptions};

use super::super::facts::text_of;
use crate::domain::Version;

/// The longest file that is read; those with release notes in all languages have some ten thousand bytes.
pub(super) const LONGEST: usize = 256 * 1024;
/// The most elements, comments and texts of a file.
const MOST_NODES: u32 = 20_000;
/// The most attributes of a file, counted by what stands before their values: the parser compares all
/// attributes of an element with each other.
const MOST_ATTRIBUTES: usize = 4000;
/// The most components of a file, releases of a component, and so on, that are read.
const MOST: usize = 100;
/// What fwupd takes if a release names no file.
const DEFAULT_FILE: &str = "firmware.bin";

/// What is used of a firmware component.
#[derive(Debug, Default)]
pub(super) struct Component {
    pub id: String,
    pub name: String,
    pub developer: String,
    pub summary: String,
    pub guids: Vec<String>,
    /// `(what, value)` of what it needs: other firmware, fwupd itself, hardware.
    pub requires: Vec<String>,
    /// `LVFS::VersionFormat` and other settings.
    pub settings: Vec<(String, String)>,
    /// In the order of the file, which should be newest first.
    pub releases: Vec<Release>,
}

/// A release of a component.
#[derive(Debug, Default)]
pub(super) struct Release {
    pub version: String,
    pub date: String,
    pub urgency: String,
    /// The file in the cabinet.
    pub file: String,
    /// Of that file, in lower-case hex.
    pub checksums: Vec<String>,
    /// Of that file, as it is written.
    pub size: Option<String>,
}

impl Component {
    /// The newest release: the one of the highest SemVer if all have one, else the first.
    pub fn newest(&self) -> Option<&Release> {
        let versions: Option<Vec<Version>> =
            self.releases.iter().map(|release| self.semver(release)).collect();
        // Of equals the first.
        let highest = versions.and_then(|versions| {
            let numbered = versions.into_iter().enumerate();
            numbered.rev().max_by(|(_, one), (_, other)| one.cmp(other)).map(|(index, _)| index)
        });
        self.releases.get(highest.unwrap_or(0))
    }

    /// The version of a release as SemVer: as it is written, or a number of 32 bits if `LVFS::VersionFormat`
    /// is `triplet` (8, 8 and 16 bits). `1.2.3.4` and other forms have none.
    pub fn semver(&self, release: &Release) -> Option<Version> {
        let text = release.version.as_str();
        let triplet =
            self.settings.iter().any(|(key, value)| key == "LVFS::VersionFormat" && value == "triplet");
        let number = match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => text.parse::<u32>().ok(),
        };
        match number {
            Some(number) if triplet => {
                let text = format!("{}.{}.{}", number >> 24, number >> 16 & 0xff, number & 0xffff);
                Version::parse(&text).ok()
            }
            _ => Version::parse_reported(text).ok(),
        }
    }
}

/// The firmware components of a file.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Component>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no UTF-8".to_owned())?;
    if bytes.iter().filter(|byte| **byte == b'=').count() > MOST_ATTRIBUTES {
        return Err(format!("it has more than {MOST_ATTRIBUTES} attributes, and no more are read"));
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text.trim_start_matches('\u{feff}'), options)
        .map_err(|error| format!("it is no right XML: {error}"))?;
    let root = document.root_element();
    let components: Vec<Node> = match root.tag_name().name() {
        "component" => vec![root],
        "components" => children(root, "component").collect(),
        other => {
            return Err(format!("it begins with <{}>, not with <component>", text_of(other.as_bytes())));
        }
    };
    let firmware = components.into_iter().filter(|component| component.attribute("type") == Some("firmware"));
    Ok(firmware.take(MOST).map(component).collect())
}

fn component(node: Node) -> Component {
    let mut component = Component {
        id: child_text(node, "id"),
        name: child_text(node, "name"),
        summary: child_text(node, "summary"),
        // AppStream 1.0 has <developer><name>, the older form is <developer_name>.
        developer: children(node, "developer")
            .next()
            .map(|developer| child_text(developer, "name"))
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| child_text(node, "developer_name")),
        ..Component::default()
    };
    for provides in children(node, "provides") {
        let guids = children(provides, "firmware").map(|guid| content(guid).to_lowercase());
        component.guids.extend(guids.take(MOST));
    }
    for requires in children(node, "requires") {
        for need in requires.children().filter(Node::is_element).take(MOST) {
            let attribute = |name| need.attribute(name).unwrap_or_default();
            let text = format!(
                "{} {} {} {}",
                need.tag_name().name(),
                content(need),
                attribute("compare"),
                attribute("version")
            );
            component.requires.push(text_of(text.trim_end().as_bytes()));
        }
    }
    for custom in children(node, "custom") {
        for value in children(custom, "value").take(MOST) {
            let key = text_of(value.attribute("key").unwrap_or_default().as_bytes());
            component.settings.push((key, content(value)));
        }
    }
    for releases in children(node, "releases") {
        component.releases.extend(children(releases, "release").take(MOST).map(release));
    }
    component.releases.truncate(MOST);
    component
}

fn release(node: Node) -> Release {
    let attribute = |name| text_of(node.attribute(name).unwrap_or_default().as_bytes());
    let date = Some(attribute("date")).filter(|date| !date.is_empty());
    let mut release = Release {
        version: attribute("version"),
        date: date.unwrap_or_else(|| attribute("timestamp")),
        urgency: attribute("urgency"),
        ..Release::default()
    };
    // As fwupd takes it: the source artifact if there is one, else the checksums of the content.
    let source = children(node, "artifacts")
        .flat_map(|artifacts| children(artifacts, "artifact"))
        .find(|artifact| artifact.attribute("type") == Some("source"));
    let (file, checksums): (_, Vec<Node>) = match source {
        Some(source) => (Some(child_text(source, "filename")), children(source, "checksum").collect()),
        None => {
            let checksums: Vec<Node> = children(node, "checksum")
                .filter(|checksum| checksum.attribute("target") == Some("content"))
                .collect();
            let named = checksums.iter().find_map(|checksum| checksum.attribute("filename"));
            (named.map(|name| text_of(name.as_bytes())), checksums)
        }
    };
    let file = file.filter(|file| !file.is_empty()).unwrap_or_else(|| DEFAULT_FILE.to_owned());
    release.file = file.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let checksums = checksums.into_iter().map(|checksum| content(checksum).to_lowercase());
    release.checksums = checksums.filter(|checksum| !checksum.is_empty()).take(MOST).collect();
    release.size =
        children(node, "size").find(|size| size.attribute("type") == Some("installed")).map(content);
    release
}

fn children<'a, 'input>(node: Node<'a, 'input>, name: &'a str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The text of the first child of that name, which is the one without a language.
fn child_text(node: Node, name: &str) -> String {
    children(node, name).next().map(content).unwrap_or_default()
}

fn content(node: Node) -> String {
    text_of(node.text().unwrap_or_default().trim().as_bytes())
}
