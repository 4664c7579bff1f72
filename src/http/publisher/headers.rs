//! What an upload's headers say of its body.

use axum::http::{HeaderMap, header};
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{error::Result, http::query::malformed};

/// A body that is not the image itself would be stored as if it were.
pub(super) fn refuse_wrapped_bodies(headers: &HeaderMap) -> Result<()> {
    let is = |name, prefix: &[u8]| {
        headers.get(name).is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(prefix))
    };
    if is(header::CONTENT_TYPE, b"multipart/") {
        return Err(malformed("the body is a form: send the image raw (curl: --data-binary @FILE, not -F)"));
    }
    if headers.contains_key(header::CONTENT_ENCODING) && !is(header::CONTENT_ENCODING, b"identity") {
        return Err(malformed(
            "the body has a Content-Encoding: send the image as devices are to get it, without one",
        ));
    }
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(malformed("the body is a range: send the whole image in one request"));
    }
    Ok(())
}

/// `Content-Length`, if it is there.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(|| malformed("Content-Length is no number"))
}

/// `Repr-Digest` (RFC 9530, section 3): a dictionary of algorithms; those that we do not know are ignored.
pub(super) fn repr_digest(headers: &HeaderMap) -> Result<Option<[u8; 32]>> {
    let wrong = || malformed("Repr-Digest is not of the form sha-256=:BASE64: (RFC 9530)");
    let mut found = None;
    for value in headers.get_all("repr-digest") {
        for entry in value.to_str().map_err(|_| wrong())?.split(',') {
            let (algorithm, rest) = entry.trim().split_once('=').ok_or_else(wrong)?;
            if algorithm != "sha-256" {
                continue;
            }
            let item = rest.split(';').next().unwrap_or_default().trim();
            let text = item.strip_prefix(':').and_then(|text| text.strip_suffix(':')).ok_or_else(wrong)?;
            let bytes = BASE64_STANDARD.decode(text).map_err(|_| wrong())?;
            let digest = <[u8; 32]>::try_from(bytes).map_err(|_| wrong())?;
            if found.replace(digest).is_some_and(|before| before != digest) {
                return Err(malformed("Repr-Digest gives two different sha-256 digests: give one"));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn digest(values: &[&'static str]) -> Result<Option<[u8; 32]>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("repr-digest", HeaderValue::from_static(value));
        }
        repr_digest(&headers)
    }

    #[test]
    fn repr_digest_is_read_as_rfc_9530_has_it() {
        let known = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
        let expected =
            hex::decode("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").expect("hex");
        assert_eq!(digest(&[known]).expect("fine").expect("there").as_slice(), expected);
        assert!(
            digest(&["sha-512=:AAAA:, sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:;p=1"])
                .expect("fine")
                .is_some()
        );
        assert!(digest(&["sha-512=:AAAA:", known]).expect("fine").is_some());
        assert_eq!(digest(&[]).expect("fine"), None);
        assert_eq!(digest(&["md5=:AAAA:"]).expect("fine"), None);
        for wrong in ["sha-256", "sha-256=abc", "sha-256=:abc:", "sha-256=:AAAA:", "sha-256=\"x\""] {
            assert!(digest(&[wrong]).is_err(), "{wrong}");
        }
    }
}
