//! How a product's images reach its devices, as it is typed.

use clap::{Args, ValueEnum};

use crate::domain::{Access, Delivery, LinkKind, UrlHost, UrlScheme};

/// Settings that `product create` and `product set` share.
#[derive(Debug, Default, Args)]
pub struct DeliveryArguments {
    /// Who may load the images: anybody (links without a token), whoever was given a link of late, or as the server's
    /// settings have it
    #[arg(long, value_name = "ACCESS")]
    access: Option<AccessWord>,
    /// Whether checks must come with the device's credential (private products)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    authenticate_devices: Option<bool>,
    /// What devices are given: the image's own link, or a short one of the device listener that leads to it
    #[arg(long, value_name = "LINK")]
    link: Option<LinkWord>,
    /// The longest URL that devices take; 0 = any
    #[arg(long, value_name = "BYTES")]
    url_max_length: Option<u16>,
    /// The one scheme that devices speak
    #[arg(long, value_name = "SCHEME")]
    url_scheme: Option<SchemeWord>,
    /// The one kind of host that devices take in URLs
    #[arg(long, value_name = "HOST")]
    url_host: Option<HostWord>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AccessWord {
    Public,
    Private,
    Default,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LinkWord {
    Direct,
    Short,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SchemeWord {
    Http,
    Https,
    Any,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum HostWord {
    Name,
    Ip,
    Any,
}

impl DeliveryArguments {
    /// Sets what was typed.
    pub fn apply(&self, delivery: &mut Delivery) {
        if let Some(access) = self.access {
            delivery.access = match access {
                AccessWord::Public => Some(Access::Public),
                AccessWord::Private => Some(Access::Private),
                AccessWord::Default => None,
            };
        }
        delivery.authenticate_devices = self.authenticate_devices.unwrap_or(delivery.authenticate_devices);
        if let Some(link) = self.link {
            delivery.link = match link {
                LinkWord::Direct => LinkKind::Direct,
                LinkWord::Short => LinkKind::Short,
            };
        }
        if let Some(length) = self.url_max_length {
            delivery.url.max_length = Some(length).filter(|length| *length > 0);
        }
        if let Some(scheme) = self.url_scheme {
            delivery.url.scheme = match scheme {
                SchemeWord::Http => Some(UrlScheme::Http),
                SchemeWord::Https => Some(UrlScheme::Https),
                SchemeWord::Any => None,
            };
        }
        if let Some(host) = self.url_host {
            delivery.url.host = match host {
                HostWord::Name => Some(UrlHost::Name),
                HostWord::Ip => Some(UrlHost::Ip),
                HostWord::Any => None,
            };
        }
    }
}

/// What is set, in words, each after a comma; nothing = nothing is.
pub fn described(delivery: &Delivery) -> String {
    let mut text = String::new();
    match delivery.access {
        None => {}
        Some(Access::Public) => text.push_str(", public"),
        Some(Access::Private) => text.push_str(", private"),
    }
    if delivery.authenticate_devices {
        text.push_str(", devices show a credential");
    }
    if delivery.link == LinkKind::Short {
        text.push_str(", short links");
    }
    if let Some(length) = delivery.url.max_length {
        text.push_str(&format!(", URLs of up to {length} bytes"));
    }
    match delivery.url.scheme {
        None => {}
        Some(UrlScheme::Http) => text.push_str(", http alone"),
        Some(UrlScheme::Https) => text.push_str(", https alone"),
    }
    match delivery.url.host {
        None => {}
        Some(UrlHost::Name) => text.push_str(", names as hosts"),
        Some(UrlHost::Ip) => text.push_str(", addresses as hosts"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_changes_and_the_rest_stays() {
        let mut delivery = Delivery::default();
        assert_eq!(described(&delivery), "");
        let typed = DeliveryArguments {
            access: Some(AccessWord::Private),
            authenticate_devices: Some(true),
            link: Some(LinkWord::Short),
            url_max_length: Some(64),
            url_scheme: Some(SchemeWord::Http),
            url_host: Some(HostWord::Ip),
        };
        typed.apply(&mut delivery);
        let all = ", private, devices show a credential, short links, URLs of up to 64 bytes, http alone, addresses as hosts";
        assert_eq!(described(&delivery), all);
        DeliveryArguments::default().apply(&mut delivery);
        assert_eq!(described(&delivery), all);
        let back = DeliveryArguments {
            access: Some(AccessWord::Default),
            authenticate_devices: Some(false),
            link: Some(LinkWord::Direct),
            url_max_length: Some(0),
            url_scheme: Some(SchemeWord::Any),
            url_host: Some(HostWord::Any),
        };
        back.apply(&mut delivery);
        assert_eq!(delivery, Delivery::default());
    }
}
