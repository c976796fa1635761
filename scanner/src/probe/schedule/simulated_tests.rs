//! The schedule against networks that lose, are slow, break down or open everything; all of it from a seed, on a
//! clock that only counts.

use std::collections::BinaryHeap;

use portolan_scanner::wire::{Preset, Sample};
use proptest::prelude::*;

use super::*;
use crate::probe::testing::job;

const MILLI: u64 = SECOND / 1_000;

/// A network, by what becomes of a probe.
struct Network<F> {
    seed: u64,
    /// Lost in a million, both ways together.
    loss: u64,
    /// What the host says to a port at a moment, and after how long; nothing if nothing.
    says: F,
}

#[derive(Default)]
struct Seen {
    blocks: Vec<Finished>,
    notes: Vec<String>,
    sent: u64,
    ended: Instant,
    /// How many probes were waited for as long as the job allows.
    patient: u64,
    /// How many attempts were made in each second.
    sent_in: std::collections::BTreeMap<u64, u64>,
    outside: Vec<SocketAddr>,
}

impl Seen {
    fn said(&self, host: u32, port: u16) -> Reason {
        let address =
            portolan_scanner::net::addr_to_u128(std::net::Ipv4Addr::from(0x0a00_0000 + host).into());
        let mut hosts = self.blocks.iter().flat_map(|block| &block.hosts);
        hosts.find(|host| (host.first..=host.last).contains(&address)).unwrap().port(port).0
    }

    fn sample(&self) -> Sample {
        let mut sum = Sample::default();
        for block in &self.blocks {
            sum.probed += block.sample.probed;
            sum.answered += block.sample.answered;
            sum.missed += block.sample.missed;
        }
        sum
    }
}

/// The host of a socket, from 10.0.0.0.
fn host(target: SocketAddr) -> u32 {
    match target.ip() {
        std::net::IpAddr::V4(v4) => u32::from(v4) - 0x0a00_0000,
        std::net::IpAddr::V6(_) => 0,
    }
}

/// A number for a socket and a salt.
fn dice(target: SocketAddr, salt: u64) -> u64 {
    let mut x =
        (u64::from(host(target)) << 16 | u64::from(target.port())) ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2 {
        x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    }
    x ^ (x >> 33)
}

fn go<F: FnMut(SocketAddr, Instant) -> Option<(Reason, u64)>>(job: Job, mut network: Network<F>) -> Seen {
    let mut schedule = Schedule::new(job, &Guard::default()).unwrap();
    go_on(&mut schedule, &mut network)
}

fn go_on<F: FnMut(SocketAddr, Instant) -> Option<(Reason, u64)>>(
    schedule: &mut Schedule,
    network: &mut Network<F>,
) -> Seen {
    let (mut seen, mut now) = (Seen::default(), SECOND);
    // What happens to which flight: an answer, or that its time is over.
    let mut due: BinaryHeap<Reverse<(Instant, u64, bool)>> = BinaryHeap::new();
    let mut flights: std::collections::HashMap<u64, (Probe, Option<Reason>, Option<Instant>)> =
        std::collections::HashMap::new();
    loop {
        let next = schedule.next(now);
        let before = seen.blocks.len();
        seen.blocks.extend(std::iter::from_fn(|| schedule.finished()));
        seen.notes.extend(schedule.notes());
        let until = match next {
            Next::Done => break,
            Next::Probe(probe) => {
                seen.sent += 1;
                *seen.sent_in.entry(now / SECOND).or_default() += 1;
                seen.patient +=
                    u64::from(probe.span.until - now == u64::from(schedule.job().timeout_ms) * MILLI);
                if !schedule.job().ports.contains(probe.target.port()) {
                    seen.outside.push(probe.target);
                }
                let lost = dice(probe.target, network.seed ^ seen.sent << 20) % 1_000_000 < network.loss;
                let answer = (network.says)(probe.target, now).filter(|_| !lost);
                if let Some((_, takes)) = answer {
                    due.push(Reverse((now + takes, seen.sent, true)));
                }
                due.push(Reverse((probe.span.until, seen.sent, false)));
                flights.insert(seen.sent, (probe, answer.map(|(reason, _)| reason), None));
                continue;
            }
            Next::At(at) => at,
            Next::Wait if seen.blocks.len() > before => continue,
            Next::Wait => Instant::MAX,
        };
        now = due.peek().map_or(until, |due| due.0.0.min(until)).max(now);
        assert!(now < Instant::MAX, "it waits for nothing");
        while let Some(Reverse((at, flight, answers))) = due.peek().copied().filter(|due| due.0.0 <= now) {
            due.pop();
            let Some((probe, reason, late)) = flights.get(&flight).copied() else { continue };
            let micros = u32::try_from((at - probe.span.since) / 1_000).unwrap();
            match (answers, late) {
                (true, None) => schedule.answered(probe, reason.unwrap(), micros),
                (true, Some(until)) if at < until => schedule.late(probe, reason.unwrap(), micros),
                (true, Some(_)) => {}
                (false, _) => {
                    let until = schedule.unanswered(probe, now);
                    if until > now && reason.is_some() {
                        flights.insert(flight, (probe, reason, Some(until)));
                        continue;
                    }
                }
            }
            flights.remove(&flight);
        }
    }
    seen.ended = now;
    seen
}

/// A job over so many hosts, with the presets' times and no limit to its rate worth naming.
fn over(hosts: u32, ports: &str, preset: Preset) -> Job {
    let mut job = job(&format!("10.0.0.0-{}", std::net::Ipv4Addr::from(0x0a00_0000 + hosts - 1)), ports);
    (job.preset, job.timeout_ms, job.retries) = (preset, preset.timing().timeout_ms, preset.timing().retries);
    job
}

#[expect(clippy::unnecessary_wraps, reason = "what a network says may be nothing")]
fn closed(_: SocketAddr, _: Instant) -> Option<(Reason, u64)> {
    Some((Reason::Refused, 2 * MILLI))
}

#[test]
fn a_quarter_of_a_million_pairs_give_three_thousand_samples_for_two_percent() {
    for (preset, hosts, ports, least, most) in [
        (Preset::Fast, 250, "1-1000", 3_000, 3_400),
        (Preset::Fast, 10, "1-1000", 195, 205),
        (Preset::Gentle, 5, "1-100", 4, 6),
        (Preset::Normal, 300, "443", 6, 6),
    ] {
        let mut job = over(hosts, ports, preset);
        job.block_hosts = 7;
        let pairs = u64::try_from(job.probes()).unwrap();
        let seen = go(job, Network { seed: 1, loss: 0, says: closed });
        let Sample { probed, answered, missed } = seen.sample();
        assert!((least..=most).contains(&answered), "{preset} {answered}");
        assert_eq!((probed, missed), (answered, 0));
        assert_eq!(seen.sent, pairs + probed, "no packets but those");
        assert!(probed * 100 <= pairs * 2 + 100);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn what_the_sample_says_of_the_recall_is_the_truth(seed: u64, loss in 20_000u64..300_000, retries in 0u32..2) {
        let mut job = over(64, "1-500", Preset::Normal);
        (job.retries, job.seed) = (retries, u128::from(seed).to_be_bytes());
        let says = |target: SocketAddr, _| {
            // Open, closed, or silent by itself.
            match dice(target, 77) % 10 { 0 => Some((Reason::SynAck, 3 * MILLI)), 1..=6 => Some((Reason::Refused, 3 * MILLI)), _ => None }
        };
        let truth: Vec<(u32, u16)> = (0..64).flat_map(|host| (1..=500).map(move |port| (host, port)))
            .filter(|(host, port)| says(SocketAddr::new(std::net::Ipv4Addr::from(0x0a00_0000 + host).into(), *port), 0).is_some())
            .collect();
        let seen = go(job, Network { seed, loss, says });
        let Sample { answered, missed, probed } = seen.sample();
        prop_assert!(probed <= 640 && answered > 100);
        let found = truth.iter().filter(|(host, port)| crate::probe::block::answer(seen.said(*host, *port))).count();
        // Pairs that only the second look found are found, and known not to be of the first.
        let recall = (found as f64 - missed as f64) / truth.len() as f64;
        let said = (answered - missed) as f64 / answered as f64;
        // Five standard deviations of a share of so many samples.
        let off = 5.0 * (recall * (1.0 - recall) / answered as f64).sqrt() + 0.01;
        prop_assert!((recall - said).abs() < off, "{recall} {said} {answered} {missed}");
    }
}

#[test]
fn a_pair_that_only_answers_the_second_time_is_settled_with_that() {
    let mut job = over(4, "1-500", Preset::Fast);
    job.retries = 0;
    let mut asked = std::collections::HashSet::new();
    // The first attempt at a pair is lost, every time, but for port 1.
    let says = move |target: SocketAddr, _| {
        (!asked.insert(target) || target.port() == 1).then_some((Reason::SynAck, MILLI))
    };
    let mut schedule = Schedule::new(job, &Guard::default()).unwrap();
    let seen = go_on(&mut schedule, &mut Network { seed: 3, loss: 0, says });
    let Sample { answered, missed, .. } = seen.sample();
    let open = (0..4).flat_map(|host| (2..=500).map(move |port| (host, port)));
    let open = open.filter(|(host, port)| seen.said(*host, *port) == Reason::SynAck).count() as u64;
    assert!(missed >= 36 && answered - missed <= 4, "{answered} {missed}");
    assert_eq!(open, missed);
    assert_eq!(schedule.progress().open, open + 4);
}

#[test]
fn a_host_that_answers_quickly_is_waited_for_shortly_and_a_slow_one_as_long_as_it_takes() {
    // Hosts 0 to 7 answer in 2 ms, 8 to 15 in 300 ms; a tenth of the ports is silent.
    let takes = |host| if host < 8 { 2 * MILLI } else { 300 * MILLI };
    let says = |target: SocketAddr, _| {
        (!dice(target, 5).is_multiple_of(10)).then_some((Reason::Refused, takes(host(target))))
    };
    let mut job = over(16, "1-500", Preset::Fast);
    (job.timeout_ms, job.host_rate) = (3_000, 500);
    let seen = go(job, Network { seed: 1, loss: 0, says });
    for (host, port) in (0..16).flat_map(|host| (1..=500).map(move |port| (host, port))) {
        let target = SocketAddr::new(std::net::Ipv4Addr::from(0x0a00_0000 + host).into(), port);
        let expected = if says(target, 0).is_some() { Reason::Refused } else { Reason::NoAnswer };
        assert_eq!(seen.said(host, port), expected, "{target}");
    }
    // Only what was sent before anything was known, and second looks.
    assert!(seen.patient < seen.sent / 20, "{} of {}", seen.patient, seen.sent);
    assert_eq!(seen.notes, [""; 0]);
}

#[test]
fn an_answer_that_comes_after_it_was_given_up_counts() {
    // Quick at first, then every answer takes 600 ms: longer than the wait that was learnt.
    let says = |target: SocketAddr, now| {
        Some((
            Reason::Refused,
            if now < SECOND + 100 * MILLI || target.port().is_multiple_of(2) { MILLI } else { 600 * MILLI },
        ))
    };
    let mut job = over(1, "1-400", Preset::Fast);
    (job.retries, job.host_rate) = (1, 1_000);
    let seen = go(job, Network { seed: 1, loss: 0, says });
    assert!((1..=400).all(|port| seen.said(0, port) == Reason::Refused));
}

#[test]
fn a_host_that_falls_silent_is_left_alone_and_the_others_are_not() {
    for (preset, most) in [(Preset::Fast, 150), (Preset::Normal, 150), (Preset::Gentle, 40)] {
        let dies = SECOND + if preset == Preset::Gentle { 10 * SECOND } else { SECOND };
        let after = std::cell::Cell::new(0);
        let says = |target: SocketAddr, now| {
            if host(target) == 3 && now > dies {
                after.set(after.get() + 1);
                return None;
            }
            (!dice(target, 1).is_multiple_of(5)).then_some((Reason::Refused, MILLI))
        };
        let mut job = over(8, "1-2000", preset);
        (job.host_rate, job.timeout_ms) = (if preset == Preset::Gentle { 20 } else { 200 }, 500);
        let seen = go(job, Network { seed: 1, loss: 10_000, says });
        assert!(
            seen.notes.iter().any(|note| note.starts_with("10.0.0.3 shows distress: it answered ")),
            "{:?}",
            seen.notes
        );
        assert_eq!(seen.notes.iter().filter(|note| note.contains("distress")).count(), 1, "{:?}", seen.notes);
        let alone = (1..=2_000).filter(|port| seen.said(3, *port) == Reason::Distress).count();
        assert!(alone > 1_000, "{alone}");
        assert!(after.get() < most * 4, "{preset}: {} more probes, {:?}", after.get(), seen.notes);
        for other in [0, 7] {
            assert!((1..=2_000).all(|port| seen.said(other, port) != Reason::Distress));
        }
    }
}

#[test]
fn a_network_that_breaks_down_is_no_hosts_distress() {
    // From the second second on nothing is heard for five, of any host.
    let says = |_, now| (!(2 * SECOND..7 * SECOND).contains(&now)).then_some((Reason::Refused, MILLI));
    for seed in 5..9 {
        let mut job = over(16, "1-2000", Preset::Normal);
        (job.host_rate, job.seed) = (200, [seed; 16]);
        let seen = go(job, Network { seed: 1, loss: 0, says });
        assert!(!seen.notes.iter().any(|note| note.contains("distress")), "{:?}", seen.notes);
    }
}

#[test]
fn a_host_that_becomes_slow_is_left_alone() {
    let says = |target: SocketAddr, now: Instant| {
        let slow = host(target) == 1 && now > 3 * SECOND;
        Some((Reason::Refused, if slow { 400 * MILLI } else { 2 * MILLI }))
    };
    let mut job = over(4, "1-5000", Preset::Normal);
    job.host_rate = 200;
    let seen = go(job, Network { seed: 1, loss: 0, says });
    let about = seen.notes.iter().find(|note| note.contains("distress")).unwrap();
    assert!(about.starts_with("10.0.0.1 shows distress: it answers far later than its 2.000 ms"), "{about}");
    assert!((1..=5_000).filter(|port| seen.said(1, *port) == Reason::Distress).count() > 3_000);
    assert!((1..=5_000).all(|port| seen.said(0, port) == Reason::Refused));
}

#[test]
fn a_host_that_opens_everything_is_not_listed_as_so_many_services() {
    for (ports, decoys) in [("1-1000", 8), ("1-20000", 0)] {
        // Host 0 opens whatever is asked, host 1 has 40 open ports and no other that answers, host 2 has five.
        let says = |target: SocketAddr, _| {
            let open = match (host(target), target.port()) {
                (0, _) => true,
                (1, port) => port <= 40,
                (_, port) => port <= 5,
            };
            let silent = host(target) == 1;
            if open {
                Some((Reason::SynAck, MILLI))
            } else if silent {
                None
            } else {
                Some((Reason::Refused, MILLI))
            }
        };
        let mut job = over(3, ports, Preset::Normal);
        job.block_hosts = 3;
        let mut schedule = Schedule::new(job, &Guard::default()).unwrap();
        let seen = go_on(&mut schedule, &mut Network { seed: 1, loss: 0, says });
        let record = seen.blocks[0].hosts.iter().find(|host| host.first.trailing_zeros() >= 8).unwrap();
        assert_eq!((record.base, record.exceptions.len()), (Reason::OpenAll, 0));
        if decoys > 0 {
            assert!((1..=40).all(|port| seen.said(1, port) == Reason::SynAck), "these are its services");
            assert_eq!(seen.said(1, 41), Reason::NoAnswer);
        }
        assert!((1..=5).all(|port| seen.said(2, port) == Reason::SynAck));
        assert_eq!(seen.outside.iter().filter(|target| host(**target) == 0).count(), decoys);
        assert!(seen.outside.iter().all(|target| target.port() >= HIGH_PORTS));
        assert_eq!(u128::from(schedule.progress().done), schedule.job().probes());
        assert_eq!(
            seen.notes.iter().filter(|note| note.contains("opens every port")).count(),
            1,
            "{:?}",
            seen.notes
        );
        let open: usize = seen.blocks[0]
            .hosts
            .iter()
            .map(|host| host.exceptions.iter().filter(|e| e.reason == Reason::SynAck).count())
            .sum();
        assert_eq!(schedule.progress().open, open as u64);
    }
}

#[test]
fn a_network_that_does_not_bear_the_rate_is_probed_more_slowly_and_then_at_the_rate_again() {
    // From the third second to the twentieth answers take 60 ms, not 10.
    let says = |_, now: Instant| {
        Some((
            Reason::Refused,
            if (3 * SECOND..20 * SECOND).contains(&now) { 60 * MILLI } else { 10 * MILLI },
        ))
    };
    let mut job = over(50, "1-2000", Preset::Normal);
    (job.rate, job.host_rate) = (2_000, 2_000);
    let seen = go(job, Network { seed: 1, loss: 0, says });
    let slower = "slowing down to 1000/s and 1000/s a host: answers take twice as long as before";
    assert_eq!(seen.notes[0], slower);
    assert_eq!(seen.notes.last().unwrap(), "back to 2000/s and 2000/s a host");
    assert!(seen.sent_in.values().all(|sent| *sent <= 2_010), "{:?}", seen.sent_in);
    assert!((240..=1_100).contains(&seen.sent_in[&10]), "{:?}", seen.sent_in);
    assert!(
        seen.sent_in[&2] > 1_950 && seen.sent_in[&(seen.ended / SECOND - 2)] > 1_900,
        "{:?}",
        seen.sent_in
    );
}

#[test]
fn the_sample_survives_an_interruption() {
    let job = over(50, "201-400", Preset::Fast);
    let mut whole = Schedule::new(job.clone(), &Guard::default()).unwrap();
    let says =
        |target: SocketAddr, _| (!dice(target, 1).is_multiple_of(4)).then_some((Reason::Refused, MILLI));
    // Work up to somewhere, with nothing in flight told.
    let mut now = SECOND;
    let mut looked = 0;
    while looked < 60 {
        match whole.next(now) {
            Next::Probe(probe) => {
                looked += u64::from(probe.turn.look == Look::Second);
                match says(probe.target, now) {
                    Some((reason, _)) => whole.answered(probe, reason, 1_000),
                    None if probe.turn.pair % 3 > 0 => _ = whole.unanswered(probe, now),
                    None => {}
                }
            }
            Next::At(at) => now = at,
            other => panic!("{other:?}"),
        }
    }
    let saved = whole.save(0);
    assert!(saved.contains("\nlook "), "{saved}");
    let mut rest = Schedule::new(job, &Guard::default()).unwrap();
    rest.restore(&saved, 0, 0).unwrap();
    let seen = go_on(&mut rest, &mut Network { seed: 1, loss: 0, says });
    assert_eq!(seen.sample().probed, 200, "10,000 pairs, one of 50");
}
