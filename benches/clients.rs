//! The devices of `benches/connections`: what wrk cannot be.
//!
//! - `clients new PORT TARGET CERTIFICATE MODE TASKS SECONDS` asks over a new connection each time, as most devices do. MODE is
//!   `plain`, `full` (a whole TLS handshake each time) or `resumed` (by the ticket of the connection before).
//! - `clients rate PORT TARGET CERTIFICATE plain TASKS SECONDS RATE [mixed]` asks RATE times a second over TASKS kept connections; with
//!   `mixed`, every second task asks over a new connection each time. A latency counts from when the question was due, so that an
//!   answer that is late delays no later question's clock.
//! - `clients hold PORT TARGET CERTIFICATE MODE COUNT KIND` opens COUNT connections and holds them until its input ends. KIND is `idle`
//!   (asks once, then nothing), `slow` (asks much and reads nothing) or `drip` (sends a request byte by byte, for ever).
//!
//! The first two print `result COUNT MICROSECONDS FAILED 50th 99th`, in microseconds; the last `held COUNT` once it holds.
//! An answer other than 200 or 204, none within ten seconds, or a handshake of another kind than MODE says, is a failure.
//! `rate` counts a question that could not be asked until ten seconds after the end as a failure, too.
//!
//! `{}` in TARGET is the number of the task, in five digits.
//!
//! Each connection comes from one of many loopback addresses: a port that was used waits for a minute, and one address
//! has 28,000 of them.

use std::{
    env,
    io::{self, Error, Read as _},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpSocket,
};
use tokio_rustls::TlsConnector;

/// How long a question may take, with its connection if that is new.
const PATIENCE: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One device: where it asks, and how.
struct Device {
    address: SocketAddr,
    request: String,
    mode: String,
    tls: Option<TlsConnector>,
    connections: u64,
    /// How much may be on its way to it, in bytes, if not what the system chooses.
    room: Option<u32>,
}

#[derive(Default)]
struct Results {
    latencies: Mutex<Option<Histogram<u64>>>,
    count: AtomicU64,
    failed: AtomicU64,
}

impl Results {
    fn add(&self, result: &io::Result<()>, took: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = result
            && self.failed.fetch_add(1, Ordering::Relaxed) == 0
        {
            eprintln!("clients: the first failure: {error}");
        }
        let mut latencies = self.latencies.lock().expect("nobody panics");
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        latencies
            .get_or_insert_with(|| Histogram::new_with_bounds(1, 600_000_000, 3).expect("fits"))
            .saturating_record(micros.max(1));
    }

    fn print(&self, took: Duration) {
        let latencies = self.latencies.lock().expect("nobody panics");
        let at = |quantile| latencies.as_ref().map_or(0, |all| all.value_at_quantile(quantile));
        let (count, failed) = (self.count.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        println!("result {count} {} {failed} {} {}", took.as_micros(), at(0.5), at(0.99));
    }
}

impl Device {
    fn new(port: u16, target: &str, certificate: &str, mode: &str) -> io::Result<Self> {
        let tls = if mode == "plain" {
            None
        } else {
            let mut roots = RootCertStore::empty();
            let certificate = CertificateDer::from_pem_file(certificate).map_err(Error::other)?;
            roots.add(certificate).map_err(Error::other)?;
            let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(Error::other)?
                .with_root_certificates(roots)
                .with_no_client_auth();
            if mode != "resumed" {
                config.resumption = Resumption::disabled();
            }
            Some(TlsConnector::from(Arc::new(config)))
        };
        Ok(Self {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            request: format!("GET {target} HTTP/1.1\r\nHost: fw.example.com\r\n\r\n"),
            mode: mode.to_owned(),
            tls,
            connections: 0,
            room: None,
        })
    }

    async fn connect(&mut self) -> io::Result<Box<dyn Stream>> {
        self.connections += 1;
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::new(127, 1, fastrand::u8(..), fastrand::u8(1..255)), 0).into())?;
        if let Some(room) = self.room {
            socket.set_recv_buffer_size(room)?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from("localhost").map_err(Error::other)?;
        let stream = tls.connect(name, stream).await?;
        let kind = stream.get_ref().1.handshake_kind();
        let wanted = if self.mode == "resumed" { HandshakeKind::Resumed } else { HandshakeKind::Full };
        if self.connections > 1 && kind != Some(wanted) {
            return Err(Error::other(format!("the handshake was {kind:?}")));
        }
        Ok(Box::new(stream))
    }

    async fn ask(&self, stream: &mut dyn Stream) -> io::Result<()> {
        stream.write_all(self.request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(2048);
        loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let status = head.get(9..12).unwrap_or_default();
            if status != "200" && status != "204" {
                return Err(Error::other(format!("answered {status}")));
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
                return Ok(());
            }
        }
    }

    async fn ask_anew(&mut self) -> io::Result<()> {
        let mut stream = self.connect().await?;
        self.ask(&mut *stream).await
    }

    /// Asks over what is kept, or over a new connection; what failed is not kept.
    async fn ask_again(&mut self, kept: &mut Option<Box<dyn Stream>>) -> io::Result<()> {
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        self.ask(&mut *stream).await?;
        *kept = Some(stream);
        Ok(())
    }
}

/// A server that does not answer is one that failed.
async fn in_time(question: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(result) => result,
        Err(_) => Err(Error::other(format!("not answered within {} s", PATIENCE.as_secs()))),
    }
}

/// Asks over new connections until the time is over.
async fn each_anew(mut device: Device, until: Instant, results: Arc<Results>) {
    while Instant::now() < until {
        let began = Instant::now();
        let result = in_time(device.ask_anew()).await;
        results.add(&result, began.elapsed());
    }
}

/// Asks at the given times, over one connection or each time over a new one.
async fn at_times(
    mut device: Device,
    keep: bool,
    first: Instant,
    pause: Duration,
    until: Instant,
    results: Arc<Results>,
) {
    let mut kept: Option<Box<dyn Stream>> = None;
    let mut due = first;
    while due < until {
        tokio::time::sleep_until(due.into()).await;
        // After silence the next questions are long due: none of them keeps the run from its end.
        let result = if Instant::now() < until + PATIENCE {
            in_time(device.ask_again(&mut kept)).await
        } else {
            Err(Error::other("not asked: those before it took too long"))
        };
        results.add(&result, due.elapsed());
        if !keep {
            kept = None;
        }
        due += pause;
    }
}

/// Opens a connection, makes of it what KIND says, and never lets go.
async fn hold(mut device: Device, kind: String, held: Arc<AtomicU64>) -> io::Result<()> {
    // Else the system takes megabytes of answers before the server finds out that nobody reads.
    device.room = (kind == "slow").then_some(4096);
    let mut stream = device.connect().await?;
    match kind.as_str() {
        "idle" => {
            device.ask(&mut *stream).await?;
            held.fetch_add(1, Ordering::Relaxed);
            let mut nothing = [0];
            // Asked for again before the server gives the connection up.
            while tokio::time::timeout(Duration::from_secs(60), stream.read(&mut nothing)).await.is_err() {
                device.ask(&mut *stream).await?;
            }
            Err(io::ErrorKind::UnexpectedEof.into())
        }
        "slow" => {
            held.fetch_add(1, Ordering::Relaxed);
            loop {
                let sent =
                    tokio::time::timeout(Duration::from_secs(1), stream.write_all(device.request.as_bytes()));
                match sent.await {
                    Ok(Ok(())) => {}
                    // The server reads no more until somebody takes its answers.
                    Err(_) => tokio::time::sleep(Duration::from_secs(5)).await,
                    // It has given up: come again.
                    Ok(Err(_)) => stream = device.connect().await?,
                }
            }
        }
        _ => {
            held.fetch_add(1, Ordering::Relaxed);
            loop {
                for byte in device.request.bytes().take(device.request.len() - 1) {
                    if stream.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                stream = device.connect().await?;
            }
        }
    }
}

async fn hold_all(devices: Vec<Device>, kind: &str) {
    let (count, held) = (devices.len() as u64, Arc::new(AtomicU64::new(0)));
    for (number, device) in devices.into_iter().enumerate() {
        let (kind, held) = (kind.to_owned(), Arc::clone(&held));
        tokio::spawn(async move {
            if let Err(error) = hold(device, kind, held).await {
                eprintln!("clients: a held connection ended: {error}");
            }
        });
        // Not faster than they are accepted.
        if number % 100 == 99 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    while held.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("held {count}");
    let _ = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await;
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // Cargo runs it with other arguments, or with none, where it runs every target there is.
    let [what, port, target, certificate, mode, count, last @ ..] = arguments.as_slice() else {
        return Ok(());
    };
    let (Ok(port), Ok(count)) = (port.parse(), count.parse::<u32>()) else { return Ok(()) };
    let devices = (0..count)
        .map(|number| Device::new(port, &target.replace("{}", &format!("{number:05}")), certificate, mode));
    let devices: Vec<Device> = devices.collect::<io::Result<_>>()?;
    if what == "hold" {
        hold_all(devices, last.first().map_or("idle", String::as_str)).await;
        std::process::exit(0);
    }
    let number = |index: usize| last.get(index).and_then(|text| text.parse::<u32>().ok()).unwrap_or(1);
    let (results, began) = (Arc::new(Results::default()), Instant::now());
    let until = began + Duration::from_secs(number(0).into());
    // Each asks once every `pause`; together they ask RATE times a second.
    let pause = Duration::from_secs(1) * count / number(1).max(1);
    let mixed = last.get(2).is_some_and(|word| word == "mixed");
    let tasks = devices.into_iter().zip(0u32..).map(|(device, index)| {
        let results = Arc::clone(&results);
        if what == "new" {
            tokio::spawn(each_anew(device, until, results))
        } else {
            let first = began + Duration::from_millis(500) + pause * index / count;
            let keep = !mixed || index % 2 == 0;
            tokio::spawn(at_times(device, keep, first, pause, until, results))
        }
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await?;
    }
    results.print(began.elapsed());
    Ok(())
}
