use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;

/// A line as Akamai's documentation shows it: every value is a text.
const SAMPLE: &str = r#"{"version":1,"streamId":"12345","cp":"123456","reqId":"1239f220","reqTimeSec":"1678859500.171","bytes":"4995","cliIP":"128.147.28.68","statusCode":"206","proto":"HTTPS","reqHost":"test.hostname.net","reqMethod":"GET","reqPath":"/path1/path2/file.ext","rspContentLen":"5000","objSize":"484","range":"37334-42356","lastByte":"1","cacheStatus":"1","cacheable":"1","edgeIP":"23.50.51.173","country":"US"}"#;

fn delivery(line: &str) -> Delivery {
    match parse(line.as_bytes()) {
        Line::Delivery(delivery) => delivery,
        other => panic!("{line}: {other:?}"),
    }
}

fn lines(bytes: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    read_file(bytes, |line| lines.push(line));
    lines
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("into memory");
    encoder.finish().expect("into memory")
}

#[test]
fn akamais_own_line_is_read() {
    let found = delivery(SAMPLE);
    let request = Some(RequestId { id: "1239f220".to_owned(), milliseconds: 1_678_859_500_171 });
    let day = NaiveDate::from_ymd_opt(2023, 3, 15).expect("a day");
    let path = "path1/path2/file.ext".to_owned();
    assert_eq!(found, Delivery { request, day, path, bytes: 4995, complete: true, from_edge: true });
}

/// What is stored must be found again by a later version: computed by `sha256sum` from the 8 bytes of the time and the id.
#[test]
fn a_requests_number_stays_the_same_and_is_of_id_and_time() {
    let request = |id: &str, milliseconds| RequestId { id: id.to_owned(), milliseconds }.number();
    assert_eq!(request("1239f220", 1_678_859_500_171), -6_314_834_138_351_484_863);
    assert_ne!(request("1239f220", 1_678_859_500_172), request("1239f220", 1_678_859_500_171));
    assert_ne!(request("1239f221", 1_678_859_500_171), request("1239f220", 1_678_859_500_171));
}

#[test]
fn numbers_may_be_numbers_and_fields_may_be_missing() {
    let numbers = delivery(
        r#"{"reqTimeSec":1678859500.171,"reqPath":"/p/1.0.0/f","statusCode":200,"bytes":4995,"lastByte":1,"cacheStatus":0,"reqId":7}"#,
    );
    assert_eq!((numbers.bytes, numbers.complete, numbers.from_edge), (4995, true, false));
    assert_eq!(numbers.request, Some(RequestId { id: "7".to_owned(), milliseconds: 1_678_859_500_171 }));
    let bare = delivery(r#"{"reqTimeSec":"1678859500","reqPath":"/p/1.0.0/f","statusCode":"200"}"#);
    assert_eq!((bare.bytes, bare.complete, bare.from_edge, bare.request), (0, false, false, None));
    let dashes = delivery(
        r#"{"reqTimeSec":"1678859500.1","reqPath":"/p/1.0.0/f","statusCode":"200","bytes":"-","lastByte":"-","reqId":"-","reqMethod":"-","cacheStatus":null}"#,
    );
    assert_eq!((dashes.bytes, dashes.complete, dashes.request), (0, false, None));
    assert_eq!(delivery(&SAMPLE.replace("\"4995\"", "\"4995.0\"")).bytes, 4995);
    assert_eq!(delivery(&SAMPLE.replace("\"4995\"", "\"-5\"")).bytes, 0);
    assert_eq!(delivery(&SAMPLE.replace("\"4995\"", "\"18446744073709551616\"")).bytes, 0);
}

#[test]
fn only_what_delivers_bytes_counts() {
    for (from, to) in [
        ("\"206\"", "\"403\""),
        ("\"206\"", "\"304\""),
        ("\"206\"", "\"416\""),
        ("\"206\"", "\"204\""),
        ("\"206\"", "0"),
        ("\"GET\"", "\"HEAD\""),
        ("\"GET\"", "\"OPTIONS\""),
    ] {
        assert_eq!(parse(SAMPLE.replace(from, to).as_bytes()), Line::Ignored, "{to}");
    }
    assert!(!delivery(&SAMPLE.replace("\"lastByte\":\"1\"", "\"lastByte\":\"0\"")).complete);
}

#[test]
fn what_cannot_be_counted_is_broken() {
    for line in [
        "",
        "x",
        "[]",
        "1",
        "{}",
        "null",
        "{\"reqPath\":\"/a\"",
        "{\"statusCode\":\"200\",\"reqPath\":\"/a\"}",
    ] {
        assert_eq!(parse(line.as_bytes()), Line::Broken, "{line}");
    }
    for (from, to) in [
        ("\"206\"", "\"ok\""),
        ("\"206\"", "\"99999\""),
        ("\"1678859500.171\"", "\"-1\""),
        ("\"1678859500.171\"", "\"1e9\""),
        ("\"1678859500.171\"", "\"99999999999999999\""),
        ("\"1678859500.171\"", "\"-\""),
        ("\"/path1", "\"path1"),
        ("\"/path1", "\"/%zz"),
        ("\"/path1", "\"/%"),
        ("\"/path1", "\"/%ff"),
    ] {
        assert_eq!(parse(SAMPLE.replace(from, to).as_bytes()), Line::Broken, "{to}");
    }
    assert_eq!(parse(b"{\"reqPath\":\"\xff\"}"), Line::Broken);
}

#[test]
fn paths_are_decoded_and_lose_their_query() {
    for (path, decoded) in [
        ("/p/1.0.0/f.bin?hdnts=exp=1~acl=/*~hmac=ab", "p/1.0.0/f.bin"),
        ("/p/1.0.0%2Drc.1/f%2ebin", "p/1.0.0-rc.1/f.bin"),
        ("/", ""),
        ("//p", "/p"),
    ] {
        assert_eq!(delivery(&SAMPLE.replace("/path1/path2/file.ext", path)).path, decoded);
    }
}

#[test]
fn a_file_is_read_compressed_or_not_and_with_what_is_odd_in_it() {
    let text = format!("{SAMPLE}\r\n\n  \n{SAMPLE}\nbroken\n{}", SAMPLE.replace("\"206\"", "\"404\""));
    let plain = lines(text.as_bytes());
    assert_eq!(plain.len(), 4);
    assert_eq!(plain[0], plain[1]);
    assert_eq!(plain[2..], [Line::Broken, Line::Ignored]);
    assert_eq!(lines(&gzip(text.as_bytes())), plain);
    // Several members, as `cat a.gz b.gz` makes them.
    let twice = [gzip(text.as_bytes()), gzip(format!("\n{SAMPLE}").as_bytes())].concat();
    assert_eq!(lines(&twice).len(), 5);
    assert_eq!(lines(b""), []);
    assert_eq!(lines(&gzip(b"")), []);
}

#[test]
fn a_damaged_file_ends_broken_and_what_was_before_counts() {
    let text = format!("{SAMPLE}\n").repeat(2000);
    let mut cut = gzip(text.as_bytes());
    cut.truncate(cut.len() / 2);
    let found = lines(&cut);
    assert_eq!(found.last(), Some(&Line::Broken));
    assert!(found.len() > 100 && found.len() < 2001, "{}", found.len());
    assert_eq!(lines(&[0x1f, 0x8b]), [Line::Broken]);
}

#[test]
fn an_endless_line_is_one_broken_line() {
    let long = "x".repeat(3 * 65_536 + 5);
    assert_eq!(lines(long.as_bytes()), [Line::Broken]);
    let found = lines(format!("{long}\n{SAMPLE}\n").as_bytes());
    assert_eq!(found.len(), 2);
    assert!(matches!(found[1], Line::Delivery(_)));
    let just = format!("{}\n{SAMPLE}\n", "x".repeat(65_535));
    assert_eq!(lines(just.as_bytes()).len(), 2);
}

/// A value that a field may have: right, odd, or nonsense.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(Value::from("-")),
        any::<u32>().prop_map(Value::from),
        any::<u64>().prop_map(|number| Value::from(number.to_string())),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "/[a-z%?0-9./]{0,20}".prop_map(Value::from),
        Just(Value::from("200")),
        Just(Value::from("1678859500.171")),
        Just(Value::from(vec![1])),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parse(&bytes);
        let mut found = 0;
        read_file(&bytes, |_| found += 1);
        prop_assert!(found <= bytes.len() + 1);
        read_file(&[&[0x1f, 0x8b, 8, 0][..], &bytes].concat(), |_| {});
    }

    #[test]
    fn any_object_is_read_and_nothing_private_is_kept(
        fields in proptest::collection::hash_map(
            prop_oneof![
                "reqTimeSec|reqPath|statusCode|reqMethod|bytes|lastByte|cacheStatus|reqId|UA|cliIP|queryStr|customField",
            ],
            value(),
            0..12,
        ),
    ) {
        let mut object: Map<String, Value> = fields.into_iter().collect();
        for private in ["cliIP", "queryStr", "customField", "UA", "cookie"] {
            object.insert(private.to_owned(), Value::from("SECRET-7f3a"));
        }
        let line = serde_json::to_vec(&Value::Object(object)).expect("JSON");
        let shown = format!("{:?}", parse(&line));
        prop_assert!(!shown.contains("SECRET-7f3a"), "{}", shown);
    }

    #[test]
    fn a_mutated_sample_is_read_without_a_panic(at in 0..SAMPLE.len(), byte in any::<u8>(), cut in 0..SAMPLE.len()) {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = parse(&bytes);
        bytes.truncate(cut);
        let _ = parse(&bytes);
    }

    #[test]
    fn what_is_written_is_read_back(
        seconds in 0..4_102_444_800_i64, milliseconds in 0..1000_u32, bytes in any::<u64>(),
        complete in any::<bool>(), from_edge in any::<bool>(), as_text in any::<bool>(),
    ) {
        let time = format!("{seconds}.{milliseconds:03}");
        let value = |number: String| if as_text { Value::from(number) } else {
            serde_json::from_str(&number).expect("a number")
        };
        let line = serde_json::json!({
            "reqId": "a1", "reqTimeSec": time, "reqPath": "/p/1.0.0/f", "statusCode": value("200".into()),
            "bytes": value(bytes.to_string()), "lastByte": value(u8::from(complete).to_string()),
            "cacheStatus": value(u8::from(from_edge).to_string()), "reqMethod": "GET",
        });
        let found = delivery(&line.to_string());
        prop_assert_eq!((found.bytes, found.complete, found.from_edge), (bytes, complete, from_edge));
        let written = found.request.expect("an id").milliseconds;
        prop_assert_eq!(written, seconds * 1000 + i64::from(milliseconds));
    }
}
