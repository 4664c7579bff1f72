//! Sends one file, or the rest of it, as the body of one request, so that the server's answer is never lost.
//!
//! The request asks first (`Expect: 100-continue`): a server that refuses on the declared facts answers before a
//! byte of the image is sent. A server may also answer in the middle of the body and close; [`super::answer_first`]
//! sees to it that this answer is read, and the body here stops reading the file.
//!
//! It sends once: whether to try again is for [`super::publish`] and [`super::resumable`] to decide.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
    time::Duration,
};

use ureq::{
    Agent, SendBody,
    http::header,
    unversioned::{
        resolver::DefaultResolver,
        transport::{ConnectProxyConnector, Connector, RustlsConnector, TcpConnector},
    },
};

use super::{
    answer_first::{BodyState, DropRefusedBody, KeepEarlyAnswer},
    client::{Answer, Client, interrupted, settings},
    output::{Failure, Retry},
    progress::Progress,
    table::size,
};

/// How long a server that says nothing to `Expect` is waited for; then the body is sent.
const EXPECT: Duration = Duration::from_secs(3);
/// How long the server may take to store and check the image after its last byte.
const ANSWER: Duration = Duration::from_secs(600);
/// How long one write may be stuck.
const STUCK: Duration = Duration::from_secs(60);

/// What to send, and where.
pub struct Upload<'a> {
    /// How.
    pub verb: Verb,
    /// The path, which begins with `/`.
    pub path: &'a str,
    /// The query parameters.
    pub query: &'a [(&'a str, String)],
    /// Headers that say what it is.
    pub headers: &'a [(&'a str, String)],
    /// Where to begin in the file.
    pub from: u64,
    /// The file's size when it was hashed.
    pub size: u64,
}

/// How a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// As a whole.
    Post,
    /// As a piece of it.
    Patch,
}

/// The outcome of sending once, and how many bytes of the file were taken.
pub struct Sent {
    /// The answer, or why there is none of 2xx.
    pub outcome: Result<Answer, Failure>,
    /// Bytes of the body that were given to the connection.
    pub bytes: u64,
}

/// Sends the file from where it says to its end.
pub fn send(client: &Client, upload: &Upload<'_>, file: &mut File, progress: &mut Progress) -> Sent {
    let state = Arc::new(BodyState::default());
    let config = settings(client.server(), ANSWER)
        .timeout_await_100(Some(EXPECT))
        .timeout_per_write(Some(STUCK))
        .build();
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(DropRefusedBody::new(state.clone()))
            .chain(RustlsConnector::default())
            .chain(KeepEarlyAnswer);
    let agent = Agent::with_parts(config, connector, DefaultResolver::default());
    let failed = RefCell::new(None);
    let left = upload.size.saturating_sub(upload.from);
    let mut body =
        FileBody { file, from: upload.from, left, sent: 0, state: &state, progress, failed: &failed };
    let outcome = match body.file.seek(SeekFrom::Start(upload.from)) {
        Err(error) => Err(ureq::Error::Io(body.fail(error))),
        Ok(_) => {
            let url = client.server().url.join(upload.path);
            let request = match upload.verb {
                Verb::Post => agent.post(url),
                Verb::Patch => agent.patch(url),
            };
            let mut request = request
                .query_pairs(upload.query.iter().map(|(key, value)| (*key, value.as_str())))
                .header(header::CONTENT_LENGTH, left)
                .header(header::EXPECT, "100-continue");
            for (name, value) in upload.headers {
                request = request.header(*name, value);
            }
            client.authorized(request).send(SendBody::from_reader(&mut body))
        }
    };
    let bytes = body.sent;
    let outcome = match (failed.take(), &outcome) {
        (Some(failure), _) => Err(failure),
        (None, Err(ureq::Error::Io(error))) if bytes > 0 && interrupted(error.kind()) => Err(Failure {
            retry: Retry::After(None),
            ..Failure::ours(format!(
                "{} closed the connection after {} of {} without an answer. Try again, and look at the server's log",
                client.server().url,
                size(upload.from + bytes),
                size(upload.size)
            ))
        }),
        (None, _) => client.finish(outcome),
    };
    Sent { outcome, bytes }
}

/// The file as a body; counts, and stops reading when nobody takes it.
struct FileBody<'a> {
    file: &'a mut File,
    from: u64,
    left: u64,
    sent: u64,
    state: &'a BodyState,
    progress: &'a mut Progress,
    failed: &'a RefCell<Option<Failure>>,
}

impl FileBody<'_> {
    /// Keeps our own failure apart from the connection's.
    fn fail(&self, error: io::Error) -> io::Error {
        let message = format!("cannot go on reading the image: {error}");
        self.failed.replace(Some(Failure::yours(message)));
        error
    }
}

impl Read for FileBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.state.begin();
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if self.state.is_refused() {
            // Whatever is in the buffer will be dropped: only the count matters.
            self.left -= room as u64;
            return Ok(room);
        }
        let count = match read_some(self.file, &mut buffer[..room]) {
            Ok(0) if self.left > 0 => {
                let error = io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it has become shorter; publish it when it is complete",
                );
                return Err(self.fail(error));
            }
            Ok(count) => count,
            Err(error) => return Err(self.fail(error)),
        };
        self.left -= count as u64;
        self.sent += count as u64;
        self.progress.at(self.from + self.sent);
        if self.left == 0 {
            self.progress.say("waiting for the server");
        }
        Ok(count)
    }
}

/// Reads at least one byte, if there is one; ureq takes an interrupted read for an error.
fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
