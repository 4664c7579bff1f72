//! SHA-256, SHA-1 and MD5 of a stream in one pass.

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use crate::domain::Digests;

/// Hashes bytes as they pass.
#[derive(Default)]
pub struct Hasher {
    size: u64,
    sha256: Sha256,
    sha1: Sha1,
    md5: Md5,
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha256.update(bytes);
        self.sha1.update(bytes);
        self.md5.update(bytes);
    }

    /// How many bytes there were, and their digests.
    pub fn finish(self) -> (u64, Digests) {
        let digests = Digests {
            sha256: self.sha256.finalize().into(),
            sha1: self.sha1.finalize().into(),
            md5: self.md5.finalize().into(),
        };
        (self.size, digests)
    }

    /// How many bytes there were up to now.
    pub fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_those_of_the_standards() {
        let mut hasher = Hasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        let (size, digests) = hasher.finish();
        assert_eq!(size, 3);
        // FIPS 180-4 examples and RFC 1321, A.5.
        assert_eq!(
            hex::encode(digests.sha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(hex::encode(digests.sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex::encode(digests.md5), "900150983cd24fb0d6963f7d28e17f72");
    }
}
