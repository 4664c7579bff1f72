//! The binary as a command that ends.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_firmament");

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; `None` = a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
}

impl Outcome {
    /// Insists on the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// What `--json` printed.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }
}

/// Prepares to run the binary with nothing of our own environment that could steer it.
pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().current_dir(directory).stdin(Stdio::null());
    for name in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Runs the binary to its end.
pub async fn run(directory: &Path, arguments: &[&str], environment: &[(String, String)]) -> Outcome {
    let mut command = command(directory);
    command.args(arguments).envs(environment.iter().map(|(key, value)| (key, value)));
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let output = ran.expect("the binary can be run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
