//! A connection as long as it asks nothing but what is answered at once: bytes in, bytes out, before any HTTP library.
//!
//! Most connections of the device listener ask one thing, again and again. Here a request is read into memory that is
//! nobody's, parsed where it stands (by httparse, as hyper does), answered by the site's [`AtOnce`], and its answer is
//! written in one piece. So a waiting connection keeps no buffers, and a request allocates next to nothing.
//!
//! It takes only what could not be read in two ways: a GET of HTTP/1.1 that is there whole, of a target that [`AtOnce`]
//! names, without a body, an expectation or an upgrade. At the first request that is anything else, the connection is
//! hyper's from that request's first byte on, to its end ([`Outcome::Other`]). That is never wrong, just slower; so nothing here has to
//! handle bodies, oversize or dripping heads, other methods and versions, or malformed requests.
//!
//! Time-outs are the connection's deadline, as with hyper: an answer's bytes that are taken move it. When the listener
//! drains, or it has to give way to others, a connection that has asked before ends when nothing more has come; a request that is already there is
//! answered, as the last.

use std::{
    cell::RefCell,
    io,
    mem::{self, MaybeUninit},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::Bytes;
use httparse::{Header, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{AtOnce, Site, clients::say_refusal, connection::Connection, stream::Stream};
use crate::http::{head::Head, reply::OnTheWire};

/// How much is read at once, in bytes: more than a request of ours ever has.
const READ: usize = 4096;
/// The most fields of a request that is taken here.
const MOST_FIELDS: usize = 32;

/// How it ended.
pub(super) enum Outcome {
    /// The connection is done with.
    Ended,
    /// Something else is asked.
    Other(Unanswered),
}

/// What hyper goes on with.
#[derive(Default)]
pub(super) struct Unanswered {
    /// What was read already.
    pub read: Bytes,
    /// Whether the request that this begins with was admitted here: it is not counted again.
    pub admitted: bool,
}

impl Unanswered {
    fn new(read: &[u8], admitted: bool) -> Self {
        Self { read: Bytes::copy_from_slice(read), admitted }
    }
}

/// The conversation.
pub(super) struct Exchange<'a> {
    stream: &'a mut Stream,
    site: &'a Site,
    at_once: &'a AtOnce,
    peer: SocketAddr,
    connection: &'a Connection,
    /// What the other side has not taken yet.
    unwritten: Vec<u8>,
    /// What follows once it has.
    next: Next,
    /// Whether anything was asked.
    began: bool,
}

/// What follows when all is written.
enum Next {
    Read,
    End,
    Other(Unanswered),
}

/// A request that is answered here.
struct Request<'b> {
    target: &'b str,
    /// How long it is, in bytes.
    length: usize,
    /// Whether it is to be the last.
    closes: bool,
}

impl<'a> Exchange<'a> {
    pub fn new(
        stream: &'a mut Stream,
        site: &'a Site,
        at_once: &'a AtOnce,
        peer: SocketAddr,
        connection: &'a Connection,
    ) -> Self {
        Self {
            stream,
            site,
            at_once,
            peer,
            connection,
            unwritten: Vec::new(),
            next: Next::Read,
            began: false,
        }
    }

    /// Goes on until the connection ends or is hyper's.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Outcome>> {
        loop {
            while !self.unwritten.is_empty() {
                let written = ready!(Pin::new(&mut *self.stream).poll_write(cx, &self.unwritten))?;
                self.took(written)?;
                self.unwritten = self.unwritten.split_off(written);
            }
            if self.began {
                ready!(Pin::new(&mut *self.stream).poll_flush(cx))?;
            }
            match mem::replace(&mut self.next, Next::Read) {
                Next::Read => {}
                Next::End => {
                    self.next = Next::End;
                    // TLS says that it ends.
                    ready!(Pin::new(&mut *self.stream).poll_shutdown(cx))?;
                    return Poll::Ready(Ok(Outcome::Ended));
                }
                Next::Other(rest) => return Poll::Ready(Ok(Outcome::Other(rest))),
            }
            let mut space = [MaybeUninit::uninit(); READ];
            let mut read = ReadBuf::uninit(&mut space);
            let is_ending = self.connection.is_ending();
            match Pin::new(&mut *self.stream).poll_read(cx, &mut read)? {
                Poll::Pending if is_ending && self.began => self.next = Next::End,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if read.filled().is_empty() => self.next = Next::End,
                Poll::Ready(()) => {
                    self.exchange(cx, read.filled(), is_ending || self.connection.is_parting())?
                }
            }
        }
    }

    /// Answers what was read, and writes what the other side takes at once.
    fn exchange(&mut self, cx: &mut Context<'_>, read: &[u8], is_parting: bool) -> io::Result<()> {
        thread_local! {
            static ANSWERS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        ANSWERS.with_borrow_mut(|answers| {
            answers.clear();
            self.next = self.answer_all(read, is_parting, answers);
            if answers.is_empty() {
                return Ok(());
            }
            self.began = true;
            let mut written = 0;
            while written < answers.len() {
                match Pin::new(&mut *self.stream).poll_write(cx, &answers[written..])? {
                    Poll::Ready(count) => {
                        self.took(count)?;
                        written += count;
                    }
                    Poll::Pending => {
                        self.unwritten.extend_from_slice(&answers[written..]);
                        break;
                    }
                }
            }
            Ok(())
        })
    }

    fn took(&self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.connection.progress();
        Ok(())
    }

    fn answer_all(&self, mut read: &[u8], is_parting: bool, answers: &mut Vec<u8>) -> Next {
        while !read.is_empty() {
            let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
            let mut parsed = httparse::Request::new(&mut []);
            let request = self.request(read, &mut parsed, &mut fields);
            let Some(request) = request else { return Next::Other(Unanswered::new(read, false)) };
            let head = Head::read(request.target, parsed.headers);
            let before = answers.len();
            let closes = request.closes || is_parting;
            let mut reply = OnTheWire::new(answers, closes);
            if let Some(refusal) = self.site.clients.refusal(self.peer.ip(), &head) {
                self.connection.count(&refusal);
                say_refusal(&refusal, &self.site.later, &mut reply);
            } else {
                // If it panics, so will the router's handler, which makes an answer of it and logs it.
                let answer = AssertUnwindSafe(|| (self.at_once.answer)(&head, &mut reply));
                if !catch_unwind(answer).unwrap_or(false) {
                    answers.truncate(before);
                    return Next::Other(Unanswered::new(read, true));
                }
            }
            if closes {
                return Next::End;
            }
            read = &read[request.length..];
        }
        Next::Read
    }

    /// The first request in what was read, if it is one for here.
    fn request<'h, 'b>(
        &self,
        read: &'b [u8],
        parsed: &mut httparse::Request<'h, 'b>,
        fields: &'h mut [MaybeUninit<Header<'b>>],
    ) -> Option<Request<'b>> {
        if !read.strip_prefix(b"GET ")?.starts_with(self.at_once.targets.as_bytes()) {
            return None;
        }
        let Ok(Status::Complete(length)) = parsed.parse_with_uninit_headers(read, fields) else {
            return None;
        };
        let target = parsed.path?;
        if parsed.version != Some(1) || !is_plain(target) {
            return None;
        }
        let mut closes = false;
        for Header { name, value } in parsed.headers.iter() {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if is("connection") {
                // Once said, it holds.
                let close = value.eq_ignore_ascii_case(b"close");
                closes |= close;
                if !close && !value.eq_ignore_ascii_case(b"keep-alive") {
                    return None;
                }
            } else if is("content-length") || is("transfer-encoding") || is("expect") || is("upgrade") {
                return None;
            }
        }
        Some(Request { target, length, closes })
    }
}

/// Whether a target has only what nobody reads differently: no fragment, and nothing that RFC 3986 would have encoded and
/// hyper would refuse.
fn is_plain(target: &str) -> bool {
    // Without an early end, so that many bytes are looked at in one instruction.
    let odd = |byte: u8| !(0x21..=0x7e).contains(&byte) || matches!(byte, b'"' | b'#' | b'<' | b'>');
    !target.bytes().fold(false, |any, byte| any | odd(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_target_has_nothing_to_stumble_on() {
        assert!(is_plain("/v1/check?product=a&version=1.0.0%2Bb&device=a+b:c,d;e"));
        for odd in ["#", "\"", "<", ">", "é", "\u{7f}", " "] {
            assert!(!is_plain(&format!("/v1/check?device={odd}")), "{odd}");
        }
    }
}
