//! Links to the backup, for objects that the bucket does not have or not right.
//!
//! Which those are is told from outside ([`Elsewhere::set`]). A link costs one look at a flag while there are none, which is
//! nearly always. Links to the backup are its base URL and the key, without a token: what protects the backup's host is
//! its operator's to set.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;

/// What has to be had from the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Away {
    /// These keys.
    These(HashSet<Box<str>>),
    /// All but these, which the backup does not have.
    AllBut(HashSet<Box<str>>),
}

/// The backup's base URL, and what is to be had there.
pub struct Elsewhere {
    base: String,
    any: AtomicBool,
    away: ArcSwap<Away>,
}

impl Elsewhere {
    /// Nothing is away. The base URL has no slash at its end.
    pub fn new(base: String) -> Arc<Self> {
        let away = ArcSwap::from_pointee(Away::These(HashSet::new()));
        Arc::new(Self { base, any: AtomicBool::new(false), away })
    }

    /// Says what is away; returns whether that is new.
    pub fn set(&self, away: Away) -> bool {
        if **self.away.load() == away {
            return false;
        }
        let any = !matches!(&away, Away::These(keys) if keys.is_empty());
        self.away.store(Arc::new(away));
        self.any.store(any, Ordering::Release);
        true
    }

    /// The link to a key, whether or not it is to be had there.
    pub(super) fn url_of(&self, key: &str) -> String {
        format!("{}/{key}", self.base)
    }

    /// The base URL, if the key is to be had there.
    pub(super) fn base_of(&self, key: &str) -> Option<&str> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let there = match &**self.away.load() {
            Away::These(keys) => keys.contains(key),
            Away::AllBut(keys) => !keys.contains(key),
        };
        there.then_some(&*self.base)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::cdn::Links;

    #[test]
    fn only_what_is_away_is_linked_to_the_backup() {
        let elsewhere = Elsewhere::new("https://b.example.com".into());
        let main = Links::Cdn("https://fw.example.com".into());
        let links = Links::WithBackup(Box::new(main), Arc::clone(&elsewhere));
        let host_of = |key: &str| {
            let mut url = String::new();
            links.write(&mut url, key, DateTime::UNIX_EPOCH, "h").expect("a link");
            url
        };
        let keys = |keys: &[&str]| keys.iter().map(|key| Box::from(*key)).collect();
        assert_eq!(host_of("a/1.0.0/f"), "https://fw.example.com/a/1.0.0/f");
        assert!(elsewhere.set(Away::These(keys(&["a/1.0.0/f"]))));
        assert!(!elsewhere.set(Away::These(keys(&["a/1.0.0/f"]))));
        assert_eq!(host_of("a/1.0.0/f"), "https://b.example.com/a/1.0.0/f");
        assert_eq!(host_of("a/1.0.0/g"), "https://fw.example.com/a/1.0.0/g");
        elsewhere.set(Away::AllBut(keys(&["a/1.0.0/f"])));
        assert_eq!(host_of("a/1.0.0/f"), "https://fw.example.com/a/1.0.0/f");
        assert_eq!(host_of("a/1.0.0/g"), "https://b.example.com/a/1.0.0/g");
        elsewhere.set(Away::These(HashSet::new()));
        assert_eq!(host_of("a/1.0.0/g"), "https://fw.example.com/a/1.0.0/g");
    }
}
