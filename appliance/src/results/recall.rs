//! How complete a scan's answer is, as pages, JSON and exports say it: from a random sample that was probed twice.

use portolan_scanner::wire::Sample;
use schemars::JsonSchema;
use serde::Serialize;

use super::Sweep;

/// Below this, in percent, a scan's recall is called low.
const LOW: f64 = 99.0;
/// One minus the confidence.
const DOUBT: f64 = 0.05;
/// The largest sample that is calculated with.
const MOST: u128 = 10_000_000;

/// What share of the ports that answer a scan found, as far as its sample says.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Recall {
    /// With 95 % confidence at least so many percent, rounded down to hundredths; none where it was not measured.
    pub at_least_percent: Option<f64>,
    /// Pairs of host and port that were probed a second time.
    pub probed: u64,
    /// Of those, how many answered the second time, open or closed.
    pub answered: u64,
    /// Of those that answered, how many had not answered the first time.
    pub missed: u64,
    /// Whether something had been missed and the bound is below 99 %. Below it without a miss, the sample was small.
    pub low: bool,
    /// The same in words.
    pub words: String,
}

impl Recall {
    /// What a sample says.
    #[must_use]
    pub fn of(sample: Sample) -> Self {
        let Sample { probed, answered, missed } = sample;
        let percent = at_least(sample).map(|share| (share * 10_000.0).floor() / 100.0);
        let low = percent.is_some_and(|percent| percent < LOW);
        let words = match percent {
            None if probed == 0 => "not measured: nothing was probed a second time".to_owned(),
            None => {
                format!("not measured: none of the {} pairs probed a second time answered", grouped(probed))
            }
            Some(percent) => format!(
                "{}recall ≥ {percent:.2} % (95 % confidence; {} of {} answers had been missed{})",
                if low && missed > 0 { "low " } else { "" },
                grouped(missed),
                grouped(answered),
                if low && missed == 0 { ", a small sample" } else { "" }
            ),
        };
        Self { at_least_percent: percent, probed, answered, missed, low: low && missed > 0, words }
    }

    /// Of what a scan brought from one vantage.
    #[must_use]
    pub fn of_sweep(sweep: Option<&Sweep>) -> Self {
        match sweep {
            Some(sweep) => Self::of(sweep.sample),
            None => Self { words: "not measured: no result yet".to_owned(), ..Self::of(Sample::default()) },
        }
    }

    /// For a column of a file: the percentage, or nothing.
    #[must_use]
    pub fn cell(&self) -> String {
        self.at_least_percent.map(|percent| format!("{percent:.2}")).unwrap_or_default()
    }
}

/// The share of the answers that is found at least, with 95 % confidence: the one-sided lower bound of Clopper and
/// Pearson (1934), exact for independent draws. None where nothing answered.
fn at_least(sample: Sample) -> Option<f64> {
    if sample.answered == 0 {
        return None;
    }
    // Beyond ten million a smaller sample of the same share says hardly less, and never more.
    let (mut answered, mut missed) = (u128::from(sample.answered), u128::from(sample.missed));
    if answered > MOST {
        missed = (missed * MOST).div_ceil(answered);
        answered = MOST;
    }
    let count = |number: u128| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let (n, k) = (count(answered), count(missed));
    if k >= n {
        return Some(0.0);
    }
    // The greatest share of misses with which so few would still be seen in one sample of twenty.
    let (mut low, mut high) = (k / n, 1.0);
    for _ in 0..60 {
        let share = f64::midpoint(low, high);
        if at_most(k, n, share) > DOUBT { low = share } else { high = share }
    }
    Some(1.0 - high)
}

/// The chance of at most `k` of `n`, each with the chance `p`; `p` is at least `k / n`.
fn at_most(k: f64, n: f64, p: f64) -> f64 {
    let choose = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    let mut term = (choose + k * p.ln() + (n - k) * (-p).ln_1p()).exp();
    let (mut sum, mut at) = (term, k);
    // Downwards from `k` each term is smaller than the one before.
    while at > 0.0 && term > sum * 1e-12 {
        term *= at / (n - at + 1.0) * (1.0 - p) / p;
        sum += term;
        at -= 1.0;
    }
    sum
}

/// By Stirling's series, exact to twelve digits.
fn ln_factorial(n: f64) -> f64 {
    let (mut x, mut less) = (n + 1.0, 0.0);
    while x < 16.0 {
        less += x.ln();
        x += 1.0;
    }
    let series = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1_260.0 * x * x)) / (x * x)) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - less
}

fn grouped(number: u64) -> String {
    format!("{:#}", crate::scope::Count::from(u128::from(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(probed: u64, answered: u64, missed: u64) -> Recall {
        Recall::of(Sample { probed, answered, missed })
    }

    #[test]
    fn a_sample_is_said_in_words_with_what_it_rests_on() {
        let good = of(9_000, 3_000, 0);
        assert_eq!(good.words, "recall ≥ 99.90 % (95 % confidence; 0 of 3,000 answers had been missed)");
        assert_eq!((good.at_least_percent, good.low, good.cell().as_str()), (Some(99.9), false, "99.90"));
        let low = of(9_000, 3_000, 300);
        assert!(low.low && low.words.starts_with("low recall ≥ 8"), "{}", low.words);
        let small = of(7, 7, 0);
        assert_eq!(
            small.words,
            "recall ≥ 65.18 % (95 % confidence; 0 of 7 answers had been missed, a small sample)"
        );
        assert!(!small.low, "little was looked at; nothing says that something is missing");
    }

    #[test]
    fn the_bound_is_the_one_that_tables_have() {
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
            let found = at_least(Sample { probed: answered, answered, missed }).unwrap();
            assert!((found - wanted).abs() < 1e-9, "{missed} of {answered}: {found}, not {wanted}");
        }
    }

    #[test]
    fn a_scanner_that_boasts_of_its_sample_gets_a_bound_all_the_same() {
        let most = Recall::of(Sample { probed: u64::MAX, answered: u64::MAX, missed: 1 });
        assert_eq!(most.at_least_percent, Some(99.99));
        assert_eq!(
            Recall::of(Sample { probed: u64::MAX, answered: u64::MAX, missed: u64::MAX }).at_least_percent,
            Some(0.0)
        );
    }

    #[test]
    fn what_was_not_measured_says_why_and_is_not_low() {
        let none = of(0, 0, 0);
        assert_eq!((none.at_least_percent, none.low, none.cell()), (None, false, String::new()));
        assert_eq!(none.words, "not measured: nothing was probed a second time");
        assert_eq!(
            of(1_200, 0, 0).words,
            "not measured: none of the 1,200 pairs probed a second time answered"
        );
        assert_eq!(Recall::of_sweep(None).words, "not measured: no result yet");
    }
}
