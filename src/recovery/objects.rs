//! The bucket's objects in the order of their keys, a page at a time, and the bytes of one.

use std::collections::VecDeque;

use crate::{
    bucket::{Bucket, ListedObject, NO_IMAGES, ObjectFacts, ObjectKey},
    domain::Policy,
    error::Result,
    publishing::intake::{Intake, Taken},
    version_check::Candidate,
};

/// A walk along all objects that may be images: neither manifests nor pieces of uploads.
pub(super) struct Objects<'a> {
    bucket: &'a Bucket,
    page: VecDeque<ListedObject>,
    after: Option<String>,
    done: bool,
}

impl<'a> Objects<'a> {
    pub(super) fn of(bucket: &'a Bucket) -> Self {
        Self { bucket, page: VecDeque::new(), after: None, done: false }
    }

    /// The next object, without going on.
    pub(super) async fn peek(&mut self) -> Result<Option<&ListedObject>> {
        while self.page.is_empty() && !self.done {
            let page = self.bucket.list(self.after.as_deref()).await?;
            match page.last() {
                None => self.done = true,
                Some(last) => self.after = Some(last.key.clone()),
            }
            let image = |object: &ListedObject| !object.key.starts_with(NO_IMAGES);
            self.page.extend(page.into_iter().filter(image));
        }
        Ok(self.page.front())
    }

    /// The next object.
    pub(super) async fn next(&mut self) -> Result<Option<ListedObject>> {
        self.peek().await?;
        Ok(self.page.pop_front())
    }
}

/// Reads an object of ours from its start to its end; `None` = it is gone, or carries other facts.
pub(super) async fn read(
    bucket: &Bucket,
    key: &ObjectKey,
    facts: &ObjectFacts,
    size: u64,
) -> Result<Option<Taken>> {
    let Some(object) = bucket.completed(key, facts, size).await? else { return Ok(None) };
    let candidate = Candidate {
        version: facts.version.clone(),
        filename: facts.filename.clone(),
        hardware: facts.hardware.clone(),
        channel: None,
        size: None,
        sha256: None,
        path: crate::domain::UpgradePath::default(),
        signature: None,
        consent: crate::version_check::Consent::default(),
    };
    let mut intake = Intake::new(&Policy::default(), &candidate);
    let mut bytes = object.read().await?;
    while let Some(next) = bytes.next().await? {
        intake.update(&next);
    }
    Ok(Some(intake.finish()))
}
