//! How a product's images reach its devices: who may have them, by which link, and what a device's modem takes for one.
//!
//! Modems and bootloaders cut URLs at 64, 100, 128 or 192 bytes; some speak only plain `http`; some want an address where
//! a name could be. A product states such limits ([`UrlLimits`]), and the version check refuses what would break them,
//! with the length of the link as devices would get it. What links look like depends on the settings of the service,
//! which the version check does not know: it is told their measures ([`LinkForms`]).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who may have a product's images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Anybody who knows where they are: links to a CDN carry no token.
    Public,
    /// Whoever was given a link of late: links always expire, and nobody but the caller keeps the answer.
    Private,
}

/// What an offer's `url` is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// The image itself, at the CDN or the bucket.
    #[default]
    Direct,
    /// A short and stable path of the device listener, which answers with the way to the image.
    Short,
}

/// The one scheme that a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UrlScheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// The one kind of host that a device takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UrlHost {
    /// A name.
    Name,
    /// An address.
    Ip,
}

/// What a device takes for a URL; nothing = anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UrlLimits {
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u16>,
    /// `http` or `https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<UrlScheme>,
    /// `name` or `ip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<UrlHost>,
}

/// How a product's images reach its devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// Who may have them; `None` = as the settings of the service have it: links carry a token if a token is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Whether checks must come with the device's credential (`super::credential`); private products only.
    #[serde(skip_serializing_if = "is_false")]
    pub authenticate_devices: bool,
    /// What an offer's `url` is.
    #[serde(skip_serializing_if = "is_direct")]
    pub link: LinkKind,
    /// Whether offers carried short links before: those that were given out are followed for ever, so the service keeps this
    /// whatever is set.
    #[serde(skip_serializing_if = "is_false")]
    pub had_short_links: bool,
    /// What devices take for a URL.
    #[serde(skip_serializing_if = "takes_anything")]
    pub url: UrlLimits,
}

impl Delivery {
    /// Whether only whoever was given a link may have the images.
    pub fn is_private(&self) -> bool {
        self.access == Some(Access::Private)
    }

    /// Whether short links to its images are followed.
    pub fn follows_short_links(&self) -> bool {
        self.link == LinkKind::Short || self.had_short_links
    }

    /// These settings in the place of earlier ones: devices may have short links of then.
    #[must_use]
    pub fn after(self, earlier: &Self) -> Self {
        // While offers carry them, nothing has to be kept.
        let had = self.had_short_links || earlier.follows_short_links();
        Self { had_short_links: had && self.link != LinkKind::Short, ..self }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_direct(link: &LinkKind) -> bool {
    *link == LinkKind::Direct
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn takes_anything(limits: &UrlLimits) -> bool {
    *limits == UrlLimits::default()
}

/// The measures of one kind of link: what a link to a key is, without making it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkForm {
    /// Of the URL.
    pub scheme: UrlScheme,
    /// Of the URL.
    pub host: UrlHost,
    /// Bytes of the URL besides those of the key, at most.
    pub around: usize,
    /// How often the key stands in it.
    pub keys: usize,
}

impl LinkForm {
    /// The length of the link to a key of that many bytes, at most.
    pub fn length(&self, key: usize) -> usize {
        self.around + self.keys * key
    }
}

/// The measures of all kinds of links that the service makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkForms {
    /// Where products say nothing of access.
    pub as_set: LinkForm,
    /// To images of public products.
    pub public: LinkForm,
    /// To images of private products; `None` = the service cannot make links that expire.
    pub private: Option<LinkForm>,
    /// The short link of public products.
    pub short: LinkForm,
    /// The short link of private products.
    pub short_private: LinkForm,
    /// To the backup, where links point for images that the bucket lacks; never to those of private products. `None` =
    /// they always stay.
    pub backup: Option<LinkForm>,
}

impl LinkForms {
    /// The links that a product's devices use: what an offer's `url` is and, behind a short one, what it leads to. `None`
    /// = they cannot be made.
    pub fn of(&self, delivery: &Delivery) -> Option<(LinkForm, Option<LinkForm>)> {
        let direct = match delivery.access {
            None => self.as_set,
            Some(Access::Public) => self.public,
            Some(Access::Private) => self.private?,
        };
        Some(match delivery.link {
            LinkKind::Direct => (direct, None),
            LinkKind::Short if delivery.is_private() => (self.short_private, Some(direct)),
            LinkKind::Short => (self.short, Some(direct)),
        })
    }

    /// The link that takes the place of a product's direct one while the bucket lacks an image; `None` = none does.
    pub fn of_backup(&self, delivery: &Delivery) -> Option<LinkForm> {
        self.backup.filter(|_| !delivery.is_private())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_written() {
        assert_eq!(serde_json::to_string(&Delivery::default()).expect("plain"), "{}");
        let text = r#"{"access":"private","authenticate_devices":true,"link":"short","url":{"max_length":64,"scheme":"http","host":"ip"}}"#;
        let delivery: Delivery = serde_json::from_str(text).expect("known members");
        assert!(delivery.is_private());
        assert_eq!(serde_json::to_string(&delivery).expect("plain"), text);
        assert!(serde_json::from_str::<Delivery>(r#"{"acess":"private"}"#).is_err());
    }
}
