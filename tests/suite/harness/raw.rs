//! A connection on which anything can be sent, and that can end in any way.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::PATIENCE;

/// The connection.
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects to a listener, named by its URL.
    pub async fn connect(base: &str) -> Self {
        let (_, address) = base.split_once("://").expect("a URL");
        Self { stream: TcpStream::connect(address).await.expect("the server listens") }
    }

    /// Sends; `false` = the other side has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Sends a text that must get through.
    pub async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the server reads");
    }

    /// The next header, to its empty line; less when the connection ends before.
    pub async fn head(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = async {
            while !bytes.ends_with(b"\r\n\r\n") {
                match self.stream.read_u8().await {
                    Ok(byte) => bytes.push(byte),
                    Err(_) => break,
                }
            }
        };
        timeout(PATIENCE, read).await.expect("an answer in time");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The next so many bytes, such as an answer's body.
    pub async fn next_bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = timeout(PATIENCE, self.stream.read_exact(&mut bytes)).await;
        read.expect("in time").expect("the whole body");
        bytes
    }

    /// Everything until the other side closes; a reset ends it too.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = self.stream.read_to_end(&mut bytes);
        // An error is a reset: what came before it counts.
        let _ = timeout(PATIENCE, read).await.expect("the server closes in time");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Closes as a process that is killed does.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("a socket option");
    }
}
