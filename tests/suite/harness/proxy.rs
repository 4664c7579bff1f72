//! A TCP proxy that can fail as networks do.
//!
//! Cut: every connection is reset, new ones are refused. Hung: nothing is read or written any more, new connections
//! are accepted and never answered; when it is restored, what was held goes on, as after a network partition.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Cut,
    Hung,
}

/// The proxy.
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
    /// Bound and never listening: keeps the port for us while the proxy refuses.
    _reserved: TcpSocket,
}

impl Proxy {
    /// Starts to forward to `target`, a host and a port.
    pub async fn start(target: &str) -> Self {
        let reserved = TcpSocket::new_v4().expect("a socket");
        reserved.set_reuseaddr(true).expect("a socket option");
        reserved.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = reserved.local_addr().expect("it is bound");
        let (mode, watched) = watch::channel(Mode::Open);
        let task = tokio::spawn(accept(listen(address), address, target.to_owned(), watched));
        Self { address, mode, task, _reserved: reserved }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Resets every connection and refuses new ones.
    pub async fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
        // The listener is closed by its own task.
        super::eventually("the proxy refuses", async || TcpStream::connect(self.address).await.err()).await;
    }

    /// Accepts everything and answers nothing.
    pub fn hang(&self) {
        self.mode.send_replace(Mode::Hung);
    }

    /// Forwards again.
    pub fn restore(&self) {
        self.mode.send_replace(Mode::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a socket option");
    socket.bind(address).expect("the port is reserved for us");
    socket.listen(128).expect("nobody else listens there")
}

async fn accept(first: TcpListener, address: SocketAddr, target: String, mut mode: watch::Receiver<Mode>) {
    let mut listener = Some(first);
    loop {
        let now = *mode.borrow_and_update();
        match now {
            Mode::Cut => listener = None,
            _ if listener.is_none() => listener = Some(listen(address)),
            _ => {}
        }
        let next = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = next => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(carry(client, target.clone(), mode.clone()));
                }
            }
            changed = mode.changed() => if changed.is_err() { return },
        }
    }
}

/// Forwards one connection until it ends or is cut.
async fn carry(mut client: TcpStream, target: String, mut mode: watch::Receiver<Mode>) {
    let Ok(now) = mode.wait_for(|mode| *mode != Mode::Hung).await.map(|mode| *mode) else { return };
    if now == Mode::Cut {
        let _ = client.set_zero_linger();
        return;
    }
    let Ok(mut server) = TcpStream::connect(&target).await else { return };
    let cut = {
        let mut copying = std::pin::pin!(copy_bidirectional(&mut client, &mut server));
        loop {
            let now = *mode.borrow_and_update();
            if now == Mode::Cut {
                break true;
            }
            tokio::select! {
                // Not polled while hung, so nothing moves.
                _ = &mut copying, if now == Mode::Open => break false,
                changed = mode.changed() => if changed.is_err() { break true },
            }
        }
    };
    if cut {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}
