//! How what a change wants purged ([`Effect`]) is named for the CDN. Pure.
//!
//! A check's URL has the device's version and hardware in it, so the cached answers of a product cannot be listed as URLs:
//! they are named by a cache tag of the product (which our answers then carry), or by a CP code of their own. The tag is
//! not one that objects carry: a promotion must not make edges ask the bucket about every image.
//!
//! A CP code names everything that is counted under it. So one of check answers, deleted by a recall, takes the answers
//! of all products with it, which the device listener makes anew from memory; and one of images takes all images, which then
//! come from the bucket again. That is why no CP code may be named for both (`config::purge`): each promotion would take
//! the images too.

use super::effect::{Effect, Images};
use crate::{
    bucket::ObjectKey,
    domain::{
        AuditEntry, ProductName, Version,
        purge::{PurgeAction, PurgeKind, PurgeTarget, WantedPurge},
    },
};

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

/// Images of one release.
pub type OfRelease = (Version, Vec<ObjectKey>);

/// What a change wants purged.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Copies of images: at once.
    pub images: Vec<WantedPurge>,
    /// Answers to checks: only when no replica gives the old answer any more, or an edge would keep it again.
    pub answers: Vec<WantedPurge>,
}

impl Plan {
    /// What the effect of a change wants purged. `releases` are the images that it names.
    pub fn wanted(&self, entry: &AuditEntry, effect: Effect, releases: &[OfRelease]) -> Wanted {
        let about = entry.version.as_deref().and_then(|version| Version::parse(version).ok());
        let wanted = |version: Option<Version>, target| WantedPurge {
            revision: entry.revision,
            product: entry.product.clone(),
            version,
            target,
        };
        let answers = effect.answers.map(|action| self.answers(action, &entry.product)).unwrap_or_default();
        let images = if effect.images == Images::Keep { Vec::new() } else { self.images(entry, releases) };
        Wanted {
            images: images
                .into_iter()
                .map(|(version, target)| wanted(version.or_else(|| about.clone()), target))
                .collect(),
            answers: answers.into_iter().map(|target| wanted(about.clone(), target)).collect(),
        }
    }

    /// Each with the release that it belongs to, if it is one release's.
    fn images(&self, entry: &AuditEntry, releases: &[OfRelease]) -> Vec<(Option<Version>, PurgeTarget)> {
        let target = |kind, object| PurgeTarget { action: PurgeAction::Delete, kind, object };
        match &self.objects {
            Objects::Url(base) => releases
                .iter()
                .flat_map(|(version, keys)| keys.iter().map(move |key| (version, key)))
                .map(|(version, key)| {
                    (Some(version.clone()), target(PurgeKind::Url, format!("{base}/{key}")))
                })
                .collect(),
            Objects::Tag(template) => releases
                .iter()
                .map(|(version, _)| {
                    let tag = template.replace("{version}", &version.to_string());
                    let tag = tag.replace("{product}", entry.product.as_str());
                    (Some(version.clone()), target(PurgeKind::Tag, tag))
                })
                .collect(),
            Objects::Cpcodes(_) if releases.is_empty() => Vec::new(),
            Objects::Cpcodes(codes) => {
                codes.iter().map(|code| (None, target(PurgeKind::Cpcode, code.clone()))).collect()
            }
        }
    }

    fn answers(&self, action: PurgeAction, product: &ProductName) -> Vec<PurgeTarget> {
        let (kind, objects) = match &self.checks {
            Checks::Uncached => return Vec::new(),
            Checks::Tag(template) => (PurgeKind::Tag, vec![check_tag(template, product.as_str())]),
            Checks::Cpcodes(codes) => (PurgeKind::Cpcode, codes.clone()),
        };
        objects.into_iter().map(|object| PurgeTarget { action, kind, object }).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::DateTime;
    use serde_json::Value;

    use super::*;
    use crate::{cdn::tests::key, domain::Revision};

    pub(in super::super) fn entry(action: &str, channel: Option<&str>) -> AuditEntry {
        AuditEntry {
            at: DateTime::UNIX_EPOCH,
            product: ProductName::parse("thermo-x").expect("valid"),
            revision: Revision(7),
            actor: "a".into(),
            remote: None,
            action: action.into(),
            version: Some("1.4.0-rc.1".into()),
            channel: channel.map(Into::into),
            details: Value::Null,
            before: Value::Null,
            after: Value::Null,
            verdict: Vec::new(),
            link: None,
        }
    }

    fn version(text: &str) -> Version {
        Version::parse(text).expect("valid")
    }

    /// What is purged of images, and of answers.
    fn told(plan: &Plan, effect: Effect, releases: &[OfRelease]) -> [Vec<String>; 2] {
        let Wanted { images, answers } = plan.wanted(&entry("release.recall", None), effect, releases);
        let text = |wanted: WantedPurge| {
            assert_eq!(wanted.revision, Revision(7));
            let version = wanted.version.expect("of the entry, or its own");
            format!("{version}: {} {} {}", wanted.target.action, wanted.target.kind, wanted.target.object)
        };
        [images.into_iter().map(text).collect(), answers.into_iter().map(text).collect()]
    }

    #[test]
    fn images_and_answers_are_named_as_the_settings_say() {
        let releases = [(version("1.4.0-rc.1"), vec![key(), key()]), (version("2.0.0"), vec![key()])];
        let all = Effect { images: Images::All, answers: Some(PurgeAction::Delete) };
        let by_url =
            Plan { objects: Objects::Url("https://fw.example.com".into()), checks: Checks::Uncached };
        let url = "delete url https://fw.example.com/thermo-x/1.4.0-rc.1/app.bin";
        assert_eq!(
            told(&by_url, all, &releases),
            [
                vec![format!("1.4.0-rc.1: {url}"), format!("1.4.0-rc.1: {url}"), format!("2.0.0: {url}")],
                vec![]
            ]
        );
        let by_tag = Plan {
            objects: Objects::Tag("r-{product}-{version}".into()),
            checks: Checks::Tag("c-{product}".into()),
        };
        assert_eq!(
            told(&by_tag, all, &releases),
            [
                vec![
                    "1.4.0-rc.1: delete tag r-thermo-x-1.4.0-rc.1".to_owned(),
                    "2.0.0: delete tag r-thermo-x-2.0.0".to_owned()
                ],
                vec!["1.4.0-rc.1: delete tag c-thermo-x".to_owned()]
            ]
        );
        let by_code =
            Plan { objects: Objects::Cpcodes(vec!["1".into()]), checks: Checks::Cpcodes(vec!["2".into()]) };
        let [images, answers] = told(&by_code, all, &releases);
        assert_eq!((images, answers.len()), (vec!["1.4.0-rc.1: delete cpcode 1".to_owned()], 1));
        assert_eq!(told(&by_code, all, &[])[0], [""; 0], "no image, no purge of everything");
    }

    #[test]
    fn answers_are_purged_as_the_effect_says_and_images_stay_if_it_names_none() {
        let plan =
            Plan { objects: Objects::Cpcodes(vec!["1".into()]), checks: Checks::Tag("c-{product}".into()) };
        let releases = [(version("2.0.0"), vec![key()])];
        for (answers, expected) in [
            (None, vec![]),
            (Some(PurgeAction::Invalidate), vec!["1.4.0-rc.1: invalidate tag c-thermo-x".to_owned()]),
            (Some(PurgeAction::Delete), vec!["1.4.0-rc.1: delete tag c-thermo-x".to_owned()]),
        ] {
            let effect = Effect { images: Images::Keep, answers };
            assert_eq!(told(&plan, effect, &releases), [vec![], expected]);
        }
    }
}
