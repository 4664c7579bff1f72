//! Where a run may connect to: loopback, and anywhere else only for those who own the server.
//!
//! What counts is every address that a host has, not its name, and the addresses that were judged are the ones that are
//! connected to. They are looked up (and judged) again after a while, as a long run must follow a moved name.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ::http::Uri;

/// How long a name's addresses are believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// The option that lifts the rule.
pub const FLAG: &str = "--i-own-this-server";

/// A listener somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// HTTPS.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// As it stands in a URL, for `Host`.
    pub authority: String,
}

impl Place {
    /// The place of an absolute `http` or `https` URL.
    pub fn of(uri: &Uri) -> Option<Self> {
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        // A user name is no place to hide a host behind.
        if host.is_empty() || authority.as_str().contains('@') {
            return None;
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Self { tls, host, port, authority: authority.to_string() })
    }
}

/// Why something is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Beyond {
    /// Not on this machine.
    #[error("{host} has the address {address}, which is not loopback; if it is yours, add {FLAG}")]
    Elsewhere {
        /// As named.
        host: String,
        /// One of its addresses.
        address: IpAddr,
    },
    /// It has no address.
    #[error("the host {0} is not known")]
    Unknown(String),
    /// Nothing that can be connected to.
    #[error("{0:?} is no http or https URL")]
    NoUrl(String),
}

/// The rule, and the addresses that it has judged.
#[derive(Debug)]
pub struct Reach {
    anywhere: bool,
    known: Mutex<HashMap<(String, u16), Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    addresses: Arc<[SocketAddr]>,
    since: Instant,
}

impl Reach {
    /// `anywhere`: the caller owns the server.
    pub fn new(anywhere: bool) -> Self {
        Self { anywhere, known: Mutex::default() }
    }

    /// The addresses of a place, if it may be connected to.
    ///
    /// # Errors
    /// When it may not, or has none.
    pub async fn addresses(&self, place: &Place) -> Result<Arc<[SocketAddr]>, Beyond> {
        let key = (place.host.clone(), place.port);
        let known = self.known.lock().expect("nobody panics while holding it").get(&key).cloned();
        if let Some(known) = known.filter(|known| known.since.elapsed() < BELIEVED) {
            return Ok(known.addresses);
        }
        let unknown = || Beyond::Unknown(place.host.clone());
        let found = tokio::net::lookup_host((place.host.as_str(), place.port)).await;
        let addresses: Arc<[SocketAddr]> = found.map_err(|_| unknown())?.collect();
        self.judge(&place.host, &addresses)?;
        let known = Known { addresses: Arc::clone(&addresses), since: Instant::now() };
        self.known.lock().expect("nobody panics while holding it").insert(key, known);
        Ok(addresses)
    }

    fn judge(&self, host: &str, addresses: &[SocketAddr]) -> Result<(), Beyond> {
        if addresses.is_empty() {
            return Err(Beyond::Unknown(host.to_owned()));
        }
        let elsewhere =
            addresses.iter().map(|address| address.ip().to_canonical()).find(|ip| !ip.is_loopback());
        match elsewhere {
            Some(address) if !self.anywhere => Err(Beyond::Elsewhere { host: host.to_owned(), address }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Option<Place> {
        Place::of(&url.parse().ok()?)
    }

    #[test]
    fn places_are_read_from_urls() {
        let found = place("https://[::1]/x").expect("a place");
        assert_eq!((found.tls, found.host.as_str(), found.port), (true, "::1", 443));
        assert_eq!(found.authority, "[::1]");
        let found = place("http://LocalHost:8080/v1").expect("a place");
        assert_eq!((found.tls, found.host.as_str(), found.port), (false, "localhost", 8080));
        for bad in ["/v1/x", "ftp://127.0.0.1/", "http://127.0.0.1@example.com/", "127.0.0.1:80"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn only_loopback_without_the_flag() {
        let reach = Reach::new(false);
        for fine in
            ["http://127.0.0.1:1/", "http://127.9.9.9/", "http://[::1]:1/", "http://[::ffff:127.0.0.1]/"]
        {
            assert!(reach.addresses(&place(fine).expect(fine)).await.is_ok(), "{fine}");
        }
        for elsewhere in
            ["http://192.0.2.1/", "http://[2001:db8::1]/", "http://[::ffff:192.0.2.1]/", "http://0.0.0.0/"]
        {
            let place = place(elsewhere).expect(elsewhere);
            let refused = reach.addresses(&place).await.expect_err(elsewhere);
            assert!(matches!(refused, Beyond::Elsewhere { .. }), "{refused}");
            assert!(refused.to_string().contains(FLAG), "{refused}");
            assert!(Reach::new(true).addresses(&place).await.is_ok(), "{elsewhere}");
        }
    }

    #[test]
    fn one_address_elsewhere_is_enough_to_refuse() {
        let mixed = ["127.0.0.1:80", "192.0.2.1:80"].map(|text| text.parse().expect("an address"));
        assert!(matches!(Reach::new(false).judge("h", &mixed), Err(Beyond::Elsewhere { .. })));
        assert_eq!(Reach::new(true).judge("h", &mixed), Ok(()));
        assert!(matches!(Reach::new(true).judge("h", &[]), Err(Beyond::Unknown(_))));
    }
}
