//! Which publisher token a client command sends, and to whom.
//!
//! The token that a server without configuration leaves in its data directory is for that server: it is sent to
//! this machine only, never to a server that was named otherwise.

use std::{fmt, io, path::Path};

use secrecy::{ExposeSecret, SecretString};

use super::{
    connection::{ClientOptions, Server},
    output::Failure,
};

const TOKEN_FILE: &str = "publisher.token";
/// Far more than any token has.
const LONGEST: usize = 4096;

/// A token that is fit to be sent, and where it is from.
#[derive(Debug, Clone)]
pub struct Token {
    secret: SecretString,
    /// For messages: `--token or FIRMAMENT_TOKEN`, or the file.
    pub origin: String,
}

impl Token {
    /// The token for this server.
    ///
    /// # Errors
    /// With what to do, when there is none or it is unusable.
    pub fn find(options: &ClientOptions, server: &Server) -> Result<Self, Failure> {
        if let Some(given) = options.token.as_ref().filter(|token| !token.expose_secret().trim().is_empty()) {
            let origin = "--token or FIRMAMENT_TOKEN".to_owned();
            return Self::given(given.clone(), &origin);
        }
        let path = options.data_dir().join(TOKEN_FILE);
        if !server.url.is_loopback() {
            return Err(Failure::yours(format!(
                "no token for {}: give it by --token or FIRMAMENT_TOKEN. The token in {} is not sent there, since it \
                 belongs to a server on this machine",
                server.url,
                path.display()
            )));
        }
        Self::read(&path)
    }

    /// One that was given, and by what.
    ///
    /// # Errors
    /// When it is unfit to be sent.
    pub fn given(secret: SecretString, origin: &str) -> Result<Self, Failure> {
        Self::new(secret.expose_secret(), origin.to_owned())
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = std::fs::read(path).map_err(|error| {
            Failure::yours(match error.kind() {
                io::ErrorKind::NotFound => format!(
                    "no token: give it by --token or FIRMAMENT_TOKEN, or name the data directory of a server on this \
                     machine by --data-dir ({shown} does not exist; `firmament serve` makes it at its first start)"
                ),
                io::ErrorKind::PermissionDenied => format!(
                    "cannot read the token in {shown}: {error}. Run this as the user that the server runs as, or give \
                     the token by --token or FIRMAMENT_TOKEN"
                ),
                _ => format!(
                    "cannot read the token in {shown}: {error}. Give the token by --token or FIRMAMENT_TOKEN"
                ),
            })
        })?;
        let text = String::from_utf8(text)
            .map_err(|_| Failure::yours(format!("{shown} holds no token: it is not text")))?;
        Self::new(&text, shown.to_string())
    }

    fn new(text: &str, origin: String) -> Result<Self, Failure> {
        let text = text.trim();
        let wrong = match text {
            "" => "it is empty",
            _ if text.len() > LONGEST => "it is too long",
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                "it has characters that no token has; it must be one word"
            }
            _ => return Ok(Self { secret: SecretString::from(text), origin }),
        };
        Err(Failure::yours(format!("{origin} holds no token: {wrong}")))
    }

    /// The value of the `Authorization` header.
    pub fn header(&self) -> impl fmt::Display {
        format!("Bearer {}", self.secret.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::connection::Listener;

    fn find(options: &ClientOptions) -> Result<Token, Failure> {
        Token::find(options, &options.find(Listener::Publisher).expect("an address"))
    }

    #[test]
    fn a_token_is_found_by_option_then_file() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let mut options =
            ClientOptions { data_dir: Some(directory.path().to_owned()), ..ClientOptions::default() };
        let none = find(&options).expect_err("no file").message;
        assert!(none.contains("--token") && none.contains("FIRMAMENT_TOKEN") && none.contains(TOKEN_FILE));

        std::fs::write(directory.path().join(TOKEN_FILE), "fmt_abc\n").expect("writable");
        assert_eq!(find(&options).expect("in the file").header().to_string(), "Bearer fmt_abc");

        options.token = Some(SecretString::from("other"));
        assert_eq!(find(&options).expect("given").header().to_string(), "Bearer other");
        options.token = Some(SecretString::from(""));
        assert_eq!(find(&options).expect("in the file").header().to_string(), "Bearer fmt_abc");
        assert!(!format!("{:?}", find(&options)).contains("fmt_abc"));
    }

    #[test]
    fn the_file_s_token_stays_on_this_machine() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        std::fs::write(directory.path().join(TOKEN_FILE), "fmt_abc\n").expect("writable");
        let mut options = ClientOptions {
            server: Some("https://fw.example.com".into()),
            data_dir: Some(directory.path().to_owned()),
            ..ClientOptions::default()
        };
        let refused = find(&options).expect_err("another host").message;
        assert!(refused.contains("https://fw.example.com") && refused.contains("--token"), "{refused}");
        options.token = Some(SecretString::from("fmt_abc"));
        assert!(find(&options).is_ok());
    }

    #[test]
    fn what_is_no_token_is_named() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let path = directory.path().join(TOKEN_FILE);
        let long = "x".repeat(LONGEST + 1);
        for content in [&b""[..], b" \n", b"a b", b"a\nb", b"\xff", "ä".as_bytes(), long.as_bytes()] {
            std::fs::write(&path, content).expect("writable");
            let message = Token::read(&path).expect_err("no token").message;
            assert!(message.contains(TOKEN_FILE) && message.contains("no token"), "{message}");
        }
        std::fs::remove_file(&path).expect("is there");
        std::fs::create_dir(&path).expect("writable");
        assert!(Token::read(&path).expect_err("a directory").message.contains("cannot read"));
    }
}
