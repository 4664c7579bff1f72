//! Import: an existing tree, an S3 bucket, a list; dry first, safe to run again, on after a refusal.

use std::path::Path;

use secrecy::ExposeSecret as _;

use crate::harness::{Backend, Server, command::run, content, eventually, on_both, product_name};

on_both!(a_tree_is_taken_in_and_again_changes_nothing, a_list_says_what_paths_do_not);

fn write(base: &Path, path: &str, bytes: &[u8]) {
    let path = base.join(path);
    std::fs::create_dir_all(path.parent().expect("below")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

async fn a_tree_is_taken_in_and_again_changes_nothing(backend: Backend) {
    let server = Server::start(&backend).await;
    let (publisher, product, other) = (server.publisher(), product_name(), product_name());
    publisher.create(&product).await;
    let tree = tempfile::tempdir().expect("a temporary directory");
    let base = tree.path();
    for (seed, path) in
        ["stable/PRODUCT/1.9.0/app.bin", "stable/PRODUCT/1.10.0/app.bin", "beta/OTHER/v2.0.0/b.bin"]
            .iter()
            .enumerate()
    {
        let path = path.replace("PRODUCT", &product).replace("OTHER", &other);
        write(base, &path, &content(3000, 50 + seed as u64));
    }
    // The same bytes as 1.10.0: a forgotten version bump, which is refused.
    write(base, &format!("stable/{product}/1.11.0/app.bin"), &content(3000, 51));
    write(base, "README.txt", b"old store");
    write(base, &format!("stable/{product}/latest/app.bin"), b"x");
    let source = base.to_str().expect("a text");
    let template = "{channel}/{product}/{version}/{filename}";
    let missing = server.command(&["import", source, "--template", template]).await.expect(1);
    assert!(missing.stderr.contains("--create-products"), "{}", missing.stderr);
    let with = ["import", source, "--template", template, "--create-products", "--json"];
    let dry = server.command(&with).await.expect(0).json();
    assert_eq!((&dry["dry_run"], &dry["stored"]), (&true.into(), &4.into()), "{dry}");
    assert_eq!(dry["left_out"].as_array().expect("a list").len(), 2, "{dry}");
    publisher.get(&format!("/v1/products/{other}")).await.expect(404);
    assert_eq!(server.traces(&product).await.images, 0);
    let apply = [&with[..], &["--apply"]].concat();
    let done = server.command(&apply).await.expect(1).json();
    assert_eq!(
        (&done["stored"], &done["refused"], &done["there_already"]),
        (&3.into(), &1.into(), &0.into()),
        "{done}"
    );
    let refused = done["files"].as_array().expect("a list").iter().find(|file| file["outcome"] == "refused");
    assert!(refused.expect("one")["why"].as_str().expect("a text").contains("same-bytes"), "{done}");
    eventually("it is offered", async || {
        let offer = server.device().offer(&product, "1.0.0").await?;
        (offer.version == "1.10.0").then_some(())
    })
    .await;
    let again = server.command(&apply).await.expect(1).json();
    assert_eq!(
        (&again["stored"], &again["refused"], &again["there_already"]),
        (&0.into(), &1.into(), &3.into()),
        "{again}"
    );
    // The dry run tells the same refusal, and what is there.
    let dry = server.command(&with[..5]).await.expect(1);
    assert!(dry.stdout.contains("same-bytes") && dry.stdout.contains("3 there already"), "{}", dry.stdout);
    assert!(dry.stderr.contains("latest") && dry.stdout.contains("nothing was stored"), "{}", dry.stderr);
}

async fn a_list_says_what_paths_do_not(backend: Backend) {
    let server = Server::start(&backend).await;
    let product = product_name();
    server.publisher().create(&product).await;
    let tree = tempfile::tempdir().expect("a temporary directory");
    write(tree.path(), "old/fw 1 (final).bin", &content(2000, 60));
    write(tree.path(), "old/fw2", &content(2000, 61));
    let list = tempfile::tempdir().expect("a temporary directory");
    let path = list.path().join("list.csv");
    let text = format!(
        "path,product,version,filename,hardware,channel,notes\n\
         old/fw 1 (final).bin,{product},1.0.0,fw.bin,rev-a rev-b,stable,\"first, and last\"\n\
         old/fw2,{product},2.0.0,,,,\n"
    );
    std::fs::write(&path, text).expect("written");
    let (source, list) = (tree.path().to_str().expect("a text"), path.to_str().expect("a text"));
    let done = server.command(&["import", source, "--manifest", list, "--apply"]).await.expect(0);
    assert!(done.stdout.contains("2 files stored"), "{}", done.stdout);
    let release =
        server.publisher().get(&format!("/v1/products/{product}/releases/1.0.0")).await.expect(200).json();
    assert_eq!(release["notes"], "first, and last");
    assert_eq!(release["images"][0]["hardware"], serde_json::json!(["rev-a", "rev-b"]));
    assert_eq!(release["images"][0]["filename"], "fw.bin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_s3_bucket_is_taken_in() {
    // The source is another installation's bucket: its keys are as good as any.
    let (from, to) = (Backend::with_own_bucket().await, Backend::production().await);
    let (old, new) = (Server::start(&from).await, Server::start(&to).await);
    let product = product_name();
    old.publisher().create(&product).await;
    for (version, size, seed) in [("1.0.0", 4000, 70), ("1.1.0", 9 << 20, 71)] {
        old.publisher().upload(&product, version).send(content(size, seed)).await.expect(201);
    }
    let s3 = from.stores().s3();
    let environment = [
        ("AWS_ENDPOINT_URL_S3", s3.endpoint.clone()),
        ("AWS_REGION", s3.region.clone()),
        ("AWS_ACCESS_KEY_ID", s3.access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", s3.secret_access_key.expose_secret().to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let source = format!("s3://{}/{product}", s3.name);
    let arguments = [
        "import",
        &source,
        "--template",
        "{version}/{filename}",
        "--product",
        &product,
        "--create-products",
        "--apply",
        "--channel",
        "stable",
    ];
    let done = run(new.home().path(), &arguments, &environment).await.expect(0);
    assert!(done.stdout.contains("2 files stored"), "{}", done.stdout);
    let sha256 = async |server: &Server| {
        let list =
            server.publisher().get(&format!("/v1/products/{product}/releases")).await.expect(200).json();
        [0, 1].map(|release| list["releases"][release]["images"][0]["sha256"].clone())
    };
    assert_eq!(sha256(&new).await, sha256(&old).await);
    eventually("it is offered", async || {
        let offer = new.device().offer(&product, "0.1.0").await?;
        (offer.version == "1.1.0").then_some(())
    })
    .await;
}
