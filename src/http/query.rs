//! Query strings: each parameter once, unless it is a list; unknown ones are left to the route.

use std::borrow::Cow;

use crate::error::{Error, Kind, Result};

/// The parameters of a request, in their order.
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Decodes a query string (WHATWG `application/x-www-form-urlencoded`).
    pub(super) fn parse(text: Option<&'a str>) -> Self {
        Self(form_urlencoded::parse(text.unwrap_or_default().as_bytes()).collect())
    }

    /// Parameters that came in another form.
    pub(super) fn of(pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Self {
        Self(pairs)
    }

    /// A parameter that may be there once; an empty one is as good as none.
    pub(super) fn optional(&self, name: &str) -> Result<Option<&str>> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(malformed(format!("parameter {name:?} is given more than once: give it once")));
        }
        Ok(first.filter(|value| !value.is_empty()))
    }

    /// A parameter that must be there once.
    pub(super) fn required(&self, name: &str, example: &str) -> Result<&str> {
        self.optional(name)?.ok_or_else(|| {
            malformed(format!("parameter {name:?} is missing: add {name}=… such as {name}={example}"))
        })
    }

    /// A parameter that is `true` or `false`; absent = `false`, present without a value = `true`.
    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None, _) | (Some("false"), None) => Ok(false),
            (Some("" | "true"), None) => Ok(true),
            _ => Err(malformed(format!("parameter {name:?} is neither true nor false"))),
        }
    }

    /// All values of a parameter that may repeat.
    pub(super) fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// Refuses what is not in the list: a mistyped parameter must not be ignored where it would matter.
    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.iter().find(|(key, _)| !known.contains(&key.as_ref())) {
            None => Ok(()),
            Some((key, _)) => {
                let key: String = key.chars().take(60).collect();
                Err(malformed(format!("parameter {key:?} is not known here; there are {}", known.join(", "))))
            }
        }
    }
}

pub(super) fn malformed(message: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, "malformed", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_strictly() {
        let query = Query::parse(Some("a=1&b=x%20y&b=z&c=&flag&off=false&d=1&d=2"));
        assert_eq!(query.required("a", "1").expect("there"), "1");
        assert_eq!(query.all("b").collect::<Vec<_>>(), ["x y", "z"]);
        assert_eq!(query.optional("c").expect("fine"), None);
        assert_eq!(query.optional("none").expect("fine"), None);
        assert!(query.optional("d").is_err() && query.required("c", "1").is_err());
        assert!(query.flag("flag").expect("fine") && !query.flag("off").expect("fine"));
        assert!(query.flag("a").is_err());
        assert!(query.only(&["a", "b"]).expect_err("has more").message().contains("\"c\""));
    }
}
