//! What the header of a Mender artifact states: `header-info`, and for each payload its `type-info`.
//!
//! Source: `Documentation/artifact-format-v2.md` and `-v3.md`, `artifact/metadata.go` of mender-artifact.
//! JSON: version 2 has `artifact_name`, `device_types_compatible` and `updates`; version 3 has
//! `artifact_provides`, `artifact_depends` and `payloads`. `type-info` of version 3 states what the payload
//! provides, such as `rootfs-image.version`.

use serde_json::{Map, Value};

use super::{
    super::{FaultKind, NameKind, Report, facts::text_of},
    version,
};

/// The longest JSON file of a header that is read. Real ones have a few hundred bytes, some lists of devices
/// a few thousand.
pub(super) const LONGEST_JSON: usize = 256 * 1024;
/// The most payloads: they are numbered with four digits.
const MOST_PAYLOADS: usize = 10_000;
/// The most software versions that are compared with each other.
const MOST_VERSIONS: usize = 1000;

/// What is kept of a header while the artifact passes.
#[derive(Default)]
pub(super) struct Header {
    artifact_name: Option<String>,
    /// In the order of the payloads.
    pub payloads: Vec<Payload>,
    /// `(key, value)` of what payloads provide as a version.
    versions: Vec<(String, String)>,
    /// Whether a file of it has come, and one below `headers/`.
    pub begun: bool,
    pub in_headers: bool,
}

/// What a header says of a payload.
#[derive(Default)]
pub(super) struct Payload {
    /// `None` in an artifact that carries nothing (bootstrap).
    pub kind: Option<String>,
    /// The SHA-256 of the file system image, in hex, if it is stated once more.
    pub checksum: Option<String>,
    type_info: bool,
}

impl Payload {
    /// Whether its file is the image of a file system, written to a partition as it is.
    pub fn is_rootfs_image(&self) -> bool {
        self.kind.as_deref() == Some("rootfs-image")
    }
}

impl Header {
    /// Takes `header-info`.
    pub fn header_info(&mut self, bytes: &[u8], report: &mut Report) {
        let Some(info) = object("header-info", bytes, report) else {
            return;
        };
        let provides = info.get("artifact_provides").and_then(Value::as_object);
        let depends = info.get("artifact_depends").and_then(Value::as_object);
        let name = provides.and_then(|provides| provides.get("artifact_name")).or(info.get("artifact_name"));
        self.artifact_name = name.and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned);
        if self.artifact_name.is_none() {
            report.fault(FaultKind::Malformed, "header-info states no artifact name");
        }
        let facts = &mut report.facts;
        facts.detail("artifact name", self.artifact_name.as_deref().unwrap_or_default());
        facts.detail("artifact group", list(provides.and_then(|provides| provides.get("artifact_group"))));
        let devices = depends.and_then(|depends| depends.get("device_type"));
        for device in strings(devices.or(info.get("device_types_compatible"))) {
            facts.name(NameKind::Compatible, device);
        }
        for (key, value) in depends.into_iter().flatten() {
            if key != "device_type" {
                facts.detail(&label("depends on", key), list(Some(value)));
            }
        }
        let payloads = info.get("payloads").or(info.get("updates")).and_then(Value::as_array);
        let count = payloads.map_or(0, Vec::len);
        for (index, payload) in payloads.into_iter().flatten().take(MOST_PAYLOADS).enumerate() {
            let kind = payload.get("type").and_then(Value::as_str).map(str::to_owned);
            facts.detail(&format!("payload {index:04} type"), kind.as_deref().unwrap_or("none"));
            self.payloads.push(Payload { kind, ..Payload::default() });
        }
        if count == 0 || count > MOST_PAYLOADS {
            report.fault(
                FaultKind::Malformed,
                format!("header-info lists {count} payloads; an artifact has 1 to {MOST_PAYLOADS}"),
            );
        }
    }

    /// Takes the `type-info` of a payload.
    pub fn type_info(&mut self, index: usize, bytes: &[u8], report: &mut Report) {
        let name = format!("headers/{index:04}/type-info");
        let Some(payload) = self.payloads.get_mut(index) else {
            return report.fault(
                FaultKind::Malformed,
                format!("{name} belongs to a payload that header-info does not list"),
            );
        };
        if std::mem::replace(&mut payload.type_info, true) {
            return report.fault(FaultKind::Malformed, format!("{name} is in the header more than once"));
        }
        let Some(info) = object(&name, bytes, report) else {
            return;
        };
        // mender-artifact 3.9 writes an empty type there for a rootfs-image.
        let kind = info.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty());
        if kind.is_some() && kind != payload.kind.as_deref() {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "{name} states type {:?}, and header-info states {:?} for the same payload",
                    text_of(kind.unwrap_or_default().as_bytes()),
                    text_of(payload.kind.as_deref().unwrap_or_default().as_bytes())
                ),
            );
        }
        let provides = info.get("artifact_provides").and_then(Value::as_object);
        for (key, value) in provides.into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            report.facts.detail(&label(&format!("payload {index:04} provides"), key), text);
            if key.ends_with(".version") && !text.is_empty() && self.versions.len() < MOST_VERSIONS {
                self.versions.push((key.clone(), text.to_owned()));
            }
            // The second is the older name; the tool still writes it if asked to.
            if matches!(key.as_str(), "rootfs-image.checksum" | "rootfs_image_checksum") {
                payload.checksum = Some(text.to_ascii_lowercase());
            }
        }
        for (key, value) in info.get("artifact_depends").and_then(Value::as_object).into_iter().flatten() {
            report.facts.detail(&label(&format!("payload {index:04} depends on"), key), list(Some(value)));
        }
        report.facts.detail(
            &format!("payload {index:04} clears provides"),
            list(info.get("clears_artifact_provides")),
        );
    }

    /// The header is complete: states the version.
    pub fn finish(&mut self, report: &mut Report) {
        for (index, payload) in self.payloads.iter().enumerate() {
            if !payload.type_info {
                report.fault(FaultKind::Malformed, format!("headers/{index:04}/type-info is missing"));
            }
        }
        let rootfs = self.versions.iter().find(|(key, _)| key == "rootfs-image.version");
        let one = self
            .versions
            .first()
            .filter(|(_, first)| self.versions.iter().all(|(_, version)| version == first));
        let text = rootfs.or(one).map(|(_, version)| version).or(self.artifact_name.as_ref());
        if let Some(text) = text {
            report.facts.set_version(text);
            report.facts.semver = version::trailing(text);
        }
    }
}

fn label(what: &str, key: &str) -> String {
    format!("{what} {}", text_of(key.as_bytes()))
}

fn object(name: &str, bytes: &[u8], report: &mut Report) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(object) => Some(object),
        Err(error) => {
            report.fault(FaultKind::Malformed, format!("{name} is no JSON object: {error}"));
            None
        }
    }
}

/// A string, or the strings of a list.
fn strings(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.chain(value.filter(|value| value.is_string())).filter_map(Value::as_str)
}

fn list(value: Option<&Value>) -> String {
    strings(value).take(100).collect::<Vec<_>>().join(", ")
}
