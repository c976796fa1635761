//! Open ports that are asked what they are: each is one connection more to its host, and keeps to the same rates.

use portolan_scanner::wire::Said;

use super::{Instant, Probe, Schedule};
use crate::probe::bounds::ENOUGH_SAID;

/// How many open ports of a host are asked: one that has more is no ordinary host.
const MOST_OF_A_HOST: u32 = 128;

/// Whether an open port may be asked what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Connect.
    Now,
    /// The rates do not allow it yet.
    Later,
    /// Leave it at that it is open.
    Never,
}

impl Schedule {
    /// Whether the port of a probe in flight may be asked `now`; if so, that is a connection attempt.
    pub fn ask(&mut self, probe: Probe, now: Instant) -> Ask {
        let Some(index) = self.index(probe.step).filter(|_| !self.stopped) else { return Ask::Never };
        let block = &mut self.blocks[index];
        let place = block.host_of(probe.turn.pair);
        let over = block.hosts[place].over.is_some() || !probe.turn.settles();
        if over || block.is_settled(probe.turn.pair) || block.hosts[place].asked == MOST_OF_A_HOST {
            return Ask::Never;
        }
        let host = &mut block.hosts[place];
        if self.paused || self.pace.ready_at().max(host.pace.ready_at()) > now {
            return Ask::Later;
        }
        self.pace.take(self.rate, now);
        host.pace.take(self.host_rate, now);
        host.asked += 1;
        block.sent += 1;
        self.progress.sent += 1;
        Ask::Now
    }

    /// What the port of a probe in flight said of itself; it is kept as far as there is room.
    pub fn said(&mut self, probe: Probe, said: Said) {
        let kept: usize = self.blocks.iter().map(|block| block.hinted).sum();
        if let Some(index) = self.index(probe.step).filter(|_| kept < ENOUGH_SAID) {
            self.blocks[index].hint(probe.turn.pair, said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::guard::Guard;
    use crate::probe::pace::SECOND;
    use crate::probe::schedule::Next;
    use crate::probe::testing::job;
    use portolan_scanner::wire::{Certificate, Hint, Reason, Text};

    fn probe(schedule: &mut Schedule, now: Instant) -> Probe {
        match schedule.next(now) {
            Next::Probe(probe) => probe,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn asking_keeps_to_the_rates_and_counts_as_an_attempt() {
        let mut job = job("10.0.0.1", "1-200");
        (job.rate, job.host_rate, job.hints) = (1_000, 10, true);
        let mut schedule = Schedule::new(job, &Guard::default()).unwrap();
        let open = probe(&mut schedule, SECOND);
        assert_eq!(schedule.ask(open, SECOND), Ask::Later, "the probe itself went just now");
        assert_eq!(schedule.ask(open, SECOND + SECOND / 10), Ask::Now);
        assert_eq!(schedule.progress().sent, 2);
        let wait = match schedule.next(SECOND + SECOND / 10) {
            Next::At(at) => at,
            other => panic!("{other:?}"),
        };
        assert!(wait > SECOND + SECOND / 10, "the host has no token for a probe left");
        let later = probe(&mut schedule, 2 * SECOND);
        schedule.pause(true);
        assert_eq!(schedule.ask(later, 9 * SECOND), Ask::Later);
    }

    #[test]
    fn what_was_said_is_in_the_record_and_a_settled_port_is_not_asked() {
        let mut schedule = Schedule::new(job("10.0.0.1", "22"), &Guard::default()).unwrap();
        let open = probe(&mut schedule, SECOND);
        let said = Said::Banner(Text::escape(b"SSH", 9).unwrap());
        schedule.said(open, said.clone());
        schedule.answered(open, Reason::SynAck, 5);
        assert_eq!(schedule.ask(open, 2 * SECOND), Ask::Never);
        assert_eq!(schedule.finished().unwrap().hosts[0].hints, [Hint { port: 22, said }]);
        assert_eq!(schedule.ask(open, 2 * SECOND), Ask::Never, "its block is gone");
    }

    #[test]
    fn what_was_said_outlives_an_interruption() {
        let job = job("10.0.0.1", "21-24");
        let mut schedule = Schedule::new(job.clone(), &Guard::default()).unwrap();
        let names = vec![Text::escape(b"plc \xff", 9).unwrap()];
        let leaf = Certificate { sha256: [1; 32], expires: Some(-5), subject: None, names };
        let mut hints = Vec::new();
        for said in [Said::Banner(Text::escape(b"\r\n", 9).unwrap()), Said::Certificate(leaf)] {
            let open = probe(&mut schedule, SECOND);
            schedule.said(open, said.clone());
            schedule.answered(open, Reason::SynAck, 5);
            hints.push(Hint { port: open.target.port(), said });
        }
        let saved = schedule.save(0);
        let mut again = Schedule::new(job, &Guard::default()).unwrap();
        again.restore(&saved, 0, 0).unwrap();
        assert_eq!(again.save(0), saved);
        for _ in 0..2 {
            let closed = probe(&mut again, SECOND);
            again.answered(closed, Reason::Refused, 0);
        }
        hints.sort_by_key(|hint| hint.port);
        assert_eq!(again.finished().unwrap().hosts[0].hints, hints);
        for bad in [saved.replace("\\x0d", "\\xZZ"), saved.replace(" says ", " name ")] {
            assert!(again.restore(&bad, 0, 0).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_kept_of_hosts_that_say_much_is_bounded_for_each_and_for_all() {
        let mut schedule = Schedule::new(job("10.0.0.0/26", "1-20"), &Guard::default()).unwrap();
        let names = vec![Text::escape(&[0; 253], 253).unwrap(); 32];
        let leaf = Certificate { sha256: [1; 32], expires: None, subject: None, names };
        for _ in 0..64 * 20 {
            let open = probe(&mut schedule, SECOND);
            schedule.said(open, Said::Certificate(leaf.clone()));
            schedule.answered(open, Reason::SynAck, 5);
        }
        let hosts = schedule.blocks[0].records(&schedule.ports);
        assert!(hosts.iter().all(|host| host.hints.len() <= 16), "half a MiB each");
        let all = hosts.iter().map(|host| host.hints.len()).sum::<usize>() * 32 * 1_012;
        assert!((15 << 20..17 << 20).contains(&all), "{all} bytes");
    }

    #[test]
    fn a_host_is_asked_a_bounded_number_of_times() {
        let mut schedule = Schedule::new(job("10.0.0.1", "1-200"), &Guard::default()).unwrap();
        let asked = (1..=200).filter(|second| {
            let open = probe(&mut schedule, second * SECOND);
            schedule.ask(open, second * SECOND + SECOND / 2) == Ask::Now
        });
        assert_eq!(asked.count(), 128);
    }
}
