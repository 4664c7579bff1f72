//! A publish without a declared version: the image states it.
//!
//! Key and reservation need the version before a byte is stored, so the first bytes are held back until the image has
//! stated it, at most [`HELD_BACK`] of them; a smaller image is held back as a whole. Then it goes on as any other.
//! What was read stays with the caller whatever happens, who goes on with it or reads the rest away.

use std::time::Duration;

use axum::body::BodyDataStream;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    domain::{Policy, Version},
    error::{Error, Kind, Result},
    publishing::body_interrupted,
    version_check::{Reason, Stated, inspect::Inspection, rule, stated_version},
};

/// How many bytes are held back for one image.
const HELD_BACK: usize = 4 * 1024 * 1024;
/// For how many images at once: with [`HELD_BACK`], this bounds the memory.
static IMAGES: Semaphore = Semaphore::const_new(8);
/// How long a client may send nothing.
const IDLE: Duration = Duration::from_secs(60);

/// The version that the image states, and the right to hold bytes back, which is kept until they are gone. `held` gets
/// what was read of the body.
pub(super) async fn version(
    policy: &Policy,
    body: &mut BodyDataStream,
    held: &mut Vec<Bytes>,
) -> Result<(Version, SemaphorePermit<'static>)> {
    let permit = IMAGES.try_acquire().map_err(|_| {
        Error::new(
            Kind::Busy,
            "too-many-uploads",
            "too many uploads without a version are under way: try again in a moment, or declare the version",
        )
        .retry_after(Duration::from_secs(5))
    })?;
    let mut inspection = Inspection::default();
    let mut size = 0;
    let stated = loop {
        let next = tokio::time::timeout(IDLE, body.next()).await.map_err(|_| body_interrupted())?;
        let Some(bytes) = next else {
            break stated_version(policy, &inspection.finish().facts);
        };
        let bytes = bytes.map_err(|error| body_interrupted().caused_by(error))?;
        inspection.update(&bytes);
        size += bytes.len();
        held.push(bytes);
        if let Some(facts) = inspection.so_far()
            && let stated @ Stated::Version(_) = stated_version(policy, facts)
        {
            break stated;
        }
        if size > HELD_BACK {
            break inspection.so_far().map_or(Stated::Nothing, |facts| stated_version(policy, facts));
        }
    };
    let why = match stated {
        Stated::Version(version) => return Ok((version, permit)),
        Stated::Unreadable(text) => {
            format!("the image states the version {text:?}, which does not read as SemVer")
        }
        Stated::Nothing if size > HELD_BACK => {
            format!("the image states no version in its first {} MiB", HELD_BACK / 1024 / 1024)
        }
        Stated::Nothing => "the image states no version".to_owned(),
    };
    let message =
        format!("{why}: declare it (POST …/releases/VERSION/images, or `firmament publish --version`)");
    Err(Error::refused(vec![Reason::new(rule::VERSION_NOT_STATED, message)]))
}
