//! S-record: a text that says which bytes go to which addresses (Motorola, M68000 Family Programmer's
//! Reference Manual, appendix C).
//!
//! # Layout
//! A record a line: `S` and its type; then in hexadecimal digits how many bytes follow, an address, data, and
//! a checksum that makes the sum of all bytes 0xFF. Types: 0 header, 1/2/3 data at addresses of 16/24/32
//! bits, 5/6 how many data records there were (16/24 bits), 7/8/9 end and start address of 32/24/16 bits.
//!
//! # What it verifies
//! Every record's length and checksum; the count of data records; that the end is there, and nothing behind
//! it; that no address is written twice or lies past 2^32.
//!
//! # What it does not do
//! See a type that was changed to another of the same kind: the checksum leaves it out, and writers mix types
//! of data. Know what the data is: the header is a free text (the output file's name, mostly), stated as a
//! detail.

use super::facts::text_of;
use super::records::{self, Format, Memory, Record, Text, Wrong};
use super::{Facts, FaultKind, Inspector};

/// Takes a text that begins with `S` and whose first lines are records.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    let is_one = head.starts_with(b"S") && records::probe(head, |line| parse(line).is_ok());
    is_one.then(|| Box::new(Text::new(SRecord::default())) as _)
}

#[derive(Default)]
struct SRecord {
    header: Option<String>,
    data_records: u64,
    start: Option<u64>,
}

/// A record's type, and its bytes from the length to the checksum.
fn parse(line: &[u8]) -> Result<(u8, Vec<u8>), Wrong> {
    let malformed = |why: &str| (FaultKind::Malformed, why.to_owned());
    let [b'S' | b's', kind, digits @ ..] = line else {
        return Err(malformed("it does not begin with S and a type"));
    };
    let bytes =
        hex::decode(digits).map_err(|_| malformed("it is not made of pairs of hexadecimal digits"))?;
    let shortest = 1 + match kind {
        b'0' | b'1' | b'5' | b'9' => 2,
        b'2' | b'6' | b'8' => 3,
        b'3' | b'7' => 4,
        _ => return Err(malformed("it has a type that S-records do not know")),
    };
    let Some((length, rest)) = bytes.split_first() else {
        return Err(malformed("it is too short for a record"));
    };
    if rest.len() != usize::from(*length) || rest.len() < shortest {
        let why = format!(
            "it says that {length} bytes follow, there are {}, and its type needs {shortest}",
            rest.len()
        );
        return Err((FaultKind::Malformed, why));
    }
    Ok((*kind, bytes))
}

impl Format for SRecord {
    const CODE: &'static str = "s-record";

    fn take(&mut self, record: &[u8], memory: &mut Memory) -> Result<Record, Wrong> {
        let (kind, bytes) = parse(record)?;
        let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        if sum != 0xff {
            return Err((FaultKind::DigestWrong, "its checksum is wrong: the record is damaged".into()));
        }
        let width = match kind {
            b'2' | b'6' | b'8' => 3,
            b'3' | b'7' => 4,
            _ => 2,
        };
        let (address, data) = bytes[1..bytes.len() - 1].split_at(width);
        let address = address.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        match kind {
            b'0' => {
                self.header.get_or_insert_with(|| text_of(data));
            }
            b'1'..=b'3' => {
                self.data_records += 1;
                memory.fill(address, data.len())?;
            }
            b'5' | b'6' => {
                // The count has no more bits than this; writers let it wrap.
                let came = self.data_records % (1 << (8 * width));
                if came != address {
                    let why = format!("it counts {address} data records, and {came} have come");
                    return Err((FaultKind::Malformed, why));
                }
            }
            _ => {
                self.start = Some(address);
                return Ok(Record::End);
            }
        }
        Ok(Record::Ordinary)
    }

    fn state(&self, facts: &mut Facts) {
        facts.detail("header", self.header.as_deref().unwrap_or_default());
        if let Some(start) = self.start {
            facts.detail("start", format!("0x{start:08x}"));
        }
    }
}

#[cfg(test)]
mod tests;
