//! The audit log of a whole server: exported, verified, tampered with, cut.

use http::{Request, header};

use crate::harness::{
    Backend, Server,
    client::{send, whole},
    content, on_both, product_name,
};

on_both!(the_log_of_a_server_is_exported_and_verified);

async fn the_log_of_a_server_is_exported_and_verified(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product) = (server.publisher(), product_name());
    let empty = server.command(&["audit", "verify"]).await.expect(0);
    assert!(empty.stdout.starts_with("the audit log is intact: 0 entries"), "{}", empty.stdout);
    publisher.create(&product).await;
    for (minor, version) in ["1.0.0", "1.1.0"].into_iter().enumerate() {
        let upload = publisher.upload(&product, version).channel("stable");
        upload.send(content(1000, 800 + minor as u64)).await.expect(201);
    }
    let back = r#"{"version":"1.0.0","allow_downgrade":true,"reason":"boot loop"}"#;
    let path = format!("/v1/products/{product}/channels/stable");
    publisher.request(http::Method::PUT, &path, Some(back)).await.expect(200);
    // A refusal is no change; it is in the server's own log.
    publisher.upload(&product, "0.9.0").channel("stable").send(content(10, 9)).await.reasons(422);
    let line = server.logged("refused").await;
    assert!(line.contains("version-not-newer") && line.contains("\"actor\":\"publisher\""), "{line}");
    publisher.recall(&product, "1.1.0").await.expect(200);

    let list = publisher.get(&format!("/v1/products/{product}/audit")).await.expect(200).json();
    let [recall, downgrade, ..] = list["entries"].as_array().expect("a list").as_slice() else {
        panic!("{list}")
    };
    assert!(recall["remote"].as_str().expect("the peer").starts_with("127.0.0.1:"), "{recall}");
    assert_eq!(recall["action"], "release.recall");
    assert_eq!(downgrade["verdict"], serde_json::json!(["version-not-newer"]));
    assert_eq!(downgrade["before"]["offers"]["stable"]["*"]["version"], "1.1.0");
    assert_eq!(downgrade["after"]["offers"]["stable"]["*"]["version"], "1.0.0");
    let table = server.command(&["audit", "--product", &product]).await.expect(0).stdout;
    assert_eq!(table.lines().count(), 6, "{table}");

    let verified = server.command(&["audit", "verify", "--json"]).await.expect(0).json();
    assert_eq!(verified["entries"], 5);
    let head = |document: &serde_json::Value| {
        format!("{}:{}", document["head"]["revision"], document["head"]["hash"].as_str().expect("a hash"))
    };
    let noted = head(&verified);
    let exported = server.command(&["audit", "export"]).await.expect(0).stdout;
    assert_eq!(exported.lines().count(), 5);
    let request = Request::get(format!("{}/v1/audit", publisher.base))
        .header(header::AUTHORIZATION, format!("Bearer {}", publisher.token))
        .header(header::ACCEPT, "application/x-ndjson");
    let streamed = send(request.body(whole("")).expect("valid")).await.expect("an answer").expect(200);
    assert_eq!(streamed.body, exported.as_bytes());

    publisher.upload(&product, "2.0.0").send(content(1000, 802)).await.expect(201);
    let still = ["audit", "verify", "--json", "--expect-head", &noted];
    assert_eq!(server.command(&still).await.expect(0).json()["entries"], 6);

    // Offline, with the export alone.
    let verify = async |lines: &[&str], expected: Option<&str>| {
        let path = server.home().path().join("log.jsonl");
        std::fs::write(&path, lines.join("\n")).expect("the home can be written");
        let mut arguments = vec!["audit", "verify", "--file", "log.jsonl", "--server", "http://127.0.0.1:1"];
        arguments.extend(expected.into_iter().flat_map(|head| ["--expect-head", head]));
        server.command(&arguments).await
    };
    let lines: Vec<&str> = exported.lines().collect();
    let intact = verify(&lines, Some(&noted)).await.expect(0);
    assert!(intact.stdout.contains(&noted), "{}", intact.stdout);
    let changed = lines[2].replace("1.1.0", "1.1.1");
    let broken = verify(&[lines[0], lines[1], &changed, lines[3], lines[4]], None).await.expect(1);
    assert!(broken.stderr.contains("revision 3 was changed"), "{}", broken.stderr);
    let broken = verify(&[lines[0], lines[1], lines[3], lines[4]], None).await.expect(1);
    assert!(broken.stderr.contains("revision 4 was not written behind revision 2"), "{}", broken.stderr);
    // A cut end is seen only by who has noted the head.
    verify(&lines[..4], None).await.expect(0);
    let cut = verify(&lines[..4], Some(&noted)).await.expect(1);
    assert!(cut.stderr.contains("its end was cut off"), "{}", cut.stderr);
    // A later export goes on behind what was noted.
    let rest = server.command(&["audit", "export", "--after", "5"]).await.expect(0).stdout;
    verify(&[rest.trim()], None).await.expect(1);
    verify(&[rest.trim()], Some(&noted)).await.expect(0);
    verify(&["{}"], None).await.expect(1);
}
