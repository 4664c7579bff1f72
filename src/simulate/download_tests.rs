use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

const BYTES: &[u8] = b"0123456789";

/// A server that gives these answers, one a connection; says what it was asked.
async fn serve(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let served = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.expect("a request");
            asked.push(String::from_utf8_lossy(&request[..length]).into_owned());
            // A client that has enough leaves.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        asked
    });
    (url, served)
}

fn answer(status: &str, header: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{header}connection: close\r\n\r\n{body}")
}

fn fast() -> Throttle {
    Throttle::new(*Throttle::RANGE.end())
}

async fn fetched(answers: Vec<String>, image: impl Fn(&mut Image), limit: u64) -> (Fetched, u64) {
    let (url, _) = serve(answers).await;
    let mut offered = Image {
        url: format!("{url}/f.bin"),
        size: BYTES.len() as u64,
        sha256: hex::encode(Sha256::digest(BYTES)),
    };
    image(&mut offered);
    fetch(&Reach::new(false), &fast(), &offered, limit).await
}

#[tokio::test]
async fn a_whole_image_is_verified() {
    let fine = || vec![answer("200 OK", "", "0123456789")];
    assert_eq!(fetched(fine(), |_| {}, 10).await, (Fetched::Verified, 10));
    for (answers, word) in [
        (vec![answer("200 OK", "", "012345678x")], "SHA-256"),
        (vec![answer("200 OK", "", "012345678")], "shorter"),
        (vec![answer("200 OK", "", "0123456789x")], "longer"),
        (vec![answer("403 Forbidden", "", "")], "403"),
        (vec!["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n012".to_owned()], "breaks off"),
    ] {
        let (Fetched::Failed(why), _) = fetched(answers, |_| {}, 100).await else { panic!("{word}") };
        assert!(why.contains(word), "{word}: {why}");
    }
    for (header, wait) in [("", None), ("retry-after: 7\r\n", Some(Duration::from_secs(7)))] {
        let busy = vec![answer("429 Too Many Requests", header, "")];
        assert_eq!(fetched(busy, |_| {}, 100).await.0, Fetched::Busy(wait));
    }
}

#[tokio::test]
async fn of_a_large_image_only_the_start_is_asked_for() {
    let part = answer("206 Partial Content", "content-range: bytes 0-3/10\r\n", "0123");
    let (url, served) = serve(vec![part]).await;
    let image = Image { url: format!("{url}/f.bin?x=1"), size: 10, sha256: String::new() };
    assert_eq!(fetch(&Reach::new(false), &fast(), &image, 4).await, (Fetched::Partial, 4));
    let request = &served.await.expect("no panic")[0];
    assert!(request.starts_with("GET /f.bin?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("range: bytes=0-3\r\n"), "{request}");
    // A server without ranges sends all; when that comes at once, it counts.
    let whole = vec![answer("200 OK", "", "0123456789")];
    assert_eq!(fetched(whole, |_| {}, 4).await, (Fetched::Verified, 10));
    let (url, _) = serve(vec![answer("200 OK", "", &"x".repeat(10_000_000))]).await;
    let image = Image { url, size: 10_000_000, sha256: String::new() };
    let (outcome, bytes) = fetch(&Reach::new(false), &fast(), &image, 4).await;
    assert!(outcome == Fetched::Partial && bytes < 5_000_000, "{outcome:?} {bytes}");
    let other = answer("206 Partial Content", "content-range: bytes 0-3/11\r\n", "0123");
    assert!(matches!(fetched(vec![other], |_| {}, 4).await, (Fetched::Failed(_), 0)));
}

#[tokio::test]
async fn redirects_are_followed_on_this_machine_only() {
    let found = |target: &str| answer("302 Found", &format!("location: {target}\r\n"), "");
    let here = vec![found("/there"), answer("200 OK", "", "0123456789")];
    assert_eq!(fetched(here, |_| {}, 10).await, (Fetched::Verified, 10));
    let (cdn, _) = serve(vec![answer("200 OK", "", "0123456789")]).await;
    assert_eq!(fetched(vec![found(&format!("{cdn}/x"))], |_| {}, 10).await, (Fetched::Verified, 10));
    for elsewhere in ["http://192.0.2.1/f", "//192.0.2.1/f", "https://192.0.2.1/f"] {
        let (outcome, bytes) = fetched(vec![found(elsewhere)], |_| {}, 10).await;
        assert!(matches!(&outcome, Fetched::Skipped(why) if why.contains("192.0.2.1")), "{outcome:?}");
        assert_eq!(bytes, 0);
    }
    let away = |image: &mut Image| image.url = "http://192.0.2.1/f".to_owned();
    assert!(matches!(fetched(vec![], away, 10).await, (Fetched::Skipped(_), 0)));
    let round = vec![found("/f.bin"); HOPS + 1];
    assert!(matches!(fetched(round, |_| {}, 10).await, (Fetched::Failed(_), 0)));
    for nonsense in ["f.bin", "ftp://127.0.0.1/f", "http://127.0.0.1@192.0.2.1/f"] {
        assert!(
            matches!(fetched(vec![found(nonsense)], |_| {}, 10).await, (Fetched::Failed(_), 0)),
            "{nonsense}"
        );
    }
}
