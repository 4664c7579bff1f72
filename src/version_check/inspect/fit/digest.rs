//! The digests that hash nodes name.

use std::collections::{BTreeMap, BTreeSet};

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A hash algorithm, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hash {
    Crc32,
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Crc32, Self::Md5, Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// As a hash node's `algo` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.name() == name)
    }
}

enum Hasher {
    Crc32(crc32fast::Hasher),
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

/// Several digests of the same bytes, in the making.
pub(super) struct Hashing(Vec<(Hash, Hasher)>);

/// Digests of the same bytes.
pub(super) type Hashed = BTreeMap<Hash, Vec<u8>>;

impl Hashing {
    /// Begins those digests.
    pub fn of(wanted: &BTreeSet<Hash>) -> Self {
        let hasher = |hash: Hash| match hash {
            Hash::Crc32 => Hasher::Crc32(crc32fast::Hasher::new()),
            Hash::Md5 => Hasher::Md5(Md5::new()),
            Hash::Sha1 => Hasher::Sha1(Sha1::new()),
            Hash::Sha256 => Hasher::Sha256(Sha256::new()),
            Hash::Sha384 => Hasher::Sha384(Sha384::new()),
            Hash::Sha512 => Hasher::Sha512(Sha512::new()),
        };
        Self(wanted.iter().map(|hash| (*hash, hasher(*hash))).collect())
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for (_, hasher) in &mut self.0 {
            match hasher {
                Hasher::Crc32(hasher) => hasher.update(bytes),
                Hasher::Md5(hasher) => hasher.update(bytes),
                Hasher::Sha1(hasher) => hasher.update(bytes),
                Hasher::Sha256(hasher) => hasher.update(bytes),
                Hasher::Sha384(hasher) => hasher.update(bytes),
                Hasher::Sha512(hasher) => hasher.update(bytes),
            }
        }
    }

    /// The digests.
    pub fn finish(self) -> Hashed {
        let digest = |hasher: Hasher| match hasher {
            Hasher::Crc32(hasher) => hasher.finalize().to_be_bytes().to_vec(),
            Hasher::Md5(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha1(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha256(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha384(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha512(hasher) => hasher.finalize().to_vec(),
        };
        self.0.into_iter().map(|(hash, hasher)| (hash, digest(hasher))).collect()
    }
}
