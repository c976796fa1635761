//! The schedule against a network that is only thought of, on a clock that only counts.

use std::collections::HashMap;
use std::net::IpAddr;

use portolan_scanner::net::addr_to_u128;
use portolan_scanner::wire::{Preset, State};
use proptest::prelude::*;

use super::*;
use crate::probe::pace::SLACK;
use crate::probe::testing::job;

/// What a port does with a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Open,
    Closed,
    Silent,
    /// Silent to the first so many attempts.
    Late(usize),
    /// This machine has no room for it.
    NoRoom,
}

#[derive(Default)]
struct Run {
    /// When each attempt to settle a pair was made, and to whom; and how many others.
    attempts: Vec<(Instant, SocketAddr)>,
    looks: u64,
    /// When each answer came.
    answered: HashMap<SocketAddr, Instant>,
    /// The most that flew to one host at once.
    most_to_a_host: usize,
    blocks: Vec<Finished>,
    ended: Instant,
}

const MILLI: u64 = SECOND / 1_000;

/// Works on a schedule to its end, or until `until`. Answers take two milliseconds.
fn run(schedule: &mut Schedule, port: impl Fn(SocketAddr) -> Port, until: Instant) -> Run {
    run_excluding(schedule, port, until, None)
}

/// Likewise, and at a moment some addresses are excluded.
fn run_excluding(
    schedule: &mut Schedule,
    port: impl Fn(SocketAddr) -> Port,
    until: Instant,
    mut hole: Option<(Instant, &Ranges)>,
) -> Run {
    let mut run = Run::default();
    let mut now = SECOND;
    let mut flying: Vec<(Instant, Probe, Option<Reason>)> = Vec::new();
    let mut attempts: HashMap<SocketAddr, usize> = HashMap::new();
    while now < until {
        if let Some((_, addresses)) = hole.take_if(|(at, _)| *at <= now) {
            schedule.exclude(addresses);
            flying.retain(|(_, probe, _)| !addresses.contains(addr_to_u128(probe.target.ip())));
        }
        let next = schedule.next(now);
        run.blocks.extend(std::iter::from_fn(|| schedule.finished()));
        match next {
            Next::Done => break,
            Next::Probe(probe) => {
                let before = attempts.entry(probe.target).or_default();
                if probe.turn.settles() {
                    *before += 1;
                    run.attempts.push((now, probe.target));
                } else {
                    run.looks += 1;
                }
                let end = match port(probe.target) {
                    Port::Open => Some(Reason::SynAck),
                    Port::Closed => Some(Reason::Refused),
                    Port::Late(attempts) if *before > attempts => Some(Reason::Refused),
                    Port::Silent | Port::Late(_) => None,
                    Port::NoRoom => {
                        schedule.put_off(probe, now);
                        continue;
                    }
                };
                flying.push((if end.is_some() { now + 2 * MILLI } else { probe.span.until }, probe, end));
                let same =
                    flying.iter().filter(|(_, other, _)| other.target.ip() == probe.target.ip()).count();
                run.most_to_a_host = run.most_to_a_host.max(same);
                continue;
            }
            Next::At(at) => {
                assert!(at > now, "a moment to wait for lies ahead");
                now = flying.iter().map(|flight| flight.0).chain([at]).min().unwrap_or(at);
            }
            Next::Wait => now = flying.iter().map(|flight| flight.0).min().unwrap_or(now + MILLI),
        }
        // It comes in its time, before anything that happens later.
        now = hole.map_or(now, |(at, _)| now.min(at));
        let (landed, still): (Vec<_>, Vec<_>) = flying.into_iter().partition(|flight| flight.0 <= now);
        flying = still;
        for (_, probe, end) in landed {
            match end {
                Some(reason) => {
                    run.answered.insert(probe.target, now);
                    schedule.answered(probe, reason, 2_000);
                }
                None => _ = schedule.unanswered(probe, now),
            }
        }
    }
    run.blocks.extend(std::iter::from_fn(|| schedule.finished()));
    run.ended = now;
    run
}

fn schedule(job: Job) -> Schedule {
    Schedule::new(job, &Guard::default()).unwrap()
}

/// What the blocks say of a port.
fn said(blocks: &[Finished], address: &str, port: u16) -> Option<Reason> {
    let address = portolan_scanner::net::addr_to_u128(address.parse::<IpAddr>().unwrap());
    let mut hosts = blocks.iter().flat_map(|block| &block.hosts);
    let host = hosts.find(|host| (host.first..=host.last).contains(&address))?;
    Some(host.port(port).0)
}

#[test]
fn every_pair_is_probed_once_and_said_as_it_is() {
    let mut job = job("10.0.0.0/28,2001:db8::/125", "20-29,443");
    job.block_hosts = 5;
    let port = |target: SocketAddr| match target.port() {
        22 | 443 => Port::Open,
        25 => Port::Silent,
        _ => Port::Closed,
    };
    let mut schedule = schedule(job.clone());
    let run = run(&mut schedule, port, Instant::MAX);
    assert_eq!(run.attempts.len(), 24 * 11);
    assert_eq!(run.blocks.len(), 5);
    for address in ["10.0.0.0", "10.0.0.15", "2001:db8::", "2001:db8::7"] {
        assert_eq!(said(&run.blocks, address, 22), Some(Reason::SynAck));
        assert_eq!(said(&run.blocks, address, 25), Some(Reason::NoAnswer));
        assert_eq!(said(&run.blocks, address, 29), Some(Reason::Refused));
    }
    assert_eq!(
        schedule.progress(),
        Progress { done: 24 * 11, open: 24 * 2, sent: 24 * 11 + run.looks, slowed: None }
    );
    let sent: u64 = run.blocks.iter().map(|block| block.sent).sum();
    assert_eq!(sent, 24 * 11 + run.looks);
}

#[test]
fn blocks_come_in_walk_order() {
    let mut job = job("10.0.0.0/26", "1-40");
    job.block_hosts = 4;
    let walk: Vec<u64> = (0..16).map(|step| u64::try_from(job.walk().at(step)).unwrap()).collect();
    // The first block is the last to be settled: its hosts are silent.
    let slow = job.block_targets(walk[0]);
    let port = |target: SocketAddr| {
        let address = portolan_scanner::net::addr_to_u128(target.ip());
        if slow.contains(address) { Port::Silent } else { Port::Closed }
    };
    let run = run(&mut schedule(job), port, Instant::MAX);
    assert_eq!(run.blocks.iter().map(|block| block.number).collect::<Vec<_>>(), walk);
}

#[test]
fn a_silent_port_is_tried_again_as_often_as_asked_with_growing_gaps() {
    let mut job = job("10.0.0.1", "80-81");
    job.retries = 3;
    let port = |target: SocketAddr| if target.port() == 80 { Port::Silent } else { Port::Late(2) };
    let run = run(&mut schedule(job), port, Instant::MAX);
    let of =
        |port| run.attempts.iter().filter(|(_, to)| to.port() == port).map(|(at, _)| *at).collect::<Vec<_>>();
    let (silent, late) = (of(80), of(81));
    assert_eq!((silent.len(), late.len()), (4, 3));
    assert!(silent.windows(3).all(|at| at[2] - at[1] > at[1] - at[0]));
    assert_eq!(said(&run.blocks, "10.0.0.1", 80), Some(Reason::NoAnswer));
    assert_eq!(said(&run.blocks, "10.0.0.1", 81), Some(Reason::Refused), "a late answer counts");
}

#[test]
fn fragile_equipment_is_tried_again_only_after_nothing_of_the_attempt_before_lingers() {
    let mut job = job("10.0.0.1", "450-549");
    (job.retries, job.timeout_ms) = (2, 3_000);
    let port =
        |target: SocketAddr| if [502, 503].contains(&target.port()) { Port::Silent } else { Port::Closed };
    let run = run(&mut schedule(job), port, Instant::MAX);
    let of =
        |port| run.attempts.iter().filter(|(_, to)| to.port() == port).map(|(at, _)| *at).collect::<Vec<_>>();
    let (modbus, other) = (of(502), of(503));
    assert_eq!((modbus.len(), other.len()), (3, 3));
    assert!(modbus.windows(2).all(|at| at[1] - at[0] > 3 * SECOND), "{modbus:?}");
    assert!(other[2] - other[1] < 3 * SECOND, "elsewhere what was learnt of the host is enough");
}

#[test]
fn no_port_outside_the_job_and_none_of_fragile_equipment_is_asked_to_see_if_a_host_opens_everything() {
    let mut job = job("10.0.0.0/22", "1-20000");
    job.preset = Preset::Gentle;
    let schedule = schedule(job);
    for host in 0..1_024 {
        let host = 0xffff_0a00_0000 + host;
        let mut ports: Vec<u16> = (0..8).map(|number| schedule.decoy_port(host, number)).collect();
        assert!(!ports.iter().any(|port| crate::probe::guard::is_fragile(*port)), "{host} {ports:?}");
        assert!(ports.iter().all(|port| schedule.job().ports.contains(*port)));
        ports.sort_unstable();
        assert!(ports.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

#[test]
fn a_host_that_opens_everything_is_told_as_such_after_an_interruption() {
    let job = job("10.0.0.1", "1-40");
    let mut before = schedule(job.clone());
    // All is settled, and what is asked beside it was not answered yet.
    let mut now = SECOND;
    while before.progress().done < 40 {
        match before.next(now) {
            Next::Probe(probe) if probe.turn.settles() => before.answered(probe, Reason::SynAck, 5),
            Next::Probe(_) => {}
            Next::At(at) => now = at,
            other => panic!("{other:?}"),
        }
    }
    assert!(before.finished().is_none());
    let mut after = schedule(job);
    after.restore(&before.save(0), 0, 0).unwrap();
    let run = run(&mut after, |_| Port::Open, Instant::MAX);
    assert_eq!(said(&run.blocks, "10.0.0.1", 7), Some(Reason::OpenAll));
    assert_eq!(after.progress().open, 0);
}

#[test]
fn gentle_never_has_two_connections_to_a_host_and_keeps_its_distance() {
    let mut job = job("10.0.0.0/30", "1-30");
    (job.preset, job.host_rate) = (Preset::Gentle, 10);
    let port =
        |target: SocketAddr| if target.port().is_multiple_of(10) { Port::Silent } else { Port::Closed };
    let run = run(&mut schedule(job), port, Instant::MAX);
    assert_eq!(run.most_to_a_host, 1);
    let mut last: HashMap<IpAddr, Instant> = HashMap::new();
    for (at, target) in &run.attempts {
        if let Some(before) = last.insert(target.ip(), *at) {
            assert!(at - before >= SECOND / 10 - SLACK, "{target} after {} ms", (at - before) / MILLI);
        }
    }
    assert!(run.ended < 5 * SECOND, "the four hosts go side by side");
}

#[test]
fn no_span_holds_more_probes_than_the_rates_allow() {
    let mut job = job("10.0.0.0/27", "1-100");
    (job.rate, job.host_rate) = (2_000, 100);
    let run = run(&mut schedule(job), |_| Port::Closed, Instant::MAX);
    for span in [10 * MILLI, 100 * MILLI, SECOND] {
        let within = |times: &[Instant], rate: u64| {
            for (i, start) in times.iter().enumerate() {
                let count = times[i..].iter().take_while(|at| *at - start < span).count() as u64;
                assert!(count <= rate * (span + SLACK) / SECOND + 1, "{count} within {} ms", span / MILLI);
            }
        };
        within(&run.attempts.iter().map(|(at, _)| *at).collect::<Vec<_>>(), 2_000);
        let one = run.attempts.iter().filter(|(_, to)| to.ip() == IpAddr::from([10, 0, 0, 7]));
        within(&one.map(|(at, _)| *at).collect::<Vec<_>>(), 100);
    }
    // 3,200 probes at 2,000/s; a host's 100 at 100/s take a second.
    assert!((2_500 * MILLI..2_900 * MILLI).contains(&run.ended), "{} ms", run.ended / MILLI);
}

#[test]
fn a_pause_lets_nothing_go_and_loses_nothing() {
    let mut schedule = schedule(job("10.0.0.1", "1-50"));
    schedule.pause(true);
    assert_eq!(schedule.next(SECOND), Next::Wait);
    schedule.pause(false);
    assert_eq!(run(&mut schedule, |_| Port::Open, Instant::MAX).attempts.len(), 50);
}

#[test]
fn a_start_leaves_out_the_blocks_before_it() {
    let mut job = job("10.0.0.0/28", "1-10");
    job.block_hosts = 3;
    let whole = run(&mut schedule(job.clone()), |_| Port::Closed, Instant::MAX);
    let mut rest = schedule(job);
    // Some of the first block was done before.
    let _ = run(&mut rest, |_| Port::Silent, SECOND + 10 * MILLI);
    rest.start_at(4);
    let again = run(&mut rest, |_| Port::Closed, Instant::MAX);
    let numbers = |run: &Run| run.blocks.iter().map(|block| block.number).collect::<Vec<_>>();
    assert_eq!(numbers(&again), numbers(&whole)[4..]);
    assert_eq!(rest.progress().done, 160, "what was done before the start counts as done");
}

#[test]
fn a_start_behind_the_last_block_is_done() {
    let mut schedule = schedule(job("10.0.0.1", "1"));
    schedule.start_at(u64::MAX);
    assert_eq!(schedule.next(SECOND), Next::Done);
}

#[test]
fn what_a_stop_leaves_is_not_probed_and_never_closed() {
    let mut job = job("10.0.0.0/28", "1-100");
    (job.block_hosts, job.rate) = (2, 1_000);
    let mut schedule = schedule(job);
    let mut all = run(&mut schedule, |_| Port::Closed, SECOND + 50 * MILLI);
    schedule.stop(Reason::Cancelled);
    assert_eq!(schedule.next(2 * SECOND), Next::Done);
    all.blocks.extend(std::iter::from_fn(|| schedule.finished()));
    let mut counts = [0; 5];
    for host in all.blocks.iter().flat_map(|block| &block.hosts) {
        for (sum, count) in counts.iter_mut().zip(host.counts(&schedule.job().ports)) {
            *sum += count;
        }
    }
    assert!(all.blocks.len() < 8, "blocks for which nothing was sent are not spoken of");
    assert_eq!(counts[State::Closed as usize], u128::from(schedule.progress().done));
    assert!(counts[State::NotProbed as usize] > 0);
}

#[test]
fn what_this_machine_has_no_room_for_is_not_probed_and_never_closed() {
    let port = |target: SocketAddr| if target.port() == 7 { Port::NoRoom } else { Port::Closed };
    let mut schedule = schedule(job("10.0.0.1", "1-10"));
    let run = run(&mut schedule, port, Instant::MAX);
    assert_eq!(said(&run.blocks, "10.0.0.1", 7), Some(Reason::LocalLimit));
    assert_eq!(said(&run.blocks, "10.0.0.1", 8), Some(Reason::Refused));
    assert!(run.ended > 5 * SECOND, "it was waited for");
    assert_eq!(schedule.progress(), Progress { done: 9, open: 0, sent: 9, slowed: None });
}

#[test]
fn a_block_too_large_for_memory_is_refused_by_its_numbers() {
    let mut job = job("10.0.0.0/16", "1-65535");
    job.block_hosts = 1_000;
    let refusal = Schedule::new(job, &Guard::default()).unwrap_err();
    assert!(
        refusal.starts_with("block-hosts: a block of 1000 hosts x 65535 ports has 65535000 probes"),
        "{refusal}"
    );
}

#[test]
fn small_blocks_of_a_silent_network_do_not_hold_each_other_up() {
    let mut job = job("10.0.0.0/20", "443");
    (job.block_hosts, job.timeout_ms, job.rate) = (2, 1_000, 10_000);
    let run = run(&mut schedule(job), |_| Port::Silent, Instant::MAX);
    assert_eq!(run.blocks.len(), 2_048);
    // 4,096 probes at 10,000/s, and the last one's second, and that of its second look.
    assert!(run.ended < 4_000 * MILLI, "{} ms", run.ended / MILLI);
}

/// A port's behaviour, the same each time it is asked for.
fn behaviour(target: SocketAddr, salt: u64) -> Port {
    let IpAddr::V4(v4) = target.ip() else { return Port::Closed };
    let mixed = (u64::from(u32::from(v4)) << 16 | u64::from(target.port())).wrapping_add(salt);
    match mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61 {
        0 | 1 => Port::Open,
        2 => Port::Silent,
        3 => Port::Late(1),
        4 => Port::Late(2),
        _ => Port::Closed,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_network_does_every_pair_is_said_as_it_is(
        (hosts, block_hosts, ports) in (1u8..30, 1u32..12, 1u16..40),
        (preset, rate, host_rate) in (0usize..3, 50u32..5_000, 5u32..2_000),
        (retries, salt, start) in (0u32..3, any::<u64>(), any::<u64>()),
    ) {
        let mut job = job(&format!("10.0.0.1-10.0.0.{hosts}"), &format!("1000-{}", 999 + ports));
        (job.block_hosts, job.preset, job.rate) = (block_hosts, Preset::ALL[preset], rate);
        (job.host_rate, job.retries) = (host_rate, retries);
        let start = start % (job.blocks() + 1);
        let mut schedule = schedule(job.clone());
        schedule.start_at(start);
        let run = run(&mut schedule, |target| behaviour(target, salt), Instant::MAX);
        prop_assert!(run.most_to_a_host <= numbers(job.preset).host_in_flight as usize);
        prop_assert_eq!(u128::from(schedule.progress().done), job.probes());
        let walk: Vec<u64> = (start..job.blocks()).map(|i| u64::try_from(job.walk().at(i.into())).unwrap()).collect();
        prop_assert_eq!(run.blocks.iter().map(|block| block.number).collect::<Vec<_>>(), walk.clone());
        let mut attempts = 0;
        for number in walk {
            for address in job.block_targets(number).iter().flat_map(|range| range.first..=range.last) {
                let address = portolan_scanner::net::u128_to_addr(address);
                for port in job.ports.each() {
                    let port_is = behaviour(SocketAddr::new(address, port), salt);
                    let (reason, tries) = match port_is {
                        Port::Open => (Reason::SynAck, 1),
                        Port::Late(late) if late <= retries as usize => (Reason::Refused, late + 1),
                        Port::Silent | Port::Late(_) => (Reason::NoAnswer, retries as usize + 1),
                        Port::Closed | Port::NoRoom => (Reason::Refused, 1),
                    };
                    attempts += tries;
                    prop_assert_eq!(said(&run.blocks, &address.to_string(), port), Some(reason));
                }
            }
        }
        prop_assert_eq!(run.attempts.len(), attempts);
    }

    #[test]
    fn nothing_goes_to_an_excluded_address_any_more_and_what_was_settled_stays(
        (first, more, at) in (0u8..32, 0u8..12, 0u64..400),
        (block_hosts, retries, preset) in (1u32..12, 0u32..3, 0usize..3),
        (rate, host_rate, salt) in (200u32..5_000, 20u32..2_000, any::<u64>()),
    ) {
        let mut job = job("10.0.0.0/27", "1000-1029");
        (job.block_hosts, job.retries, job.preset) = (block_hosts, retries, Preset::ALL[preset]);
        (job.rate, job.host_rate) = (rate, host_rate);
        let (hole, at) = (format!("10.0.0.{first}-10.0.0.{}, 10.9.0.0/16", first.saturating_add(more)), SECOND + at * MILLI);
        let hole = Ranges::parse(&hole).unwrap();
        let mut schedule = schedule(job.clone());
        let run = run_excluding(&mut schedule, |target| behaviour(target, salt), Instant::MAX, Some((at, &hole)));
        let inside = |target: &SocketAddr| hole.contains(addr_to_u128(target.ip()));
        prop_assert!(run.attempts.iter().all(|(when, target)| *when < at || !inside(target)));
        prop_assert_eq!((run.blocks.len() as u64, u128::from(schedule.progress().done)), (job.blocks(), job.probes()));
        for address in (0..32).map(|n| IpAddr::from([10, 0, 0, n])) {
            for port in job.ports.each() {
                let target = SocketAddr::new(address, port);
                let reason = said(&run.blocks, &address.to_string(), port).unwrap();
                if inside(&target) && !run.answered.contains_key(&target) {
                    prop_assert!(matches!(reason, Reason::Excluded | Reason::NoAnswer), "{target} {reason}");
                    // Every attempt must have had its time before.
                    prop_assert!(reason == Reason::Excluded || at > SECOND + 100 * MILLI);
                } else {
                    prop_assert_ne!(reason, Reason::Excluded, "{}", target);
                }
            }
        }
    }
}

#[test]
fn what_the_guard_takes_out_is_not_attempted_and_counts_as_done() {
    let mut guard = Guard::default();
    guard.add(&"10.0.0.0/25, 10.0.0.200".parse().unwrap());
    let mut job = job("10.0.0.0/24", "1-10");
    job.block_hosts = 16;
    let mut schedule = Schedule::new(job, &guard).unwrap();
    let run = run(&mut schedule, |_| Port::Closed, Instant::MAX);
    assert_eq!((run.attempts.len(), run.blocks.len(), schedule.progress().done), (1_270, 16, 2_560));
    let last = |at: &SocketAddr| match at.ip() {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => 0,
    };
    assert!(run.attempts.iter().all(|(_, at)| last(at) >= 128 && last(at) != 200));
    let excluded =
        run.blocks.iter().flat_map(|block| &block.hosts).filter(|host| host.base == Reason::Excluded);
    assert_eq!(excluded.map(|host| host.last - host.first + 1).sum::<u128>(), 129);
}

#[test]
fn a_saved_schedule_goes_on_and_repeats_nothing_that_was_settled() {
    let mut job = job("10.0.0.0/24", "1-40");
    (job.block_hosts, job.retries, job.rate) = (32, 1, 20_000);
    let port = |at: SocketAddr| match at.port() % 5 {
        0 => Port::Open,
        1 => Port::Silent,
        _ => Port::Closed,
    };
    let mut guard = Guard::default();
    guard.add(&"10.0.0.7, 10.0.0.64/27".parse().unwrap());
    let mut first = Schedule::new(job.clone(), &guard).unwrap();
    let before = run(&mut first, port, SECOND + 200 * MILLI);
    let saved = first.save(7);
    assert!(saved.contains("\nagain ") && saved.contains(" syn-ack "), "{saved}");
    let mut second = schedule(job.clone());
    assert_eq!(second.restore(&saved, 0, 7), Ok(()));
    assert_eq!((second.progress().done, second.progress().open), {
        let all = first.progress();
        let reported = before.blocks.iter().flat_map(|block| &block.hosts);
        let open: usize = reported.map(|host| host.exceptions.iter().filter(|e| e.rtt_us > 0).count()).sum();
        (all.done, all.open - open as u64)
    });
    let after = run(&mut second, port, Instant::MAX);
    let mut numbers: Vec<u64> = before.blocks.iter().chain(&after.blocks).map(|block| block.number).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..8), "each block once");
    for host in before.blocks.iter().chain(&after.blocks).flat_map(|block| &block.hosts) {
        for port in 1..=40 {
            let excluded = matches!(host.first & 0xff, 7 | 64..96);
            let expected = match port % 5 {
                _ if excluded => Reason::Excluded,
                0 => Reason::SynAck,
                1 => Reason::NoAnswer,
                _ => Reason::Refused,
            };
            assert_eq!(host.port(port).0, expected, "{:x} {port}", host.first);
        }
    }
    // What had answered is not asked again; what had not may be.
    let asked: std::collections::HashSet<SocketAddr> = before.attempts.iter().map(|(_, at)| *at).collect();
    let again = after.attempts.iter().filter(|(_, at)| at.port() % 5 != 1 && asked.contains(at)).count();
    let flying = saved.lines().filter(|line| line.starts_with("again ")).count();
    assert!(
        again <= flying && again < 100,
        "{again} of {} were repeated, {flying} had no answer",
        asked.len()
    );
}

#[test]
fn what_was_not_saved_by_this_job_is_refused_by_its_line() {
    let schedule = || Schedule::new(job("10.0.0.0/24", "1-40"), &Guard::default()).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let block = |text: &str| format!("step 0 by {version}\nspared \n{text}");
    for (text, line) in [
        (String::new(), 1),
        (format!("step 2 by {version}\n"), 1),
        ("step 0 by 0.0.0\nspared \n".into(), 1),
        (format!("step 0 by {version}\n"), 2),
        (format!("step 0 by {version}\nspared 10.0.0.0/7x\n"), 2),
        (block("block 1 0 0 0 refused 0 0 0\n"), 3),
        (block("block 0 10241 0 0 refused 0 0 0\n"), 3),
        (block("block 0 9 9 0 excluded 0 0 0\n"), 3),
        (block("block 0 9 9 0 refused 0 0 0\nat 10240 syn-ack 1\n"), 4),
        (block("block 0 9 9 0 refused 0 0 0\nat 1 open 1\n"), 4),
        (block("block 0 9 9 0 refused 0 0 0\nhost 256 no-answer\n"), 4),
        (block("block 0 9 9 0 refused 0 0 0\nsaid 1 nonsense\n"), 3),
        (block("block 0 9 9 0 refused 0 0 0\nblock 0 9 9 0 refused 0 0 0\n"), 4),
    ] {
        assert_eq!(schedule().restore(&text, 0, 0), Err(line), "{text}");
    }
    let good = block("block 0 9 9 0 refused 0 0 0\nhost 0 no-answer\nat 7 syn-ack 3\nagain 8\n");
    assert_eq!(schedule().restore(&good, 0, 0), Ok(()));
}

#[test]
fn what_was_handed_over_since_it_was_saved_is_not_worked_on_again() {
    let mut job = job("10.0.0.0/26", "1-40");
    (job.block_hosts, job.rate) = (8, 2_000);
    let until = |millis: u64| {
        let mut schedule = schedule(job.clone());
        let done = run(&mut schedule, |_| Port::Closed, SECOND + millis * MILLI).blocks.len();
        (done, schedule.save(0))
    };
    let ((before, saved), (done, _)) = (until(600), until(1_000));
    assert!(0 < before && before < done && done < 8, "{before} {done}");
    let mut second = schedule(job);
    second.restore(&saved, done as u64, 0).unwrap();
    let rest = run(&mut second, |_| Port::Closed, Instant::MAX);
    assert_eq!(done + rest.blocks.len(), 8, "each block once");
    assert_eq!(second.progress().done, 64 * 40);
}

#[test]
fn what_is_saved_is_short_where_hosts_are_alike_in_themselves() {
    let mut job = job("10.0.0.0/24", "1-16");
    (job.block_hosts, job.rate) = (256, 1_000_000);
    let mut first = schedule(job);
    let silent = |at: SocketAddr| matches!(at.ip(), IpAddr::V4(ip) if ip.octets()[3] % 2 == 0);
    let port = |at: SocketAddr| if silent(at) { Port::Silent } else { Port::Closed };
    let run = run(&mut first, port, SECOND + 150 * MILLI);
    assert!(run.attempts.len() > 4_000, "{}", run.attempts.len());
    let saved = first.save(0);
    let of = |word: &str| saved.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!(of("at "), 0, "{saved}");
    assert!((120..=128).contains(&of("host ")), "{saved}");
}
