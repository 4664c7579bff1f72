//! A request's target and fields, as they are looked up, whoever has read them.
//!
//! hyper makes a map of a request's fields. What is answered before hyper comes to it (`server::exchange`) has them where they
//! stand in the bytes that were read: a check looks at two or three of them, which is less than a map of them costs.

use axum::http::{HeaderMap, HeaderName, Uri, uri::PathAndQuery};
use httparse::Header;

/// What a request names and says, without its method and body.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    target: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    fields: Fields<'a>,
}

#[derive(Clone, Copy)]
enum Fields<'a> {
    Map(&'a HeaderMap),
    Read(&'a [Header<'a>]),
}

impl<'a> Head<'a> {
    /// Of a request that hyper has read.
    pub fn of(uri: &'a Uri, fields: &'a HeaderMap) -> Self {
        // A target of neither path nor query is `*` or an authority, which nobody here serves.
        let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        Self { target, path: uri.path(), query: uri.query(), fields: Fields::Map(fields) }
    }

    /// Of a request as it was read: its target in origin form (RFC 9112, 3.2.1), without a fragment.
    pub fn read(target: &'a str, fields: &'a [Header<'a>]) -> Self {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Self { target, path, query, fields: Fields::Read(fields) }
    }

    /// The path, percent-encoded as it came.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// Path and query as they came.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// What is behind the `?`; `None` = there is no `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// All values of a field, in the order in which they came.
    pub fn all(&self, name: &HeaderName) -> Values<'a> {
        match self.fields {
            Fields::Map(map) => Values::Map(map.get_all(name).iter()),
            Fields::Read(fields) => Values::Read(fields.iter(), name.clone()),
        }
    }

    /// The value of a field that is there once; one that is there twice is none: a proxy between might look at the other.
    pub fn one(&self, name: &HeaderName) -> Option<&'a [u8]> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }
}

/// The values of a field.
pub enum Values<'a> {
    /// As hyper keeps them.
    Map(axum::http::header::ValueIter<'a, axum::http::HeaderValue>),
    /// As they were read.
    Read(std::slice::Iter<'a, Header<'a>>, HeaderName),
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::Map(values) => values.next().map(|value| value.as_bytes()),
            Self::Read(fields, name) => fields.find(|field| is(field, name)).map(|field| field.value),
        }
    }
}

impl DoubleEndedIterator for Values<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Map(values) => values.next_back().map(|value| value.as_bytes()),
            Self::Read(fields, name) => fields.rfind(|field| is(field, name)).map(|field| field.value),
        }
    }
}

fn is(field: &Header<'_>, name: &HeaderName) -> bool {
    field.name.eq_ignore_ascii_case(name.as_str())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header};

    use super::*;

    #[test]
    fn both_kinds_say_the_same() {
        let read = [
            Header { name: "hOST", value: b"a" },
            Header { name: "X-Forwarded-For", value: b"1" },
            Header { name: "x-forwarded-for", value: b"2" },
        ];
        let mut map = HeaderMap::new();
        for Header { name, value } in read {
            let name: HeaderName = name.parse().expect("a name");
            map.append(name, HeaderValue::from_bytes(value).expect("a value"));
        }
        let uri: Uri = "/a?b=c?d".parse().expect("a target");
        for head in [Head::of(&uri, &map), Head::read("/a?b=c?d", &read)] {
            assert_eq!((head.target(), head.path(), head.query()), ("/a?b=c?d", "/a", Some("b=c?d")));
            assert_eq!(head.one(&header::HOST), Some(&b"a"[..]));
            assert_eq!(head.one(&header::ACCEPT), None);
            let forwarded = HeaderName::from_static("x-forwarded-for");
            assert_eq!(head.one(&forwarded), None);
            assert_eq!(head.all(&forwarded).collect::<Vec<_>>(), [b"1", b"2"]);
            assert_eq!(head.all(&forwarded).rev().collect::<Vec<_>>(), [b"2", b"1"]);
        }
        assert_eq!((Head::read("/a", &[]).query(), Head::read("/a?", &[]).query()), (None, Some("")));
    }
}
