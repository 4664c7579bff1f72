//! What stands before the device listener: load balancers, TLS, and clients that ask too much. Real ones: HAProxy, curl and
//! openssl. Caches are in [`super::edge_cache`].

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::Path,
    process::{Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
};

use crate::harness::{Backend, Raw, Server, client::fetch, content, eventually, product_name};

/// Runs a program to its end.
pub(super) async fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let ran = tokio::time::timeout(Duration::from_secs(30), command.output()).await.expect("ends by itself");
    ran.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"))
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Starts a program that stays in the foreground, and waits until its port answers.
pub async fn start(program: &str, arguments: &[&str], port: u16) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    eventually(program, async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
    child
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

/// A certificate for localhost, made by openssl. Returns the paths of certificate and key.
pub(super) async fn certificate(folder: &Path, name: &str) -> (String, String) {
    let path = |extension: &str| folder.join(format!("{name}.{extension}")).display().to_string();
    let (certificate, key) = (path("crt"), path("key"));
    let made = run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ],
    )
    .await;
    assert!(made.status.success(), "{}", text(&made.stderr));
    (certificate, key)
}

/// A connection with TLS that is kept, by openssl.
struct Kept {
    child: Child,
}

impl Kept {
    async fn open(address: &str) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-connect", address]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("openssl: {error}; tests/run installs it"));
        Self { child }
    }

    /// Asks and reads the header and what there is of the body; nothing if the connection has ended.
    async fn ask(&mut self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(request.as_bytes()).await.expect("openssl reads");
        let (output, mut answer) = (self.child.stdout.as_mut().expect("piped"), Vec::new());
        let whole = async {
            while !answer.ends_with(b"}") {
                match output.read_u8().await {
                    Ok(byte) => answer.push(byte),
                    Err(_) => break,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), whole).await.expect("an answer, or the end");
        text(&answer)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_reloads_its_certificate_and_resumes_on_any_replica() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (certificate_file, key_file) = certificate(folder.path(), "first").await;
    let secret = "ab".repeat(32);
    let replica = || {
        Server::builder(&Backend::Embedded)
            .set("DEVICE__TLS__CERTIFICATE", &certificate_file)
            .set("DEVICE__TLS__KEY", &key_file)
            .set("DEVICE__TLS__TICKET_SECRET", &secret)
            .not_ready()
            .start()
    };
    let (one, other) = tokio::join!(replica(), replica());
    let address = |server: &Server| {
        let base = server.device().base;
        assert!(base.starts_with("https://127.0.0.1:"), "{base}");
        base.replace("https://127.0.0.1", "localhost")
    };
    let livez = format!("https://{}/livez", address(&one));
    for version in ["--tls-max 1.2", "--tlsv1.3"] {
        let mut arguments: Vec<&str> = version.split(' ').collect();
        arguments.extend(["-sS", "--cacert", &certificate_file, &livez]);
        let answer = run("curl", &arguments).await;
        assert!(text(&answer.stdout).contains("\"ok\""), "{version}: {}", text(&answer.stderr));
    }

    // A session of one replica, resumed on the other.
    let session = folder.path().join("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let speak = async |server: &Server, option: &str| {
            let request = "printf 'GET /livez HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n'";
            let command = format!(
                "{{ {request}; sleep 1; }} | openssl s_client -ign_eof {version} {option} {session} -connect {} 2>&1",
                address(server)
            );
            text(&run("sh", &["-c", &command]).await.stdout)
        };
        let first = speak(&one, "-sess_out").await;
        assert!(first.contains("New, ") && first.contains("200 OK"), "{first}");
        let again = speak(&other, "-sess_in").await;
        assert!(again.contains("Reused, ") && again.contains("200 OK"), "{version}: {again}");
    }

    // A new certificate is shown to new connections; the old one is no longer, but who has a connection keeps it.
    let mut kept = Kept::open(&address(&one)).await;
    assert!(kept.ask("/livez").await.contains(" 200 OK"));
    let (changed, changed_key) = certificate(folder.path(), "second").await;
    std::fs::rename(&changed_key, &key_file).expect("renamed");
    std::fs::copy(&changed, &certificate_file).expect("copied");
    eventually("the new certificate", async || {
        let answer = run("curl", &["-sS", "--cacert", &changed, &livez]).await;
        answer.status.success().then_some(())
    })
    .await;
    assert!(kept.ask("/livez").await.contains(" 200 OK"), "the connection from before");
    // One that is damaged changes nothing.
    std::fs::write(&certificate_file, "nothing").expect("written");
    one.logged("first.crt").await;
    assert!(run("curl", &["-sS", "--cacert", &changed, &livez]).await.status.success());
    assert!(kept.ask("/livez").await.contains(" 200 OK"), "the connection from before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_header_is_expected_from_trusted_proxies_and_names_the_client() {
    let proxied = |networks: &'static str| {
        Server::builder(&Backend::Embedded)
            .set("DEVICE__PROXY_PROTOCOL", "true")
            .set("DEVICE__TRUSTED_PROXIES", networks)
            .set("DEVICE__RATE_LIMIT__PER_SECOND", "0.01")
            .set("DEVICE__RATE_LIMIT__BURST", "2")
            .not_ready()
            .start()
    };
    let (trusting, strict) = tokio::join!(proxied("127.0.0.0/8"), proxied("10.0.0.0/8"));
    let say = async |server: &Server, header: &str, path: &str| {
        let mut raw = Raw::connect(&server.device().base).await;
        raw.send(format!("{header}GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
            .await;
        raw.rest().await
    };
    let version_2 = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    assert!(say(&trusting, version_2, "/livez").await.contains(" 200 OK"), "a LOCAL probe");
    assert_eq!(say(&trusting, "", "/livez").await, "", "no header");
    assert_eq!(say(&strict, "PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n", "/livez").await, "", "not from there");

    let check = "/v1/check?product=a&version=1.0.0";
    for client in ["192.0.2.1", "192.0.2.2"] {
        let header = format!("PROXY TCP4 {client} 127.0.0.1 1000 8080\r\n");
        for _ in 0..2 {
            assert!(say(&trusting, &header, check).await.contains(" 404 "));
        }
        let mut delays = BTreeSet::new();
        for _ in 0..20 {
            let refused = say(&trusting, &header, check).await;
            let delay = refused.lines().find_map(|line| line.strip_prefix("retry-after: "));
            assert!(refused.contains(" 429 ") && delay.is_some(), "{refused}");
            delays.insert(delay.map(str::to_owned));
        }
        assert!(delays.len() > 5, "all behind one address would ask in step: {delays:?}");
        assert!(say(&trusting, &header, "/livez").await.contains(" 200 OK"), "health is always answered");
    }
    let curl = ["-sS", "--haproxy-protocol", &format!("{}/livez", trusting.device().base)];
    assert!(text(&run("curl", &curl).await.stdout).contains("\"ok\""));
}

/// Two replicas behind HAProxy, each restarted in turn, under checks on new connections and on kept ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_behind_haproxy_fails_no_request() {
    restart_behind_haproxy("http", "", false).await;
}

/// The same when HAProxy passes on connections and not requests, and says who the client is in a PROXY header.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_behind_haproxy_in_tcp_mode_fails_no_request() {
    restart_behind_haproxy("tcp", "send-proxy-v2", true).await;
}

async fn restart_behind_haproxy(mode: &str, server_options: &str, proxy_protocol: bool) {
    let backend = Backend::production().await;
    let (ports, port) = ([free_port(), free_port()], free_port());
    let replica = |at: usize| {
        let builder = Server::builder(&backend)
            .set("DEVICE__LISTEN", &format!("127.0.0.1:{}", ports[at]))
            .set("SHUTDOWN__DELAY", "2s");
        if !proxy_protocol {
            return builder;
        }
        builder
            .set("DEVICE__PROXY_PROTOCOL", "true")
            .set("DEVICE__TRUSTED_PROXIES", "127.0.0.0/8")
            .not_ready()
    };
    let (first, second) = tokio::join!(replica(0).start(), replica(1).start());
    let product = product_name();
    let is_ready = async |server: &Server| {
        let url = format!("{}/readyz", server.publisher().base);
        eventually("ready", async || (fetch(Method::GET, &url, &[]).await.status == 200).then_some(())).await;
    };
    is_ready(&first).await;
    is_ready(&second).await;
    first.publisher().create(&product).await;
    let upload = first.publisher().upload(&product, "1.0.0").channel("stable");
    upload.send(content(1000, 900)).await.expect(201);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let config = folder.path().join("haproxy.cfg");
    let text = format!(
        "defaults\n mode {mode}\n timeout connect 2s\n timeout client 60s\n timeout server 30s\n\
         frontend devices\n bind 127.0.0.1:{port}\n default_backend replicas\n\
         backend replicas\n option httpchk GET /readyz\n\
         \x20default-server check inter 200ms fall 2 rise 2 {server_options}\n \
         server a 127.0.0.1:{}\n server b 127.0.0.1:{}\n",
        ports[0], ports[1]
    );
    std::fs::write(&config, text).expect("written");
    let _haproxy = start("haproxy", &["-db", "-f", &config.display().to_string()], port).await;
    let base = format!("http://127.0.0.1:{port}");
    let check = format!("/v1/check?product={product}&version=0.1.0");
    eventually("both replicas", async || {
        for _ in 0..4 {
            let mut raw = Raw::connect(&base).await;
            raw.send(format!("GET {check} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
                .await;
            if !raw.rest().await.starts_with("HTTP/1.1 200 ") {
                return None;
            }
        }
        Some(())
    })
    .await;

    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = Vec::new();
    for client in 0..8 {
        let (base, check, stop, asked) = (base.clone(), check.clone(), Arc::clone(&stop), Arc::clone(&asked));
        load.push(tokio::spawn(async move {
            let keep = client % 2 == 0;
            let mut kept = Raw::connect(&base).await;
            let mut is_over = false;
            while !stop.load(Ordering::Relaxed) {
                if !keep || is_over {
                    kept = Raw::connect(&base).await;
                }
                kept.say(&format!("GET {check} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
                let head = kept.head().await;
                assert!(
                    head.starts_with("HTTP/1.1 200 "),
                    "after {} checks: {head:?}",
                    asked.load(Ordering::Relaxed)
                );
                is_over = head.to_lowercase().contains("\r\nconnection: close\r\n");
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
                kept.next_bytes(length.trim().parse().expect("a number")).await;
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }));
    }
    let mut running = vec![first, second];
    for at in 0..2 {
        let old = running.remove(0);
        let home = old.home().clone();
        old.terminate().await;
        let new = replica(at).at_home_of(&home).start().await;
        is_ready(&new).await;
        running.push(new);
        // The balancer takes it in again before the next one goes.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in load {
        client.await.expect("no check failed");
    }
    assert!(asked.load(Ordering::Relaxed) > 500, "{asked:?}");
}
