//! What was found in a block, as the results say it.

use portolan_scanner::wire::{Hint, HostRecord, PortRecord, Reason};

use super::{Block, Slot, commonest, open};

impl Block {
    /// Per host the commonest reason and what differs from it; neighbours that are alike in every port are one record.
    /// `ports` are the job's, ascending.
    pub fn records(&mut self, ports: &[u16]) -> Vec<HostRecord> {
        self.round_trips.sort_unstable();
        let mut round_trips = self.round_trips.iter().map(|(_, micros)| *micros);
        let mut records: Vec<HostRecord> = Vec::new();
        for (host, row) in self.slots.chunks(ports.len()).enumerate() {
            // Open ports are never the base, as each is written by itself.
            let base = commonest(row, |reason| !open(reason));
            let exceptions = exceptions(ports, row, base, &mut round_trips);
            let address = self.hosts[host].address;
            let alike = |before: &&mut HostRecord| {
                (before.base, before.last + 1) == (base, address) && before.exceptions.is_empty()
            };
            if let Some(before) = records.last_mut().filter(alike).filter(|_| exceptions.is_empty()) {
                before.last = address;
                continue;
            }
            let hints = self.hints(host, ports);
            records.push(HostRecord { first: address, last: address, base, exceptions, hints });
        }
        records
    }

    /// What the open ports of a host said of themselves.
    fn hints(&self, host: usize, ports: &[u16]) -> Vec<Hint> {
        let open = |pair: u32| self.slots[pair as usize] == Slot::Settled(Reason::SynAck);
        let said = self.said.range(self.pairs_of(host)).filter(|(pair, _)| open(**pair));
        said.map(|(pair, said)| Hint { port: ports[self.port_of(*pair)], said: said.clone() }).collect()
    }
}

/// The ports of a host that differ from its base, ascending: open ones alone, others in runs of neighbouring
/// numbers. `round_trips` gives the next open port's.
fn exceptions(
    ports: &[u16],
    row: &[Slot],
    base: Reason,
    round_trips: &mut impl Iterator<Item = u32>,
) -> Vec<PortRecord> {
    let mut list: Vec<PortRecord> = Vec::new();
    for (port, slot) in ports.iter().copied().zip(row) {
        let reason = slot.reason().unwrap_or(Reason::Cancelled);
        match list.last_mut() {
            _ if reason == base => {}
            Some(run) if !open(reason) && run.reason == reason && run.last + 1 == port => run.last = port,
            _ => {
                let rtt_us = if open(reason) { round_trips.next().unwrap_or(0) } else { 0 };
                list.push(PortRecord { first: port, last: port, reason, rtt_us });
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::super::tests::block;
    use portolan_scanner::net::u128_to_addr;
    use portolan_scanner::wire::{Reason, State};
    use proptest::prelude::*;

    #[test]
    fn neighbours_that_are_alike_are_one_record_and_the_odd_one_stands_alone() {
        let (mut block, ports) = block("10.0.0.0-10.0.0.3", "20-29,443");
        assert!(block.settle(2 * 11 + 2, Reason::SynAck, 99));
        assert!(!block.settle(2 * 11 + 2, Reason::NoAnswer, 1), "a settled pair stays settled");
        block.settle(2 * 11 + 8, Reason::NoAnswer, 0);
        block.settle(2 * 11 + 9, Reason::NoAnswer, 0);
        block.settle(2 * 11 + 10, Reason::NoAnswer, 0);
        block.settle_rest(Reason::Refused);
        let text: Vec<String> = block
            .records(&ports)
            .iter()
            .map(|host| {
                let ports: Vec<String> = host
                    .exceptions
                    .iter()
                    .map(|p| format!("{}-{} {} {}", p.first, p.last, p.reason, p.rtt_us))
                    .collect();
                let span = (u128_to_addr(host.first), u128_to_addr(host.last));
                format!("{}-{} {} [{}]", span.0, span.1, host.base, ports.join(", "))
            })
            .collect();
        assert_eq!(
            text,
            [
                "10.0.0.0-10.0.0.1 refused []",
                "10.0.0.2-10.0.0.2 refused [22-22 syn-ack 99, 28-29 no-answer 0, 443-443 no-answer 0]",
                "10.0.0.3-10.0.0.3 refused []",
            ]
        );
    }

    #[test]
    fn a_host_that_is_open_everywhere_is_written_port_by_port() {
        let (mut block, ports) = block("::1", "1-3");
        block.settle_rest(Reason::SynAck);
        let records = block.records(&ports);
        assert_eq!(records[0].exceptions.len(), 3);
        assert_ne!(records[0].base.state(), State::Open);
    }

    proptest! {
        #[test]
        fn the_records_say_of_every_pair_what_was_settled(reasons in proptest::collection::vec(0usize..12, 4 * 7)) {
            let (mut block, ports) = block("10.0.0.254-10.0.1.1", "1-3,5,8-10");
            for (pair, reason) in (0u32..).zip(&reasons) {
                block.settle(pair, Reason::ALL[*reason], pair);
            }
            let mut said = Vec::new();
            for record in block.records(&ports) {
                for _ in record.first..=record.last {
                    said.extend(ports.iter().map(|port| {
                        let except = record.exceptions.iter().find(|e| (e.first..=e.last).contains(port));
                        except.map_or(record.base, |e| e.reason)
                    }));
                    prop_assert!(record.exceptions.is_empty() || record.first == record.last);
                }
                for open in record.exceptions.iter().filter(|e| e.reason.state() == State::Open) {
                    prop_assert_eq!(open.first, open.last);
                }
            }
            prop_assert_eq!(said, reasons.iter().map(|r| Reason::ALL[*r]).collect::<Vec<_>>());
        }
    }
}
