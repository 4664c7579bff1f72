//! A CDN edge of one's own (`tests/services/edge`): nginx before a bucket and a device listener, and its Fast Purge API.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::Stores;

/// What the edge is told of its account: what an `.edgerc` file has.
const ACCOUNT: [&str; 3] = ["CLIENT_TOKEN", "CLIENT_SECRET", "ACCESS_TOKEN"];

/// An edge that is being put together.
pub struct Builder {
    settings: Vec<(String, String)>,
}

/// An edge that runs, until it is dropped.
pub struct Edge {
    name: String,
    variables: BTreeMap<String, String>,
}

impl Builder {
    /// A setting of `tests/services/edge`, without its `EDGE_`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((format!("EDGE_{key}"), value.to_owned()));
        self
    }

    /// Starts it, with nothing in its cache.
    pub async fn start(self) -> Edge {
        let name = format!("t-{}", uuid::Uuid::now_v7().simple());
        let edge = name.clone();
        let printed = tokio::task::spawn_blocking(move || {
            script(&["start", &edge], &self.settings);
            script(&["env", &edge], &[])
        });
        let printed = printed.await.expect("no panic");
        // `export FIRMAMENT_TEST_EDGE_NAME=VALUE`, and no value needs quotes.
        let variables = printed.lines().filter_map(|line| {
            let (key, value) = line.strip_prefix("export FIRMAMENT_TEST_EDGE_")?.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        });
        Edge { name, variables: variables.collect() }
    }
}

impl Edge {
    /// An edge before the private bucket of these stores, past every proxy.
    pub fn before(stores: &Stores) -> Builder {
        use secrecy::ExposeSecret as _;
        let s3 = stores.s3();
        Builder { settings: Vec::new() }
            .set("ORIGIN", &format!("{}/{}", s3.endpoint, s3.name))
            .set("ORIGIN_ACCESS_KEY_ID", &s3.access_key_id)
            .set("ORIGIN_SECRET_ACCESS_KEY", s3.secret_access_key.expose_secret())
            .set("ORIGIN_REGION", &s3.region)
    }

    /// Its base URL.
    pub fn url(&self) -> &str {
        &self.variables["URL"]
    }

    /// The base URL of its purge API.
    pub fn purge_url(&self) -> &str {
        &self.variables["PURGE_URL"]
    }

    /// The `.edgerc` of its account; what it says of the host lacks the scheme.
    pub fn edgerc(&self) -> &Path {
        Path::new(&self.variables["EDGERC"])
    }

    /// Client token, client secret and access token.
    pub fn account(&self) -> [&str; 3] {
        ACCOUNT.map(|name| self.variables[name].as_str())
    }

    /// The requests that went to its origins, oldest first.
    pub fn origin_requests(&self) -> Vec<Value> {
        self.read("origin.jsonl")
    }

    /// The purges that it accepted, oldest first.
    pub fn purges(&self) -> Vec<Value> {
        self.read("purge.jsonl")
    }

    /// The requests to its purge API that it refused, oldest first.
    pub fn refusals(&self) -> Vec<Value> {
        self.read("refusal.jsonl")
    }

    /// Takes the right to purge from the account's client, or gives it back.
    pub fn grant(&self, granted: bool) {
        let file = self.file("ungranted");
        if granted { std::fs::remove_file(file) } else { std::fs::write(file, "") }.expect("writable");
    }

    /// Makes its purge API say that the account has used up what it may, and when to come back; `None` = it has not.
    pub fn limit(&self, seconds: Option<u32>) {
        let file = self.file("limited");
        match seconds {
            // In one step: it is read at any time.
            Some(seconds) => std::fs::write(self.file("limited.new"), seconds.to_string())
                .and_then(|()| std::fs::rename(self.file("limited.new"), file)),
            None => std::fs::remove_file(file),
        }
        .expect("writable");
    }

    /// The requests of clients that have ended, in the form of DataStream 2. The last ones come a little later.
    pub fn access_log(&self) -> PathBuf {
        self.file("access.jsonl")
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(&self.variables["DIR"]).join(name)
    }

    fn read(&self, file: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file(file)).expect("it is there");
        text.lines().map(|line| serde_json::from_str(line).expect("one document a line")).collect()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // After a failed test its logs stay, to be looked at.
        let verb = if std::thread::panicking() { "stop" } else { "clean" };
        let ended = command(&[verb, &self.name]).status();
        assert!(std::thread::panicking() || ended.is_ok_and(|status| status.success()), "the edge stops");
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/edge"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the script to its end; it says itself what is missing and how it is installed.
fn script(arguments: &[&str], settings: &[(String, String)]) -> String {
    let mut command = command(arguments);
    command.envs(settings.iter().map(|(key, value)| (key, value)));
    let output = command.output().expect("tests/services/edge can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tests/services/edge {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("it prints text")
}
