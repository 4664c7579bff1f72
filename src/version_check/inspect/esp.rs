//! Images of Espressif chips: applications and bootloaders of ESP-IDF, as `esptool` makes them.
//!
//! # Layout
//! (`esp_app_format.h`, `esp_app_desc.h`, `esp_bootloader_desc.h` and `esp_secure_boot.h` of ESP-IDF; all is
//! little-endian.) A header of 24 bytes (8 on the ESP8266), segments of address, length and data, padding,
//! one byte of checksum that ends a block of 16; a SHA-256 if the header says so (`image.rs`). The first
//! segment of an application begins with its description, that of a newer bootloader with another one
//! (`description.rs`). Secure boot V2 pads with 0xff to a sector and adds one of up to three signature
//! blocks; V1 adds 68 bytes (`signature.rs`). A flash image merged from address 0 goes on with erased flash,
//! a partition table at 0x8000 and an application (`flash.rs`).
//!
//! Formats: `esp-app`; `esp-bootloader`; `esp-flash` for a merged one, which is no update: it overwrites a
//! device from its first byte.
//!
//! # What it verifies
//! The checksum and the SHA-256; of signature blocks their CRC32 and the digest that they state; the MD5 of a
//! partition table, and its first application like an image of its own.
//!
//! # Limits
//! 16 segments of 16 MiB, as the bootloader has them; 95 partitions, by the size of the table.
//!
//! # What it does not do
//! Recognise a merged image of chips whose bootloader is not at 0 (ESP32, S2, P4, C5), which begins with
//! erased flash. Read ESP8266 images of version 2 (0xEA) or 3 (its RTOS SDK), or those with
//! `--ram-only-header`, which end as two images. Decrypt: an image encrypted for flash is random bytes.
//! Verify signatures of applications inside a merged image.

mod description;
mod flash;
mod header;
mod image;
mod signature;

use super::{Facts, FaultKind, Inspector, Report};
use image::Image;

/// A sector of flash, where a signature of secure boot V2 begins.
const SECTOR: u64 = 4096;
/// What follows an image is looked at up to here, if it is a signature of secure boot V1.
const SIGNATURE_V1: usize = 68;

/// Knows an image by its first byte, and by a header in which all fields make sense, or a description that
/// follows.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    let image = Image::probe(head)?;
    Some(Box::new(Esp {
        report: Report { facts: Facts::of("esp-app"), ..Report::default() },
        image,
        behind: None,
    }))
}

struct Esp {
    report: Report,
    image: Image,
    behind: Option<Behind>,
}

/// What follows the image.
struct Behind {
    /// The size of the image.
    start: u64,
    /// How much followed it.
    size: u64,
    /// Up to the next sector: whether it is erased.
    filler_erased: bool,
    /// Of the image without what follows.
    digest: [u8; 32],
    /// The first bytes.
    first: Vec<u8>,
    /// The next sector.
    sector: Vec<u8>,
    flash: flash::Flash,
}

impl Inspector for Esp {
    fn update(&mut self, bytes: &[u8]) {
        let taken = self.image.update(bytes, &mut self.report);
        let rest = &bytes[taken..];
        if !rest.is_empty() {
            let image = &mut self.image;
            self.behind.get_or_insert_with(|| Behind::new(image)).update(rest, image);
        }
    }

    /// A bootloader's are not told: it may turn out to be the beginning of a whole flash.
    fn so_far(&self) -> Option<&Facts> {
        self.image.is_application().then_some(&self.report.facts)
    }

    fn finish(self: Box<Self>) -> Report {
        let Self { mut report, mut image, behind } = *self;
        image.finish(&mut report);
        if let Some(behind) = behind {
            behind.state(image, &mut report);
        }
        report
    }
}

impl Behind {
    fn new(image: &Image) -> Self {
        Self {
            start: image.size(),
            size: 0,
            filler_erased: true,
            digest: image.hashes().0,
            first: Vec::new(),
            sector: Vec::new(),
            flash: flash::Flash::default(),
        }
    }

    /// Where a signature sector would begin.
    fn sector_start(&self) -> u64 {
        self.start.next_multiple_of(SECTOR)
    }

    fn update(&mut self, bytes: &[u8], image: &mut Image) {
        let at = self.start + self.size;
        self.size += bytes.len() as u64;
        let filler = window(bytes, at, self.start, self.sector_start());
        self.filler_erased &= filler.iter().all(|byte| *byte == 0xff);
        image.hash(filler);
        self.sector.extend_from_slice(window(bytes, at, self.sector_start(), self.sector_start() + SECTOR));
        let wanted = SIGNATURE_V1.saturating_sub(self.first.len()).min(bytes.len());
        self.first.extend_from_slice(&bytes[..wanted]);
        self.flash.update(bytes, at);
    }

    fn state(self, image: Image, report: &mut Report) {
        let end = self.start + self.size;
        if self.flash.is_there() {
            return self.flash.state(end, report);
        }
        if self.filler_erased && signature::is_sector(&self.sector) {
            signature::state_sector(&self.sector, image.hashes(), report);
            let behind = end.saturating_sub(self.sector_start() + SECTOR);
            if behind > 0 {
                report.facts.installed_size = Some(self.sector_start() + SECTOR);
                report.fault(
                    FaultKind::Padded,
                    format!(
                        "{behind} bytes follow the signature sector, at byte {}: publish the file that \
                             espsecure made",
                        end - behind
                    ),
                );
            }
            return;
        }
        if self.size == SIGNATURE_V1 as u64 && signature::state_v1(&self.first, self.digest, report) {
            return;
        }
        report.facts.installed_size = Some(self.start);
        let what = if self.filler_erased && self.sector.iter().all(|byte| *byte == 0xff) {
            "erased flash: build it without --pad-to-size, or publish the file that was merged, not the \
             result"
        } else {
            "neither a signature of secure boot nor a partition table: publish the file that esptool made"
        };
        report.fault(
            FaultKind::Padded,
            format!("{} bytes follow the image of {} bytes, and they are {what}", self.size, self.start),
        );
    }
}

/// The part of bytes that are at `at` which lies between `start` and `end`.
fn window(bytes: &[u8], at: u64, start: u64, end: u64) -> &[u8] {
    let index = |place: u64| {
        usize::try_from(place.saturating_sub(at)).map_or(bytes.len(), |index| index.min(bytes.len()))
    };
    &bytes[index(start)..index(end.max(start))]
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
