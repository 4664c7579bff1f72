//! Which server a client command talks to.
//!
//! In this order: the option or its environment variable, the `listeners.json` that a running server leaves in its
//! data directory, the default. So on the machine of a server without configuration nothing need be said.

use std::{fmt, io::ErrorKind, net::IpAddr, path::PathBuf};

use clap::Args;
use secrecy::SecretString;
use serde::Deserialize;
use ureq::http::Uri;

use super::output::Failure;

const DEFAULT_PUBLISHER: &str = "http://127.0.0.1:8081";
const DEFAULT_DEVICE: &str = "http://127.0.0.1:8080";
const DEFAULT_DATA_DIR: &str = "./firmament-data";
const LISTENERS_FILE: &str = "listeners.json";

/// The options of every client command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection and output")]
pub struct ClientOptions {
    /// The publisher listener [default: that of this machine's server, http://127.0.0.1:8081]
    #[arg(long, value_name = "URL", env = "FIRMAMENT_SERVER")]
    pub server: Option<String>,
    /// The device listener [default: that of this machine's server, http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", env = "FIRMAMENT_DEVICE_SERVER")]
    pub device_server: Option<String>,
    /// The publisher token; rather set the variable, others can see your arguments
    /// [default: publisher.token in the data directory]
    #[arg(long, value_name = "TOKEN", env = "FIRMAMENT_TOKEN", hide_env_values = true,
          value_parser = secret)]
    pub token: Option<SecretString>,
    /// The data directory of a server on this machine [default: ./firmament-data]
    #[arg(long, value_name = "DIR", env = "FIRMAMENT__DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(text))
}

/// One of the two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// The private one.
    Publisher,
    /// The public one.
    Device,
}

impl Listener {
    /// The option that names it.
    pub fn option(self) -> &'static str {
        match self {
            Self::Publisher => "--server",
            Self::Device => "--device-server",
        }
    }
}

/// A listener's address, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub url: BaseUrl,
    /// Which it is.
    pub listener: Listener,
    /// Where the address is from, for messages: empty, or `, as FILE says`.
    pub origin: String,
}

impl ClientOptions {
    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        match &self.data_dir {
            Some(directory) if !directory.as_os_str().is_empty() => directory.clone(),
            _ => PathBuf::from(DEFAULT_DATA_DIR),
        }
    }

    /// The listener's address.
    ///
    /// # Errors
    /// When what was given or found is no address.
    pub fn find(&self, listener: Listener) -> Result<Server, Failure> {
        let (given, default) = match listener {
            Listener::Publisher => (&self.server, DEFAULT_PUBLISHER),
            Listener::Device => (&self.device_server, DEFAULT_DEVICE),
        };
        if let Some(text) = given.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            let url = BaseUrl::parse(text)
                .map_err(|why| Failure::yours(format!("{} {text:?}: {why}", listener.option())))?;
            return Ok(Server { url, listener, origin: String::new() });
        }
        match self.running(listener)? {
            Some(server) => Ok(server),
            None => {
                let url = BaseUrl::parse(default).expect("the default is an address");
                Ok(Server { url, listener, origin: String::new() })
            }
        }
    }

    /// What a running server says of itself in the data directory.
    fn running(&self, listener: Listener) -> Result<Option<Server>, Failure> {
        #[derive(Deserialize)]
        struct Listeners {
            publisher: Option<String>,
            device: Option<String>,
        }
        let path = self.data_dir().join(LISTENERS_FILE);
        let unusable = |why: String| {
            let (path, option) = (path.display(), listener.option());
            Failure::yours(format!(
                "cannot use {path}: {why}. Name the server by {option}, or delete the file"
            ))
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            // Another user's server: its address may still be the default.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(None),
            Err(error) => return Err(unusable(error.to_string())),
        };
        let listeners: Listeners =
            serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        let text = match listener {
            Listener::Publisher => listeners.publisher,
            Listener::Device => listeners.device,
        };
        let Some(text) = text else { return Ok(None) };
        let url = BaseUrl::parse(&text).map_err(|why| unusable(format!("{text:?}: {why}")))?;
        Ok(Some(Server { url, listener, origin: format!(", as {} says", path.display()) }))
    }

    /// What must be added to a command that is suggested, so that it finds the same server.
    pub fn repeated(&self, listener: Listener) -> String {
        let given = match listener {
            Listener::Publisher => &self.server,
            Listener::Device => &self.device_server,
        };
        match (given, &self.data_dir) {
            (Some(url), _) if !url.is_empty() => format!(" {} {url}", listener.option()),
            (_, Some(directory)) if !directory.as_os_str().is_empty() => {
                format!(" --data-dir {}", directory.display())
            }
            _ => String::new(),
        }
    }
}

/// The address that all paths of a listener begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    loopback: bool,
}

impl BaseUrl {
    /// Parses an address such as `https://firmware.example.com/api`. The unspecified address, where a server
    /// listens on all interfaces, is replaced by that of this machine.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.contains("://") {
            return Err(format!("this is no URL; did you mean http://{text} ?"));
        }
        let uri: Uri = text.parse().map_err(|error| format!("this is no URL ({error})"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if !matches!(scheme, "http" | "https") {
            return Err("a URL must begin with http:// or https://".to_owned());
        }
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or("the URL names no host")?;
        if authority.as_str().contains('@') {
            return Err("a URL with a user name is not supported; give the token by --token".to_owned());
        }
        if uri.query().is_some() {
            return Err("the URL must end before the question mark".to_owned());
        }
        let address: Option<IpAddr> = authority.host().trim_matches(['[', ']']).parse().ok();
        let (host, loopback) = match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) if address.is_unspecified() => ("127.0.0.1".to_owned(), true),
            Some(IpAddr::V6(address)) if address.is_unspecified() => ("[::1]".to_owned(), true),
            Some(address) => (authority.host().to_owned(), address.is_loopback()),
            None => (authority.host().to_owned(), authority.host().eq_ignore_ascii_case("localhost")),
        };
        let port = authority.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = uri.path().trim_end_matches('/');
        Ok(Self { text: format!("{scheme}://{host}{port}{path}"), loopback })
    }

    /// The address of a path, which begins with `/`.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_directory(directory: &std::path::Path) -> ClientOptions {
        ClientOptions { data_dir: Some(directory.to_owned()), ..ClientOptions::default() }
    }

    #[test]
    fn addresses_are_parsed_and_explained() {
        let url = |text: &str| BaseUrl::parse(text).map(|url| (url.to_string(), url.is_loopback()));
        assert_eq!(url("http://127.0.0.1:8081/"), Ok(("http://127.0.0.1:8081".into(), true)));
        assert_eq!(url("http://0.0.0.0:8081"), Ok(("http://127.0.0.1:8081".into(), true)));
        assert_eq!(url("http://[::]:8081"), Ok(("http://[::1]:8081".into(), true)));
        assert_eq!(url("http://LOCALHOST"), Ok(("http://LOCALHOST".into(), true)));
        assert_eq!(url("https://fw.example.com/a/"), Ok(("https://fw.example.com/a".into(), false)));
        assert_eq!(url("http://127.0.0.1.example.com"), Ok(("http://127.0.0.1.example.com".into(), false)));
        for (bad, word) in [
            ("127.0.0.1:8081", "did you mean http://127.0.0.1:8081"),
            ("ftp://x", "http://"),
            ("http://", "URL"),
            ("http://127.0.0.1@example.com", "user name"),
            ("http://x/?a=b", "question mark"),
        ] {
            let why = url(bad).expect_err(bad);
            assert!(why.contains(word), "{bad}: {why}");
        }
    }

    #[test]
    fn the_option_wins_over_the_running_server_and_that_over_the_default() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let mut options = in_directory(directory.path());
        let find = |options: &ClientOptions| options.find(Listener::Device).expect("an address");
        assert_eq!(find(&options).url.to_string(), DEFAULT_DEVICE);

        let running = r#"{"publisher":"http://0.0.0.0:9001","device":"http://0.0.0.0:9000"}"#;
        std::fs::write(directory.path().join(LISTENERS_FILE), running).expect("writable");
        assert_eq!(find(&options).url.to_string(), "http://127.0.0.1:9000");
        assert!(find(&options).origin.contains(LISTENERS_FILE));
        let publisher = options.find(Listener::Publisher).expect("an address");
        assert_eq!(publisher.url.to_string(), "http://127.0.0.1:9001");

        options.device_server = Some("https://fw.example.com".into());
        assert_eq!(find(&options).url.to_string(), "https://fw.example.com");
        // An empty variable in a compose file is as good as none.
        options.device_server = Some(String::new());
        assert_eq!(find(&options).url.to_string(), "http://127.0.0.1:9000");
    }

    #[test]
    fn a_broken_listeners_file_is_named() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        for broken in ["", "{", r#"{"device":"x"}"#] {
            std::fs::write(directory.path().join(LISTENERS_FILE), broken).expect("writable");
            let failure = in_directory(directory.path()).find(Listener::Device).expect_err(broken);
            assert!(failure.message.contains(LISTENERS_FILE), "{}", failure.message);
            assert!(failure.message.contains("--device-server"), "{}", failure.message);
        }
    }
}
