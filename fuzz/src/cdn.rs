//! The part of the service's module of this name that is fuzzed: the CDN's log lines.
//!
//! # What must hold for every input
//! - no panic, no endless loop, bounded memory, also of what a small file unpacks to;
//! - a compressed file says what the file itself says, line by line;
//! - a file and its repetition say the same twice, so the same requests have the same numbers;
//! - a path has neither a leading slash that was there, nor a query that was not encoded, and no number is negative.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

#[path = "../../src/cdn/datastream.rs"]
pub mod datastream;

use datastream::{Line, parse, read_file};

use crate::memory;

/// A line and its JSON values, which are the most with many small ones in one line, and the decoder's window.
const MOST_MEMORY: usize = 16 << 20;

/// Holds all of it against an input. Compressed ones are read as they are, and others compressed too.
pub fn check(bytes: &[u8]) {
    let mut read = 0;
    let (peak, ()) = memory::peak_of(|| read_file(bytes, |_| read += 1));
    assert!(peak <= MOST_MEMORY, "{peak} bytes were allocated at a time");
    let _ = parse(bytes);
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return;
    }
    assert!(read <= bytes.len(), "{read} lines in {} bytes", bytes.len());
    let said = lines(bytes);
    said.iter().for_each(is_sound);
    assert_eq!(lines(&packed(bytes)), said, "compressed");
    let twice = lines(&[bytes, b"\n", bytes].concat());
    assert_eq!(twice.len(), 2 * said.len(), "repeated");
    let (first, second) = twice.split_at(said.len());
    assert!(first == said && second == said, "repeated");
    assert_eq!(numbers(first), numbers(second), "repeated");
}

fn lines(bytes: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    read_file(bytes, |line| lines.push(line));
    lines
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}

fn numbers(lines: &[Line]) -> Vec<Option<i64>> {
    let number = |line: &Line| match line {
        Line::Delivery(delivery) => delivery.request.as_ref().map(|request| request.number()),
        Line::Ignored | Line::Broken => None,
    };
    lines.iter().map(number).collect()
}

fn is_sound(line: &Line) {
    let Line::Delivery(delivery) = line else { return };
    let shown = delivery.day.to_string();
    // The log's times begin in 1970; years of more than four digits have a sign.
    assert!(shown.starts_with('+') || shown.as_str() >= "1970-01-01", "{shown}");
    assert!(delivery.path.len() <= 32 << 10, "{} bytes of path", delivery.path.len());
    let _ = (delivery.bytes, delivery.complete, delivery.from_edge);
}
