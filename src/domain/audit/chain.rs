//! Walking along the chain: is each entry what it was, and behind the one that it was written behind?

use std::fmt;

use super::{AuditEntry, AuditHash, Head};
use crate::domain::Revision;

/// What has been walked so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chain {
    /// How many entries were walked.
    pub entries: u64,
    /// How many of them, at the end, are not yet linked.
    pub unlinked: u64,
    /// The newest that is linked.
    pub head: Option<Head>,
    /// The newest revision, linked or not.
    last: Revision,
    /// The hash that a log which begins in its middle begins behind.
    behind: Option<AuditHash>,
}

/// Where the chain is broken, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// The first entry that does not hold.
    pub revision: Revision,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Order { last: Revision },
    Content,
    Beginning,
    Place { head: Head },
    Unlinked,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.revision.0;
        match self.how {
            How::Order { last } => {
                write!(
                    f,
                    "revision {revision} stands behind revision {}: entries were moved or repeated",
                    last.0
                )
            }
            How::Content => {
                write!(f, "revision {revision} was changed: its hash is not that of what it says now")
            }
            How::Beginning => {
                write!(
                    f,
                    "revision {revision} is not the first entry, but nothing stands before it: entries before it were removed"
                )
            }
            How::Place { head } => write!(
                f,
                "revision {revision} was not written behind revision {}: entries between them were removed, put in or \
                 replaced",
                head.revision.0
            ),
            How::Unlinked => write!(
                f,
                "an entry before revision {revision} has no hash, though revision {revision} has one: it was put in or \
                 stripped"
            ),
        }
    }
}

impl std::error::Error for Broken {}

impl Chain {
    /// A walk that begins behind this entry instead of at the first.
    pub fn behind(head: Head) -> Self {
        Self { behind: Some(head.hash), last: head.revision, ..Self::default() }
    }

    /// Walks on to the next entry.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn follow(&mut self, entry: &AuditEntry) -> Result<(), Broken> {
        let broken = |how| Err(Broken { revision: entry.revision, how });
        if entry.revision <= self.last {
            return broken(How::Order { last: self.last });
        }
        match (entry.link, self.head) {
            (None, _) => self.unlinked += 1,
            (Some(_), _) if self.unlinked > 0 => return broken(How::Unlinked),
            (Some(link), _) if link.hash != entry.hash_after(link.previous) => return broken(How::Content),
            (Some(link), None) if link.previous != self.behind.unwrap_or(AuditHash::NONE) => {
                return broken(How::Beginning);
            }
            (Some(link), Some(head)) if link.previous != head.hash => return broken(How::Place { head }),
            (Some(link), _) => self.head = Some(Head { revision: entry.revision, hash: link.hash }),
        }
        self.entries += 1;
        self.last = entry.revision;
        Ok(())
    }

    /// The newest revision that was walked.
    pub fn last(&self) -> Revision {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::domain::ProductName;

    fn log(length: u64) -> Vec<AuditEntry> {
        let mut previous = AuditHash::NONE;
        let entries = (1..=length).map(|revision| {
            let mut entry = AuditEntry {
                at: DateTime::from_timestamp(1_751_234_567, 123_000).expect("in range"),
                product: ProductName::parse("p").expect("valid"),
                revision: Revision(revision),
                actor: "ci".into(),
                remote: Some("10.0.0.1:5000".into()),
                action: "channel.promote".into(),
                version: Some("1.0.0".into()),
                channel: None,
                details: json!({"n": revision}),
                before: json!(null),
                after: json!({"a": [1, 2]}),
                verdict: vec!["same-bytes".into()],
                link: None,
            };
            let link = entry.link_after(previous);
            previous = link.hash;
            entry.link = Some(link);
            entry
        });
        entries.collect()
    }

    fn walk(log: &[AuditEntry]) -> Result<Chain, String> {
        let mut chain = Chain::default();
        log.iter().try_for_each(|entry| chain.follow(entry)).map_err(|broken| broken.to_string())?;
        Ok(chain)
    }

    /// Fixed, as the format is: a program that computes another hash breaks every log that there is.
    #[test]
    fn the_hash_of_an_entry_never_changes() {
        let log = log(2);
        let link = log[1].link.expect("linked");
        assert_eq!(link.hash.to_string(), "c05ec209ba857b04c29dc1f701673016355989b840a097d6ba47f974d46d807f");
        let head: Head = format!("2:{}", link.hash).parse().expect("a head");
        assert_eq!(walk(&log).expect("intact").head, Some(head));
    }

    #[test]
    fn every_way_of_tampering_is_seen() {
        let intact = log(5);
        assert_eq!(walk(&intact).expect("intact").entries, 5);
        let changes: [fn(&mut AuditEntry); 12] = [
            |entry| entry.at += chrono::TimeDelta::microseconds(1),
            |entry| entry.product = ProductName::parse("q").expect("valid"),
            |entry| entry.actor.push('x'),
            |entry| entry.remote = None,
            |entry| entry.action.clear(),
            |entry| entry.version = Some("1.0.1".into()),
            |entry| entry.channel = Some("stable".into()),
            |entry| entry.details = json!({"n": 4}),
            |entry| entry.before = json!({}),
            |entry| entry.after = json!({"a": [2, 1]}),
            |entry| entry.verdict.clear(),
            |entry| entry.link.as_mut().expect("linked").hash.0[31] ^= 1,
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut log = intact.clone();
            change(&mut log[2]);
            let told = walk(&log).expect_err("changed");
            assert!(told.starts_with("revision 3 was changed"), "{at}: {told}");
        }
        // A changed entry with a hash of its own breaks at its successor.
        let mut rehashed = intact.clone();
        rehashed[2].actor.push('x');
        rehashed[2].link = Some(rehashed[2].link_after(rehashed[1].link.expect("linked").hash));
        assert!(
            walk(&rehashed).expect_err("changed").contains("revision 4 was not written behind revision 3")
        );
        let mut removed = intact.clone();
        removed.remove(2);
        assert!(
            walk(&removed).expect_err("removed").contains("revision 4 was not written behind revision 2")
        );
        assert!(walk(&intact[1..]).expect_err("cut").contains("entries before it were removed"));
        let mut swapped = intact.clone();
        swapped.swap(1, 2);
        assert!(walk(&swapped).is_err());
        let mut stripped = intact.clone();
        stripped[1].link = None;
        assert!(walk(&stripped).expect_err("stripped").contains("has no hash"));
        // What nobody can see from inside, and what noted heads are for.
        assert_eq!(walk(&intact[..4]).expect("cut at its end").entries, 4);
    }

    #[test]
    fn a_part_is_walked_behind_a_known_head() {
        let log = log(5);
        let head = Head { revision: Revision(3), hash: log[2].link.expect("linked").hash };
        let mut chain = Chain::behind(head);
        log[3..].iter().for_each(|entry| chain.follow(entry).expect("holds"));
        assert_eq!((chain.entries, chain.last()), (2, Revision(5)));
        let mut chain = Chain::behind(Head { hash: AuditHash([1; 32]), ..head });
        assert!(chain.follow(&log[3]).is_err());
    }

    #[test]
    fn entries_that_are_not_yet_linked_may_stand_at_the_end_only() {
        let mut log = log(3);
        log[2].link = None;
        let chain = walk(&log).expect("holds");
        assert_eq!((chain.entries, chain.unlinked, chain.head.expect("two").revision.0), (3, 1, 2));
    }
}
