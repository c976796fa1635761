//! What the hosts of a part come to, by reason.

use portolan_scanner::wire::{Reason, State};

/// Pairs of host and port, and hosts with at least one such port. Less than none, where a part takes the place of more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// One for each reason, in the order of [`Reason::ALL`].
    sums: [Sum; Reason::ALL.len()],
}

/// What there is for one reason.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    probes: i64,
    hosts: i64,
}

impl Tally {
    /// Adds hosts of which each has so many ports for these reasons; a negative number takes them away.
    pub fn add(&mut self, hosts: i64, ports: impl IntoIterator<Item = (Reason, u32)>) {
        let mut seen = 0_u32;
        for (reason, ports) in ports.into_iter().filter(|(_, ports)| *ports > 0) {
            let slot = reason as usize;
            let sum = &mut self.sums[slot];
            sum.probes = sum.probes.saturating_add(hosts.saturating_mul(ports.into()));
            if seen & (1 << slot) == 0 {
                sum.hosts += hosts;
                seen |= 1 << slot;
            }
        }
    }

    /// Reason, probes, hosts; those only that say something.
    pub fn rows(&self) -> impl Iterator<Item = (Reason, i64, i64)> {
        let all = Reason::ALL.into_iter().zip(self.sums).map(|(reason, sum)| (reason, sum.probes, sum.hosts));
        all.filter(|(_, probes, hosts)| (*probes, *hosts) != (0, 0))
    }

    /// Pairs in these states.
    pub fn pairs(&self, wanted: impl Fn(State) -> bool) -> i64 {
        self.rows().filter(|(reason, ..)| wanted(reason.state())).map(|(_, probes, _)| probes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_counts_once_for_a_reason_however_many_runs_of_ports_have_it() {
        let mut tally = Tally::default();
        tally.add(
            2,
            [(Reason::Refused, 10), (Reason::SynAck, 1), (Reason::Refused, 3), (Reason::NoAnswer, 0)],
        );
        tally.add(-1, [(Reason::SynAck, 1), (Reason::Cancelled, 13)]);
        let rows: Vec<_> = tally.rows().collect();
        assert_eq!(rows, [(Reason::SynAck, 1, 1), (Reason::Refused, 26, 2), (Reason::Cancelled, -13, -1)]);
        assert_eq!(tally.pairs(|state| state == State::NotProbed), -13);
    }
}
