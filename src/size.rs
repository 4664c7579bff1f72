//! Sizes as people write them, in settings and on the command line.

/// A size such as `64MiB`, `1.5 GB`, `400k` or `1234`, in bytes. `KiB`, `MiB`, … and the bare letters `K`, `M`, … are powers
/// of 1024, `KB`, `MB`, … powers of 1000.
///
/// # Errors
/// With what a size looks like.
pub fn parse(text: &str) -> Result<u64, String> {
    let invalid = || format!("{text:?} is no size such as 64MiB, 1.5GB or 1048576");
    let trimmed = text.trim();
    let unit_at = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(unit_at);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1234", 1234),
            ("64MiB", 64 << 20),
            ("64 M", 64 << 20),
            ("64MB", 64_000_000),
            ("1.5GiB", 3 << 29),
            ("400k", 400 << 10),
            ("2TB", 2_000_000_000_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.2.3", "64 miles", "99999999TiB", "1e3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
