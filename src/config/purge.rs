//! The settings of what this server asks of the CDN itself: to forget (`[cdn.purge]`), and to be fetched from before an
//! offer (`cdn.verify_before_offer`).

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::field;
use crate::{
    cdn::{
        edgegrid::{self, Credentials},
        purge::{Checks, Objects, Plan},
    },
    domain::{
        ProductName,
        purge::{LONGEST_TAG, PurgeKind, TagForm},
    },
    error::{Error, Kind, Result},
};

/// The largest image that is fetched back whole unless the settings say otherwise, in bytes.
const SAMPLE_ABOVE: u64 = 64 * 1024 * 1024;

/// How long it may take to fetch one image back unless the settings say otherwise.
pub(crate) const VERIFY_WITHIN: Duration = Duration::from_secs(30 * 60);

/// Whether an image is fetched back through the CDN before it is offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyBeforeOffer {
    /// It is offered at once.
    #[default]
    Off,
    /// Whole, or a sample of a large one.
    Sample,
    /// Whole.
    Whole,
}

/// How the CDN is made to forget.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeSettings {
    /// The interface.
    pub kind: PurgeInterface,
    /// A file of Akamai's form with the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edgerc: Option<PathBuf>,
    /// Its section.
    #[serde(default = "default_section")]
    pub section: String,
    /// Instead of a file: where the API is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Instead of a file: the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
    /// Instead of a file: the client's secret.
    #[serde(default, serialize_with = "field::hidden", skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretString>,
    /// Instead of a file: what the client was allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token: Option<String>,
    /// Which edges.
    #[serde(default)]
    pub network: PurgeNetwork,
    /// How objects are named.
    #[serde(default = "by_url")]
    pub by: PurgeKind,
    /// Objects by tag: the tag that the property gives them.
    #[serde(default = "default_object_tag")]
    pub object_tag: String,
    /// Objects by CP code: the codes.
    #[serde(default, deserialize_with = "field::list", skip_serializing_if = "Vec::is_empty")]
    pub cpcodes: Vec<String>,
    /// How check answers are named, if the CDN caches them.
    #[serde(default)]
    pub checks: PurgeChecks,
    /// Check answers by tag: the tag that they carry.
    #[serde(default = "default_check_tag")]
    pub check_tag: String,
    /// Check answers by CP code: the codes.
    #[serde(default, deserialize_with = "field::list", skip_serializing_if = "Vec::is_empty")]
    pub check_cpcodes: Vec<String>,
}

/// The interfaces for purging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PurgeInterface {
    /// Akamai's Fast Purge, version 3.
    Akamai,
}

/// Which edges forget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PurgeNetwork {
    /// Those that devices use.
    #[default]
    Production,
    /// Those where a property is tried out.
    Staging,
}

/// How cached check answers are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PurgeChecks {
    /// The CDN does not cache them.
    #[default]
    None,
    /// By a cache tag.
    Tag,
    /// By CP codes.
    Cpcode,
}

fn default_section() -> String {
    "default".into()
}

fn by_url() -> PurgeKind {
    PurgeKind::Url
}

fn default_object_tag() -> String {
    "r-{product}-{version}".into()
}

fn default_check_tag() -> String {
    "c-{product}".into()
}

/// The largest image that is fetched back whole, in bytes.
pub(crate) fn whole_up_to(verify: VerifyBeforeOffer, sample_above: Option<u64>) -> u64 {
    match verify {
        VerifyBeforeOffer::Sample => sample_above.unwrap_or(SAMPLE_ABOVE),
        VerifyBeforeOffer::Off | VerifyBeforeOffer::Whole => u64::MAX,
    }
}

impl PurgeSettings {
    /// The account's credentials: of these settings, of the file, or else of the environment.
    ///
    /// # Errors
    /// Kind `Malformed`, code `settings-invalid`: says what is missing.
    pub fn credentials(&self) -> Result<Credentials> {
        let found = match (&self.host, &self.edgerc) {
            (Some(host), _) => {
                let needed = |value: &Option<String>| value.clone().unwrap_or_default();
                Ok(Credentials {
                    base_url: edgegrid::base_url(host),
                    client_token: needed(&self.client_token),
                    client_secret: self.client_secret.clone().unwrap_or_default(),
                    access_token: needed(&self.access_token),
                    headers_to_sign: Vec::new(),
                    max_body: edgegrid::MAX_BODY,
                })
            }
            (None, Some(file)) => edgegrid::from_file(file, &self.section),
            (None, None) => edgegrid::from_environment(|name| std::env::var(name).ok()),
        };
        found.map_err(|why| Error::new(Kind::Malformed, "settings-invalid", format!("cdn.purge: {why}")))
    }

    /// What is purged. `base` is the CDN's base URL, without a trailing slash.
    pub fn plan(&self, base: &str) -> Plan {
        Plan {
            objects: match self.by {
                PurgeKind::Url => Objects::Url(base.to_owned()),
                PurgeKind::Tag => Objects::Tag(self.object_tag.clone()),
                PurgeKind::Cpcode => Objects::Cpcodes(self.cpcodes.clone()),
            },
            checks: match self.checks {
                PurgeChecks::None => Checks::Uncached,
                PurgeChecks::Tag => Checks::Tag(self.check_tag.clone()),
                PurgeChecks::Cpcode => Checks::Cpcodes(self.check_cpcodes.clone()),
            },
        }
    }

    /// The template of the tag that objects are purged by; `None` = they are not purged by one.
    pub fn tag_of_objects(&self) -> Option<&str> {
        (self.by == PurgeKind::Tag).then_some(self.object_tag.as_str())
    }

    /// The template of the tag that check answers carry; `None` = they carry none.
    pub fn tag_of_checks(&self) -> Option<&str> {
        (self.checks == PurgeChecks::Tag).then_some(self.check_tag.as_str())
    }

    /// What is wrong, one sentence each.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut wrong = |is_wrong: bool, text: &str| {
            if is_wrong {
                problems.push(format!("cdn.purge.{text}"));
            }
        };
        if self.host.is_some() {
            wrong(
                self.client_token.is_none() || self.client_secret.is_none() || self.access_token.is_none(),
                "host: with it, set client_token, client_secret and access_token too, or name a file by edgerc",
            );
            wrong(self.edgerc.is_some(), "edgerc: name either a file or the credentials, not both");
        }
        for (key, codes, used) in [
            ("cpcodes", &self.cpcodes, self.by == PurgeKind::Cpcode),
            ("check_cpcodes", &self.check_cpcodes, self.checks == PurgeChecks::Cpcode),
        ] {
            wrong(used && codes.is_empty(), &format!("{key} is empty: name the CP codes"));
            wrong(codes.iter().any(|code| code.parse::<u64>().is_err()), &format!("{key}: use numbers"));
        }
        // Else what is purged with each promotion would take all images with it.
        let both = self.checks == PurgeChecks::Cpcode && self.by == PurgeKind::Cpcode;
        for code in self.check_cpcodes.iter().filter(|code| both && self.cpcodes.contains(code)) {
            let text =
                format!("check_cpcodes: {code} is in cpcodes too: give check answers a CP code of their own");
            wrong(true, &text);
        }
        for (key, template, needed) in [
            ("object_tag", &self.object_tag, &["{product}", "{version}"][..]),
            ("check_tag", &self.check_tag, &["{product}"][..]),
        ] {
            let mut rest = template.clone();
            for name in needed {
                wrong(
                    !template.contains(name),
                    &format!("{key}: it has to have {} in it", needed.join(" and ")),
                );
                rest = rest.replace(name, "");
            }
            // What Akamai takes in a cache tag, RFC 9110's token characters without `*`.
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"&'^-$!`#%.+~_|".contains(&byte);
            wrong(
                !rest.bytes().all(allowed) || rest.len() > 20,
                &format!("{key}: use at most 20 letters, digits and - . _ around the names"),
            );
            wrong(
                TagForm::of(template).length(ProductName::LONGEST, 0) > LONGEST_TAG,
                &format!("{key}: name the product once; a tag has at most {LONGEST_TAG} characters"),
            );
        }
        problems
    }
}
