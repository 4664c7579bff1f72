//! Whether devices can use the links that they would get: their modems cut URLs, speak one scheme, or want an address.
//!
//! A product states it (`domain::delivery`); the measures of links come with the limits, since they follow from the settings
//! of the service. Judged is the link as a device would get it, token and all, at its longest. Behind a short link, what it
//! leads to is judged as well: the same device must speak its scheme and reach its host. Only its length is not, for which
//! the short link is there: what cuts URLs is the command or the setting that takes them, not the redirect. Where links may
//! point to the backup instead, they must fit there too: a device would find out only on the day when the bucket is away.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Limits, Reason, findings::Findings, rule};
use crate::domain::{Delivery, LinkForm, LinkKind, ProductState, UrlHost, UrlScheme, Version, key_of};

/// The links to an image of a product.
pub(super) fn judge(
    state: &ProductState,
    version: &Version,
    filename: &crate::domain::FileName,
    limits: Limits,
    findings: &mut Findings<'_>,
) {
    let Some(forms) = limits.links else { return };
    let product = &state.product;
    let delivery = &product.settings.delivery;
    let Some((form, behind)) = forms.of(delivery) else {
        return findings.add(
            rule::ACCESS_UNENFORCEABLE,
            format!(
                "product {} is private, and the CDN's links carry no token: set [cdn.token] in the server's settings, or \
                 set the product's access to public",
                product.name
            ),
        );
    };
    let key = key_of(product.name.as_str(), version, filename);
    let backup = forms.of_backup(delivery);
    let direct_at_backup = backup.filter(|_| delivery.link == LinkKind::Direct);
    length(delivery, form, direct_at_backup, &key, findings);
    for (form, what) in [
        (Some(form), "the link to it"),
        (behind, "what the short link leads to"),
        (backup, "the link to it at the backup"),
    ]
    .into_iter()
    .filter_map(|(form, what)| Some((form?, what)))
    {
        scheme(delivery, form, what, findings);
        host(delivery, form, what, findings);
    }
}

/// The longer one of the two has to fit.
fn length(
    delivery: &Delivery,
    form: LinkForm,
    backup: Option<LinkForm>,
    key: &str,
    findings: &mut Findings<'_>,
) {
    let Some(limit) = delivery.url.max_length else { return };
    let usual = form.length(key.len());
    let at_backup = backup.map(|form| form.length(key.len())).filter(|length| *length > usual);
    let length = at_backup.unwrap_or(usual);
    if length <= usize::from(limit) {
        return;
    }
    let (place, hint) = match (delivery.link, at_backup) {
        (LinkKind::Direct, None) => ("", "use a shorter file name, or set the product's link to short"),
        (LinkKind::Direct, Some(_)) => (
            " at the backup",
            "set a shorter backup.base_url in the server's settings, use a shorter file name, or set the product's link \
             to short",
        ),
        (LinkKind::Short, _) => {
            ("", "set a shorter device.short_url in the server's settings, or raise the limit")
        }
    };
    findings.add(
        rule::URL_TOO_LONG,
        format!(
            "the link to {key}{place} would have {length} bytes, and the product's devices take {limit} at most: {hint}"
        ),
    );
}

fn scheme(delivery: &Delivery, form: LinkForm, what: &str, findings: &mut Findings<'_>) {
    let Some(wanted) = delivery.url.scheme.filter(|wanted| *wanted != form.scheme) else { return };
    let name = |scheme| if scheme == UrlScheme::Https { "https" } else { "http" };
    findings.add(
        rule::URL_SCHEME,
        format!(
            "{what} begins with {}://, and the product's devices speak {} alone: set cdn.base_url, backup.base_url, \
             device.public_url or device.short_url in the server's settings to one that they speak",
            name(form.scheme),
            name(wanted)
        ),
    );
}

fn host(delivery: &Delivery, form: LinkForm, what: &str, findings: &mut Findings<'_>) {
    let Some(wanted) = delivery.url.host.filter(|wanted| *wanted != form.host) else { return };
    let name = |host| if host == UrlHost::Ip { "an address" } else { "a name" };
    findings.add(
        rule::URL_HOST,
        format!(
            "{what} has {} for a host, and the product's devices take {} alone: set cdn.base_url, backup.base_url, \
             device.public_url or device.short_url in the server's settings to one with such a host",
            name(form.host),
            name(wanted)
        ),
    );
}

/// What is offered now or waits to be, and could not be used by the product's devices if its settings were these.
pub fn broken(state: &ProductState, limits: Limits) -> Vec<Reason> {
    let mut findings = Findings::new(&state.product.settings.policy);
    let offered = state.promotions.iter().map(|promotion| promotion.image);
    let images: BTreeSet<Uuid> =
        offered.chain(state.pending.iter().map(|promotion| promotion.image)).collect();
    let images = images.into_iter().filter_map(|image| state.image(image));
    for (release, image) in images.filter(|(release, _)| release.recall.is_none()) {
        if image.removed_at.is_some() {
            continue;
        }
        judge(state, &release.version, &image.filename, limits, &mut findings);
    }
    findings.reasons.into_iter().chain(findings.warnings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Access, LinkForms, snapshot::tests::product};

    /// A CDN by https and name, whose tokens take 128 bytes and the key once more; short links by http and address.
    fn forms() -> LinkForms {
        let form = |scheme, host, around, keys| LinkForm { scheme, host, around, keys };
        let (https, http) = (UrlScheme::Https, UrlScheme::Http);
        let signed = form(https, UrlHost::Name, 128, 2);
        LinkForms {
            as_set: signed,
            public: form(https, UrlHost::Name, 23, 1),
            private: Some(signed),
            short: form(http, UrlHost::Ip, 32, 0),
            short_private: form(http, UrlHost::Ip, 55, 0),
            backup: None,
        }
    }

    fn limits() -> Limits {
        Limits { links: Some(forms()), ..Limits::default() }
    }

    fn found_in(settings: serde_json::Value, limits: Limits) -> Vec<(String, String)> {
        let mut state = product(&[("1.0.0", &[&[]], false)]);
        state.product.settings.delivery = serde_json::from_value(settings).expect("known members");
        broken(&state, limits).into_iter().map(|reason| (reason.code.into_owned(), reason.message)).collect()
    }

    fn codes(settings: serde_json::Value) -> Vec<String> {
        found_in(settings, limits()).into_iter().map(|(code, _)| code).collect()
    }

    #[test]
    fn a_link_that_devices_would_cut_is_refused_with_its_length() {
        // The key is thermo-x/1.0.0/0.bin, 20 bytes.
        let json = |length: u16| serde_json::json!({ "url": { "max_length": length } });
        let found = found_in(json(167), limits());
        assert_eq!(found.len(), 1);
        assert!(
            found[0].1.contains("thermo-x/1.0.0/0.bin would have 168 bytes") && found[0].1.contains("167")
        );
        assert_eq!(codes(json(168)), [""; 0]);
        let public =
            |length: u16| codes(serde_json::json!({ "access": "public", "url": { "max_length": length } }));
        assert_eq!((public(42), public(43)), (vec!["url-too-long".to_owned()], vec![]));
        let short = |access: Option<&str>, length: u16| {
            codes(serde_json::json!({ "access": access, "link": "short", "url": { "max_length": length } }))
        };
        assert_eq!((short(None, 31).len(), short(None, 32).len()), (1, 0));
        assert_eq!((short(Some("private"), 54).len(), short(Some("private"), 55).len()), (1, 0));
    }

    #[test]
    fn schemes_and_hosts_are_those_that_devices_take() {
        assert_eq!(
            codes(serde_json::json!({ "url": { "scheme": "http", "host": "ip" } })),
            ["url-scheme", "url-host"]
        );
        assert_eq!(codes(serde_json::json!({ "url": { "scheme": "https", "host": "name" } })), [""; 0]);
        let short = serde_json::json!({ "link": "short", "url": { "scheme": "http", "host": "ip" } });
        let found = found_in(short, limits());
        let said: Vec<&str> = found.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(said.len(), 2, "what it leads to is https, and has a name: {said:?}");
        assert!(said[0].starts_with("what the short link leads to begins with https://"), "{said:?}");
        assert!(said[1].starts_with("what the short link leads to has a name for a host"), "{said:?}");
        // The way there and the way on are judged alike.
        let limits = LinkForms { as_set: LinkForm { host: UrlHost::Ip, ..forms().as_set }, ..forms() };
        let limits = Limits { links: Some(limits), ..Limits::default() };
        let short = serde_json::json!({ "link": "short", "url": { "host": "ip" } });
        assert_eq!(found_in(short, limits), []);
        let short = serde_json::json!({ "link": "short", "url": { "host": "name" } });
        let found = found_in(short, limits);
        assert_eq!(found.len(), 2);
        assert!(found[0].1.starts_with("the link to it has an address for a host"), "{found:?}");
    }

    /// A backup by http and address, whose links have 170 bytes besides the key.
    #[test]
    fn links_to_the_backup_have_to_fit_too() {
        let mut limits = limits();
        let form = |around| LinkForm { scheme: UrlScheme::Http, host: UrlHost::Ip, around, keys: 1 };
        limits.links = limits.links.map(|forms| LinkForms { backup: Some(form(170)), ..forms });
        let codes =
            |settings| found_in(settings, limits).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        // The usual link has 168 bytes, that to the backup 190.
        let json = |length: u16| serde_json::json!({ "url": { "max_length": length } });
        let told = found_in(json(189), limits);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].1.starts_with("the link to thermo-x/1.0.0/0.bin at the backup would have 190 bytes"),
            "{told:?}"
        );
        assert_eq!(codes(json(190)), [""; 0]);
        // Of two that are too long, the longer one's length is told.
        assert!(found_in(json(100), limits)[0].1.contains("190 bytes"));
        let schemes = serde_json::json!({ "url": { "scheme": "https", "host": "name" } });
        assert_eq!(codes(schemes), ["url-scheme", "url-host"]);
        let short = serde_json::json!({ "link": "short", "url": { "max_length": 32 } });
        assert_eq!(codes(short), [""; 0], "the short link itself stays as it is");
        let short = serde_json::json!({ "link": "short", "access": "public", "url": { "host": "name" } });
        let told = found_in(short, limits);
        assert!(told[1].1.starts_with("the link to it at the backup has an address for a host"), "{told:?}");
        let private =
            serde_json::json!({ "access": "private", "url": { "max_length": 168, "scheme": "https" } });
        assert_eq!(codes(private), [""; 0], "they never point there");
        // A shorter one changes nothing.
        limits.links = limits.links.map(|forms| LinkForms { backup: Some(form(20)), ..forms });
        assert!(
            found_in(json(167), limits)[0].1.starts_with("the link to thermo-x/1.0.0/0.bin would have 168")
        );
    }

    #[test]
    fn what_waits_to_be_offered_is_judged_too() {
        let mut state = product(&[("1.0.0", &[&[]], false)]);
        state.product.settings.delivery =
            serde_json::from_value(serde_json::json!({ "url": { "max_length": 100 } }))
                .expect("known members");
        let promotion = state.promotions.remove(0);
        assert!(broken(&state, limits()).is_empty());
        state.pending.push(crate::domain::PendingPromotion {
            channel: promotion.channel,
            image: promotion.image,
            withdraw: Vec::new(),
            at: promotion.at,
            allow_stranding: false,
            reason: None,
            attempts: 0,
            last_error: None,
        });
        assert_eq!(broken(&state, limits())[0].code, "url-too-long");
    }

    #[test]
    fn private_images_need_links_that_end() {
        let mut limits = limits();
        limits.links = limits.links.map(|forms| LinkForms { private: None, ..forms });
        let private = serde_json::json!({ "access": Access::Private });
        let found = found_in(private, limits);
        assert_eq!(found[0].0, "access-unenforceable");
    }
}
