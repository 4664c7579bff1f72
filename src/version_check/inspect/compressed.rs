use super::Inspector;

pub(super) mod inflate;

pub(super) fn probe(_head: &[u8]) -> Option<Box<dyn Inspector>> {
    None
}
