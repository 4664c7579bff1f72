//! HTTP/1.1 as devices speak it: a connection for each check, or a few that are kept.
//!
//! Where a connection may lead is [`super::reach`]'s to say. Redirects are answers here, nothing is followed.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use ::http::{HeaderMap, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::reach::{Place, Reach};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a whole check may take.
pub const ANSWER: Duration = Duration::from_secs(10);
/// More than any answer to a check.
const LARGEST_ANSWER: usize = 256 * 1024;
/// How many bytes a narrow connection takes before anybody reads them: twice the socket's size, as the system doubles it
/// (socket(7)), and what hyper reads at once and keeps.
pub const BUFFERS: usize = 2 * SOCKET as usize + 2 * READ;
/// What a narrow connection asks of the system for its socket.
const SOCKET: u32 = 32 * 1024;
/// What hyper reads at once of a narrow connection.
const READ: usize = 64 * 1024;
/// Tells operators who asks.
const USER_AGENT: &str = concat!("firmament-simulate/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer, in words that are the same for the same cause.
pub type Why = String;
/// One end of a connection.
pub type Sender = SendRequest<Empty<Bytes>>;

static TLS: LazyLock<Result<TlsConnector, Why>> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS: {error}"))?;
    let verifier = rustls_platform_verifier::Verifier::new(provider)
        .map_err(|error| format!("no TLS: this machine's certificates: {error}"))?;
    let config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
});

/// Connects to a place that may be connected to.
///
/// # Errors
/// In words.
pub async fn connect(reach: &Reach, place: &Place) -> Result<Sender, Why> {
    connect_as(reach, place, false).await
}

/// The same, taking no more than [`BUFFERS`] ahead of who reads.
///
/// # Errors
/// In words.
pub async fn connect_narrowly(reach: &Reach, place: &Place) -> Result<Sender, Why> {
    connect_as(reach, place, true).await
}

async fn connect_as(reach: &Reach, place: &Place, narrow: bool) -> Result<Sender, Why> {
    let addresses = reach.addresses(place).await.map_err(|beyond| beyond.to_string())?;
    let connecting = async {
        let stream = open(&addresses, narrow).await.map_err(|error| cannot_connect(&error))?;
        if !place.tls {
            return handshake(stream, narrow).await;
        }
        let tls = TLS.as_ref().map_err(Clone::clone)?;
        let name = ServerName::try_from(place.host.clone())
            .map_err(|_| format!("{} is no name for TLS", place.host))?;
        let stream = tls.connect(name, stream).await.map_err(|error| format!("no TLS: {error}"))?;
        handshake(stream, narrow).await
    };
    timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err("no connection in time".to_owned()))
}

/// A socket to the first address that takes it.
async fn open(addresses: &[SocketAddr], narrow: bool) -> io::Result<TcpStream> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for &address in addresses {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if narrow {
            socket.set_recv_buffer_size(SOCKET)?;
        }
        match socket.connect(address).await {
            Ok(stream) => {
                // A request is one small packet; it need not wait for the answer to another.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    narrow: bool,
) -> Result<Sender, Why> {
    let mut builder = hyper::client::conn::http1::Builder::new();
    if narrow {
        builder.max_buf_size(READ);
    }
    let (sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    // It ends with the sender; what went wrong is told to whoever waits for the answer.
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends a request on a connection and returns the beginning of its answer.
///
/// # Errors
/// In words.
pub async fn send(
    sender: &mut Sender,
    place: &Place,
    path: &str,
    extra: Option<(header::HeaderName, &str)>,
) -> Result<Response<Incoming>, Why> {
    let mut request =
        Request::get(path).header(header::HOST, &place.authority).header(header::USER_AGENT, USER_AGENT);
    if let Some((name, value)) = extra {
        request = request.header(name, value);
    }
    let request =
        request.body(Empty::new()).map_err(|error| format!("the request cannot be written: {error}"))?;
    sender.send_request(request).await.map_err(|error| broken(&error))
}

/// `Retry-After` in seconds, as Firmament says it.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// An answer to a check.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// When to ask again.
    pub retry_after: Option<Duration>,
    /// All of it.
    pub body: Bytes,
}

/// The device listener, with the connections to it that are kept.
#[derive(Debug)]
pub struct Listener {
    reach: Arc<Reach>,
    place: Place,
    /// What every path begins with.
    prefix: String,
    kept: Option<Mutex<Vec<Sender>>>,
}

impl Listener {
    /// `keep`: use connections again.
    pub fn new(reach: Arc<Reach>, place: Place, prefix: String, keep: bool) -> Self {
        Self { reach, place, prefix, kept: keep.then(Mutex::default) }
    }

    /// The rule of where to connect to.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Asks.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn ask(&self, path: &str) -> Result<Answer, Why> {
        let path = format!("{}{path}", self.prefix);
        timeout(ANSWER, self.exchange(&path)).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn exchange(&self, path: &str) -> Result<Answer, Why> {
        let Some(kept) = &self.kept else {
            let mut sender = connect(&self.reach, &self.place).await?;
            let close = Some((header::CONNECTION, "close"));
            return read(send(&mut sender, &self.place, path, close).await?).await;
        };
        // A kept connection that the server has closed meanwhile is no fault of anybody: once more on a new one.
        if let Some(mut sender) = idle(kept).await
            && let Ok(response) = send(&mut sender, &self.place, path, None).await
        {
            return self.keep(kept, sender, read(response).await);
        }
        let mut sender = connect(&self.reach, &self.place).await?;
        let response = send(&mut sender, &self.place, path, None).await?;
        self.keep(kept, sender, read(response).await)
    }

    fn keep(
        &self,
        kept: &Mutex<Vec<Sender>>,
        sender: Sender,
        answer: Result<Answer, Why>,
    ) -> Result<Answer, Why> {
        if answer.is_ok() && !sender.is_closed() {
            kept.lock().expect("nobody panics while holding it").push(sender);
        }
        answer
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.place.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.place.authority, self.prefix)
    }
}

/// A kept connection that can be used. Its task may need a moment to see the end of the last answer.
async fn idle(kept: &Mutex<Vec<Sender>>) -> Option<Sender> {
    loop {
        let mut sender = kept.lock().expect("nobody panics while holding it").pop()?;
        if sender.ready().await.is_ok() {
            return Some(sender);
        }
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, Why> {
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER).collect().await;
    let body = body.map_err(|_| "the answer breaks off, or is too long for a check's".to_owned())?.to_bytes();
    Ok(Answer { status: parts.status, retry_after: retry_after(&parts.headers), body })
}

fn cannot_connect(error: &io::Error) -> Why {
    format!("no connection: {}", error.kind())
}

/// Without what differs from one connection to the next.
fn broken(error: &hyper::Error) -> Why {
    format!("the connection broke: {error}")
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// A server that answers so many checks on each connection and then closes it without a word; what it was asked
    /// comes with the connection's number.
    async fn serve(on_each: usize) -> (Place, tokio::sync::mpsc::UnboundedReceiver<(usize, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (asked, receiver) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            for connection in 0.. {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                for _ in 0..on_each {
                    let mut request = vec![0; 4096];
                    let length = stream.read(&mut request).await.expect("a request");
                    let text = String::from_utf8_lossy(&request[..length]).into_owned();
                    // The test may be over.
                    let _ = asked.send((connection, text));
                    let answer = b"HTTP/1.1 204 No Content\r\nretry-after: 60\r\n\r\n";
                    stream.write_all(answer).await.expect("the client reads");
                }
            }
        });
        (Place::of(&url.parse().expect("a URL")).expect("a place"), receiver)
    }

    async fn ask(place: Place, keep: bool, times: usize) {
        let listener = Listener::new(Arc::new(Reach::new(false)), place, "/api".to_owned(), keep);
        for _ in 0..times {
            let answer = listener.ask("/v1/check?product=p").await.expect("an answer");
            assert_eq!(
                (answer.status, answer.retry_after),
                (StatusCode::NO_CONTENT, Some(Duration::from_secs(60)))
            );
        }
    }

    #[tokio::test]
    async fn a_kept_connection_is_used_again_and_replaced_when_it_is_closed() {
        let (place, mut asked) = serve(3).await;
        ask(place, true, 7).await;
        let connections: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
        assert_eq!(connections.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1, 2]);
        let request = &connections[0].1;
        assert!(request.starts_with("GET /api/v1/check?product=p HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
        assert!(!request.contains("connection:"), "{request}");
    }

    #[tokio::test]
    async fn without_keeping_each_check_has_its_connection() {
        let (place, mut asked) = serve(1).await;
        ask(place, false, 3).await;
        let connections: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
        assert_eq!(connections.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(connections[0].1.contains("connection: close\r\n"), "{}", connections[0].1);
    }

    #[tokio::test]
    async fn nobody_there_is_said_in_words_that_do_not_differ() {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
        let place = Place::of(&format!("http://{free}").parse().expect("a URL")).expect("a place");
        let listener = Listener::new(Arc::new(Reach::new(false)), place, String::new(), true);
        assert_eq!(listener.ask("/").await.expect_err("nobody"), "no connection: connection refused");
    }
}
