//! Anything else: bytes that state nothing of themselves.

use super::{Facts, Inspector, Report};

struct Raw(Report);

/// Takes every image.
pub(super) fn probe(_head: &[u8]) -> Option<Box<dyn Inspector>> {
    Some(inspector())
}

/// The inspector that is left when no format is recognised.
pub(super) fn inspector() -> Box<dyn Inspector> {
    Box::new(Raw(Report { facts: Facts::of("raw"), ..Report::default() }))
}

impl Inspector for Raw {
    fn update(&mut self, _bytes: &[u8]) {}

    fn so_far(&self) -> Option<&Facts> {
        Some(&self.0.facts)
    }

    fn finish(self: Box<Self>) -> Report {
        self.0
    }
}
