//! TLS on a listener: certificates that are read anew when they change, and tickets that every replica can read.
//!
//! rustls with aws-lc-rs, TLS 1.2 and 1.3, its own defaults for everything else. Session tickets are sealed with a key
//! that is derived from a secret which all replicas share and from the day, so a fleet that reconnects after a power cut
//! resumes on whichever replica it reaches, and a key that leaks opens two days. Without a secret each process has keys
//! of its own, and resumption works on the same one only.
//!
//! A ticket is `day (4 bytes) | nonce (12) | sealed | tag (16)`, AES-256-GCM with the day as associated data, under the
//! first 32 bytes of HMAC-SHA256(secret, "firmament session tickets" | day).

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{Ticketer, default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::ProducesTickets,
};
use tokio_rustls::TlsAcceptor;

use crate::error::{Error, Kind, Result};

const DAY: u64 = 86_400;
const DAY_BYTES: usize = 4;

/// What a listener shows as its identity.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    tickets: Arc<dyn ProducesTickets>,
    state: ArcSwap<State>,
}

struct State {
    config: Arc<ServerConfig>,
    /// The files as they were read.
    files: (Vec<u8>, Vec<u8>),
}

impl Tls {
    /// Reads a certificate chain and its key, both PEM files. `ticket_secret` is what all replicas share.
    ///
    /// # Errors
    /// Code `tls-unusable`, with what is wrong.
    pub fn new(certificate: &Path, key: &Path, ticket_secret: Option<&[u8]>) -> Result<Self> {
        let tickets: Arc<dyn ProducesTickets> = match ticket_secret {
            Some(secret) => Arc::new(SharedTickets(hmac::Key::new(hmac::HMAC_SHA256, secret))),
            None => Ticketer::new().map_err(Error::internal)?,
        };
        let state = State::read(certificate, key, &tickets)?;
        Ok(Self {
            certificate: certificate.into(),
            key: key.into(),
            tickets,
            state: ArcSwap::from_pointee(state),
        })
    }

    /// What accepts a connection now.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.state.load().config))
    }

    /// Reads the files anew if they have changed; says whether it did. Connections that exist keep what they have.
    ///
    /// # Errors
    /// As [`Self::new`]; what was read before stays in use.
    pub fn reload(&self) -> Result<bool> {
        let files = read_files(&self.certificate, &self.key)?;
        if files == self.state.load().files {
            return Ok(false);
        }
        self.state.store(Arc::new(State::read(&self.certificate, &self.key, &self.tickets)?));
        Ok(true)
    }
}

impl State {
    fn read(certificate: &Path, key: &Path, tickets: &Arc<dyn ProducesTickets>) -> Result<Self> {
        let files = read_files(certificate, key)?;
        let wrong = |path: &Path, why: &dyn fmt::Display| unusable(format!("{}: {why}", path.display()));
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&files.0)
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| wrong(certificate, &error))?;
        let private = PrivateKeyDer::from_pem_slice(&files.1).map_err(|error| wrong(key, &error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::internal)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| wrong(certificate, &format!("does not go with {}: {error}", key.display())))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = Arc::clone(tickets);
        // rustls sends two unless told otherwise; a device that checks once can use one at most.
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config), files })
    }
}

fn read_files(certificate: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| {
            unusable(format!(
                "cannot read {}: {error}: it must be a PEM file that this process may read",
                path.display()
            ))
        })
    };
    Ok((read(certificate)?, read(key)?))
}

fn unusable(message: String) -> Error {
    Error::new(Kind::Internal, "tls-unusable", message)
}

/// Tickets that every process with the same secret can open.
struct SharedTickets(hmac::Key);

impl SharedTickets {
    fn today() -> u32 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u32::try_from(since.as_secs() / DAY).unwrap_or(u32::MAX)
    }

    fn key(&self, day: u32) -> Option<LessSafeKey> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"firmament session tickets");
        context.update(&day.to_be_bytes());
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, context.sign().as_ref()).ok()?))
    }

    fn seal(&self, plain: &[u8], day: u32) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let (day_bytes, unique) = (day.to_be_bytes(), Nonce::assume_unique_for_key(nonce));
        self.key(day)?.seal_in_place_append_tag(unique, Aad::from(day_bytes), &mut sealed).ok()?;
        Some([&day_bytes[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8], today: u32) -> Option<Vec<u8>> {
        let (day_bytes, rest) = ticket.split_first_chunk::<DAY_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let day = u32::from_be_bytes(*day_bytes);
        // A replica whose clock is a little ahead may have begun the next day already.
        if today.abs_diff(day) > 1 {
            return None;
        }
        let mut plain = sealed.to_vec();
        let opened = self.key(day)?.open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(*day_bytes),
            &mut plain,
        );
        Some(opened.ok()?.to_vec())
    }
}

impl fmt::Debug for SharedTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedTickets")
    }
}

impl ProducesTickets for SharedTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(DAY).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, Self::today())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, Self::today())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secret: &[u8]) -> SharedTickets {
        SharedTickets(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    #[test]
    fn a_ticket_of_one_replica_is_read_by_another_for_two_days() {
        let (one, other, stranger) = (tickets(b"secret"), tickets(b"secret"), tickets(b"another"));
        let ticket = one.seal(b"session", 100).expect("sealed");
        for today in [99, 100, 101] {
            assert_eq!(other.open(&ticket, today).as_deref(), Some(&b"session"[..]));
        }
        assert_eq!(other.open(&ticket, 102), None);
        assert_eq!(stranger.open(&ticket, 100), None);
        for at in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[at] ^= 1;
            assert_eq!(other.open(&damaged, 100), None, "byte {at}");
            assert_eq!(other.open(&ticket[..at], 100), None);
        }
    }
}
