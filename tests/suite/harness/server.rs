//! The real binary as a child process.
//!
//! It runs in a temporary directory, with `./firmament-data` as its data directory, as at a user's first try. Ports are
//! chosen by the system and read from `listeners.json`. When it is dropped it is killed, and every line that it has
//! written is searched for secrets.

use std::{
    io::{BufRead as _, BufReader, Read},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use firmament::data_dir::ListenerUrls;
use tempfile::TempDir;

use super::{
    Backend, Device, Publisher,
    command::{Outcome, command, run},
    eventually,
};

type Lines = Arc<Mutex<Vec<String>>>;

/// A server that is being put together.
pub struct Builder {
    backend: Backend,
    home: Arc<TempDir>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    wait_until_ready: bool,
    open_files: Option<(u32, u32)>,
}

/// A server that runs.
pub struct Server {
    child: Child,
    backend: Backend,
    home: Arc<TempDir>,
    environment: Vec<(String, String)>,
    urls: ListenerUrls,
    token: String,
    log: Lines,
    readers: Vec<JoinHandle<()>>,
}

impl Builder {
    /// A setting, such as `PUBLISHER__MAX_UPLOADS`.
    pub fn set(self, key: &str, value: &str) -> Self {
        self.environment(&format!("FIRMAMENT__{key}"), value)
    }

    /// Kills the process at this place of a publish.
    pub fn crash_at(self, point: &str) -> Self {
        self.environment("FIRMAMENT_CRASH_AT", point)
    }

    /// One more argument.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Uses the directory of an earlier server.
    pub fn at_home_of(mut self, other: &Arc<TempDir>) -> Self {
        self.home = Arc::clone(other);
        self
    }

    /// Does not wait until it can answer checks.
    pub fn not_ready(mut self) -> Self {
        self.wait_until_ready = false;
        self
    }

    /// With this soft and hard limit of open files.
    pub fn open_files(mut self, soft: u32, hard: u32) -> Self {
        self.open_files = Some((soft, hard));
        self
    }

    fn environment(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    fn all_environment(&self) -> Vec<(String, String)> {
        let own = [
            ("FIRMAMENT__PUBLISHER__LISTEN", "127.0.0.1:0"),
            ("FIRMAMENT__DEVICE__LISTEN", "127.0.0.1:0"),
            ("FIRMAMENT__LOG__FORMAT", "json"),
            ("FIRMAMENT__LOG__LEVEL", "info,firmament=debug"),
        ];
        let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
        own.into_iter().chain(self.backend.environment()).chain(self.environment.clone()).collect()
    }

    /// Runs it to its end, which should come by itself.
    pub async fn run_to_end(self) -> Outcome {
        let arguments: Vec<&str> =
            std::iter::once("serve").chain(self.arguments.iter().map(String::as_str)).collect();
        let environment = self.all_environment();
        let ended = run(self.home.path(), &arguments, &environment);
        let outcome = tokio::time::timeout(super::PATIENCE, ended).await.expect("the server ends by itself");
        shows_no_secret(&[outcome.stdout.clone(), outcome.stderr.clone()], &self.backend.secrets());
        outcome
    }

    /// Starts it.
    pub async fn start(self) -> Server {
        let data_dir = self.home.path().join("firmament-data");
        // A server that was killed leaves its addresses behind.
        let _ = std::fs::remove_file(data_dir.join("listeners.json"));
        let environment = self.all_environment();
        let mut command = command(self.home.path());
        if let Some((soft, hard)) = self.open_files {
            command = limited(&command, soft, hard);
        }
        command.arg("serve").args(&self.arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        let mut child = command.spawn().expect("the binary can be run");
        let log = Lines::default();
        let readers = vec![
            collect(child.stdout.take().expect("piped"), &log),
            collect(child.stderr.take().expect("piped"), &log),
        ];
        let urls = ListenerUrls { publisher: String::new(), device: String::new() };
        let (backend, home) = (self.backend, self.home);
        let mut server =
            Server { child, backend, home, environment, urls, token: String::new(), log, readers };
        server.urls = eventually("listeners.json", async || {
            if let Some(status) = server.child.try_wait().expect("a child can be waited for") {
                panic!("the server ended with {status}");
            }
            let text = std::fs::read(data_dir.join("listeners.json")).ok()?;
            Some(serde_json::from_slice(&text).expect("written as a whole"))
        })
        .await;
        let given = server.environment.iter().rev().find(|(key, _)| key == "FIRMAMENT__PUBLISHER__TOKEN");
        server.token = match given {
            Some((_, token)) => token.clone(),
            None => {
                let text = std::fs::read_to_string(data_dir.join("publisher.token"));
                text.expect("the token is there").trim().to_owned()
            }
        };
        if self.wait_until_ready {
            let device = server.device();
            eventually("ready", async || (device.ready().await.0 == 200).then_some(())).await;
        }
        server
    }
}

/// The same command, run by prlimit(1), which becomes it.
fn limited(command: &Command, soft: u32, hard: u32) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--nofile={soft}:{hard}")).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        limited.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

impl Server {
    /// A server on these stores, in a directory of its own.
    pub fn builder(backend: &Backend) -> Builder {
        let home = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        Builder {
            backend: backend.clone(),
            home,
            environment: Vec::new(),
            arguments: Vec::new(),
            wait_until_ready: true,
            open_files: None,
        }
    }

    /// A server on these stores, with nothing special.
    pub async fn start(backend: &Backend) -> Self {
        Self::builder(backend).start().await
    }

    /// A client with the first token.
    pub fn publisher(&self) -> Publisher {
        Publisher { base: self.urls.publisher.clone(), token: self.token.clone() }
    }

    /// A client of the public listener.
    pub fn device(&self) -> Device {
        Device { base: self.urls.device.clone() }
    }

    /// The directory that it runs in.
    pub fn home(&self) -> &Arc<TempDir> {
        &self.home
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("firmament-data")
    }

    /// What a product has in the stores now.
    pub async fn traces(&self, product: &str) -> super::stores::Traces {
        self.backend.traces(&self.data_dir(), product).await
    }

    /// Its bucket, past every proxy.
    pub async fn bucket(&self) -> firmament::bucket::Bucket {
        self.backend.bucket(&self.data_dir()).await
    }

    /// Runs a client command on the machine of this server.
    pub async fn command(&self, arguments: &[&str]) -> Outcome {
        run(self.home.path(), arguments, &[]).await
    }

    /// All lines that it has written.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no reader panics").clone()
    }

    /// Waits for a line with this text.
    pub async fn logged(&self, text: &str) -> String {
        eventually(text, async || self.log().into_iter().find(|line| line.contains(text))).await
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill can be run").success(), "the server runs");
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> ExitStatus {
        eventually("the server's end", async || self.ended()).await
    }

    /// Waits until it was killed by SIGKILL.
    pub async fn wait_for_crash(mut self) {
        let status = self.wait().await;
        assert_eq!(status.signal(), Some(9), "{status}");
    }

    /// Asks it to end, and waits until it has, well.
    pub async fn terminate(mut self) {
        self.signal("TERM");
        let status = self.wait().await;
        assert_eq!(status.code(), Some(0), "{status}");
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
    }

    fn secrets(&self) -> Vec<String> {
        let settings = self.environment.iter();
        let settings = settings
            .filter(|(key, _)| ["TOKEN", "TOKEN__KEY", "CLIENT_SECRET"].iter().any(|end| key.ends_with(end)));
        let mut secrets: Vec<String> = settings.map(|(_, value)| value.clone()).collect();
        secrets.extend(self.backend.secrets());
        secrets.extend((!self.token.is_empty()).then(|| self.token.clone()));
        secrets
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        let log = self.log();
        if std::thread::panicking() {
            let tail = log.len().saturating_sub(60);
            eprintln!("the server's last words:\n{}\n", log[tail..].join("\n"));
            return;
        }
        shows_no_secret(&log, &self.secrets());
    }
}

/// Insists that no line has a secret in it.
#[track_caller]
pub fn shows_no_secret(lines: &[String], secrets: &[String]) {
    for line in lines {
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "a secret in {line}");
    }
}

fn collect(stream: impl Read + Send + 'static, log: &Lines) -> JoinHandle<()> {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().expect("no reader panics").push(line);
        }
    })
}
