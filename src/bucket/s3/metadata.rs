//! What an object carries besides its bytes: to and from S3 user metadata.
//!
//! | name | value | for |
//! |---|---|---|
//! | `firmament-product`, `-version`, `-filename` | as in the key | rebuilding the catalogue |
//! | `firmament-hardware` | comma separated; absent = all | the same |
//! | `firmament-created-at` | RFC 3339 with microseconds, as Postgres keeps them | the same |
//! | `sha256` | hexadecimal, of the whole object | us; stores that keep checksums are the exception |
//! | `mtime` | Unix seconds with a fraction | rclone and s3fs; without it rclone copies multipart objects for ever |
//! | `mode`, `uid`, `gid` | 33188 (a file, 0644), 0, 0 | s3fs |
//! | `md5chksum` | Base64 of the whole object's MD5 | rclone: a multipart ETag is no MD5 |
//!
//! Names are `[a-z0-9-]`, as Ceph turns `_` into `-`; all of it is far below S3's 2 KB.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    bucket::{ObjectFacts, StoredObject},
    domain::{Digests, FileName, Hardware, ProductName, Version},
};

/// The metadata of an object; without its digests while they are not known.
pub(super) fn render(facts: &ObjectFacts, digests: Option<&Digests>) -> HashMap<String, String> {
    let at = facts.created_at;
    let mut metadata = HashMap::from([
        ("firmament-product", facts.product.to_string()),
        ("firmament-version", facts.version.to_string()),
        ("firmament-filename", facts.filename.to_string()),
        ("firmament-created-at", at.to_rfc3339_opts(SecondsFormat::Micros, true)),
    ]);
    metadata.extend(of_file(at));
    if !facts.hardware.is_empty() {
        let names: Vec<&str> = facts.hardware.iter().map(Hardware::as_str).collect();
        metadata.insert("firmament-hardware", names.join(","));
    }
    if let Some(digests) = digests {
        metadata.insert("sha256", hex::encode(digests.sha256));
        metadata.insert("md5chksum", BASE64.encode(digests.md5));
    }
    metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What a mount shows of an object as a file, and what rclone compares: when it was written, mode and owner.
pub(super) fn of_file(at: DateTime<Utc>) -> [(&'static str, String); 4] {
    [
        // Nine digits: s3fs takes what is behind the point as a number of nanoseconds.
        ("mtime", format!("{}.{:09}", at.timestamp(), at.timestamp_subsec_nanos())),
        ("mode", "33188".to_owned()),
        ("uid", "0".to_owned()),
        ("gid", "0".to_owned()),
    ]
}

/// What the store says of an object.
pub(super) fn describe(answer: HeadObjectOutput) -> StoredObject {
    let metadata = answer.metadata.unwrap_or_default();
    StoredObject {
        size: answer.content_length.and_then(|size| size.try_into().ok()).unwrap_or_default(),
        etag: answer.e_tag.map(|tag| tag.trim_matches('"').to_owned()).unwrap_or_default(),
        facts: parse(&metadata),
        sha256: metadata
            .get("sha256")
            .and_then(|text| hex::decode(text).ok())
            .and_then(|bytes| bytes.try_into().ok()),
        content_type: answer.content_type,
        cache_control: answer.cache_control,
    }
}

/// The facts, when all are there and well-formed: then the object is one of ours.
fn parse(metadata: &HashMap<String, String>) -> Option<ObjectFacts> {
    let get = |name: &str| metadata.get(name).map(String::as_str);
    let hardware: BTreeSet<Hardware> = match get("firmament-hardware") {
        None => BTreeSet::new(),
        Some(names) => names.split(',').map(Hardware::parse).collect::<Result<_, _>>().ok()?,
    };
    Some(ObjectFacts {
        product: ProductName::parse(get("firmament-product")?).ok()?,
        version: Version::parse(get("firmament-version")?).ok()?,
        filename: FileName::parse(get("firmament-filename")?).ok()?,
        hardware,
        created_at: DateTime::parse_from_rfc3339(get("firmament-created-at")?).ok()?.with_timezone(&Utc),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(hardware: &[&str]) -> ObjectFacts {
        ObjectFacts {
            product: ProductName::parse("thermo-x").expect("valid"),
            version: Version::parse("1.4.0-rc.1").expect("valid"),
            filename: FileName::parse("Thermo_X.bin").expect("valid"),
            hardware: hardware.iter().map(|name| Hardware::parse(name).expect("valid")).collect(),
            created_at: DateTime::from_timestamp_micros(1_700_000_000_000_042).expect("in range"),
        }
    }

    #[test]
    fn what_is_rendered_parses_back() {
        for hardware in [&[][..], &["rev-a"], &["rev-a", "revB"]] {
            let facts = facts(hardware);
            assert_eq!(parse(&render(&facts, None)), Some(facts));
        }
    }

    #[test]
    fn rclone_and_s3fs_find_what_they_read() {
        let digests = Digests { sha256: [1; 32], sha1: [2; 20], md5: [0; 16] };
        let metadata = render(&facts(&[]), Some(&digests));
        assert_eq!(metadata["mtime"], "1700000000.000042000");
        assert_eq!(metadata["mode"], "33188");
        assert_eq!(metadata["md5chksum"], "AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(metadata["sha256"], "01".repeat(32));
        assert!(!metadata.contains_key("firmament-hardware"));
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!(metadata.keys().all(|name| name.bytes().all(plain)));
    }

    #[test]
    fn a_foreign_object_has_no_facts() {
        let mut metadata = render(&facts(&[]), None);
        metadata.insert("firmament-version".into(), "latest".into());
        assert_eq!(parse(&metadata), None);
        assert_eq!(parse(&HashMap::new()), None);
    }
}
