use super::Inspector;

pub(super) fn probe(_head: &[u8]) -> Option<Box<dyn Inspector>> {
    None
}
