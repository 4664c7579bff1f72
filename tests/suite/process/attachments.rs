//! What a release says of itself, from outside: documents, security, notes, the product's end of support.

use http::{Method, Request, header};
use serde_json::{Value, json};

use crate::harness::{
    Answer, Backend, Publisher, Server,
    client::{digest, send, whole},
    content, eventually, on_both, product_name,
};

on_both!(documents_are_kept_as_they_were, security_notes_and_support_are_shown);

const CYCLONEDX: &str = r#"{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,
  "components":[{"type":"library","name":"mbedtls","version":"3.6.2"}]}"#;
const SPDX: &str = r#"{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"x","dataLicense":"CC0-1.0",
  "documentNamespace":"https://example.com/x","creationInfo":{"created":"2026-01-02T03:04:05Z","creators":["Tool: x"]},
  "packages":[{"name":"mbedtls","SPDXID":"SPDXRef-1","downloadLocation":"NOASSERTION"}]}"#;

async fn put(publisher: &Publisher, path: &str, body: &str) -> Answer {
    let request = Request::put(format!("{}{path}", publisher.base))
        .header(header::AUTHORIZATION, format!("Bearer {}", publisher.token));
    send(request.body(whole(body.to_owned())).expect("valid")).await.expect("an answer")
}

async fn released(server: &Server) -> (Publisher, String, String) {
    let (publisher, product) = (server.publisher(), product_name());
    publisher.create(&product).await;
    publisher.upload(&product, "1.0.0").channel("stable").send(content(1000, 820)).await.expect(201);
    let path = format!("/v1/products/{product}/releases/1.0.0");
    (publisher, product, path)
}

async fn documents_are_kept_as_they_were(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, path) = released(&server).await;
    let sbom = format!("{path}/attachments/sbom.json");
    let attached = put(&publisher, &sbom, CYCLONEDX).await.expect(201).json();
    assert_eq!((&attached["kind"], &attached["specification"]), (&"cyclonedx".into(), &"1.6".into()));
    put(&publisher, &sbom, CYCLONEDX).await.expect(200);
    let told = put(&publisher, &sbom, SPDX).await.problem(409);
    assert!(told.kind.ends_with("attachment-differs"), "{told:?}");
    let got = publisher.get(&sbom).await.expect(200);
    assert_eq!(
        (got.body.as_ref(), got.header("content-type")),
        (CYCLONEDX.as_bytes(), "application/vnd.cyclonedx+json")
    );
    assert_eq!(got.header("repr-digest"), digest(CYCLONEDX.as_bytes()));
    let replaced = put(&publisher, &format!("{sbom}?replace=true"), SPDX).await.expect(200).json();
    assert_eq!(replaced["kind"], "spdx");

    for (body, code) in [
        ("", "sbom-unknown"),
        ("{}", "sbom-unknown"),
        (&CYCLONEDX.replace("1.6", "9.9"), "sbom-version"),
        (&CYCLONEDX.replace("\"name\"", "\"nome\""), "sbom-incomplete"),
        (&SPDX.replace("CC0-1.0", "MIT"), "sbom-incomplete"),
    ] {
        let refused = put(&publisher, &format!("{path}/attachments/x.json"), body).await;
        assert_eq!(refused.reasons(422), [code], "{body}");
    }
    let large = " ".repeat(16 * 1024 * 1024 + 1);
    put(&publisher, &format!("{path}/attachments/x.json"), &large).await.problem(413);
    put(&publisher, &format!("{path}/attachments/.x"), SPDX).await.problem(400);
    put(&publisher, &format!("/v1/products/{product}/releases/9.0.0/attachments/x"), SPDX).await.problem(404);
    publisher.with_token("nobody-nobody-nobody").get(&sbom).await.problem(401);
    publisher.get(&format!("{path}/attachments/none.json")).await.problem(404);
    // No device can get it.
    let link = server.device().offer(&product, "0.1.0").await.expect("an offer").url;
    assert!(!link.contains("sbom"));
    server.device().get(&format!("/{product}/1.0.0/sbom.json")).await.problem(404);

    // The command line, in its own words.
    let file = server.home().path().join("more.cdx.json");
    std::fs::write(&file, CYCLONEDX).expect("writable");
    let of = ["--product", &product, "--version", "1.0.0"];
    let run = async |arguments: &[&str]| server.command(&[&["release"], arguments, &of].concat()).await;
    let said = run(&["attach", "more.cdx.json"]).await.expect(0).stdout;
    assert!(said.starts_with("attached more.cdx.json: cyclonedx 1.6"), "{said}");
    let shown = run(&["show"]).await.expect(0).stdout;
    assert!(shown.contains("more.cdx.json") && shown.contains("spdx 2.3"), "{shown}");
    assert_eq!(run(&["attachment", "more.cdx.json"]).await.expect(0).stdout, CYCLONEDX);
    run(&["attachment", "more.cdx.json", "--output", "copy.json"]).await.expect(0);
    assert_eq!(std::fs::read_to_string(server.home().path().join("copy.json")).expect("there"), CYCLONEDX);
    run(&["detach", "more.cdx.json"]).await.expect(0);
    run(&["detach", "more.cdx.json"]).await.expect(1);
    publisher.request(Method::DELETE, &sbom, None).await.expect(204);
    assert_eq!(publisher.get(&path).await.expect(200).json()["attachments"], json!([]));
    let log = publisher.get(&format!("/v1/products/{product}/audit")).await.expect(200).json();
    let actions: Vec<&str> = log["entries"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry["action"].as_str().expect("text"))
        .collect();
    let expected = ["release.detach", "release.detach", "release.attach", "release.attach", "release.attach"];
    assert_eq!(actions[..5], expected);
    server.command(&["audit", "verify"]).await.expect(0);
}

async fn security_notes_and_support_are_shown(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, path) = released(&server).await;
    let security = format!("{path}/security");
    let body = r#"{"severity":"high","cves":["CVE-2026-1234"]}"#;
    let release = put(&publisher, &security, body).await.expect(200).json();
    assert_eq!(release["security"], json!({"severity": "high", "cves": ["CVE-2026-1234"]}));
    for wrong in [
        "{}",
        r#"{"severity":"bad"}"#,
        r#"{"severity":"high","cves":["CVE-2026-12"]}"#,
        r#"{"severity":"high","cve":[]}"#,
        "[]",
    ] {
        put(&publisher, &security, wrong).await.problem(400);
    }
    let revision =
        async || publisher.get(&format!("/v1/products/{product}")).await.json()["revision"].clone();
    let before = revision().await;
    put(&publisher, &security, body).await.expect(200);
    assert_eq!(revision().await, before, "the same again is no change");
    let cleared = publisher.request(Method::DELETE, &security, None).await.expect(200).json();
    assert_eq!(cleared["security"], Value::Null);

    put(&publisher, &format!("{path}/notes"), r##"{"notes":"# Fixed\n- the clock"}"##).await.expect(200);
    let device = server.device();
    eventually("the notes reach devices", async || {
        (device.offer(&product, "0.1.0").await?.notes? == "# Fixed\n- the clock").then_some(())
    })
    .await;
    let long = format!(r#"{{"notes":"{}"}}"#, "x".repeat(8001));
    put(&publisher, &format!("{path}/notes"), &long).await.problem(400);
    let of = ["--product", &product, "--version", "1.0.0"];
    let run = async |arguments: &[&str]| server.command(&[&["release"], arguments, &of].concat()).await;
    run(&["security", "--severity", "critical", "--cve", "CVE-2026-1234", "--cve", "CVE-2026-0001"])
        .await
        .expect(0);
    let shown = run(&["notes", "--text", "short"]).await.expect(0).stdout;
    assert!(
        shown.contains("critical, CVE-2026-0001, CVE-2026-1234") && shown.ends_with("short\n"),
        "{shown}"
    );
    assert!(run(&["notes", "--clear"]).await.expect(0).stdout.contains("no documents"));

    let ended = server
        .command(&["product", "create", &product, "--replace", "--support-end", "2031-12-31"])
        .await
        .expect(0);
    assert!(ended.stdout.contains("supported until 2031-12-31"), "{}", ended.stdout);
    let list = publisher.get(&format!("/v1/products/{product}/releases")).await.expect(200).json();
    assert_eq!(list["support_end"], "2031-12-31");
    let body = r#"{"support_end":"2031-13-01"}"#;
    put(&publisher, &format!("/v1/products/{product}"), body).await.problem(400);
}
