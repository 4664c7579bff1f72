//! A small answer, written piece by piece into whatever carries it.
//!
//! An answer that is made at once is said to a [`Reply`]: first its status, then its fields, then its body or that it has
//! none. hyper is given a response ([`Whole`]); before hyper, the same pieces are written as they go over the wire
//! ([`OnTheWire`]), which costs neither a map of fields nor a copy of their values.

use std::{cell::RefCell, time::SystemTime};

use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};

/// Takes an answer: [`Self::status`] once, [`Self::field`] for each field, and one of the other two as the last.
pub trait Reply {
    /// Begins the answer.
    fn status(&mut self, status: StatusCode);
    /// A field, whose value is visible ASCII and spaces.
    fn field(&mut self, name: HeaderName, value: &str);
    /// Ends the answer with a body that is the parts in a row.
    fn body(&mut self, media_type: &'static str, parts: &[&[u8]]);
    /// Ends an answer that has no body.
    fn nothing(&mut self);
}

/// An answer for hyper.
#[derive(Default)]
pub struct Whole(Response<Bytes>);

impl Whole {
    /// What was made.
    pub fn into_response(self) -> Response<Bytes> {
        self.0
    }
}

impl Reply for Whole {
    fn status(&mut self, status: StatusCode) {
        *self.0.status_mut() = status;
    }

    fn field(&mut self, name: HeaderName, value: &str) {
        let value = HeaderValue::from_str(value).expect("visible ASCII");
        self.0.headers_mut().append(name, value);
    }

    fn body(&mut self, media_type: &'static str, parts: &[&[u8]]) {
        self.0.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        *self.0.body_mut() = Bytes::from(parts.concat());
    }

    fn nothing(&mut self) {}
}

/// An answer as it goes over the wire in HTTP/1.1 (RFC 9112), behind what is there already.
pub struct OnTheWire<'a> {
    /// Where it is written to.
    bytes: &'a mut Vec<u8>,
    /// Whether the connection ends with it.
    closes: bool,
    /// Whether who reads it must be told that there is no body.
    says_length: bool,
}

impl<'a> OnTheWire<'a> {
    /// Goes to the end of `bytes`; with `closes`, it is the connection's last.
    pub fn new(bytes: &'a mut Vec<u8>, closes: bool) -> Self {
        Self { bytes, closes, says_length: true }
    }

    fn write(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part.as_bytes()));
    }

    fn end_fields(&mut self) {
        if self.closes {
            self.write(&["connection: close\r\n"]);
        }
        self.write(&["date: "]);
        write_date(self.bytes);
        self.write(&["\r\n\r\n"]);
    }
}

impl Reply for OnTheWire<'_> {
    fn status(&mut self, status: StatusCode) {
        // RFC 9110, 8.6.
        self.says_length = !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match status {
            StatusCode::OK => self.write(&["HTTP/1.1 200 OK\r\n"]),
            StatusCode::NO_CONTENT => self.write(&["HTTP/1.1 204 No Content\r\n"]),
            other => {
                let reason = other.canonical_reason().unwrap_or_default();
                self.write(&["HTTP/1.1 ", other.as_str(), " ", reason, "\r\n"]);
            }
        }
    }

    fn field(&mut self, name: HeaderName, value: &str) {
        self.write(&[name.as_str(), ": ", value, "\r\n"]);
    }

    fn body(&mut self, media_type: &'static str, parts: &[&[u8]]) {
        self.write(&["content-type: ", media_type, "\r\ncontent-length: "]);
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.write(&[itoa::Buffer::new().format(length), "\r\n"]);
        self.end_fields();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }

    fn nothing(&mut self) {
        if self.says_length {
            self.write(&["content-length: 0\r\n"]);
        }
        self.end_fields();
    }
}

/// What the time of day was, as `Date` has it (RFC 9110, 5.6.7), and in which second since 1970 that was.
type Said = (u64, String);

/// Writes what time it is; made once a second by each thread.
fn write_date(bytes: &mut Vec<u8>) {
    thread_local! {
        static SAID: RefCell<Said> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SAID.with_borrow_mut(|(of, text)| {
        if *of != second || text.is_empty() {
            *of = second;
            *text = httpdate::fmt_http_date(now);
        }
        bytes.extend_from_slice(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(reply: &mut dyn Reply) {
        reply.status(StatusCode::OK);
        reply.field(header::RETRY_AFTER, "300");
        reply.body("application/json", &[b"{\"a\":", b"1}"]);
    }

    #[test]
    fn both_carry_the_same() {
        let mut whole = Whole::default();
        say(&mut whole);
        let response = whole.into_response();
        let mut bytes = Vec::new();
        say(&mut OnTheWire::new(&mut bytes, false));
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.split("\r\n");
        assert_eq!(lines.next(), Some("HTTP/1.1 200 OK"));
        let fields: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
        for (name, value) in response.headers() {
            assert!(fields.contains(&(name.as_str(), value.to_str().expect("text"))), "{name}: {head}");
        }
        assert_eq!((body, body.as_bytes()), ("{\"a\":1}", response.body().as_ref()));
        assert!(fields.contains(&("content-length", "7")));
        let date = fields.iter().find(|(name, _)| *name == "date").expect("a date").1;
        let age = SystemTime::now().duration_since(httpdate::parse_http_date(date).expect("a date"));
        assert!(age.expect("not later than now").as_secs() < 60, "{date}");
    }

    #[test]
    fn an_answer_says_if_it_is_the_last_and_has_the_reason_of_its_status() {
        let mut bytes = Vec::new();
        let mut wire = OnTheWire::new(&mut bytes, true);
        wire.status(StatusCode::TOO_MANY_REQUESTS);
        wire.nothing();
        let text = String::from_utf8(bytes).expect("text");
        assert!(
            text.starts_with(
                "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nconnection: close\r\ndate: "
            ),
            "{text}"
        );
        assert!(text.ends_with(" GMT\r\n\r\n"), "{text}");
        let mut bytes = Vec::new();
        let mut wire = OnTheWire::new(&mut bytes, false);
        wire.status(StatusCode::NO_CONTENT);
        wire.nothing();
        assert!(bytes.starts_with(b"HTTP/1.1 204 No Content\r\ndate: "));
    }
}
