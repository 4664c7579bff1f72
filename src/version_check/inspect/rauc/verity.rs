//! The dm-verity hash tree behind a bundle's payload (RAUC, `src/verity_hash.c`; Linux, `dm-verity`): version
//! 1, SHA-256, blocks of 4096 bytes.
//!
//! Layout: the levels from the root's down to that of the data; a level has one digest of 32 bytes per block
//! of the one below, 128 in a block, the rest of its last block zeros. A digest is that of the salt and the
//! block; the root hash, which the manifest states, is that of the first block of the tree.
//!
//! The salt stands in the manifest, behind all blocks, so a block must be kept until the end to be compared:
//! all of the tree is as long as it fits into what is kept (1/128 of the payload), and as many of the last
//! blocks of the payload.

use sha2::{Digest, Sha256};

use super::squashfs::Kept;

/// Bytes of a block of the tree and of the data.
pub(super) const BLOCK: u64 = 4096;
const DIGEST: usize = 32;
const PER_BLOCK: u64 = BLOCK / DIGEST as u64;

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Compared {
    /// Blocks of the tree.
    pub tree: u64,
    /// Blocks of the payload.
    pub data: u64,
}

/// What does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The tree must have this many bytes for this payload.
    Size(u64),
    /// The root hash is not that of the tree.
    Root,
    /// A digest in the tree is not that of the block at this place.
    Block(u64),
    /// A block of the tree, at this place, has something where zeros should be.
    NotZero(u64),
}

/// Levels of the tree over so many blocks, from that of the data on: how many blocks each has.
fn levels(data_blocks: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut below = data_blocks;
    while below > 1 {
        below = below.div_ceil(PER_BLOCK);
        levels.push(below);
    }
    levels
}

/// Compares the tree over the first `data_size` bytes with the blocks that are kept, and with the root hash.
pub(super) fn compare(
    kept: Kept<'_>,
    data_size: u64,
    tree_size: u64,
    salt: &[u8],
    root: &[u8],
) -> Result<Compared, Wrong> {
    let data_blocks = data_size / BLOCK;
    let levels = levels(data_blocks);
    let needed = levels.iter().sum::<u64>() * BLOCK;
    if needed != tree_size {
        return Err(Wrong::Size(needed));
    }
    let mut compared = Compared { tree: 0, data: 0 };
    // The level above is checked before its digests are believed.
    let mut place = data_size;
    if let Some(top) = block(kept, place)
        && !levels.is_empty()
    {
        if hash(salt, top) != root {
            return Err(Wrong::Root);
        }
        compared.tree = 1;
    }
    for (level, &blocks) in levels.iter().enumerate().rev() {
        let below = if level == 0 { data_blocks } else { levels[level - 1] };
        let below_at = if level == 0 { 0 } else { place + blocks * BLOCK };
        let compared = if level == 0 { &mut compared.data } else { &mut compared.tree };
        for number in 0..blocks {
            let at = place + number * BLOCK;
            let Some(digests) = block(kept, at) else { continue };
            let first = number * PER_BLOCK;
            let used = (below - first).min(PER_BLOCK);
            for (digest, number) in digests.chunks_exact(DIGEST).zip(first..first + used) {
                let at = below_at + number * BLOCK;
                let Some(block) = block(kept, at) else { continue };
                if hash(salt, block) != digest {
                    return Err(Wrong::Block(at));
                }
                *compared += 1;
            }
            if digests[used as usize * DIGEST..].iter().any(|byte| *byte != 0) {
                return Err(Wrong::NotZero(at));
            }
        }
        place += blocks * BLOCK;
    }
    Ok(compared)
}

fn block(kept: Kept<'_>, at: u64) -> Option<&[u8]> {
    let from = usize::try_from(at.checked_sub(kept.start)?).ok()?;
    kept.bytes.get(from..)?.get(..BLOCK as usize)
}

fn hash(salt: &[u8], block: &[u8]) -> [u8; DIGEST] {
    Sha256::new().chain_update(salt).chain_update(block).finalize().into()
}
