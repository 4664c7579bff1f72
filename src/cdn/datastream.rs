//! Akamai's DataStream 2 logs: which requests delivered how much of which image.
//!
//! A log file is JSON lines, one a request, gzip-compressed or not. Of each line only what counting needs is taken:
//! time, request id, method, path, status, bytes, and whether the object's last byte was among them. Client
//! addresses, user agents, queries (with their tokens) and custom fields are not even looked at, so nothing of them can
//! be kept or logged.
//!
//! # What is normal in these logs (Akamai's documentation of DataStream 2)
//! Numbers are texts; `-` and null fields are left out, or are there as `-`; fields that a stream does not select are
//! missing; lines are delivered twice; lines are lost. So a line is *broken* only if it cannot be counted: no
//! JSON object, or no time, path or status.
//!
//! # What counts
//! - A delivery: method GET (or not logged), status 200 or 206. HEAD and everything else is *ignored*.
//! - Complete: `lastByte` is 1. A device that fetches an image in ten ranges is one complete and nine partial deliveries.
//!   A stream without that field (2021) yields partial ones only.
//! - From the edge: `cacheStatus` is 1. Its complement is what reached the origin.
//!
//! What it does not do: fetch files, know images, remember requests ([`crate::jobs`] does).

use std::io::{BufRead, BufReader, Read};

use chrono::{DateTime, NaiveDate};
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

#[cfg(test)]
mod tests;

/// The longest line that is read, in bytes; Akamai's are below 4 KiB but for long custom fields.
pub const LONGEST_LINE: u64 = 64 * 1024;

/// The most that one file is read of, unpacked, in bytes. Akamai cuts files at 4 MB; what is behind this is not read.
pub const LARGEST_FILE: u64 = 512 * 1024 * 1024;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A request that delivered bytes of an object.
    Delivery(Delivery),
    /// A request that delivered none: another method or status.
    Ignored,
    /// No line that could be counted.
    Broken,
}

/// Bytes of an object, delivered by one response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Which request it was, if the line says so.
    pub request: Option<RequestId>,
    /// The day on which it began, in UTC.
    pub day: NaiveDate,
    /// The path, decoded, without leading slash and query.
    pub path: String,
    /// Bytes of the body that were delivered.
    pub bytes: u64,
    /// Whether the object's last byte was among them.
    pub complete: bool,
    /// Whether they came from the edge's cache.
    pub from_edge: bool,
}

/// A request: Akamai's id is unique only together with the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    id: String,
    milliseconds: i64,
}

impl RequestId {
    /// 64 bits of the SHA-256 of both: the same in every process and version, as it is stored. Among a hundred million
    /// requests, one in 10^11 is taken for another.
    pub fn number(&self) -> i64 {
        let digest =
            Sha256::new().chain_update(self.milliseconds.to_be_bytes()).chain_update(&self.id).finalize();
        let [first, ..] = digest.as_slice().as_chunks().0 else { unreachable!("it has 32 bytes") };
        i64::from_be_bytes(*first)
    }
}

/// Reads one line.
pub fn parse(line: &[u8]) -> Line {
    match serde_json::from_slice::<Value>(line) {
        Ok(Value::Object(fields)) => read(&fields).unwrap_or(Line::Broken),
        _ => Line::Broken,
    }
}

fn read(fields: &Map<String, Value>) -> Option<Line> {
    let milliseconds = milliseconds(&text(fields, "reqTimeSec")?)?;
    let day = DateTime::from_timestamp_millis(milliseconds)?.date_naive();
    let path = path(&text(fields, "reqPath")?)?;
    let status: u16 = text(fields, "statusCode")?.parse().ok()?;
    let method = text(fields, "reqMethod");
    let is_get = method.is_none_or(|method| method.eq_ignore_ascii_case("GET"));
    if !is_get || !matches!(status, 200 | 206) {
        return Some(Line::Ignored);
    }
    Some(Line::Delivery(Delivery {
        request: text(fields, "reqId").map(|id| RequestId { id, milliseconds }),
        day,
        path,
        bytes: text(fields, "bytes").and_then(|bytes| whole(&bytes)).unwrap_or(0),
        complete: text(fields, "lastByte").as_deref() == Some("1"),
        from_edge: text(fields, "cacheStatus").as_deref() == Some("1"),
    }))
}

/// A field as text, whether it is a text or a number; `None` = it says nothing.
fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    let text = match fields.get(name)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty() && text != "-").then_some(text)
}

/// A number without a fraction that counts; it may be written with one.
fn whole(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    fraction.bytes().all(|byte| byte == b'0').then(|| whole.parse().ok()).flatten()
}

/// Seconds with a fraction, exactly: an f64 would round what tells two requests apart.
fn milliseconds(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !is_number(seconds) || !is_number(fraction) {
        return None;
    }
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    seconds.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(fraction.parse().ok()?)
}

/// The decoded path; `None` = it is none.
fn path(text: &str) -> Option<String> {
    let path = text.split(['?', '#']).next()?.strip_prefix('/')?;
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let value = digit()? * 16 + digit()?;
        decoded.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(decoded).ok()
}

/// Reads a whole file, compressed or not, and hands each line on. A file that breaks off, or whose compression is
/// damaged, ends with one [`Line::Broken`]; what was before it counts.
pub fn read_file(bytes: &[u8], mut each: impl FnMut(Line)) {
    // RFC 1952: a member begins with these two bytes; a JSON line never does.
    let plain: Box<dyn Read + '_> = match bytes {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(bytes)),
        _ => Box::new(bytes),
    };
    let mut lines = BufReader::new(plain.take(LARGEST_FILE));
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut line);
        match read {
            Ok(0) => return,
            Ok(_) if line.last() != Some(&b'\n') && line.len() as u64 == LONGEST_LINE => {
                each(Line::Broken);
                if !skip_line(&mut lines) {
                    return;
                }
            }
            Ok(_) if line.trim_ascii().is_empty() => {}
            Ok(_) => each(parse(line.trim_ascii())),
            Err(_) => {
                each(Line::Broken);
                return;
            }
        }
    }
}

/// Goes to the next line; `false` = there is none.
fn skip_line(lines: &mut impl BufRead) -> bool {
    loop {
        let Ok(piece) = lines.fill_buf() else { return false };
        if piece.is_empty() {
            return false;
        }
        match piece.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                lines.consume(end + 1);
                return true;
            }
            None => {
                let length = piece.len();
                lines.consume(length);
            }
        }
    }
}
