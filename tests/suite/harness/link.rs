//! A bad link to a set of replicas: whenever it has carried so many bytes more from clients, it drops the connection
//! that these came by.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// The link, with a load balancer at its end.
pub struct Link {
    address: SocketAddr,
    targets: watch::Sender<Vec<String>>,
    drops: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Link {
    /// A link to listeners that are named by their URLs; connections go to them in turn.
    pub async fn start(targets: &[&str], bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (sender, watched) = watch::channel(addresses(targets));
        let drops = Arc::new(AtomicUsize::new(0));
        let (counted, carried) = (Arc::clone(&drops), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(async move {
            for turn in 0.. {
                let Ok((client, _)) = listener.accept().await else { return };
                let target = {
                    let targets = watched.borrow();
                    targets[turn % targets.len()].clone()
                };
                let (counted, carried) = (Arc::clone(&counted), Arc::clone(&carried));
                tokio::spawn(async move {
                    if carry(client, &target, &carried, bytes).await {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { address, targets: sender, drops, task }
    }

    /// Its URL.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends new connections elsewhere.
    pub fn lead_to(&self, targets: &[&str]) {
        self.targets.send_replace(addresses(targets));
    }

    /// How many connections it has dropped.
    pub fn drops(&self) -> usize {
        self.drops.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn addresses(urls: &[&str]) -> Vec<String> {
    urls.iter().map(|url| url.split_once("://").expect("a URL").1.to_owned()).collect()
}

/// Forwards one connection; `true` = it was dropped.
async fn carry(client: TcpStream, target: &str, carried: &AtomicUsize, limit: usize) -> bool {
    let Ok(server) = TcpStream::connect(target).await else { return false };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
        to_client
    });
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from_client.read(&mut buffer).await {
            Ok(0) | Err(_) => {
                let _ = to_server.shutdown().await;
                let _ = answers.await;
                return false;
            }
            Ok(count) => {
                if to_server.write_all(&buffer[..count]).await.is_err() {
                    let _ = answers.await;
                    return false;
                }
                if carried.fetch_add(count, Ordering::Relaxed) + count >= limit {
                    carried.store(0, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
    // Both ends learn of it, as when a router forgets its table.
    answers.abort();
    let _ = to_server.shutdown().await;
    true
}
