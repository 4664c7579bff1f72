//! The output habits of every client command: where text goes, colours, `--json`, exit codes.
//!
//! A command returns a [`Report`] (the text for people, and the document for `--json`) or a [`Failure`];
//! [`Terminal::finish`] prints one of them and says the exit code. On the way a command may say something with
//! [`Terminal::note`], which goes to stderr.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, json};

use super::table::plain;
use crate::version_check::Reason;

/// Done.
pub const DONE: u8 = 0;
/// The caller's mistake, or a refusal.
pub const YOURS: u8 = 1;
/// Our failure, or that of the way to us.
pub const OURS: u8 = 2;
/// `check`: there is nothing newer.
pub const NOTHING_NEWER: u8 = 3;

/// What a command found, for people and for programs.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// For people; ends without a line end.
    pub text: String,
    /// For `--json`.
    pub document: Value,
    /// The exit code.
    pub code: u8,
}

impl Report {
    /// The report of a command that is done.
    pub fn done(text: impl Into<String>, document: Value) -> Self {
        Self { text: text.into(), document, code: DONE }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What is wrong and what to do.
    pub message: String,
    /// For a refused image: every reason.
    pub reasons: Vec<Reason>,
    /// What the server said, if it said it in JSON.
    pub document: Option<Value>,
    /// Whether the very same request may succeed later, and when.
    pub retry: Retry,
    /// The status, if there was an answer.
    pub status: Option<u16>,
}

/// Whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again.
    No,
    /// It may succeed; the server said when, or not.
    After(Option<Duration>),
}

impl Failure {
    /// The caller's mistake.
    pub fn yours(message: impl Into<String>) -> Self {
        Self {
            code: YOURS,
            message: message.into(),
            reasons: Vec::new(),
            document: None,
            retry: Retry::No,
            status: None,
        }
    }

    /// A failure of the server, or of the way to it.
    pub fn ours(message: impl Into<String>) -> Self {
        Self { code: OURS, ..Self::yours(message) }
    }

    /// Whether the server refused with this status.
    pub fn is_status(&self, status: u16) -> bool {
        self.status == Some(status)
    }

    /// The document for `--json`: the server's own, or one of the same shape.
    fn as_document(&self) -> Value {
        self.document.clone().unwrap_or_else(|| {
            let code = if self.code == YOURS { "command-line" } else { "no-answer" };
            json!({ "type": format!("urn:firmament:problem:{code}"), "detail": self.message })
        })
    }
}

/// Where output goes and what it may look like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terminal {
    json: bool,
    colour_stdout: bool,
    colour_stderr: bool,
    stderr_is_terminal: bool,
    quiet: bool,
}

impl Terminal {
    /// Looks at the process's own streams and environment.
    pub fn detect(json: bool) -> Self {
        let stderr_is_terminal = io::stderr().is_terminal();
        // https://no-color.org: any non-empty value.
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|value| value != "dumb");
        Self {
            json,
            colour_stdout: wanted && !json && io::stdout().is_terminal(),
            colour_stderr: wanted && stderr_is_terminal,
            stderr_is_terminal,
            quiet: false,
        }
    }

    /// The same for a step of a larger work: no notes and no bar of its own.
    pub fn quietly(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// Whether a progress bar would be seen and is wanted.
    pub fn shows_progress(&self) -> bool {
        self.stderr_is_terminal && !self.json && !self.quiet
    }

    /// Whether stdout shows colours.
    pub fn colours_stdout(&self) -> bool {
        self.colour_stdout
    }

    /// Whether stderr shows colours.
    pub fn colours_stderr(&self) -> bool {
        self.colour_stderr
    }

    /// Whether the report's text will not be shown.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Text of a report that stands out, if stdout can show it.
    pub fn strong(&self, text: &str) -> String {
        paint(self.colour_stdout, "1", text)
    }

    /// Prints a line of a result that is too long to be held as a whole.
    ///
    /// # Errors
    /// When stdout cannot be written to; the code is 0 when whoever reads us has read enough.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        writeln!(io::stdout().lock(), "{text}").map_err(unwritable)
    }

    /// Writes a result that is a file, byte for byte.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(unwritable)
    }

    /// Says something that is not the result, on stderr.
    pub fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        // Nothing is left to do when stderr is closed.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Says that something beside the result did not work, on stderr.
    pub fn warn(&self, text: &str) {
        self.note(&format!("{} {}", paint(self.colour_stderr, "33", "warning:"), plain(text)));
    }

    /// Says what the version check only tells, on stderr.
    pub fn warn_all(&self, warnings: &[Reason]) {
        for warning in warnings {
            self.warn(&format!("{} ({})", warning.message, warning.code));
        }
    }

    /// Prints the outcome and returns the exit code.
    pub fn finish(&self, outcome: Result<Report, Failure>) -> u8 {
        let printed = match &outcome {
            // It was printed line by line.
            Ok(report) if report.text.is_empty() => Ok(()),
            Ok(report) if self.json => print(&pretty(&report.document)),
            Ok(report) => print(&report.text),
            Err(failure) if failure.code == DONE => Ok(()),
            Err(failure) => {
                self.explain(failure);
                if self.json { print(&pretty(&failure.as_document())) } else { Ok(()) }
            }
        };
        let code = outcome.map_or_else(|failure| failure.code, |report| report.code);
        match printed {
            // Whoever reads us has read enough, as `head` does.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
            Err(error) => {
                self.explain(&Failure::ours(format!("cannot write to standard output: {error}")));
                OURS
            }
            Ok(()) => code,
        }
    }

    fn explain(&self, failure: &Failure) {
        let label = paint(self.colour_stderr, "1;31", "error:");
        self.note(&format!("{label} {}", explanation(failure)));
    }
}

/// A failure in words: the sentence, then one line for each reason.
fn explanation(failure: &Failure) -> String {
    let mut text = failure.message.lines().map(plain).collect::<Vec<_>>().join("\n");
    for reason in &failure.reasons {
        // A single reason is the message itself.
        if reason.message == failure.message {
            text.push_str(&format!(" ({})", plain(&reason.code)));
            continue;
        }
        text.push_str(&format!("\n  {}: {}", plain(&reason.code), plain(&reason.message)));
    }
    text
}

/// Whoever reads us may have read enough, as `head` does.
fn unwritable(error: io::Error) -> Failure {
    let code = if error.kind() == io::ErrorKind::BrokenPipe { DONE } else { OURS };
    Failure { code, ..Failure::ours(format!("cannot write to standard output: {error}")) }
}

/// Text in a colour or weight of the terminal, if it shows any.
pub fn paint(colour: bool, code: &str, text: &str) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn pretty(document: &impl Serialize) -> String {
    serde_json::to_string_pretty(document).expect("a JSON value has no key that is not a string")
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_every_reason_on_its_line() {
        let reason =
            |code: &'static str, message: &str| Reason { code: code.into(), message: message.into() };
        let mut failure = Failure::yours("refused for 2 reasons");
        failure.reasons = vec![reason("downgrade", "older\x1b[2J"), reason("board", "wrong board")];
        assert_eq!(
            explanation(&failure),
            "refused for 2 reasons\n  downgrade: older\u{fffd}[2J\n  board: wrong board"
        );
    }

    #[test]
    fn a_failure_has_a_document_even_if_the_server_gave_none() {
        let document = Failure::ours("cannot reach it").as_document();
        assert_eq!(document["type"], "urn:firmament:problem:no-answer");
        assert_eq!(document["detail"], "cannot reach it");
    }

    #[test]
    fn colours_are_only_for_those_who_see_them() {
        assert_eq!(Terminal::default().strong("x"), "x");
        assert_eq!(Terminal { colour_stdout: true, ..Terminal::default() }.strong("x"), "\x1b[1mx\x1b[0m");
    }
}
