//! What a fleet is made of, in shares: `1.3.0=70,1.2.0=30`.

use std::str::FromStr;

/// Values with their weights; at least one, and not all of weight 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix<T> {
    parts: Vec<(T, u32)>,
}

impl<T> Mix<T> {
    /// One value for all.
    pub fn of(value: T) -> Self {
        Self { parts: vec![(value, 1)] }
    }

    /// Parses `VALUE[=WEIGHT],…`; a value without a weight has the weight 1.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn parse<E: std::fmt::Display>(
        text: &str,
        value: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Self, String> {
        let part = |part: &str| {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let weight = u32::from_str(weight.trim())
                .map_err(|_| format!("{weight:?} is no weight: use a whole number, such as {name}=70"))?;
            Ok((value(name.trim()).map_err(|error| error.to_string())?, weight))
        };
        let parts = text.split(',').map(part).collect::<Result<Vec<_>, String>>()?;
        if parts.iter().all(|(_, weight)| *weight == 0) {
            return Err("all weights are 0: give one of them a share".to_owned());
        }
        Ok(Self { parts })
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().map(|(value, _)| value)
    }

    /// For so many devices the index of each one's value: exact shares, to the rounding, in shuffled order.
    pub fn deal(&self, devices: usize, random: &mut fastrand::Rng) -> Vec<u16> {
        let total: u128 = self.parts.iter().map(|(_, weight)| u128::from(*weight)).sum();
        let mut dealt = Vec::with_capacity(devices);
        let mut weight_so_far = 0;
        for (index, (_, weight)) in self.parts.iter().enumerate() {
            weight_so_far += u128::from(*weight);
            let end = devices as u128 * weight_so_far / total;
            // No more than `devices`, and nobody types 65,536 values.
            dealt.resize(usize::try_from(end).unwrap_or(devices), u16::try_from(index).unwrap_or(u16::MAX));
        }
        random.shuffle(&mut dealt);
        dealt
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Mix<String>, String> {
        Mix::parse(
            text,
            |value| {
                if value.is_empty() { Err("a value is missing") } else { Ok(value.to_owned()) }
            },
        )
    }

    #[test]
    fn weights_are_read_and_explained() {
        let mix = parse("a=70, b=30,c").expect("well-formed");
        assert_eq!(mix.parts, [("a".into(), 70), ("b".into(), 30), ("c".into(), 1)]);
        for (bad, word) in [
            ("", "missing"),
            ("a,", "missing"),
            ("a=x", "no weight"),
            ("a=-1", "no weight"),
            ("a=0,b=0", "all weights"),
        ] {
            let why = parse(bad).expect_err(bad);
            assert!(why.contains(word), "{bad}: {why}");
        }
    }

    proptest! {
        #[test]
        fn everybody_gets_one_and_shares_are_exact(
            weights in prop::collection::vec(0_u32..=u32::MAX, 1..6), devices in 0_usize..2000,
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            let mix = Mix { parts: weights.iter().map(|weight| ((), *weight)).collect() };
            let dealt = mix.deal(devices, &mut fastrand::Rng::with_seed(1));
            prop_assert_eq!(dealt.len(), devices);
            for (index, weight) in weights.iter().enumerate() {
                let got = dealt.iter().filter(|dealt| usize::from(**dealt) == index).count() as f64;
                let share = devices as f64 * f64::from(*weight) / total;
                prop_assert!((got - share).abs() <= 1.0, "{got} of {share}");
            }
        }
    }
}
