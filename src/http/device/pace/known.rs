//! Values by their number of seconds, made the first time that one is asked for.
//!
//! Looking one up is a multiplication and, nearly always, one read of memory: no lock, and nothing that cores contend
//! for. Nothing is ever dropped, so it is bounded: who finds no place makes the value anew each time, which is
//! slower and never wrong. What products set are a few dozen different times, not thousands.

use std::sync::OnceLock;

/// How many values are kept.
const PLACES: usize = 256;
/// In how many places a value may be.
const TRIES: usize = 16;

/// The values.
pub(super) struct Known<T>(Box<[OnceLock<(u32, T)>]>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self((0..PLACES).map(|_| OnceLock::new()).collect())
    }
}

impl<T> Known<T> {
    /// The value of that many seconds, which `make` makes if it is not there yet; `None` = there is no place for it.
    pub(super) fn get(&self, seconds: u32, make: impl Fn() -> T) -> Option<&T> {
        // Knuth's multiplicative hash: most times are multiples of 60.
        let first = (seconds.wrapping_mul(2_654_435_769) >> 24) as usize;
        let places = (first..first + TRIES).map(|place| &self.0[place % PLACES]);
        places
            .map(|place| place.get_or_init(|| (seconds, make())))
            .find(|(of, _)| *of == seconds)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_has_its_own_value_and_too_many_have_none() {
        let known = Known::default();
        let asked: Vec<u32> = (0..10_000).map(|n| n * 60).collect();
        let kept = asked.iter().filter(|&&seconds| {
            let value = known.get(seconds, || seconds + 1);
            assert!(value.is_none_or(|value| *value == seconds + 1));
            value.is_some()
        });
        let kept = kept.count();
        assert!((PLACES / 2..=PLACES).contains(&kept), "{kept}");
        assert_eq!(known.get(0, || unreachable!("it is there")), Some(&1));
    }
}
