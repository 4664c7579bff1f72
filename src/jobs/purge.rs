//! Makes the CDN forget what the catalogue's changes want forgotten.
//!
//! # Flow
//! 1. Entries of the audit log behind the cursor are turned into purges, in one transaction with the cursor's move: this
//!    is the outbox, and it cannot miss a change, as every change has its entry.
//! 2. Purges that are due are packed into requests and sent. What the CDN accepts is marked so; what it refuses as a
//!    whole is halved until the bad object is alone, which is marked as failed and told loudly, and tried again rarely.
//! 3. What cannot be sent now is put off, all of it: the CDN, or our way to it, is what is wrong.
//!
//! # Invariants
//! - Copies of images that are to go are deleted from the edge as soon as possible. Cached check answers are invalidated
//!   or deleted a little later: until each replica has the change in its snapshot, an edge that asks would be told, and
//!   keep, the old answer.
//! - A device that was told in these seconds makes its edge fetch the image anew. So images are deleted once more, when
//!   nobody is told any more. Whose link is older may fetch it until that ends.
//! - One replica does it, by a lease; two at once would do it twice, which is harmless.
//!
//! # What it does not do
//! Decide what a change wants purged (`cdn::purge::Effect`). Wait until the CDN has done it: the CDN cannot be asked.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use uuid::Uuid;

use super::{Reconciler, awake::Awake, earlier_life};
use crate::{
    bucket::ObjectKey,
    catalogue::{Acceptance, AskedPurge, Catalogue, shown_settings},
    cdn::purge::{Effect, FastPurge, Images, OfRelease, Outcome, Plan, Wanted, pack},
    domain::{
        AuditEntry, FileName, Image, Release, Revision, Version,
        purge::{Purge, PurgeAction, PurgeKind, PurgeTarget},
    },
    error::{Error, Kind, Result},
    publishing::crash,
    telemetry::Metrics,
};

/// The duty's name.
const DUTY: &str = "purge";
/// How long this replica leads without saying so again.
const LEASE: Duration = Duration::from_secs(20);
/// How often it looks, though nothing has changed: for what was put off.
const LOOK: Duration = Duration::from_secs(5);
/// Until then every replica has a change in its snapshot: each asks the catalogue every second.
const SNAPSHOTS_FOLLOW: Duration = Duration::from_secs(3);
/// Until then nobody is told of what was taken back: the purge of check answers has gone out after [`SNAPSHOTS_FOLLOW`], at
/// the next look, and takes about five seconds, as Akamai says.
const NOBODY_IS_TOLD: Duration = Duration::from_secs(15);
/// When an object that the CDN refuses is sent again: soon, as the account may just have been set up, and then ever later, up
/// to the longest.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
const REFUSED_AGAIN_AT_MOST: Duration = Duration::from_secs(3600);
/// A longer wait for the rate limit is left to the next pass.
const SHORT_WAIT: Duration = Duration::from_secs(2);
/// Entries of the audit log in one transaction.
const ENTRIES: u32 = 200;
/// Purges that are read at once.
const PURGES: u32 = 20_000;

/// The reconciler.
pub struct PurgeJob {
    catalogue: Arc<dyn Catalogue>,
    holder: Uuid,
    /// The holder id of the process that used this data directory before: it is dead, so its lead need not run out.
    earlier_life: Option<Uuid>,
    client: Arc<FastPurge>,
    plan: Plan,
    metrics: Arc<Metrics>,
    awake: Awake,
}

impl PurgeJob {
    /// A reconciler of this replica.
    pub fn new(
        catalogue: Arc<dyn Catalogue>,
        (holder, earlier_life): (Uuid, Option<Uuid>),
        client: FastPurge,
        plan: Plan,
        metrics: Arc<Metrics>,
        awake: Awake,
    ) -> Self {
        Self { catalogue, holder, earlier_life, client: Arc::new(client), plan, metrics, awake }
    }
}

#[async_trait]
impl Reconciler for PurgeJob {
    fn name(&self) -> &'static str {
        "purge"
    }

    fn period(&self) -> Duration {
        Duration::from_millis(500)
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        if !self.awake.is_time() {
            return Ok(None);
        }
        self.awake.rest(LOOK);
        earlier_life::stop_leading(&mut self.earlier_life, DUTY, &*self.catalogue).await?;
        if !self.catalogue.lead(DUTY, self.holder, LEASE).await? {
            self.metrics.purges(&self.catalogue.purge_counts().await?);
            return Ok(None);
        }
        let asked = self.ask().await?;
        if asked > 0 {
            crash::point("purge-asked");
            self.awake.rest(SNAPSHOTS_FOLLOW);
        }
        let sent = self.send().await;
        let counts = self.catalogue.purge_counts().await?;
        self.metrics.purges(&counts);
        let accepted = sent?;
        Ok((asked + accepted > 0).then(|| {
            format!(
                "asked for {asked} purges; {accepted} accepted, {} to go, {} refused",
                counts.asked, counts.failed
            )
        }))
    }
}

impl PurgeJob {
    /// Turns the audit log behind the cursor into purges; says how many.
    async fn ask(&self) -> Result<usize> {
        let mut count = 0;
        loop {
            let from = self.catalogue.purge_cursor().await?;
            let page = self.catalogue.audit_after(from, ENTRIES).await?;
            let Some(last) = page.entries.last() else { return Ok(count) };
            let to = last.revision;
            let mut asked = Asked::default();
            for entry in &page.entries {
                let effect = Effect::of(entry, shown_settings);
                let releases = self.named(entry, effect.images).await?;
                asked.add(self.plan.wanted(entry, effect, &releases));
            }
            let asked = asked.all();
            // Else another replica was faster; the next look begins where it ended.
            if self.catalogue.ask_purges(from, to, &asked).await? {
                count += asked.len();
            }
            if !page.more {
                return Ok(count);
            }
        }
    }

    /// The images that the entry is about, by release.
    async fn named(&self, entry: &AuditEntry, images: Images) -> Result<Vec<OfRelease>> {
        let version = entry.version.as_deref().and_then(|version| Version::parse(version).ok());
        let is_meant = |release: &Release, image: &Image| match images {
            Images::Keep | Images::Listed => false,
            Images::OfRelease => version.as_ref() == Some(&release.version),
            Images::TakenBack => release.recall.is_some() || image.removed_at.is_some(),
            Images::All => true,
        };
        match images {
            Images::Keep => return Ok(Vec::new()),
            Images::Listed => return Ok(listed(entry)),
            Images::OfRelease | Images::TakenBack | Images::All => {}
        }
        let state = self.catalogue.product(&entry.product).await?;
        let releases = state.iter().flat_map(|state| &state.releases).map(|release| {
            let meant = release.images.iter().filter(|image| is_meant(release, image));
            let key = |image: &Image| ObjectKey::image(&entry.product, &release.version, &image.filename);
            (release.version.clone(), meant.map(key).collect::<Vec<_>>())
        });
        Ok(releases.filter(|(_, keys)| !keys.is_empty()).collect())
    }

    /// Sends what is due; says how many objects were accepted.
    async fn send(&self) -> Result<usize> {
        let due = self.catalogue.due_purges(PURGES).await?;
        let mut groups: BTreeMap<(PurgeAction, PurgeKind), Vec<Purge>> = BTreeMap::new();
        for purge in due {
            let target = &purge.wanted.target;
            groups.entry((target.action, target.kind)).or_default().push(purge);
        }
        let mut accepted = 0;
        let mut trouble = None;
        for ((action, kind), purges) in groups {
            match self.send_group(action, kind, &purges).await {
                Ok(count) => accepted += count,
                Err(error) => trouble = Some(error),
            }
        }
        trouble.map_or(Ok(accepted), Err)
    }

    async fn send_group(&self, action: PurgeAction, kind: PurgeKind, purges: &[Purge]) -> Result<usize> {
        // An object that several changes want purged is named once.
        let mut named: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
        let mut attempts: BTreeMap<&str, u32> = BTreeMap::new();
        for purge in purges {
            let object = purge.wanted.target.object.as_str();
            named.entry(object).or_default().push(purge.id);
            let most = attempts.entry(object).or_default();
            *most = purge.attempts.max(*most);
        }
        let objects: Vec<String> = named.keys().map(|object| (*object).to_owned()).collect();
        let ids = |objects: &[String]| -> Vec<Uuid> {
            objects.iter().filter_map(|object| named.get(object.as_str())).flatten().copied().collect()
        };
        let mut requests: Vec<&[String]> =
            pack(kind, &objects).into_iter().map(|request| &objects[request]).rev().collect();
        let mut count = 0;
        let mut led = Instant::now();
        while let Some(request) = requests.pop() {
            if led.elapsed() > LEASE / 3 {
                led = Instant::now();
                if !self.catalogue.lead(DUTY, self.holder, LEASE).await? {
                    return Ok(count);
                }
            }
            match self.client.send(action, kind, request).await? {
                Outcome::Accepted { purge_id, support_id, estimated } => {
                    crash::point("purge-sent");
                    let acceptance = Acceptance { purge_id, support_id, estimated };
                    self.catalogue.accept_purges(&ids(request), &acceptance).await?;
                    count += request.len();
                    tracing::info!(
                        %action, %kind, objects = request.len(), purge_id = acceptance.purge_id,
                        support_id = acceptance.support_id, estimated = ?acceptance.estimated, "the CDN purges"
                    );
                }
                Outcome::Refused(why) => match request {
                    [object] => {
                        tracing::error!(
                            %action, %kind, object, why,
                            "the CDN refuses to purge this: its edges may go on serving it. Check the account's rights \
                             and cdn.purge; it is tried again ever later, at last every hour"
                        );
                        let delay = refused_again(attempts.get(object.as_str()).copied().unwrap_or_default());
                        self.catalogue.put_off_purges(&ids(request), &why, true, delay).await?;
                    }
                    many => {
                        let (one, other) = many.split_at(many.len() / 2);
                        requests.extend([other, one]);
                    }
                },
                Outcome::Later { after, .. } if after <= SHORT_WAIT => {
                    tokio::time::sleep(after).await;
                    requests.push(request);
                }
                Outcome::Later { why, after } => {
                    requests.push(request);
                    let left: Vec<Uuid> = requests.iter().flat_map(|request| ids(request)).collect();
                    self.catalogue.put_off_purges(&left, &why, false, after).await?;
                    let message = format!("the CDN does not take purges: {why}; {} objects wait", left.len());
                    return Err(Error::new(Kind::Unavailable, "cdn-unavailable", message));
                }
            }
        }
        Ok(count)
    }
}

/// How long an object that is refused waits that was sent so often before.
fn refused_again(attempts: u32) -> Duration {
    (REFUSED_AGAIN * 4_u32.pow(attempts.min(8))).min(REFUSED_AGAIN_AT_MOST)
}

/// Purges that are to be asked for, each once.
#[derive(Default)]
struct Asked(BTreeMap<(PurgeTarget, Option<Revision>), AskedPurge>);

impl Asked {
    fn add(&mut self, Wanted { images, answers }: Wanted) {
        let at_once = images.into_iter().map(|wanted| (wanted, Duration::ZERO, Some(NOBODY_IS_TOLD)));
        let later = answers.into_iter().map(|wanted| (wanted, SNAPSHOTS_FOLLOW, None));
        for (wanted, delay, again) in at_once.chain(later) {
            // What is deleted is told of with its change. Of many changes in a row that invalidate the same, one is enough.
            let revision = (wanted.target.action == PurgeAction::Delete).then_some(wanted.revision);
            self.0.insert((wanted.target.clone(), revision), AskedPurge { wanted, delay, again });
        }
    }

    fn all(self) -> Vec<AskedPurge> {
        self.0.into_values().collect()
    }
}

/// The images that a removal names: they may be of several releases.
fn listed(entry: &AuditEntry) -> Vec<OfRelease> {
    let mut releases: BTreeMap<String, OfRelease> = BTreeMap::new();
    for image in entry.details["images"].as_array().into_iter().flatten() {
        let text = |name: &str| image[name].as_str().unwrap_or_default();
        let (Ok(version), Ok(filename)) =
            (Version::parse(text("version")), FileName::parse(text("filename")))
        else {
            continue;
        };
        let key = ObjectKey::image(&entry.product, &version, &filename);
        releases.entry(version.to_string()).or_insert((version, Vec::new())).1.push(key);
    }
    releases.into_values().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{ProductName, purge::WantedPurge};

    #[test]
    fn what_is_refused_is_sent_again_soon_and_then_ever_later() {
        let minutes = [0, 1, 2, 3, 100].map(|attempts| refused_again(attempts).as_secs() / 60);
        assert_eq!(minutes, [1, 4, 16, 60, 60]);
    }

    #[test]
    fn a_removal_names_images_of_several_releases() {
        let entry = AuditEntry {
            at: chrono::DateTime::UNIX_EPOCH,
            product: ProductName::parse("thermo-x").expect("valid"),
            revision: Revision(7),
            actor: "a".into(),
            remote: None,
            action: "image.remove".into(),
            version: None,
            channel: None,
            details: json!({"images": [
                {"version": "1.0.0", "filename": "a.bin"}, {"version": "1.1.0", "filename": "b.bin"},
                {"version": "1.0.0", "filename": "c.bin"},
            ]}),
            before: serde_json::Value::Null,
            after: serde_json::Value::Null,
            verdict: Vec::new(),
            link: None,
        };
        let shown: Vec<_> = listed(&entry)
            .into_iter()
            .map(|(version, keys)| {
                (version.to_string(), keys.iter().map(ToString::to_string).collect::<Vec<_>>())
            })
            .collect();
        let expected = [
            ("1.0.0".to_owned(), vec!["thermo-x/1.0.0/a.bin".to_owned(), "thermo-x/1.0.0/c.bin".to_owned()]),
            ("1.1.0".to_owned(), vec!["thermo-x/1.1.0/b.bin".to_owned()]),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn answers_wait_for_the_snapshots_whatever_is_done_to_them() {
        let wanted = |revision: u64, action, object: &str| WantedPurge {
            revision: Revision(revision),
            product: ProductName::parse("thermo-x").expect("valid"),
            version: None,
            target: PurgeTarget { action, kind: PurgeKind::Tag, object: object.to_owned() },
        };
        let mut asked = Asked::default();
        for revision in 1..=2 {
            let answers = vec![wanted(revision, PurgeAction::Invalidate, "c")];
            asked.add(Wanted { images: Vec::new(), answers });
        }
        for revision in 3..=4 {
            asked.add(Wanted {
                images: vec![wanted(revision, PurgeAction::Delete, "r")],
                answers: vec![wanted(revision, PurgeAction::Delete, "c")],
            });
        }
        let mut told: Vec<_> = asked
            .all()
            .into_iter()
            .map(|AskedPurge { wanted, delay, again }| {
                let target = wanted.target;
                assert_eq!(again.is_some(), target.object == "r", "images are deleted twice");
                (wanted.revision.0, target.action.as_str(), target.object, delay)
            })
            .collect();
        told.sort();
        let (now, later) = (Duration::ZERO, SNAPSHOTS_FOLLOW);
        let of = |revision, action, object: &str, delay| (revision, action, object.to_owned(), delay);
        assert_eq!(
            told,
            [
                of(2, "invalidate", "c", later),
                of(3, "delete", "c", later),
                of(3, "delete", "r", now),
                of(4, "delete", "c", later),
                of(4, "delete", "r", now),
            ]
        );
    }
}
