//! What applications and bootloaders say of themselves: `esp_app_desc_t` and `esp_bootloader_desc_t`.

use super::{header::block_revision, u16_at, u32_at};
use crate::version_check::inspect::{Facts, NameKind, facts::text_of};

/// `ESP_APP_DESC_MAGIC_WORD`.
pub(super) const APPLICATION_MAGIC: u32 = 0xabcd_5432;
/// `ESP_BOOTLOADER_DESC_MAGIC_BYTE`.
const BOOTLOADER_MAGIC: u8 = 80;
/// `sizeof(esp_app_desc_t)`, the longer one.
pub(super) const LONGEST: usize = 256;
/// `sizeof(esp_bootloader_desc_t)`.
const BOOTLOADER: usize = 80;

/// States an application's description, if that is what a segment starts with.
pub(super) fn application(start: &[u8], facts: &mut Facts) -> bool {
    if start.len() < LONGEST || u32_at(start, 0) != Some(APPLICATION_MAGIC) {
        return false;
    }
    let text = |at: usize, length: usize| text_of(start.get(at..at + length).unwrap_or_default());
    facts.security_counter = u32_at(start, 4).map(u64::from);
    facts.set_version(&text(16, 32));
    facts.name(NameKind::Product, &text(48, 32));
    facts.built_at = moment(&text(96, 16), &text(80, 16));
    facts.detail("ESP-IDF", text(112, 32));
    facts.detail("ELF SHA-256", hex::encode(&start[144..176]));
    let (least, highest) = (u16_at(start, 176).unwrap_or_default(), u16_at(start, 178).unwrap_or_default());
    // Both are zero in images made before the fields existed.
    if (least, highest) != (0, 0) {
        facts.detail("minimal eFuse block revision", block_revision(least));
        facts.detail("maximal eFuse block revision", block_revision(highest));
    }
    if let exponent @ 10..=30 = start[180] {
        facts.detail("MMU page size", format!("{} KB", 1_u32 << (exponent - 10)));
    }
    true
}

/// States a bootloader's description, if that is what the first segment starts with.
pub(super) fn bootloader(start: &[u8], facts: &mut Facts) -> bool {
    // One byte of magic does not tell it from code, so the version of ESP-IDF must be a text as well.
    let Some([BOOTLOADER_MAGIC, 0, 0, secure_version]) = start.first_chunk() else { return false };
    let Some(idf) = start.get(8..40) else { return false };
    let length = idf.iter().position(|byte| *byte == 0).unwrap_or_default();
    if start.len() < BOOTLOADER || length == 0 || !idf[..length].iter().all(u8::is_ascii_graphic) {
        return false;
    }
    facts.set_version(&u32_at(start, 4).unwrap_or_default().to_string());
    facts.security_counter = Some((*secure_version).into());
    facts.built_at = moment(&text_of(&start[40..64]), "");
    facts.detail("ESP-IDF", text_of(idf));
    true
}

/// A date and a time as the compiler writes them; a reproducible build has neither.
fn moment(date: &str, time: &str) -> Option<String> {
    let moment = format!("{date} {time}");
    let moment = moment.trim();
    (!moment.is_empty()).then(|| moment.to_owned())
}
