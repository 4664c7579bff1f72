//! SPDX in JSON: 2.2 and 2.3 (<https://spdx.github.io/spdx-spec/v2.3/>), and 3.0 in JSON-LD
//! (<https://spdx.github.io/spdx-spec/v3.0.1/serializations/>).

use chrono::DateTime;
use serde_json::{Map, Value};

use super::{EMPTY, Findings, INCOMPLETE, Sbom, version};
use crate::domain::AttachmentKind;

const VERSIONS: [&str; 2] = ["SPDX-2.2", "SPDX-2.3"];
const VERSIONS_OF_3: [&str; 2] = ["3.0.0", "3.0.1"];
const CONTEXT: &str = "https://spdx.org/rdf/3.";
const CREATORS: [&str; 3] = ["Person: ", "Organization: ", "Tool: "];

pub(super) fn judge(document: &Map<String, Value>, findings: &mut Findings) -> Sbom {
    let whole = "the document";
    let stated = findings.text(whole, document, "spdxVersion");
    let specification = version(findings, stated, &VERSIONS);
    findings.text(whole, document, "name");
    let fixed = [("SPDXID", "SPDXRef-DOCUMENT"), ("dataLicense", "CC0-1.0")];
    for (name, expected) in fixed {
        if document.get(name).and_then(Value::as_str) != Some(expected) {
            findings.add(INCOMPLETE, format!("{name:?} is not {expected:?}"));
        }
    }
    if let Some(namespace) = findings.text(whole, document, "documentNamespace")
        && (!namespace.contains(':') || namespace.contains('#'))
    {
        findings.add(INCOMPLETE, "\"documentNamespace\" is no URI without \"#\"".to_owned());
    }
    match document.get("creationInfo").and_then(Value::as_object) {
        None => findings.add(INCOMPLETE, "the document lacks \"creationInfo\", an object".to_owned()),
        Some(creation) => {
            created(creation, findings);
            let creators = creation.get("creators").and_then(Value::as_array);
            let fits = |creator: &Value| {
                creator.as_str().is_some_and(|creator| CREATORS.iter().any(|kind| creator.starts_with(kind)))
            };
            if !creators.is_some_and(|creators| !creators.is_empty() && creators.iter().all(fits)) {
                findings.add(
                    INCOMPLETE,
                    "creationInfo lacks \"creators\", a list of \"Person: …\", \"Organization: …\" or \"Tool: …\"".to_owned(),
                );
            }
        }
    }
    let packages = match document.get("packages") {
        None => &[][..],
        Some(Value::Array(packages)) => packages,
        Some(_) => {
            findings.add(INCOMPLETE, "\"packages\" is no list".to_owned());
            &[]
        }
    };
    findings.each("packages", packages, &["name", "SPDXID", "downloadLocation"]);
    for (at, package) in packages.iter().enumerate() {
        let id = package.get("SPDXID").and_then(Value::as_str);
        if id.is_some_and(|id| !is_reference(id)) {
            findings.add(INCOMPLETE, format!("packages[{at}].SPDXID is not of the form SPDXRef-…"));
        }
    }
    if packages.is_empty() {
        findings.add(EMPTY, "the document names no package: list what is in the firmware".to_owned());
    }
    let specification = specification.trim_start_matches("SPDX-").to_owned();
    Sbom { kind: AttachmentKind::Spdx, specification }
}

/// Whether this is the context of SPDX 3, alone or among others.
pub(super) fn is_context(value: &Value) -> bool {
    match value {
        Value::String(context) => context.starts_with(CONTEXT),
        Value::Array(contexts) => contexts.iter().any(|context| context.is_string() && is_context(context)),
        _ => false,
    }
}

/// SPDX 3: a list of elements, each with its type.
pub(super) fn judge_graph(document: &Map<String, Value>, findings: &mut Findings) -> Sbom {
    let elements: Vec<&Map<String, Value>> = match document.get("@graph").and_then(Value::as_array) {
        Some(graph) => graph.iter().filter_map(Value::as_object).collect(),
        None => {
            findings.add(INCOMPLETE, "the document lacks \"@graph\", a list".to_owned());
            Vec::new()
        }
    };
    let of_type = |name: &'static str| {
        elements.iter().filter(move |element| element.get("type").and_then(Value::as_str) == Some(name))
    };
    let mut specification = String::new();
    match of_type("CreationInfo").next() {
        None => findings.add(INCOMPLETE, "the document has no element of the type CreationInfo".to_owned()),
        Some(creation) => {
            let stated = findings.text("CreationInfo", creation, "specVersion");
            specification = version(findings, stated, &VERSIONS_OF_3);
            created(creation, findings);
            let by = creation.get("createdBy").and_then(Value::as_array);
            if by.is_none_or(Vec::is_empty) {
                findings.add(INCOMPLETE, "CreationInfo lacks \"createdBy\", a list".to_owned());
            }
        }
    }
    if of_type("SpdxDocument").count() != 1 {
        findings.add(INCOMPLETE, "the document has not one element of the type SpdxDocument".to_owned());
    }
    for document in of_type("SpdxDocument") {
        findings.text("SpdxDocument", document, "spdxId");
    }
    let mut packages = 0;
    for package in of_type("software_Package") {
        packages += 1;
        for name in ["spdxId", "name"] {
            findings.text(&format!("software_Package {packages}"), package, name);
        }
    }
    if packages == 0 {
        findings
            .add(EMPTY, "the document names no software_Package: list what is in the firmware".to_owned());
    }
    Sbom { kind: AttachmentKind::Spdx, specification }
}

fn created(creation: &Map<String, Value>, findings: &mut Findings) {
    let time = creation.get("created").and_then(Value::as_str);
    if time.is_none_or(|time| DateTime::parse_from_rfc3339(time).is_err()) {
        findings.add(
            INCOMPLETE,
            "the creation info lacks \"created\", a time such as 2026-01-02T03:04:05Z".to_owned(),
        );
    }
}

fn is_reference(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    id.strip_prefix("SPDXRef-").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(allowed))
}
