use serde_json::{Value, json};

use super::*;

fn cyclonedx() -> Value {
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
        "metadata": {"component": {"type": "firmware", "name": "thermo-x", "version": "1.4.0"}},
        "components": [
            {"type": "library", "name": "mbedtls", "version": "3.6.2", "purl": "pkg:github/Mbed-TLS/mbedtls@3.6.2"},
            {"type": "operating-system", "name": "zephyr", "components": [{"type": "library", "name": "tinycrypt"}]},
        ],
    })
}

fn spdx() -> Value {
    json!({
        "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "thermo-x 1.4.0", "dataLicense": "CC0-1.0",
        "documentNamespace": "https://example.com/sbom/thermo-x-1.4.0",
        "creationInfo": {"created": "2026-01-02T03:04:05Z", "creators": ["Tool: west", "Organization: Example ()"]},
        "packages": [{"name": "mbedtls", "SPDXID": "SPDXRef-mbedtls", "downloadLocation": "NOASSERTION"}],
    })
}

fn spdx_3() -> Value {
    json!({
        "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
        "@graph": [
            {"type": "CreationInfo", "@id": "_:c", "specVersion": "3.0.1", "created": "2026-01-02T03:04:05Z",
             "createdBy": ["https://example.com/who"]},
            {"type": "SpdxDocument", "spdxId": "https://example.com/doc", "creationInfo": "_:c"},
            {"type": "software_Package", "spdxId": "https://example.com/p", "name": "mbedtls", "creationInfo": "_:c"},
        ],
    })
}

fn verdict(document: &Value) -> Result<(AttachmentKind, String), Vec<String>> {
    match judge(document.to_string().as_bytes()) {
        Ok(sbom) => Ok((sbom.kind, sbom.specification)),
        Err(reasons) => {
            Err(reasons.into_iter().map(|reason| format!("{}: {}", reason.code, reason.message)).collect())
        }
    }
}

#[track_caller]
fn refused(document: &Value, code: &str, words: &str) {
    let reasons = verdict(document).expect_err("is refused");
    let found = reasons.iter().any(|reason| reason.starts_with(code) && reason.contains(words));
    assert!(found, "{code} {words}: {reasons:?}");
}

/// A document with one place changed; `null` removes it.
fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = document.pointer_mut(parent).expect("is there").as_object_mut().expect("an object");
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.to_owned(), value);
    }
    document
}

#[test]
fn whole_documents_are_recognised() {
    assert_eq!(verdict(&cyclonedx()), Ok((AttachmentKind::CycloneDx, "1.6".into())));
    assert_eq!(verdict(&spdx()), Ok((AttachmentKind::Spdx, "2.3".into())));
    assert_eq!(verdict(&spdx_3()), Ok((AttachmentKind::Spdx, "3.0.1".into())));
    let without = with(with(cyclonedx(), "/version", json!(null)), "/serialNumber", json!(null));
    assert!(verdict(&without).is_ok());
    assert!(verdict(&with(cyclonedx(), "/components", json!(null))).is_ok(), "the firmware itself is named");
    let contexts = json!([{"x": "y"}, "https://spdx.org/rdf/3.0.0/spdx-context.jsonld"]);
    assert!(verdict(&with(spdx_3(), "/@context", contexts)).is_ok());
}

#[test]
fn what_a_cyclonedx_document_lacks_is_said() {
    let incomplete = |pointer: &str, value: Value, words: &str| {
        refused(&with(cyclonedx(), pointer, value), INCOMPLETE, words)
    };
    incomplete("/bomFormat", json!("cyclonedx"), "bomFormat");
    incomplete("/specVersion", json!(null), "specVersion");
    incomplete("/version", json!(0), "version");
    incomplete("/version", json!("1"), "version");
    incomplete("/serialNumber", json!("3e671687-395b-41f5-a30f-a58921a69b79"), "urn:uuid");
    incomplete("/components", json!({}), "components");
    incomplete("/components/0/name", json!(" "), "components[0] lacks \"name\"");
    incomplete("/components/1/type", json!(null), "components[1] lacks \"type\"");
    incomplete("/components/1/type", json!("thing"), "\"thing\"");
    incomplete("/components/1/components/0/name", json!(7), "components[1].components[0]");
    incomplete("/metadata/component", json!([]), "metadata.component");
    for version in ["1.1", "1.8", "2.0"] {
        refused(&with(cyclonedx(), "/specVersion", json!(version)), VERSION, version);
    }
    let old = with(cyclonedx(), "/specVersion", json!("1.3"));
    refused(&old, INCOMPLETE, "components[1] lacks \"version\"");
    let nothing = with(with(cyclonedx(), "/components", json!([])), "/metadata", json!(null));
    refused(&nothing, EMPTY, "component");
}

#[test]
fn what_an_spdx_document_lacks_is_said() {
    let incomplete =
        |pointer: &str, value: Value, words: &str| refused(&with(spdx(), pointer, value), INCOMPLETE, words);
    for name in ["SPDXID", "name", "dataLicense", "documentNamespace", "creationInfo"] {
        incomplete(&format!("/{name}"), json!(null), name);
    }
    incomplete("/dataLicense", json!("MIT"), "CC0-1.0");
    incomplete("/creationInfo/created", json!("yesterday"), "created");
    incomplete("/creationInfo/creators", json!([]), "creators");
    incomplete("/creationInfo/creators", json!(["me"]), "creators");
    for name in ["name", "SPDXID", "downloadLocation"] {
        incomplete(&format!("/packages/0/{name}"), json!(null), name);
    }
    incomplete("/packages/0/SPDXID", json!("mbedtls"), "SPDXRef-");
    refused(&with(spdx(), "/packages", json!([])), EMPTY, "package");
    refused(&with(spdx(), "/spdxVersion", json!("SPDX-2.1")), VERSION, "SPDX-2.1");
    let incomplete = |pointer: &str, value: Value, words: &str| {
        refused(&with(spdx_3(), pointer, value), INCOMPLETE, words)
    };
    incomplete("/@graph", json!(null), "@graph");
    incomplete("/@graph/0/type", json!("x"), "CreationInfo");
    incomplete("/@graph/0/createdBy", json!([]), "createdBy");
    incomplete("/@graph/1/type", json!("x"), "SpdxDocument");
    incomplete("/@graph/2/name", json!(null), "name");
    refused(&with(spdx_3(), "/@graph/2/type", json!("software_File")), EMPTY, "software_Package");
    refused(&with(spdx_3(), "/@graph/0/specVersion", json!("3.1.0")), VERSION, "3.1.0");
}

#[test]
fn anything_else_is_unknown() {
    for (content, words) in [
        (&b""[..], "no JSON"),
        (b"SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0\n", "tag-value"),
        (b"<bom xmlns=\"http://cyclonedx.org/schema/bom/1.6\"/>", "XML"),
        (b"[]", "no object"),
        (b"{}", "neither"),
        (b"{\"@context\": \"https://schema.org\"}", "neither"),
        (b"\x7fELF", "no JSON"),
    ] {
        let reasons = judge(content).expect_err("is refused");
        assert_eq!(reasons[0].code, UNKNOWN);
        assert!(reasons[0].message.contains(words), "{:?}", reasons[0]);
    }
    let deep = format!("{{\"bomFormat\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(judge(deep.as_bytes()).expect_err("is refused")[0].code, UNKNOWN);
}

#[test]
fn hostile_documents_end_in_few_reasons() {
    let mut nested = json!({"type": "library", "name": "x"});
    for _ in 0..50 {
        nested = json!({"type": "library", "name": "x", "components": [nested]});
    }
    refused(&with(cyclonedx(), "/components", json!([nested])), INCOMPLETE, "too deeply");
    let many = with(cyclonedx(), "/components", Value::Array(vec![json!({}); 10_000]));
    assert_eq!(verdict(&many).expect_err("is refused").len(), MOST_REASONS);
    let many = with(spdx(), "/packages", Value::Array(vec![json!(1); 10_000]));
    assert_eq!(verdict(&many).expect_err("is refused").len(), MOST_REASONS);
}
