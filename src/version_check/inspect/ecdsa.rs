//! ECDSA signatures as the formats have them, brought to the one form that [`super::Signature`] carries.

/// `ECDSA-Sig-Value` (RFC 3279, 2.2.3) of two big-endian numbers, of 1 to 48 bytes each, so that all lengths are
/// short.
pub(super) fn to_der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count().min(number.len().saturating_sub(1));
        let number = &number[zeros..];
        // DER's integers have a sign.
        let sign: &[u8] = if number.first().is_some_and(|byte| *byte < 0x80) { &[] } else { &[0] };
        [&[0x02, (sign.len() + number.len()) as u8], sign, number].concat()
    };
    let (r, s) = (integer(r), integer(s));
    [&[0x30, (r.len() + s.len()) as u8], &r[..], &s[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_minimal_and_positive() {
        let value = |first: [u8; 2], second: [u8; 2]| {
            let number = |start: [u8; 2]| [&start[..], &[7; 30]].concat();
            to_der(&number(first), &number(second))
        };
        let der = value([0x80, 1], [0x7f, 1]);
        assert_eq!(der[..7], [0x30, 69, 2, 33, 0, 0x80, 1]);
        assert_eq!(der[37..41], [2, 32, 0x7f, 1]);
        let der = value([0, 1], [0, 0x80]);
        assert_eq!(der[..5], [0x30, 67, 2, 31, 1]);
        assert_eq!(der[35..39], [2, 32, 0, 0x80]);
        assert_eq!(to_der(&[0; 32], &[0; 48]), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        assert_eq!(to_der(&[0xff; 48], &[0xff; 48]).len(), 2 + 2 * (3 + 48));
    }
}
