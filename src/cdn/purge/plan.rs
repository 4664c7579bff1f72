//! What a change of the catalogue wants purged. Pure.
//!
//! | change | objects | check answers, if the CDN caches them |
//! |---|---|---|
//! | a recall | deleted: every image of the release | invalidated |
//! | a removal for good | deleted: every image that it names | invalidated |
//! | an offer, and whatever else a check could tell of | | invalidated |
//! | documents, security facts, a promotion that waits at the gate or is refused there | | |
//!
//! A check's URL has the device's version and hardware in it, so the cached answers of a product cannot be listed as URLs:
//! they are named by a cache tag of the product (which our answers then carry), or by a CP code of their own. The tag is
//! not one that objects carry: a promotion must not make edges ask the bucket about every image.

use crate::{
    bucket::ObjectKey,
    domain::{
        AuditEntry, ProductName, Version,
        purge::{PurgeAction, PurgeKind, PurgeTarget, WantedPurge},
    },
};

/// Changes that no check tells of.
const UNTOLD: [&str; 5] =
    ["product.create", "release.attach", "release.detach", "release.security", "channel.refuse"];
/// Changes after which no edge may have the release's images.
const TAKEN_BACK: [&str; 2] = ["release.recall", "image.remove"];

/// How objects are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// By URL: this base URL, a slash, and the key.
    Url(String),
    /// By a tag, in which `{product}` and `{version}` stand for what they say.
    Tag(String),
    /// By CP codes.
    Cpcodes(Vec<String>),
}

/// How cached check answers are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checks {
    /// Not at all: the CDN does not cache them.
    Uncached,
    /// By a tag, in which `{product}` stands for the product.
    Tag(String),
    /// By CP codes.
    Cpcodes(Vec<String>),
}

/// What is purged, and how it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Objects.
    pub objects: Objects,
    /// Check answers.
    pub checks: Checks,
}

/// The cache tag of a product's check answers.
pub fn check_tag(template: &str, product: &str) -> String {
    template.replace("{product}", product)
}

impl Plan {
    /// Whether the change is one that takes images back, so that their keys are needed.
    pub fn takes_back(entry: &AuditEntry) -> bool {
        TAKEN_BACK.contains(&entry.action.as_str())
    }

    /// What the change wants purged. `keys` are those of the release's images.
    pub fn wanted(
        &self,
        entry: &AuditEntry,
        version: Option<&Version>,
        keys: &[ObjectKey],
    ) -> Vec<WantedPurge> {
        let mut targets = Vec::new();
        if let (true, Some(version)) = (Self::takes_back(entry), version) {
            targets.extend(self.objects(&entry.product, version, keys));
        }
        let waits = entry.details["pending"] == true;
        let offers = entry.action != "image.publish" || entry.channel.is_some();
        if !waits && offers && !UNTOLD.contains(&entry.action.as_str()) {
            targets.extend(self.checks(&entry.product));
        }
        let wanted = targets.into_iter().map(|target| WantedPurge {
            revision: entry.revision,
            product: entry.product.clone(),
            version: version.cloned(),
            target,
        });
        wanted.collect()
    }

    fn objects(&self, product: &ProductName, version: &Version, keys: &[ObjectKey]) -> Vec<PurgeTarget> {
        let (kind, objects) = match &self.objects {
            Objects::Url(base) => (PurgeKind::Url, keys.iter().map(|key| format!("{base}/{key}")).collect()),
            Objects::Tag(template) => {
                let tag = template.replace("{version}", &version.to_string());
                (PurgeKind::Tag, vec![tag.replace("{product}", product.as_str())])
            }
            Objects::Cpcodes(codes) => (PurgeKind::Cpcode, codes.clone()),
        };
        let target = |object| PurgeTarget { action: PurgeAction::Delete, kind, object };
        objects.into_iter().map(target).collect()
    }

    fn checks(&self, product: &ProductName) -> Vec<PurgeTarget> {
        let (kind, objects) = match &self.checks {
            Checks::Uncached => return Vec::new(),
            Checks::Tag(template) => (PurgeKind::Tag, vec![check_tag(template, product.as_str())]),
            Checks::Cpcodes(codes) => (PurgeKind::Cpcode, codes.clone()),
        };
        let target = |object| PurgeTarget { action: PurgeAction::Invalidate, kind, object };
        objects.into_iter().map(target).collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};

    use super::*;
    use crate::{cdn::tests::key, domain::Revision};

    fn entry(action: &str, channel: Option<&str>, details: Value) -> AuditEntry {
        AuditEntry {
            at: DateTime::UNIX_EPOCH,
            product: ProductName::parse("thermo-x").expect("valid"),
            revision: Revision(7),
            actor: "a".into(),
            remote: None,
            action: action.into(),
            version: Some("1.4.0-rc.1".into()),
            channel: channel.map(Into::into),
            details,
            before: Value::Null,
            after: Value::Null,
            verdict: Vec::new(),
            link: None,
        }
    }

    fn told(plan: &Plan, entry: &AuditEntry) -> Vec<String> {
        let version = Version::parse("1.4.0-rc.1").expect("valid");
        let wanted = plan.wanted(entry, Some(&version), &[key()]);
        assert!(wanted.iter().all(|wanted| wanted.revision == Revision(7)));
        let text = |WantedPurge { target, .. }: WantedPurge| {
            format!("{} {} {}", target.action, target.kind, target.object)
        };
        wanted.into_iter().map(text).collect()
    }

    #[test]
    fn what_was_taken_back_is_deleted_and_answers_are_invalidated() {
        let recall = entry("release.recall", None, Value::Null);
        let by_url =
            Plan { objects: Objects::Url("https://fw.example.com".into()), checks: Checks::Uncached };
        assert_eq!(told(&by_url, &recall), ["delete url https://fw.example.com/thermo-x/1.4.0-rc.1/app.bin"]);
        let by_tag = Plan {
            objects: Objects::Tag("r-{product}-{version}".into()),
            checks: Checks::Tag("c-{product}".into()),
        };
        assert_eq!(told(&by_tag, &recall), ["delete tag r-thermo-x-1.4.0-rc.1", "invalidate tag c-thermo-x"]);
        let by_code =
            Plan { objects: Objects::Cpcodes(vec!["1".into()]), checks: Checks::Cpcodes(vec!["2".into()]) };
        assert_eq!(told(&by_code, &recall), ["delete cpcode 1", "invalidate cpcode 2"]);
    }

    #[test]
    fn answers_are_invalidated_by_what_they_tell() {
        let plan =
            Plan { objects: Objects::Cpcodes(vec!["1".into()]), checks: Checks::Cpcodes(vec!["2".into()]) };
        for (action, channel, details, changes) in [
            ("channel.promote", Some("stable"), json!({}), true),
            ("channel.promote", Some("stable"), json!({"pending": true}), false),
            ("channel.offer", Some("stable"), Value::Null, true),
            ("image.publish", Some("stable"), json!({}), true),
            ("image.publish", Some("stable"), json!({"pending": true}), false),
            ("image.publish", None, json!({}), false),
            ("release.path", None, json!({}), true),
            ("channel.refuse", Some("stable"), json!({}), false),
            ("product.create", None, json!({}), false),
            ("release.attach", None, json!({}), false),
        ] {
            let expected: &[&str] = if changes { &["invalidate cpcode 2"] } else { &[] };
            assert_eq!(told(&plan, &entry(action, channel, details)), expected, "{action} {channel:?}");
        }
    }
}
