//! A CDN edge that serves images wrongly, as it is told: what nginx cannot be made to do, and one fault per image.
//!
//! It holds the bytes itself and answers one request a connection. Akamai's tokens are demanded by their presence; whether
//! they are right is the other edge's business ([`super::edge`]).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What is wrong with an image's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is not there.
    Missing,
    /// Caches may not keep it.
    Uncacheable,
    /// It varies.
    Varies,
    /// Its entity tag is weak.
    WeakTag,
    /// The byte at this place is another one, in whole answers.
    WrongByte(usize),
    /// The byte at this place is another one, in ranges.
    WrongByteOfRange(usize),
    /// Nobody needs a token.
    Open,
    /// A byte at a time, and always one more in time.
    Drips,
}

type Images = Arc<Mutex<BTreeMap<String, (Bytes, Fault)>>>;

/// The edge, until it is dropped.
pub struct FaultyEdge {
    address: SocketAddr,
    images: Images,
    task: JoinHandle<()>,
}

impl FaultyEdge {
    /// Starts it, with no image.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let images = Images::default();
        let served = Arc::clone(&images);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away is none of ours.
                tokio::spawn(answer(stream, Arc::clone(&served)));
            }
        });
        Self { address, images, task }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves `app.bin` of a release so from now on.
    pub fn serve(&self, product: &str, version: &str, image: &Bytes, fault: Fault) {
        let path = format!("/{product}/{version}/app.bin");
        self.images.lock().expect("no panic").insert(path, (image.clone(), fault));
    }
}

impl Drop for FaultyEdge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, images: Images) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let (path, token) = target.split_once('?').map_or((target, None), |(path, token)| (path, Some(token)));
    let found = images.lock().expect("no panic").get(path).cloned();
    let Some((image, fault)) = found.filter(|(_, fault)| *fault != Fault::Missing) else {
        return refuse(&mut stream, "404 Not Found").await;
    };
    if fault != Fault::Open && token.is_none_or(|token| !token.starts_with("hdnts=")) {
        return refuse(&mut stream, "403 Forbidden").await;
    }
    let mut bytes = image.to_vec();
    let range = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.split_once('-'));
    let range = range.and_then(|(first, last)| Some((first.parse().ok()?, last.parse::<usize>().ok()?)));
    match fault {
        Fault::WrongByte(at) if range.is_none() => bytes[at] ^= 1,
        Fault::WrongByteOfRange(at) if range.is_some() => bytes[at] ^= 1,
        _ => {}
    }
    let size = bytes.len();
    let (status, content_range) = match range {
        Some((first, last)) => {
            bytes = bytes[first..=last.min(size - 1)].to_vec();
            ("206 Partial Content", format!("Content-Range: bytes {first}-{last}/{size}\r\n"))
        }
        None => ("200 OK", String::new()),
    };
    let cache = if fault == Fault::Uncacheable { "no-store" } else { "public, max-age=31536000, immutable" };
    let tag = if fault == Fault::WeakTag { "W/\"one\"" } else { "\"one\"" };
    let vary = if fault == Fault::Varies { "Vary: User-Agent\r\n" } else { "" };
    let length = bytes.len();
    let header = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{content_range}Cache-Control: {cache}\r\nETag: {tag}\r\n{vary}\
         Connection: close\r\n\r\n"
    );
    stream.write_all(header.as_bytes()).await?;
    if fault == Fault::Drips {
        for byte in bytes {
            stream.write_all(&[byte]).await?;
            stream.flush().await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        return Ok(());
    }
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

async fn refuse(stream: &mut TcpStream, status: &str) -> std::io::Result<()> {
    let header = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(header.as_bytes()).await?;
    stream.shutdown().await
}
