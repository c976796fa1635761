//! How complete a scan's answer is, as pages, JSON and exports say it: from a random sample that was probed twice.

use portolan_scanner::recall::{percent_of, recall_at_least};
use portolan_scanner::wire::Sample;
use schemars::JsonSchema;
use serde::Serialize;

use super::Sweep;

/// Below this, in percent, a scan's recall is called low.
const LOW: f64 = 99.0;

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
        let percent = recall_at_least(&sample).map(percent_of);
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
