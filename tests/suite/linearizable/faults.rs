//! The wire between one replica and the database, and how it fails: after a commit and before its answer, in the middle of
//! anything, or for a while.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

/// How a driver of PostgreSQL ends a transaction: the text of a simple query.
const COMMIT: &[u8] = b"COMMIT\0";
/// What every change sends before it: the name of the channel that tells of changes. (Reading commits too.)
const CHANGE: &[u8] = b"firmament_changed";
/// The server acts on what it was sent, whether or not somebody still listens. A commit takes a few milliseconds.
const UNTIL_COMMITTED: Duration = Duration::from_millis(60);

/// The wire.
pub struct Wire {
    pub port: u16,
    state: Arc<State>,
    /// When it did not carry anything: from, until.
    outages: Mutex<Vec<(Instant, Option<Instant>)>>,
    task: JoinHandle<()>,
}

struct State {
    server: SocketAddr,
    refuse: AtomicBool,
    lose_next_commit: AtomicBool,
    lost_commits: AtomicUsize,
    /// Changes when all connections are to be cut.
    cut: watch::Sender<()>,
}

impl Wire {
    pub async fn to(host: &str, port: u16) -> Self {
        let server = tokio::net::lookup_host((host, port)).await.expect("a host").next().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State {
            server,
            refuse: AtomicBool::new(false),
            lose_next_commit: AtomicBool::new(false),
            lost_commits: AtomicUsize::new(0),
            cut: watch::Sender::new(()),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.refuse.load(Ordering::SeqCst) {
                    // A reset, at once.
                    let _ = client.set_zero_linger();
                    continue;
                }
                tokio::spawn(carry(client, Arc::clone(&shared), shared.cut.subscribe()));
            }
        });
        Self { port, state, outages: Mutex::new(Vec::new()), task }
    }

    /// Cuts the connection on which the next commit of a change is sent, after it was sent.
    pub async fn lose_a_commit(&self) {
        self.state.lose_next_commit.store(true, Ordering::SeqCst);
        for _ in 0..100 {
            if !self.state.lose_next_commit.load(Ordering::SeqCst) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.state.lose_next_commit.store(false, Ordering::SeqCst);
    }

    pub fn lost_commits(&self) -> usize {
        self.state.lost_commits.load(Ordering::SeqCst)
    }

    /// Cuts every connection; new ones work.
    pub fn cut(&self) {
        self.state.cut.send_replace(());
    }

    /// Carries nothing for so long.
    pub async fn fail_for(&self, time: Duration) {
        self.outages.lock().expect("no panic").push((Instant::now(), None));
        self.state.refuse.store(true, Ordering::SeqCst);
        self.cut();
        sleep(time).await;
        self.state.refuse.store(false, Ordering::SeqCst);
        self.outages.lock().expect("no panic").last_mut().expect("just pushed").1 = Some(Instant::now());
    }

    /// Since when the replica may have heard nothing, asked at `at`: the beginning of an outage that lasted until less
    /// than `bound` before; `None` = there was none.
    pub fn lost_since(&self, at: Instant, bound: Duration) -> Option<Instant> {
        let outages = self.outages.lock().expect("no panic");
        let recent =
            outages.iter().rev().take_while(|(_, until)| until.is_none_or(|until| until + bound > at));
        recent.map(|(from, _)| *from).min()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, state: Arc<State>, mut cut: watch::Receiver<()>) {
    let Ok(mut server) = TcpStream::connect(state.server).await else { return };
    // Else both ends wait for each other's acknowledgements.
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let lost = {
        let both = async {
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            let there = async {
                let mut buffer = vec![0; 64 * 1024];
                let mut changes = false;
                loop {
                    let read = from_client.read(&mut buffer).await?;
                    if read == 0 {
                        return Ok(false);
                    }
                    let sent = |text: &[u8]| buffer[..read].windows(text.len()).any(|window| window == text);
                    changes |= sent(CHANGE);
                    let commits = sent(COMMIT);
                    to_server.write_all(&buffer[..read]).await?;
                    if commits && changes && state.lose_next_commit.swap(false, Ordering::SeqCst) {
                        return Ok::<_, io::Error>(true);
                    }
                    changes &= !commits;
                }
            };
            let back = async {
                tokio::io::copy(&mut from_server, &mut to_client).await?;
                Ok::<_, io::Error>(false)
            };
            // Whichever ends first: after a lost commit, nothing comes back any more.
            tokio::select! {
                biased;
                lost = there => lost,
                closed = back => closed,
            }
        };
        tokio::select! {
            lost = both => lost.unwrap_or(false),
            _ = cut.changed() => false,
        }
    };
    if lost {
        sleep(UNTIL_COMMITTED).await;
        state.lost_commits.fetch_add(1, Ordering::SeqCst);
    }
    let _ = client.set_zero_linger();
    let _ = server.set_zero_linger();
}
