//! A server that shows what is sent: it answers as it is told, or passes on to the real gateway.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What to do with a request.
pub(crate) enum Answer {
    /// Send this text.
    Text(String),
    /// Say nothing, and keep the connection.
    Silence,
    /// Let the gateway do it, and send what it says.
    PassOn,
    /// Let the gateway do it, and cut the connection.
    Lose,
    /// Reset the connection without asking anybody.
    Reset,
    /// Let the gateway do it, and change the last byte of what it says.
    Corrupt,
}

/// A server on loopback and the heads of all requests that it got.
pub(crate) struct Server {
    pub(crate) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` sees a request's head: its first line and headers.
    pub(crate) async fn start(
        upstream: String,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&heads), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (seen, answer, upstream) = (Arc::clone(&seen), Arc::clone(&answer), upstream.clone());
                tokio::spawn(async move { serve(client, &seen, &*answer, &upstream).await });
            }
        });
        Self { port, heads }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no holder panics").clone()
    }
}

/// One request a connection: the answer ends with it.
async fn serve(
    mut client: TcpStream,
    seen: &Mutex<Vec<String>>,
    answer: &(impl Fn(&str) -> Answer + Send + Sync),
    upstream: &str,
) -> Option<()> {
    let (head, body) = request(&mut client).await?;
    seen.lock().expect("no holder panics").push(head.clone());
    match answer(&head) {
        Answer::Text(text) => client.write_all(text.as_bytes()).await.ok()?,
        Answer::Silence => std::future::pending().await,
        Answer::PassOn => client.write_all(&pass_on(&head, &body, upstream).await?).await.ok()?,
        Answer::Reset => {
            client.set_zero_linger().ok()?;
            return None;
        }
        Answer::Corrupt => {
            let mut answer = pass_on(&head, &body, upstream).await?;
            if let Some(last) = answer.last_mut() {
                *last ^= 1;
            }
            client.write_all(&answer).await.ok()?;
        }
        Answer::Lose => drop(pass_on(&head, &body, upstream).await?),
    }
    client.shutdown().await.ok()
}

async fn pass_on(head: &str, body: &[u8], upstream: &str) -> Option<Vec<u8>> {
    let mut gateway = TcpStream::connect(upstream).await.ok()?;
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    gateway.write_all(head.as_bytes()).await.ok()?;
    gateway.write_all(body).await.ok()?;
    let mut answer = Vec::new();
    gateway.read_to_end(&mut answer).await.ok()?;
    Some(answer)
}

async fn request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).ok()?;
    if header(&head, "expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
    }
    let length = header(&head, "content-length").map_or(0, |text| text.parse().expect("a number"));
    while body.len() < length {
        if client.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, body))
}

/// A header of a request's head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}
