//! The data directory: what a process keeps on its machine, and that only one server uses it.
//!
//! | file | what |
//! |---|---|
//! | `lock` | held by the running server |
//! | `holder` | who the last process was, as the holder of reservations |
//! | `publisher.token` | the first token, mode 0600 |
//! | `listeners.json` | the listeners' URLs while the server runs; client commands read it |
//! | `snapshot` | the last snapshot |
//! | `catalogue.sqlite*`, `bucket/` | the embedded default |

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};

const HOLDER: &str = "holder";

/// The URLs of a running server's listeners.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListenerUrls {
    /// The private one.
    pub publisher: String,
    /// The public one.
    pub device: String,
}

/// An opened data directory; it is this process's until it is dropped.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Opens the directory, makes it if it is missing, and locks it.
    ///
    /// # Errors
    /// Code `data-dir`: it cannot be made or written, or another server uses it.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |what: &str, error: io::Error| {
            unusable(format!(
                "cannot {what} {}: {error}: set data_dir to a directory that this user may write",
                path.display()
            ))
        };
        fs::create_dir_all(path).map_err(|error| failed("make", error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(|error| failed("write into", error))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => unusable(format!(
                "another server is using {}: stop it, or give this one a data_dir of its own",
                path.display()
            )),
            fs::TryLockError::Error(error) => failed("lock", error),
        })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// A file of the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Who this process is, as the holder of reservations, and who the one before it was. The id is new with every
    /// start, so that what an earlier life left can be told from what this one is doing. A full disk does not stop a
    /// start: then the leases of this life run out by themselves after it.
    pub fn next_holder(&self) -> (Uuid, Option<Uuid>) {
        let before = fs::read_to_string(self.file(HOLDER)).ok().and_then(|text| text.trim().parse().ok());
        let now = Uuid::now_v7();
        if let Err(error) = self.write(HOLDER, 0o644, &format!("{now}\n")) {
            tracing::warn!("{error}");
        }
        (now, before)
    }

    /// The first publisher token; made at first start.
    ///
    /// # Errors
    /// Code `data-dir`: the file cannot be read or written, or holds no token.
    pub fn publisher_token(&self) -> Result<SecretString> {
        let text = self.keep("publisher.token", 0o600, || {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).map_err(|error| unusable(format!("no randomness: {error}")))?;
            Ok(format!("fmt_{}", BASE64_URL_SAFE_NO_PAD.encode(secret)))
        })?;
        let token = text.trim();
        if token.len() < 16 {
            let path = self.file("publisher.token");
            return Err(unusable(format!(
                "{} holds no token: remove it to have a new one made",
                path.display()
            )));
        }
        Ok(SecretString::from(token.to_owned()))
    }

    /// Tells client commands on this machine where the listeners are.
    ///
    /// # Errors
    /// Code `data-dir`: the file cannot be written.
    pub fn announce(&self, urls: &ListenerUrls) -> Result<()> {
        let text = serde_json::to_string(urls).map_err(Error::internal)?;
        self.write("listeners.json", 0o644, &text)
    }

    /// The content of a file, which is made when it is missing.
    fn keep(&self, name: &str, mode: u32, make: impl FnOnce() -> Result<String>) -> Result<String> {
        let path = self.file(name);
        match File::open(&path) {
            Ok(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text)
                    .map_err(|error| unusable(format!("cannot read {}: {error}", path.display())))?;
                Ok(text)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = make()?;
                self.write(name, mode, &format!("{text}\n"))?;
                Ok(text)
            }
            Err(error) => Err(unusable(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// Writes a file whole or not at all, never readable by more than `mode` says.
    fn write(&self, name: &str, mode: u32, text: &str) -> Result<()> {
        let (path, beside) = (self.file(name), self.file(&format!("{name}.new")));
        let written = (|| {
            let _ = fs::remove_file(&beside);
            let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        })();
        written.map_err(|error: io::Error| unusable(format!("cannot write {}: {error}", path.display())))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // A stale file only makes client commands ask a server that does not answer.
        let _ = fs::remove_file(self.file("listeners.json"));
    }
}

fn unusable(message: String) -> Error {
    Error::new(Kind::Internal, "data-dir", message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn one_server_uses_it_and_what_it_keeps_stays() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("a/b");
        let first = DataDir::open(&path).expect("made");
        assert!(DataDir::open(&path).err().expect("locked").message().contains("another server"));
        let (holder, none) = first.next_holder();
        assert_eq!(none, None);
        let token = first.publisher_token().expect("made");
        assert!(token.expose_secret().len() > 40);
        let mode = fs::metadata(first.file("publisher.token")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(first);
        let second = DataDir::open(&path).expect("free again");
        let (next, before) = second.next_holder();
        assert!(before == Some(holder) && next != holder);
        let again = second.publisher_token().expect("kept");
        assert_eq!(again.expose_secret(), token.expose_secret());
        fs::write(second.file("publisher.token"), "\n").expect("writable");
        assert!(second.publisher_token().is_err());
    }
}
