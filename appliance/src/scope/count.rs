//! How many: addresses and probes, exact even where they outgrow 128 bits.

use std::borrow::Cow;
use std::fmt;

use portolan_scanner::net::Ranges;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// The largest integer that every JSON reader keeps exactly.
const SAFE: u128 = 1 << 53;

/// A count of 192 bits: 2^128 addresses with 65,535 ports each is still exact. In JSON a number, beyond 2^53 a
/// string of digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count {
    /// Whole multiples of 2^128. Stands first, so that the derived order is the number's.
    high: u64,
    low: u128,
}

impl Count {
    /// How many addresses the set holds.
    #[must_use]
    pub fn of(addresses: &Ranges) -> Self {
        let more = |sum: Self, by: u128| {
            let (low, over) = sum.low.overflowing_add(by);
            Self { high: sum.high + u64::from(over), low }
        };
        addresses.iter().fold(Self::default(), |sum, run| more(more(sum, run.last - run.first), 1))
    }

    /// This many times `factor`.
    #[must_use]
    pub fn times(self, factor: u32) -> Self {
        let factor = u128::from(factor);
        let (upper, lower) = (self.low >> 64, self.low & u128::from(u64::MAX));
        let (lower, upper) = (lower * factor, upper * factor);
        let (low, over) = lower.overflowing_add(upper << 64);
        // At most 1 × 2^32 + 2^32 + 1: a set holds no more than 2^128 addresses.
        let high = u128::from(self.high) * factor + (upper >> 64) + u128::from(over);
        Self { high: u64::try_from(high).unwrap_or(u64::MAX), low }
    }

    /// The number, if 128 bits hold it.
    #[must_use]
    pub fn as_u128(self) -> Option<u128> {
        (self.high == 0).then_some(self.low)
    }
}

impl From<u128> for Count {
    fn from(low: u128) -> Self {
        Self { high: 0, low }
    }
}

impl fmt::Display for Count {
    /// Digits alone; `{:#}` groups them by commas, as sentences do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Long division by 10^9, limb by limb of 32 bits from the top.
        let mut limbs = [
            self.high >> 32,
            self.high & 0xffff_ffff,
            part(self.low, 96),
            part(self.low, 64),
            part(self.low, 32),
            part(self.low, 0),
        ];
        let mut groups = Vec::new();
        while limbs.iter().any(|limb| *limb > 0) || groups.is_empty() {
            let mut rest = 0;
            for limb in &mut limbs {
                let sum = (rest << 32) | *limb;
                *limb = sum / 1_000_000_000;
                rest = sum % 1_000_000_000;
            }
            groups.push(format!("{rest:09}"));
        }
        let digits: String = groups.into_iter().rev().collect();
        let digits = digits.trim_start_matches('0');
        let digits = if digits.is_empty() { "0" } else { digits };
        if !f.alternate() {
            return f.write_str(digits);
        }
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at) % 3 == 0 {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

fn part(number: u128, shift: u32) -> u64 {
    u64::try_from((number >> shift) & 0xffff_ffff).expect("32 bits are left")
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match u64::try_from(self.low) {
            Ok(small) if self.high == 0 && self.low <= SAFE => serializer.serialize_u64(small),
            _ => serializer.collect_str(self),
        }
    }
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$",
            "description": "a count; beyond 2^53 as a string of digits"
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(text: &str) -> Count {
        Count::of(&Ranges::parse(text).unwrap())
    }

    #[test]
    fn the_whole_of_ipv6_with_every_port_is_counted_exactly() {
        let all = of("::/0");
        assert_eq!(all.to_string(), "340282366920938463463374607431768211456");
        assert_eq!(all.as_u128(), None);
        // 2^128 × 65535, by any calculator with long numbers.
        assert_eq!(all.times(65_535).to_string(), "22300404916163702203072254898040929737768960");
        assert_eq!(
            format!("{:#}", all.times(65_535)),
            "22,300,404,916,163,702,203,072,254,898,040,929,737,768,960"
        );
    }

    #[test]
    fn beyond_what_json_keeps_it_is_a_string() {
        assert_eq!(json!(Count::from(SAFE)), json!(9_007_199_254_740_992_u64));
        assert_eq!(json!(Count::from(SAFE + 1)), json!("9007199254740993"));
        assert_eq!(json!(of("10.0.0.0/24, 10.0.0.9")), json!(256));
        assert_eq!(json!(Count::default()), json!(0));
    }

    proptest! {
        #[test]
        fn small_counts_are_as_u128_says(low: u64, factor: u32) {
            let product = Count::from(u128::from(low)).times(factor);
            prop_assert_eq!(product.as_u128(), Some(u128::from(low) * u128::from(factor)));
            prop_assert_eq!(product.to_string(), (u128::from(low) * u128::from(factor)).to_string());
        }

        #[test]
        fn order_is_the_numbers(a: u128, b: u128) {
            prop_assert_eq!(Count::from(a).cmp(&Count::from(b)), a.cmp(&b));
            prop_assert!(Count::from(a) < of("::/0"));
        }
    }
}
