//! How the links of the device listener itself begin: as the settings have it, or as the request names it.

/// Scheme and host of the device listener, as its devices reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// From the settings, without a trailing slash.
    Set(String),
    /// What the request names as its host.
    Named {
        /// Whether the listener speaks TLS.
        https: bool,
    },
}

impl Base {
    /// Writes it to the end of a text. `host` is what the request names as its host.
    pub fn write(&self, url: &mut String, host: &str) {
        match self {
            Self::Set(base) => url.push_str(base),
            Self::Named { https } => {
                url.push_str(if *https { "https://" } else { "http://" });
                url.push_str(host);
            }
        }
    }
}
