//! Rhythm: how often devices ask, and how long caches keep an answer, as a product or one of its channels sets it.
//!
//! The server has a value for both (`device.poll_interval`, `device.cache_lifetime`); a product may have its own, and a
//! channel of it again its own. What is not set is taken from above: channel, product, server. All are whole
//! seconds, because the headers that tell them (`Retry-After`, `max-age`) have nothing finer.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

const DAY: u32 = 24 * 3600;

/// Why a text is no time of its kind.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{kind} {given:?} is not valid: write a time such as \"30s\", \"5m\" or \"24h\", in whole seconds, from {least} to {most}"
)]
pub struct TimeError {
    kind: &'static str,
    given: String,
    least: humantime::FormattedDuration,
    most: humantime::FormattedDuration,
}

fn shown(seconds: u32) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(seconds.into()))
}

fn parse(kind: &'static str, least: u32, most: u32, text: &str) -> Result<u32, TimeError> {
    let parsed = humantime::parse_duration(text).ok().filter(|time| time.subsec_nanos() == 0);
    let seconds = parsed.and_then(|time| u32::try_from(time.as_secs()).ok());
    seconds.filter(|seconds| (least..=most).contains(seconds)).ok_or_else(|| {
        // An error message repeats what was typed, but never a megabyte of it.
        let given = text.chars().take(120).collect();
        TimeError { kind, given, least: shown(least), most: shown(most) }
    })
}

macro_rules! time {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $least:expr, $most:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(u32);

        impl $type {
            /// The lowest, in seconds.
            pub const LEAST: u32 = $least;
            /// The highest, in seconds.
            pub const MOST: u32 = $most;

            /// A number of seconds; `None` = out of bounds.
            pub fn new(seconds: u32) -> Option<Self> {
                (Self::LEAST..=Self::MOST).contains(&seconds).then_some(Self(seconds))
            }

            /// In seconds.
            pub fn get(self) -> u32 {
                self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                shown(self.0).fmt(f)
            }
        }

        impl FromStr for $type {
            type Err = TimeError;

            fn from_str(text: &str) -> Result<Self, TimeError> {
                parse($kind, Self::LEAST, Self::MOST, text).map(Self)
            }
        }

        impl TryFrom<String> for $type {
            type Error = TimeError;

            fn try_from(text: String) -> Result<Self, TimeError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(time: $type) -> Self {
                time.to_string()
            }
        }
    };
}

time!(
    /// How long a device waits before it asks again: from 1 second to 30 days.
    PollInterval,
    "poll_interval",
    1,
    30 * DAY
);
time!(
    /// How long a shared cache may keep an answer, from 0 (it asks every time) to 7 days.
    CacheLifetime,
    "cache_lifetime",
    0,
    7 * DAY
);

/// What one level sets; `None` = what the level above has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rhythm {
    /// When a device should ask again, more or less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll_interval: Option<PollInterval>,
    /// How long a shared cache may keep an answer that is the same for all devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_lifetime: Option<CacheLifetime>,
}

impl Rhythm {
    /// This, and what it does not set from the level above.
    #[must_use]
    pub fn or(self, above: Self) -> Self {
        Self {
            poll_interval: self.poll_interval.or(above.poll_interval),
            cache_lifetime: self.cache_lifetime.or(above.cache_lifetime),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_as_people_do() {
        for (text, seconds, shown) in
            [("5m", 300, "5m"), ("1s", 1, "1s"), ("90m", 5400, "1h 30m"), ("30days", 30 * DAY, "30days")]
        {
            let interval: PollInterval = text.parse().expect("fits");
            assert_eq!((interval.get(), interval.to_string().as_str()), (seconds, shown));
            assert_eq!(shown.parse::<PollInterval>().expect("fits"), interval);
        }
        assert_eq!("0s".parse::<CacheLifetime>().expect("fits").get(), 0);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_with_the_bounds() {
        for text in ["0s", "1500ms", "31days", "soon", "", "5", "99999999999999d"] {
            let told = text.parse::<PollInterval>().expect_err(text).to_string();
            assert!(told.starts_with("poll_interval") && told.contains("from 1s to 30days"), "{told}");
        }
        let told = "8days".parse::<CacheLifetime>().expect_err("too long").to_string();
        assert!(told.contains("\"8days\"") && told.contains("from 0s to 7days"), "{told}");
        assert_eq!((PollInterval::new(0), CacheLifetime::new(7 * DAY + 1)), (None, None));
    }

    #[test]
    fn what_is_not_set_comes_from_above() {
        let seconds = |interval: u32, lifetime: Option<u32>| Rhythm {
            poll_interval: PollInterval::new(interval),
            cache_lifetime: lifetime.and_then(CacheLifetime::new),
        };
        assert_eq!(seconds(60, None).or(seconds(300, Some(0))), seconds(60, Some(0)));
        assert_eq!(seconds(0, Some(5)).or(seconds(300, Some(0))), seconds(300, Some(5)));
    }
}
