//! Intel HEX: a text that says which bytes go to which addresses (Intel, "Hexadecimal Object File Format
//! Specification", revision A, 1988).
//!
//! # Layout
//! A record a line: `:`, then in hexadecimal digits the data's length, a 16-bit address, the type, the data,
//! and a checksum that makes the sum of all bytes 0. Types: 00 data, 01 end of file, 02 segment that
//! addresses count from, 03 start as CS:IP, 04 upper half of addresses, 05 start as EIP.
//!
//! # What it verifies
//! Every record's length and checksum; that the end is there, and nothing behind it; that no address is
//! written twice or lies past 2^32; that there is one start address.
//!
//! # What it does not do
//! Know what the data is: an Intel HEX file states no version and no names. Take vendors' record types.

#[cfg(test)]
mod tests;

use super::records::{self, Format, Memory, Record, Text, Wrong};
use super::{Facts, FaultKind, Inspector};

/// Takes a text that begins with `:` and whose first lines are records.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    let is_one = head.starts_with(b":") && records::probe(head, |line| parse(line).is_ok());
    is_one.then(|| Box::new(Text::new(IntelHex::default())) as _)
}

#[derive(Default)]
struct IntelHex {
    /// What addresses count from.
    base: u64,
    /// Whether `base` is a segment, in which addresses wrap at 64 kB.
    segment: bool,
    start: Option<(u8, u32)>,
}

/// A record's bytes, from length to checksum, if it has the right length and a known type.
fn parse(line: &[u8]) -> Result<Vec<u8>, Wrong> {
    let malformed = |why: &str| (FaultKind::Malformed, why.to_owned());
    let digits = line.strip_prefix(b":").ok_or_else(|| malformed("it does not begin with a colon"))?;
    let bytes =
        hex::decode(digits).map_err(|_| malformed("it is not made of pairs of hexadecimal digits"))?;
    let [length, _, _, kind, data @ .., _] = &bytes[..] else {
        return Err(malformed("it is too short for a record"));
    };
    let wanted = match kind {
        0 => usize::from(*length),
        1 => 0,
        2 | 4 => 2,
        3 | 5 => 4,
        _ => {
            return Err((
                FaultKind::Malformed,
                format!("it has type {kind:02x}, which Intel HEX does not know"),
            ));
        }
    };
    if data.len() != usize::from(*length) || data.len() != wanted {
        let why = format!("it says that it has {length} bytes of data, and has {}", data.len());
        return Err((FaultKind::Malformed, why));
    }
    Ok(bytes)
}

impl Format for IntelHex {
    const CODE: &'static str = "intel-hex";

    fn take(&mut self, record: &[u8], memory: &mut Memory) -> Result<Record, Wrong> {
        let bytes = parse(record)?;
        let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        if sum != 0 {
            return Err((FaultKind::DigestWrong, "its checksum is wrong: the record is damaged".into()));
        }
        let data = &bytes[4..bytes.len() - 1];
        let number = data.iter().take(4).fold(0u32, |number, byte| number << 8 | u32::from(*byte));
        match bytes[3] {
            0 => {
                let address = u16::from_be_bytes([bytes[1], bytes[2]]);
                if self.segment && usize::from(address) + data.len() > 1 << 16 {
                    return Err((FaultKind::Malformed, "its data goes over the end of its segment".into()));
                }
                memory.fill(self.base + u64::from(address), data.len())?;
            }
            1 => return Ok(Record::End),
            2 => (self.base, self.segment) = (u64::from(number) << 4, true),
            4 => (self.base, self.segment) = (u64::from(number) << 16, false),
            kind => {
                if self.start.replace((kind, number)).is_some_and(|before| before != (kind, number)) {
                    return Err((
                        FaultKind::Malformed,
                        "it states another start address than a record before".into(),
                    ));
                }
            }
        }
        Ok(Record::Ordinary)
    }

    fn state(&self, facts: &mut Facts) {
        match self.start {
            Some((3, start)) => facts.detail("start", format!("{:04x}:{:04x}", start >> 16, start & 0xffff)),
            Some((_, start)) => facts.detail("start", format!("0x{start:08x}")),
            None => {}
        }
    }
}
