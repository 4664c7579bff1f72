//! What was asked and answered, and when.

use std::{fmt, time::Duration};

/// How far behind the catalogue a replica with a working connection may be: its timer has a second, and the rest is room
/// for a machine that is busy with other things.
pub const STALENESS: Duration = Duration::from_secs(5);

/// What was asked of one product. Versions and bytes by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Publish these bytes as that version, and offer them if asked.
    Publish { version: u8, bytes: u8, offer: bool },
    /// Offer a stored version.
    Promote { version: u8 },
    /// Take a version back.
    Recall { version: u8 },
    /// What is there under that version? (At the publisher listener.)
    Read { version: u8 },
    /// What is a device offered that has nothing?
    Check,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// 201.
    Created,
    /// 200 to a publish: these very bytes are there.
    Same,
    /// 409: other bytes are there.
    Conflict,
    /// 422.
    Refused,
    /// 200 to a promotion or recall.
    Done,
    /// 404: no such version.
    Missing,
    /// The bytes of a version, and whether it is recalled.
    Version(Option<(u8, bool)>),
    /// The version and bytes that are offered.
    Offer(Option<(u8, u8)>),
    /// No answer, or one that does not say what happened.
    Unknown,
    /// It was not done, and never will be. (Not part of a history.)
    Nothing,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub call: Call,
    pub reply: Reply,
    pub invoked: Duration,
    /// `None` = never.
    pub returned: Option<Duration>,
    /// Before this, what was answered cannot have been true.
    pub earliest: Duration,
    /// The life of a replica that answered, if the order of its own answers counts.
    pub life: Option<usize>,
}

impl Operation {
    pub fn new(call: Call, reply: Reply, invoked: Duration, returned: Option<Duration>) -> Self {
        Self { call, reply, invoked, returned, earliest: invoked, life: None }
    }

    /// A check's promise: as fresh as the replica's connection allows. `lost` = since when that was not working, if it
    /// was not at some time within the bound.
    pub fn by_replica(self, life: usize, lost: Option<Duration>) -> Self {
        let connected = lost.map_or(self.invoked, |lost| lost.min(self.invoked));
        Self { earliest: connected.saturating_sub(STALENESS), life: Some(life), ..self }
    }

    /// The version that it is about, if it is about one.
    pub fn version(&self) -> Option<u8> {
        match (self.call, self.reply) {
            (Call::Publish { version, .. } | Call::Promote { version }, _) => Some(version),
            (Call::Recall { version } | Call::Read { version }, _) => Some(version),
            (Call::Check, Reply::Offer(Some((version, _)))) => Some(version),
            (Call::Check, _) => None,
        }
    }

    /// Whether this must stand before the other in every order.
    pub fn precedes(&self, other: &Self) -> bool {
        let Some(returned) = self.returned else { return false };
        let same_life = self.life.is_some() && self.life == other.life;
        returned < if same_life { other.invoked } else { other.earliest }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let returned =
            self.returned.map_or_else(|| "   never".to_owned(), |at| format!("{:8.3}", at.as_secs_f64()));
        write!(f, "{:8.3} {returned}  {:?} -> {:?}", self.invoked.as_secs_f64(), self.call, self.reply)?;
        self.life.map_or(Ok(()), |life| write!(f, " (life {life})"))
    }
}
