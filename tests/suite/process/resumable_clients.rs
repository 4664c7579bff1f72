//! Resumable uploads by clients that are not ours, and by our own command, over a link that drops and through a rolling
//! restart of two replicas.
//!
//! `UPLOAD_TEST_MIB` makes the image larger, `UPLOAD_TEST_DROP_MIB` the drops rarer; README.md has the command
//! for 1 GiB.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Method;
use tempfile::TempDir;

use crate::harness::{
    Backend, Publisher, Server,
    client::fetch,
    command::{BINARY, command},
    content, eventually,
    link::Link,
    product_name,
    stores::Traces,
};

const MIB: usize = 1024 * 1024;

fn from_environment(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn size() -> usize {
    from_environment("UPLOAD_TEST_MIB", 48) * MIB
}

fn drops_after() -> usize {
    from_environment("UPLOAD_TEST_DROP_MIB", 3) * MIB
}

/// Two replicas behind a bad link, and a file to get through.
struct Setting {
    backend: Backend,
    replicas: Vec<Server>,
    publisher: Publisher,
    link: Link,
    product: String,
    image: Bytes,
    directory: TempDir,
}

impl Setting {
    async fn new(seed: u64, drops_after: usize) -> Self {
        let backend = Backend::production().await;
        let token = "one-token-for-all-replicas";
        let start = || Server::builder(&backend).set("PUBLISHER__TOKEN", token).start();
        let (one, other) = tokio::join!(start(), start());
        let link = Link::start(&[&one.publisher().base, &other.publisher().base], drops_after).await;
        let publisher = Publisher { base: link.base(), token: token.to_owned() };
        let product = product_name();
        one.publisher().create(&product).await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let image = content(size(), seed);
        std::fs::write(directory.path().join("app.bin"), &image).expect("writable");
        Self { backend, replicas: vec![one, other], publisher, link, product, image, directory }
    }

    /// Restarts one replica after the other while the client goes on.
    async fn roll(&mut self) {
        for turn in 0..2 {
            eventually("the link has dropped some more", async || {
                (self.link.drops() >= 2 * (turn + 1)).then_some(())
            })
            .await;
            let leaving = self.replicas.remove(0);
            self.link.lead_to(&[&self.replicas[0].publisher().base]);
            let home = Arc::clone(leaving.home());
            leaving.terminate().await;
            let token = self.publisher.token.clone();
            let again = Server::builder(&self.backend).at_home_of(&home).set("PUBLISHER__TOKEN", &token);
            self.replicas.push(again.start().await);
            let bases: Vec<String> = self.replicas.iter().map(|server| server.publisher().base).collect();
            self.link.lead_to(&[&bases[0], &bases[1]]);
        }
    }

    async fn succeeded(mut self, client: Client) {
        self.roll().await;
        client.ended().await;
        self.published().await;
    }

    async fn published(&self) {
        let server = &self.replicas[0];
        let device = server.device();
        let offer = eventually("the offer", async || device.offer(&self.product, "0.1.0").await).await;
        assert_eq!(fetch(Method::GET, &offer.url, &[]).await.expect(200).body, self.image);
        let clean = Traces::just(&[format!("{}/1.0.0/app.bin", self.product)]);
        assert_eq!(server.traces(&self.product).await, clean);
        assert!(self.link.drops() >= size() / drops_after() / 2, "{} drops", self.link.drops());
    }

    /// The arguments that all clients get.
    fn facts(&self) -> Vec<String> {
        let product = format!("product={}", self.product);
        [&product, "version=1.0.0", "filename=app.bin", "channel=stable"].map(str::to_owned).into()
    }
}

/// A client that runs; killed when it is dropped.
struct Client {
    child: Child,
    said: TempDir,
}

impl Client {
    fn start(command: &mut Command) -> Self {
        let said = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str| File::create(said.path().join(name)).expect("writable");
        let command = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        Self { child: command.spawn().expect("it can be run"), said }
    }

    fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.said.path().join(name)).expect("readable")
    }

    /// Waits for its end, which is a good one.
    async fn ended(mut self) -> Self {
        let limit = Duration::from_secs(90 + 2 * (size() / MIB) as u64);
        let began = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            assert!(began.elapsed() < limit, "it does not end:\n{}", self.said("err"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert!(status.success(), "{status}\n{}\n{}", self.said("out"), self.said("err"));
        self
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the clients are; installed at the first use.
async fn installed() -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut install = Command::new(root.join("tests/clients/install"));
    let output = tokio::task::spawn_blocking(move || install.stdin(Stdio::null()).output()).await;
    let output: Output = output.expect("no panic").expect("tests/clients/install can be run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "the clients are not there: {said}");
    root.join(std::env::var("CARGO_TARGET_DIR").unwrap_or("target".into())).join("clients")
}

async fn tuspy(seed: u64, drops_after: usize, chunk: usize) {
    let clients = installed().await;
    let setting = Setting::new(seed, drops_after).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/tuspy.py");
    let client = Client::start(
        Command::new("python3")
            .env("PYTHONPATH", clients.join("python"))
            .arg(script)
            .args([&format!("{}/v1/uploads", setting.publisher.base), &setting.publisher.token])
            .arg(setting.directory.path().join("app.bin"))
            .arg(chunk.to_string())
            .args(setting.facts()),
    );
    setting.succeeded(client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tuspy_gets_through() {
    tuspy(430, drops_after(), 16 * MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tuspy_gets_through_with_checksums() {
    tuspy(431, drops_after(), 2 * MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tus_js_client_gets_through() {
    let clients = installed().await;
    let setting = Setting::new(432, drops_after()).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/tus.cjs");
    let client = Client::start(
        Command::new("node")
            .arg(script)
            .arg(clients.join("node_modules"))
            .args([&format!("{}/v1/uploads", setting.publisher.base), &setting.publisher.token])
            .arg(setting.directory.path().join("app.bin"))
            .args(setting.facts()),
    );
    setting.succeeded(client).await;
}

/// Our own command, with nothing else to be found than what it is told.
fn publish(setting: &Setting) -> Command {
    let mut command = command(setting.directory.path());
    command.args([
        "publish",
        "app.bin",
        "--version",
        "1.0.0",
        "--channel",
        "stable",
        "--resumable-above",
        "0",
    ]);
    command.args(["--product", &setting.product, "--server", &setting.publisher.base]);
    command.env("FIRMAMENT_TOKEN", &setting.publisher.token);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_command_gets_through() {
    assert!(Path::new(BINARY).is_file());
    let setting = Setting::new(433, drops_after()).await;
    let client = Client::start(&mut publish(&setting));
    setting.succeeded(client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_command_goes_on_where_it_was_killed() {
    let setting = Setting::new(434, drops_after()).await;
    let client = Client::start(&mut publish(&setting));
    eventually("it is under way", async || (setting.link.drops() >= 3).then_some(())).await;
    drop(client);
    let metric = "firmament_upload_bytes_total";
    let received = async || {
        setting.replicas[0].publisher().metric(metric).await
            + setting.replicas[1].publisher().metric(metric).await
    };
    let before = received().await;
    let said = Client::start(&mut publish(&setting)).ended().await.said("err");
    assert!(said.contains("going on after"), "{said}");
    // Some of what was on its way when a connection was dropped is sent again, not what was there.
    let again = received().await - before;
    assert!(again < (size() - 2 * drops_after()) as f64 * 1.1, "{again} of {}", size());
    setting.published().await;
    // And once more: it is there.
    let said = Client::start(&mut publish(&setting)).ended().await.said("out");
    assert!(said.contains("is stored already"), "{said}");
}
