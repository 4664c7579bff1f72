//! Brings BER (ITU-T X.690, section 8) to DER (section 10) as far as a CMS needs it.

const DEEPEST: usize = 16;

/// The length of the header of a value, and of what it holds; `None` for an indefinite length.
pub(super) fn header_of(bytes: &[u8]) -> Option<(usize, Option<usize>)> {
    // Tag numbers above 30 occur nowhere in CMS.
    if bytes.first()? & 0x1f == 0x1f {
        return None;
    }
    match *bytes.get(1)? {
        short @ ..0x80 => Some((2, Some(usize::from(short)))),
        0x80 => Some((2, None)),
        long => {
            let digits = bytes.get(2..2 + usize::from(long & 0x7f))?;
            if digits.len() > 4 {
                return None;
            }
            let length = digits.iter().fold(0_u32, |length, digit| length << 8 | u32::from(*digit));
            Some((2 + digits.len(), Some(usize::try_from(length).ok()?)))
        }
    }
}

/// Brings BER to DER as far as lengths and strings go: indefinite and overlong lengths become minimal, an
/// octet string in pieces becomes one.
pub(super) fn to_der(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut rest = bytes;
    let mut der = Vec::with_capacity(bytes.len());
    one_to_der(&mut rest, &mut der, DEEPEST)?;
    if !rest.is_empty() {
        return Err(format!("goes on for {} bytes behind its CMS structure", rest.len()));
    }
    Ok(der)
}

fn one_to_der(rest: &mut &[u8], der: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    let tag = *rest.first().ok_or("ends in the middle of its CMS structure")?;
    let (header, length) = header_of(rest).ok_or("is no CMS structure (a tag or length is not readable)")?;
    let constructed = tag & 0x20 != 0;
    let ends = "ends in the middle of its CMS structure";
    let mut inside = match length {
        Some(length) => {
            let (inside, behind) =
                rest.get(header..).and_then(|value| value.split_at_checked(length)).ok_or(ends)?;
            *rest = behind;
            inside
        }
        None if constructed => &rest[header..],
        None => return Err("is no CMS structure (a value without a length)".into()),
    };
    if !constructed {
        put(der, tag, inside);
        return Ok(());
    }
    let depth = depth.checked_sub(1).ok_or_else(|| format!("is nested more than {DEEPEST} levels deep"))?;
    let mut value = Vec::new();
    loop {
        match (length, inside) {
            (Some(_), []) => break,
            (None, [0, 0, behind @ ..]) => {
                *rest = behind;
                break;
            }
            (None, []) => return Err(ends.into()),
            _ => one_to_der(&mut inside, &mut value, depth)?,
        }
    }
    // An octet string in pieces: only what the pieces hold counts.
    if tag == 0x24 {
        let mut pieces = value.as_slice();
        let mut joined = Vec::with_capacity(value.len());
        while !pieces.is_empty() {
            let Some((header, Some(length))) = header_of(pieces) else { return Err(ends.into()) };
            let end = header.checked_add(length).ok_or(ends)?;
            joined.extend_from_slice(pieces.get(header..end).ok_or(ends)?);
            pieces = &pieces[end..];
        }
        put(der, 0x04, &joined);
    } else {
        put(der, tag, &value);
    }
    Ok(())
}

fn put(der: &mut Vec<u8>, tag: u8, value: &[u8]) {
    der.push(tag);
    let length = value.len().to_be_bytes();
    match value.len() {
        short @ 0..0x80 => der.push(short as u8),
        _ => {
            let digits = &length[length.iter().take_while(|digit| **digit == 0).count()..];
            der.push(0x80 | digits.len() as u8);
            der.extend_from_slice(digits);
        }
    }
    der.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_der_stays_as_it_is() {
        for der in [&[0x05, 0][..], &[0x30, 3, 0x02, 1, 5], &[0x04, 0x81, 0x80]] {
            let der = if der.len() == 3 && der[0] == 4 { [der, &[7; 0x80]].concat() } else { der.to_vec() };
            assert_eq!(to_der(&der), Ok(der));
        }
    }

    #[test]
    fn lengths_and_pieces_become_minimal() {
        assert_eq!(to_der(&[0x30, 0x80, 0x02, 1, 5, 0, 0]), Ok(vec![0x30, 3, 0x02, 1, 5]));
        assert_eq!(to_der(&[0x30, 0x84, 0, 0, 0, 3, 0x02, 0x81, 0]), Ok(vec![0x30, 2, 0x02, 0]));
        let pieces = [0x24, 0x80, 0x04, 2, 1, 2, 0x24, 4, 0x04, 1, 3, 0x05, 0, 0x04, 1, 4, 0, 0];
        assert!(to_der(&pieces).is_err(), "a length that splits what is in it");
        let pieces = [0x24, 0x80, 0x04, 2, 1, 2, 0x24, 3, 0x04, 1, 3, 0x04, 1, 4, 0, 0];
        assert_eq!(to_der(&pieces), Ok(vec![0x04, 4, 1, 2, 3, 4]));
    }

    #[test]
    fn what_is_broken_is_refused() {
        for (bytes, why) in [
            (&[][..], "ends in the middle"),
            (&[0x30], "no CMS"),
            (&[0x30, 5, 0x02, 1, 5], "ends in the middle"),
            (&[0x30, 0x80, 0x02, 1, 5], "ends in the middle"),
            (&[0x30, 0x80, 0x02, 1, 5, 0], "not readable"),
            (&[0x04, 0x80, 0, 0], "without a length"),
            (&[0x30, 0x85, 0, 0, 0, 0, 1, 5], "not readable"),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], "ends in the middle"),
            (&[0x1f, 1, 0], "not readable"),
            (&[0x05, 0, 0], "goes on for 1 bytes"),
        ] {
            let error = to_der(bytes).expect_err(why);
            assert!(error.contains(why), "{bytes:02x?}: {error}");
        }
        let deep = [0x30, 0x80].repeat(100_000);
        assert!(to_der(&deep).expect_err("deep").contains("nested"));
        // Many siblings are no depth.
        assert_eq!(
            to_der(&[&[0x30, 0x80][..], &[0x30, 0].repeat(1000), &[0, 0]].concat()).map(|der| der.len()),
            Ok(2004)
        );
    }
}
