//! Amounts as people write and read them: sizes, dollars.

/// Bytes in a GB of this module (and of AWS's bills).
pub const GIB: f64 = (1u64 << 30) as f64;

/// Bytes in GB.
pub fn gigabytes(bytes: f64) -> f64 {
    bytes / GIB
}

/// A size such as `64MiB`, `1.5 GB`, `400k` or `1234`, in bytes. `KiB`, `MiB`, … and the bare letters `K`, `M`, … are powers
/// of 1024, `KB`, `MB`, … powers of 1000.
///
/// # Errors
/// With what a size looks like.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let invalid = || format!("{text:?} is no size such as 64MiB, 1.5GB or 1048576");
    let trimmed = text.trim();
    let unit_at = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(unit_at);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => GIB,
        "t" | "tib" => 1024.0 * GIB,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(invalid()),
    };
    let bytes = (number * factor).round();
    // Beyond 2^53 an f64 skips numbers; no fleet stores 8 PiB of firmware.
    if bytes.is_finite() && bytes <= 9_007_199_254_740_992.0 { Ok(bytes as u64) } else { Err(invalid()) }
}

/// Dollars with thousands separators, with cents below 100.
pub fn usd(amount: f64) -> String {
    if amount.abs() < 99.995 {
        return format!("{amount:.2}");
    }
    let digits = format!("{:.0}", amount.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if amount < 0.0 { format!("-{text}") } else { text }
}
