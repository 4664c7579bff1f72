//! The first run: nothing is prepared, and the commands that the server prints do what they say.

use std::os::unix::fs::PermissionsExt as _;

use http::Method;

use crate::harness::{Backend, Server, client::fetch, content, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_work_and_a_restart_keeps_everything() {
    let server = Server::start(&Backend::Embedded).await;
    for line in [
        "Firmament is running.",
        " product create thermo-x",
        " publish build/app.bin --product thermo-x --version 1.4.0 --channel stable",
        " check --product thermo-x --version 1.3.0",
    ] {
        server.logged(line).await;
    }
    let token = std::fs::metadata(server.data_dir().join("publisher.token")).expect("made");
    assert_eq!(token.permissions().mode() & 0o777, 0o600);
    let image = content(3_000_000, 5);
    let file = server.home().path().join("app.bin");
    std::fs::write(&file, &image).expect("writable");

    let publish =
        ["publish", "app.bin", "--product", "thermo-x", "--version", "1.4.0", "--channel", "stable"];
    let check = ["check", "--product", "thermo-x", "--version", "1.3.0"];
    server.command(&publish).await.expect(1);
    assert!(server.command(&publish).await.stderr.contains("product create thermo-x"));
    server.command(&check).await.expect(1);
    server.command(&["product", "create", "thermo-x"]).await.expect(0);
    let stored = server.command(&[&publish[..], &["--json"]].concat()).await.expect(0);
    assert!(stored.stderr.starts_with("uploaded"), "{}", stored.stderr);
    assert_eq!(stored.json()["version"], "1.4.0");
    assert!(server.command(&publish).await.expect(0).stdout.contains("stored already"));
    let offer = eventually("the offer", async || {
        let outcome = server.command(&[&check[..], &["--json"]].concat()).await;
        (outcome.code == Some(0)).then(|| outcome.json())
    })
    .await;
    assert_eq!(offer["update"], true);
    let url = offer["url"].as_str().expect("a link");
    assert_eq!(fetch(Method::GET, url, &[]).await.expect(200).body, image);
    let newest = ["check", "--product", "thermo-x", "--version", "1.4.0"];
    assert!(server.command(&newest).await.expect(3).stdout.contains("nothing newer"));
    let releases = server.command(&["releases", "--product", "thermo-x"]).await.expect(0);
    assert!(releases.stdout.contains("1.4.0") && releases.stdout.contains("stable"), "{}", releases.stdout);
    let promote = ["promote", "--product", "thermo-x", "--version", "1.4.0", "--channel", "beta", "--json"];
    assert_eq!(server.command(&promote).await.expect(0).json()["offers"][0]["version"], "1.4.0");
    let recall = ["recall", "--product", "thermo-x", "--version", "1.4.0", "--reason", "it bricks"];
    server.command(&[&recall[..], &["--json"]].concat()).await.expect(0);
    eventually("recalled", async || (server.command(&check).await.code == Some(3)).then_some(())).await;
    assert!(server.command(&promote).await.expect(1).stdout.contains("version-recalled"));

    // Refusals and mistakes are 1; a server that is not there is 2.
    let absent = ["--server", "http://127.0.0.1:1", "--retries", "0"];
    server.command(&[&publish[..], &absent].concat()).await.expect(2);
    server.command(&["product", "create", "Thermo X"]).await.expect(1);
    let wrong = server.command(&["product", "list", "--token", "a-wrong-token-0123456789", "--json"]).await;
    assert_eq!(wrong.expect(1).json()["status"], 401);

    let home = server.home().clone();
    server.terminate().await;
    let again = Server::builder(&Backend::Embedded).at_home_of(&home).start().await;
    let releases = again.command(&["releases", "--product", "thermo-x", "--json"]).await.expect(0).json();
    assert_eq!(releases["releases"][0]["state"], "recalled");
    let audit = again.command(&["audit", "--product", "thermo-x", "--json"]).await.expect(0).json();
    let actions: Vec<_> = audit["entries"].as_array().expect("a list").iter().map(|e| &e["action"]).collect();
    assert_eq!(actions, ["release.recall", "channel.promote", "image.publish", "product.create"]);

    let second = Server::builder(&Backend::Embedded).at_home_of(&home).run_to_end().await.expect(2);
    assert!(second.stderr.contains("another server is using"), "{}", second.stderr);
    again.command(&["health"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_device_listener_serves_images_as_rfc_9110_has_it() {
    let server = Server::start(&Backend::Embedded).await;
    let (publisher, device) = (server.publisher(), server.device());
    publisher.create("p").await;
    let image = content(300_000, 6);
    publisher.upload("p", "1.0.0").channel("stable").send(image.clone()).await.expect(201);
    let offer = eventually("the offer", async || device.offer("p", "0.9.0").await).await;
    let get = async |headers: &[(&str, &str)]| fetch(Method::GET, &offer.url, headers).await;

    let whole = get(&[]).await.expect(200);
    assert_eq!(whole.body, image);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    assert!(whole.header("content-disposition").contains("app.bin"));
    assert!(whole.header("cache-control").contains("immutable"), "{}", whole.header("cache-control"));
    let etag = whole.header("etag").to_owned();
    let head = fetch(Method::HEAD, &offer.url, &[]).await.expect(200);
    assert!(head.body.is_empty() && head.header("content-length") == "300000");
    assert_eq!(head.header("etag"), etag);

    let part = get(&[("range", "bytes=100-199")]).await.expect(206);
    assert_eq!(part.body, image[100..200]);
    assert_eq!(part.header("content-range"), "bytes 100-199/300000");
    assert_eq!(get(&[("range", "bytes=-5")]).await.expect(206).body, image[299_995..]);
    assert_eq!(get(&[("range", "bytes=299999-")]).await.expect(206).body, image[299_999..]);
    let beyond = get(&[("range", "bytes=300000-")]).await.expect(416);
    assert_eq!(beyond.header("content-range"), "bytes */300000");

    assert!(get(&[("if-none-match", &etag)]).await.expect(304).body.is_empty());
    get(&[("if-none-match", "\"other\"")]).await.expect(200);
    get(&[("range", "bytes=0-9"), ("if-range", &etag)]).await.expect(206);
    assert_eq!(get(&[("range", "bytes=0-9"), ("if-range", "\"other\"")]).await.expect(200).body, image);
    device.get("/v1/download/p/1.0.0/other.bin").await.problem(404);
    // A recall takes the offer back, not the bytes: a device in the middle of a download comes to its end.
    publisher.recall("p", "1.0.0").await.expect(200);
    eventually("recalled", async || device.offer("p", "0.9.0").await.is_none().then_some(())).await;
    get(&[]).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_named_and_made_anew() {
    let server = Server::start(&Backend::Embedded).await;
    let publisher = server.publisher();
    publisher.create("p").await;
    publisher.upload("p", "1.0.0").channel("stable").send(content(1000, 7)).await.expect(201);
    eventually("the offer", async || server.device().offer("p", "0.1.0").await).await;
    let (home, kept) = (server.home().clone(), server.data_dir().join("snapshot"));
    server.terminate().await;
    let whole = std::fs::read(&kept).expect("written at the end");
    assert!(String::from_utf8_lossy(&whole).contains("p/1.0.0/"), "{} bytes", whole.len());
    std::fs::write(&kept, &whole[..whole.len() - 10]).expect("writable");
    let again = Server::builder(&Backend::Embedded).at_home_of(&home).start().await;
    again.logged("is not usable").await;
    again.device().offer("p", "0.1.0").await.expect("from the catalogue");
    eventually("a whole snapshot", async || (std::fs::read(&kept).ok()? == whole).then_some(())).await;
}
