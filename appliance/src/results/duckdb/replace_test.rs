//! Of a host that was delivered with holes, later and whole word takes the place; and never the other way.

use std::collections::BTreeMap;

use portolan_scanner::wire::{HostRecord, PortRecord, Reason, State};
use proptest::prelude::*;

use crate::ingest::frame::Proven;
use crate::results::duckdb::DuckDb;
use crate::results::fixture::{JobOf, address as at, block, host, hosts, part, says, uuid};
use crate::results::{Brought, Counted, HostQuery, Observation, OfReason, SeenQuery, Store as _, coverage};

fn store() -> DuckDb {
    DuckDb::in_memory().unwrap()
}

fn job(epoch: u32) -> JobOf {
    JobOf { epoch, targets: "10.0.0.0/28", ..JobOf::default() }
}

/// The host, but its last ports' turn had not come.
fn cut_off(mut host: HostRecord, reason: Reason) -> HostRecord {
    host.exceptions.push(PortRecord { first: 8000, last: 8009, reason, rtt_us: 0 });
    host
}

/// As a job leaves it that ends half way, in blocks under way.
fn broken_off(epoch: u32, reason: Reason) -> Proven {
    let first = cut_off(says(host("10.0.0.0", &[22, 443]), 22, b"SSH-2.0-old"), reason);
    let seen = vec![first, host("10.0.0.1", &[80]), hosts("10.0.0.2", "10.0.0.15", reason)];
    block(&job(epoch).frame(), 0, seen)
}

fn whole(epoch: u32) -> Proven {
    let seen = vec![
        says(host("10.0.0.0", &[22, 8000]), 22, b"SSH-2.0-new"),
        host("10.0.0.1", &[]),
        host("10.0.0.2", &[80]),
        hosts("10.0.0.3", "10.0.0.15", Reason::NoAnswer),
    ];
    block(&job(epoch).frame(), 0, seen)
}

fn everything(store: &DuckDb) -> Vec<Observation> {
    store.hosts(&HostQuery { hints: true, ..HostQuery::of(uuid(1)) }).unwrap()
}

/// What the hosts in the store come to, by reason.
fn added_up(store: &DuckDb) -> Vec<OfReason> {
    let mut sums: BTreeMap<Reason, (u128, u64)> = BTreeMap::new();
    for it in everything(store) {
        for (reason, ports) in it.by_reason() {
            let sum = sums.entry(reason).or_default();
            sum.0 += it.hosts.count() * u128::from(ports.count());
            sum.1 += u64::try_from(it.hosts.count()).unwrap();
        }
    }
    sums.into_iter().map(|(reason, (probes, hosts))| OfReason { reason, probes, hosts }).collect()
}

/// The sums that are kept are those of the hosts, and the dispatcher's too.
fn agrees(store: &DuckDb, counted: &[Counted]) {
    let sweeps = store.sweeps(uuid(1)).unwrap();
    let [sweep] = &sweeps[..] else { panic!("one vantage") };
    let hosts: u128 = everything(store).iter().map(|it| it.hosts.count()).sum();
    assert_eq!(u128::from(sweep.hosts), hosts);
    let mut kept = sweep.reasons.clone();
    kept.sort_by_key(|of| of.reason);
    assert_eq!(kept, added_up(store));
    let sum = |of: fn(&Brought) -> i64| counted.iter().map(|counted| of(&counted.brought)).sum::<i64>();
    assert_eq!(i128::from(sum(|it| it.covered)), i128::try_from(sweep.covered()).unwrap());
    assert_eq!(i128::from(sum(|it| it.open)), i128::try_from(sweep.in_state(State::Open)).unwrap());
    assert_eq!(store.open_ports(&[uuid(1)]).unwrap()[0].open, u64::try_from(sum(|it| it.open)).unwrap());
}

#[test]
fn whole_word_of_a_host_takes_the_place_of_word_with_holes() {
    for reason in [Reason::Cancelled, Reason::Expired, Reason::LocalLimit] {
        for (at_once, restarted) in [(true, false), (false, false), (false, true)] {
            let store = store();
            let frames = [broken_off(1, reason), whole(2)];
            let counted = if at_once {
                store.count(&frames).unwrap()
            } else {
                let mut counted = store.count(&frames[..1]).unwrap();
                if restarted {
                    store.writer().forget();
                }
                counted.extend(store.count(&frames[1..]).unwrap());
                counted
            };
            let first = Brought { hosts: 16, replaced: 0, covered: 3 + 13, open: 3 };
            // .0 and .2 to .15 are new word; .1 had been probed on every port, so the first word of it stands.
            let second = Brought { hosts: 0, replaced: 15, covered: 10 + 14 * 13, open: 1 };
            assert_eq!([counted[0].brought, counted[1].brought], [first, second]);
            agrees(&store, &counted);
            let seen: Vec<_> = everything(&store)
                .iter()
                .map(|it| (it.hosts.to_string(), it.open.iter().map(|open| open.port).collect::<Vec<_>>()))
                .collect();
            let line = |hosts: &str, open: &[u16]| (hosts.to_owned(), open.to_vec());
            let expected = [
                line("10.0.0.0", &[22, 8000]),
                line("10.0.0.1", &[80]),
                line("10.0.0.2", &[80]),
                line("10.0.0.3-10.0.0.15", &[]),
            ];
            assert_eq!(seen, expected);
            assert_eq!(store.sweeps(uuid(1)).unwrap()[0].in_state(State::NotProbed), 0);
            assert!(store.hints("ssh-2.0-old", 9).unwrap().is_empty(), "what it said then is void as well");
            assert_eq!(store.hints("ssh-2.0-new", 9).unwrap().len(), 1);
            store.writer().forget();
            let again: Vec<_> = store.count(&frames).unwrap().iter().map(|counted| counted.brought).collect();
            assert_eq!(again, [first, second], "read back, it is the same");
        }
    }
}

#[test]
fn word_with_holes_takes_the_place_of_nothing() {
    for restarted in [false, true] {
        let store = store();
        let mut counted = store.count(&[whole(1)]).unwrap();
        let before = everything(&store);
        if restarted {
            store.writer().forget();
        }
        counted.extend(store.count(&[broken_off(2, Reason::Cancelled)]).unwrap());
        assert_eq!(counted[1].brought, Brought::default());
        assert_eq!(everything(&store), before);
        agrees(&store, &counted);
        counted.extend(store.count(&[whole(3)]).unwrap());
        assert_eq!(counted[2].brought, Brought::default(), "and whole word is not replaced");
    }
}

#[test]
fn of_hosts_that_were_told_of_in_one_breath_only_those_are_replaced_that_came_whole() {
    let store = store();
    let all = block(&job(1).frame(), 0, vec![hosts("10.0.0.0", "10.0.0.15", Reason::Cancelled)]);
    let middle = part(&job(2).frame(), 0, 0, false, vec![hosts("10.0.0.4", "10.0.0.7", Reason::Refused)]);
    let mut counted = store.count(&[all, middle]).unwrap();
    let ranges = |store: &DuckDb| everything(store).iter().map(|it| it.hosts.to_string()).collect::<Vec<_>>();
    assert_eq!(ranges(&store), ["10.0.0.0-10.0.0.3", "10.0.0.4-10.0.0.7", "10.0.0.8-10.0.0.15"]);
    agrees(&store, &counted);
    store.writer().forget();
    let ends = vec![
        hosts("10.0.0.0", "10.0.0.0", Reason::Refused),
        hosts("10.0.0.15", "10.0.0.15", Reason::Refused),
    ];
    counted.extend(store.count(&[part(&job(2).frame(), 0, 1, false, ends)]).unwrap());
    assert_eq!(ranges(&store).len(), 5);
    agrees(&store, &counted);
    counted.extend(store.count(&[whole(3)]).unwrap());
    assert_eq!(counted[3].brought.replaced, 10);
    agrees(&store, &counted);
    assert_eq!(store.sweeps(uuid(1)).unwrap()[0].in_state(State::NotProbed), 0);
}

#[test]
fn what_was_left_alone_on_purpose_is_no_hole() {
    for reason in [Reason::Excluded, Reason::Distress, Reason::OpenAll] {
        let store = store();
        let left = block(&job(1).frame(), 0, vec![hosts("10.0.0.0", "10.0.0.15", reason)]);
        let counted = store.count(&[left, whole(2)]).unwrap();
        assert_eq!((counted[1].brought.replaced, counted[1].brought.covered), (0, 0), "{reason}");
    }
}

#[test]
fn the_sample_of_what_replaces_counts() {
    use crate::results::fixture::{frame_signed_by, public, results};
    use portolan_scanner::wire::{Results, Sample};
    let store = store();
    let job = job(2).frame();
    let sample = Sample { probed: 9, answered: 5, missed: 1 };
    let seen = vec![hosts("10.0.0.0", "10.0.0.15", Reason::Refused)];
    let said = Results { sample, ..results(&job, 0, 0, true, seen) };
    let whole = frame_signed_by(3, &said).prove(&public(3), &job).unwrap();
    store.count(&[broken_off(1, Reason::LocalLimit), whole]).unwrap();
    assert_eq!(store.sweeps(uuid(1)).unwrap()[0].sample, sample);
}

#[test]
fn a_replacement_across_the_half_of_an_address_finds_both_sides() {
    let store = store();
    let of =
        |epoch| JobOf { epoch, targets: "2001:db8::ffff:ffff:ffff:fff0-2001:db8:0:1::f", ..JobOf::default() };
    let all = |reason| vec![hosts("2001:db8::ffff:ffff:ffff:fff0", "2001:db8:0:1::f", reason)];
    let frames = [
        block(&of(1).frame(), 0, all(Reason::Cancelled)),
        part(
            &of(2).frame(),
            0,
            0,
            false,
            vec![hosts("2001:db8::ffff:ffff:ffff:fff8", "2001:db8:0:1::7", Reason::Refused)],
        ),
        block(&of(3).frame(), 0, all(Reason::NoAnswer)),
    ];
    let counted = store.count(&frames).unwrap();
    assert_eq!(counted.iter().map(|it| it.brought.replaced).collect::<Vec<_>>(), [0, 16, 16]);
    agrees(&store, &counted);
    assert_eq!(everything(&store).len(), 4);
}

/// A host of a random delivery: untouched, whole with these open, or broken off.
fn record(number: u8, kind: u8) -> HostRecord {
    let name = format!("10.0.0.{number}");
    match kind {
        0 => host(&name, &[]),
        1 => says(host(&name, &[22, 80]), 80, b"x"),
        2 => cut_off(host(&name, &[443]), Reason::LocalLimit),
        3 => cut_off(host(&name, &[]), Reason::Distress),
        4 => hosts(&name, &name, Reason::Cancelled),
        _ => hosts(&name, &name, Reason::NoAnswer),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_sums_are_those_of_the_hosts_whatever_comes_in_which_order(
        deliveries in prop::collection::vec((prop::collection::vec(0_u8..6, 16), any::<bool>()), 1..6),
    ) {
        let store = store();
        let (mut counted, mut naive) = (Vec::new(), BTreeMap::new());
        for (epoch, (kinds, restart)) in (1..).zip(deliveries) {
            let seen: Vec<_> = (0..).zip(&kinds).map(|(number, kind)| record(number, *kind)).collect();
            for (number, kind) in (0_u8..).zip(kinds) {
                let holed = |kind| matches!(kind, 2 | 4);
                let kept = naive.entry(number).or_insert(kind);
                if holed(*kept) && !holed(kind) {
                    *kept = kind;
                }
            }
            counted.extend(store.count(&[block(&job(epoch).frame(), 0, seen)]).unwrap());
            if restart {
                store.writer().forget();
            }
            agrees(&store, &counted);
        }
        for (number, kind) in naive {
            let host = at(&format!("10.0.0.{number}"));
            let [seen] = &store.host(&SeenQuery::of(host, 9)).unwrap()[..] else { panic!("seen once") };
            let expected = record(number, kind);
            let open = expected.exceptions.iter().filter(|run| run.reason == Reason::SynAck).count();
            prop_assert_eq!((seen.base, seen.open.len(), seen.hints.len()), (expected.base, open, expected.hints.len()));
            let holes = seen.by_reason().iter().any(|(reason, _)| coverage::is_hole(*reason));
            prop_assert_eq!(holes, matches!(kind, 2 | 4));
        }
    }
}
