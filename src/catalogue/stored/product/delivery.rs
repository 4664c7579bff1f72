//! [`Delivery`] as it is stored. Unlike that, it ignores what it does not know, as all stored settings do.

use serde::{Deserialize, Serialize};

use crate::domain::{Access, Delivery, LinkKind, UrlHost, UrlLimits, UrlScheme};

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StoredDelivery {
    access: Option<Access>,
    authenticate_devices: bool,
    link: LinkKind,
    had_short_links: bool,
    max_length: Option<u16>,
    scheme: Option<UrlScheme>,
    host: Option<UrlHost>,
}

impl From<Delivery> for StoredDelivery {
    fn from(delivery: Delivery) -> Self {
        let Delivery { access, authenticate_devices, link, had_short_links, url } = delivery;
        let UrlLimits { max_length, scheme, host } = url;
        Self { access, authenticate_devices, link, had_short_links, max_length, scheme, host }
    }
}

impl From<StoredDelivery> for Delivery {
    fn from(stored: StoredDelivery) -> Self {
        let StoredDelivery { access, authenticate_devices, link, had_short_links, max_length, scheme, host } =
            stored;
        Self {
            access,
            authenticate_devices,
            link,
            had_short_links,
            url: UrlLimits { max_length, scheme, host },
        }
    }
}
