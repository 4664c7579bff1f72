//! What an edge does with a token: for the tests, which show that nothing but what was signed is accepted.

use subtle::ConstantTimeEq;

use super::TokenBuilder;

/// Whether an edge with these settings lets a request for `path` pass at `now`. The builder's own ip, start, session
/// and payload are not looked at: what counts is in the token.
pub(in crate::cdn) fn accepts(settings: &TokenBuilder<'_>, token: &str, path: &str, now: i64) -> bool {
    let delimiter = settings.field_delimiter;
    let Some((fields, hmac)) = token.rsplit_once(&format!("{delimiter}hmac=")) else { return false };
    let mut signed = fields.to_owned();
    let (mut acl, mut start, mut end) = (None, None, None);
    for field in fields.split(delimiter) {
        let Some((name, value)) = field.split_once('=') else { return false };
        match name {
            "acl" => acl = Some(value),
            "st" => start = value.parse::<i64>().ok(),
            "exp" => end = value.parse::<i64>().ok(),
            _ => {}
        }
    }
    if acl.is_none() {
        signed.push_str(&format!("{delimiter}url={}", settings.escaped(path)));
    }
    if let Some(salt) = settings.salt {
        signed.push_str(&format!("{delimiter}salt={salt}"));
    }
    let same = settings.mac(signed.as_bytes()).as_bytes().ct_eq(hmac.as_bytes());
    bool::from(same)
        && end.is_some_and(|end| now <= end)
        && start.is_none_or(|start| start <= now)
        && acl.is_none_or(|acl| {
            acl.split(settings.acl_delimiter).any(|pattern| fits(pattern.as_bytes(), path.as_bytes()))
        })
}

fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => fits(rest, text) || (!text.is_empty() && fits(pattern, &text[1..])),
        (Some((b'?', pattern)), Some((_, text))) => fits(pattern, text),
        (Some((expected, pattern)), Some((byte, text))) => expected == byte && fits(pattern, text),
        _ => false,
    }
}
