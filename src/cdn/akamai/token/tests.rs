//! Against the vectors of Akamai's own libraries, and against texts that would widen a grant.

use proptest::prelude::*;
use serde_json::Value;

use super::{verifier::accepts, *};

const KEY: &[u8] = b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
const PATH: &str = "/fw/thermo-x/1.4.0-rc.1/app.bin";

#[test]
fn tokens_are_those_of_akamais_libraries() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/edgeauth.json");
    let text = std::fs::read_to_string(path).expect("the vectors are there");
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let vectors = file["vectors"].as_array().expect("a list");
    assert!(vectors.len() >= 14);
    for vector in vectors {
        let name = &vector["name"];
        let of = |key: &str| {
            Some(&vector["params"][key]).filter(|value| !value.is_null()).unwrap_or(&file["defaults"][key])
        };
        let key = hex::decode(of("key").as_str().expect("hex")).expect("hex");
        let character =
            |key: &str| of(key).as_str().and_then(|text| text.chars().next()).expect("a delimiter");
        let start = of("start_time").as_i64();
        let end = of("end_time")
            .as_i64()
            .unwrap_or_else(|| start.expect("a start") + of("window_seconds").as_i64().expect("a window"));
        let builder = TokenBuilder::new(&key)
            .algorithm(match of("algorithm").as_str() {
                Some("sha256") => Algorithm::Sha256,
                Some("sha1") => Algorithm::Sha1,
                Some("md5") => Algorithm::Md5,
                other => panic!("{other:?}"),
            })
            .salt(of("salt").as_str())
            .escape_early(of("escape_early").as_bool().expect("a switch"))
            .delimiters(character("field_delimiter"), character("acl_delimiter"))
            .ip(of("ip").as_str())
            .start(start)
            .session(of("session_id").as_str())
            .payload(of("payload").as_str());
        let listed: Vec<&str> = match &vector["value"] {
            Value::String(text) => vec![text],
            texts => texts.as_array().expect("texts").iter().filter_map(Value::as_str).collect(),
        };
        let grant = if vector["kind"] == "url" { Grant::Url(listed[0]) } else { Grant::Patterns(&listed) };
        let expected = vector["token"].as_str().expect("a token");
        assert_eq!(builder.sign_unchecked(end, grant), expected, "{name}");
        // What the two libraries agree on is also signed by us; what they do not, never.
        if vector["node_agrees"] == true {
            assert_eq!(builder.sign(end, grant).as_deref(), Ok(expected), "{name}");
        } else {
            assert!(builder.sign(end, grant).is_err(), "{name}");
        }
    }
}

#[test]
fn what_could_widen_a_grant_is_not_signed() {
    let builder = || TokenBuilder::new(KEY);
    for path in ["/a*", "/a!/b", "/a~acl=/*", "/a?b", "/a=b", "/a b", "/ä", "/a%2f", "/a\n", "", "a"] {
        assert!(builder().sign(9, Grant::Object(path)).is_err(), "{path:?}");
    }
    let injected = "x~acl=/*";
    assert!(builder().session(Some(injected)).sign(9, Grant::Object("/a")).is_err());
    assert!(builder().payload(Some(injected)).sign(9, Grant::Object("/a")).is_err());
    assert!(builder().ip(Some(injected)).sign(9, Grant::Object("/a")).is_err());
    assert!(builder().salt(Some(injected)).sign(9, Grant::Object("/a")).is_err());
    assert!(builder().sign(9, Grant::Patterns(&["/a!/*"])).is_err());
    assert!(builder().sign(9, Grant::Patterns(&["/a~exp=99"])).is_err());
    assert!(builder().sign(9, Grant::Patterns(&[])).is_err());
    assert!(builder().sign(9, Grant::Url("/a~url=/b")).is_err());
    assert_eq!(
        builder().start(Some(9)).sign(9, Grant::Object("/a")),
        Err(TokenError::Times { start: 9, end: 9 })
    );
    let error = builder().sign(9, Grant::Object("/a*")).expect_err("a wildcard");
    assert_eq!(error.to_string(), "acl \"/a*\" has '*', which means something in a token");
}

#[test]
fn an_edge_takes_it_for_that_object_in_that_time() {
    let builder = TokenBuilder::new(KEY).salt(Some("0123456789abcdef")).start(Some(100));
    let token = builder.sign(200, Grant::Object(PATH)).expect("safe");
    let taken = |path: &str, now| accepts(&builder, &token, path, now);
    assert!(taken(PATH, 100) && taken(PATH, 200));
    assert!(!taken(PATH, 99) && !taken(PATH, 201));
    assert!(!taken("/fw/thermo-x/1.4.0-rc.1/app.bin2", 150) && !taken("/fw/thermo-x/1.4.0-rc.1/", 150));
    assert!(!accepts(&builder.clone().salt(None), &token, PATH, 150));
    let patterns = TokenBuilder::new(KEY).sign(200, Grant::Patterns(&["/a/*", "/b/??.bin"])).expect("meant");
    let taken = |path: &str| accepts(&TokenBuilder::new(KEY), &patterns, path, 150);
    assert!(taken("/a/x/y") && taken("/b/12.bin") && !taken("/b/123.bin") && !taken("/c"));
}

proptest! {
    #[test]
    fn a_token_with_any_byte_changed_is_refused(
        at in 0usize..1000, byte in 0x20u8..0x7f, salted: bool, start in proptest::option::of(0i64..100),
    ) {
        let builder = TokenBuilder::new(KEY).salt(salted.then_some("0123456789abcdef")).start(start);
        let token = builder.sign(200, Grant::Object(PATH)).expect("safe");
        prop_assert!(accepts(&builder, &token, PATH, 150));
        let mut bytes = token.clone().into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).expect("ASCII");
        prop_assert!(!accepts(&builder, &changed, PATH, 150), "{changed}");
    }

    #[test]
    fn whatever_is_signed_for_a_text_opens_that_path_alone(
        path in "/[a-z~!*?=/.]{0,12}", session in "[a-z~!*?=/]{0,12}", payload in "[a-z~!*?=/]{0,12}",
        asked in "/[a-z/.]{0,12}", early: bool,
    ) {
        let builder = TokenBuilder::new(KEY).escape_early(early).session(Some(&session)).payload(Some(&payload));
        for grant in [Grant::Object(&path), Grant::Url(&path)] {
            let Ok(token) = builder.sign(200, grant) else { continue };
            prop_assert!(accepts(&builder, &token, &path, 150));
            prop_assert!(asked == path || !accepts(&builder, &token, &asked, 150), "{token} opens {asked}");
            prop_assert!(!accepts(&builder, &token, &path, 201));
        }
    }

    #[test]
    fn a_delimiter_in_any_field_is_refused(before in "[a-z]{0,5}", after in "[a-z=/*]{0,9}", field in 0usize..6) {
        let text = format!("/{before}~{after}");
        let builder = TokenBuilder::new(KEY);
        let signed = match field {
            0 => builder.ip(Some(&text)).sign(9, Grant::Object("/a")),
            1 => builder.session(Some(&text)).sign(9, Grant::Object("/a")),
            2 => builder.payload(Some(&text)).sign(9, Grant::Object("/a")),
            3 => builder.salt(Some(&text)).sign(9, Grant::Object("/a")),
            4 => builder.sign(9, Grant::Patterns(&[&text])),
            _ => builder.sign(9, Grant::Url(&text)),
        };
        prop_assert!(matches!(signed, Err(TokenError::Character { character: '~', .. })), "{signed:?}");
    }
}
