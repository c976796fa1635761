//! What a job will take, said before its first probe: its time, and the room in firewalls on the way.

use std::fmt;

use portolan_scanner::wire::{Job, Method};

use super::preset::numbers;
use super::syn;

/// The longest that a firewall keeps a connection of a probe, in seconds: Linux does for one without an answer
/// and for one that was closed in order (`nf_conntrack_tcp_timeout_syn_sent` and `_time_wait`).
const TRACKED: u128 = 120;

/// What a job will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Pairs of host and port.
    pub probes: u128,
    /// Seconds, if everything answers at once: what the rates ask for.
    pub least: u128,
    /// Seconds, if nothing answers: every probe is tried again, and waited for.
    pub most: u128,
    /// The entries that a firewall on the way may hold for it at once.
    pub tracked: u128,
    /// Connection attempts a second.
    pub rate: u128,
}

impl Forecast {
    /// Of a job, of which `at_once` hosts are worked on at a time.
    pub fn of(job: &Job, at_once: u128) -> Self {
        let numbers = numbers(job.preset);
        let hosts = job.hosts().min(at_once).max(1);
        let rate = u128::from(job.rate).min(hosts.saturating_mul(job.host_rate.into())).max(1);
        // Silent probes end after the timeout, and only so many wait for it at a time.
        let sockets = if job.method == Method::Syn { syn::FLYING } else { 1 };
        let flying =
            u128::from(numbers.in_flight * sockets).min(hosts.saturating_mul(numbers.host_in_flight.into()));
        let silent = rate.min((flying * 1_000).div_ceil(u128::from(job.timeout_ms.max(1))));
        let probes = job.probes();
        let attempts = probes.saturating_mul(u128::from(job.retries) + 1);
        let waits = u128::from(job.timeout_ms) * (u128::from(job.retries) + 1) / 1_000;
        Self {
            probes,
            least: probes / rate,
            most: (attempts / silent.max(1)).saturating_add(waits),
            tracked: attempts.min(rate * TRACKED),
            rate,
        }
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, most, tracked, rate, .. } = self;
        writeln!(
            f,
            "expected: {} if every port answers, {} if none does",
            duration(*least),
            duration(*most)
        )?;
        write!(
            f,
            "firewalls on the way that track connections: up to {tracked} entries ({rate}/s, kept {TRACKED} s)"
        )
    }
}

/// A span of time as people say it.
pub fn duration(seconds: u128) -> String {
    match seconds {
        0 => "less than a second".into(),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::job;
    use portolan_scanner::wire::Preset;

    #[test]
    fn the_slowest_limit_gives_the_time_and_the_rate_the_entries() {
        let mut job = job("10.0.0.0/24", "1-1000");
        let timing = Preset::Gentle.timing();
        (job.preset, job.rate, job.host_rate) = (Preset::Gentle, timing.rate, timing.host_rate);
        (job.timeout_ms, job.retries) = (timing.timeout_ms, timing.retries);
        let said = Forecast::of(&job, 1 << 14);
        // 500 a second; of silent hosts 256 are waited for at a time, 3 s each, twice.
        let expected =
            Forecast { probes: 256_000, least: 512, most: 512_000 / 86 + 6, tracked: 60_000, rate: 500 };
        assert_eq!(said, expected);
        let few = Forecast::of(&job, 2);
        assert_eq!((few.least, few.rate), (12_800, 20), "two hosts at a time, ten a second each");
    }

    #[test]
    fn a_small_scan_makes_no_more_entries_than_attempts() {
        let mut job = job("127.0.0.1", "1-10");
        job.retries = 2;
        assert_eq!(Forecast::of(&job, 1).tracked, 30);
    }

    #[test]
    fn a_span_is_said_in_the_unit_people_use() {
        assert_eq!([90, 600, 10_800, 864_000].map(duration), ["90 s", "10 min", "3 h", "10 days"]);
        assert_eq!(duration(0), "less than a second");
    }
}
