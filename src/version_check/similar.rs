//! Names and versions that people would take for one another.

use crate::domain::Version;

/// Whether two names are nearly, but not quite, the same: they differ in case, in `-_.`, or by one letter. Digits do
/// not count, as names that carry a number are told apart by it on purpose.
pub fn nearly_same(one: &str, other: &str) -> bool {
    // What differs in digits alone is one name with different numbers in it.
    if same_but_for_digits(one, other) {
        return false;
    }
    let (one, other) = (folded(one), folded(other));
    // Short names are near each other by chance.
    one == other || (one.len().min(other.len()) >= 5 && one_edit_apart(&one, &other))
}

/// Whether two names are the same but for the digits in them.
pub(super) fn same_but_for_digits(one: &str, other: &str) -> bool {
    digits_as_one(one) == digits_as_one(other)
}

/// Whether two versions are the same to people: case, separators and leading zeros of the pre-release do not count.
pub(super) fn spelled_otherwise(one: &Version, other: &Version) -> bool {
    if one == other {
        return false;
    }
    let (one, other) = (one.to_string(), other.to_string());
    let (Some((core, pre)), Some((other_core, other_pre))) = (one.split_once('-'), other.split_once('-'))
    else {
        return false;
    };
    core == other_core && words(pre) == words(other_pre)
}

/// Runs of letters and of digits, so that `rc.1`, `RC-01` and `rc1` are alike, but `rc.1.1` and `rc.11` are not.
fn words(pre: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut last = None;
    for byte in pre.bytes() {
        let kind = byte.is_ascii_alphanumeric().then(|| byte.is_ascii_digit());
        match (kind, words.last_mut()) {
            (None, _) => {}
            (kind, Some(word)) if kind == last => word.push(byte.to_ascii_lowercase().into()),
            _ => words.push(char::from(byte.to_ascii_lowercase()).into()),
        }
        last = kind;
    }
    let plain = |word: String| match word.trim_start_matches('0') {
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    };
    words.into_iter().map(plain).collect()
}

fn digits_as_one(name: &str) -> String {
    let mut shape = String::new();
    for c in name.chars() {
        let c = if c.is_ascii_digit() { '0' } else { c };
        if c != '0' || !shape.ends_with('0') {
            shape.push(c);
        }
    }
    shape
}

fn folded(name: &str) -> Vec<u8> {
    digits_as_one(name).bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase()).collect()
}

/// Whether one letter is added, dropped, replaced, or swapped with the next.
fn one_edit_apart(one: &[u8], other: &[u8]) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let start = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    let (short, long) = (&short[start..], &long[start..]);
    match long.len() - short.len() {
        0 => {
            let swapped =
                short.len() >= 2 && short[0] == long[1] && short[1] == long[0] && short[2..] == long[2..];
            short.len() <= 1 || short[1..] == long[1..] || swapped
        }
        1 => *short == long[1..],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_seen_and_a_number_is_none() {
        for (one, other) in [
            ("thermo-x", "thermo_x"),
            ("thermo-x", "Thermo-X"),
            ("thermo", "termo"),
            ("thermo", "theromo"),
            ("thermo", "tehrmo"),
            ("thermo-app-1.4.0.bin", "thermo_app-1.4.1.bin"),
        ] {
            assert!(nearly_same(one, other) && nearly_same(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("thermo", "thermo"),
            ("app-1.4.0.bin", "app-1.14.0.bin"),
            ("thermo1", "thermo2"),
            ("a", "b"),
            ("thermo", "hygro"),
            ("app.bin", "bootloader.bin"),
        ] {
            assert!(!nearly_same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_version_has_one_spelling() {
        let alike = |one: &str, other: &str| {
            let version = |text| Version::parse(text).expect("valid");
            spelled_otherwise(&version(one), &version(other))
        };
        assert!(alike("1.4.0-rc.1", "1.4.0-RC.1"));
        assert!(alike("1.4.0-rc.1", "1.4.0-rc1"));
        assert!(alike("1.4.0-rc-1", "1.4.0-rc01"));
        for (one, other) in [
            ("1.4.0-rc.1", "1.4.0-rc.1"),
            ("1.4.0-rc.1", "1.4.0-rc.2"),
            ("1.4.0-rc.1.1", "1.4.0-rc.11"),
            ("1.4.0", "1.4.0-rc.1"),
            ("1.4.0-rc.1", "1.4.1-rc.1"),
        ] {
            assert!(!alike(one, other), "{one} {other}");
        }
    }
}
