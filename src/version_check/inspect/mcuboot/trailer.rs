//! What follows an MCUboot image: nothing, or the rest of its slot.
//!
//! `imgtool --pad` fills the slot with erased flash and ends it with the trailer of an image that waits to be
//! swapped in (`struct image_trailer` in `boot/bootutil/src/bootutil_priv.h`). From its end: the magic,
//! rounded up to the largest write size of the flash; `image_ok`, one write unit, set by `--confirm`; the
//! rest is erased as well.

use super::{FaultKind, Order, Report};

/// `boot_img_magic` of flash that writes 8 bytes or fewer at once.
const MAGIC: [u8; 16] =
    [0x77, 0xc2, 0x95, 0xf3, 0x60, 0xd2, 0xef, 0x7f, 0x35, 0x52, 0x50, 0x0f, 0x2c, 0xb6, 0x79, 0x80];
/// Its end where two bytes before it state a larger write size.
const MAGIC_WITH_SIZE: [u8; 14] =
    [0x2d, 0xe1, 0x5d, 0x29, 0x41, 0x0b, 0x8d, 0x77, 0x67, 0x9c, 0x11, 0x0f, 0x1f, 0x8a];
/// The most that the magic and `image_ok` take: two units of the largest write size, which is 32.
const TAIL: usize = 64;

/// Looks at the bytes behind the TLVs and keeps the last of them.
#[derive(Default)]
pub(super) struct Trailer {
    size: u64,
    /// The value of all bytes before the tail, while they are all the same.
    fill: Option<u8>,
    mixed: bool,
    tail: Vec<u8>,
}

impl Trailer {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        let passing = (self.tail.len() + bytes.len()).saturating_sub(TAIL);
        let (old, new) = (passing.min(self.tail.len()), passing.saturating_sub(self.tail.len()));
        let passed: Vec<u8> = self.tail.drain(..old).collect();
        self.fill(&passed);
        self.fill(&bytes[..new]);
        self.tail.extend_from_slice(&bytes[new..]);
    }

    fn fill(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first() {
            let fill = *self.fill.get_or_insert(*first);
            self.mixed |= bytes.iter().any(|byte| *byte != fill);
        }
    }

    /// Says what it is that follows the `image` bytes of the image.
    pub fn state(&self, image: u64, order: Order, report: &mut Report) {
        if self.size == 0 {
            return;
        }
        let slot = image + self.size;
        match self.slot(order) {
            Some(Slot { erased: true, confirmed }) => {
                report.facts.detail("slot size", slot.to_string());
                report.facts.detail("slot trailer", if confirmed { "confirmed" } else { "to be tried" });
            }
            Some(Slot { erased: false, .. }) => report.fault(
                FaultKind::Padded,
                format!(
                    "it is a slot of {slot} bytes whose rest is not erased behind the image's {image}: it \
                     was read back from \
                     a device or patched; publish the file that imgtool made"
                ),
            ),
            None => report.fault(
                FaultKind::Padded,
                format!(
                    "{} bytes follow the image's {image}, and they are not the rest of a slot with its \
                     trailer: publish the \
                     file that imgtool made, without additions",
                    self.size
                ),
            ),
        }
    }

    /// The slot that ends here, if one does.
    fn slot(&self, order: Order) -> Option<Slot> {
        let magic = self.tail.last_chunk::<16>()?;
        let unit = if *magic == MAGIC {
            8
        } else if magic[2..] == MAGIC_WITH_SIZE {
            usize::from(order.u16(magic, 0)?)
        } else {
            return None;
        };
        if ![8, 16, 32].contains(&unit) {
            return None;
        }
        let image_ok = self.tail.len().checked_sub(unit.max(16) + unit)?;
        let mut rest = self.tail[..self.tail.len() - 16].to_vec();
        let confirmed = rest.get(image_ok) == Some(&1);
        if confirmed {
            rest.remove(image_ok);
        }
        let fill = self.fill.or(rest.first().copied()).unwrap_or(0xff);
        let erased = !self.mixed && [0xff, 0].contains(&fill) && rest.iter().all(|byte| *byte == fill);
        Some(Slot { erased, confirmed })
    }
}

struct Slot {
    /// Whether there is nothing else in it.
    erased: bool,
    confirmed: bool,
}
