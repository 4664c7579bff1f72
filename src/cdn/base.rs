//! How the links of the device listener itself begin: as the settings have it, or as the request names it.
//!
//! What a request names is its sender's word. A cache that keeps answers by less than their whole URL, as nginx does unless told
//! otherwise, would give one sender's word to all others. So an answer with such a link is nobody's to keep but who
//! asked ([`Base::is_askers_word`]), except if it names the address that the listener is bound to: that is true whoever says
//! it, and leads nowhere else.

use std::net::SocketAddr;

/// Scheme and host of the device listener, as its devices reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// From the settings, without a trailing slash.
    Set(String),
    /// What the request names as its host.
    Named {
        /// Whether the listener speaks TLS.
        https: bool,
        /// What it is named by the address that it is bound to.
        own: Box<[String]>,
    },
}

impl Base {
    /// What requests name, on a listener that is bound to this address.
    pub fn named(https: bool, address: SocketAddr) -> Self {
        Self::Named { https, own: own_names(https, address) }
    }

    /// Whether a link depends on the word of who asks.
    pub fn is_askers_word(&self, host: &str) -> bool {
        match self {
            Self::Set(_) => false,
            Self::Named { own, .. } => !own.iter().any(|name| name == host),
        }
    }

    /// Writes it to the end of a text. `host` is what the request names as its host.
    pub fn write(&self, url: &mut String, host: &str) {
        match self {
            Self::Set(base) => url.push_str(base),
            Self::Named { https, .. } => {
                url.push_str(if *https { "https://" } else { "http://" });
                url.push_str(host);
            }
        }
    }
}

fn own_names(https: bool, address: SocketAddr) -> Box<[String]> {
    let ip = address.ip();
    let port = match (https, address.port()) {
        (false, 80) | (true, 443) => String::new(),
        (_, port) => format!(":{port}"),
    };
    let text = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    // All addresses of a machine are none to reach it by; but this machine itself is.
    let names: &[&str] = match (ip.is_unspecified(), ip.is_loopback()) {
        (true, _) => &["127.0.0.1", "[::1]", "localhost"],
        (false, true) => &[&text, "localhost"],
        (false, false) => &[&text],
    };
    names.iter().map(|name| format!("{name}{port}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_that_is_listened_on_is_nobodys_word() {
        let is_word = |https: bool, address: &str, host: &str| {
            Base::named(https, address.parse().expect("an address")).is_askers_word(host)
        };
        for (https, address, host) in [
            (false, "127.0.0.1:8080", "127.0.0.1:8080"),
            (false, "127.0.0.1:8080", "localhost:8080"),
            (false, "192.0.2.1:80", "192.0.2.1"),
            (true, "[2001:db8::1]:443", "[2001:db8::1]"),
            (true, "[::1]:8443", "[::1]:8443"),
            (false, "0.0.0.0:8080", "127.0.0.1:8080"),
            (false, "[::]:8080", "localhost:8080"),
        ] {
            assert!(!is_word(https, address, host), "{host} on {address}");
        }
        for (https, address, host) in [
            (false, "127.0.0.1:8080", "evil.example"),
            (false, "127.0.0.1:8080", "127.0.0.1:8081"),
            (false, "127.0.0.1:8080", "127.0.0.1"),
            (false, "192.0.2.1:8080", "localhost:8080"),
            (false, "0.0.0.0:8080", "0.0.0.0:8080"),
            (false, "0.0.0.0:8080", "192.0.2.1:8080"),
            (true, "192.0.2.1:80", "192.0.2.1"),
        ] {
            assert!(is_word(https, address, host), "{host} on {address}");
        }
        assert!(!Base::Set("https://fw.example.com".into()).is_askers_word("evil.example"));
    }
}
