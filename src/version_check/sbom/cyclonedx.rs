//! CycloneDX in JSON: <https://cyclonedx.org/specification/overview/>, ECMA-424.

use serde_json::{Map, Value};

use super::{EMPTY, Findings, INCOMPLETE, Sbom, version};
use crate::domain::AttachmentKind;

/// JSON came with 1.2.
const VERSIONS: [&str; 6] = ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7"];

const TYPES: [&str; 13] = [
    "application",
    "framework",
    "library",
    "container",
    "platform",
    "operating-system",
    "device",
    "device-driver",
    "firmware",
    "file",
    "machine-learning-model",
    "data",
    "cryptographic-asset",
];

/// Components may hold components; nobody nests them deeper than this.
const DEEPEST: usize = 32;

pub(super) fn judge(document: &Map<String, Value>, findings: &mut Findings) -> Sbom {
    if document.get("bomFormat").and_then(Value::as_str) != Some("CycloneDX") {
        findings.add(INCOMPLETE, "\"bomFormat\" is not \"CycloneDX\"".to_owned());
    }
    let stated = findings.text("the document", document, "specVersion");
    let specification = version(findings, stated, &VERSIONS);
    // An integer from 1; required up to 1.4, and 1 by default since.
    let number = document.get("version");
    let optional = !matches!(specification.as_str(), "1.2" | "1.3" | "1.4");
    if !number.map_or(optional, |number| number.as_u64().is_some_and(|number| number >= 1)) {
        findings.add(INCOMPLETE, "the document lacks \"version\", a number from 1".to_owned());
    }
    if let Some(serial) = document.get("serialNumber")
        && !serial.as_str().is_some_and(is_serial)
    {
        findings.add(INCOMPLETE, "\"serialNumber\" is not of the form urn:uuid:…".to_owned());
    }
    let described = document.get("metadata").and_then(|metadata| metadata.get("component"));
    let versioned = matches!(specification.as_str(), "1.2" | "1.3");
    if let Some(described) = described {
        component("metadata.component", described, versioned, 0, findings);
    }
    let components = match document.get("components") {
        None => &[][..],
        Some(Value::Array(components)) => components,
        Some(_) => {
            findings.add(INCOMPLETE, "\"components\" is no list".to_owned());
            &[]
        }
    };
    list("components", components, versioned, 0, findings);
    if components.is_empty() && described.is_none() {
        findings.add(EMPTY, "the document names no component: list what is in the firmware".to_owned());
    }
    Sbom { kind: AttachmentKind::CycloneDx, specification }
}

fn list(place: &str, components: &[Value], versioned: bool, depth: usize, findings: &mut Findings) {
    for (at, each) in components.iter().enumerate() {
        if findings.0.len() >= super::MOST_REASONS {
            return;
        }
        component(&format!("{place}[{at}]"), each, versioned, depth, findings);
    }
}

fn component(place: &str, value: &Value, versioned: bool, depth: usize, findings: &mut Findings) {
    let Some(members) = value.as_object() else {
        findings.add(INCOMPLETE, format!("{place} is no object"));
        return;
    };
    if depth > DEEPEST {
        findings.add(INCOMPLETE, format!("{place} is nested too deeply"));
        return;
    }
    findings.text(place, members, "name");
    if let Some(kind) = findings.text(place, members, "type")
        && !TYPES.contains(&kind)
    {
        let kind: String = kind.chars().take(60).collect();
        findings.add(INCOMPLETE, format!("{place} has the type {kind:?}; there are {}", TYPES.join(", ")));
    }
    // May be an empty text, if it is not known.
    if versioned && !members.get("version").is_some_and(Value::is_string) {
        findings.add(INCOMPLETE, format!("{place} lacks \"version\", a text"));
    }
    match members.get("components") {
        None => {}
        Some(Value::Array(inner)) => {
            list(&format!("{place}.components"), inner, versioned, depth + 1, findings);
        }
        Some(_) => findings.add(INCOMPLETE, format!("{place}.components is no list")),
    }
}

fn is_serial(text: &str) -> bool {
    let uuid = text.strip_prefix("urn:uuid:");
    uuid.is_some_and(|uuid| uuid.len() == 36 && uuid::Uuid::try_parse(uuid).is_ok())
}
