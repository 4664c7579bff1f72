//! Short links: stable, a redirect to what is signed anew, and good for what resumes by the URL that it was given.

use std::{path::Path, process::Stdio};

use bytes::Bytes;
use http::Method;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
};
use tokio_util::sync::CancellationToken;

use crate::harness::{Backend, Edge, Publisher, Server, client::fetch, content, eventually, product_name};

/// How much of the image the first connection carries, with its header, in bytes.
const CARRIED: usize = 2_500_000;
const TOKEN_KEY: &str = "00112233445566778899aabbccddeeff";

async fn create(publisher: &Publisher, product: &str, delivery: &str) {
    let settings = format!(r#"{{"delivery":{delivery}}}"#);
    publisher.request(Method::PUT, &format!("/v1/products/{product}"), Some(&settings)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_link_leads_to_its_image_until_that_is_recalled() {
    let server = Server::start(&Backend::Embedded).await;
    let (publisher, device) = (server.publisher(), server.device());
    create(&publisher, "thermo-x", r#"{"link":"short"}"#).await;
    let image = content(300_000, 980);
    let stored = publisher.upload("thermo-x", "1.0.0").channel("stable").send(image.clone()).await;
    let offer = eventually("the offer", async || device.offer("thermo-x", "0.1.0").await).await;
    let direct = offer.direct_url.expect("beside it");
    assert_eq!(stored.expect(201).json()["url"], offer.url.as_str());
    let path = offer.url.strip_prefix(&device.base).expect("on this listener");
    assert!(path.starts_with("/d/") && path.len() == 14, "{path}");

    for method in [Method::GET, Method::HEAD] {
        let answer = device.request(method, path, &[]).await.expect(302);
        assert_eq!(
            (answer.header("location"), answer.header("cache-control")),
            (direct.as_str(), "no-store")
        );
        assert!(answer.body.is_empty());
    }
    assert_eq!(fetch(Method::GET, &direct, &[]).await.expect(200).body, image);

    // What is offered later leaves it alone, and so does the setting; a recall does not.
    publisher.upload("thermo-x", "1.1.0").channel("stable").send(content(1000, 981)).await.expect(201);
    eventually("the later one", async || {
        device.offer("thermo-x", "0.1.0").await.filter(|offer| offer.version == "1.1.0")
    })
    .await;
    device.get(path).await.expect(302);
    for _ in 0..2 {
        let settings = Some(r#"{"delivery":{"link":"direct"}}"#);
        let set = publisher.request(Method::PUT, "/v1/products/thermo-x", settings).await.expect(200).json();
        assert_eq!(set["delivery"]["had_short_links"], true, "{set}");
    }
    eventually("direct links", async || {
        device.offer("thermo-x", "0.1.0").await.filter(|offer| offer.direct_url.is_none())
    })
    .await;
    assert_eq!(device.get(path).await.expect(302).header("location"), direct);
    publisher.recall("thermo-x", "1.0.0").await.expect(200);
    eventually("the recall", async || (device.get(path).await.status == 410).then_some(())).await;
    assert!(!device.get(path).await.header("retry-after").is_empty());
    assert_eq!(device.get(path).await.problem(410).kind, "urn:firmament:problem:image-gone");
    for other in ["/d/00000000000", "/d/x", &format!("{}0", &path[..13])] {
        device.get(other).await.problem(404);
    }
    // With the device's credential, a link that lost its seal is enough.
    create(&publisher, "closed", r#"{"access":"private","link":"short"}"#).await;
    publisher.upload("closed", "1.0.0").channel("stable").send(image.clone()).await.expect(201);
    let offer = eventually("the offer", async || device.offer("closed", "0.1.0").await).await;
    assert!(offer.url_expires_at.is_some() && offer.direct_url_expires_at.is_some());
    let path = offer.url.strip_prefix(&device.base).expect("on this listener");
    let (bare, _) = path.split_once("?c=").expect("a seal");
    let location = device.get(path).await.expect(302).header("location").to_owned();
    assert_eq!(fetch(Method::GET, &location, &[]).await.expect(200).body, image);
    device.get(bare).await.problem(401);
    device.get(&format!("{bare}?c=AAAAAAAAAAAAAAAAAAAA")).await.problem(403);
    let made = server.command(&["device", "credential", "--product", "closed", "--device", "a b"]).await;
    let bearer = format!("Bearer {}", made.expect(0).stdout.trim());
    let headers = [("authorization", bearer.as_str())];
    device.request(Method::GET, &format!("{bare}?device=a%20b"), &headers).await.expect(302);
    device.request(Method::GET, &format!("{bare}?device=b"), &headers).await.problem(401);
}

/// A way to the edge that breaks off: of the first connection it carries `carried` bytes of the answer, and then nothing,
/// until it is told to let go. Later ones it carries whole.
async fn breaking_way(target: String, carried: usize, let_go: CancellationToken) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        for turn in 0.. {
            let Ok((client, _)) = listener.accept().await else { return };
            let (target, let_go) = (target.clone(), let_go.clone());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(&target).await.expect("the edge listens");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.split();
                let questions = tokio::io::copy(&mut from_client, &mut to_server);
                let answers = async {
                    if turn > 0 {
                        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                        return;
                    }
                    let mut first = (&mut from_server).take(carried as u64);
                    let _ = tokio::io::copy(&mut first, &mut to_client).await;
                    let _ = to_client.flush().await;
                    let_go.cancelled().await;
                };
                tokio::select! { _ = questions => {}, () = answers => {} }
            });
        }
    });
    port
}

/// A signed update of SWUpdate's format, and the certificate that it is signed by.
async fn signed_update(folder: &Path, payload: &Bytes) -> Bytes {
    let digest = hex::encode(Sha256::digest(payload));
    let description = format!(
        "software = {{ version = \"1.0.0\"; hardware-compatibility: [\"1.0\"]; images: ( {{ filename = \"rootfs.bin\"; \
         device = \"{}\"; type = \"raw\"; sha256 = \"{digest}\"; }} ); }};",
        folder.join("slot").display()
    );
    std::fs::write(folder.join("sw-description"), description).expect("writable");
    std::fs::write(folder.join("rootfs.bin"), payload).expect("writable");
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=t -keyout key.pem -out cert.pem \
                  -addext extendedKeyUsage=emailProtection -addext keyUsage=digitalSignature && \
                  openssl cms -sign -in sw-description -out sw-description.sig -signer cert.pem -inkey key.pem \
                  -outform DER -nosmimecap -binary && \
                  printf 'sw-description\\nsw-description.sig\\nrootfs.bin\\n' | cpio -o -H crc > update.swu";
    let made = Command::new("sh").args(["-ec", script]).current_dir(folder).output().await.expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::read(folder.join("update.swu")).expect("made").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn swupdate_resumes_through_a_short_link_after_the_first_token_has_ended() {
    let backend = Backend::production().await;
    let edge = Edge::before(backend.stores()).set("TOKEN_KEY", TOKEN_KEY).start().await;
    let let_go = CancellationToken::new();
    let authority = edge.url().strip_prefix("http://").expect("plain").to_owned();
    let way = breaking_way(authority.clone(), CARRIED, let_go.clone()).await;
    let server = Server::builder(&backend)
        .set("CDN__BASE_URL", &format!("http://127.0.0.1:{way}"))
        .set("CDN__TOKEN__KIND", "akamai")
        .set("CDN__TOKEN__KEY", TOKEN_KEY)
        .set("CDN__TOKEN__LIFETIME", "8s")
        .start()
        .await;
    let (product, publisher) = (product_name(), server.publisher());
    create(&publisher, &product, r#"{"access":"private","link":"short"}"#).await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let update = signed_update(folder.path(), &content(6_000_000, 982)).await;
    publisher.upload(&product, "1.0.0").filename("a.swu").channel("stable").send(update).await.expect(201);
    let offer = eventually("the offer", async || server.device().offer(&product, "0.1.0").await).await;
    assert!(offer.url.starts_with(&server.device().base), "{}", offer.url);
    let first = fetch(Method::GET, &offer.url, &[]).await.expect(302).header("location").to_owned();

    let arguments = format!("-u {} -r 5 -t 60", offer.url);
    let mut swupdate = Command::new("swupdate");
    swupdate
        .args(["-n", "-H", "board:1.0", "-l", "5", "-k", "cert.pem", "-d", &arguments])
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let running = swupdate.spawn().expect("swupdate is there; tests/run installs it");
    let loading = tokio::spawn(running.wait_with_output());
    eventually("the first token's end", async || {
        // Asked at the edge itself, as the way is for swupdate.
        let at_edge = first.replace(&format!("127.0.0.1:{way}"), &authority);
        let answer = fetch(Method::GET, &at_edge, &[("range", "bytes=0-0")]).await;
        (answer.status == 403).then_some(())
    })
    .await;
    let_go.cancel();
    let ended = tokio::time::timeout(crate::harness::PATIENCE, loading).await.expect("it ends");
    let output = ended.expect("no panic").expect("it ran");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("SWUPDATE successful"), "{said}");
    // The rest came by a range that begins where the first connection broke off, and not by those that were asked above.
    let resumed = eventually("the rest in the edge's log", async || {
        let text = std::fs::read_to_string(edge.access_log()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines
            .filter(|line| line["reqPath"].to_string().contains("/a.swu") && line["statusCode"] == "206")
            .filter_map(|line| {
                let (first, _) = line["range"].as_str()?.strip_prefix("bytes=")?.split_once('-')?;
                first.parse::<usize>().ok()
            })
            .find(|first| *first > 0)
    })
    .await;
    assert!((1_000_000..=CARRIED).contains(&resumed) && offer.size > 6_000_000, "{resumed}");
}
