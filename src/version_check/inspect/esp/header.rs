//! The header of an image.

use super::{u16_at, u32_at};
use crate::version_check::inspect::{FaultKind, NameKind, Report};

/// `ESP_IMAGE_HEADER_MAGIC`.
const MAGIC: u8 = 0xe9;
/// `sizeof(esp_image_header_t)`.
pub(super) const HEADER: usize = 24;
/// The ESP8266 has the first fields only.
const HEADER_ESP8266: usize = 8;
/// `ESP_IMAGE_MAX_SEGMENTS`.
pub(super) const MOST_SEGMENTS: u8 = 16;
/// The bootloader takes no longer segment.
pub(super) const LONGEST_SEGMENT: u32 = 16 << 20;
/// Chips by `esp_chip_id_t`: the name of ESP-IDF's target, and how people write it.
const CHIPS: [(u16, &str, &str); 14] = [
    (0, "esp32", "ESP32"),
    (2, "esp32s2", "ESP32-S2"),
    (5, "esp32c3", "ESP32-C3"),
    (9, "esp32s3", "ESP32-S3"),
    (12, "esp32c2", "ESP32-C2"),
    (13, "esp32c6", "ESP32-C6"),
    (16, "esp32h2", "ESP32-H2"),
    (18, "esp32p4", "ESP32-P4"),
    (20, "esp32c61", "ESP32-C61"),
    (23, "esp32c5", "ESP32-C5"),
    (25, "esp32h21", "ESP32-H21"),
    (28, "esp32h4", "ESP32-H4"),
    (31, "esp32e22", "ESP32-E22"),
    (32, "esp32s31", "ESP32-S31"),
];
const ESP32C6: u16 = 13;
/// `ESP_CHIP_ID_INVALID`.
const NO_CHIP: u16 = 0xffff;
const MODES: [&str; 6] = ["qio", "qout", "dio", "dout", "fast read", "slow read"];
const SIZES_ESP8266: [&str; 10] =
    ["512KB", "256KB", "1MB", "2MB", "4MB", "2MB-c1", "4MB-c1", "", "8MB", "16MB"];

/// A header's fields.
#[derive(Clone, Copy)]
pub(super) struct Header {
    /// Whether it is an ESP8266's.
    short: bool,
    /// How many there are.
    pub segments: u8,
    mode: u8,
    size: u8,
    frequency: u8,
    entry: u32,
    chip: u16,
    least_revision: u16,
    highest_revision: u16,
    reserved: [u8; 4],
    /// Whether a digest is appended.
    pub digest: u8,
}

impl Header {
    /// Reads one, of whatever sense.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [MAGIC, segments, mode, flash, ..] = *bytes else { return None };
        let entry = u32_at(bytes, 4)?;
        let mut header = Self {
            short: true,
            segments,
            mode,
            size: flash >> 4,
            frequency: flash & 0xf,
            entry,
            chip: NO_CHIP,
            least_revision: 0,
            highest_revision: 0,
            reserved: [0; 4],
            digest: 0,
        };
        // Where an ESP8266 has the address of its first segment, the others have a pin and drive strengths,
        // which are small numbers.
        let ram = |address| matches!(address, 0x3ffe_8000..0x4000_0000 | 0x4010_0000..0x4010_8000);
        let flash = |address| matches!(address, 0x4020_0000..0x4030_0000);
        if u32_at(bytes, 8).is_some_and(|address| ram(address) || flash(address)) {
            return Some(header);
        }
        header.short = false;
        header.chip = u16_at(bytes, 12)?;
        header.least_revision = u16_at(bytes, 15)?;
        header.highest_revision = u16_at(bytes, 17)?;
        header.reserved = *bytes.get(19..)?.first_chunk()?;
        header.digest = *bytes.get(23)?;
        Some(header)
    }

    /// How long it is.
    pub fn length(&self) -> usize {
        if self.short { HEADER_ESP8266 } else { HEADER }
    }

    /// Whether all fields make sense: one byte of magic does not tell an image from anything else.
    pub fn is_plausible(&self, first_segment: u32) -> bool {
        (1..=MOST_SEGMENTS).contains(&self.segments)
            && usize::from(self.mode) < MODES.len()
            && matches!(self.frequency, 0..=2 | 0xf)
            && self.size < if self.short { 10 } else { 8 }
            && (self.entry == 0 || self.entry >= 0x1000_0000)
            && (self.short || self.chip <= 0xff)
            && self.reserved == [0; 4]
            && self.digest <= 1
            && first_segment.is_multiple_of(4)
            && first_segment <= LONGEST_SEGMENT
    }

    /// States its fields, and what contradicts in them.
    pub fn state(&self, report: &mut Report) {
        let facts = &mut report.facts;
        if self.short {
            facts.name(NameKind::Chip, "esp8266");
            facts.detail("chip", "ESP8266");
        } else if let Some((id, target, name)) = CHIPS.iter().find(|(id, ..)| *id == self.chip) {
            facts.name(NameKind::Chip, target);
            facts.detail("chip", format!("{name} (id {id})"));
        } else {
            facts.name(NameKind::Chip, &format!("esp-chip-id-{}", self.chip));
            facts.detail("chip", format!("unknown (id {})", self.chip));
        }
        if !self.short {
            facts.detail("minimal chip revision", revision(self.least_revision));
            // Images made before the field existed have zero there.
            if self.highest_revision != 0 {
                facts.detail("maximal chip revision", revision(self.highest_revision));
            }
        }
        facts.detail("entry point", format!("{:#010x}", self.entry));
        facts.detail("segments", self.segments.to_string());
        facts.detail("flash mode", MODES.get(usize::from(self.mode)).copied().unwrap_or("unknown"));
        facts.detail("flash size", self.flash_size());
        facts.detail("flash frequency", self.flash_frequency());
        self.judge(report);
    }

    fn judge(&self, report: &mut Report) {
        if self.highest_revision != 0 && self.least_revision > self.highest_revision {
            report.fault(
                FaultKind::Malformed,
                format!(
                    "it asks for chip revision {} at least and {} at most, which no chip has",
                    revision(self.least_revision),
                    revision(self.highest_revision),
                ),
            );
        }
        if !self.short && self.chip == NO_CHIP {
            report.fault(FaultKind::Malformed, "the header's chip id is 0xffff, which no chip has");
        }
        if self.digest > 1 {
            report.fault(
                FaultKind::Malformed,
                format!("the header says {} to whether a digest is appended; it must be 0 or 1", self.digest),
            );
        }
        if !(1..=MOST_SEGMENTS).contains(&self.segments) {
            report.fault(
                FaultKind::Malformed,
                format!("it states {} segments; an image has 1 to {MOST_SEGMENTS}", self.segments),
            );
        }
    }

    fn flash_size(&self) -> String {
        match SIZES_ESP8266.get(usize::from(self.size)) {
            Some(size) if self.short => (*size).to_owned(),
            _ => format!("{}MB", 1 << self.size),
        }
    }

    /// `esp_image_spi_freq_t` divides the flash clock, which differs between chips.
    fn flash_frequency(&self) -> String {
        let clock = match self.chip {
            12 => 60,
            16 | 25 | 28 => 48,
            _ => 80,
        };
        match self.frequency {
            // esptool writes 0 for 80 MHz on the C6, whose ROM would set up another clock otherwise.
            0 if self.chip == ESP32C6 => "80m".to_owned(),
            0xf => format!("{clock}m"),
            divider @ 0..=2 => format!("{}m", clock / (divider + 2)),
            other => format!("unknown ({other})"),
        }
    }
}

/// A chip's revision as esptool prints it.
fn revision(full: u16) -> String {
    let any = if full == u16::MAX { " (any)" } else { "" };
    format!("v{}.{}{any}", full / 100, full % 100)
}

/// Of a description: eFuse blocks have revisions of the same form.
pub(super) fn block_revision(full: u16) -> String {
    format!("{}.{}", full / 100, full % 100)
}
