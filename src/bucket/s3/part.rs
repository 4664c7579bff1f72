//! Memory for parts: whole buffers of [`PART_SIZE`], and a budget of them.
//!
//! # Invariants
//! - A buffer exists only with a permit, is allocated once and never grows, and goes to the SDK without a copy.
//! - The permit comes back when the last reference to the bytes is gone, wherever that is: in the SDK for a
//!   retry, or in a connection that was cut off.
//! - No deadlock: who waits for a permit holds no buffer that only it could send. An upload asks for its next
//!   buffer only after its full one is on its way; a part on its way needs nothing more and ends by the operation's
//!   time-out; a buffer that fills waits for its caller alone, whose body has a time-out of its own.
//!
//! What it does not do: send.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bucket::PART_SIZE;

/// Buffers of one process: 12 of 8 MiB stay below 100 MiB, and let three uploads run at full speed
/// ([`super::multipart::IN_FLIGHT`]) or twelve at the speed of their callers.
const BUFFERS: usize = 12;

/// How many parts may be in memory, filling or on their way. Clones share it: make one for a process and give it to
/// all its buckets.
#[derive(Clone)]
pub struct PartBudget(Arc<Semaphore>);

impl Default for PartBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUFFERS)))
    }
}

impl PartBudget {
    /// A buffer, as soon as there is room for one.
    pub(super) async fn buffer(&self) -> PartBuffer {
        let permit = Arc::clone(&self.0).acquire_owned().await.expect("the semaphore is never closed");
        PartBuffer { bytes: Vec::with_capacity(PART_SIZE), _permit: permit }
    }

    /// How many buffers could be had at once, for tests and metrics.
    pub fn available(&self) -> usize {
        self.0.available_permits()
    }
}

/// A part that fills.
pub(super) struct PartBuffer {
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl PartBuffer {
    /// Takes from `bytes` what still fits.
    pub(super) fn fill(&mut self, bytes: &mut Bytes) {
        let room = PART_SIZE - self.bytes.len();
        let taken = room.min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..taken]);
        bytes.advance(taken);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() == PART_SIZE
    }

    /// The bytes, with the permit inside.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for PartBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_buffer_neither_grows_nor_moves_and_its_permit_lives_as_long_as_its_bytes() {
        let budget = PartBudget::default();
        let mut buffer = budget.buffer().await;
        let place = buffer.bytes.as_ptr();
        let mut input = Bytes::from(vec![7; PART_SIZE + 3]);
        buffer.fill(&mut input);
        assert!(buffer.is_full());
        assert_eq!(input.len(), 3);

        let bytes = buffer.freeze();
        let clone = bytes.slice(1..);
        assert_eq!(bytes.as_ptr(), place);
        drop(bytes);
        assert_eq!(budget.available(), BUFFERS - 1);
        drop(clone);
        assert_eq!(budget.available(), BUFFERS);
    }
}
