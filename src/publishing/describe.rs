//! What a release says of itself beside its images: notes, what it fixes, its documents.

use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use sha2::{Digest, Sha256};

use super::{ATTEMPTS, Publishing, release_of, too_contended};
use crate::{
    catalogue::{Actor, Audit, Description, Written},
    domain::{Action, Attachment, FileName, ProductName, ProductState, Release, Security, Shown, Version},
    error::{Error, Kind, Result},
    version_check::{Reason, sbom},
};

/// The most documents of a release. They are in the database, which must stay quick to back up.
const MOST_ATTACHMENTS: usize = 16;

/// A request to change what a release says of itself.
#[derive(Debug, Clone)]
pub struct Describing {
    /// The product.
    pub product: ProductName,
    /// The release.
    pub version: Version,
    /// What it says from now on.
    pub change: Saying,
    /// Who and from where.
    pub actor: Actor,
}

/// What a release says.
#[derive(Debug, Clone)]
pub enum Saying {
    /// Notes in Markdown; `None` = none.
    Notes(Option<String>),
    /// What it fixes; `None` = nothing is known.
    Security(Option<Security>),
    /// A document.
    Attach {
        /// Unique within the release.
        name: FileName,
        /// Its bytes.
        content: Bytes,
        /// It may take the place of another one.
        replace: bool,
    },
    /// No such document any more.
    Detach(FileName),
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Described {
    /// The product as it is now.
    pub state: ProductState,
    /// Something was there before: changed, or equal already.
    pub was_there: bool,
}

impl Publishing {
    /// Changes what a release says of itself. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound` for the product, release or document; `Refused` for a document that is no bill of materials;
    /// `Conflict` for one that would replace another; or what the catalogue fails with.
    pub async fn describe(&self, request: &Describing) -> Result<Described> {
        let judged = match &request.change {
            Saying::Attach { content, .. } => Some(self.judge(content.clone()).await?),
            _ => None,
        };
        for _ in 0..ATTEMPTS {
            let state = self.product(&request.product).await?;
            let release = release_of(&state, &request.version)?;
            let Some((description, was_there)) = description(release, &request.change, judged.as_ref())?
            else {
                return Ok(Described { state, was_there: true });
            };
            let (action, shown) = match &description {
                Description::Notes(_) => (Action::ReleaseNotes, true),
                Description::Security(_) => (Action::ReleaseSecurity, false),
                Description::Attach(..) => (Action::ReleaseAttach, false),
                Description::Detach(_) => (Action::ReleaseDetach, false),
            };
            let audit = Audit {
                actor: request.actor.clone(),
                action,
                version: Some(request.version.clone()),
                details: match &request.change {
                    Saying::Attach { name, .. } | Saying::Detach(name) => {
                        serde_json::json!({ "attachment": name.to_string() })
                    }
                    _ => serde_json::Value::Null,
                },
                ..Audit::default()
            };
            let shown = Shown { release: Some(request.version.clone()), notes: shown, ..Shown::default() };
            let audit = audit.showing(shown, &state);
            let revision = state.product.revision;
            let written = self
                .catalogue
                .describe(&request.product, &request.version, &description, revision, &audit)
                .await?;
            if let Written::Done(state) = written {
                self.changed.notify_one();
                tracing::info!(
                    product = %request.product, version = %request.version, %action, actor = %request.actor,
                    "described"
                );
                return Ok(Described { state, was_there });
            }
        }
        Err(too_contended())
    }

    /// A document's facts, without its name. It counts as an upload: reading it takes memory and time.
    async fn judge(&self, content: Bytes) -> Result<(sbom::Sbom, [u8; 32])> {
        let _permit = self.uploads.try_acquire().map_err(|_| {
            Error::new(
                Kind::Busy,
                "too-many-uploads",
                "too many uploads are under way: try again in a moment",
            )
            .retry_after(Duration::from_secs(5))
        })?;
        let judged = tokio::task::spawn_blocking(move || {
            sbom::judge(&content).map(|sbom| (sbom, Sha256::digest(&content).into()))
        });
        judged.await.map_err(Error::internal)?.map_err(Error::refused)
    }
}

/// What must be written, and whether something is there that it changes; `None` = it is so already.
fn description(
    release: &Release,
    change: &Saying,
    judged: Option<&(sbom::Sbom, [u8; 32])>,
) -> Result<Option<(Description, bool)>> {
    let of_name = |name: &FileName| release.attachments.iter().find(|attachment| attachment.name == *name);
    Ok(match (change, judged) {
        (Saying::Notes(notes), _) if *notes == release.notes => None,
        (Saying::Notes(notes), _) => Some((Description::Notes(notes.clone()), release.notes.is_some())),
        (Saying::Security(security), _) if *security == release.security => None,
        (Saying::Security(security), _) => {
            Some((Description::Security(security.clone()), release.security.is_some()))
        }
        (Saying::Detach(name), _) => {
            let known = of_name(name).ok_or_else(|| unknown(release, name))?;
            Some((Description::Detach(known.name.clone()), true))
        }
        (Saying::Attach { name, content, replace }, Some((sbom, sha256))) => {
            let known = of_name(name);
            if known.is_some_and(|known| known.sha256 == *sha256) {
                return Ok(None);
            }
            if known.is_some() && !replace {
                return Err(Error::new(
                    Kind::Conflict,
                    "attachment-differs",
                    format!(
                        "{} has another document of the name {name}: say `replace` if this one is to take its place, or \
                         give it another name",
                        release.version
                    ),
                ));
            }
            if known.is_none() && release.attachments.len() >= MOST_ATTACHMENTS {
                let why =
                    format!("a release has at most {MOST_ATTACHMENTS} documents: remove or replace one");
                return Err(Error::refused(vec![Reason::new("attachments-too-many", why)]));
            }
            let attachment = Attachment {
                name: name.clone(),
                kind: sbom.kind,
                specification: sbom.specification.clone(),
                size: content.len() as u64,
                sha256: *sha256,
                created_at: Utc::now(),
            };
            Some((Description::Attach(attachment, content.clone()), known.is_some()))
        }
        (Saying::Attach { .. }, None) => return Err(Error::internal("a document was not judged")),
    })
}

/// There is no such document.
pub fn unknown(release: &Release, name: &FileName) -> Error {
    let names: Vec<&str> = release.attachments.iter().map(|attachment| attachment.name.as_str()).collect();
    let there =
        if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
    let message = format!("{} has no document {name}; {there}", release.version);
    Error::new(Kind::NotFound, "unknown-attachment", message)
}
