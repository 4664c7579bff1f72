//! What a release says of itself beside its images: its documents, and what it fixes.

use std::{collections::BTreeSet, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::FileName;

/// A document of a release. Its content is not part of a product's state; the catalogue gives it out by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Unique within the release.
    pub name: FileName,
    /// What it is.
    pub kind: AttachmentKind,
    /// The version of its format, as it states it: `1.6`, `2.3`, `3.0.1`.
    pub specification: String,
    /// In bytes.
    pub size: u64,
    /// Of its content.
    pub sha256: [u8; 32],
    /// When it was attached.
    pub created_at: DateTime<Utc>,
}

/// The kinds of documents: bills of materials, by format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachmentKind {
    /// CycloneDX in JSON (ECMA-424).
    CycloneDx,
    /// SPDX in JSON (ISO/IEC 5962), or SPDX 3 in JSON-LD.
    Spdx,
}

impl AttachmentKind {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CycloneDx => "cyclonedx",
            Self::Spdx => "spdx",
        }
    }

    /// The media type that IANA has for it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::CycloneDx => "application/vnd.cyclonedx+json",
            Self::Spdx => "application/spdx+json",
        }
    }
}

impl fmt::Display for AttachmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// That a release fixes vulnerabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// How bad the worst of them is.
    pub severity: Severity,
    /// Which ones, as far as they have a number.
    #[serde(default)]
    pub cves: BTreeSet<CveId>,
}

/// The qualitative ratings of CVSS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// 0.1 to 3.9.
    Low,
    /// 4.0 to 6.9.
    Medium,
    /// 7.0 to 8.9.
    High,
    /// 9.0 to 10.0.
    Critical,
}

impl Severity {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What is no severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no severity: use low, medium, high or critical")]
pub struct SeverityError(String);

impl FromStr for Severity {
    type Err = SeverityError;

    fn from_str(text: &str) -> Result<Self, SeverityError> {
        [Self::Low, Self::Medium, Self::High, Self::Critical]
            .into_iter()
            .find(|severity| severity.as_str() == text)
            .ok_or_else(|| SeverityError(text.chars().take(60).collect()))
    }
}

/// The number of a vulnerability: `CVE-YYYY-NNNN` with four digits or more
/// (<https://www.cve.org/About/Process#CVERecordLifecycle>).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CveId(Box<str>);

/// What is no number of a vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no CVE id: write it as CVE-2026-12345")]
pub struct CveError(String);

impl CveId {
    /// Parses an id.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, CveError> {
        let digits = |part: &str, least: usize, most: usize| {
            (least..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let parts = text.strip_prefix("CVE-").and_then(|rest| rest.split_once('-'));
        // The first year that ids have is 1999; 19 digits is what the record format allows.
        let fits =
            parts.is_some_and(|(year, number)| digits(year, 4, 4) && year >= "1999" && digits(number, 4, 19));
        if fits { Ok(Self(text.into())) } else { Err(CveError(text.chars().take(60).collect())) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CveId {
    type Error = CveError;

    fn try_from(text: String) -> Result<Self, CveError> {
        Self::parse(&text)
    }
}

impl From<CveId> for String {
    fn from(id: CveId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for CveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cve_id_is_one() {
        for id in ["CVE-1999-0001", "CVE-2014-123456", "CVE-2026-1234567890123456789"] {
            assert_eq!(CveId::parse(id).expect("an id").to_string(), id);
        }
        for text in [
            "",
            "CVE",
            "CVE-2026",
            "CVE-2026-",
            "CVE-2026-123",
            "cve-2026-1234",
            "CVE-26-1234",
            "CVE-1998-1234",
            "CVE-2026-12a4",
            "CVE-2026-1234-5",
            " CVE-2026-1234",
            "CVE-2026-12345678901234567890",
            "CVE-２０２６-1234",
        ] {
            assert!(CveId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn severities_have_an_order_and_a_spelling() {
        assert!(Severity::Low < Severity::Medium && Severity::High < Severity::Critical);
        assert_eq!("high".parse(), Ok(Severity::High));
        assert!("HIGH".parse::<Severity>().is_err() && "".parse::<Severity>().is_err());
    }
}
