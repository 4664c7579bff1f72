//! The tokens themselves: Akamai Auth Token 2.0 (EdgeAuth), all of it, as a pure function of a key and what is granted.
//!
//! Source: Akamai's own libraries, PyPI `akamai-edgeauth` 0.3.2 and npm `akamai-edgeauth` 0.2.0:
//! ```text
//! fields = [ip=IP] [st=START] exp=END [acl=ACL] [id=SESSION] [data=PAYLOAD]      in this order, joined by `~`
//! token  = fields ~hmac=HEX(HMAC(key, fields [~url=PATH] [~salt=SALT]))
//! ```
//! `url` and `salt` are signed and not shown. Several ACLs are joined by `!`; `*` and `?` in them stand for any text and
//! any character. With `escape_early` (the property's "Escape token input"), `ip`, `id`, `data` and `url` are
//! percent-encoded as Python's `quote_plus` does it, in lower case; `acl` never is.
//!
//! The edge splits a token at its delimiters and believes every field that it finds. So nothing is signed in which a
//! text that comes from elsewhere could end its own field or widen a grant: [`TokenError`] names what stood in the way.
//! The service signs [`Grant::Object`] alone, the narrowest of them.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use thiserror::Error;

/// The hash below the HMAC, as the property has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// What properties have unless they say otherwise.
    #[default]
    Sha256,
    /// For properties of old.
    Sha1,
    /// For properties of old.
    Md5,
}

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant<'a> {
    /// One object, by its path, as an ACL: only letters, digits and `/ . _ -`.
    Object(&'a str),
    /// All paths that one of these patterns fits, as ACLs. The caller means their `*` and `?`.
    Patterns(&'a [&'a str]),
    /// One URL, by path and query as the edge sees it. Depends on two more switches of the property ("Escape token
    /// input", "Ignore query string"), and so do devices that ask for ranges with a query of their own.
    Url(&'a str),
}

/// Why something is not signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The text could end its own field, or stand for more than itself.
    #[error("{field} {text:?} has {character:?}, which means something in a token")]
    Character {
        /// The field.
        field: &'static str,
        /// What was to be signed.
        text: String,
        /// What it must not have.
        character: char,
    },
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// The path must be one.
    #[error("{0:?} does not begin with a slash")]
    NoPath(String),
    /// It would never be good.
    #[error("the token would end ({end}) before it begins ({start})")]
    Times {
        /// Seconds since 1970.
        start: i64,
        /// Seconds since 1970.
        end: i64,
    },
}

/// How a property's tokens are made, but for the times and what is granted.
#[derive(Debug, Clone)]
pub struct TokenBuilder<'a> {
    key: &'a [u8],
    algorithm: Algorithm,
    salt: Option<&'a str>,
    escape_early: bool,
    field_delimiter: char,
    acl_delimiter: char,
    ip: Option<&'a str>,
    start: Option<i64>,
    session: Option<&'a str>,
    payload: Option<&'a str>,
}

impl<'a> TokenBuilder<'a> {
    /// Tokens under that key, of SHA-256, without salt and without anything that may be left out.
    pub fn new(key: &'a [u8]) -> Self {
        Self {
            key,
            algorithm: Algorithm::default(),
            salt: None,
            escape_early: false,
            field_delimiter: '~',
            acl_delimiter: '!',
            ip: None,
            start: None,
            session: None,
            payload: None,
        }
    }

    /// The property's algorithm.
    #[must_use]
    pub fn algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// The property's salt; a property takes exactly 16 characters.
    #[must_use]
    pub fn salt(self, salt: Option<&'a str>) -> Self {
        Self { salt, ..self }
    }

    /// The property's "Escape token input".
    #[must_use]
    pub fn escape_early(self, escape_early: bool) -> Self {
        Self { escape_early, ..self }
    }

    /// What stands between fields and between ACLs: `~` and `!` unless a property says otherwise.
    #[must_use]
    pub fn delimiters(self, field_delimiter: char, acl_delimiter: char) -> Self {
        Self { field_delimiter, acl_delimiter, ..self }
    }

    /// The only address that may use it. Breaks devices behind changing addresses.
    #[must_use]
    pub fn ip(self, ip: Option<&'a str>) -> Self {
        Self { ip, ..self }
    }

    /// From when on it is good, in seconds since 1970; without it, at once.
    #[must_use]
    pub fn start(self, start: Option<i64>) -> Self {
        Self { start, ..self }
    }

    /// An id for the edge's log.
    #[must_use]
    pub fn session(self, session: Option<&'a str>) -> Self {
        Self { session, ..self }
    }

    /// A text for the edge.
    #[must_use]
    pub fn payload(self, payload: Option<&'a str>) -> Self {
        Self { payload, ..self }
    }

    /// The token that is good until `end`, in seconds since 1970.
    ///
    /// # Errors
    /// When a text could mean more than itself, or the times are in the wrong order.
    pub fn sign(&self, end: i64, grant: Grant<'_>) -> Result<String, TokenError> {
        self.check(end, grant)?;
        Ok(self.sign_unchecked(end, grant))
    }

    fn check(&self, end: i64, grant: Grant<'_>) -> Result<(), TokenError> {
        if let Some(start) = self.start.filter(|start| *start >= end) {
            return Err(TokenError::Times { start, end });
        }
        for (field, text) in [("ip", self.ip), ("id", self.session), ("data", self.payload)] {
            let Some(text) = text else { continue };
            // `=` is harmless within a value, and escaped where the property escapes; the delimiter never is.
            without(field, text, |character| self.delimits(character) || !is_visible(character))?;
        }
        if let Some(salt) = self.salt {
            without("salt", salt, |character| self.delimits(character) || !is_visible(character))?;
        }
        match grant {
            Grant::Object(path) => {
                is_path(path)?;
                without("acl", path, |character| !is_plain(character) || self.delimits(character))
            }
            Grant::Patterns([]) => Err(TokenError::Empty("acl")),
            Grant::Patterns(patterns) => patterns.iter().try_for_each(|pattern| {
                is_path(pattern)?;
                without("acl", pattern, |character| {
                    !is_visible(character) || self.delimits(character) || character == self.acl_delimiter
                })
            }),
            Grant::Url(url) => {
                is_path(url)?;
                // The two libraries escape these in different ways, and nobody says which of them the edge follows.
                let differs = |character| self.escape_early && "!'()*".contains(character);
                without("url", url, |character| {
                    !is_visible(character) || self.delimits(character) || differs(character)
                })
            }
        }
    }

    fn delimits(&self, character: char) -> bool {
        character == self.field_delimiter || character == '~'
    }

    /// As Akamai's libraries sign it, whatever it is.
    pub(super) fn sign_unchecked(&self, end: i64, grant: Grant<'_>) -> String {
        let delimiter = self.field_delimiter;
        let mut token = String::with_capacity(256);
        let mut field = |name: &str, value: &str| {
            if !token.is_empty() {
                token.push(delimiter);
            }
            token.push_str(name);
            token.push('=');
            token.push_str(value);
        };
        if let Some(ip) = self.ip {
            field("ip", &self.escaped(ip));
        }
        if let Some(start) = self.start {
            field("st", &start.to_string());
        }
        field("exp", &end.to_string());
        match grant {
            Grant::Object(path) => field("acl", path),
            Grant::Patterns(patterns) => field("acl", &patterns.join(&self.acl_delimiter.to_string())),
            Grant::Url(_) => {}
        }
        if let Some(session) = self.session {
            field("id", &self.escaped(session));
        }
        if let Some(payload) = self.payload {
            field("data", &self.escaped(payload));
        }
        let mut signed = token.clone();
        if let Grant::Url(url) = grant {
            let _ = write!(signed, "{delimiter}url={}", self.escaped(url));
        }
        if let Some(salt) = self.salt {
            let _ = write!(signed, "{delimiter}salt={salt}");
        }
        let _ = write!(token, "{delimiter}hmac={}", self.mac(signed.as_bytes()));
        token
    }

    /// In lower-case hex.
    pub(super) fn mac(&self, signed: &[u8]) -> String {
        fn of<M: Mac + KeyInit>(key: &[u8], signed: &[u8]) -> String {
            let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.update(signed);
            hex::encode(mac.finalize().into_bytes())
        }
        match self.algorithm {
            Algorithm::Sha256 => of::<Hmac<sha2::Sha256>>(self.key, signed),
            Algorithm::Sha1 => of::<Hmac<sha1::Sha1>>(self.key, signed),
            Algorithm::Md5 => of::<Hmac<md5::Md5>>(self.key, signed),
        }
    }

    fn escaped(&self, text: &str) -> String {
        if !self.escape_early {
            return text.to_owned();
        }
        let mut escaped = String::with_capacity(text.len() * 3);
        for byte in text.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                    escaped.push(byte.into());
                }
                b' ' => escaped.push('+'),
                _ => {
                    let _ = write!(escaped, "%{byte:02x}");
                }
            }
        }
        escaped
    }
}

fn without(field: &'static str, text: &str, is_bad: impl Fn(char) -> bool) -> Result<(), TokenError> {
    if text.is_empty() {
        return Err(TokenError::Empty(field));
    }
    match text.chars().find(|character| is_bad(*character)) {
        None => Ok(()),
        Some(character) => Err(TokenError::Character { field, text: text.to_owned(), character }),
    }
}

fn is_path(text: &str) -> Result<(), TokenError> {
    if text.starts_with('/') { Ok(()) } else { Err(TokenError::NoPath(text.to_owned())) }
}

/// What an object's path may have, so that it stands for itself alone, escaped or not.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '/' | '.' | '_' | '-')
}

fn is_visible(character: char) -> bool {
    !character.is_whitespace() && !character.is_control()
}

#[cfg(test)]
pub(super) mod verifier;

#[cfg(test)]
mod tests;
