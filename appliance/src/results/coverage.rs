//! Which hosts a sweep has already: what makes the first delivery of a host the one that counts.

use std::collections::BTreeMap;

/// A growing set of addresses, as disjoint ranges; neighbours are joined, so a finished sweep is a few entries.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// First address to last.
    ranges: BTreeMap<u128, u128>,
}

impl Coverage {
    /// Adds `first..=last` and gives back the pieces of it that are new, ascending.
    pub fn take(&mut self, first: u128, last: u128) -> Vec<(u128, u128)> {
        let mut new = Vec::new();
        let mut from = Some(first);
        let start = self.ranges.range(..=first).next_back().map_or(first, |(start, _)| *start);
        let (mut joined_first, mut joined_last) = (first, last);
        let mut swallowed = Vec::new();
        for (&have_first, &have_last) in self.ranges.range(start..) {
            if have_first > last.saturating_add(1) {
                break;
            }
            if have_last.saturating_add(1) < first {
                continue;
            }
            swallowed.push(have_first);
            joined_first = joined_first.min(have_first);
            joined_last = joined_last.max(have_last);
            if have_last < first || have_first > last {
                continue; // a neighbour, not an overlap
            }
            if let Some(from) = from
                && from < have_first
            {
                new.push((from, have_first - 1));
            }
            from = have_last.checked_add(1);
        }
        if let Some(from) = from
            && from <= last
        {
            new.push((from, last));
        }
        for start in swallowed {
            self.ranges.remove(&start);
        }
        self.ranges.insert(joined_first, joined_last);
        new
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u128, u128)> + '_ {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod test {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_host_is_new_exactly_once(takes in prop::collection::vec((0_u128..200, 0_u128..40), 0..40)) {
            let mut coverage = Coverage::default();
            let mut naive = BTreeSet::new();
            for (first, more) in takes {
                let new: Vec<u128> =
                    coverage.take(first, first + more).into_iter().flat_map(|(a, b)| a..=b).collect();
                let expected: Vec<u128> = (first..=first + more).filter(|host| naive.insert(*host)).collect();
                prop_assert_eq!(new, expected);
                let ranges: Vec<_> = coverage.iter().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "joined: {:?}", ranges);
                let have: Vec<u128> = ranges.into_iter().flat_map(|(a, b)| a..=b).collect();
                prop_assert_eq!(have, naive.iter().copied().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_last_address_of_all_is_no_edge() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.take(u128::MAX - 1, u128::MAX), [(u128::MAX - 1, u128::MAX)]);
        assert_eq!(coverage.take(0, u128::MAX), [(0, u128::MAX - 2)]);
        assert_eq!(coverage.iter().collect::<Vec<_>>(), [(0, u128::MAX)]);
    }
}
