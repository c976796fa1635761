//! How much of what there is to be found a scan has found, from its sample.

use crate::wire::Sample;

/// How sure the bound is: in at least 95 of 100 scans the recall is not below it.
const CONFIDENCE: f64 = 0.95;

/// Counts are not kept exactly beyond this.
const MOST: u64 = 1_000_000_000;

/// The recall is the share of the ports that answer, open or closed, which the scan has heard answer. Gives its
/// one-sided lower bound at 95 % confidence (Clopper and Pearson 1934: the smallest recall with which so few misses
/// would come about in more than 5 of 100 samples); nothing if no second look was answered, as then nothing was
/// measured.
///
/// It rests on this:
/// - The sample is drawn from all pairs of host and port that were to be probed, each as likely as any other, by a random
///   order whose key is the job's seed. A host that is left alone meanwhile is not looked at a second time: of such
///   hosts nothing is measured.
/// - Whether the second look at a pair is lost does not depend on whether the first was. Of pairs that answer, those
///   which the second look hears are then a fair sample. Loss that comes and goes within less than the time between
///   both looks satisfies this; a host or a path that is dead to both is not seen, nor is a firewall that drops both.
/// - The state of a port does not make its answer more likely to be lost.
/// - Misses of different pairs do not depend on each other. Bursts of loss make the bound too good; the random order
///   spreads them over hosts and ports.
///
/// Probes of the scanner's own addresses, as its self-test makes them, are no part of it; nor are ports behind which
/// equipment is fragile, which are never asked twice for it.
pub fn recall_at_least(sample: &Sample) -> Option<f64> {
    let Sample { answered, missed, .. } = *sample;
    // Beyond that a smaller sample of the same share says hardly less, and never more.
    let too_many = answered.div_ceil(MOST).max(1);
    let (of, missed) = (answered / too_many, missed.div_ceil(too_many));
    (answered > 0).then(|| lower_bound(of.saturating_sub(missed), of))
}

/// A share in percent, cut after two decimals and not rounded: a bound is never said better than it is.
pub fn percent_of(share: f64) -> f64 {
    // What is a hair below a hundredth by the way numbers are kept is meant to be that hundredth.
    (share * 10_000.0 + 1e-7).floor() / 100.0
}

/// [`percent_of`] as it is written, with two decimals.
pub fn percent(share: f64) -> String {
    format!("{:.2}", percent_of(share))
}

/// The smallest probability of a hit with which `hits` or more `of` so many have a chance above `1 - CONFIDENCE`.
/// Good to seven digits for counts up to 10^9.
fn lower_bound(hits: u64, of: u64) -> f64 {
    if hits == 0 || of == 0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a bound on a count beyond 2^52 needs no more digits")]
    let (hits, misses) = (hits as f64, of.saturating_sub(hits) as f64);
    let (mut low, mut high) = (0.0, 1.0);
    while high - low > 1e-12 {
        let middle = f64::midpoint(low, high);
        // The chance of that many hits or more rises with the probability.
        if incomplete_beta(hits, misses + 1.0, middle) > 1.0 - CONFIDENCE {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

/// The regularised incomplete beta function I(x; a, b), for `a` and `b` of at least 1: the chance that of `a + b - 1`
/// trials at least `a` hit, each with probability `x`. By its continued fraction (Abramowitz and Stegun 26.5.8),
/// evaluated with Lentz's method.
#[expect(clippy::many_single_char_names, reason = "the names of the formula")]
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    // On this side it converges within some steps of the square root of a and b.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    let tiny = 1e-300;
    let away = |value: f64| if value.abs() < tiny { tiny } else { value };
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let (mut c, mut sum) = (1.0, d);
    let mut m = 1.0;
    while m < 1e6 {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        sum *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        sum *= d * c;
        if (d * c - 1.0).abs() < 1e-14 {
            break;
        }
        m += 1.0;
    }
    front * sum
}

/// The logarithm of the gamma function for `x` of at least 1: Stirling's series, from 16 on.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < 16.0 {
        below += x.ln();
        x += 1.0;
    }
    let square = x * x;
    let series =
        (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1_260.0 - 1.0 / (1_680.0 * square)) / square) / square) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - below
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "compared to some digits only")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(answered: u64, missed: u64) -> String {
        recall_at_least(&Sample { probed: answered, answered, missed }).map_or("not measured".into(), percent)
    }

    #[test]
    fn the_bound_agrees_with_a_sum_in_sixty_digits() {
        // Found by halving, with the binomial sum of each step calculated in 60 digits.
        let exact = [
            (1, 0, 0.049_999_999_999_999),
            (3_000, 0, 0.999_001_920_988_003),
            (30, 15, 0.338_892_661_609_514),
            (20, 1, 0.783_893_835_793_152),
            (3_000, 300, 0.890_532_744_990_926),
            (100, 99, 0.000_512_801_416_262),
            (50_000, 7, 0.999_737_053_891_013),
        ];
        for (answered, missed, wanted) in exact {
            let found = recall_at_least(&Sample { probed: answered, answered, missed }).unwrap();
            assert!((found - wanted).abs() < 1e-8, "{missed} of {answered}: {found}, not {wanted}");
        }
    }

    #[test]
    fn known_values_come_out() {
        // 0.05^(1/n) without a miss; others from tables of exact binomial limits.
        for (answered, missed, bound) in [
            (3_000, 0, "99.90"),
            (60, 0, "95.12"),
            (10, 0, "74.11"),
            (2, 0, "22.36"),
            (10, 1, "60.58"),
            (20, 2, "71.73"),
            (100, 5, "89.77"),
            (1_000, 10, "98.30"),
            (5, 5, "0.00"),
        ] {
            assert_eq!(said(answered, missed), bound, "{missed} of {answered}");
        }
        assert_eq!(said(0, 0), "not measured");
    }

    #[test]
    fn a_percentage_is_cut_and_never_better_than_it_is() {
        assert_eq!([0.999_99, 0.95, 0.123_456, 1.0].map(percent), ["99.99", "95.00", "12.34", "100.00"]);
    }

    #[test]
    fn the_bound_is_the_one_that_tables_have() {
        // Found by halving, with the binomial sum of each step calculated in 60 digits.
        for (answered, missed, exact) in [
            (1, 0, 0.049_999_999_999_999),
            (3_000, 0, 0.999_001_920_988_003),
            (30, 15, 0.338_892_661_609_514),
            (20, 1, 0.783_893_835_793_152),
            (3_000, 300, 0.890_532_744_990_926),
            (100, 99, 0.000_512_801_416_262),
            (50_000, 7, 0.999_737_053_891_013),
        ] {
            let found = lower_bound(answered - missed, answered);
            assert!((found - exact).abs() < 1e-9, "{missed} of {answered}: {found}, not {exact}");
        }
    }

    /// The chance of at least `hits` of `of`, by adding up.
    fn tail(hits: u64, of: u64, p: f64) -> f64 {
        let mut chance = (of as f64 * (-p).ln_1p()).exp();
        let mut sum = if hits == 0 { chance } else { 0.0 };
        for k in 1..=of {
            chance *= (of - k + 1) as f64 / k as f64 * p / (1.0 - p);
            sum += if k >= hits { chance } else { 0.0 };
        }
        sum
    }

    proptest! {
        #[test]
        fn at_the_bound_the_chance_is_one_in_twenty(of in 1u64..150, hits in 1u64..150) {
            let hits = hits.min(of);
            let bound = lower_bound(hits, of);
            prop_assert!((tail(hits, of, bound) - 0.05).abs() < 1e-6, "{bound}");
        }

        #[test]
        fn it_lies_below_what_was_seen_and_closes_in(answered in 1u64.., missed: u64) {
            let missed = missed % answered;
            let bound = recall_at_least(&Sample { probed: answered, answered, missed }).unwrap();
            let seen = (answered - missed) as f64 / answered as f64;
            prop_assert!((0.0..=1.0).contains(&bound) && bound <= seen + 1e-9, "{bound} {seen}");
            // Eight standard deviations.
            let counted = (answered as f64).min(5e8);
            prop_assert!(seen - bound <= 8.0 * (seen * (1.0 - seen) / counted).sqrt() + 4.0 / answered as f64 + 1e-7);
        }

        #[test]
        fn a_miss_more_never_makes_it_better(answered in 1u64..100_000, missed in 0u64..100_000) {
            let missed = missed % answered;
            prop_assert!(lower_bound(answered - missed, answered) >= lower_bound(answered - missed - 1, answered));
        }
    }
}
