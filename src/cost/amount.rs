//! Amounts as people read them.

/// Bytes in a GB of this module (and of AWS's bills).
pub const GIB: f64 = (1u64 << 30) as f64;

/// Bytes in GB.
pub fn gigabytes(bytes: f64) -> f64 {
    bytes / GIB
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
