//! Compressed files as they are: gzip, xz, zstd, bzip2, lz4. What is inside is not looked at.
//!
//! | format | source | verified |
//! |---|---|---|
//! | `gzip` | RFC 1952 | header CRC16; CRC32 and size of what every member unpacks to |
//! | `xz` | "The .xz File Format" 1.2.1 | CRC32 of all headers, index and footer; blocks against the index |
//! | `zstd` | RFC 8878 | frames and blocks are walked to the last |
//! | `lz4` | lz4_Frame_format.md 1.6.2 | frames and blocks are walked to the last |
//! | `bzip2` | the mark that the format ends with | that it is there |
//!
//! Blocks of xz are walked by their LZMA2 chunks. So a cut shows in all of them. Damage inside shows in gzip;
//! in the others only in their structure, as their checks are over the unpacked content: unpacking takes a
//! window of megabytes whose size the file chooses (xz -9: 64 MiB), for each upload that is on its way.
//! Devices verify them when they unpack.

mod bzip2;
mod gzip;
mod lz4;
#[cfg(test)]
mod tests;
mod walk;
mod xz;
mod zstd;

use super::{Facts, FaultKind, Inspector, Payload, Report};
use walk::Walker;

/// Takes what begins with the magic number of one of the formats.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    match head {
        [0x1f, 0x8b, 8, ..] => Some(Box::new(gzip::Gzip::new())),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Box::new(Walker::new(xz::Xz::default()))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Some(Box::new(Walker::new(zstd::Zstd::default())))
        }
        [0x04, 0x22, 0x4d, 0x18, ..] | [0x02, 0x21, 0x4c, 0x18, ..] => {
            Some(Box::new(Walker::new(lz4::Lz4::default())))
        }
        [b'B', b'Z', b'h', b'1'..=b'9', magic @ ..] if bzip2::begins(magic) => {
            Some(Box::new(bzip2::Bzip2::new(head[3])))
        }
        _ => None,
    }
}
