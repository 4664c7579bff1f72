//! One product as it should behave: a register for each version, written once, and then recalled at most once; and one
//! channel, which offers the highest version that was promoted to it and is not recalled.

use super::history::{Call, Reply};

/// What is known of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Published {
    version: u8,
    bytes: u8,
    recalled: bool,
    promoted: bool,
}

/// The product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Product(Vec<Published>);

/// What a reply means in a state.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It is not what the model answers.
    Impossible,
    /// It fits, and nothing changes.
    Fits,
    /// It fits, and this is the product afterwards.
    Becomes(Product),
}

impl Product {
    fn find(&self, version: u8) -> Option<&Published> {
        self.0.iter().find(|published| published.version == version)
    }

    fn offered(&self) -> Option<&Published> {
        let offered = self.0.iter().filter(|published| published.promoted && !published.recalled);
        offered.max_by_key(|published| published.version)
    }

    /// Whether the version may be promoted now.
    fn may_offer(&self, version: u8) -> bool {
        self.offered().is_none_or(|offered| offered.version <= version)
    }

    fn with(&self, changed: Published) -> Step {
        let mut versions = self.0.clone();
        versions.retain(|published| published.version != changed.version);
        versions.push(changed);
        // One order, so that equal products are equal.
        versions.sort_unstable();
        if versions == self.0 { Step::Fits } else { Step::Becomes(Self(versions)) }
    }

    /// Whether the call may have had this reply now, and what it does.
    pub fn step(&self, call: Call, reply: Reply) -> Step {
        let fits = |truth: bool| if truth { Step::Fits } else { Step::Impossible };
        match (call, reply) {
            (Call::Publish { version, bytes, offer }, _) => self.publish(version, bytes, offer, reply),
            (Call::Promote { version }, Reply::Done | Reply::Unknown) => match self.find(version) {
                Some(known) if !known.recalled && (known.promoted || self.may_offer(version)) => {
                    self.with(Published { promoted: true, ..*known })
                }
                _ => fits(reply == Reply::Unknown),
            },
            (Call::Promote { version }, Reply::Refused) => {
                fits(self.find(version).is_some_and(|known| known.recalled || !self.may_offer(version)))
            }
            (Call::Recall { version }, Reply::Done | Reply::Unknown) => match self.find(version) {
                Some(known) => self.with(Published { recalled: true, ..*known }),
                None => fits(reply == Reply::Unknown),
            },
            (Call::Promote { version } | Call::Recall { version }, Reply::Missing) => {
                fits(self.find(version).is_none())
            }
            (Call::Read { version }, Reply::Version(told)) => {
                fits(told == self.find(version).map(|known| (known.bytes, known.recalled)))
            }
            (Call::Check, Reply::Offer(told)) => {
                fits(told == self.offered().map(|offered| (offered.version, offered.bytes)))
            }
            _ => Step::Impossible,
        }
    }

    fn publish(&self, version: u8, bytes: u8, offer: bool, reply: Reply) -> Step {
        let fits = |truth: bool| if truth { Step::Fits } else { Step::Impossible };
        let known = self.find(version);
        let would_be = match known {
            None => (!offer || self.may_offer(version)).then_some(Published {
                version,
                bytes,
                recalled: false,
                promoted: offer,
            }),
            Some(known) if known.bytes != bytes => None,
            Some(known) if !offer => Some(*known),
            Some(known) if known.recalled => None,
            Some(known) if known.promoted || self.may_offer(version) => {
                Some(Published { promoted: true, ..*known })
            }
            Some(_) => None,
        };
        match (reply, would_be, known) {
            (Reply::Created | Reply::Unknown, Some(published), None) => self.with(published),
            (Reply::Same | Reply::Unknown, Some(published), Some(_)) => self.with(published),
            (Reply::Conflict, _, Some(known)) => fits(known.bytes != bytes),
            (Reply::Refused, None, known) => fits(known.is_none_or(|known| known.bytes == bytes)),
            // Without an effect there is nothing to tell.
            (Reply::Unknown, None, _) => Step::Fits,
            _ => Step::Impossible,
        }
    }
}
