//! What is done with a body's bytes as they pass: counted, hashed, inspected, and verified against a detached
//! signature. Memory is bounded, whatever the size, by what each of these keeps.

use std::sync::Arc;

use chrono::Utc;

use super::digest::Hasher;
use crate::{
    domain::{Digests, Facts, Policy},
    version_check::{Arrived, Candidate, detached, inspect::Inspection},
};

/// Takes bytes.
pub struct Intake {
    hasher: Hasher,
    inspection: Inspection,
    detached: Option<detached::Verifier>,
}

/// What was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Of all the bytes.
    pub digests: Digests,
    /// For the version check.
    pub arrived: Arrived,
}

impl Intake {
    /// For an image of a product with that policy.
    pub fn new(policy: &Policy, candidate: &Candidate) -> Self {
        let detached = candidate.signature.as_ref().map(|signature| signature.verifier(policy));
        Self { hasher: Hasher::default(), inspection: Inspection::default(), detached }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.inspection.update(bytes);
        if let Some(detached) = &mut self.detached {
            detached.update(bytes);
        }
    }

    /// How many bytes there were up to now.
    pub fn size(&self) -> u64 {
        self.hasher.size()
    }

    /// What the image has said of itself up to now.
    pub fn so_far(&self) -> Option<&Facts> {
        self.inspection.so_far()
    }

    /// The body is at its end.
    pub fn finish(self) -> Taken {
        let (size, digests) = self.hasher.finish();
        let arrived = Arrived {
            size,
            sha256: digests.sha256,
            report: Arc::new(self.inspection.finish()),
            detached: self.detached.map(detached::Verifier::finish),
            at: Utc::now(),
        };
        Taken { digests, arrived }
    }
}
