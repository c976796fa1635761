//! Which hosts a sweep has already, and which of them only with holes: what makes one delivery of a host the one that
//! counts.

use std::collections::BTreeMap;

use portolan_scanner::wire::Reason;

/// Whether a port with this reason is a hole: its probe was over before its turn came, so a later one may fill it. What
/// was left alone on purpose (excluded, distress, open on everything) is a finding, and no hole.
pub fn is_hole(reason: Reason) -> bool {
    matches!(reason, Reason::Cancelled | Reason::Expired | Reason::LocalLimit)
}

/// What a sweep has: every host in one of two disjoint sets, or in none.
#[derive(Clone, Debug, Default)]
pub struct Known {
    whole: Coverage,
    holed: Coverage,
}

/// What a delivery of hosts is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Those that count of it, ascending.
    pub hosts: Vec<(u128, u128)>,
    /// Those among them that were there with holes: what was there is void now.
    pub replaced: Vec<(u128, u128)>,
}

impl Known {
    /// Adds hosts that were delivered alike. The first delivery of a host counts, but one without holes takes the place
    /// of one with.
    pub fn take(&mut self, first: u128, last: u128, holed: bool) -> Taken {
        if holed {
            let gaps = self.whole.gaps(first, last);
            let hosts = gaps.into_iter().flat_map(|(first, last)| self.holed.take(first, last)).collect();
            return Taken { hosts, replaced: Vec::new() };
        }
        let hosts = self.whole.take(first, last);
        Taken { hosts, replaced: self.holed.remove(first, last) }
    }
}

/// How many hosts these are.
pub fn count(ranges: &[(u128, u128)]) -> u128 {
    ranges.iter().map(|(first, last)| (last - first).saturating_add(1)).fold(0, u128::saturating_add)
}

/// A set of addresses, as disjoint ranges; neighbours are joined, so a finished sweep is a few entries.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// First address to last.
    ranges: BTreeMap<u128, u128>,
}

impl Coverage {
    /// Adds `first..=last` and gives back the pieces of it that are new, ascending.
    pub fn take(&mut self, first: u128, last: u128) -> Vec<(u128, u128)> {
        let new = self.gaps(first, last);
        let (mut joined_first, mut joined_last) = (first, last);
        let neighbours: Vec<_> = self.touching(first.saturating_sub(1), last.saturating_add(1)).collect();
        for (have_first, have_last) in neighbours {
            self.ranges.remove(&have_first);
            joined_first = joined_first.min(have_first);
            joined_last = joined_last.max(have_last);
        }
        self.ranges.insert(joined_first, joined_last);
        new
    }

    /// Takes `first..=last` out and gives back the pieces of it that were there, ascending.
    pub fn remove(&mut self, first: u128, last: u128) -> Vec<(u128, u128)> {
        let touched: Vec<_> = self.touching(first, last).collect();
        for &(have_first, have_last) in &touched {
            self.ranges.remove(&have_first);
            if have_first < first {
                self.ranges.insert(have_first, first - 1);
            }
            if have_last > last {
                self.ranges.insert(last + 1, have_last);
            }
        }
        touched
            .into_iter()
            .map(|(have_first, have_last)| (have_first.max(first), have_last.min(last)))
            .collect()
    }

    /// The pieces of `first..=last` that are not there, ascending.
    pub fn gaps(&self, first: u128, last: u128) -> Vec<(u128, u128)> {
        let (mut gaps, mut from) = (Vec::new(), Some(first));
        for (have_first, have_last) in self.touching(first, last) {
            if let Some(from) = from
                && from < have_first
            {
                gaps.push((from, have_first - 1));
            }
            from = have_last.checked_add(1);
        }
        if let Some(from) = from
            && from <= last
        {
            gaps.push((from, last));
        }
        gaps
    }

    /// The ranges that share an address with `first..=last`, ascending.
    fn touching(&self, first: u128, last: u128) -> impl Iterator<Item = (u128, u128)> + '_ {
        let start = self.ranges.range(..=first).next_back().map_or(first, |(start, _)| *start);
        self.ranges
            .range(start..=last)
            .map(|(first, last)| (*first, *last))
            .filter(move |have| have.1 >= first)
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

    fn each(ranges: &[(u128, u128)]) -> Vec<u128> {
        ranges.iter().flat_map(|(first, last)| *first..=*last).collect()
    }

    proptest! {
        #[test]
        fn the_first_delivery_counts_and_one_without_holes_replaces_one_with(
            takes in prop::collection::vec((0_u128..200, 0_u128..40, any::<bool>()), 0..40),
        ) {
            let mut known = Known::default();
            let mut naive = BTreeMap::new();
            for (first, more, holed) in takes {
                let taken = known.take(first, first + more, holed);
                let was = |host: &u128| naive.get(host).copied();
                let all = || first..=first + more;
                let replaced: Vec<_> = all().filter(|host| !holed && was(host) == Some(true)).collect();
                let counts: Vec<_> =
                    all().filter(|host| was(host).is_none() || replaced.contains(host)).collect();
                prop_assert_eq!(each(&taken.hosts), counts.clone());
                prop_assert_eq!(each(&taken.replaced), replaced);
                naive.extend(counts.into_iter().map(|host| (host, holed)));
                for (set, of) in [(&known.whole, false), (&known.holed, true)] {
                    let have: Vec<_> = naive.iter().filter(|host| *host.1 == of).map(|host| *host.0).collect();
                    prop_assert_eq!(each(&set.iter().collect::<Vec<_>>()), have);
                }
            }
        }
    }

    #[test]
    fn the_last_address_of_all_is_no_edge() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.take(u128::MAX - 1, u128::MAX), [(u128::MAX - 1, u128::MAX)]);
        assert_eq!(coverage.take(0, u128::MAX), [(0, u128::MAX - 2)]);
        assert_eq!(coverage.iter().collect::<Vec<_>>(), [(0, u128::MAX)]);
        assert_eq!(coverage.remove(7, u128::MAX), [(7, u128::MAX)]);
        assert_eq!(coverage.gaps(0, u128::MAX), [(7, u128::MAX)]);
        assert_eq!(count(&[(0, 0), (7, u128::MAX)]), u128::MAX - 5);
    }
}
