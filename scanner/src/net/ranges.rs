//! A set of addresses, kept as runs.

use std::fmt;

use super::{Cidr, Error, Range};

/// How many pieces one text may name.
const MAX_PIECES: usize = 100_000;

/// A set of addresses: its runs ascend, do not overlap and do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Ranges {
    runs: Vec<Range>,
    /// How many addresses lie before each run.
    before: Vec<u128>,
}

impl Ranges {
    /// The set of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads addresses, ranges (`10.0.0.1-10.0.0.9`) and subnets (`10.0.0.0/24`), separated by commas or white space.
    /// A blank text is the empty set.
    ///
    /// # Errors
    /// The first piece that cannot be read, by name; more than 100,000 pieces.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let pieces =
            text.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|piece| !piece.is_empty());
        let mut runs = Vec::new();
        for piece in pieces {
            if runs.len() == MAX_PIECES {
                return Err(Error::TooMany(MAX_PIECES));
            }
            runs.push(if piece.contains('/') { Cidr::parse(piece)?.range() } else { piece.parse()? });
        }
        Ok(runs.into_iter().collect())
    }

    fn from_sorted(runs: Vec<Range>) -> Self {
        let before = runs
            .iter()
            .scan(0u128, |sum, run| {
                let before = *sum;
                *sum = sum.saturating_add(run.count());
                Some(before)
            })
            .collect();
        Self { runs, before }
    }

    /// Every address of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// Every address of this set that is not in the other.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for run in &self.runs {
            // What of the run is not yet dealt with; none if a hole reached its end.
            let mut first = Some(run.first);
            let from = other.runs.partition_point(|hole| hole.last < run.first);
            for hole in other.runs[from..].iter().take_while(|hole| hole.first <= run.last) {
                left.extend(
                    first
                        .filter(|first| *first < hole.first)
                        .map(|first| Range { first, last: hole.first - 1 }),
                );
                first = hole.last.checked_add(1).filter(|next| *next <= run.last);
            }
            left.extend(first.map(|first| Range { first, last: run.last }));
        }
        Self::from_sorted(left)
    }

    /// Every address of both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        self.subtract(&self.subtract(other))
    }

    /// How many addresses; the whole of IPv6 counts as `u128::MAX`.
    pub fn count(&self) -> u128 {
        match (self.before.last(), self.runs.last()) {
            (Some(before), Some(run)) => before.saturating_add(run.count()),
            _ => 0,
        }
    }

    /// Whether there is no address in it.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The address at this place in ascending order, from 0.
    pub fn nth(&self, n: u128) -> Option<u128> {
        let run = leading(&self.before, |before| *before <= n).checked_sub(1)?;
        let offset = n - self.before[run];
        let range = self.runs[run];
        (offset <= range.last - range.first).then(|| range.first + offset)
    }

    /// The place of an address in ascending order, if it is in the set.
    pub fn index_of(&self, address: u128) -> Option<u128> {
        let run = leading(&self.runs, |run| run.first <= address).checked_sub(1)?;
        let range = self.runs[run];
        range.contains(address).then(|| self.before[run] + (address - range.first))
    }

    /// How many addresses of the set are less than this one.
    pub(super) fn count_below(&self, address: u128) -> u128 {
        let Some(run) = leading(&self.runs, |run| run.first < address).checked_sub(1) else { return 0 };
        self.before[run] + self.runs[run].count().min(address - self.runs[run].first)
    }

    /// Whether the address is in the set.
    pub fn contains(&self, address: u128) -> bool {
        self.index_of(address).is_some()
    }

    /// Whether every address of the range is in the set.
    pub fn contains_range(&self, range: Range) -> bool {
        let at = self.runs.partition_point(|run| run.first <= range.first);
        at.checked_sub(1).is_some_and(|run| self.runs[run].last >= range.last)
    }

    /// The runs, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Range> + '_ {
        self.runs.iter().copied()
    }

    /// The addresses at places `from`, `from + 1`, … in ascending order: at most `len` of them.
    #[must_use]
    pub fn slice(&self, from: u128, len: u128) -> Self {
        let mut left = len;
        let mut cut = Vec::new();
        let start = self.before.partition_point(|before| *before <= from).saturating_sub(1);
        for (run, before) in self.runs.iter().zip(&self.before).skip(start) {
            let skip = from.saturating_sub(*before);
            if left == 0 || skip > run.last - run.first {
                continue;
            }
            let first = run.first + skip;
            let last = first.saturating_add(left - 1).min(run.last);
            left -= last - first + 1;
            cut.push(Range { first, last });
            if left == 0 {
                break;
            }
        }
        Self::from_sorted(cut)
    }
}

/// How many of these, which ascend, come before the first that this does not hold for. Looks at a few of them.
fn leading<T>(ascending: &[T], holds: impl Fn(&T) -> bool) -> usize {
    ascending.partition_point(|one| {
        #[cfg(test)]
        tests::LOOKS.with(|looks| looks.set(looks.get() + 1));
        holds(one)
    })
}

/// In any order, overlapping or not; a range with `first > last` adds nothing.
impl FromIterator<Range> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Self {
        let mut sorted: Vec<Range> = ranges.into_iter().filter(|run| run.first <= run.last).collect();
        sorted.sort_unstable();
        let mut runs: Vec<Range> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match runs.last_mut() {
                Some(run) if range.first <= run.last.saturating_add(1) => run.last = run.last.max(range.last),
                _ => runs.push(range),
            }
        }
        Self::from_sorted(runs)
    }
}

impl From<Range> for Ranges {
    fn from(range: Range) -> Self {
        [range].into_iter().collect()
    }
}

/// Separated by `, `: an address alone, a subnet where a run is one, else `first-last`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, run) in self.runs.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match Cidr::exactly(*run) {
                Some(cidr) if run.first < run.last => write!(f, "{cidr}")?,
                _ => write!(f, "{run}")?,
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Ranges {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::collections::BTreeSet;

    thread_local! {
        /// How many pieces of lists were looked at.
        pub static LOOKS: Cell<u32> = const { Cell::new(0) };
    }

    fn some_ranges() -> impl Strategy<Value = Vec<Range>> {
        // Near 0, and near the top, where additions could overflow.
        let run = (any::<bool>(), 0u128..200, 0u128..20).prop_map(|(top, first, more)| {
            let first = if top { u128::MAX - 220 + first } else { first };
            Range { first, last: first.saturating_add(more) }
        });
        proptest::collection::vec(run, 0..12)
    }

    fn naive(ranges: &[Range]) -> BTreeSet<u128> {
        ranges.iter().flat_map(|run| run.first..=run.last).collect()
    }

    fn members(ranges: &Ranges) -> Vec<u128> {
        ranges.iter().flat_map(|run| run.first..=run.last).collect()
    }

    proptest! {
        #[test]
        fn it_is_a_set(a in some_ranges(), b in some_ranges()) {
            let (na, nb) = (naive(&a), naive(&b));
            let (ra, rb): (Ranges, Ranges) = (a.into_iter().collect(), b.into_iter().collect());
            prop_assert_eq!(members(&ra), na.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(ra.count(), na.len() as u128);
            prop_assert_eq!(members(&ra.union(&rb)), na.union(&nb).copied().collect::<Vec<_>>());
            prop_assert_eq!(members(&ra.subtract(&rb)), na.difference(&nb).copied().collect::<Vec<_>>());
            prop_assert_eq!(members(&ra.intersect(&rb)), na.intersection(&nb).copied().collect::<Vec<_>>());
            let runs: Vec<Range> = ra.union(&rb).iter().collect();
            prop_assert!(runs.windows(2).all(|w| w[0].last + 1 < w[1].first), "runs do not touch");
        }

        #[test]
        fn places_are_those_of_the_sorted_list(a in some_ranges(), from in 0u128..300, len in 0u128..300) {
            let list: Vec<u128> = naive(&a).into_iter().collect();
            let ranges: Ranges = a.into_iter().collect();
            for (i, address) in list.iter().enumerate() {
                prop_assert_eq!(ranges.nth(i as u128), Some(*address));
                prop_assert_eq!(ranges.index_of(*address), Some(i as u128));
            }
            prop_assert_eq!(ranges.nth(list.len() as u128), None);
            let slice: Vec<u128> = list.into_iter().skip(from as usize).take(len as usize).collect();
            prop_assert_eq!(members(&ranges.slice(from, len)), slice);
        }

        #[test]
        fn what_is_written_is_read_back(a in some_ranges()) {
            let ranges: Ranges = a.into_iter().collect();
            prop_assert_eq!(Ranges::parse(&ranges.to_string()), Ok(ranges));
        }

        #[test]
        fn reading_never_panics(text in "[0-9a-f:./, -]{0,60}") {
            let _ = Ranges::parse(&text);
        }
    }

    #[test]
    fn it_reads_addresses_ranges_and_subnets() {
        let ranges = Ranges::parse("10.0.0.0/24, ::1\n 10.0.0.250-10.0.1.9").unwrap();
        assert_eq!(ranges.to_string(), "::1, 10.0.0.0-10.0.1.9");
        assert_eq!(ranges.count(), 267);
        assert!(ranges.contains_range("10.0.0.255-10.0.1.0".parse().unwrap()));
        assert!(!ranges.contains_range("10.0.1.9-10.0.1.10".parse().unwrap()));
    }

    #[test]
    fn the_whole_of_ipv6_is_a_set_too() {
        let all = Ranges::parse("::/0").unwrap();
        assert_eq!(all.count(), u128::MAX);
        assert_eq!(all.nth(u128::MAX), Some(u128::MAX));
        assert_eq!(all.slice(0, u128::MAX).count(), u128::MAX);
        assert_eq!(all.subtract(&Ranges::parse("::/1").unwrap()).to_string(), "8000::/1");
        assert_eq!(all.subtract(&all), Ranges::new());
    }

    #[test]
    fn the_bad_piece_is_named() {
        let error = Ranges::parse("10.0.0.1, 10.0.0.0/33").unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/33"), "{error}");
    }
}
