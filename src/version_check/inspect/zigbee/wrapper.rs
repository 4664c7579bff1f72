//! What some makers put around a Zigbee OTA file.

use sha2::Sha512;

use super::header::{Header, word};
use crate::version_check::inspect::Facts;

const THIRD_REALITY_PREFIX: usize = 152;
pub(super) const LEGRAND_SUFFIX: u64 = 17;

/// What a maker puts around the file.
pub(super) enum Wrapper {
    None,
    /// A container with its own signature behind the file; the end of the file in it.
    Ikea {
        end: u64,
    },
    /// The size before and 17 bytes behind the file.
    Legrand,
    /// A header with SHA-512 of all but its first 64 bytes, which are the digest.
    ThirdReality {
        stated: [u8; 64],
        hasher: Box<Sha512>,
    },
    Unknown,
}

/// Knows the wrapper by what is before the header, and states it.
pub(super) fn read_wrapper(prefix: &[u8], header: &Header, facts: &mut Facts) -> Wrapper {
    let before = prefix.len() as u64;
    let wrapper = if prefix.starts_with(b"NGIS") && word(prefix, 16).map(u64::from) == Some(before) {
        Wrapper::Ikea { end: before + u64::from(word(prefix, 20).unwrap_or(0)) }
    } else if prefix == header.size.to_le_bytes() {
        Wrapper::Legrand
    } else if prefix.len() == THIRD_REALITY_PREFIX
        && word(prefix, 68).map(u64::from) == Some(before - 64 + u64::from(header.size))
        && let Some(stated) = prefix.first_chunk()
    {
        Wrapper::ThirdReality { stated: *stated, hasher: Box::default() }
    } else {
        Wrapper::Unknown
    };
    let name = match wrapper {
        Wrapper::None => return wrapper,
        Wrapper::Ikea { .. } => "IKEA container (NGIS)",
        Wrapper::Legrand => "Legrand",
        Wrapper::ThirdReality { .. } => "Third Reality",
        Wrapper::Unknown => "unknown",
    };
    facts.detail("wrapper", format!("{name}, {before} bytes before the OTA header"));
    wrapper
}
