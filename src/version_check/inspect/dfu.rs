//! The DFU suffix (USB Device Firmware Upgrade 1.1, appendix B), which may stand behind any file.

use super::Report;

/// Holds back the last bytes of the stream until its end.
#[derive(Default)]
pub(super) struct Suffix {}

/// A suffix that was found.
pub(super) struct Found {}

impl Suffix {
    /// Takes the next bytes and hands on those that cannot be part of a suffix.
    pub fn update(&mut self, bytes: &[u8], inner: &mut dyn FnMut(&[u8])) {
        inner(bytes);
    }

    /// The end: hands on what was held back if it is no suffix.
    pub fn finish(self, _inner: &mut dyn FnMut(&[u8])) -> Option<Found> {
        None
    }
}

impl Found {
    /// Adds what the suffix says to the report.
    pub fn state(self, _report: &mut Report) {}
}
