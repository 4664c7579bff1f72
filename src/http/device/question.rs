//! What a device asks, read from the query of a check.
//!
//! Names are read where they stand: nothing is copied unless it is percent-encoded, and nothing at all is kept of
//! parameters that a check does not have. Each may be there once; an empty one is as good as none.

use std::borrow::Cow;

use crate::{
    domain::{ChannelName, Hardware, ProductName, Question, Version},
    error::Result,
    http::query::malformed,
};

/// The longest accepted `device`, in bytes.
pub const LONGEST_DEVICE: usize = 128;

/// A well-formed question.
pub(super) struct Asked<'a> {
    product: Cow<'a, str>,
    version: Version,
    hardware: Option<Cow<'a, str>>,
    channel: Cow<'a, str>,
    device: Option<Cow<'a, str>>,
}

/// The parameters that a check has; `None` = not there, or empty.
#[derive(Default)]
struct Parameters<'a> {
    product: Parameter<'a>,
    version: Parameter<'a>,
    hardware: Parameter<'a>,
    channel: Parameter<'a>,
    device: Parameter<'a>,
}

#[derive(Default)]
struct Parameter<'a>(Option<Cow<'a, str>>);

impl<'a> Parameter<'a> {
    fn value(self) -> Option<Cow<'a, str>> {
        self.0.filter(|value| !value.is_empty())
    }

    fn required(self, name: &str, example: &str) -> Result<Cow<'a, str>> {
        self.value().ok_or_else(|| {
            malformed(format!("parameter {name:?} is missing: add {name}=… such as {name}={example}"))
        })
    }
}

impl<'a> Asked<'a> {
    /// Reads the query of a check (WHATWG `application/x-www-form-urlencoded`).
    ///
    /// # Errors
    /// Kind `Malformed`: a parameter is missing, given twice, or not well-formed. A malformed name is the caller's
    /// mistake (400), where a well-formed unknown one is an answer (404).
    pub fn parse(query: &'a str) -> Result<Self> {
        let mut parameters = Parameters::default();
        for Pair { name, value, plain } in Pairs(Some(query)) {
            let decoded = |text| if plain { Cow::Borrowed(text) } else { decoded(text) };
            let name = decoded(name);
            let parameter = match name.as_ref() {
                "product" => &mut parameters.product,
                "version" => &mut parameters.version,
                "hardware" => &mut parameters.hardware,
                "channel" => &mut parameters.channel,
                "device" => &mut parameters.device,
                _ => continue,
            };
            if parameter.0.replace(decoded(value)).is_some() {
                return Err(malformed(format!("parameter {name:?} is given more than once: give it once")));
            }
        }
        let Parameters { product, version, hardware, channel, device } = parameters;
        let product = product.required("product", "thermo-x")?;
        let version = version.required("version", "1.3.0")?;
        let (hardware, channel, device) = (hardware.value(), channel.value(), device.value());
        // A bare `+` before build metadata reads as a space in a query; no version holds one.
        let version = if version.contains(' ') { Cow::Owned(version.replace(' ', "+")) } else { version };
        let version = Version::parse_reported(&version).map_err(|error| malformed(error.to_string()))?;
        ProductName::check(&product).map_err(|error| malformed(error.to_string()))?;
        let channel = channel.unwrap_or(Cow::Borrowed("stable"));
        ChannelName::check(&channel).map_err(|error| malformed(error.to_string()))?;
        if let Some(hardware) = &hardware {
            Hardware::check(hardware).map_err(|error| malformed(error.to_string()))?;
        }
        if device.as_ref().is_some_and(|device| device.len() > LONGEST_DEVICE) {
            return Err(malformed(format!("parameter \"device\" is longer than {LONGEST_DEVICE} bytes")));
        }
        Ok(Self { product, version, hardware, channel, device })
    }

    /// What is looked up.
    pub fn question(&self) -> Question<'_> {
        Question {
            product: &self.product,
            version: &self.version,
            hardware: self.hardware.as_deref(),
            channel: &self.channel,
        }
    }

    /// Who asks, if it says so.
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }
}

/// A part of a query between two `&`.
struct Pair<'a> {
    name: &'a str,
    value: &'a str,
    /// Whether nothing in it is encoded.
    plain: bool,
}

/// What is left of a query. Each byte is looked at once: of what the program itself does for a check, reading the query is
/// the largest part.
struct Pairs<'a>(Option<&'a str>);

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        let query = self.0?;
        let (mut end, mut equals, mut plain) = (query.len(), None, true);
        for (at, byte) in query.bytes().enumerate() {
            match byte {
                b'&' => {
                    end = at;
                    break;
                }
                b'=' if equals.is_none() => equals = Some(at),
                b'%' | b'+' => plain = false,
                _ => {}
            }
        }
        self.0 = query.get(end + 1..);
        let (name, value) = match equals {
            Some(at) => (&query[..at], &query[at + 1..end]),
            None => (&query[..end], ""),
        };
        Some(Pair { name, value, plain })
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    // A text without `&` and `=` is one pair, with nothing behind its name.
    let text = text.replace('=', "%3D");
    let decoded = form_urlencoded::parse(text.as_bytes()).next();
    Cow::Owned(decoded.map(|(text, _)| text.into_owned()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_where_they_stand_and_decoded_where_they_must() {
        let asked =
            Asked::parse("product=thermo-x&version=1.3.0&x=y&&device=a%20b%3D&hardware=&c").expect("fine");
        let question = asked.question();
        assert_eq!((question.product, question.channel, question.hardware), ("thermo-x", "stable", None));
        assert_eq!(asked.device(), Some("a b="));
        assert!(matches!(asked.product, Cow::Borrowed(_)));
        let asked = Asked::parse("%70roduct=thermo%2Dx&version=v1.0.0-rc.1+b%2Dc&channel=beta&hardware=A")
            .expect("fine");
        assert_eq!((asked.question().product, asked.question().channel), ("thermo-x", "beta"));
        assert_eq!(asked.version.to_string(), "1.0.0-rc.1");
        assert_eq!(asked.question().hardware, Some("A"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (query, part) in [
            ("", "\"product\" is missing"),
            ("product=a", "\"version\" is missing"),
            ("product=&version=1.0.0", "\"product\" is missing"),
            ("product=a&version=1.0.0&version=1.0.1", "more than once"),
            ("product=a&product=&version=1.0.0", "more than once"),
            ("product=a&version=1", "SemVer"),
            ("product=A&version=1.0.0", "product"),
            ("product=a&version=1.0.0&channel=-", "channel"),
            ("product=a&version=1.0.0&hardware=%00", "hardware"),
        ] {
            let error = Asked::parse(query).err().expect(query);
            assert!(error.message().contains(part), "{query}: {}", error.message());
        }
        let long = format!("product=a&version=1.0.0&device={}", "x".repeat(129));
        assert!(Asked::parse(&long).is_err());
    }
}
