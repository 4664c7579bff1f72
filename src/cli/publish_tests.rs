//! `publish` against scripted servers.

use tempfile::TempDir;

use super::*;
use crate::cli::replay::{Replay, Turn, channel, image, problem, product_detail};

/// More than the socket buffers of both sides hold.
const LARGE: usize = 64 * 1024 * 1024;

struct Setting {
    directory: TempDir,
    server: Replay,
}

impl Setting {
    fn new(script: Vec<Turn>, content: &[u8]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the test");
        std::fs::write(directory.path().join("f.bin"), content).expect("writable");
        Self { directory, server: Replay::start(script) }
    }

    fn arguments(&self) -> PublishArguments {
        PublishArguments {
            file: self.directory.path().join("f.bin"),
            product: ProductName::parse("p").expect("a name"),
            version: Version::parse("1.4.0").ok(),
            hardware: vec![Hardware::parse("rev-a").expect("a name")],
            channel: Some(ChannelName::stable()),
            notes: Some("fixes & more".into()),
            filename: None,
            floor: false,
            upgrade_from: None,
            signature: None,
            dry_run: false,
            allow_stranding: false,
            allow_downgrade: false,
            reason: None,
            allow_same_bytes: false,
            resumable_above: u64::MAX,
            direct: false,
            retries: 0,
            connection: self.server.options(),
        }
    }

    fn publish(&self) -> Result<Report, Failure> {
        run(&self.arguments(), &Terminal::default())
    }
}

fn detail() -> Turn {
    Turn::json(200, &product_detail("p", &format!("[{}]", channel("stable", "1.4.0"))))
}

#[test]
fn an_image_is_sent_with_its_digest_and_its_offers_are_shown() {
    let setting = Setting::new(vec![Turn::json(201, &image()), detail()], b"image");
    let report = setting.publish().expect("201");
    let upload = &setting.server.requests()[0];
    assert_eq!(
        upload.line,
        "POST /v1/products/p/releases/1.4.0/images?filename=f.bin&hardware=rev-a&channel=stable&notes=fixes%20%26%20more \
         HTTP/1.1"
    );
    assert_eq!(upload.body, b"image");
    assert_eq!(upload.header("content-length"), Some("5"));
    assert_eq!(upload.header("expect"), Some("100-continue"));
    assert_eq!(upload.header("transfer-encoding"), None);
    let digest = STANDARD.encode(Sha256::digest(b"image"));
    assert_eq!(upload.header("repr-digest"), Some(format!("sha-256=:{digest}:").as_str()));
    for part in [
        "stored p 1.4.0 f.bin\n",
        "size      5 bytes\n",
        "stable now offers\n",
        "rev-a     1.4.0    http://x/p/1.4.0/f.bin",
        "next: firmament check --product p --version 0.0.0 --hardware rev-a --device-server http://127.0.0.1:",
    ] {
        assert!(report.text.contains(part), "{part}: {}", report.text);
    }
}

#[test]
fn a_retry_of_what_is_stored_is_done_too() {
    let setting = Setting::new(vec![Turn::json(200, &image()).before_the_body(), detail()], b"image");
    let report = setting.publish().expect("200");
    assert!(report.text.contains("is stored already"), "{}", report.text);
    assert_eq!(report.code, 0);
}

#[test]
fn an_image_on_no_channel_says_how_to_promote_it() {
    let stored = image().replace("[\"stable\"]", "[]");
    let setting = Setting::new(vec![Turn::json(201, &stored)], b"image");
    let arguments = PublishArguments { channel: None, ..setting.arguments() };
    let report = run(&arguments, &Terminal::default()).expect("201");
    assert!(report.text.contains("next: firmament promote --product p --version 1.4.0 --channel stable"));
}

#[test]
fn refusals_keep_their_reasons_and_are_not_tried_again() {
    let reasons = [("downgrade", "1.5.0 is offered"), ("board", "the header says rev-b")];
    for status in [401, 409, 422] {
        let setting = Setting::new(vec![problem(status, "refused", &reasons)], b"image");
        let arguments = PublishArguments { retries: 3, ..setting.arguments() };
        let failure = run(&arguments, &Terminal::default()).expect_err("refused");
        assert_eq!((failure.code, failure.reasons.len()), (1, 2), "{status}");
        assert_eq!(setting.server.requests().len(), 1);
    }
}

#[test]
fn a_refusal_before_the_body_saves_the_upload() {
    let refusal = problem(422, "too large for p", &[("too-large", "at most 1 MiB")]).before_the_body();
    let setting = Setting::new(vec![refusal], &vec![7; LARGE]);
    let failure = setting.publish().expect_err("422");
    assert_eq!((failure.message.as_str(), failure.reasons.len()), ("too large for p", 1));
    assert!(setting.server.requests()[0].body.is_empty());
}

#[test]
fn an_answer_in_the_middle_of_the_body_is_read() {
    let refusal = problem(422, "wrong board", &[("board", "the header says rev-b")]).after(100_000);
    let setting = Setting::new(vec![refusal], &vec![7; LARGE]);
    let failure = setting.publish().expect_err("422");
    assert_eq!((failure.message.as_str(), failure.code), ("wrong board", 1));
}

#[test]
fn a_connection_that_breaks_in_the_middle_is_explained() {
    let setting = Setting::new(vec![Turn::silence().after(100_000)], &vec![7; LARGE]);
    let failure = setting.publish().expect_err("no answer");
    assert_eq!(failure.code, 2);
    assert!(failure.message.contains("closed the connection after"), "{}", failure.message);
    assert!(failure.message.contains("of 64.0 MiB without an answer"), "{}", failure.message);
}

#[test]
fn a_busy_server_and_a_broken_connection_are_tried_again() {
    let busy = || problem(429, "too busy", &[]).header("retry-after", "0");
    let broken = Turn::silence();
    let setting = Setting::new(vec![busy(), broken, Turn::json(201, &image()), detail()], b"image");
    let arguments = PublishArguments { retries: 2, ..setting.arguments() };
    assert_eq!(run(&arguments, &Terminal::default()).expect("201 at last").code, 0);
    let requests = setting.server.requests();
    assert!(requests[..3].iter().all(|request| request.body == b"image"));

    let setting = Setting::new(vec![busy(), busy()], b"image");
    let arguments = PublishArguments { retries: 1, ..setting.arguments() };
    assert_eq!(run(&arguments, &Terminal::default()).expect_err("still busy").code, 2);
}

#[test]
fn a_server_that_wants_a_long_pause_is_not_waited_for() {
    let busy = problem(429, "too busy", &[]).header("retry-after", "3600");
    let setting = Setting::new(vec![busy], b"image");
    let arguments = PublishArguments { retries: 3, ..setting.arguments() };
    assert_eq!(run(&arguments, &Terminal::default()).expect_err("busy").code, 2);
}

#[test]
fn unusable_files_are_refused_before_the_server_is_asked() {
    let setting = Setting::new(vec![], b"");
    let failure = |file: PathBuf| {
        let filename = Some(FileName::parse("f.bin").expect("a name"));
        let arguments = PublishArguments { file, filename, ..setting.arguments() };
        run(&arguments, &Terminal::default()).expect_err("unusable").message
    };
    let directory = setting.directory.path();
    assert!(failure(directory.join("f.bin")).contains("it is empty"));
    assert!(failure(directory.join("none")).contains("no such file"));
    assert!(failure(directory.to_owned()).contains("it is a directory"));
    assert!(failure("/dev/null".into()).contains("not a regular file"));
}

#[test]
fn a_file_name_that_breaks_the_rule_suggests_another() {
    let setting = Setting::new(vec![], b"image");
    let file = setting.directory.path().join("my image (1).bin");
    let arguments = PublishArguments { file, ..setting.arguments() };
    let failure = run(&arguments, &Terminal::default()).expect_err("spaces");
    assert!(failure.message.contains("--filename"), "{}", failure.message);
}
